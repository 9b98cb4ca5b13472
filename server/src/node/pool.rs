//! Several nodes as one.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aegis_common::chain::Tx;
use aegis_common::hash::Hash32;
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::client::{CHUNK, Node};
use super::notices;
use super::{FullBlock, NodeError, NodeStatus, Place, PoolConfig, Tip};

/// Nodes in order of preference, asked one after the other until one answers well.
pub struct NodePool {
    nodes: Vec<Arc<Node>>,
    /// The node whose tip is followed: asked first.
    current: AtomicUsize,
    max_reorg: u64,
    max_pool: usize,
    /// Tips that were believed, ascending, back to one that is `max_reorg` deep.
    believed: Mutex<VecDeque<Tip>>,
    /// The mempool as last seen; `None` for what could not be read.
    mempool: Mutex<HashMap<Hash32, Option<Arc<Tx>>>>,
    notices: Vec<String>,
    news: Notify,
    /// How many nodes must have a block before it counts.
    agree: usize,
    /// For all that one node is asked about its tip.
    patience: Duration,
}

/// Blocks by which nodes on one chain may differ: news travel for seconds.
const NEAR: u64 = 2;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_slow() -> NodeError {
    NodeError::Transport("it is too slow".into())
}

impl NodePool {
    /// Checks the configuration; asks nobody yet.
    pub fn new(config: &PoolConfig) -> Result<Self, NodeError> {
        let nodes = (1..).zip(&config.nodes).map(|(number, node)| Node::new(number, node, config));
        let nodes: Vec<Arc<Node>> = nodes.map(|node| node.map(Arc::new)).collect::<Result<_, _>>()?;
        if nodes.is_empty() {
            return Err(NodeError::NoneUsable);
        }
        Ok(Self {
            nodes,
            current: AtomicUsize::new(0),
            max_reorg: config.max_reorg,
            max_pool: config.max_pool,
            believed: Mutex::default(),
            mempool: Mutex::default(),
            notices: config.notices.clone(),
            news: Notify::new(),
            agree: config.agree,
            patience: 2 * config.timeout,
        })
    }

    /// Listens for notices that there is something new. Never ends; without it nothing but their speed is lost.
    pub async fn listen(&self) {
        let all = (1..).zip(&self.notices).map(|(number, at)| notices::listen(number, at, &self.news));
        join_all(all).await;
    }

    /// Returns when a node said that it has a new block or transaction.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Every node with its state and the reason for it.
    pub fn status(&self) -> Vec<NodeStatus> {
        self.nodes.iter().map(|node| node.status()).collect()
    }

    /// The newest block that as many nodes have as must; none before the first.
    pub fn agreed(&self) -> Option<Tip> {
        lock(&self.believed).back().copied()
    }

    /// Nodes that may be asked now: the followed one, then by preference.
    fn order(&self) -> impl Iterator<Item = (usize, &Arc<Node>)> {
        let current = self.current.load(Ordering::Relaxed);
        let first = self.nodes.iter().enumerate().filter(move |(number, _)| *number == current);
        let others = self.nodes.iter().enumerate().filter(move |(number, _)| *number != current);
        first.chain(others).filter(|(_, node)| node.permit())
    }

    /// The first good answer. [`NodeError::Missing`] when nodes answered and none had it. Whoever answers where the followed node
    /// fails is asked first from then on, so that one which serves badly and says the right tip holds up nothing twice.
    async fn first<T, F>(&self, call: impl Fn(Arc<Node>) -> F) -> Result<T, NodeError>
    where
        F: Future<Output = Result<T, NodeError>>,
    {
        let mut failure = NodeError::NoneUsable;
        let mut failed = false;
        for (number, node) in self.order() {
            let outcome = async {
                node.ensure_network().await?;
                call(node.clone()).await
            };
            match node.judge(outcome.await) {
                Ok(answer) => {
                    if failed {
                        self.current.store(number, Ordering::Relaxed);
                    }
                    return Ok(answer);
                }
                Err(error) => {
                    failed |=
                        !matches!(error, NodeError::Missing | NodeError::Unreadable | NodeError::Divided);
                    // That one node knows it says more than that another does not.
                    if failure != NodeError::Unreadable
                        && (failure != NodeError::Missing || error == NodeError::Unreadable)
                    {
                        failure = error;
                    }
                }
            }
        }
        Err(failure)
    }

