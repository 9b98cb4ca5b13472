//! Monero's group operations over curve25519-dalek (Monero `src/crypto/crypto.cpp`, `src/ringct/rctOps.cpp`).

use std::sync::LazyLock;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use sha3::{Digest, Keccak256};

use zeroize::Zeroizing;

use super::reader::write_varint;
use crate::hash::{Hash32, Key32};

/// An encoded derivation `8·a·R`, the secret shared by sender and recipient.
pub type Derivation = [u8; 32];

/// The second generator of commitments, `8·point(keccak(G))` (`src/ringct/rctTypes.h`); a test derives it.
const H_BYTES: [u8; 32] = [
    0x8b, 0x65, 0x59, 0x70, 0x15, 0x37, 0x99, 0xaf, 0x2a, 0xea, 0xdc, 0x9f, 0xf1, 0xad, 0xd0, 0xea, 0x6c,
    0x72, 0x51, 0xd5, 0x41, 0x54, 0xcf, 0xa9, 0x2c, 0x17, 0x3a, 0x0d, 0xd3, 0x9c, 0x1f, 0x94,
];

static H: LazyLock<Option<EdwardsPoint>> = LazyLock::new(|| CompressedEdwardsY(H_BYTES).decompress());

/// Keccak-256 with the original padding (`cn_fast_hash`) of the parts in a row.
pub fn keccak(parts: &[&[u8]]) -> Hash32 {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash32(hasher.finalize().into())
}

/// Keccak-256 reduced modulo the group order (`hash_to_scalar`).
pub fn hash_to_scalar(parts: &[&[u8]]) -> Scalar {
    Scalar::from_bytes_mod_order(keccak(parts).0)
}

/// A point from its only valid encoding. dalek alone takes a non-canonical y, and x = 0 with the sign bit
/// set; Monero's `ge_frombytes_vartime` refuses both, so re-encoding must give the same bytes.
pub fn canonical_point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    let point = CompressedEdwardsY(*bytes).decompress()?;
    (point.compress().0 == *bytes).then_some(point)
}

/// `8·secret·point` (`generate_key_derivation`). The cofactor is multiplied last: a point with torsion gives
/// what Monero gives.
pub fn derivation(point: &EdwardsPoint, secret: &Scalar) -> Derivation {
    (point * secret).mul_by_cofactor().compress().0
}

fn indexed(derivation: &Derivation, index: u64) -> Zeroizing<Vec<u8>> {
    // Ten bytes hold any varint: it never grows, and leaves nothing behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(42));
    bytes.extend(derivation);
    write_varint(&mut bytes, index);
    bytes
}

/// The secret of one output (`derivation_to_scalar`).
pub fn derivation_to_scalar(derivation: &Derivation, index: u64) -> Scalar {
    hash_to_scalar(&[&indexed(derivation, index)])
}

/// The view tag of one output (`derive_view_tag`).
pub fn view_tag(derivation: &Derivation, index: u64) -> u8 {
    keccak(&[b"view_tag", &indexed(derivation, index)]).0[0]
}

/// A Pedersen commitment `mask·G + amount·H`.
pub(crate) fn commitment(mask: &Scalar, amount: u64) -> Option<[u8; 32]> {
    let h = (*H)?;
    let sum = EdwardsPoint::vartime_double_scalar_mul_basepoint(&Scalar::from(amount), &h, mask);
    Some(sum.compress().0)
}

/// Masks an amount, or unmasks it, with an output's secret (`ecdhEncode` of the compact kind).
pub(crate) fn mask_amount(secret: &Scalar, amount: [u8; 8]) -> [u8; 8] {
    let key = keccak(&[b"amount", secret.as_bytes()]);
    let mut masked = amount;
    for (byte, key) in masked.iter_mut().zip(key.0) {
        *byte ^= key;
    }
    masked
}

/// The commitment mask of an output's secret (`genCommitmentMask`).
pub(crate) fn commitment_mask(secret: &Scalar) -> Scalar {
    hash_to_scalar(&[b"commitment_mask", secret.as_bytes()])
}

