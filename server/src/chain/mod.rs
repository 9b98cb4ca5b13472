//! Following the chain: blocks and mempool are scanned for every watched escrow, and what is found is told as
//! facts. It knows no escrow rules.
//!
//! ```text
//! NodePool ─(Source)→ Follower ─(Fact)→ Sink        facts first,
//!              Ahead     │ ↑  └────────→ Progress    then how far we are: at least once, never lost
//!                   Scanner WatchList
//! ```

mod ahead;
mod backlog;
mod follower;
mod looks;
mod memory;
mod pace;
#[cfg(test)]
mod tests;
mod watch_list;

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use aegis_common::chain::{Found, Tx};
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;

use crate::node::{FullBlock, NodeError, NodePool, Tip};

pub use follower::Follower;
pub use looks::Looks;
pub use pace::CatchingUp;
pub use watch_list::WatchList;

/// What happened on the chain. Delivered at least once: the receiver recognises a repetition by transaction
/// and output index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// An output pays a watched escrow.
    Deposit {
        /// The output.
        found: Found,
        /// Its block; `None` while it is in the mempool. A later block tells the same output again with a
        /// height.
        height: Option<u64>,
    },
    /// Every block above the height is undone, with the deposits in it; there may be none. What is mined
    /// again is told again. Also told at every restart, for deposits of a block that was replaced before it
    /// was saved as processed.
    RolledBack {
        /// The highest block that still stands.
        to: u64,
    },
    /// An escrow has been looked for in every processed block from `from` on, as it was added with. Until this is stored, add
    /// it with the same block after a restart.
    CaughtUp {
        /// The escrow.
        escrow: EscrowId,
        /// The first block.
        from: u64,
        /// Which addition to the list this was ([`WatchList::is_present`]).
        number: u64,
    },
    /// All blocks up to this one have been processed; confirmations count from here. Told once at every
    /// start, then when it changes.
    Tip {
        /// Height of the top block.
        height: u64,
        /// Its hash.
        hash: Hash32,
    },
}

/// The receiver could not take a fact durably; it is delivered again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fact not taken: {0}")]
pub struct SinkError(pub String);

/// Progress could not be read or saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("progress: {0}")]
pub struct ProgressError(pub String);

/// Where facts go. Returning means that the fact is durable.
pub trait Sink: Send + Sync {
    /// Takes one fact.
    fn deliver(&self, fact: Fact) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// How far the follower is, durably. It must keep the hashes of at least the last [`Config::max_reorg`] + 1
/// heights.
pub trait Progress: Send + Sync {
    /// The last block processed.
    fn load(&self) -> impl Future<Output = Result<Option<Tip>, ProgressError>> + Send;
    /// The hash of a processed block, if it is still kept.
    fn hash_at(&self, height: u64) -> impl Future<Output = Result<Option<Hash32>, ProgressError>> + Send;
    /// The next block is processed; at the first start, the first of many.
    fn advance(&self, tip: Tip) -> impl Future<Output = Result<(), ProgressError>> + Send;
    /// Forgets every block above the height.
    fn rewind(&self, to: u64) -> impl Future<Output = Result<(), ProgressError>> + Send;
}

/// Where blocks come from; [`NodePool`] in the program, a chain in memory in tests.
pub trait Source: Send + Sync + 'static {
    /// The top block.
    fn tip(&self) -> impl Future<Output = Result<Tip, NodeError>> + Send;
    /// The hash at a height.
    fn header_hash(&self, height: u64) -> impl Future<Output = Result<Hash32, NodeError>> + Send;
    /// The blocks of a range in their order, from the first on: at least one, and as many as the source hands out at once.
    fn blocks(
        &self,
        range: RangeInclusive<u64>,
    ) -> impl Future<Output = Result<Vec<FullBlock>, NodeError>> + Send;
    /// The mempool.
    fn pool(&self) -> impl Future<Output = Result<Vec<Arc<Tx>>, NodeError>> + Send;
    /// Returns when the source has heard of something new; it may never.
    fn news(&self) -> impl Future<Output = ()> + Send;
}

impl Source for NodePool {
    async fn tip(&self) -> Result<Tip, NodeError> {
        self.tip().await
    }
    async fn header_hash(&self, height: u64) -> Result<Hash32, NodeError> {
        self.header_hash(height).await
    }
    async fn blocks(&self, range: RangeInclusive<u64>) -> Result<Vec<FullBlock>, NodeError> {
        self.blocks(range).await
    }
    async fn pool(&self) -> Result<Vec<Arc<Tx>>, NodeError> {
        self.pool().await
    }
    async fn news(&self) {
        self.news().await;
    }
}

/// How the chain is followed.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Longest pause between two looks at the chain; news of the source ends it.
    pub poll: Duration,
    /// Deepest reorganisation that is followed, in blocks. A deeper one stops the follower: a person must
    /// look.
    pub max_reorg: u64,
    /// Old blocks looked through for late escrows between two looks at the tip, so that these never wait
    /// long.
    pub backlog_blocks: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { poll: Duration::from_secs(1), max_reorg: 100, backlog_blocks: 50 }
    }
}

/// How the follower fares, for status pages and alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing was processed yet.
    Starting,
    /// It has been away, and is processing what it missed.
    CatchingUp(CatchingUp),
    /// All is processed up to this block.
    Following(Tip),
    /// The last look failed; it is repeated.
    Stalled(String),
    /// It gave up and needs a person.
    Stopped(String),
}

/// A look at the chain failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The nodes.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The receiver of facts.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The store of progress.
    #[error(transparent)]
    Progress(#[from] ProgressError),
    /// The chain changed while it was read; the next look sees it whole.
    #[error("the chain changed while it was read")]
    Moving,
    /// The scanner panicked.
    #[error("the scanner failed: {0}")]
    Scanner(String),
    /// The chain changed deeper than is followed. Not repeated: the follower stops.
    #[error("the chain differs from the one followed at block {height}, more than {max_reorg} blocks deep")]
    DeepReorg {
        /// Where it still differs.
        height: u64,
        /// The configured limit.
        max_reorg: u64,
    },
}
