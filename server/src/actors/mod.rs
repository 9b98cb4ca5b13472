//! The actors.

pub mod message;
