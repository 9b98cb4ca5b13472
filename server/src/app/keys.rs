//! Rotation of the keys that seal, beside a running server.
//!
//! A new key is added to the file, then noted in the database; servers read the file anew every few seconds, note its last key,
//! and seal with it from then on. Everything under older keys is sealed anew, round after round, until a whole round finds
//! nothing. A rotation that was cut off goes on when it is called again: what is done is done.

use std::time::Duration;

use anyhow::{Context, bail};

use super::Ground;
use super::housekeeping::RELOAD;
use crate::crypto::KeyringError;

/// Values that are looked at in one step.
const STEP: usize = 500;

/// Adds a fresh key and seals everything anew under it.
pub async fn rotate(ground: &Ground, tell: impl FnMut(String)) -> anyhow::Result<()> {
    let new = ground.keyring.new_key()?;
    // First the file: a key that the database asks for must be somewhere.
    ground.keyring.adopt(&new)?;
    ground.store.use_seal_key(new.id, ground.clock.now()).await?;
    // Until then a running server may still seal with the key before.
    tokio::time::sleep(RELOAD + Duration::from_secs(1)).await;
    reseal(ground, tell).await
}

/// Seals anew whatever lies under a key that is not the current one.
pub async fn reseal(ground: &Ground, mut tell: impl FnMut(String)) -> anyhow::Result<()> {
    let current = ground.keyring.current_id();
    loop {
        let changed = round(ground).await?;
        tell(format!("{changed} values sealed under {current}"));
        if changed == 0 {
            return Ok(());
        }
    }
}

async fn round(ground: &Ground) -> anyhow::Result<usize> {
    let (mut after, mut changed) = (None, 0);
    loop {
        let step = ground.store.reseal(after, STEP).await.context("sealing anew")?;
        changed += step.changed;
        if step.next.is_none() {
            return Ok(changed);
        }
        after = step.next;
    }
}

/// Removes the keys under which nothing lies any more from the file.
pub async fn prune(ground: &Ground) -> anyhow::Result<usize> {
    let current = ground.keyring.current_id();
    // From here on nothing can be stored under another key, whatever a server still has in hand.
    if round(ground).await? > 0 || !ground.store.retire_seal_keys_before(current, ground.clock.now()).await? {
        bail!("a server still sealed with an old key a moment ago; try again");
    }
    let count = ground.keyring.ids().len() - 1;
    match ground.keyring.prune(current) {
        // Who keeps the keys in the environment may take the old ones out now.
        Ok(()) | Err(KeyringError::NoFile) => Ok(count),
        Err(error) => Err(error.into()),
    }
}

/// A line for each key.
pub fn list(ground: &Ground) -> Vec<String> {
    let current = ground.keyring.current_id();
    let line =
        |id| if id == current { format!("{id}  current") } else { format!("{id}  opens what it sealed") };
    ground.keyring.ids().into_iter().map(line).collect()
}
