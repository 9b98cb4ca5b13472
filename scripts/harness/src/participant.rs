//! A participant's program: single commands, and the one that runs in the background.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{self, Process, RunDir};

/// A single command starts a wallet server at most.
const COMMAND_LIMIT: Duration = Duration::from_secs(180);
/// How long a refusal may take to pass: the server or the person's own program may be starting anew.
const PASSING_LIMIT: Duration = Duration::from_secs(60);
/// Refusals that pass by themselves: another command of the same person, or the background program, came in between.
const PASSING: [&str; 10] = [
    "broken_chain",
    "fork",
    "unknown_seen",
    "stale_version",
    "busy",
    "locked",
    "rate_limited",
    "unavailable",
    "unreachable",
    "not_ready",
];

/// The program refused a command.
#[derive(Debug, thiserror::Error)]
#[error("{name}: aegis {command}: {message} ({code})")]
pub struct Refused {
    /// Whose program.
    pub name: String,
    /// The command.
    pub command: String,
    /// The error's code.
    pub code: String,
    /// The error's message.
    pub message: String,
}

/// A command was killed on purpose while it ran. A person would give it again.
#[derive(Debug, thiserror::Error)]
#[error("the command was killed")]
struct Killed;

/// A participant with a home directory of its own.
pub struct Participant {
    name: String,
    run: RunDir,
    program: PathBuf,
    home: PathBuf,
    passphrase: String,
    password: String,
    daemon: String,
    background: Mutex<Option<Process>>,
    one_at_a_time: tokio::sync::Mutex<()>,
    end_command: tokio::sync::Notify,
}

