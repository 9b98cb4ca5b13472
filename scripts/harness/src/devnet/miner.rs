//! A block at regular intervals.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::Chain;

/// Makes one block each interval until it is dropped.
pub struct Miner {
    task: JoinHandle<()>,
}

impl Miner {
    /// Starts at once. A node that does not answer is asked again at the next interval.
    pub fn start(chain: Arc<Chain>, to: String, every: Duration) -> Self {
        let task = tokio::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let _ = chain.mine(1, &to).await;
            }
        });
        Self { task }
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.task.abort();
    }
}
