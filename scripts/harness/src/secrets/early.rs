//! The keys from before a wallet becomes a multisig one. With the others' first messages, which the server relays, both of a
//! participant's multisig keys follow from such a key; and the wallet forgets it in round 2.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

use crate::world::World;

/// A file is copied when it has not changed for so long: it is whole then, and round 2 is seconds away.
const SETTLED: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(50);

/// Copies every wallet's keys file as it was first written, while the stories are told.
pub struct EarlyKeys {
    folder: PathBuf,
    task: JoinHandle<()>,
}

impl EarlyKeys {
    /// Begins to look.
    pub fn watch(world: &World) -> Result<Self> {
        let folder = world.run.folder("early")?;
        let homes: Vec<_> = world
            .people
            .values()
            .map(|p| (p.program.name().to_owned(), p.program.home().to_owned()))
            .collect();
        let to = folder.clone();
        let task = tokio::spawn(async move {
            let mut known = BTreeSet::new();
            loop {
                for (name, home) in &homes {
                    copy_new(&home.join("wallet/wallets"), &to, name, &mut known);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Ok(Self { folder, task })
    }

    /// The copy of a participant's wallet file.
    pub fn of(&self, owner: &str, keys: &Path) -> Result<PathBuf> {
        let name = keys.file_name().context("a wallet file has a name")?;
        Ok(self.folder.join(format!("{owner}-{}", name.to_string_lossy())))
    }
}

impl Drop for EarlyKeys {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn copy_new(from: &Path, to: &Path, owner: &str, known: &mut BTreeSet<PathBuf>) {
    for path in std::fs::read_dir(from).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let changed = path.metadata().and_then(|meta| meta.modified()).ok();
        let settled = changed.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > SETTLED);
        let is_keys = path.extension().is_some_and(|end| end == "keys");
        if !is_keys || !settled || known.contains(&path) {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if std::fs::copy(&path, to.join(format!("{owner}-{name}"))).is_ok() {
            known.insert(path);
        }
    }
}
