//! Passwords: Argon2id with the parameters OWASP's Password Storage Cheat Sheet gives first for it
//! (19 MiB, 2 passes, 1 lane), a few at a time, off the threads that serve requests.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

/// Memory in KiB.
const MEMORY: u32 = 19_456;
/// Passes over the memory.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;
/// Requests that may wait for one that works: some seconds of work.
const WAITING_PER_WORKER: usize = 64;

/// A password could not be hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait already.
    #[error("too many passwords are waiting to be checked")]
    Busy,
    /// Argon2 failed, or a stored hash is no PHC string.
    #[error("hashing failed: {0}")]
    Hash(String),
}

/// Hashes and checks passwords; clones share the bounds.
#[derive(Clone)]
pub struct Passwords {
    working: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    decoy: Arc<str>,
}

impl Passwords {
    /// A pool of `workers`. Hashes once, which takes some 30 ms.
    pub fn new(workers: usize) -> Result<Self, PasswordError> {
        let decoy = hash(b"nobody has this password")?;
        Ok(Self {
            working: Arc::new(Semaphore::new(workers)),
            waiting: Arc::new(Semaphore::new(workers * WAITING_PER_WORKER)),
            decoy: decoy.into(),
        })
    }

    /// A new PHC string for a password, with a random salt.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<String, PasswordError> {
        self.run(move || hash(password.as_bytes())).await
    }

    /// Whether the password fits. Without a hash (no such account) it does the same work and says no.
    pub async fn verify(
        &self,
        password: Zeroizing<String>,
        known: Option<String>,
    ) -> Result<bool, PasswordError> {
        let decoy = Arc::clone(&self.decoy);
        self.run(move || {
            let fits = verify(password.as_bytes(), known.as_deref().unwrap_or(&decoy))?;
            Ok(fits && known.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let slot = Arc::clone(&self.working).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        // The permits move along: a request that is given up does not free the slot its work still uses.
        let held: (OwnedSemaphorePermit, OwnedSemaphorePermit) = (place, slot);
        let done = tokio::task::spawn_blocking(move || {
            let _held = held;
            work()
        });
        done.await.map_err(|error| PasswordError::Hash(error.to_string()))?
    }
}

fn hash(password: &[u8]) -> Result<String, PasswordError> {
    let failed = |error: &dyn std::fmt::Display| PasswordError::Hash(error.to_string());
    let params = Params::new(MEMORY, PASSES, LANES, None).map_err(|e| failed(&e))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|e| failed(&e))?;
    argon2.hash_password_with_salt(password, &salt).map(|phc| phc.to_string()).map_err(|e| failed(&e))
}

fn verify(password: &[u8], phc: &str) -> Result<bool, PasswordError> {
    use argon2::password_hash::Error;
    // The parameters are the hash's own.
    match Argon2::default().verify_password(password, phc) {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(PasswordError::Hash(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only_and_an_unknown_account_never() {
        let passwords = Passwords::new(1).unwrap();
        let phc = passwords.hash(secret("correct horse")).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_ne!(phc, passwords.hash(secret("correct horse")).await.unwrap());
        assert!(passwords.verify(secret("correct horse"), Some(phc.clone())).await.unwrap());
        assert!(!passwords.verify(secret("wrong horse"), Some(phc)).await.unwrap());
        assert!(!passwords.verify(secret("nobody has this password"), None).await.unwrap());
        let damaged = passwords.verify(secret("x"), Some("$argon2id$".to_owned())).await;
        assert!(matches!(damaged, Err(PasswordError::Hash(_))));
    }

    #[tokio::test]
    async fn one_more_than_may_wait_is_refused_at_once() {
        let passwords = Passwords::new(1).unwrap();
        let all = u32::try_from(WAITING_PER_WORKER).unwrap();
        let _full = Arc::clone(&passwords.waiting).try_acquire_many_owned(all).unwrap();
        assert!(matches!(passwords.hash(secret("x")).await, Err(PasswordError::Busy)));
    }
}
