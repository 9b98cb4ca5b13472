//! The Aegis server: relays, orders, verifies, watches, times and notifies. It holds nothing that can spend.
//!
//! Floors, from the ground; a file imports only from lower ones:
//! 1. [`config`], [`telemetry`], [`clock`], [`crypto`]
//! 2. [`store`], [`node`], [`chain`]
//! 3. [`accounts`], [`escrows`]
//! 4. [`actors`]
//! 5. [`api`], [`ws`]
//! 6. [`app`]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod accounts;
pub mod actors;
pub mod api;
pub mod app;
pub mod chain;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod escrows;
pub mod node;
pub mod store;
pub mod telemetry;
pub mod ws;
