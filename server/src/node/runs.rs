//! Many blocks at a time: the blocks side by side, then all their transactions in as few calls as monerod takes.
//!
//! monerod's binary calls serve this worse. `get_blocks_by_height.bin` parses and writes every transaction anew, at an eighth of
//! the speed. A reply of `get_blocks.bin` comes faster than its blocks come by JSON, but it ends only at a thousand blocks or a
//! hundred megabytes, so that neither memory nor time can be bounded by asking for less; and pruned transactions in it lack the
//! hash of what was pruned, without which nobody can tell whether they are those that the block names (Monero
//! `src/rpc/core_rpc_server.cpp`). `scripts/bench` measures all three as `node.fetch`.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aegis_common::chain::{Block, ParseError, Tx};
use aegis_common::hash::Hash32;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, timeout};

use super::client::{AT_ONCE, Node};
use super::{FullBlock, NodeError};

/// Blocks that are asked for at once at first, and at most.
pub(super) const FIRST_RUN: usize = 4;
const MAX_RUN: usize = 128;
/// A run ends with the block that brings it to so many transactions, a few megabytes, or to so many bytes without them.
const MAX_TXS: usize = 4_000;
const MAX_BYTES: usize = 4 << 20;
/// A run that takes less asks for longer ones, and one that takes more for shorter ones: progress is to be seen over a slow link
/// as well.
const QUICK: Duration = Duration::from_millis(700);
const SLOW: Duration = Duration::from_secs(3);
/// No longer than this one node is waited for: each of its calls may be in time, and all of them together take for ever.
const PATIENCE: Duration = Duration::from_secs(60);

impl Node {
    /// Blocks of a range with every transaction, from the first on: at least one.
    pub async fn blocks(&self, range: RangeInclusive<u64>) -> Result<Vec<FullBlock>, NodeError> {
        let (first, last) = range.into_inner();
        let most = self.run_length.load(Relaxed);
        let count = usize::try_from(last.saturating_sub(first).saturating_add(1)).unwrap_or(most).min(most);
        let begun = Instant::now();
        let run = self.timely(first, count).await;
        let next = match (&run, begun.elapsed()) {
            (Ok(_), took) if took < QUICK && count == most => (most * 2).min(MAX_RUN),
            (Ok(_), took) if took < SLOW => most,
            _ => (count / 2).max(1),
        };
        self.run_length.store(next, Relaxed);
        match run {
            Err(error) if count == 1 || matches!(error, NodeError::Lie(_) | NodeError::Parse(_)) => {
                Err(error)
            }
            // What it says of the first alone is what counts.
            Err(_) => self.timely(first, 1).await,
            run => run,
        }
    }

    async fn timely(&self, first: u64, count: usize) -> Result<Vec<FullBlock>, NodeError> {
        let too_slow = |_| Err(NodeError::Transport("its blocks take too long".into()));
        timeout(PATIENCE, self.run(first, count)).await.unwrap_or_else(too_slow)
    }

    /// A block with every transaction.
    pub async fn block(&self, height: u64) -> Result<FullBlock, NodeError> {
        self.run(height, 1).await?.pop().ok_or(NodeError::Missing)
    }

    /// At most so many blocks that link to each other: up to one that is not there, or can't be read.
    async fn run(&self, first: u64, count: usize) -> Result<Vec<FullBlock>, NodeError> {
        let blocks = self.linked(first, count).await?;
        let hashes: Vec<Hash32> = blocks.iter().flat_map(|block| &block.tx_hashes).copied().collect();
        let fetched = self.transactions(&hashes).await?;
        let mut txs = fetched.into_iter().map(|(hash, _, tx)| (hash, tx)).collect();
        let mut run = Vec::with_capacity(blocks.len());
        for block in blocks {
            match filled(block, &mut txs) {
                Ok(block) => run.push(block),
                Err(error) if run.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(run)
    }

    async fn linked(&self, first: u64, count: usize) -> Result<Vec<Block>, NodeError> {
        let asked: Vec<_> = (first..).take(count).map(|height| self.block_and_length(height)).collect();
        let mut asked = stream::iter(asked).buffered(AT_ONCE);
        let mut blocks: Vec<Block> = Vec::with_capacity(count);
        let (mut txs, mut bytes) = (0, 0);
        while let Some(block) = asked.next().await {
            match block {
                // It may have changed between two calls: the next run sees it.
                Ok((block, _)) if blocks.last().is_some_and(|below| below.hash != block.prev) => break,
                Ok((block, length)) => {
                    txs += block.tx_hashes.len();
                    bytes += length;
                    blocks.push(block);
                    if txs >= MAX_TXS || bytes >= MAX_BYTES {
                        break;
                    }
                }
                Err(NodeError::Missing) if blocks.is_empty() && self.has_announced(first) => {
                    let why = format!("it announced block {first} and does not deliver it");
                    return Err(NodeError::Transport(why));
                }
                Err(error) if blocks.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(blocks)
    }
}

/// A block and its transactions, taken from those that came.
fn filled(block: Block, txs: &mut HashMap<Hash32, Result<Tx, ParseError>>) -> Result<FullBlock, NodeError> {
    let Block { height, hash, prev, miner_tx, tx_hashes, timestamp: _ } = block;
    let mut all = vec![miner_tx];
    for wanted in tx_hashes {
        let tx = txs.remove(&wanted).ok_or_else(|| {
            NodeError::Transport(format!("block {height} came without all its transactions"))
        })?;
        all.push(tx.map_err(|error| match error {
            // None such is mined any more: it comes from a pruned node, which has no whole version 1.
            ParseError::RetiredRct(_) => {
                NodeError::Transport(format!("block {height} has a transaction that it does not have whole"))
            }
            other => other.into(),
        })?);
    }
    Ok(FullBlock { height, hash, prev, txs: all })
}
