//! A participant's home as it was at some point, and its program beside a lying relay.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use aegis_common::role::Role;
use aegis_harness::process::only_own_settings;
use aegis_harness::programs::Programs;
use aegis_harness::world::{Person, World};
use serde_json::Value;

/// What one command did.
#[derive(Debug)]
pub struct Outcome {
    pub ok: bool,
    /// The document on standard output.
    pub answer: Value,
    /// The error's code and message.
    pub code: String,
    pub message: String,
    /// Everything it wrote.
    pub all: String,
}

/// A participant of the escrow that is lied about.
pub struct Victim<'w> {
    pub person: &'w Person,
    pub role: Role,
    program: PathBuf,
    home: PathBuf,
    book: String,
}

impl<'w> Victim<'w> {
    pub fn new(world: &'w World, name: &str, role: Role, id: &str) -> Self {
        let home = world.run.folder(&format!("victim-{name}")).unwrap();
        world.run.folder(&format!("victim-{name}/escrows")).unwrap();
        let person = world.person(name).unwrap();
        std::fs::copy(person.program.home().join("keys"), home.join("keys")).unwrap();
        let program = Programs::locate().unwrap().participant;
        Self { person, role, program, home, book: format!("escrows/book-{id}.sealed") }
    }

    /// The book as it is now.
    pub fn book(&self) -> Option<Vec<u8>> {
        std::fs::read(self.home.join(&self.book)).ok()
    }

    /// Puts a book in place.
    pub fn restore(&self, book: Option<&Vec<u8>>) {
        let path = self.home.join(&self.book);
        match book {
            Some(bytes) => write_private(&path, bytes),
            None => {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// One command.
    pub async fn aegis(&self, arguments: &[&str]) -> Outcome {
        let mut command = std::process::Command::new(&self.program);
        only_own_settings(&mut command);
        command.arg("--home").arg(&self.home).arg("--json").args(arguments);
        command.env("AEGIS_PASSPHRASE", self.person.program.passphrase()).stdin(Stdio::null());
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await.unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
        let error: Value =
            err.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        let text = |field: &str| error["error"][field].as_str().unwrap_or_default().to_owned();
        Outcome {
            ok: output.status.success(),
            answer: serde_json::from_str(&out).unwrap_or_default(),
            code: text("code"),
            message: text("message"),
            all: format!("{out}{err}"),
        }
    }
}

fn write_private(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let _ = std::fs::remove_file(path);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
}
