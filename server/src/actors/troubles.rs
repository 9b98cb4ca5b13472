//! Which escrows' actors panicked, and when they may be woken again.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use aegis_common::ids::EscrowId;

/// When a failing actor is woken again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// Pause after the first failure; it doubles with each further one in the window.
    pub back_off: Duration,
    /// Failures are counted over this time.
    pub window: Duration,
    /// So many failures in the window: it is left alone for a whole window.
    pub most: usize,
}

/// What a failure leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Woken again after a pause.
    Restart,
    /// Left alone for a window.
    GivenUp,
}

#[derive(Debug)]
struct Trouble {
    failures: VecDeque<Instant>,
    not_before: Instant,
}

/// An escrow that is left alone for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resting {
    /// Which.
    pub escrow: EscrowId,
    /// How often it failed within the window.
    pub failures: usize,
    /// Until it may be woken again.
    pub left: Duration,
}

/// Bounded by the number of escrows that failed within a window.
#[derive(Debug)]
pub(super) struct Troubles {
    policy: Policy,
    all: HashMap<EscrowId, Trouble>,
}

impl Troubles {
    pub fn new(policy: Policy) -> Self {
        Self { policy, all: HashMap::new() }
    }

    /// Whether an escrow must not be woken yet.
    pub fn rests(&self, id: EscrowId, now: Instant) -> bool {
        self.all.get(&id).is_some_and(|trouble| now < trouble.not_before)
    }

    /// Its actor panicked.
    pub fn failed(&mut self, id: EscrowId, now: Instant) -> Next {
        let Policy { back_off, window, most } = self.policy;
        let trouble =
            self.all.entry(id).or_insert_with(|| Trouble { failures: VecDeque::new(), not_before: now });
        trouble.failures.push_back(now);
        while trouble.failures.front().is_some_and(|first| now.duration_since(*first) > window) {
            trouble.failures.pop_front();
        }
        let failures = trouble.failures.len();
        if failures >= most {
            trouble.not_before = now + window;
            return Next::GivenUp;
        }
        let doubled = back_off.saturating_mul(1 << failures.saturating_sub(1).min(16));
        trouble.not_before = now + doubled.min(window);
        Next::Restart
    }

    /// Those that must not be woken yet and failed too often, the ones that failed most first.
    pub fn resting(&self, now: Instant) -> Vec<Resting> {
        let too_often = |trouble: &Trouble| trouble.failures.len() >= self.policy.most;
        let rest = self.all.iter().filter(|(_, trouble)| now < trouble.not_before && too_often(trouble));
        let mut rest: Vec<Resting> = rest
            .map(|(escrow, trouble)| Resting {
                escrow: *escrow,
                failures: trouble.failures.len(),
                left: trouble.not_before.duration_since(now),
            })
            .collect();
        rest.sort_unstable_by_key(|resting| (std::cmp::Reverse(resting.failures), resting.escrow));
        rest
    }

    /// Forgets those that have been well for a window.
    pub fn forget_old(&mut self, now: Instant) {
        let window = self.policy.window;
        self.all.retain(|_, trouble| {
            let recent = trouble.failures.back().is_some_and(|last| now.duration_since(*last) <= window);
            recent || now < trouble.not_before
        });
    }
}
