//! A key from a passphrase: Argon2id (RFC 9106).

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::secret::random_key;
use super::store::{KeyError, MIN_PASSPHRASE};

/// The key-derivation parameters; stored so that they can be raised later.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Kdf {
    pub(super) memory_kib: u32,
    pub(super) iterations: u32,
    pub(super) parallelism: u32,
}

impl Kdf {
    /// OWASP Password Storage Cheat Sheet, Argon2id: at least 19 MiB, two iterations, one lane. A key store is
    /// opened once per start, so it can afford 64 MiB and three.
    const OWASP_FLOOR: Self = Self { memory_kib: 19 * 1024, iterations: 2, parallelism: 1 };
    pub(super) const DEFAULT: Self = Self { memory_kib: 64 * 1024, iterations: 3, parallelism: 1 };

    pub(super) fn derive(self, passphrase: &str, salt: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let floor = Self::OWASP_FLOOR;
        // The ceiling keeps a foreign file from taking all memory or all day.
        if !(floor.memory_kib..=1024 * 1024).contains(&self.memory_kib)
            || !(floor.iterations..=64).contains(&self.iterations)
            || !(floor.parallelism..=16).contains(&self.parallelism)
        {
            return Err(KeyError::Malformed("key-derivation parameters out of bounds"));
        }
        let bad = |_| KeyError::Malformed("key-derivation parameters");
        let params =
            Params::new(self.memory_kib, self.iterations, self.parallelism, Some(32)).map_err(bad)?;
        let mut key = Zeroizing::new([0; 32]);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon.hash_password_into(passphrase.as_bytes(), salt, &mut key[..]).map_err(bad)?;
        Ok(key)
    }
    /// A new salt, and the key that it makes of the passphrase.
    pub(super) fn new_key(self, passphrase: &str) -> Result<([u8; 32], Zeroizing<[u8; 32]>), KeyError> {
        if passphrase.chars().count() < MIN_PASSPHRASE {
            return Err(KeyError::WeakPassphrase);
        }
        let salt = *random_key().map_err(|_| KeyError::NoRandomness)?;
        Ok((salt, self.derive(passphrase, &salt)?))
    }
}
