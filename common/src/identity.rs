//! Who somebody is to others: an X25519 identity key, an Ed25519 signing key, and prekeys for messages to people who are away
//! (Signal's X3DH and PQXDH). Every key of a bundle is signed by the signing key, so that whoever has pinned that one key
//! notices when a server swaps any other.

use curve25519_dalek::MontgomeryPoint;
use curve25519_dalek::edwards::CompressedEdwardsY;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use ml_kem::EncapsulationKey1024;
use ml_kem::kem::TryKeyInit;
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::hash::{Hash32, Key32, Signature};
use crate::time::{SignedDuration, Timestamp};

/// Bounds on bundles.
pub mod bounds {
    /// One-time prekeys that one request may bring.
    pub const ONE_TIME: usize = 100;
    /// ML-KEM-1024 prekeys that one request may bring.
    pub const ML_KEM: usize = 16;
    /// Bytes of an ML-KEM-1024 encapsulation key (FIPS 203, table 3).
    pub const ML_KEM_KEY: usize = 1568;
}

/// How far the time in a signed password reset may lie from the server's.
pub const RESET_WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// What a key of a bundle is for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum KeyKind {
    /// The X25519 identity key.
    Identity,
    /// The X25519 key that messages to somebody away begin with; replaced from time to time.
    SignedPrekey,
    /// An X25519 key for one first message.
    OneTimePrekey,
    /// An ML-KEM-1024 encapsulation key for one first message.
    MlKemPrekey,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Identity, Self::SignedPrekey, Self::OneTimePrekey, Self::MlKemPrekey];

    /// The name on the wire and in the database.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::SignedPrekey => "signedPrekey",
            Self::OneTimePrekey => "oneTimePrekey",
            Self::MlKemPrekey => "mlKemPrekey",
        }
    }
}

/// A prekey with its owner's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Prekey {
    /// The owner's number for it, unique among keys of its kind.
    pub id: u32,
    /// Hexadecimal digits: 32 bytes of X25519, or 1568 bytes of ML-KEM-1024.
    pub key: String,
    /// By the owner's signing key.
    pub signature: Signature,
}

impl Prekey {
    /// Signs a key.
    pub fn sign(kind: KeyKind, id: u32, key: &[u8], signer: &SigningKey) -> Self {
        let signature = Signature(signer.sign(&signed_bytes(kind, id, key)).to_bytes());
        Self { id, key: hex::encode(key), signature }
    }

    /// The key's bytes, if it is a usable key of its kind and signed by its owner.
    pub fn verify(&self, kind: KeyKind, signer: &Key32) -> Result<Vec<u8>, BundleError> {
        let bad = |why| BundleError { kind, id: self.id, why };
        let key = hex::decode(&self.key).map_err(|_| bad(Flaw::NotAKey))?;
        let usable = match kind {
            KeyKind::MlKemPrekey => EncapsulationKey1024::new_from_slice(&key).is_ok(),
            _ => <[u8; 32]>::try_from(&key[..]).is_ok_and(|key| is_identity_key(&Key32(key))),
        };
        if !usable {
            return Err(bad(Flaw::NotAKey));
        }
        match is_signed(signer, &signed_bytes(kind, self.id, &key), &self.signature) {
            true => Ok(key),
            false => Err(bad(Flaw::NotSigned)),
        }
    }
}

/// What an account is registered with. The private halves stay with its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityBundle {
    /// X25519 identity key.
    pub identity_key: Key32,
    /// SHA-256 of the identity key.
    pub fingerprint: Hash32,
    /// Ed25519 key that will sign statements.
    pub signing_key: Key32,
    /// Of the identity key, by the signing key.
    pub identity_signature: Signature,
    /// X25519.
    pub signed_prekey: Prekey,
    /// X25519; at most 100.
    pub one_time_prekeys: Vec<Prekey>,
    /// ML-KEM-1024; 1 to 16.
    pub ml_kem_prekeys: Vec<Prekey>,
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Not a point, of small order, or of another length.
    #[error("is not a usable key")]
    NotAKey,
    /// The signature is not its owner's.
    #[error("is not signed by the signing key")]
    NotSigned,
    /// It is not the SHA-256 of the identity key.
    #[error("does not fit the fingerprint")]
    Fingerprint,
    /// Two keys have one number.
    #[error("has the number of another")]
    Repeated,
    /// Too many, or none where one is needed.
    #[error("come in a number that is not allowed")]
    Count,
}

/// A bundle is not in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} {id} {why}", .kind.wire())]
pub struct BundleError {
    /// The kind of the key.
    pub kind: KeyKind,
    /// Its number; 0 where there is none.
    pub id: u32,
    /// What is wrong with it.
    pub why: Flaw,
}

