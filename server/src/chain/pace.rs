//! How far a follower that was away has caught up, and how long it still takes.

use std::fmt;
use std::time::{Duration, Instant};

/// Pause between two lines in the log.
const TELL: Duration = Duration::from_secs(5);

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchingUp {
    /// The newest block that was processed.
    pub block: u64,
    /// The newest block there is.
    pub of: u64,
    /// At the pace so far; none before the first block.
    pub seconds_left: Option<u64>,
}

impl fmt::Display for CatchingUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} of {}", grouped(self.block), grouped(self.of))?;
        match self.seconds_left {
            Some(seconds @ 0..120) => write!(f, ", {seconds} s left"),
            Some(seconds @ ..7_200) => write!(f, ", {} min left", seconds / 60),
            Some(seconds) => write!(f, ", {} h left", seconds / 3600),
            None => Ok(()),
        }
    }
}

/// Digits in threes.
fn grouped(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

/// The pace of one run of catching up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    from: u64,
    of: u64,
    began: Instant,
    told: Instant,
}

impl Pace {
    pub fn new(from: u64, of: u64, now: Instant) -> Self {
        Self { from, of, began: now, told: now }
    }

    /// Where it is with a block.
    pub fn at(&self, block: u64, now: Instant) -> CatchingUp {
        let done = block.saturating_sub(self.from);
        let left = self.of.saturating_sub(block);
        let spent = now.saturating_duration_since(self.began).as_millis();
        let seconds = |done| (spent * u128::from(left) / u128::from(done)).div_ceil(1_000);
        let seconds_left = (done > 0).then(|| u64::try_from(seconds(done)).unwrap_or(u64::MAX));
        CatchingUp { block, of: self.of, seconds_left }
    }

    /// Whether it is time for a line in the log.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.told) >= TELL;
        if due {
            self.told = now;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_pace_so_far() {
        let now = Instant::now();
        let mut pace = Pace::new(3_200_000, 3_214_000, now);
        assert_eq!(pace.at(3_200_000, now).to_string(), "block 3,200,000 of 3,214,000");
        // 10,000 blocks in 25 seconds.
        let later = now + Duration::from_secs(25);
        assert_eq!(pace.at(3_210_000, later).to_string(), "block 3,210,000 of 3,214,000, 10 s left");
        assert_eq!(pace.at(3_214_000, later).seconds_left, Some(0));
        assert_eq!(pace.at(3_200_001, later).to_string(), "block 3,200,001 of 3,214,000, 97 h left");
        assert_eq!(pace.at(3_201_000, later).to_string(), "block 3,201,000 of 3,214,000, 5 min left");
        assert!(!pace.is_due(now + Duration::from_secs(4)) && pace.is_due(later) && !pace.is_due(later));
        // A chain that became shorter.
        assert_eq!(pace.at(3_199_999, later).seconds_left, None);
        assert_eq!([0, 999, 1_000, 1_000_000].map(grouped), ["0", "999", "1,000", "1,000,000"]);
    }
}
