//! The Aegis domain, pure: no runtime, no database, no clock and no randomness inside.

pub mod address;
pub mod amount;
pub mod hash;
pub mod ids;
mod schema;
pub mod time;
