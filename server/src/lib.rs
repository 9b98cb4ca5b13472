#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod accounts;
pub mod actors;
pub mod api;
pub mod app;
pub mod arbiters;
pub mod chain;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod escrows;
pub mod integrations;
pub mod market;
pub mod node;
pub mod outside;
pub mod store;
pub mod telemetry;
pub mod ws;
