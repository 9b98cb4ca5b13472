//! monero-wallet-rpc on loopback, its login in a private file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::Chain;
use crate::net;
use crate::process::{Process, RunDir};
use crate::rpc::Rpc;

const START_LIMIT: Duration = Duration::from_secs(120);

/// A wallet server with a folder of wallets.
pub struct WalletServer {
    process: Mutex<Option<Process>>,
    rpc: Rpc,
    port: u16,
    login: (String, String),
    folder: PathBuf,
}

impl WalletServer {
    /// Starts one; its wallets are in the folder of that name in the run directory.
    pub async fn start(run: &RunDir, name: &str, chain: &Chain) -> Result<Self> {
        let folder = run.folder(name)?;
        let login = (name.to_owned(), net::random_hex(16)?);
        // Another program may take a port between the probe and the wallet's bind.
        for _ in 0..3 {
            let port = net::free_port()?;
            let lines = [
                "rpc-bind-ip=127.0.0.1".to_owned(),
                format!("rpc-bind-port={port}"),
                format!("rpc-login={}:{}", login.0, login.1),
                format!("wallet-dir={}", folder.display()),
                format!("shared-ringdb-dir={}", folder.join("ring").display()),
                format!("log-file={}", run.log(&format!("{name}-own")).display()),
                format!("daemon-address={}", chain.daemon()),
                "trusted-daemon=1\ndaemon-ssl=disabled\nrpc-ssl=disabled\nlog-level=0".to_owned(),
                "non-interactive=1\nno-dns=1".to_owned(),
            ];
            let config = run.private_file(&format!("{name}.conf"), &lines.join("\n"))?;
            let mut command = Command::new("monero-wallet-rpc");
            command.arg("--config-file").arg(&config);
            let mut process = run.spawn(name, &mut command)?;
            let rpc = Rpc::new(port, Some(login.clone()))?;
            let every = Duration::from_millis(300);
            let answers = net::until("monero-wallet-rpc", START_LIMIT, every, async || {
                if process.ended()?.is_some() {
                    return Ok(Some(false));
                }
                Ok(rpc.call::<Value>("get_version", json!({})).await.ok().map(|_| true))
            });
            if answers.await? {
                let process = Mutex::new(Some(process));
                return Ok(Self { process, rpc, port, login, folder });
            }
        }
        bail!("monero-wallet-rpc does not start; see {}", run.log(name).display())
    }

    /// One that another process has started.
    pub fn attach(port: u16, login: (String, String)) -> Result<Self> {
        let rpc = Rpc::new(port, Some(login.clone()))?;
        Ok(Self { process: Mutex::new(None), rpc, port, login, folder: PathBuf::new() })
    }

    /// Its RPC.
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Name and password of its RPC.
    pub fn login(&self) -> &(String, String) {
        &self.login
    }

    /// Where its wallets are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lets it run when this value is dropped.
    pub fn keep(&self) {
        if let Ok(mut process) = self.process.lock()
            && let Some(process) = process.as_mut()
        {
            process.keep();
        }
    }
}
