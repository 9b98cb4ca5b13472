//! The API as clients meet it: real sockets, real SQLite, the real actors.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod accounts;
mod arbiters;
mod asyncapi;
mod bad_input;
mod credentials;
mod escrows;
mod feed;
mod integrations;
mod lists;
mod logs;
mod market;
mod matrix;
mod operator;
mod orders;
mod people;
mod races;
mod refusals;
mod reviews;
mod routes;
mod support;
mod websocket;
