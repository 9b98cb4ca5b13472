//! Which arbiter an escrow gets: a pure rule on inputs that are recorded, so that anybody can compute it again.

use serde::{Deserialize, Serialize};

use crate::ids::UserId;
use crate::time::{SignedDuration, Timestamp};

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
    /// Its cases: escrows that are not over, disputed ones among them, and those that are being made.
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

/// The choice as all parties of the escrow may see it: enough to make it again, and nothing of whom anybody else trades with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShownChoice {
    /// Version of this format: 1.
    pub format: u8,
    /// When it was made.
    pub at: Timestamp,
    /// Who is to trade: the creator and the other.
    pub traders: [UserId; 2],
    /// Whether the traders named their arbiter: then it is the only candidate.
    pub named: bool,
    /// How many candidates there were.
    pub considered: u64,
    /// The best of them, in the order in which they would be taken.
    pub candidates: Vec<ShownCandidate>,
}

/// A candidate as all parties may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShownCandidate {
    /// Who.
    pub user_id: UserId,
    /// Its name.
    pub username: String,
    /// Its cases.
    pub open: u64,
    /// When it was last assigned one, or registered.
    pub idle_since: Timestamp,
    /// Why it can't be had, if it can't.
    pub barred: Option<ShownBar>,
}

/// Why a candidate can't be had, as far as it concerns the parties of this escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ShownBar {
    /// It is one of the traders.
    Party,
    /// It declined, or did not answer.
    Declined,
    /// Anything else: which it is would tell of others.
    Unavailable,
}

impl From<Bar> for ShownBar {
    fn from(bar: Bar) -> Self {
        match bar {
            Bar::Party => Self::Party,
            Bar::Declined => Self::Declined,
            Bar::Conflict | Bar::NotAccepting | Bar::Full | Bar::Silent => Self::Unavailable,
        }
    }
}

impl ShownChoice {
    /// Whoever gets it, by the rule of [`Choice::chosen`].
    pub fn chosen(&self) -> Option<&ShownCandidate> {
        let free = self.candidates.iter().filter(|candidate| candidate.barred.is_none());
        free.min_by_key(|candidate| (candidate.open, candidate.idle_since, candidate.user_id))
    }
}

/// Whoever was last heard before this is silent: heard for so long of the time in which a server ran. `outages` are the times in
/// which none did, the newest first.
pub fn silent_before(
    now: Timestamp,
    silent: SignedDuration,
    outages: &[(Timestamp, Timestamp)],
) -> Timestamp {
    let (mut until, mut left) = (now, silent);
    for (began, ended) in outages {
        let ran = until.duration_since(*ended).max(SignedDuration::ZERO);
        if ran >= left {
            break;
        }
        left = left.saturating_sub(ran);
        until = until.min(*began);
    }
    until.saturating_sub(left).unwrap_or(Timestamp::MIN)
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

    /// What all parties may see of it.
    pub fn shown(self) -> ShownChoice {
        let bars: Vec<_> = self.candidates.iter().map(|candidate| self.bar(candidate)).collect();
        let shown = self.candidates.into_iter().zip(bars).map(|(candidate, bar)| ShownCandidate {
            user_id: candidate.user_id,
            username: candidate.username,
            open: candidate.open,
            idle_since: candidate.idle_since,
            barred: bar.map(ShownBar::from),
        });
        ShownChoice {
            format: self.format,
            at: self.at,
            traders: self.traders,
            named: self.named,
            considered: self.considered,
            candidates: shown.collect(),
        }
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

    #[test]
    fn time_in_which_no_server_ran_is_nobodys_silence() {
        let ago = |hours: i64| NOW - SignedDuration::from_hours(hours);
        let day = SignedDuration::from_hours(24);
        assert_eq!(silent_before(NOW, day, &[]), ago(24));
        assert_eq!(silent_before(NOW, day, &[(ago(50), ago(2))]), ago(72));
        assert_eq!(silent_before(NOW, day, &[(ago(10), ago(5)), (ago(50), ago(20))]), ago(59));
        assert_eq!(silent_before(NOW, day, &[(ago(90), ago(30))]), ago(24), "before it all");
        assert_eq!(silent_before(NOW, day, &[(ago(1), ago(-1))]), ago(25), "a clock that went back");
    }

    /// Of two that can't be had, one because it trades with a party and one because it pauses, nobody learns which is which.
    #[test]
    fn what_is_shown_of_a_choice_says_nothing_of_whom_others_trade_with() {
        let pausing = Candidate { accepting: false, ..candidate(10) };
        let partner = Candidate { trades_with_party: true, ..candidate(10) };
        let shown = |candidate| choice(vec![candidate, super::tests::candidate(11)]).shown();
        assert_eq!(shown(pausing), shown(partner));
        let choice = choice(vec![Candidate { declined: true, ..candidate(10) }, candidate(11)]);
        let shown = choice.clone().shown();
        assert_eq!(shown.candidates[0].barred, Some(ShownBar::Declined));
        assert_eq!(shown.chosen().map(|one| one.user_id), choice.chosen().map(|one| one.user_id));
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
            let shown = recorded.clone().shown();
            prop_assert_eq!(shown.chosen().map(|one| one.user_id), chosen.as_ref().map(|one| one.user_id));
            if chosen.is_some() {
                prop_assert_eq!(recorded.candidates.first(), chosen.as_ref());
            }
        }
    }
}