    /// The highest tip that a node delivers, with a block that links to the one below and a chain that agrees
    /// with the one followed down to the reorganisation depth, and that as many nodes have as must agree. The node that
    /// serves it is asked first from then on.
    pub async fn tip(&self) -> Result<Tip, NodeError> {
        let asked = self.order().map(async |(number, node)| {
            let verified = async { node.verify_tip(node.tip().await?).await };
            let verified = timeout(self.patience, verified).await.unwrap_or_else(|_| Err(too_slow()));
            (number, node, node.judge(verified))
        });
        let mut failure = NodeError::NoneUsable;
        let mut tips = Vec::new();
        for (number, node, tip) in join_all(asked).await {
            match tip {
                Ok(tip) => tips.push((number, node, tip)),
                Err(error) => failure = error,
            }
        }
        // Stable: among equals the followed node stays, so that two halves of a fork don't alternate.
        tips.sort_by_key(|(_, _, tip)| std::cmp::Reverse(tip.height));
        let mut chosen = None;
        for (number, node, tip) in &tips {
            if !self.is_shared(*tip, &tips).await {
                let few = format!("too few nodes have its block {}", tip.height);
                node.note_disagreement(Some(few));
                failure = NodeError::Divided;
                continue;
            }
            let agreed = async {
                self.agrees(node, *tip).await?;
                self.forget_fork(node, *tip).await
            };
            match node.judge(agreed.await) {
                Ok(()) => {
                    chosen = Some((*number, *tip));
                    break;
                }
                Err(error) => failure = error,
            }
        }
        let Some((number, tip)) = chosen else { return Err(failure) };
        self.current.store(number, Ordering::Relaxed);
        self.believe(tip);
        for (other, node, theirs) in &tips {
            if theirs.height > tip.height {
                // What is so far ahead no peer is about to be told of.
                if self.agree > 1 && theirs.height > tip.height.saturating_add(self.max_reorg) {
                    let lie = format!("it announces block {}, others are at {}", theirs.height, tip.height);
                    let _ = node.judge::<()>(Err(NodeError::Lie(lie)));
                }
            } else if *other == number {
                node.note_disagreement(None);
            } else {
                self.compare(number, tip, node, *theirs).await;
            }
        }
        Ok(tip)
    }

    /// Whether as many nodes as must agree have this block.
    async fn is_shared(&self, tip: Tip, tips: &[(usize, &Arc<Node>, Tip)]) -> bool {
        if self.agree <= 1 {
            return true;
        }
        let votes = tips.iter().map(async |(_, node, theirs)| match theirs.height.cmp(&tip.height) {
            Less => false,
            Equal => *theirs == tip,
            // It knows that this is not the newest: two nodes of which one is stuck must not pass for a chain that stands.
            Greater if theirs.height > tip.height.saturating_add(NEAR) => false,
            Greater => timeout(self.patience, node.header_hash(tip.height)).await == Ok(Ok(tip.hash)),
        });
        join_all(votes).await.into_iter().filter(|has_it| *has_it).count() >= self.agree
    }

    /// Without proof of work a made-up chain would look as good as the real one; it can't contain the blocks
    /// followed so far.
    async fn agrees(&self, node: &Node, tip: Tip) -> Result<(), NodeError> {
        let anchor = {
            let believed = lock(&self.believed);
            let top = believed.back().map_or(0, |top| top.height);
            believed.iter().rev().find(|old| old.height + self.max_reorg <= top).copied()
        };
        let Some(anchor) = anchor else { return Ok(()) };
        if tip == anchor {
            return Ok(());
        }
        match node.header_hash(anchor.height).await {
            Ok(hash) if hash == anchor.hash => Ok(()),
            Ok(_) | Err(NodeError::Missing) => {
                let depth = self.max_reorg;
                Err(NodeError::Lie(format!(
                    "its chain differs from the one followed more than {depth} blocks deep"
                )))
            }
            Err(error) => Err(error),
        }
    }

    /// Drops the newest believed tips that a reorganisation undid, so that an orphan never becomes the anchor: a hundred
    /// blocks later every honest node would contradict it. Those below one that stands were its ancestors when it came.
    async fn forget_fork(&self, node: &Node, tip: Tip) -> Result<(), NodeError> {
        loop {
            let newest = lock(&self.believed).back().copied();
            let Some(newest) = newest.filter(|newest| *newest != tip) else { return Ok(()) };
            if newest.height < tip.height && node.header_hash(newest.height).await? == newest.hash {
                return Ok(());
            }
            lock(&self.believed).pop_back();
        }
    }

    fn believe(&self, tip: Tip) {
        let mut believed = lock(&self.believed);
        while believed.back().is_some_and(|top| top.height >= tip.height) {
            believed.pop_back();
        }
        believed.push_back(tip);
        while believed.get(1).is_some_and(|second| second.height + self.max_reorg <= tip.height) {
            believed.pop_front();
        }
    }

