//! A private Postgres server in a temporary directory, reachable by its Unix socket only.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aegis_server::store::DatabaseUrl;

/// A running server; stopped and erased when dropped.
pub struct Postgres {
    dir: tempfile::TempDir,
    bin: PathBuf,
}

impl Postgres {
    /// Makes a cluster and starts it. Postgres refuses to run as root; then it runs as user `postgres`.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let chown = Command::new("chown").arg("postgres").arg(dir.path()).stderr(Stdio::null()).status();
        assert!(chown.is_ok_and(|status| status.success()) || !is_root());
        let server = Self { bin: newest_bin(), dir };
        server.run("initdb", &["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"]);
        let options = format!("-c listen_addresses='' -k {}", server.dir.path().display());
        server.run("pg_ctl", &["-w", "-l", &server.path("log"), "-o", &options, "start"]);
        server
    }

    /// The URL of a fresh database.
    pub fn database(&self, name: &str) -> DatabaseUrl {
        let socket = self.dir.path().display().to_string();
        let made = self.command("createdb").args(["-h", &socket, "-U", "postgres", name]).status();
        assert!(made.unwrap().success());
        let host = socket.replace('/', "%2F");
        format!("postgres://postgres@{host}/{name}").parse().unwrap()
    }

    /// Stops the server the hard way and starts it again.
    pub fn restart(&self) {
        let options = format!("-c listen_addresses='' -k {}", self.dir.path().display());
        let log = self.path("log");
        self.run("pg_ctl", &["-w", "-m", "immediate", "-l", &log, "-o", &options, "restart"]);
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = Command::new(if is_root() { Path::new("runuser") } else { &program });
        if is_root() {
            command.args(["-u", "postgres", "--"]).arg(program);
        }
        command.current_dir("/").stdout(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let data = self.path("data");
        let status = self.command(program).args(["-D", &data]).args(arguments).status();
        assert!(status.unwrap().success(), "{program}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.path("data");
        let _ = self.command("pg_ctl").args(["-D", &data, "-w", "-m", "immediate", "stop"]).status();
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn newest_bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").unwrap();
    let version =
        |path: &PathBuf| path.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse::<u32>().ok());
    let newest = versions.map(|entry| entry.unwrap().path()).max_by_key(version);
    newest.unwrap().join("bin")
}
