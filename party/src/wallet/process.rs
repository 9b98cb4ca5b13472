//! A private `monero-wallet-rpc`: loopback, a random login that `ps` does not show, its own 0700 folder.

use std::fs::{File, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use aegis_common::address::Network;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::error::WalletError;
use super::rpc::{Login, WalletRpc};
use crate::files::{self, FileError};
use crate::keys::Secret;

/// The RPC version of Monero 0.18.0, the first with today's multisig messages and view tags.
pub const MIN_VERSION: (u32, u32) = (1, 25);

/// It answers after 1 to 3 s; a loaded machine takes longer.
const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Another program may take the port between our probe and the wallet's bind.
const START_ATTEMPTS: usize = 3;

/// How the participant reaches a wallet.
#[derive(Debug, Clone)]
pub enum WalletAccess {
    /// Start our own.
    Own(ProcessOptions),
    /// Use one that somebody else runs with `--wallet-dir` and `--rpc-login`.
    Given {
        /// `http://host:port`
        url: String,
        /// Its login.
        login: Login,
    },
}

/// What our own process needs.
#[derive(Debug, Clone)]
pub struct ProcessOptions {
    /// The program, e.g. `monero-wallet-rpc`.
    pub program: PathBuf,
    /// A folder of its own; made 0700. Wallet files go to `wallets` in it.
    pub folder: PathBuf,
    /// The node: `host:port` or a URL.
    pub daemon: String,
    /// The node's login, where it asks for one.
    pub daemon_login: Option<Login>,
    /// The chain.
    pub network: Network,
}

impl ProcessOptions {
    /// Where the wallet files are.
    pub fn wallet_dir(&self) -> PathBuf {
        self.folder.join("wallets")
    }

    fn config_path(&self) -> PathBuf {
        self.folder.join("wallet-rpc.conf")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("wallet-rpc.log")
    }

    fn daemon_is_loopback(&self) -> bool {
        let rest = self.daemon.split_once("://").map_or(self.daemon.as_str(), |(_, rest)| rest);
        let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host).trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    fn config(&self, port: u16, login: &Login) -> Result<String, WalletError> {
        let path = |path: PathBuf| path.display().to_string();
        let loopback = self.daemon_is_loopback();
        let mut lines = vec![
            ("rpc-bind-ip", "127.0.0.1".to_owned()),
            ("rpc-bind-port", port.to_string()),
            ("rpc-login", format!("{}:{}", login.username, login.password.expose())),
            ("rpc-ssl", "disabled".to_owned()),
            ("wallet-dir", path(self.wallet_dir())),
            ("shared-ringdb-dir", path(self.folder.join("ring"))),
            ("log-file", path(self.log_path())),
            ("log-level", "0".to_owned()),
            ("max-log-file-size", "5000000".to_owned()),
            ("max-log-files", "2".to_owned()),
            ("non-interactive", "1".to_owned()),
            ("no-dns", "1".to_owned()),
            ("daemon-address", self.daemon.clone()),
            // Only a node of our own may be asked what is ours.
            (if loopback { "trusted-daemon" } else { "untrusted-daemon" }, "1".to_owned()),
        ];
        if loopback {
            lines.push(("daemon-ssl", "disabled".to_owned()));
        } else {
            // Looking up the node's own name needs DNS.
            lines.retain(|(key, _)| *key != "no-dns");
        }
        if let Some(login) = &self.daemon_login {
            lines.push(("daemon-login", format!("{}:{}", login.username, login.password.expose())));
        }
        match self.network {
            Network::Stagenet => lines.push(("stagenet", "1".to_owned())),
            Network::Testnet => lines.push(("testnet", "1".to_owned())),
            Network::Mainnet | Network::Regtest => {}
        }
        if lines.iter().any(|(_, value)| value.is_empty() || value.contains(['\n', '\r', '#'])) {
            return Err(WalletError::BadArgument(
                "an option of the wallet is empty or holds a line break or '#'",
            ));
        }
        Ok(lines.into_iter().map(|(key, value)| format!("{key}={value}\n")).collect())
    }
}

/// A running process; killed when dropped.
#[derive(Debug)]
pub struct WalletProcess {
    options: ProcessOptions,
    child: Child,
    rpc: Arc<WalletRpc>,
    // Held while we live: two programs on one wallet folder would use the same nonces.
    _lock: File,
}

impl WalletProcess {
    /// Starts it and waits until it answers with a version this program knows.
    pub async fn start(mut options: ProcessOptions) -> Result<Self, WalletError> {
        files::private_dir(&options.folder)?;
        // One spelling, whatever the working directory and the links: the wallet runs in this folder, and a leftover is known
        // by the path of its configuration.
        options.folder = options.folder.canonicalize().map_err(FileError::at(&options.folder))?;
        if options.program.components().nth(1).is_some() {
            options.program =
                std::path::absolute(&options.program).map_err(FileError::at(&options.program))?;
        }
        files::private_dir(&options.wallet_dir())?;
        let lock = lock(&options.folder.join("lock"))?;
        let (child, rpc) = launch(&options).await?;
        Ok(Self { options, child, rpc, _lock: lock })
    }

    /// Its client.
    pub fn rpc(&self) -> &Arc<WalletRpc> {
        &self.rpc
    }

    /// Its options.
    pub fn options(&self) -> &ProcessOptions {
        &self.options
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it, stuck or not, and starts it anew. No wallet is open then.
    pub async fn restart(&mut self) -> Result<(), WalletError> {
        // An error here means it is dead already.
        let _ = self.child.kill().await;
        (self.child, self.rpc) = launch(&self.options).await?;
        Ok(())
    }

    /// Lets it save and end; kills it when it takes too long.
    pub async fn stop(mut self) -> Result<(), WalletError> {
        let asked = timeout(STOP_LIMIT, self.rpc.stop_wallet()).await;
        if !matches!(asked, Ok(Ok(()))) || timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        Ok(files::remove(&self.options.config_path())?)
    }
}

fn lock(path: &Path) -> Result<File, WalletError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = file.map_err(FileError::at(path))?;
    file.try_lock().map_err(|_| WalletError::FolderInUse)?;
    Ok(file)
}

fn free_port() -> Result<u16, WalletError> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    probe.map(|address| address.port()).map_err(|e| WalletError::NotStarted(e.to_string()))
}

