//! Filling the watch list at the start.

use std::num::NonZero;

use aegis_common::address::{Address, Network};
use aegis_common::chain::WatchKey;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::chain::WatchList;
use crate::store::{Store, StoreError, Watched};

/// Rows that are read at once: a few megabytes.
const PAGE: usize = 2_000;
/// An escrow becomes ready and is put on the list a moment later; blocks that were processed in between are looked
/// through again. Where a crash prevented that, it is done at the next start: for all that became ready within so many
/// blocks, because that it was done is not recorded.
const OVERLAP: u64 = 100;

/// The part of a snapshot that is needed here; reading all of it takes ten times as long.
#[derive(Deserialize)]
struct Snapshot {
    setup: Setup,
}

#[derive(Deserialize)]
struct Setup {
    attested: Vec<(IgnoredAny, Address)>,
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
        let keys = prepare(page, processed).await?;
        total += keys.len();
        list.add_all(keys);
        if !full {
            return Ok(total);
        }
    }
}

/// The curve operations, on all processors.
async fn prepare(page: Vec<Watched>, processed: Option<u64>) -> Result<Vec<(WatchKey, u64)>, StoreError> {
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = page.len().div_ceil(workers).max(1);
    let mut page = page.into_iter();
    let mut tasks = Vec::with_capacity(workers);
    loop {
        let some: Vec<Watched> = page.by_ref().take(share).collect();
        if some.is_empty() {
            break;
        }
        tasks.push(tokio::task::spawn_blocking(move || {
            some.into_iter().filter_map(|watched| key(&watched, processed)).collect::<Vec<_>>()
        }));
    }
    let mut keys = Vec::new();
    for task in tasks {
        keys.extend(task.await.map_err(|error| StoreError::Unavailable(error.to_string()))?);
    }
    Ok(keys)
}

/// One entry of the list. An escrow that can't be read must not keep all others from being watched.
fn key(watched: &Watched, processed: Option<u64>) -> Option<(WatchKey, u64)> {
    let damaged = |why: &dyn std::fmt::Display| {
        tracing::error!(escrow = %watched.id, %why, "an escrow can't be watched");
    };
    let snapshot: Snapshot =
        serde_json::from_str(&watched.snapshot).inspect_err(|error| damaged(error)).ok()?;
    let Some((_, address)) = snapshot.setup.attested.first() else {
        damaged(&"it has no address");
        return None;
    };
    let key = WatchKey::new(watched.id, *watched.view_key, address).inspect_err(|error| damaged(error));
    let from = match processed {
        Some(processed) if watched.watch_from.saturating_add(OVERLAP) <= processed => processed + 1,
        _ => watched.watch_from,
    };
    Some((key.ok()?, from))
}
