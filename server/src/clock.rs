//! The machine's clock: the one place that asks it.

use std::time::SystemTime;

use aegis_common::time::{Clock, Timestamp, to_millis};

/// UTC from the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A machine whose clock is outside the years -9999 to 9999 has no usable time at all.
        Timestamp::try_from(SystemTime::now()).map_or(Timestamp::UNIX_EPOCH, to_millis)
    }
}
