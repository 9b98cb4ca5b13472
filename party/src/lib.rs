#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod authority;
pub mod book;
pub mod cli;
pub mod client;
pub mod daemon;
pub mod engine;
pub mod files;
pub mod keys;
pub mod policy;
pub mod wallet;
