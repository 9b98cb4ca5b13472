//! The Aegis escrow server: relays, verifies, watches and times; holds nothing that can spend.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod chain;
pub mod node;
