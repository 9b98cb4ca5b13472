//! A block at regular intervals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::Chain;

/// Makes one block each interval until it is dropped.
pub struct Miner {
    task: JoinHandle<()>,
    paused: Arc<AtomicBool>,
}

impl Miner {
    /// Starts at once. A node that does not answer is asked again at the next interval.
    pub fn start(chain: Arc<Chain>, to: String, every: Duration) -> Self {
        let paused = Arc::new(AtomicBool::new(false));
        let pause = Arc::clone(&paused);
        let task = tokio::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if !pause.load(Ordering::Relaxed) {
                    let _ = chain.mine(1, &to).await;
                }
            }
        });
        Self { task, paused }
    }

    /// Makes no blocks until [`Miner::resume`].
    pub fn pause(&self) {
        self.paused.store(true, Ordering::Relaxed);
    }

    /// Goes on.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::Relaxed);
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.task.abort();
    }
}
