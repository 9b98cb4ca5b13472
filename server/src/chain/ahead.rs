//! Fetching goes on while what came is scanned.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{FollowError, Source};
use crate::node::{FullBlock, NodeError};

/// Runs of blocks that wait to be scanned. One more is being fetched, and one is scanned: so much is in memory.
const WAITING: usize = 1;

/// The blocks of a range, in order, fetched in advance. Fetching ends when this is dropped.
pub(super) struct Ahead {
    runs: mpsc::Receiver<Result<Vec<FullBlock>, NodeError>>,
    run: VecDeque<FullBlock>,
    _fetching: JoinSet<()>,
}

impl Ahead {
    pub fn new<C: Source>(source: Arc<C>, range: RangeInclusive<u64>) -> Self {
        let (send, runs) = mpsc::channel(WAITING);
        let mut fetching = JoinSet::new();
        fetching.spawn(async move {
            let (mut next, last) = range.into_inner();
            while next <= last {
                let run = source.blocks(next..=last).await;
                // An error and an empty run are the last that is said.
                let length = run.as_ref().map_or(0, Vec::len) as u64;
                if send.send(run).await.is_err() || length == 0 {
                    return;
                }
                next += length;
            }
        });
        Self { runs, run: VecDeque::new(), _fetching: fetching }
    }

    /// The next blocks, at least one: as many as have so many transactions, of those that came together.
    pub async fn next(&mut self, most_txs: usize) -> Result<Vec<FullBlock>, FollowError> {
        if self.run.is_empty() {
            self.run = self.runs.recv().await.ok_or(FollowError::Moving)??.into();
        }
        let mut txs = 0;
        let fits = |block: &&FullBlock| {
            txs += block.txs.len();
            txs <= most_txs
        };
        let count = self.run.iter().take_while(fits).count().max(1).min(self.run.len());
        if count == 0 { Err(FollowError::Moving) } else { Ok(self.run.drain(..count).collect()) }
    }
}
