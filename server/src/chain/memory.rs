//! The mempool as it was scanned: nothing is scanned twice for one key, not even when its block comes.

use std::collections::{HashMap, HashSet};

use aegis_common::chain::Found;
use aegis_common::hash::Hash32;

/// One mempool transaction.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// It was scanned for every key added up to this number.
    pub upto: u64,
    pub found: Vec<Found>,
    /// How many of `found` have been told.
    pub told: usize,
}

/// Bounded by the source, which bounds its mempool.
#[derive(Debug, Default)]
pub(super) struct Memory(HashMap<Hash32, Seen>);

impl Memory {
    pub fn get(&self, tx: &Hash32) -> Option<&Seen> {
        self.0.get(tx)
    }

    /// Forgets what left the mempool.
    pub fn retain(&mut self, present: &HashSet<Hash32>) {
        self.0.retain(|tx, _| present.contains(tx));
    }

    /// Forgets what was told, not what was found: after a reorganisation it is news again.
    pub fn forget_told(&mut self) {
        for seen in self.0.values_mut() {
            seen.told = 0;
        }
    }

    /// Transactions were scanned for the keys up to a number.
    pub fn scanned(&mut self, txs: impl Iterator<Item = Hash32>, upto: u64, found: Vec<Found>) {
        for tx in txs {
            self.0.entry(tx).or_default().upto = upto;
        }
        for found in found {
            let seen = self.0.entry(found.tx).or_default();
            if !seen.found.contains(&found) {
                seen.found.push(found);
            }
        }
    }

    /// What has not been told yet.
    pub fn untold(&self) -> Vec<Found> {
        self.0.values().flat_map(|seen| seen.found.iter().skip(seen.told).cloned()).collect()
    }

    /// One more of a transaction's findings was told.
    pub fn told(&mut self, tx: &Hash32) {
        if let Some(seen) = self.0.get_mut(tx) {
            seen.told += 1;
        }
    }
}
