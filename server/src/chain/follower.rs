//! The loop. One look at the chain ([`Follower::step`]) is: undo what changed, process new blocks, catch up
//! for late escrows, look at the mempool, tell the tip. It may fail anywhere and is simply repeated.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aegis_common::chain::{Found, Scanner, Tx, WatchKey};
use aegis_common::hash::Hash32;
use tokio::sync::watch;

use super::ahead::Ahead;
use super::backlog::Backlog;
use super::looks::Looks;
use super::memory::Memory;
use super::pace::Pace;
use super::watch_list::{Snapshot, WatchList};
use super::{Config, Fact, FollowError, Health, Progress, Sink, Source};
use crate::node::{FullBlock, Tip};

/// Blocks that may come between two looks: with more the follower has been away.
const FEW: u64 = 2;
/// Pairs of a transaction and a key that are scanned at once: seconds at most, so that progress is saved and told often.
const PAIRS: usize = 1 << 20;
/// News that come sooner after a look wait for each other.
const QUIET: Duration = Duration::from_millis(100);

/// Follows one chain. The only writer of its [`Progress`].
pub struct Follower<C, P, S> {
    source: Arc<C>,
    progress: P,
    sink: S,
    scanner: Arc<dyn Scanner>,
    list: WatchList,
    config: Config,
    health: watch::Sender<Health>,
    looks: Looks,
    memory: Memory,
    backlog: Backlog,
    told: Option<Tip>,
    unsaved: Unsaved,
    /// Before the next look, when nothing is told.
    pause: Duration,
}

/// Deposits that may have been told although their block was never saved as processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsaved {
    /// None.
    Nothing,
    /// Those of this block, on top of the last processed one.
    Block(Hash32),
    /// After a restart nobody knows.
    Unknown,
}

impl<C: Source, P: Progress, S: Sink> Follower<C, P, S> {
    /// A follower that has not looked yet.
    pub fn new(
        source: Arc<C>,
        progress: P,
        sink: S,
        scanner: Arc<dyn Scanner>,
        list: WatchList,
        config: Config,
    ) -> Self {
        let (health, _) = watch::channel(Health::Starting);
        let (memory, backlog) = (Memory::default(), Backlog::default());
        Self {
            source,
            progress,
            sink,
            scanner,
            list,
            config,
            health,
            looks: Looks::default(),
            memory,
            backlog,
            told: None,
            unsaved: Unsaved::Unknown,
            pause: QUIET.min(config.poll),
        }
    }

    /// With those who may wait for a look.
    #[must_use]
    pub fn counted_by(self, looks: Looks) -> Self {
        Self { looks, ..self }
    }

