//! Identities with keys that everybody knows.

use curve25519_dalek::MontgomeryPoint;
use ed25519_dalek::SigningKey;
use ml_kem::kem::KeyExport;
use ml_kem::{DecapsulationKey1024, Seed};

use crate::hash::{Hash32, Key32};
use crate::identity::{IdentityBundle, KeyKind, Prekey, sign_identity};

/// The signing key of [`identity`].
pub fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// A bundle in order, with two one-time and two ML-KEM prekeys.
pub fn identity(seed: u8) -> IdentityBundle {
    let signer = signing_key(seed);
    let exchange = |n: u8| MontgomeryPoint::mul_base_clamped([seed.wrapping_add(n); 32]).0;
    let ml_kem = |n: u8| {
        let key = DecapsulationKey1024::from_seed(Seed::from([seed.wrapping_add(n); 64]));
        key.encapsulation_key().to_bytes()
    };
    let identity_key = Key32(exchange(0));
    IdentityBundle {
        identity_key,
        fingerprint: Hash32::sha256(&identity_key.0),
        signing_key: Key32(signer.verifying_key().to_bytes()),
        identity_signature: sign_identity(&identity_key, &signer),
        signed_prekey: Prekey::sign(KeyKind::SignedPrekey, 1, &exchange(1), &signer),
        one_time_prekeys: [2, 3]
            .map(|n| Prekey::sign(KeyKind::OneTimePrekey, n.into(), &exchange(n), &signer))
            .to_vec(),
        ml_kem_prekeys: [4, 5]
            .map(|n| Prekey::sign(KeyKind::MlKemPrekey, n.into(), &ml_kem(n), &signer))
            .to_vec(),
    }
}
