//! Hosts the chain follower: turns what happened on the chain into commands for the escrows it concerns. It knows no
//! escrow rules; an escrow that has no use for a fact says so.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use aegis_common::address::Network;
use aegis_common::chain::Found;
use aegis_common::escrow::contract::bounds::MAX_FINALITY;
use aegis_common::escrow::deposits::{OutputId, Sighting, Slot};
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use tokio::sync::{Mutex, Notify};

use super::message::{Command, Refusal, Tell};
use super::sweep::{WIDTH, taken, tell, tell_each, warn};
use super::world::World;
use crate::chain::{Fact, Progress, ProgressError, Sink, SinkError};
use crate::node::Tip;
use crate::store::{MAX_PAGE, Store};

/// Escrows that are read at once.
const BATCH: usize = 500;
/// How far the follower is, in the database.
pub(super) struct StoredProgress {
    pub store: Store,
    pub network: Network,
}

fn progress_error(error: impl std::fmt::Display) -> ProgressError {
    ProgressError(error.to_string())
}

fn tip(tip: crate::store::Tip) -> Tip {
    Tip { height: tip.height, hash: tip.hash }
}

impl Progress for StoredProgress {
    async fn load(&self) -> Result<Option<Tip>, ProgressError> {
        let stored = self.store.chain_progress(self.network).await.map_err(progress_error)?;
        Ok(stored.map(tip))
    }

    async fn hash_at(&self, height: u64) -> Result<Option<Hash32>, ProgressError> {
        let blocks = self.store.chain_blocks(self.network).await.map_err(progress_error)?;
        Ok(blocks.into_iter().find(|block| block.height == height).map(|block| block.hash))
    }

    async fn advance(&self, tip: Tip) -> Result<(), ProgressError> {
        let block = crate::store::Tip { height: tip.height, hash: tip.hash };
        self.store.advance_chain(self.network, vec![block]).await.map_err(progress_error)
    }

    async fn rewind(&self, to: u64) -> Result<(), ProgressError> {
        let block = self.store.rewind_chain(self.network, to).await.map_err(progress_error)?;
        block.map(drop).ok_or_else(|| progress_error("the block to step back to is not remembered"))
    }
}

/// What is told to one escrow.
#[derive(Debug, Clone, Copy)]
enum News {
    Sighted(Sighting),
    RolledBack(u64),
}

impl From<News> for Command {
    fn from(news: News) -> Self {
        match news {
            News::Sighted(seen) => Self::Sighted(seen),
            News::RolledBack(to) => Self::RolledBack { to },
        }
    }
}

/// Takes the follower's facts. Clones share everything.
#[derive(Clone)]
pub(super) struct ChainWatch(Arc<Inner>);

struct Inner {
    world: Arc<World>,
    tell: Recipient<Tell>,
    /// Wakes the look-ups when a block came.
    new_tip: Notify,
    /// Escrows that were not told everything. How far back they are behind stands in the database: one failing escrow must not
    /// hold up everybody's chain, and what it missed must not be forgotten.
    behind: Mutex<BTreeSet<EscrowId>>,
}

impl ChainWatch {
    pub fn new(world: Arc<World>, tell: Recipient<Tell>) -> Self {
        let (new_tip, behind) = (Notify::new(), Mutex::default());
        Self(Arc::new(Inner { world, tell, new_tip, behind }))
    }

    /// Tells these, from now on, what they missed.
    pub async fn catch_up(&self, behind: Vec<EscrowId>) {
        self.0.behind.lock().await.extend(behind);
    }

    /// Looks up, again and again, everything that waits for a block. Never ends.
    pub async fn look_ups(self, every: Duration) {
        loop {
            self.tell_missed().await;
            self.look_up_all().await;
            // What was found in an older block may be deep enough already, and no new block may come for long.
            if let Some(height) = self.0.world.tip.height()
                && let Err(error) = self.tell_due(height).await
            {
                tracing::warn!(%error, "escrows could not be told the height");
            }
            let _ = tokio::time::timeout(every, self.0.new_tip.notified()).await;
        }
    }

    /// One look at everything that waits.
    pub async fn look_up_all(&self) {
        let mut after = None;
        loop {
            let page = match self.0.world.store.unmined(after, BATCH).await {
                Ok(page) => page,
                Err(error) => return tracing::warn!(%error, "unmined transactions could not be read"),
            };
            warn("look-up", &tell_each(&self.0.tell, &page, || Command::LookUp).await);
            match page.last() {
                Some(last) if page.len() == BATCH => after = Some(*last),
                _ => return,
            }
        }
    }

    async fn news(&self, id: EscrowId, news: News) -> Result<(), SinkError> {
        match taken(tell(&self.0.tell, id, news.into()).await) {
            Ok(()) => Ok(()),
            Err(Refusal::Failed) => {
                tracing::error!(escrow = %id, "an escrow's actor fails: it will be told again from here on");
                let from = match news {
                    News::Sighted(seen) => seen.height,
                    News::RolledBack(to) => Some(to.saturating_add(1)),
                };
                // What is in the pool only is told with its block.
                let Some(from) = from else { return Ok(()) };
                let mut behind = self.0.behind.lock().await;
                let stored = self.0.world.store.fall_behind(id, from).await;
                stored.map_err(|error| SinkError(error.to_string()))?;
                behind.insert(id);
                Ok(())
            }
            Err(refusal) => Err(SinkError(refusal.to_string())),
        }
    }

