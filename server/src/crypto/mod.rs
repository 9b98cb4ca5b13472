//! Secrets: columns sealed with AES-256-GCM under a ring of keys, passwords, login tokens.

mod keyring;
pub mod password;
mod seal;
mod secret_file;
pub mod token;

pub use keyring::{KeyId, Keyring, KeyringError};
pub use seal::{Cell, SealError};
pub use secret_file::SecretFileError;