impl IdentityBundle {
    /// Checks keys, fingerprint, numbers and every signature.
    pub fn verify(&self) -> Result<(), BundleError> {
        let bad = |why| Err(BundleError { kind: KeyKind::Identity, id: 0, why });
        if !is_identity_key(&self.identity_key) || !is_signing_key(&self.signing_key) {
            return bad(Flaw::NotAKey);
        }
        if self.fingerprint != Hash32::sha256(&self.identity_key.0) {
            return bad(Flaw::Fingerprint);
        }
        let signed = signed_bytes(KeyKind::Identity, 0, &self.identity_key.0);
        if !is_signed(&self.signing_key, &signed, &self.identity_signature) {
            return bad(Flaw::NotSigned);
        }
        self.signed_prekey.verify(KeyKind::SignedPrekey, &self.signing_key)?;
        if self.ml_kem_prekeys.is_empty() {
            return Err(BundleError { kind: KeyKind::MlKemPrekey, id: 0, why: Flaw::Count });
        }
        verify_prekeys(KeyKind::OneTimePrekey, &self.one_time_prekeys, &self.signing_key)?;
        verify_prekeys(KeyKind::MlKemPrekey, &self.ml_kem_prekeys, &self.signing_key)
    }
}

/// Checks prekeys of one kind that come together.
pub fn verify_prekeys(kind: KeyKind, keys: &[Prekey], signer: &Key32) -> Result<(), BundleError> {
    let most = if kind == KeyKind::MlKemPrekey { bounds::ML_KEM } else { bounds::ONE_TIME };
    if keys.len() > most {
        return Err(BundleError { kind, id: 0, why: Flaw::Count });
    }
    for (at, key) in keys.iter().enumerate() {
        if keys[..at].iter().any(|earlier| earlier.id == key.id) {
            return Err(BundleError { kind, id: key.id, why: Flaw::Repeated });
        }
        key.verify(kind, signer)?;
    }
    Ok(())
}

/// What a signature of a key covers.
fn signed_bytes(kind: KeyKind, id: u32, key: &[u8]) -> Vec<u8> {
    [b"aegis key v1\0", kind.wire().as_bytes(), b"\0", &id.to_be_bytes()[..], key].concat()
}

/// Signs the identity key, for [`IdentityBundle::identity_signature`].
pub fn sign_identity(identity: &Key32, signer: &SigningKey) -> Signature {
    Signature(signer.sign(&signed_bytes(KeyKind::Identity, 0, &identity.0)).to_bytes())
}

/// The words that set a new password without the old one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordReset {
    /// The server that is meant: its origin, as [`origin_of`] gives it.
    pub server: String,
    /// The account's name, as the request spells it.
    pub username: String,
    /// SHA-256 of the new password.
    pub password_hash: Hash32,
    /// When it was signed.
    pub at: Timestamp,
}

impl PasswordReset {
    fn signed_bytes(&self) -> Result<Vec<u8>, canonical::NotCanonical> {
        Ok([b"aegis password reset v1\0", &canonical::to_bytes(self)?[..]].concat())
    }

    /// Signs the words.
    pub fn sign(&self, signer: &SigningKey) -> Result<Signature, canonical::NotCanonical> {
        Ok(Signature(signer.sign(&self.signed_bytes()?).to_bytes()))
    }

    /// Whether the owner of the key signed exactly these words.
    pub fn is_signed_by(&self, signer: &Key32, signature: &Signature) -> bool {
        self.signed_bytes().is_ok_and(|bytes| is_signed(signer, &bytes, signature))
    }

    /// Whether the time lies inside the window around `now`.
    pub fn is_timely(&self, now: Timestamp) -> bool {
        now.duration_since(self.at).abs() <= RESET_WINDOW
    }
}

/// Scheme, host and perhaps port of a URL, in lower case (RFC 6454): what tells one server from another.
pub fn origin_of(url: &str) -> Option<String> {
    let origin = url::Url::parse(url).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

fn is_signed(signer: &Key32, bytes: &[u8], signature: &Signature) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    // Strict: a signature has one encoding, and no key of small order signs everything.
    VerifyingKey::from_bytes(&signer.0).is_ok_and(|key| key.verify_strict(bytes, &signature).is_ok())
}

/// A canonical point of full order: under a key of small order anybody can make signatures that verify.
pub fn is_signing_key(key: &Key32) -> bool {
    let point = CompressedEdwardsY(key.0).decompress();
    point.is_some_and(|point| {
        point.compress().0 == key.0 && point.is_torsion_free() && !point.is_small_order()
    })
}

