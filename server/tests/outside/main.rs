//! What the server calls outside: real sockets, real databases, real wallets, and a clock that can be set.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod addresses;
#[path = "../support/monero.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod monero;
#[path = "../support/postgres.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod postgres;
#[path = "../support/rows.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod rows;
mod support;
mod tor;
mod wallets;
mod webhooks;