    /// Has escrows that missed something told it as far as they can be now: whatever they know of the blocks since is taken
    /// back, and those blocks are looked through again.
    async fn tell_missed(&self) {
        let behind: Vec<EscrowId> = self.0.behind.lock().await.iter().copied().collect();
        for id in behind {
            if let Err(error) = self.tell_again(id).await {
                tracing::debug!(escrow = %id, %error, "an escrow that is behind could not be told");
            }
        }
    }

    async fn tell_again(&self, id: EscrowId) -> Result<(), SinkError> {
        let from = self.behind_from(id).await?;
        if let Some(from) = from {
            let back = Command::RolledBack { to: from.saturating_sub(1) };
            taken(tell(&self.0.tell, id, back).await).map_err(|refusal| SinkError(refusal.to_string()))?;
        }
        let mut behind = self.0.behind.lock().await;
        // It may have missed more meanwhile: then it is told anew the next time.
        if self.behind_from(id).await? == from {
            if from.is_some() {
                let again = self.0.world.watch_again(id).await;
                again.map_err(|error| SinkError(error.to_string()))?;
            }
            behind.remove(&id);
        }
        Ok(())
    }

    async fn behind_from(&self, id: EscrowId) -> Result<Option<u64>, SinkError> {
        let watched = self.0.world.store.watched_one(id).await;
        let watched = watched.map_err(|error| SinkError(error.to_string()))?;
        Ok(watched.and_then(|watched| watched.behind_from))
    }

    /// An escrow was looked for in all blocks from `from` on.
    async fn caught_up(&self, id: EscrowId, from: u64, number: u64) -> Result<(), SinkError> {
        let mut behind = self.0.behind.lock().await;
        // It missed something since it was put on the list: then this is not true, or is told again of the newer entry.
        if behind.contains(&id) || !self.0.world.watched.is_present(number) {
            return Ok(());
        }
        // Its deadlines count from now on, so what it was told of must be final where it is deep enough.
        if let Some(height) = self.0.world.tip.height() {
            match taken(tell(&self.0.tell, id, Command::Tip { height }).await) {
                Ok(()) => {}
                Err(Refusal::Failed) => {
                    behind.insert(id);
                    return Ok(());
                }
                Err(refusal) => return Err(SinkError(refusal.to_string())),
            }
        }
        let stored = self.0.world.store.caught_up(id, from).await;
        stored.map_err(|error| SinkError(error.to_string()))
    }

    async fn deposit(&self, found: Found, height: Option<u64>) -> Result<(), SinkError> {
        let slot = Slot::of_subaddress(found.subaddress);
        let slot = slot.ok_or_else(|| SinkError("an unknown subaddress".to_owned()))?;
        let output = OutputId { tx: found.tx, index: found.index };
        let Found { escrow, key, amount, locked, .. } = found;
        self.news(escrow, News::Sighted(Sighting { output, key, slot, amount, locked, height })).await
    }

    async fn rolled_back(&self, to: u64) -> Result<(), SinkError> {
        self.0.world.tip.roll_back(to);
        // An output below stays where it is, but may not be deep enough below the new tip any more.
        let floor = to.saturating_sub(u64::from(MAX_FINALITY));
        let concerned = self.0.world.store.above_height(floor).await.map_err(|e| SinkError(e.to_string()))?;
        // Who is told nothing at present must be told from here on, not from a block that is no more.
        let behind = self.0.behind.lock().await;
        for id in behind.iter() {
            let stored = self.0.world.store.fall_behind(*id, to.saturating_add(1)).await;
            stored.map_err(|error| SinkError(error.to_string()))?;
        }
        drop(behind);
        for some in concerned.chunks(WIDTH) {
            let told = some.iter().map(|id| self.news(*id, News::RolledBack(to)));
            for outcome in futures_util::future::join_all(told).await {
                outcome?;
            }
        }
        Ok(())
    }

    async fn tip(&self, height: u64) -> Result<(), SinkError> {
        self.0.world.tip.set(height);
        self.tell_due(height).await?;
        self.0.new_tip.notify_one();
        Ok(())
    }

    /// Tells every escrow for which something is due at a height.
    async fn tell_due(&self, height: u64) -> Result<(), SinkError> {
        let mut failed: HashSet<EscrowId> = HashSet::new();
        loop {
            let limit = (BATCH + failed.len()).min(MAX_PAGE);
            let due = self.0.world.store.due_by_height(height, limit).await;
            let due = due.map_err(|error| SinkError(error.to_string()))?;
            let full = due.len() == limit;
            let due: Vec<EscrowId> = due.into_iter().filter(|id| !failed.contains(id)).collect();
            for (id, refusal) in tell_each(&self.0.tell, &due, || Command::Tip { height }).await {
                if !matches!(refusal, Refusal::Failed) {
                    return Err(SinkError(refusal.to_string()));
                }
                // It stays due, and is told again with the next block.
                failed.insert(id);
            }
            if !full || due.is_empty() {
                return Ok(());
            }
        }
    }
}

impl Sink for ChainWatch {
    async fn deliver(&self, fact: Fact) -> Result<(), SinkError> {
        match fact {
            Fact::Deposit { found, height } => self.deposit(found, height).await,
            Fact::RolledBack { to } => self.rolled_back(to).await,
            Fact::Tip { height, hash: _ } => self.tip(height).await,
            Fact::CaughtUp { escrow, from, number } => self.caught_up(escrow, from, number).await,
        }
    }
}
