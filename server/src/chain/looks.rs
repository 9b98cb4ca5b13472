//! Looks at the chain that somebody waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// Counts the follower's looks, and has it look at once. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Looks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    begun: AtomicU64,
    /// The last one that came to its end, mempool included.
    done: watch::Sender<u64>,
    asked: Notify,
}

impl Looks {
    /// Waits until a look that begins from now on has come to its end: whatever was in a block or in the mempool when this was
    /// called has been told by then. Without a node that answers it waits for ever.
    pub async fn fresh(&self) {
        // In this order: a look that begins from now on sees that somebody waits.
        let mut done = self.0.done.subscribe();
        let before = self.0.begun.load(Ordering::SeqCst);
        self.again();
        // The sender lives as long as this does.
        let _ = done.wait_for(|look| *look > before).await;
    }

    pub(super) fn begin(&self) -> u64 {
        self.0.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn end(&self, look: u64) {
        self.0.done.send_replace(look);
    }

    /// Whether somebody waits for a look.
    pub(super) fn are_awaited(&self) -> bool {
        self.0.done.receiver_count() > 0
    }

    /// Has another look made at once.
    pub(super) fn again(&self) {
        self.0.asked.notify_one();
    }

    /// Returns when a look is asked for.
    pub(super) async fn asked(&self) {
        self.0.asked.notified().await;
    }
}
