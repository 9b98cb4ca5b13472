//! The participant's two key pairs, and the number two people compare to know that nobody swapped them.

use std::fmt;

use aegis_common::hash::{Hash32, Key32};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};

/// The public halves: what others pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicKeys {
    /// X25519 identity key.
    pub identity_key: Key32,
    /// Ed25519 signing key.
    pub signing_key: Key32,
}

impl PublicKeys {
    /// `sha256(identity key)`.
    pub fn fingerprint(&self) -> Hash32 {
        Hash32::sha256(&self.identity_key.0)
    }
}

/// X25519 identity key (RFC 7748) and Ed25519 signing key (RFC 8032); both are wiped when dropped.
#[derive(Clone)]
pub struct Identity {
    exchange: StaticSecret,
    signing: SigningKey,
}

impl Identity {
    pub(super) fn from_secrets(exchange: [u8; 32], signing: &[u8; 32]) -> Self {
        Self { exchange: StaticSecret::from(exchange), signing: SigningKey::from_bytes(signing) }
    }

    /// The key that signs statements.
    pub fn signing_key(&self) -> &SigningKey {
        &self.signing
    }

    /// Both public halves.
    pub fn public(&self) -> PublicKeys {
        PublicKeys {
            identity_key: Key32(PublicKey::from(&self.exchange).to_bytes()),
            signing_key: Key32(self.signing.verifying_key().to_bytes()),
        }
    }

    /// `sha256(identity key)`.
    pub fn fingerprint(&self) -> Hash32 {
        self.public().fingerprint()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint())
    }
}

/// Signal's count: makes searching for keys with a similar-looking number that much dearer.
const SAFETY_ITERATIONS: u32 = 5200;

/// Twelve groups of five digits, the same for both people: each one's thirty digits come from an iterated SHA-256
/// over both of its public keys, and the two halves stand in ascending order. Compared over another channel it
/// proves that neither the identity nor the signing key of either was swapped. The construction follows Signal's
/// numeric fingerprints.
pub fn safety_number(mine: &PublicKeys, theirs: &PublicKeys) -> String {
    let mut halves = [half_number(mine), half_number(theirs)];
    halves.sort();
    halves.concat().join(" ")
}

fn half_number(keys: &PublicKeys) -> Vec<String> {
    let mut digest: [u8; 32] = Sha256::new()
        .chain_update(b"aegis safety number v1")
        .chain_update(keys.identity_key.0)
        .chain_update(keys.signing_key.0)
        .finalize()
        .into();
    for _ in 1..SAFETY_ITERATIONS {
        digest = Sha256::new()
            .chain_update(digest)
            .chain_update(keys.identity_key.0)
            .chain_update(keys.signing_key.0)
            .finalize()
            .into();
    }
    let group = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte)) % 100_000;
    digest[..30].chunks(5).map(|bytes| format!("{:05}", group(bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(identity: u8, signing: u8) -> PublicKeys {
        Identity::from_secrets([identity; 32], &[signing; 32]).public()
    }

    #[test]
    fn the_safety_number_is_the_same_for_both_and_changes_with_every_one_of_the_four_keys() {
        let number = safety_number(&keys(1, 2), &keys(3, 4));
        assert_eq!(number, safety_number(&keys(3, 4), &keys(1, 2)));
        assert_eq!(number.split(' ').filter(|g| g.len() == 5).count(), 12);
        assert!(number.chars().all(|c| c.is_ascii_digit() || c == ' '));
        for (a, b) in [
            (keys(9, 2), keys(3, 4)),
            (keys(1, 9), keys(3, 4)),
            (keys(1, 2), keys(9, 4)),
            (keys(1, 2), keys(3, 9)),
        ] {
            assert_ne!(number, safety_number(&a, &b));
        }
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let text = format!("{:?}", Identity::from_secrets([0x41; 32], &[0x42; 32]));
        assert!(!text.contains("4141") && !text.contains("4242") && !text.contains("65, 65"));
    }
}
