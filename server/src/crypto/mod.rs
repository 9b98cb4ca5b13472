//! Secrets at rest: columns sealed with AES-256-GCM under a ring of keys.

mod keyring;
mod seal;

pub use keyring::{KeyId, Keyring, KeyringError};
pub use seal::{Cell, SealError};