    /// How it fares, also after it has ended.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Looks at the chain until told to stop (the value becomes true, or its sender is gone). Failures are
    /// repeated at the next poll; only a reorganisation deeper than allowed ends it.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> Result<(), FollowError> {
        loop {
            let outcome = tokio::select! {
                outcome = self.step() => outcome,
                _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
            };
            match outcome {
                Ok(tip) => {
                    self.health.send_replace(Health::Following(tip));
                }
                Err(error @ FollowError::DeepReorg { .. }) => {
                    tracing::error!(%error, "chain follower stopped");
                    self.health.send_replace(Health::Stopped(error.to_string()));
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(%error, "chain follower stalled");
                    self.health.send_replace(Health::Stalled(error.to_string()));
                }
            }
            tokio::select! {
                () = self.pause() => {}
                _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    }

    /// Until the next look. A node tells of a block before it serves it (monerod's notice goes out while the block's write to
    /// its database is still open), so a look that news caused is followed by others soon, each after twice the pause of the one
    /// before, up to the usual one.
    async fn pause(&mut self) {
        let quiet = self.config.poll.min(QUIET);
        tokio::time::sleep(quiet).await;
        let (before, rest) = (self.pause, self.pause.saturating_sub(quiet));
        self.pause = tokio::select! {
            () = self.source.news() => quiet,
            () = self.looks.asked() => before,
            () = tokio::time::sleep(rest) => self.config.poll.min(before * 2),
        };
    }

    /// One look. Returns the last processed block.
    pub async fn step(&mut self) -> Result<Tip, FollowError> {
        let look = self.looks.begin();
        let tip = self.source.tip().await?;
        let mut at = match self.progress.load().await? {
            Some(at) => at,
            None => {
                self.unsaved = Unsaved::Nothing;
                self.begin(tip).await?
            }
        };
        at = self.undo(at, tip).await?;
        // Deadlines wait until what happened meanwhile has been told.
        let mut pace = None;
        if tip.height > at.height.saturating_add(FEW) {
            pace = Some(Pace::new(at.height, tip.height, Instant::now()));
            self.tell_pace(&mut pace, at.height);
        }
        if self.unsaved == Unsaved::Unknown {
            self.disown(at.height).await?;
        }
        // Escrows added from now on are late for the blocks up to `at`; those added before are scanned for in
        // the next ones.
        let mut list = self.list.snapshot();
        self.backlog.refresh(&list, at.height);
        let mut ahead = Ahead::new(Arc::clone(&self.source), at.height + 1..=tip.height);
        while at.height < tip.height {
            let run = ahead.next(PAIRS / list.keys.len().max(1)).await?;
            let below = [at.hash].into_iter().chain(run.iter().map(|block| block.hash));
            if run.iter().zip(below).any(|(block, below)| block.prev != below) {
                return Err(FollowError::Moving);
            }
            for (next, found) in self.look_through(run, &list).await? {
                if !matches!(self.unsaved, Unsaved::Nothing) && self.unsaved != Unsaved::Block(next.hash) {
                    self.disown(at.height).await?;
                }
                self.unsaved = Unsaved::Block(next.hash);
                for found in found {
                    self.sink.deliver(Fact::Deposit { found, height: Some(next.height) }).await?;
                }
                self.progress.advance(next).await?;
                self.unsaved = Unsaved::Nothing;
                at = next;
                self.tell_pace(&mut pace, at.height);
            }
            list = self.list.snapshot();
            self.backlog.refresh(&list, at.height);
        }
        // The blocks must lead to the one that the nodes agree about: else what was read is another chain, and nothing in it
        // may become final. A node that lags says nothing of what was told before.
        if at != tip && self.told != Some(at) {
            return Err(FollowError::Moving);
        }
        self.catch_up(&list).await?;
        if self.told != Some(at) {
            self.sink.deliver(Fact::Tip { height: at.height, hash: at.hash }).await?;
            self.told = Some(at);
        }
        // Last, and it may fail: what the pool says is news sooner, and nothing rests on it.
        let awaited = self.looks.are_awaited();
        if awaited {
            // An escrow may have been told that what is in this node's mempool is gone, where another node's has it no more.
            self.memory.forget_told();
        }
        match self.look_at_pool(&list).await {
            // A block that came meanwhile may have taken something out of the mempool before it was seen there. Nodes that lag
            // say less than was told.
            Ok(()) if awaited && is_news(self.source.tip().await?, at) => self.looks.again(),
            Ok(()) => self.looks.end(look),
            Err(error) => tracing::warn!(%error, "the mempool could not be looked at"),
        }
        Ok(at)
    }

    /// Says how far it is, where there is much to catch up with.
    fn tell_pace(&self, pace: &mut Option<Pace>, block: u64) {
        let (Some(pace), now) = (pace, Instant::now()) else { return };
        let progress = pace.at(block, now);
        if pace.is_due(now) {
            tracing::info!("catching up: {progress}");
        }
        self.health.send_replace(Health::CatchingUp(progress));
    }

    /// Takes back what was told of blocks that were never saved as processed: another block may have come in
    /// their place.
    async fn disown(&mut self, to: u64) -> Result<(), FollowError> {
        self.sink.deliver(Fact::RolledBack { to }).await?;
        self.unsaved = Unsaved::Nothing;
        Ok(())
    }

    /// The first start: history is not read, but remembered as deep as a reorganisation may reach.
    async fn begin(&self, tip: Tip) -> Result<Tip, FollowError> {
        for height in tip.height.saturating_sub(self.config.max_reorg)..tip.height {
            let hash = self.source.header_hash(height).await?;
            self.progress.advance(Tip { height, hash }).await?;
        }
        self.progress.advance(tip).await?;
        Ok(tip)
    }

    /// Finds the highest processed block that still stands and undoes what is above. A shorter chain that
    /// contradicts nothing is a node that lags: nothing is undone for it.
    async fn undo(&mut self, at: Tip, tip: Tip) -> Result<Tip, FollowError> {
        let lowest = at.height.saturating_sub(self.config.max_reorg);
        let start = at.height.min(tip.height);
        let deep = |height| FollowError::DeepReorg { height, max_reorg: self.config.max_reorg };
        if start < lowest {
            // Too far behind to tell; the pool sets such nodes aside.
            return Err(FollowError::Moving);
        }
        let mut height = start;
        loop {
            let ours =
                if height == at.height { Some(at.hash) } else { self.progress.hash_at(height).await? };
            let ours = ours.ok_or_else(|| deep(height))?;
            let theirs =
                if height == tip.height { tip.hash } else { self.source.header_hash(height).await? };
            if ours == theirs {
                if height == start {
                    return Ok(at);
                }
                tracing::warn!(to = height, from = at.height, "chain reorganised");
                // No deadline may pass while what is final is taken back and told again.
                self.tell_pace(&mut Some(Pace::new(height, tip.height, Instant::now())), height);
                self.disown(height).await?;
                self.progress.rewind(height).await?;
                self.backlog.roll_back(height);
                self.memory.forget_told();
                return Ok(Tip { height, hash: ours });
            }
            if height == lowest {
                return Err(deep(height));
            }
            height -= 1;
        }
    }

    /// What of new blocks belongs to whom, block by block. What was scanned in the mempool is not scanned again, but for keys
    /// added since.
    async fn look_through(
        &self,
        run: Vec<FullBlock>,
        list: &Snapshot,
    ) -> Result<Vec<(Tip, Vec<Found>)>, FollowError> {
        let (mut blocks, mut block_of) = (Vec::with_capacity(run.len()), HashMap::new());
        // Transactions by the position of the first key they still have to be scanned for.
        let mut groups: Vec<(usize, Vec<Tx>)> = Vec::new();
        for block in run {
            let mut known = Vec::new();
            for tx in block.txs {
                let mut first = 0;
                if let Some(seen) = self.memory.get(&tx.hash) {
                    first = list.after(seen.upto);
                    known.extend(seen.found.iter().filter(|found| list.contains(found.escrow)).cloned());
                }
                block_of.insert(tx.hash, blocks.len());
                match groups.iter_mut().find(|(other, _)| *other == first) {
                    Some((_, txs)) => txs.push(tx),
                    None => groups.push((first, vec![tx])),
                }
            }
            blocks.push((Tip { height: block.height, hash: block.hash }, known));
        }
        for (first, txs) in groups {
            for new in self.scan(list.keys.clone(), first, txs).await? {
                let block = block_of.get(&new.tx).and_then(|at| blocks.get_mut(*at));
                if let Some((_, found)) = block.filter(|(_, found)| !found.contains(&new)) {
                    found.push(new);
                }
            }
        }
        Ok(blocks)
    }

    async fn scan(
        &self,
        keys: Arc<Vec<WatchKey>>,
        first: usize,
        txs: Vec<Tx>,
    ) -> Result<Vec<Found>, FollowError> {
        if keys.len() <= first || txs.is_empty() {
            return Ok(Vec::new());
        }
        // Seconds of pure computation with many escrows: not on the threads that serve requests.
        let scanner = self.scanner.clone();
        let scan = move || scanner.scan(keys.get(first..).unwrap_or_default(), &txs);
        let task = tokio::task::spawn_blocking(scan);
        task.await.map_err(|error| FollowError::Scanner(error.to_string()))
    }

    /// Looks through some old blocks for escrows that were added late.
    async fn catch_up(&mut self, list: &Snapshot) -> Result<(), FollowError> {
        let mut fetched = VecDeque::new();
        for left in (0..u64::from(self.config.backlog_blocks)).rev() {
            let Some((height, keys)) = self.backlog.next(list) else { break };
            if fetched.front().is_none_or(|block: &FullBlock| block.height != height) {
                let last = self.backlog.last().map_or(height, |last| last.min(height + left));
                fetched = self.source.blocks(height..=last).await?.into();
            }
            let block = fetched.pop_front().ok_or(FollowError::Moving)?;
            if self.progress.hash_at(height).await?.is_some_and(|ours| ours != block.hash) {
                return Err(FollowError::Moving);
            }
            for found in self.scan(Arc::new(keys), 0, block.txs).await? {
                self.sink.deliver(Fact::Deposit { found, height: Some(height) }).await?;
            }
            self.backlog.done(height);
        }
        while let Some(caught_up) = self.backlog.finished() {
            self.sink.deliver(caught_up).await?;
            self.backlog.drop_finished();
        }
        Ok(())
    }

    async fn look_at_pool(&mut self, list: &Snapshot) -> Result<(), FollowError> {
        let pool = self.source.pool().await?;
        let present: HashSet<Hash32> = pool.iter().map(|tx| tx.hash).collect();
        self.memory.retain(&present);
        let mut groups: Vec<(u64, Vec<Tx>)> = Vec::new();
        for tx in pool {
            let upto = self.memory.get(&tx.hash).map(|seen| seen.upto);
            if upto == Some(list.last) {
                continue;
            }
            let upto = upto.unwrap_or(0);
            match groups.iter_mut().find(|(other, _)| *other == upto) {
                Some((_, txs)) => txs.push((*tx).clone()),
                None => groups.push((upto, vec![(*tx).clone()])),
            }
        }
        for (upto, txs) in groups {
            let hashes: Vec<Hash32> = txs.iter().map(|tx| tx.hash).collect();
            let found = self.scan(list.keys.clone(), list.after(upto), txs).await?;
            self.memory.scanned(hashes.into_iter(), list.last, found);
        }
        for found in self.memory.untold() {
            let tx = found.tx;
            if list.contains(found.escrow) {
                self.sink.deliver(Fact::Deposit { found, height: None }).await?;
            }
            self.memory.told(&tx);
        }
        Ok(())
    }
}

/// Whether there is a block that was not looked at, or another one in its place.
fn is_news(tip: Tip, at: Tip) -> bool {
    tip.height > at.height || tip.height == at.height && tip.hash != at.hash
}
