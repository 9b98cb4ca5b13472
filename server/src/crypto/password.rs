//! Passwords: Argon2id with the parameters OWASP's Password Storage Cheat Sheet gives first for it
//! (19 MiB, 2 passes, 1 lane), a few at a time, off the threads that serve requests.

use std::cell::RefCell;
use std::sync::Arc;

use aegis_common::wire::account::bounds;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use rayon::{ThreadPool, ThreadPoolBuilder};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use zeroize::Zeroizing;

use super::breached::Breached;

/// Memory in KiB.
const MEMORY: u32 = 19_456;
/// Passes over the memory.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;
/// Requests that may wait for one worker: some seconds of work, and a few hundred bytes each.
const WAITING_PER_WORKER: usize = 128;

/// A password could not be hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait already.
    #[error("too many passwords are waiting to be checked")]
    Busy,
    /// Too easy to guess; says what would help.
    #[error("{0}")]
    Weak(String),
    /// Argon2 failed, or a stored hash is no PHC string.
    #[error("hashing failed: {0}")]
    Hash(String),
}

/// Hashes and checks passwords; clones share the bounds.
///
/// The threads are its own: what a thread has allocated once stays with it, so on a large pool of threads that take turns, each
/// would come to hold the memory of a hash.
#[derive(Clone)]
pub struct Passwords {
    workers: Arc<ThreadPool>,
    waiting: Arc<Semaphore>,
    decoy: Arc<str>,
    breached: Option<Arc<Breached>>,
}

impl Passwords {
    /// A pool of `workers`, and perhaps a list of passwords that nobody may choose. Hashes once, which takes some 30 ms.
    pub fn new(workers: usize, breached: Option<Breached>) -> Result<Self, PasswordError> {
        let decoy = hash(b"nobody has this password")?;
        let threads = ThreadPoolBuilder::new().num_threads(workers).thread_name(|n| format!("password-{n}"));
        // Who waits for a worker that panicked hears of it by the channel.
        let threads = threads.panic_handler(|_| tracing::error!("hashing a password panicked")).build();
        Ok(Self {
            workers: Arc::new(threads.map_err(|error| PasswordError::Hash(error.to_string()))?),
            waiting: Arc::new(Semaphore::new(workers * WAITING_PER_WORKER)),
            decoy: decoy.into(),
            breached: breached.map(Arc::new),
        })
    }

    /// A new PHC string for a password, with a random salt.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<String, PasswordError> {
        self.run(move || hash(password.as_bytes())).await
    }

    /// The same for a password that a person chose: refused where it is easy to guess for who knows these words.
    pub async fn hash_chosen(
        &self,
        password: Zeroizing<String>,
        known: Vec<String>,
    ) -> Result<String, PasswordError> {
        let breached = self.breached.clone();
        self.run(move || {
            check_strength(&password, &known)?;
            if let Some(list) = breached
                && list
                    .contains(&password)
                    .map_err(|error| PasswordError::Hash(format!("the list: {error}")))?
            {
                let why = "Others have lost this password, and it stands in the lists of those who guess.";
                return Err(PasswordError::Weak(why.to_owned()));
            }
            hash(password.as_bytes())
        })
        .await
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
        let (done, outcome) = oneshot::channel();
        self.workers.spawn(move || {
            // The place moves along: a request that is given up does not free what its work still uses.
            let _place: OwnedSemaphorePermit = place;
            // Nobody may wait for it any more.
            let _ = done.send(work());
        });
        outcome.await.map_err(|error| PasswordError::Hash(error.to_string()))?
    }
}

/// The estimate looks at so many characters; those behind them only make a password harder.
const ESTIMATED: usize = 64;

/// What somebody who guesses at this server's passwords tries first, beside the account's name.
pub const OBVIOUS: [&str; 10] =
    ["aegis", "monero", "xmr", "escrow", "buyer", "seller", "arbiter", "operator", "admin", "wallet"];

/// zxcvbn's score, and its advice where it is too low.
fn check_strength(password: &str, known: &[String]) -> Result<(), PasswordError> {
    let head: Zeroizing<String> = Zeroizing::new(password.chars().take(ESTIMATED).collect());
    let known: Vec<&str> = known.iter().map(String::as_str).chain(OBVIOUS).collect();
    let estimate = zxcvbn::zxcvbn(&head, &known);
    if u8::from(estimate.score()) >= bounds::PASSWORD_SCORE {
        return Ok(());
    }
    let advice = estimate.feedback().map(|feedback| {
        let warning = feedback.warning().map(|warning| warning.to_string());
        let suggestions = feedback.suggestions().iter().map(ToString::to_string);
        warning.into_iter().chain(suggestions).collect::<Vec<_>>().join(" ")
    });
    let advice = advice.filter(|advice| !advice.is_empty());
    let advice = advice.unwrap_or_else(|| "Add another word or two; uncommon words are better.".to_owned());
    Err(PasswordError::Weak(advice))
}

/// Whether a stored hash was made with other parameters than a new one would be.
pub fn is_outdated(phc: &str) -> bool {
    !phc.starts_with(&format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}$"))
}