/// Not of small order: such a key gives the same shared secret with everybody (RFC 7748 §6.1).
pub fn is_identity_key(key: &Key32) -> bool {
    // Clamping clears the cofactor, so any scalar sends points of small order, and only those, to zero.
    MontgomeryPoint(key.0).mul_clamped([1; 32]).0 != [0; 32]
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_COMPRESSED, EIGHT_TORSION, X25519_BASEPOINT};

    use super::*;
    use crate::testing::identity;

    #[test]
    fn base_points_are_keys_and_points_of_small_order_are_not() {
        assert!(is_signing_key(&Key32(ED25519_BASEPOINT_COMPRESSED.0)));
        assert!(is_identity_key(&Key32(X25519_BASEPOINT.0)));
        for point in EIGHT_TORSION {
            assert!(!is_signing_key(&Key32(point.compress().0)));
            assert!(!is_identity_key(&Key32(point.to_montgomery().0)));
        }
        assert!(!is_signing_key(&Key32([0xff; 32])));
        assert!(!is_identity_key(&Key32([0; 32])));
    }

    #[test]
    fn a_bundle_is_taken_whole_and_any_swapped_key_number_or_signature_is_named() {
        let (good, other) = (identity(1), identity(2));
        assert_eq!(good.verify(), Ok(()));
        type Change = fn(&mut IdentityBundle, &IdentityBundle);
        let changes: [(KeyKind, Flaw, Change); 12] = [
            (KeyKind::Identity, Flaw::NotAKey, |b, _| b.identity_key = Key32([0; 32])),
            (KeyKind::Identity, Flaw::NotAKey, |b, _| b.signing_key = Key32([0; 32])),
            (KeyKind::Identity, Flaw::Fingerprint, |b, o| b.identity_key = o.identity_key),
            (KeyKind::Identity, Flaw::NotSigned, |b, o| {
                (b.identity_key, b.fingerprint) = (o.identity_key, o.fingerprint);
            }),
            (KeyKind::Identity, Flaw::NotSigned, |b, o| b.signing_key = o.signing_key),
            (KeyKind::SignedPrekey, Flaw::NotSigned, |b, o| b.signed_prekey = o.signed_prekey.clone()),
            // A signature is for one kind and one number.
            (KeyKind::SignedPrekey, Flaw::NotSigned, |b, _| b.signed_prekey = b.one_time_prekeys[0].clone()),
            (KeyKind::OneTimePrekey, Flaw::NotSigned, |b, _| b.one_time_prekeys[0].id = 99),
            (KeyKind::OneTimePrekey, Flaw::Repeated, |b, _| {
                b.one_time_prekeys[1] = b.one_time_prekeys[0].clone();
            }),
            (KeyKind::OneTimePrekey, Flaw::Count, |b, _| {
                b.one_time_prekeys = vec![b.one_time_prekeys[0].clone(); 101];
            }),
            (KeyKind::MlKemPrekey, Flaw::NotAKey, |b, _| b.ml_kem_prekeys[0].key = "ff".repeat(1568)),
            (KeyKind::MlKemPrekey, Flaw::Count, |b, _| b.ml_kem_prekeys.clear()),
        ];
        for (kind, why, change) in changes {
            let mut bundle = good.clone();
            change(&mut bundle, &other);
            let error = bundle.verify().unwrap_err();
            assert_eq!((error.kind, error.why), (kind, why));
        }
    }

    #[test]
    fn one_server_has_one_origin_however_its_address_is_written() {
        for url in ["https://a.example", "HTTPS://A.example/", "https://a.example:443/x?y#z"] {
            assert_eq!(origin_of(url).as_deref(), Some("https://a.example"), "{url}");
        }
        assert_eq!(origin_of("http://a.example:8470").as_deref(), Some("http://a.example:8470"));
        assert_ne!(origin_of("http://a.example"), origin_of("https://a.example"));
        assert_eq!(
            origin_of("https://user:secret@b\u{fc}cher.example:/").as_deref(),
            Some("https://xn--bcher-kva.example")
        );
        assert_eq!(origin_of("http://[0:0:0:0:0:0:0:1]:80").as_deref(), Some("http://[::1]"));
        assert_eq!(origin_of("a.example"), None);
    }

    #[test]
    fn a_reset_is_for_one_account_one_password_and_five_minutes() {
        let signer = SigningKey::from_bytes(&[7; 32]);
        let key = Key32(signer.verifying_key().to_bytes());
        let at = Timestamp::from_second(1_000_000).unwrap();
        let reset = PasswordReset {
            server: "https://escrow.example".to_owned(),
            username: "ann".to_owned(),
            password_hash: Hash32::sha256(b"new"),
            at,
        };
        let signature = reset.sign(&signer).unwrap();
        assert!(reset.is_signed_by(&key, &signature));
        for changed in [
            PasswordReset { server: "https://other.example".to_owned(), ..reset.clone() },
            PasswordReset { username: "bob".to_owned(), ..reset.clone() },
            PasswordReset { password_hash: Hash32::sha256(b"other"), ..reset.clone() },
            PasswordReset { at: at + SignedDuration::from_secs(1), ..reset.clone() },
        ] {
            assert!(!changed.is_signed_by(&key, &signature));
        }
        for (second, timely) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
            assert_eq!(reset.is_timely(at + SignedDuration::from_secs(second)), timely, "{second}");
        }
    }
}
