//! The API as clients meet it: real sockets, real SQLite, the real actors.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod accounts;
mod bad_input;
mod credentials;
mod escrows;
mod feed;
mod lists;
mod logs;
mod matrix;
mod people;
mod races;
mod refusals;
mod routes;
mod support;
mod websocket;