thread_local! {
    /// Each worker's memory for hashing, made once. Allocated and freed for each hash, blocks of this size leave holes in the
    /// allocator's heaps that the next does not fit (measured: 255 MiB after 200 logins with two workers).
    static BLOCKS: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// Fills `out` with what Argon2 makes of a password.
fn derive(argon2: &Argon2<'_>, password: &[u8], salt: &[u8], out: &mut [u8]) -> Result<(), PasswordError> {
    let done = BLOCKS.with_borrow_mut(|blocks| {
        blocks.resize(argon2.params().m_cost() as usize, Block::new());
        argon2.hash_password_into_with_memory(password, salt, out, blocks)
    });
    done.map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Hash(error.to_string())
}

fn hash(password: &[u8]) -> Result<String, PasswordError> {
    let params = Params::new(MEMORY, PASSES, LANES, None).map_err(failed)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (mut salt, mut out) = ([0; 16], [0; Params::DEFAULT_OUTPUT_LEN]);
    getrandom::fill(&mut salt).map_err(failed)?;
    derive(&argon2, password, &salt, &mut out)?;
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(argon2.params()).map_err(failed)?,
        salt: Some(Salt::new(&salt).map_err(failed)?),
        hash: Some(Output::new(&out).map_err(failed)?),
    };
    Ok(phc.to_string())
}

/// Whether the password fits, by the hash's own parameters.
fn verify(password: &[u8], phc: &str) -> Result<bool, PasswordError> {
    let known = PasswordHash::new(phc).map_err(failed)?;
    let (Some(salt), Some(hash)) = (&known.salt, &known.hash) else {
        return Err(failed("no salt or no hash"));
    };
    let algorithm = Algorithm::try_from(known.algorithm.as_str()).map_err(failed)?;
    let version = known.version.map(Version::try_from).transpose().map_err(failed)?.unwrap_or_default();
    let argon2 = Argon2::new(algorithm, version, Params::try_from(&known).map_err(failed)?);
    let mut out = vec![0; hash.len()];
    derive(&argon2, password, salt, &mut out)?;
    Ok(out.ct_eq(hash.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only_and_an_unknown_account_never() {
        let passwords = Passwords::new(1, None).unwrap();
        let phc = passwords.hash(secret("correct horse")).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_ne!(phc, passwords.hash(secret("correct horse")).await.unwrap());
        assert!(passwords.verify(secret("correct horse"), Some(phc.clone())).await.unwrap());
        assert!(!passwords.verify(secret("wrong horse"), Some(phc)).await.unwrap());
        assert!(!passwords.verify(secret("nobody has this password"), None).await.unwrap());
        let damaged = passwords.verify(secret("x"), Some("$argon2id$".to_owned())).await;
        assert!(matches!(damaged, Err(PasswordError::Hash(_))));
    }

    #[test]
    fn what_is_easy_to_guess_is_refused_with_advice_and_the_rest_is_not() {
        let known = ["captain-hook".to_owned()];
        for weak in ["password1234", "captain-hook-1", "aaaaaaaaaaaaaaaa", "qwertyuiop123", "monero-monero-1"]
        {
            let refused = check_strength(weak, &known);
            assert!(matches!(refused, Err(PasswordError::Weak(advice)) if advice.len() > 10), "{weak}");
        }
        let long = hex::encode(b"no words of any list, 64 digits.");
        for strong in
            ["wombat kettle orbit plum", "mZ7!kd02-qPa", &long, &format!("{long}{}", "a".repeat(192))]
        {
            assert!(check_strength(strong, &known).is_ok(), "{strong}");
        }
    }

    #[test]
    fn the_commonest_long_passwords_and_the_obvious_words_are_refused() {
        let common = [
            "123456789012",
            "1234567890123",
            "passwordpassword",
            "password12345",
            "qwertyuiop[]",
            "1q2w3e4r5t6y",
            "q1w2e3r4t5y6",
            "qwerty123456",
            "abc123456789",
            "iloveyou1234",
            "administrator",
            "unbelievable",
            "111111111111",
            "aaaaaaaaaaaa",
            "zaq12wsxcde3",
            "asdfghjkl123",
            "1234567890qw",
            "letmein12345",
        ];
        let obvious = OBVIOUS.map(|word| format!("{word}{word}12"));
        for weak in common.into_iter().chain(obvious.iter().map(String::as_str)) {
            assert!(check_strength(weak, &[]).is_err(), "{weak}");
        }
    }

    #[tokio::test]
    async fn a_password_of_the_list_is_refused_however_hard_it_looks() {
        use sha1::{Digest, Sha1};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        let lost = "wombat kettle orbit plum";
        std::fs::write(&path, hex::encode_upper(Sha1::digest(lost)) + ":1\n").unwrap();
        let passwords = Passwords::new(1, Some(Breached::open(&path).unwrap())).unwrap();
        let refused = passwords.hash_chosen(secret(lost), Vec::new()).await;
        assert!(matches!(refused, Err(PasswordError::Weak(why)) if why.contains("lost")));
        assert!(passwords.hash_chosen(secret("plum wombat kettle orbit"), Vec::new()).await.is_ok());
    }

    #[test]
    fn a_hash_with_other_parameters_is_outdated() {
        assert!(!is_outdated(&hash(b"x").unwrap()));
        assert!(is_outdated("$argon2id$v=19$m=4096,t=3,p=1$c2FsdA$aGFzaA"));
        assert!(is_outdated("$argon2i$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"));
    }

    #[tokio::test]
    async fn one_more_than_may_wait_is_refused_at_once() {
        let passwords = Passwords::new(1, None).unwrap();
        let all = u32::try_from(WAITING_PER_WORKER).unwrap();
        let _full = Arc::clone(&passwords.waiting).try_acquire_many_owned(all).unwrap();
        assert!(matches!(passwords.hash(secret("x")).await, Err(PasswordError::Busy)));
    }
}
