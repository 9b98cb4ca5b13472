//! Which arbiter an escrow gets: a pure rule on inputs that are recorded, so that anybody can compute it again.

use serde::{Deserialize, Serialize};

use crate::ids::UserId;
use crate::time::Timestamp;

/// Bounds on what an arbiter says of itself.
pub mod bounds {
    /// Characters of the text about oneself.
    pub const ABOUT: usize = 2_000;
    /// Languages.
    pub const LANGUAGES: usize = 16;
    /// Open cases that anybody can take on.
    pub const CAPACITY: u32 = 10_000;
}

/// An arbiter as the rule sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Who.
    pub user_id: UserId,
    /// Its name.
    pub username: String,
    /// Its escrows that are not over, and those that are being made.
    pub open: u64,
    /// How many it takes on.
    pub capacity: u32,
    /// When it was last assigned one, or registered.
    pub idle_since: Timestamp,
    /// When its program was last heard.
    pub seen_at: Timestamp,
    /// Whether it takes on new ones.
    pub accepting: bool,
    /// Whether it trades with one of the parties in an escrow that is not over.
    pub trades_with_party: bool,
    /// Whether it would not, or did not answer, in an escrow that this one replaces.
    pub declined: bool,
}

/// Why an arbiter can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Bar {
    /// It is one of the traders.
    Party,
    /// It trades with one of them.
    Conflict,
    /// It declined, or did not answer.
    Declined,
    /// It takes on nothing new.
    NotAccepting,
    /// It has as many as it takes on.
    Full,
    /// Its program has not been heard for long.
    Silent,
}

/// Everything the choice depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// Version of this format: 1.
    pub format: u8,
    /// When it was made.
    pub at: Timestamp,
    /// Who is to trade: the creator and the other.
    pub traders: [UserId; 2],
    /// Whether the traders named their arbiter: then it is the only candidate, and need not have been heard.
    pub named: bool,
    /// Whoever was last heard before this counts as silent.
    pub silent_before: Timestamp,
    /// How many candidates there were.
    pub considered: u64,
    /// The best of them, in the order in which they would be taken, up to [`Choice::RECORDED`].
    pub candidates: Vec<Candidate>,
}

impl Choice {
    /// The format this program writes.
    pub const FORMAT: u8 = 1;
    /// Candidates that are kept with a choice.
    pub const RECORDED: usize = 50;

    /// Why a candidate can't be had; `None` where it can.
    pub fn bar(&self, candidate: &Candidate) -> Option<Bar> {
        let bars = [
            (self.traders.contains(&candidate.user_id), Bar::Party),
            (candidate.trades_with_party, Bar::Conflict),
            (candidate.declined, Bar::Declined),
            (!candidate.accepting, Bar::NotAccepting),
            (candidate.open >= u64::from(candidate.capacity), Bar::Full),
            (!self.named && candidate.seen_at < self.silent_before, Bar::Silent),
        ];
        bars.into_iter().find(|(holds, _)| *holds).map(|(_, bar)| bar)
    }

    /// The candidate who gets it: with the fewest open cases, of equals the longest idle, of those the first by id.
    pub fn chosen(&self) -> Option<&Candidate> {
        let free = self.candidates.iter().filter(|candidate| self.bar(candidate).is_none());
        free.min_by_key(|candidate| (candidate.open, candidate.idle_since, candidate.user_id))
    }

    /// The same with no more candidates than are kept: those who can be had first, in the order of the rule.
    pub fn recorded(mut self) -> Self {
        let mut keyed: Vec<_> = std::mem::take(&mut self.candidates)
            .into_iter()
            .map(|candidate| {
                ((self.bar(&candidate).is_some(), candidate.open, candidate.idle_since), candidate)
            })
            .collect();
        keyed.sort_by_key(|(key, candidate)| (*key, candidate.user_id));
        self.candidates = keyed.into_iter().map(|(_, candidate)| candidate).take(Self::RECORDED).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::time::SignedDuration;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn user(number: u128) -> UserId {
        UserId(Uuid::from_u128(number))
    }

    fn candidate(number: u128) -> Candidate {
        Candidate {
            user_id: user(number),
            username: format!("arbiter-{number}"),
            open: 0,
            capacity: 10,
            idle_since: NOW,
            seen_at: NOW,
            accepting: true,
            trades_with_party: false,
            declined: false,
        }
    }

    fn choice(candidates: Vec<Candidate>) -> Choice {
        Choice {
            format: Choice::FORMAT,
            at: NOW,
            traders: [user(1), user(2)],
            named: false,
            silent_before: NOW - SignedDuration::from_hours(24),
            considered: candidates.len() as u64,
            candidates,
        }
    }

    #[test]
    fn the_least_busy_then_the_longest_idle_is_chosen() {
        let busy = Candidate { open: 2, idle_since: NOW - SignedDuration::from_hours(9), ..candidate(10) };
        let rested = Candidate { open: 1, idle_since: NOW - SignedDuration::from_hours(2), ..candidate(12) };
        let fresh = Candidate { open: 1, idle_since: NOW - SignedDuration::from_hours(1), ..candidate(11) };
        let all = choice(vec![busy.clone(), fresh.clone(), rested.clone()]);
        assert_eq!(all.chosen(), Some(&rested));
        assert_eq!(all.recorded().candidates, [rested, fresh, busy]);
        let equals = choice(vec![candidate(13), candidate(12)]);
        assert_eq!(equals.chosen(), Some(&candidate(12)));
    }

    #[test]
    fn who_is_barred_is_never_chosen() {
        let barred = [
            (Candidate { open: 0, ..candidate(1) }, Bar::Party),
            (Candidate { trades_with_party: true, ..candidate(10) }, Bar::Conflict),
            (Candidate { declined: true, ..candidate(10) }, Bar::Declined),
            (Candidate { accepting: false, ..candidate(10) }, Bar::NotAccepting),
            (Candidate { open: 10, ..candidate(10) }, Bar::Full),
            (Candidate { seen_at: NOW - SignedDuration::from_hours(25), ..candidate(10) }, Bar::Silent),
        ];
        for (candidate, bar) in barred {
            let mut choice = choice(vec![candidate.clone()]);
            assert_eq!((choice.bar(&candidate), choice.chosen()), (Some(bar), None));
            choice.named = true;
            let may = bar == Bar::Silent;
            assert_eq!(choice.chosen().is_some(), may, "named, {bar:?}");
        }
        assert_eq!(choice(vec![]).chosen(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        /// What is kept of a choice gives the same answer, and the first of it is the answer.
        #[test]
        fn a_choice_can_be_made_again_from_what_is_recorded(
            facts in prop::collection::vec((0_u64..4, 0_i64..4, any::<bool>(), 0_i64..40), 0..120),
        ) {
            let candidates = facts.iter().zip(10..).map(|((open, idle, accepting, seen), number)| Candidate {
                open: *open,
                idle_since: NOW - SignedDuration::from_hours(*idle),
                accepting: *accepting,
                seen_at: NOW - SignedDuration::from_hours(*seen),
                ..candidate(number)
            });
            let whole = choice(candidates.collect());
            let chosen = whole.chosen().cloned();
            let recorded = whole.recorded();
            prop_assert!(recorded.candidates.len() <= Choice::RECORDED);
            prop_assert_eq!(recorded.chosen(), chosen.as_ref());
            if chosen.is_some() {
                prop_assert_eq!(recorded.candidates.first(), chosen.as_ref());
            }
        }
    }
}