/// The amount, if the commitment opens to it. An amount the commitment doesn't hold could never be spent.
pub(crate) fn open_amount(secret: &Scalar, ecdh: [u8; 8], claimed: &[u8; 32]) -> Option<u64> {
    let amount = u64::from_le_bytes(mask_amount(secret, ecdh));
    (commitment(&commitment_mask(secret), amount)? == *claimed).then_some(amount)
}

/// The one-time key `secret·G + spend` of an output (`derive_public_key`).
pub(crate) fn one_time_key(secret: &Scalar, spend: &EdwardsPoint) -> Key32 {
    Key32((EdwardsPoint::mul_base(secret) + spend).compress().0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::constants::{ED25519_BASEPOINT_COMPRESSED, EIGHT_TORSION};

    const VECTORS: &str = include_str!("../../tests/vectors/monero-crypto.txt");

    fn bytes(text: &str) -> [u8; 32] {
        text.parse::<Hash32>().unwrap().0
    }

    fn scalar(text: &str) -> Scalar {
        Scalar::from_canonical_bytes(bytes(text)).unwrap()
    }

    #[test]
    fn all_of_moneros_own_vectors_hold() {
        let mut lines = 0;
        for line in VECTORS.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            match fields.as_slice() {
                ["check_key", key, valid] => {
                    assert_eq!(canonical_point(&bytes(key)).is_some(), *valid == "true", "{line}");
                }
                ["generate_key_derivation", point, _, "false"] => {
                    assert!(canonical_point(&bytes(point)).is_none(), "{line}");
                }
                ["generate_key_derivation", point, secret, "true", expected] => {
                    let point = canonical_point(&bytes(point)).unwrap();
                    assert_eq!(derivation(&point, &scalar(secret)), bytes(expected), "{line}");
                }
                ["derive_public_key", _, _, base, "false"] => {
                    assert!(canonical_point(&bytes(base)).is_none(), "{line}");
                }
                ["derive_public_key", shared, index, base, "true", expected] => {
                    let secret = derivation_to_scalar(&bytes(shared), index.parse().unwrap());
                    let base = canonical_point(&bytes(base)).unwrap();
                    assert_eq!(one_time_key(&secret, &base).0, bytes(expected), "{line}");
                }
                ["derive_secret_key", shared, index, base, expected] => {
                    let secret = derivation_to_scalar(&bytes(shared), index.parse().unwrap());
                    assert_eq!((secret + scalar(base)).to_bytes(), bytes(expected), "{line}");
                }
                ["derive_view_tag", shared, index, expected] => {
                    let tag = view_tag(&bytes(shared), index.parse().unwrap());
                    assert_eq!(hex::encode([tag]), *expected, "{line}");
                }
                other => panic!("unknown vector {other:?}"),
            }
            lines += 1;
        }
        assert_eq!(lines, 1242);
    }

    #[test]
    fn the_second_generator_is_eight_times_the_point_of_keccak_of_the_first() {
        let hash = keccak(&[ED25519_BASEPOINT_COMPRESSED.as_bytes()]);
        let point = canonical_point(&hash.0).unwrap().mul_by_cofactor();
        assert_eq!(point.compress().0, H_BYTES);
    }

    #[test]
    fn second_spellings_of_a_point_are_refused_and_torsion_is_cleared() {
        // y = p + 1 is 1 again; the identity with the sign bit; both decompress in dalek.
        let mut wrapped = [0xff; 32];
        (wrapped[0], wrapped[31]) = (0xee, 0x7f);
        let mut signed = [0; 32];
        (signed[0], signed[31]) = (1, 0x80);
        for bytes in [wrapped, signed] {
            assert_eq!(canonical_point(&bytes), None);
        }
        let secret = hash_to_scalar(&[b"secret"]);
        let clean = EdwardsPoint::mul_base(&hash_to_scalar(&[b"point"]));
        for torsion in EIGHT_TORSION {
            assert_eq!(derivation(&(clean + torsion), &secret), derivation(&clean, &secret));
        }
    }
}
