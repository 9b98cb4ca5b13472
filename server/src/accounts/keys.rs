//! Which public keys an account may have.

use aegis_common::hash::Key32;
use curve25519_dalek::MontgomeryPoint;
use curve25519_dalek::edwards::CompressedEdwardsY;

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
    use super::*;
    use curve25519_dalek::constants::{ED25519_BASEPOINT_COMPRESSED, EIGHT_TORSION, X25519_BASEPOINT};

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
}
