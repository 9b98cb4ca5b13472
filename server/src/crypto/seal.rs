//! Sealing of single database cells with AES-256-GCM (NIST SP 800-38D).
//!
//! Layout: version byte `1` ‖ key id (4) ‖ nonce (12) ‖ ciphertext ‖ tag (16). The additional data is
//! `table \0 column \0 row-id-hex`, so that a sealed value moved to another row or column does not open.
//! Nonces are random: a key may seal 2^32 values (SP 800-38D §8.3), far beyond one per escrow.

use aes_gcm::Nonce;
use aes_gcm::aead::{Aead, Payload};
use zeroize::Zeroizing;

use super::keyring::{KeyId, Keyring};

const VERSION: u8 = 1;
const NONCE: usize = 12;
const HEADER: usize = 1 + KeyId::LEN + NONCE;
const TAG: usize = 16;
/// No column that is sealed holds more; a bound for hostile or damaged input.
const MAX_PLAINTEXT: usize = 64 * 1024;

/// Where a sealed value lives.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    /// Table name.
    pub table: &'a str,
    /// Column name.
    pub column: &'a str,
    /// Primary key of the row, as bytes.
    pub row: &'a [u8],
}

impl Cell<'_> {
    fn aad(&self) -> Vec<u8> {
        format!("{}\0{}\0{}", self.table, self.column, hex::encode(self.row)).into_bytes()
    }
}

/// A value could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The value was sealed under a key that is not in the ring: the key was lost or not yet added.
    #[error("the value is sealed under key {0}, which is not in the keyring")]
    UnknownKey(KeyId),
    /// The key was retired: nothing may be sealed under it any more.
    #[error("key {0} was retired, so this keyring is not the newest")]
    Retired(KeyId),
    /// The key is here, but value and place don't authenticate: damaged, or moved from another cell.
    #[error("the sealed value is damaged or belongs to another cell")]
    Forged,
    /// Too short, or of an unknown version.
    #[error("not a sealed value of a known version")]
    Malformed,
    /// Longer than a sealed column may be.
    #[error("a sealed value holds at most {MAX_PLAINTEXT} bytes")]
    TooLong,
    /// The operating system gave no random numbers.
    #[error("the operating system gave no random numbers")]
    NoRandomness,
}

impl Keyring {
    /// Seals a value for one cell under the current key.
    pub fn seal(&self, cell: Cell<'_>, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(SealError::TooLong);
        }
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let payload = Payload { msg: plaintext, aad: &cell.aad() };
        let (id, body) = self.with_current(|id, cipher| (id, cipher.encrypt(&Nonce::from(nonce), payload)));
        let body = body.map_err(|_| SealError::TooLong)?;
        let mut sealed = Vec::with_capacity(HEADER + body.len());
        sealed.push(VERSION);
        sealed.extend(id.0);
        sealed.extend(nonce);
        sealed.extend(body);
        Ok(sealed)
    }

    /// Whether a sealed value lies under the current key and version; if not, seal it anew.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.strip_prefix(&[VERSION]).is_some_and(|rest| rest.starts_with(&self.current_id().0))
    }

    /// Opens a value that was sealed for this cell under any key of the ring.
    pub fn open(&self, cell: Cell<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if sealed.len() > HEADER + MAX_PLAINTEXT + TAG {
            return Err(SealError::TooLong);
        }
        let (&version, rest) = sealed.split_first().ok_or(SealError::Malformed)?;
        let (id, rest) = rest.split_first_chunk().ok_or(SealError::Malformed)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Malformed)?;
        if version != VERSION || body.len() < TAG {
            return Err(SealError::Malformed);
        }
        let id = KeyId(*id);
        let aad = cell.aad();
        let decrypt = |cipher: &aes_gcm::Aes256Gcm| {
            cipher.decrypt(&Nonce::from(*nonce), Payload { msg: body, aad: &aad })
        };
        let opened = self.with_key(id, decrypt).ok_or(SealError::UnknownKey(id))?;
        opened.map(Zeroizing::new).map_err(|_| SealError::Forged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: Cell<'_> = Cell { table: "escrows", column: "view_key", row: &[7; 16] };

    fn ring(digit: &str) -> Keyring {
        Keyring::parse(&digit.repeat(64)).unwrap()
    }

    #[test]
    fn a_sealed_value_opens_only_in_its_own_cell() {
        let ring = ring("a");
        let sealed = ring.seal(CELL, b"secret").unwrap();
        assert_eq!(sealed.len(), 1 + 4 + 12 + 6 + 16);
        assert_eq!(&**ring.open(CELL, &sealed).unwrap(), b"secret");
        for moved in [
            Cell { row: &[8; 16], ..CELL },
            Cell { column: "other", ..CELL },
            Cell { table: "users", ..CELL },
        ] {
            assert_eq!(ring.open(moved, &sealed), Err(SealError::Forged));
        }
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let ring = ring("a");
        let sealed = ring.seal(CELL, b"secret").unwrap();
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(ring.open(CELL, &damaged).is_err(), "byte {at}");
            assert!(ring.open(CELL, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_lost_key_is_named_and_an_old_key_still_opens_after_rotation() {
        let (old, new) = ("a".repeat(64), "b".repeat(64));
        let sealed = ring("a").seal(CELL, b"secret").unwrap();
        let lost = ring("a").current_id();
        assert_eq!(ring("b").open(CELL, &sealed), Err(SealError::UnknownKey(lost)));
        let rotated = Keyring::parse(&format!("{old}\n{new}\n")).unwrap();
        assert_eq!(&**rotated.open(CELL, &sealed).unwrap(), b"secret");
        assert_eq!(rotated.current_id(), ring("b").current_id());
        let fresh = rotated.seal(CELL, b"secret").unwrap();
        assert!(ring("b").open(CELL, &fresh).is_ok());
        assert!(rotated.is_current(&fresh) && !rotated.is_current(&sealed));
    }
}
