//! The actors.

pub mod message;
pub mod sessions;
