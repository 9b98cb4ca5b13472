#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod actors;
pub mod chain;
pub mod clock;
pub mod crypto;
pub mod node;
pub mod store;
