//! Secrets: columns sealed with AES-256-GCM under a ring of keys, passwords, login tokens.

pub mod breached;
mod keyring;
pub mod opaque;
pub mod password;
mod seal;
pub mod token;
pub mod totp;

pub use keyring::{KeyId, Keyring, KeyringError, NewKey};
pub use seal::{Cell, SealError};
