//! What every escrow's actor works with.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aegis_common::address::Network;
use aegis_common::time::Clock;
use tokio::sync::Notify;

use super::tip::ChainTip;
use crate::chain::WatchList;
use crate::store::Store;

/// Shared by all actors of one server.
pub(super) struct World {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub network: Network,
    pub tip: ChainTip,
    pub watched: WatchList,
    /// Wakes the outbox after a commit.
    pub committed: Notify,
    pub counters: Counters,
    /// Another server may change the same database: nothing is refused on what is only in memory.
    pub several_servers: bool,
    /// Called before an escrow's actor decides; a test may panic in it.
    #[cfg(test)]
    pub hook: std::sync::Mutex<Option<Hook>>,
}

#[cfg(test)]
pub(super) type Hook = Arc<dyn Fn(&aegis_common::ids::EscrowId, &super::escrow::Work) + Send + Sync>;

/// Counted since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub live: AtomicU64,
    pub activated: AtomicU64,
    pub passivated: AtomicU64,
    pub restarted: AtomicU64,
    pub given_up: AtomicU64,
    pub loops_restarted: AtomicU64,
}
