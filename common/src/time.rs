//! Time is passed in, never asked for, so that every deadline can be tested to the millisecond.

pub use jiff::{SignedDuration, Timestamp};

/// Where the time comes from: the machine's clock in programs, a settable one in tests.
pub trait Clock: Send + Sync {
    /// The present moment in UTC, cut to the millisecond: the precision that is stored.
    fn now(&self) -> Timestamp;
}

/// Cuts a moment to the millisecond.
pub fn to_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
