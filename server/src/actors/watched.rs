//! Filling the watch list at the start, and ending watches.

use std::time::Duration;

use aegis_common::chain::WatchKey;
use aegis_common::escrow::state::Status;
use aegis_common::ids::EscrowId;

use super::escrow::store_refusal;
use super::message::Refusal;
use super::world::World;
use crate::chain::WatchList;
use crate::store::{MAX_PAGE, Store, StoreError, Watched};

/// Rows that are read at once: two megabytes.
const PAGE: usize = MAX_PAGE;
/// Watches that are ended in one transaction, so that no commit waits long.
const BATCH: usize = 500;

/// Ends the watch of escrows that have been over, and unchanged, for `days`: in the database and on this server's list.
/// Another server on the same database has them on its list until it starts anew, which costs it time and nothing else.
pub(super) async fn unwatch(world: &World, days: u32) -> Result<usize, StoreError> {
    let over: Vec<_> = Status::ALL.into_iter().filter(|status| status.is_over()).map(Status::wire).collect();
    let now = world.clock.now();
    let kept = Duration::from_secs(u64::from(days) * 24 * 3600);
    // Before the calendar's beginning nothing has ended.
    let Ok(before) = now.checked_sub(kept) else { return Ok(0) };
    let mut total = 0;
    loop {
        let ended = world.store.unwatch(over.clone(), before, BATCH).await?;
        total += ended.len();
        let full = ended.len() == BATCH;
        world.watched.remove_all(&ended.into_iter().collect());
        if !full {
            return Ok(total);
        }
    }
}

/// Ends watches from time to time. Never ends itself.
pub(super) async fn unwatch_often(world: &World, days: u32, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        tell_unwatched(unwatch(world, days).await);
    }
}

/// One line for what was ended.
pub(super) fn tell_unwatched(outcome: Result<usize, StoreError>) {
    match outcome {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "escrows ended long ago are watched no longer"),
        Err(error) => tracing::warn!(%error, "watches could not be ended"),
    }
}

/// Puts every watched escrow on the list that has been told everything, and gives those that have not.
pub(super) async fn load(store: &Store, list: &WatchList) -> Result<Vec<EscrowId>, StoreError> {
    let (mut after, mut behind) = (None, Vec::new());
    loop {
        let page = store.watched(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(behind) };
        after = Some(last.id);
        let full = page.len() == PAGE;
        behind.extend(page.iter().filter(|watched| watched.behind_from.is_some()).map(|watched| watched.id));
        list.add_all(page.iter().filter(|watched| watched.behind_from.is_none()).filter_map(key).collect());
        if !full {
            return Ok(behind);
        }
    }
}

/// Looks for a watched escrow in old blocks again, from one on, beside everything else; before it was first watched it can have
/// received nothing. What it was told stays told, what is found is told. A restart ends it, and another takes its place.
pub(super) async fn rescan(world: &World, id: EscrowId, from: u64) -> Result<(), Refusal> {
    let watched = world.store.watched_one(id).await.map_err(|error| store_refusal(id, &error))?;
    let watched = watched.ok_or(Refusal::NotFound)?;
    if watched.behind_from.is_some() {
        // It is being looked for from some block on, and that must not be forgotten.
        return Err(Refusal::Busy);
    }
    let from = from.max(watched.watch_from);
    world.watched.add(key(&watched).ok_or(Refusal::Failed)?, from);
    tracing::info!(escrow = %id, from, "an escrow is looked for again");
    // It may have missed something in this very moment: that must not be forgotten.
    let now = world.store.watched_one(id).await.map_err(|error| store_refusal(id, &error))?;
    if now.is_some_and(|now| now.behind_from.is_some()) {
        world.watch_again(id).await.map_err(|error| store_refusal(id, &error))?;
    }
    Ok(())
}

/// What an escrow is scanned for with. One that can't be read must not keep all others from being watched.
pub(super) fn key(watched: &Watched) -> Option<WatchKey> {
    let spend_keys = watched.spend_keys;
    let key = spend_keys.and_then(|spend| WatchKey::restore(watched.id, &watched.view_key, spend).ok());
    if key.is_none() {
        tracing::error!(escrow = %watched.id, "an escrow can't be watched: its stored keys are damaged");
    }
    key
}
