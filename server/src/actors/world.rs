//! What every escrow's actor works with.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aegis_common::address::Network;
use aegis_common::escrow::deadline::Patience;
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::time::Clock;
use tokio::sync::Notify;

use super::escrow::store_refusal;
use super::message::Refusal;
use super::outages::Outages;
use super::tip::ChainTip;
use super::troubles::Troubles;
use super::watched;
use crate::chain::{Looks, WatchList};
use crate::store::{Store, StoreError};

/// Payments that are known to be no residue, a megabyte of them.
const MOST_NOTED: usize = 10_000;

/// Shared by all actors of one server.
pub(super) struct World {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub network: Network,
    pub tip: ChainTip,
    pub watched: WatchList,
    pub looks: Looks,
    /// How long somebody waits for a look.
    pub look_patience: Duration,
    /// Escrows for whose deletion somebody waits.
    pub deleting: Mutex<HashSet<EscrowId>>,
    /// Wakes the outbox after a commit.
    pub committed: Notify,
    pub counters: Counters,
    /// How long people have to answer in escrows made from now on.
    pub patience: Patience,
    /// Which escrows' actors panicked.
    pub troubles: Mutex<Troubles>,
    /// Payments that are in a block and are no payout's residue, by as many proposals as there were: nothing is asked of the nodes
    /// about them again and again.
    pub no_residue: Mutex<HashMap<(EscrowId, Hash32), usize>>,
    /// When no server ran.
    pub outages: Outages,
    /// Another server may change the same database: nothing is refused on what is only in memory.
    pub several_servers: bool,
    /// Called before an escrow's actor decides; a test may panic in it.
    #[cfg(test)]
    pub hook: std::sync::Mutex<Option<Hook>>,
}

#[cfg(test)]
pub(super) type Hook = Arc<dyn Fn(&aegis_common::ids::EscrowId, &super::escrow::Work) + Send + Sync>;

impl World {
    /// Which escrows' actors panicked. What is guarded is whole, whoever panicked.
    pub fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a payment was looked up and is no residue of so many proposals.
    pub fn is_no_residue(&self, id: EscrowId, txid: Hash32, proposals: usize) -> bool {
        let known = self.no_residue.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(id, txid)) == Some(&proposals)
    }

    /// Notes that.
    pub fn note_no_residue(&self, id: EscrowId, txid: Hash32, proposals: usize) {
        let mut known = self.no_residue.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked up again is no more than that.
        if known.len() >= MOST_NOTED {
            known.clear();
        }
        known.insert((id, txid), proposals);
    }

    /// The block after the newest one that was followed.
    pub async fn next_block(&self, id: EscrowId) -> Result<u64, Refusal> {
        let tip = match self.tip.height() {
            Some(height) => Some(height),
            None => {
                let progress = self.store.chain_progress(self.network).await;
                progress.map_err(|error| store_refusal(id, &error))?.map(|tip| tip.height)
            }
        };
        // Without any knowledge of the chain it can't be told.
        tip.map(|height| height.saturating_add(1)).ok_or(Refusal::Unavailable)
    }

    /// Puts an escrow on the watch list anew, from the first block that it may not have been told of.
    pub async fn watch_again(&self, id: EscrowId) -> Result<(), StoreError> {
        if let Some(watched) = self.store.watched_one(id).await?
            && let Some(key) = watched::key(&watched)
        {
            self.watched.add(key, watched.behind_from.unwrap_or(watched.watch_from));
        }
        Ok(())
    }
}

/// Counted since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub live: AtomicU64,
    pub activated: AtomicU64,
    pub passivated: AtomicU64,
    pub restarted: AtomicU64,
    pub given_up: AtomicU64,
    pub loops_restarted: AtomicU64,
    /// Looks for deadlines that were brought to an end.
    pub deadline_looks: AtomicU64,
}
