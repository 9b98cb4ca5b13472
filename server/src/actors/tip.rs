//! How far the chain has been followed, shared with all who count confirmations.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const UNKNOWN: u64 = u64::MAX;
/// Roll-backs that are remembered: a look-up lasts seconds, and so many in that time are unheard of.
const REMEMBERED: usize = 16;

/// The height of the newest block that has been processed. Clones share it.
#[derive(Debug, Clone)]
pub struct ChainTip(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    height: AtomicU64,
    rolled_back: Mutex<Rollbacks>,
}

#[derive(Debug, Default)]
struct Rollbacks {
    count: u64,
    newest: VecDeque<u64>,
}

/// A moment between two roll-backs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(u64);

impl Default for ChainTip {
    fn default() -> Self {
        Self(Arc::new(Inner { height: AtomicU64::new(UNKNOWN), rolled_back: Mutex::default() }))
    }
}

impl ChainTip {
    /// The height; `None` until it is known.
    pub fn height(&self) -> Option<u64> {
        Some(self.0.height.load(Ordering::Acquire)).filter(|height| *height != UNKNOWN)
    }

    pub(super) fn set(&self, height: u64) {
        self.0.height.store(height, Ordering::Release);
    }

    /// Blocks above `to` are about to be undone.
    pub(super) fn roll_back(&self, to: u64) {
        let mut rollbacks = self.0.rolled_back.lock().unwrap_or_else(PoisonError::into_inner);
        rollbacks.count += 1;
        rollbacks.newest.push_back(to);
        if rollbacks.newest.len() > REMEMBERED {
            rollbacks.newest.pop_front();
        }
        if self.height().is_some_and(|height| height > to) {
            self.set(to);
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.0.rolled_back.lock().unwrap_or_else(PoisonError::into_inner).count)
    }

    /// The lowest block to which the chain was rolled back since a mark.
    pub(super) fn rolled_back_since(&self, mark: Mark) -> Option<u64> {
        let rollbacks = self.0.rolled_back.lock().unwrap_or_else(PoisonError::into_inner);
        let since = usize::try_from(rollbacks.count - mark.0).unwrap_or(usize::MAX);
        rollbacks.newest.iter().rev().take(since).min().copied()
    }
}
