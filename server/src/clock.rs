//! The machine's clock.

use aegis_common::time::{Clock, Timestamp, to_millis};

/// The machine's clock, cut to the millisecond. It may be stepped, so nothing measures a duration with it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        to_millis(Timestamp::now())
    }
}
