//! What a participant must keep secret and what it has learnt about the others: one encrypted file.

mod archive;
mod identity;
mod kdf;
mod pins;
mod prekeys;
mod profile;
mod sealed;
mod secret;
mod store;
mod vault;

pub(crate) use archive::is_kept;
pub use archive::{Archive, ArchiveError};
pub use identity::{Identity, PublicKeys, safety_number};
pub use pins::{Pin, PinCheck, PinSource};
pub use prekeys::FULL as ALL_PREKEYS;
pub use profile::Profile;
pub use secret::Secret;
pub use store::{KeyError, KeyStore, MIN_PASSPHRASE};
pub use vault::{MAX_RECORD, Vault, VaultError};
