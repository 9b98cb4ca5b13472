//! What the domain promises, tried with sequences of events, contracts and transcripts that nobody would think of.
//! `PROPTEST_CASES` raises the number of cases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod answers;
mod driver;
mod ends;
mod fates;
mod floods;
mod hostile;
mod invariants;
mod payouts;
mod returns;
mod rows;
mod told;
mod transcripts;
mod waits;

use proptest::prelude::*;

/// A number of cases that keeps the suite quick, unless the environment asks for another.
pub fn cases(few: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(asked.unwrap_or(few)) }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn whatever_happens_only_listed_steps_are_taken_and_every_promise_holds(
        seed: u64,
        steps in prop::collection::vec(any::<u64>(), 0..160),
    ) {
        for (from, event, to) in driver::run(seed, &steps) {
            prop_assert!(
                aegis_common::escrow::table::is_listed(from, event, to),
                "{from} {event} {to} is not listed"
            );
        }
    }
}
