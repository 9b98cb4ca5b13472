//! Who is watched. Shared: escrows are added and removed while the follower runs.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use aegis_common::chain::WatchKey;
use aegis_common::ids::EscrowId;

/// Watched escrows in the order they were added. Cheap to clone: clones share the list.
#[derive(Debug, Clone, Default)]
pub struct WatchList(Arc<RwLock<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    keys: Arc<Vec<WatchKey>>,
    entries: Arc<Vec<Entry>>,
}

/// What belongs to the key at the same position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Ascending number of the addition, from 1: "all keys up to here" is one number.
    pub number: u64,
    /// First block that it may not have been looked for in.
    pub behind_from: Option<u64>,
}

/// The list at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// Number of the last addition ever.
    pub last: u64,
    pub keys: Arc<Vec<WatchKey>>,
    pub entries: Arc<Vec<Entry>>,
}

impl WatchList {
    /// Nobody is watched.
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches an escrow. Blocks from `behind_from` on that are already processed are looked through again for it, and then
    /// [`super::Fact::CaughtUp`] is told. An escrow that is watched already is replaced.
    pub fn add(&self, key: WatchKey, behind_from: u64) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        inner.drop_all(&HashSet::from([key.escrow()]));
        inner.last += 1;
        let entry = Entry { number: inner.last, behind_from: Some(behind_from) };
        Arc::make_mut(&mut inner.keys).push(key);
        Arc::make_mut(&mut inner.entries).push(entry);
    }

    /// Watches many escrows at once that have been looked for in every processed block, in time that grows with the list
    /// and not with its square.
    pub fn add_all(&self, new: Vec<WatchKey>) {
        let ids: HashSet<EscrowId> = new.iter().map(WatchKey::escrow).collect();
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        inner.drop_all(&ids);
        let inner = &mut *inner;
        let (keys, entries) = (Arc::make_mut(&mut inner.keys), Arc::make_mut(&mut inner.entries));
        for key in new {
            inner.last += 1;
            keys.push(key);
            entries.push(Entry { number: inner.last, behind_from: None });
        }
    }

    /// Watches these escrows no longer, in time that grows with the list and not with its square. Facts that are under
    /// way may still arrive.
    pub fn remove_all(&self, escrows: &HashSet<EscrowId>) {
        if !escrows.is_empty() {
            self.0.write().unwrap_or_else(PoisonError::into_inner).drop_all(escrows);
        }
    }

    /// Watches an escrow no longer.
    pub fn remove(&self, escrow: EscrowId) {
        self.remove_all(&HashSet::from([escrow]));
    }

    /// Whether an escrow is watched.
    pub fn contains(&self, escrow: EscrowId) -> bool {
        self.snapshot().contains(escrow)
    }

    /// Whether the addition of this number still stands: it was neither replaced nor removed.
    pub fn is_present(&self, number: u64) -> bool {
        self.snapshot().entries.binary_search_by_key(&number, |entry| entry.number).is_ok()
    }

    /// How many are watched.
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys.len()
    }

    /// Whether nobody is watched.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Snapshot { last: inner.last, keys: inner.keys.clone(), entries: inner.entries.clone() }
    }
}

impl Inner {
    fn drop_all(&mut self, ids: &HashSet<EscrowId>) {
        if !self.keys.iter().any(|key| ids.contains(&key.escrow())) {
            return;
        }
        let mut stay =
            self.keys.iter().map(|key| !ids.contains(&key.escrow())).collect::<Vec<_>>().into_iter();
        Arc::make_mut(&mut self.entries).retain(|_| stay.next().unwrap_or(true));
        Arc::make_mut(&mut self.keys).retain(|key| !ids.contains(&key.escrow()));
    }
}

impl Snapshot {
    /// Position of the first key added after the given number.
    pub fn after(&self, number: u64) -> usize {
        self.entries.partition_point(|entry| entry.number <= number)
    }

    pub fn contains(&self, escrow: EscrowId) -> bool {
        self.keys.iter().any(|key| key.escrow() == escrow)
    }
}
