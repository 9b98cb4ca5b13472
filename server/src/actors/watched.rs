//! Filling the watch list at the start.

use aegis_common::address::Network;
use aegis_common::chain::WatchKey;

use crate::chain::WatchList;
use crate::store::{MAX_PAGE, Store, StoreError, Watched};

/// Rows that are read at once: two megabytes.
const PAGE: usize = MAX_PAGE;
/// An escrow becomes ready and is put on the list a moment later; blocks that were processed in between are looked
/// through again. Where a crash prevented that, it is done at the next start: for all that became ready within so many
/// blocks, because that it was done is not recorded.
const OVERLAP: u64 = 100;

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
