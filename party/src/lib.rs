//! The participant's program: keys, wallet rounds, verification and signing.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod files;
pub mod keys;
pub mod wallet;
