//! When a delivery is tried again.

use aegis_common::time::{SignedDuration, Timestamp};

/// How long a receiver may take nothing before its webhook is disabled.
pub const PATIENCE: SignedDuration = SignedDuration::from_hours(72);
/// Between two attempts at most.
const LONGEST: SignedDuration = SignedDuration::from_hours(6);

/// Before the attempt that follows so many failures: 10 seconds, a minute, 10 minutes, then twice as long each time, at most six
/// hours.
fn pause(failures: u32) -> SignedDuration {
    match failures {
        0 | 1 => SignedDuration::from_secs(10),
        2 => SignedDuration::from_mins(1),
        // Beyond the sixth doubling all are the longest.
        more => SignedDuration::from_mins(10 << (more - 3).min(6)).min(LONGEST),
    }
}

/// When the attempt after `failures` is due, of which the first was made at `first`; the last is made 72 hours after it. `None`
/// after that one.
pub fn next_attempt(first: Timestamp, now: Timestamp, failures: u32) -> Option<Timestamp> {
    let last = first.saturating_add(PATIENCE).unwrap_or(Timestamp::MAX);
    let next = now.saturating_add(pause(failures)).unwrap_or(Timestamp::MAX);
    (now < last).then(|| next.min(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_six_hours_and_the_last_attempt_comes_after_72() {
        let minutes = |count| pause(count).as_secs() / 60;
        assert_eq!((pause(1).as_secs(), pause(2).as_secs()), (10, 60));
        assert_eq!((3..10).map(minutes).collect::<Vec<_>>(), [10, 20, 40, 80, 160, 320, 360]);
        assert_eq!((pause(40), pause(u32::MAX)), (LONGEST, LONGEST));
        let first = Timestamp::UNIX_EPOCH;
        let at = |hours| first + SignedDuration::from_hours(hours);
        assert_eq!(next_attempt(first, at(64), 19), Some(at(70)));
        assert_eq!(next_attempt(first, at(70), 20), Some(at(72)));
        assert_eq!(next_attempt(first, at(72), 21), None);
        assert_eq!(next_attempt(first, at(1000), 21), None);
    }
}
