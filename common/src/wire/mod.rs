//! Bodies of requests, responses and WebSocket frames: the one definition that server and clients share.
//!
//! JSON in camelCase; amounts are strings of piconero, times RFC 3339, keys and hashes hexadecimal.

pub mod account;
pub mod arbiter;
pub mod escrow;
pub mod event;
pub mod list;
pub mod market;
pub mod operator;
pub mod problem;
pub mod wallet;
pub mod webhook;
