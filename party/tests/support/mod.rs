//! What the tests against real programs share.

pub mod monero;
