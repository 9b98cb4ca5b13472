//! What is watched for one escrow: its view key and the public spend keys of its three subaddresses.

use std::fmt;

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use zeroize::{Zeroize, Zeroizing};

use super::curve::{canonical_point, hash_to_scalar};
use crate::address::{Address, AddressKind, Network};
use crate::hash::Key32;
use crate::ids::EscrowId;

/// Subaddresses of account 0 an escrow receives on: 0 buyer's payment, 1 seller's deposit, 2 buyer's deposit.
pub const SUBADDRESSES: usize = 3;

/// A view key and an address can't be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchKeyError {
    /// Not a scalar below the group order.
    #[error("the view key is not a canonical scalar")]
    Scalar,
    /// The view key is of another address.
    #[error("the view key does not belong to the address")]
    Mismatch,
    /// Only a wallet's primary address can be watched; the subaddresses follow from it.
    #[error("not a primary address")]
    NotPrimary,
    /// The spend key is no point, or outside the prime-order subgroup, where nothing sent to it could be
    /// spent.
    #[error("the address has an unusable spend key")]
    SpendKey,
}

/// An escrow to watch. The view key reveals amounts but spends nothing; it is wiped from memory on drop.
#[derive(Clone)]
pub struct WatchKey {
    escrow: EscrowId,
    view: Scalar,
    spend: [Key32; SUBADDRESSES],
}

impl WatchKey {
    /// Checks that the view key belongs to the primary address and derives what to look for.
    pub fn new(escrow: EscrowId, view_secret: [u8; 32], primary: &Address) -> Result<Self, WatchKeyError> {
        let view_secret = Zeroizing::new(view_secret);
        if primary.kind != AddressKind::Standard {
            return Err(WatchKeyError::NotPrimary);
        }
        let view: Option<Scalar> = Scalar::from_canonical_bytes(*view_secret).into();
        let view = view.ok_or(WatchKeyError::Scalar)?;
        if !view_key_matches(&view_secret, primary) {
            return Err(WatchKeyError::Mismatch);
        }
        let base = canonical_point(&primary.spend.0).filter(EdwardsPoint::is_torsion_free);
        let base = base.ok_or(WatchKeyError::SpendKey)?;
        let spend = [0, 1, 2].map(|minor| Key32(spend_point(&base, &view, minor).compress().0));
        Ok(Self { escrow, view, spend })
    }

    /// What [`Self::new`] made before, from its parts as they were stored: nothing is derived again, so that a hundred
    /// thousand are read in a second. The parts must come from where nobody else can write.
    pub fn restore(
        escrow: EscrowId,
        view_secret: &[u8; 32],
        spend: [Key32; SUBADDRESSES],
    ) -> Result<Self, WatchKeyError> {
        let view: Option<Scalar> = Scalar::from_canonical_bytes(*view_secret).into();
        Ok(Self { escrow, view: view.ok_or(WatchKeyError::Scalar)?, spend })
    }

    /// The escrow.
    pub fn escrow(&self) -> EscrowId {
        self.escrow
    }

    /// The secret view key; for scanners only.
    pub fn view_secret(&self) -> &Scalar {
        &self.view
    }

    /// Public spend keys by minor index.
    pub fn spend_keys(&self) -> &[Key32; SUBADDRESSES] {
        &self.spend
    }
}

impl Drop for WatchKey {
    fn drop(&mut self) {
        self.view.zeroize();
    }
}

impl fmt::Debug for WatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchKey").field("escrow", &self.escrow).finish_non_exhaustive()
    }
}

/// Whether the secret view key belongs to a primary address.
pub fn view_key_matches(secret: &[u8; 32], address: &Address) -> bool {
    let scalar: Option<Scalar> = Scalar::from_canonical_bytes(*secret).into();
    scalar.is_some_and(|scalar| EdwardsPoint::mul_base(&scalar).compress().0 == address.view.0)
}

/// Subaddress (0, `minor`) of a primary address (`device_default::get_subaddress`); 0 is the primary address
/// itself.
pub fn subaddress(
    primary: &Address,
    view_secret: &[u8; 32],
    network: Network,
    minor: u32,
) -> Result<Address, WatchKeyError> {
    if primary.kind != AddressKind::Standard {
        return Err(WatchKeyError::NotPrimary);
    }
    if !view_key_matches(view_secret, primary) {
        return Err(WatchKeyError::Mismatch);
    }
    if minor == 0 {
        return Ok(*primary);
    }
    let base = canonical_point(&primary.spend.0).ok_or(WatchKeyError::SpendKey)?;
    let view: Option<Scalar> = Scalar::from_canonical_bytes(*view_secret).into();
    let view = Zeroizing::new(view.ok_or(WatchKeyError::Scalar)?);
    let spend = spend_point(&base, &view, minor);
    let [spend, view] = [spend, spend * *view].map(|point| Key32(point.compress().0));
    Ok(Address::new(network, AddressKind::Subaddress, spend, view))
}

/// `B + keccak("SubAddr\0" ‖ a ‖ 0 ‖ minor)·G`; account 0 only.
fn spend_point(base: &EdwardsPoint, view: &Scalar, minor: u32) -> EdwardsPoint {
    if minor == 0 {
        return *base;
    }
    let index = [0u32.to_le_bytes(), minor.to_le_bytes()].concat();
    base + EdwardsPoint::mul_base(&hash_to_scalar(&[b"SubAddr\0", view.as_bytes(), &index]))
}