impl Participant {
    /// A participant whose home will be in the run directory. `daemon` is `host:port` of the chain's node.
    pub fn new(run: &RunDir, program: &Path, name: &str, daemon: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            run: run.clone(),
            program: program.to_owned(),
            home: run.folder(&format!("home-{name}"))?,
            passphrase: crate::net::random_hex(16)?,
            password: crate::net::random_hex(16)?,
            daemon: daemon.to_owned(),
            background: Mutex::new(None),
            one_at_a_time: tokio::sync::Mutex::new(()),
            end_command: tokio::sync::Notify::new(),
        })
    }

    /// The username.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The home directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// What opens the home's keys.
    pub fn passphrase(&self) -> &str {
        &self.passphrase
    }

    /// What logs in at the server.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The chain's node, `host:port`.
    pub fn daemon(&self) -> &str {
        &self.daemon
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        process::only_own_settings(&mut command);
        command.arg("--home").arg(&self.home).arg("--json").args(arguments);
        command.env("AEGIS_PASSPHRASE", &self.passphrase).env("AEGIS_PASSWORD", &self.password);
        command
    }

    /// One command; its JSON document, or a [`Refused`]. Refusals that pass are tried again for a minute, and a command
    /// that was killed is given again.
    pub async fn cmd(&self, arguments: &[&str]) -> Result<Value> {
        let begun = Instant::now();
        loop {
            let refused = match self.cmd_once(arguments).await {
                Err(error) if error.is::<Killed>() => continue,
                Err(error) => match error.downcast::<Refused>() {
                    Ok(refused) => refused,
                    Err(error) => return Err(error),
                },
                answer => return answer,
            };
            let passing = PASSING.contains(&refused.code.to_lowercase().as_str());
            if !passing || begun.elapsed() > PASSING_LIMIT {
                return Err(refused.into());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// One command, tried once.
    pub async fn cmd_once(&self, arguments: &[&str]) -> Result<Value> {
        let _turn = self.one_at_a_time.lock().await;
        let mut command = tokio::process::Command::from(self.command(arguments));
        command.stdin(std::process::Stdio::null()).kill_on_drop(true);
        let running = tokio::time::timeout(COMMAND_LIMIT, command.output());
        let killed = self.end_command.notified();
        let what = || format!("{}: aegis {}", self.name, arguments.join(" "));
        let output = tokio::select! {
            ended = running => ended.with_context(what)?.with_context(what)?,
            // Dropping it kills it.
            () = killed => return Err(Killed.into()),
        };
        if output.status.success() {
            return serde_json::from_slice(&output.stdout)
                .with_context(|| format!("{}: not one JSON document", what()));
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        let document = errors.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
        let document = document.or_else(|| serde_json::from_str(&errors).ok());
        let text = |field: &str| {
            let pointer = format!("/error/{field}");
            let value = document.as_ref().and_then(|document| document.pointer(&pointer));
            value.and_then(Value::as_str).map(str::to_owned)
        };
        match (text("code"), text("message")) {
            (Some(code), message) => Err(Refused {
                name: self.name.clone(),
                command: arguments.join(" "),
                code,
                message: message.unwrap_or_default(),
            }
            .into()),
            _ => bail!("{} failed ({}) without an error document: {errors}", what(), output.status),
        }
    }

    /// Where the background program's lines go.
    pub fn lines_file(&self) -> PathBuf {
        self.run.log(&format!("{}-lines", self.name))
    }

    /// Starts the background program. Its lines are appended to [`Participant::lines_file`].
    pub fn start(&self) -> Result<()> {
        let lines = OpenOptions::new().create(true).append(true).open(self.lines_file())?;
        let name = format!("run-{}", self.name);
        let errors = OpenOptions::new().create(true).append(true).open(self.run.log(&name))?;
        let mut command = self.command(&["run", "--daemon", &self.daemon]);
        let process = self.run.spawn_into(&name, command.stdout(lines).stderr(errors))?;
        self.slot()?.replace(process);
        Ok(())
    }

    fn slot(&self) -> Result<std::sync::MutexGuard<'_, Option<Process>>> {
        self.background.lock().map_err(|_| anyhow::anyhow!("another task failed while it held {}", self.name))
    }

    /// Kills the background program with SIGKILL, and its wallet server where `with_wallet`.
    pub fn kill(&self, with_wallet: bool) -> Result<()> {
        if let Some(mut process) = self.slot()?.take() {
            process.kill(with_wallet)?;
        }
        Ok(())
    }

    /// Kills the single command that runs at the moment, if one does, with SIGKILL; [`Participant::cmd`] gives it again.
    pub fn kill_command(&self) {
        self.end_command.notify_waiters();
    }

    /// Asks the background program to end in order, and waits for it.
    pub async fn stop(&self) -> Result<()> {
        let process = self.slot()?.take();
        if let Some(mut process) = process {
            tokio::task::spawn_blocking(move || process.stop(Duration::from_secs(30))).await??;
        }
        Ok(())
    }

    /// Whether the background program was started and not stopped.
    pub fn is_started(&self) -> bool {
        self.background.lock().is_ok_and(|slot| slot.is_some())
    }

    /// An error with the end of its log, where the background program has ended by itself.
    pub fn must_run(&self) -> Result<()> {
        let mut slot = self.slot()?;
        slot.as_mut().map_or(Ok(()), |process| process.must_run().with_context(|| self.name.clone()))
    }

    /// Everything the background program has said so far.
    pub fn lines(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.lines_file()).unwrap_or_default();
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Lets the background program run when this value is dropped.
    pub fn keep(&self) {
        if let Ok(mut slot) = self.background.lock()
            && let Some(process) = slot.as_mut()
        {
            process.keep();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn participant(dir: &Path, script: &str) -> Participant {
        let program = dir.join("aegis");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let run = RunDir::open(&dir.join("run")).unwrap();
        Participant::new(&run, &program, "alice", "127.0.0.1:1").unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_one_document_and_a_refusal_keeps_its_code() {
        let dir = tempfile::tempdir().unwrap();
        let refusing = "case \"$4\" in id) echo '{\"pin\":\"x\"}';;\n\
                        *) echo '{\"error\":{\"code\":\"wrong_state\",\"message\":\"no\"}}' >&2; exit 1;; esac";
        let alice = participant(dir.path(), refusing);
        assert_eq!(alice.cmd(&["id"]).await.unwrap()["pin"], "x");
        let error = alice.cmd(&["confirm", "1"]).await.unwrap_err();
        assert_eq!(error.downcast_ref::<Refused>().unwrap().code, "wrong_state");
    }

    #[tokio::test]
    async fn a_refusal_that_passes_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let script = "f=\"$2/second\"; if [ -e \"$f\" ]; then echo '{}'; else touch \"$f\";\n\
                      echo '{\"error\":{\"code\":\"broken_chain\",\"message\":\"no\"}}' >&2; exit 1; fi";
        assert!(participant(dir.path(), script).cmd(&["confirm", "1"]).await.is_ok());
    }

    #[tokio::test]
    async fn the_background_programs_lines_are_kept_and_its_end_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let alice = participant(dir.path(), "echo '{\"event\":\"started\"}'; echo why >&2; exit 3");
        alice.start().unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(alice.lines().unwrap()[0]["event"], "started");
        let error = format!("{:#}", alice.must_run().unwrap_err());
        assert!(error.contains("why") && error.contains('3'), "{error}");
    }
}
