//! AES-256-GCM with a fresh random nonce in front of the ciphertext (NIST SP 800-38D, 96-bit nonces).

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

const NONCE: usize = 12;

/// The bytes were not sealed with this key for this purpose, or were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotAuthentic;

/// `nonce || ciphertext || tag`; `purpose` is authenticated and not stored.
pub(super) fn seal(key: &[u8; 32], purpose: &[u8], plain: &[u8]) -> Result<Vec<u8>, getrandom::Error> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce)?;
    let cipher = Aes256Gcm::new(key.into());
    let payload = Payload { msg: plain, aad: purpose };
    // Encryption fails only past 64 GiB, which no caller's bound lets through.
    let sealed = cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| getrandom::Error::UNEXPECTED)?;
    Ok([&nonce[..], &sealed].concat())
}

/// The plain bytes, if key and purpose are those of sealing and nothing was changed.
pub(super) fn open(
    key: &[u8; 32],
    purpose: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE>().ok_or(NotAuthentic)?;
    let cipher = Aes256Gcm::new(key.into());
    let plain = cipher.decrypt(&Nonce::from(*nonce), Payload { msg: body, aad: purpose });
    plain.map(Zeroizing::new).map_err(|_| NotAuthentic)
}