    /// Notes where another node stands against the one followed.
    async fn compare(&self, followed: usize, tip: Tip, node: &Node, theirs: Tip) {
        let behind = tip.height - theirs.height;
        if behind > self.max_reorg {
            let _ = node.judge::<()>(Err(NodeError::Lie(format!("it is {behind} blocks behind"))));
            return;
        }
        let ours = match (behind, self.nodes.get(followed)) {
            (0, _) => Some(tip.hash),
            (_, Some(followed)) => followed.header_hash(theirs.height).await.ok(),
            (_, None) => None,
        };
        if let Some(ours) = ours {
            let note = (ours != theirs.hash).then(|| format!("it has another block at {}", theirs.height));
            node.note_disagreement(note);
        }
    }

    /// The blocks of a range with all their transactions, from the first on: at least one, and as many as fit into one
    /// reply of a node. They link to each other, and the last is on the chain that the nodes agree about, so all are.
    pub async fn blocks(&self, range: RangeInclusive<u64>) -> Result<Vec<FullBlock>, NodeError> {
        let agreed = lock(&self.believed).back().copied();
        self.first(|node| {
            let range = range.clone();
            async move {
                let blocks = node.blocks(range).await?;
                let Some(last) = blocks.last() else { return Err(NodeError::Missing) };
                let other = |tip: Tip| blocks.iter().any(|b| b.height == tip.height && b.hash != tip.hash);
                let is_agreed = agreed.is_some_and(|tip| tip.height == last.height && tip.hash == last.hash);
                if agreed.is_some_and(other)
                    || (self.agree > 1 && !is_agreed && self.header_hash(last.height).await? != last.hash)
                {
                    let other = format!("it has another block {} than the others", last.height);
                    node.note_disagreement(Some(other.clone()));
                    // Near the tip the chain may just be changing.
                    let is_old = agreed.is_some_and(|tip| last.height.saturating_add(NEAR) < tip.height);
                    return Err(if is_old { NodeError::Lie(other) } else { NodeError::Transport(other) });
                }
                Ok(blocks)
            }
        })
        .await
    }

    /// The block at a height with all its transactions.
    pub async fn block(&self, height: u64) -> Result<FullBlock, NodeError> {
        self.first(|node| async move { node.block(height).await }).await
    }

    /// The hash of the block at a height, as many nodes saying so as must agree: one alone could make its own chain pass for the
    /// followed one.
    pub async fn header_hash(&self, height: u64) -> Result<Hash32, NodeError> {
        if self.agree <= 1 {
            return self.first(|node| async move { node.header_hash(height).await }).await;
        }
        let asked = self.order().map(async |(_, node)| {
            let answer = async {
                node.ensure_network().await?;
                node.header_hash(height).await
            };
            node.judge(timeout(self.patience, answer).await.unwrap_or_else(|_| Err(too_slow())))
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut answers = Vec::new();
        while let Some(answer) = asked.next().await {
            if matches!(answer, Ok(_) | Err(NodeError::Missing)) {
                answers.push(answer.clone());
                // Those that are slow are not waited for.
                if answers.iter().filter(|other| **other == answer).count() >= self.agree {
                    return answer;
                }
            }
        }
        Err(NodeError::Divided)
    }

    /// The mempool. Only transactions not seen before are fetched; what can't be read is left out (and warned
    /// about once).
    pub async fn pool(&self) -> Result<Vec<Arc<Tx>>, NodeError> {
        let present = self.first(|node| async move { node.pool_hashes(self.max_pool).await }).await?;
        let present: HashSet<Hash32> = present.into_iter().collect();
        let unknown: Vec<Hash32> = {
            let mut known = lock(&self.mempool);
            known.retain(|hash, _| present.contains(hash));
            present.iter().filter(|hash| !known.contains_key(*hash)).copied().collect()
        };
        // What was fetched is kept, so that a full pool over a slow link is read in the end.
        for some in unknown.chunks(CHUNK) {
            let fetched = self.first(|node| async move { node.transactions(some).await }).await?;
            for (hash, place, tx) in fetched {
                if place != Place::Pool {
                    continue;
                }
                if let Err(error) = &tx {
                    tracing::warn!(tx = %hash, %error, "mempool transaction ignored");
                }
                lock(&self.mempool).insert(hash, tx.ok().map(Arc::new));
            }
        }
        Ok(lock(&self.mempool).values().flatten().cloned().collect())
    }

    /// A transaction and where it is; `None` when nodes answered and none knows it. Content and block are
    /// verified; that a node withholds it can't be excluded.
    pub async fn find(&self, hash: Hash32) -> Result<Option<(Tx, Place)>, NodeError> {
        let found = self.first(|node| async move {
            let (tx, place, block) = node.find(hash).await?;
            // A block of another chain than the one that is followed says nothing.
            match (place, block) {
                (Place::Block(height), Some(block)) if self.header_hash(height).await? != block => {
                    Err(NodeError::Missing)
                }
                _ => Ok((tx, place)),
            }
        });
        match found.await {
            Ok(found) => Ok(Some(found)),
            Err(NodeError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
