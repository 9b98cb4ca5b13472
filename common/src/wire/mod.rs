//! Bodies of requests, responses and WebSocket frames: the one definition that server and clients share.
//!
//! JSON in camelCase; amounts are strings of piconero, times RFC 3339, keys and hashes hexadecimal.

pub mod account;
pub mod escrow;
pub mod event;
pub mod listing;
pub mod problem;
