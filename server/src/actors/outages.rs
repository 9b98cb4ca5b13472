//! How long no server ran: people's deadlines are put off by it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aegis_common::escrow::event::Event;
use aegis_common::escrow::state::Escrow;
use aegis_common::time::{SignedDuration, Timestamp};

use crate::store::{Store, StoreError};

/// A server that did not run for less was not missed.
const GAP: SignedDuration = SignedDuration::from_secs(60);
/// Between two notes that a server runs.
const BEAT: SignedDuration = SignedDuration::from_secs(10);
/// What is older is not counted: few are asked for something for longer, and then they have had this long.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 60);
/// Outages that count.
const MOST: usize = 1000;

/// From when to when.
type Outage = (Timestamp, Timestamp);

/// The outages that may matter to an answer that is awaited now.
#[derive(Default)]
pub(super) struct Outages(Mutex<Arc<[Outage]>>);

impl Outages {
    /// What the timer means for an escrow where people's time is over: more of it, where the server was down meanwhile.
    pub fn put_off(&self, escrow: &Escrow, now: Timestamp) -> Option<Event> {
        let since = escrow.asked_since(now)?;
        let known = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let seconds = seconds_down(&known, since, now);
        escrow.put_off(seconds, now).map(|_| Event::Outage { seconds })
    }
}

/// Seconds of the time between two moments in which no server ran.
fn seconds_down(outages: &[Outage], since: Timestamp, now: Timestamp) -> u32 {
    let within = outages.iter().map(|(from, to)| (*to).min(now).duration_since((*from).max(since)).as_secs());
    let total: i64 = within.filter(|seconds| *seconds > 0).sum();
    u32::try_from(total).unwrap_or(u32::MAX)
}

/// Notes that this server runs, and when none did.
#[derive(Default)]
pub(super) struct Pulse {
    last: Option<(Timestamp, Instant)>,
}

impl Pulse {
    /// Notes it where the last note is old enough. The first note of a server finds out how long none ran, and so does the first
    /// after a time in which none could be made.
    pub async fn beat(&mut self, store: &Store, outages: &Outages, now: Timestamp) -> Result<(), StoreError> {
        if self.last.is_some_and(|(last, _)| now.duration_since(last).abs() < BEAT) {
            return Ok(());
        }
        // Also while this process lived, where it could note nothing for long: nobody could answer either.
        let gap = self.last.is_none_or(|(_, at)| at.elapsed() > GAP.unsigned_abs()).then_some(GAP);
        store.beat(now, gap).await?;
        let known = store.outages(now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN), MOST).await?;
        *outages.0.lock().unwrap_or_else(PoisonError::into_inner) = known.into();
        self.last = Some((now, Instant::now()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_of_an_outage_after_the_question_counts() {
        let at = |second: i64| Timestamp::constant(1_800_000_000 + second, 0);
        let outages = [(at(500), at(800)), (at(100), at(200))];
        let down = |since, now| seconds_down(&outages, at(since), at(now));
        assert_eq!(down(0, 1_000), 400);
        assert_eq!(down(150, 1_000), 350);
        assert_eq!(down(600, 700), 100);
        assert_eq!((down(200, 500), down(900, 1_000), down(1_000, 0)), (0, 0, 0));
    }
}