async fn launch(options: &ProcessOptions) -> Result<(Child, Arc<WalletRpc>), WalletError> {
    let mut attempt = 1;
    loop {
        match launch_once(options).await {
            // A refused login is another program's, which took the port between our choice and our start.
            Err(WalletError::NotStarted(_) | WalletError::Unauthorized) if attempt < START_ATTEMPTS => {
                attempt += 1;
            }
            other => return other,
        }
    }
}

async fn launch_once(options: &ProcessOptions) -> Result<(Child, Arc<WalletRpc>), WalletError> {
    end_leftover(options).await?;
    let random = || Secret::random().map_err(|e| WalletError::NotStarted(e.to_string()));
    let login = Login { username: "aegis".to_owned(), password: random()? };
    let port = free_port()?;
    // In a private file, not on the command line: anyone on the machine can read that.
    files::write_atomic(&options.config_path(), options.config(port, &login)?.as_bytes())?;
    let mut child = Command::new(&options.program)
        .arg("--config-file")
        .arg(options.config_path())
        .current_dir(&options.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| WalletError::NotStarted(format!("{}: {e}", options.program.display())))?;
    let rpc = WalletRpc::new(&format!("http://127.0.0.1:{port}"), Some(login))?;
    let deadline = Instant::now() + START_LIMIT;
    loop {
        match rpc.get_version().await {
            Ok(version) => {
                known_version(version)?;
                return Ok((child, Arc::new(rpc)));
            }
            Err(WalletError::Unreachable(_) | WalletError::Timeout { .. }) if Instant::now() < deadline => {}
            Err(e) => return Err(e),
        }
        if let Ok(Some(status)) = child.try_wait() {
            let log = options.log_path();
            return Err(WalletError::NotStarted(format!("{status}; see {}", log.display())));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Refuses versions whose multisig this program does not know.
pub(super) fn known_version((major, minor): (u32, u32)) -> Result<(), WalletError> {
    if major == MIN_VERSION.0 && minor >= MIN_VERSION.1 {
        Ok(())
    } else {
        Err(WalletError::Version { major, minor })
    }
}

/// Ends processes of earlier runs of ours that were killed before they could. The caller holds the folder's lock.
async fn end_leftover(options: &ProcessOptions) -> Result<(), WalletError> {
    let config = options.config_path();
    for _ in 0..100 {
        let Some(pid) = leftover(&config) else { return Ok(()) };
        let killed = Command::new("kill").args(["-KILL", &pid]).stderr(Stdio::null()).status().await;
        killed.map_err(|e| WalletError::NotStarted(format!("an earlier process {pid} still runs: {e}")))?;
        sleep(Duration::from_millis(50)).await;
    }
    match leftover(&config) {
        None => Ok(()),
        Some(pid) => Err(WalletError::NotStarted(format!("an earlier process {pid} still runs"))),
    }
}

/// The number of a process that was started with this configuration file, which only we do. Asked of the system: a file of
/// our own would not know of one that was started just before we were killed.
fn leftover(config: &Path) -> Option<String> {
    let owner = std::fs::metadata(config).ok()?.uid();
    std::fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        if entry.metadata().ok()?.uid() != owner {
            return None;
        }
        let command = std::fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = command.split(|byte| *byte == 0).skip(1);
        let ours = words.next() == Some(b"--config-file")
            && words.next() == Some(config.as_os_str().as_encoded_bytes());
        ours.then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(daemon: &str) -> ProcessOptions {
        ProcessOptions {
            program: "monero-wallet-rpc".into(),
            folder: "/f".into(),
            daemon: daemon.to_owned(),
            daemon_login: None,
            network: Network::Stagenet,
        }
    }

    #[test]
    fn only_a_node_on_loopback_is_trusted_and_no_option_can_smuggle_in_another() {
        let login = Login { username: "u".to_owned(), password: Secret::new("p") };
        for (daemon, trusted) in [
            ("127.0.0.1:38081", true),
            ("http://localhost:38081", true),
            ("[::1]:38081", true),
            ("node.example:38081", false),
            ("https://127.0.0.1.example:443", false),
        ] {
            let config = options(daemon).config(1, &login).unwrap();
            assert_eq!(config.contains("\ntrusted-daemon=1"), trusted, "{daemon}");
            assert_eq!(config.contains("\nuntrusted-daemon=1"), !trusted, "{daemon}");
            assert!(config.contains("stagenet=1"));
        }
        for bad in ["", "a\nrpc-bind-ip=0.0.0.0", "a#b"] {
            assert!(options(bad).config(1, &login).is_err());
        }
    }

    #[test]
    fn foreign_rpc_versions_are_refused() {
        assert!(known_version((1, 25)).is_ok());
        assert!(known_version((1, 28)).is_ok());
        assert!(known_version((1, 24)).is_err());
        assert!(known_version((2, 0)).is_err());
    }
}
