//! What a participant must keep secret and what it has learnt about the others: one encrypted file.

mod identity;
mod pins;
mod sealed;
mod store;
mod vault;

pub use identity::{Identity, PublicKeys, safety_number};
pub use pins::{Pin, PinCheck, PinSource};
pub use store::{KeyError, KeyStore, MIN_PASSPHRASE, Profile, Secret};
pub use vault::{MAX_RECORD, Vault, VaultError};
