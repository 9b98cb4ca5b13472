//! Filling the watch list at the start, and ending watches.

use std::time::Duration;

use aegis_common::address::Network;
use aegis_common::chain::WatchKey;
use aegis_common::escrow::state::Status;

use super::world::World;
use crate::chain::WatchList;
use crate::store::{MAX_PAGE, Store, StoreError, Watched};

/// Rows that are read at once: two megabytes.
const PAGE: usize = MAX_PAGE;
/// An escrow becomes ready and is put on the list a moment later; blocks that were processed in between are looked
/// through again. Where a crash prevented that, it is done at the next start: for all that became ready within so many
/// blocks, because that it was done is not recorded.
const OVERLAP: u64 = 100;
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

/// Puts every watched escrow on the list. Gives how many there are.
pub(super) async fn load(store: &Store, network: Network, list: &WatchList) -> Result<usize, StoreError> {
    let processed = store.chain_progress(network).await?.map(|tip| tip.height);
    let (mut after, mut total) = (None, 0);
    loop {
        let page = store.watched(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(total) };
        after = Some(last.id);
        let full = page.len() == PAGE;
        let keys: Vec<_> = page.iter().filter_map(|watched| key(watched, processed)).collect();
        total += keys.len();
        list.add_all(keys);
        if !full {
            return Ok(total);
        }
    }
}

/// One entry of the list. An escrow that can't be read must not keep all others from being watched.
fn key(watched: &Watched, processed: Option<u64>) -> Option<(WatchKey, u64)> {
    let spend_keys = watched.spend_keys;
    let key = spend_keys.and_then(|spend| WatchKey::restore(watched.id, &watched.view_key, spend).ok());
    if key.is_none() {
        tracing::error!(escrow = %watched.id, "an escrow can't be watched: its stored keys are damaged");
    }
    let from = match processed {
        Some(processed) if watched.watch_from.saturating_add(OVERLAP) <= processed => processed + 1,
        _ => watched.watch_from,
    };
    key.map(|key| (key, from))
}
