#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod address;
pub mod amount;
pub mod arbiter;
pub mod canonical;
pub mod chain;
pub mod code;
pub mod escrow;
pub mod hash;
pub mod identity;
pub mod ids;
pub mod language;
pub mod multisig;
pub mod reputation;
pub mod role;
mod schema;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod username;
pub mod wire;
pub mod words;
