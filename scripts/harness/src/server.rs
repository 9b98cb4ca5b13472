//! The server as a process: started, killed and started again on the same data.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aegis_common::address::Address;
use anyhow::{Context, Result, bail, ensure};
use reqwest::Client;

use crate::net;
use crate::process::{self, Process, RunDir};
use crate::programs::Programs;

const START_LIMIT: Duration = Duration::from_secs(60);

/// How the server is configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// RPC addresses of nodes, `http://host:port`.
    pub nodes: Vec<String>,
    /// Where the operator's fee is paid.
    pub platform_address: Option<Address>,
    /// The operator's fee in basis points.
    pub platform_fee_bps: u16,
    /// The arbiter's fee in basis points.
    pub arbiter_fee_bps: u16,
    /// Confirmations for finality.
    pub finality_depth: u32,
    /// Seconds until a silent signer is replaced.
    pub cosign_seconds: u32,
    /// Milliseconds between two looks at the chain.
    pub poll_millis: u64,
    /// `AEGIS_LOG`, e.g. `info` or `trace`.
    pub log: String,
    /// Another database than the embedded one in the data directory.
    pub database_url: Option<String>,
    /// Any other variables, by name.
    pub more: Vec<(String, String)>,
}

impl Settings {
    /// For a private chain: short finality, quick polling, fees.
    pub fn regtest(node_port: u16) -> Self {
        Self {
            nodes: vec![format!("http://127.0.0.1:{node_port}")],
            platform_address: None,
            platform_fee_bps: 100,
            arbiter_fee_bps: 150,
            finality_depth: 10,
            cosign_seconds: 60,
            poll_millis: 500,
            log: "info".to_owned(),
            database_url: None,
            more: Vec::new(),
        }
    }
}

/// A server on loopback.
pub struct Server {
    run: RunDir,
    programs: Programs,
    settings: Settings,
    port: u16,
    data: PathBuf,
    process: Mutex<Option<Process>>,
    client: Client,
}

impl Server {
    /// Starts it with its data in the run directory and waits until it serves.
    pub async fn start(run: &RunDir, programs: &Programs, settings: Settings) -> Result<Self> {
        let server = Self {
            run: run.clone(),
            programs: programs.clone(),
            settings,
            port: net::free_port()?,
            data: run.folder("server")?,
            process: Mutex::new(None),
            client: Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?,
        };
        server.launch().await?;
        Ok(server)
    }

    /// `http://host:port`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its data directory.
    pub fn data(&self) -> &PathBuf {
        &self.data
    }

    /// What it wrote to its log.
    pub fn log(&self) -> PathBuf {
        self.run.log("server")
    }

    fn command(&self) -> Command {
        let settings = &self.settings;
        let mut command = Command::new(&self.programs.server);
        process::only_own_settings(&mut command);
        command
            .env("AEGIS_BIND", format!("127.0.0.1:{}", self.port))
            .env("AEGIS_DATA_DIR", &self.data)
            .env("AEGIS_NETWORK", "regtest")
            .env("AEGIS_NODES", settings.nodes.join(","))
            .env("AEGIS_FINALITY_DEPTH", settings.finality_depth.to_string())
            .env("AEGIS_COSIGN_SECONDS", settings.cosign_seconds.to_string())
            .env("AEGIS_ARBITER_FEE_BPS", settings.arbiter_fee_bps.to_string())
            .env("AEGIS_POLL_MILLIS", settings.poll_millis.to_string())
            .env("AEGIS_PASSIVATE_SECONDS", "30")
            .env("AEGIS_LOG", &settings.log)
            // Everybody shares one address here.
            .env("AEGIS_RATE_REQUESTS_PER_SECOND", "2000")
            .env("AEGIS_RATE_BURST", "5000")
            .env("AEGIS_RATE_CREDENTIALS_PER_MINUTE", "2000")
            .env("AEGIS_RATE_LOGINS_PER_MINUTE", "2000")
            .envs(settings.more.iter().cloned());
        if let Some(url) = &settings.database_url {
            command.env("AEGIS_DATABASE_URL", url);
        }
        if let Some(address) = settings.platform_address {
            command
                .env("AEGIS_PLATFORM_FEE_BPS", settings.platform_fee_bps.to_string())
                .env("AEGIS_PLATFORM_ADDRESS", address.to_string());
        }
        command
    }

    async fn launch(&self) -> Result<()> {
        let mut process = self.run.spawn("server", self.command().arg("run"))?;
        let health = format!("{}/health", self.url());
        let begun = Instant::now();
        // A plain loop: a future that waits with a closure can't move between threads.
        while !self.client.get(&health).send().await.is_ok_and(|answer| answer.status().is_success()) {
            process.must_run().context("the server")?;
            ensure!(begun.elapsed() < START_LIMIT, "waited {} s for the server", START_LIMIT.as_secs());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.slot()?.replace(process);
        Ok(())
    }

    fn slot(&self) -> Result<std::sync::MutexGuard<'_, Option<Process>>> {
        self.process.lock().map_err(|_| anyhow::anyhow!("another task failed while it held the server"))
    }

    /// Kills it with SIGKILL.
    pub fn kill(&self) -> Result<()> {
        if let Some(mut process) = self.slot()?.take() {
            process.kill(true)?;
        }
        Ok(())
    }

    /// Kills it if it runs, and starts it again on the same data and port.
    pub async fn restart(&self) -> Result<()> {
        self.kill()?;
        self.launch().await
    }

    /// An error with the end of its log, where it has ended by itself.
    pub fn must_run(&self) -> Result<()> {
        self.slot()?.as_mut().map_or(Ok(()), |process| process.must_run().context("the server"))
    }

    /// Runs another command of the program on the same data, and gives its output.
    pub async fn admin(&self, arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::from(self.command());
        let output = command.args(arguments).kill_on_drop(true).output().await?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!(
                "aegis-server {} failed: {errors}{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stdout)
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Makes an account an arbiter's.
    pub async fn make_arbiter(&self, username: &str) -> Result<()> {
        self.admin(&["user", "role", username, "arbiter"]).await.map(|_| ())
    }

    /// Every table as JSON, with sealed columns opened.
    pub async fn dump(&self) -> Result<String> {
        self.admin(&["dump"]).await
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
