//! The Aegis server: relays, orders, verifies, watches, times and notifies. It holds nothing that can spend.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod actors;
pub mod chain;
pub mod clock;
pub mod crypto;
pub mod node;
pub mod store;
