//! Child processes that never outlive their purpose.
//!
//! Every process is noted in its run directory by pid and time of birth. It is killed when its handle is dropped; when
//! the parent itself was killed, the next [`RunDir::open`] of that directory ends what is left. A noted pid is only
//! ever signalled while it belongs to a process born at that moment: pids are used again. (Not the command line: right
//! after a start it is empty for a moment, as the kernel sets it after it has let the parent go on.)

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A private directory of running programs: their data, logs and pid files.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Creates the directory (0700) where it is missing and ends what an earlier run left in it.
    pub fn open(root: &Path) -> Result<Self> {
        let run = Self { root: root.to_owned() };
        run.folder("pids")?;
        run.folder("logs")?;
        run.end_all()?;
        Ok(run)
    }

    /// A directory that [`RunDir::open`] has made before; nothing in it is touched.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A private folder in it, created where it is missing.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.with_context(|| format!("can't create {}", path.display()))?;
        Ok(path)
    }

    /// Writes a private file (0600) in it.
    pub fn private_file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let mut file = opened.with_context(|| format!("can't write {}", path.display()))?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }

    /// Where a program's output goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    fn note(&self, name: &str) -> PathBuf {
        self.root.join("pids").join(format!("{name}.pid"))
    }

    /// Starts a program; both outputs are appended to its log.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Process> {
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(self.log(name))?;
        let errors = log.try_clone()?;
        self.spawn_into(name, command.stdout(log).stderr(errors))
    }

    /// Starts a program whose outputs the caller has directed.
    pub fn spawn_into(&self, name: &str, command: &mut Command) -> Result<Process> {
        let program = command.get_program().to_owned();
        let spawned = command.stdin(Stdio::null()).spawn();
        let child = spawned.with_context(|| format!("can't start {}", program.display()))?;
        let note = self.note(name);
        // From here on dropping the handle ends the program.
        let process = Process { child, note: note.clone(), log: self.log(name), end_on_drop: true };
        fs::write(&note, format!("{}\n{}", process.pid(), birth(process.pid()).unwrap_or_default()))?;
        Ok(process)
    }

    /// The noted programs that still run: name and pid.
    pub fn running(&self) -> Result<Vec<(String, u32)>> {
        let mut running = Vec::new();
        let notes = self.root.join("pids");
        for entry in fs::read_dir(&notes).with_context(|| format!("no {}", notes.display()))? {
            let path = entry?.path();
            let text = fs::read_to_string(&path)?;
            let (pid, noted) = text.split_once('\n').unwrap_or((&text, ""));
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match pid.parse::<u32>() {
                Ok(pid) if !noted.is_empty() && birth(pid).as_deref() == Some(noted) => {
                    running.push((name, pid));
                }
                _ => fs::remove_file(&path)?,
            }
        }
        running.sort();
        Ok(running)
    }

    /// Ends every noted program that still runs, and the ones they had started, and says which.
    pub fn end_all(&self) -> Result<Vec<String>> {
        let running = self.running()?;
        for (_, pid) in &running {
            let children = descendants(*pid);
            signal("KILL", *pid)?;
            for child in children {
                signal("KILL", child)?;
            }
        }
        let begun = Instant::now();
        while !self.running()?.is_empty() {
            if begun.elapsed() > Duration::from_secs(10) {
                bail!("programs in {} can't be ended", self.root.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(running.into_iter().map(|(name, _)| name).collect())
    }
}

/// What follows the name in `/proc/PID/stat`: state, parent, … (proc(5)).
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, even a bracket.
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// When a running process was born: clock ticks since the machine's start, and which start that was. `None` where it
/// has ended.
fn birth(pid: u32) -> Option<String> {
    let stat = stat(pid)?;
    let (state, ticks) = (stat.first()?, stat.get(19)?);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    (!["Z", "X"].contains(&state.as_str())).then(|| format!("{ticks} {}", boot.trim()))
}

/// The processes a process has started, and those they have.
fn descendants(of: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Some(stat) = stat(pid) else { continue };
        if let Some(parent) = stat.get(1).and_then(|parent| parent.parse::<u32>().ok()) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![of];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// Sends a signal by its name. A process that has ended meanwhile is no error.
fn signal(name: &str, pid: u32) -> Result<()> {
    let mut kill = Command::new("/bin/sh");
    kill.args(["-c", &format!("kill -{name} {pid}")]).stdout(Stdio::null()).stderr(Stdio::null());
    kill.status().context("can't send a signal")?;
    Ok(())
}

/// Keeps the settings of whoever runs the harness away from the programs it starts.
pub fn only_own_settings(command: &mut Command) {
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| name.to_string_lossy().starts_with("AEGIS_")) {
        command.env_remove(name);
    }
}

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    note: PathBuf,
    log: PathBuf,
    end_on_drop: bool,
}

impl Process {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// An error with the end of its log, where it has ended although it should run.
    pub fn must_run(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("ended ({status}); {}\n{}", self.log.display(), tail(&self.log, 15)),
        }
    }

    /// Kills it with SIGKILL, and the programs it had started where `with_children`, and waits for its end.
    pub fn kill(&mut self, with_children: bool) -> Result<()> {
        let children = if with_children { descendants(self.pid()) } else { Vec::new() };
        if self.ended()?.is_none() {
            self.child.kill()?;
        }
        self.child.wait()?;
        for child in children {
            signal("KILL", child)?;
        }
        // Absent where the run directory is gone already.
        let _ = fs::remove_file(&self.note);
        Ok(())
    }

    /// Asks it to end (SIGTERM); kills it after `limit`.
    pub fn stop(&mut self, limit: Duration) -> Result<()> {
        if self.ended()?.is_none() {
            signal("TERM", self.pid())?;
        }
        let begun = Instant::now();
        while self.ended()?.is_none() && begun.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.kill(true)
    }

    /// Lets it run when the handle is dropped. The run directory's note stays, so it can be ended later.
    pub fn keep(&mut self) {
        self.end_on_drop = false;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.end_on_drop {
            // Nothing more can be done here; the note stays for the next start.
            let _ = self.kill(true);
        }
    }
}

/// The last lines of a file.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(run: &RunDir, name: &str) -> Process {
        run.spawn(name, Command::new("sh").args(["-c", "sleep 971 & wait"])).unwrap()
    }

    fn alive(pid: u32) -> bool {
        birth(pid).is_some()
    }

    #[test]
    fn a_dropped_process_is_dead_and_so_are_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path()).unwrap();
        let process = sleeper(&run, "a");
        let pid = process.pid();
        std::thread::sleep(Duration::from_millis(200));
        let children = descendants(pid);
        assert_eq!(children.len(), 1);
        drop(process);
        std::thread::sleep(Duration::from_millis(100));
        assert!(!alive(pid) && !alive(children[0]));
        assert!(run.running().unwrap().is_empty());
    }

    #[test]
    fn what_a_killed_parent_left_is_ended_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path()).unwrap();
        let mut process = sleeper(&run, "b");
        process.keep();
        let pid = process.pid();
        assert!(alive(pid));
        // The handle's owner is this test, so somebody must collect the exit status.
        let waiter = std::thread::spawn(move || process.child.wait());
        RunDir::open(dir.path()).unwrap();
        waiter.join().unwrap().unwrap();
        assert!(!alive(pid));
    }

    #[test]
    fn a_pid_that_now_belongs_to_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path()).unwrap();
        fs::write(run.note("mine"), format!("{}\n1 another", std::process::id())).unwrap();
        assert!(RunDir::open(dir.path()).unwrap().running().unwrap().is_empty());
        assert!(!run.note("mine").exists());
    }
}
