//! The key store: one file, encrypted with a key that Argon2id makes from the passphrase.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use aegis_common::identity::{IdentityBundle, bounds, sign_identity};
use aegis_common::username::is_username;
use aegis_common::wire::account::PrekeysRequest;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::identity::{Identity, PublicKeys};
use super::kdf::Kdf;
use super::pins::{Pin, PinCheck, PinSource};
use super::prekeys::{FULL, Prekeys};
use super::profile::Profile;
use super::sealed;
use super::secret::Secret;
use super::vault::{Vault, VaultError};
use crate::files::{self, FileError};

/// Shortest passphrase, in characters.
pub const MIN_PASSPHRASE: usize = 8;

const VERSION: u32 = 1;
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Why the key store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A store already stands there; it is never overwritten.
    #[error("{} already exists", .0.display())]
    Exists(PathBuf),
    /// Under [`MIN_PASSPHRASE`] characters.
    #[error("the passphrase needs at least {MIN_PASSPHRASE} characters")]
    WeakPassphrase,
    /// Wrong passphrase, or the file was changed: authenticated encryption cannot tell which.
    #[error("wrong passphrase, or the key store is damaged")]
    WrongPassphrase,
    /// Not a key store.
    #[error("the file is not an Aegis key store: {0}")]
    Malformed(&'static str),
    /// Written by a newer program.
    #[error("the key store has version {0}; this program knows version 1")]
    UnknownVersion(u32),
    /// The file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// No account can have this name.
    #[error("this is not a username")]
    BadName,
    /// More pins than a store can hold.
    #[error("the key store is full: forget pins that are not needed")]
    Full,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    version: u32,
    kdf: Kdf,
    salt: String,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    identity_secret: Secret,
    signing_secret: Secret,
    master_key: Secret,
    wallet_password: Secret,
    profile: Profile,
    pins: BTreeMap<String, Pin>,
    #[serde(default)]
    prekeys: Prekeys,
}

/// An opened key store. Changes are durable after [`KeyStore::save`].
pub struct KeyStore {
    path: PathBuf,
    kdf: Kdf,
    salt: [u8; 32],
    key: Zeroizing<[u8; 32]>,
    content: Content,
    identity: Identity,
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyStore({}, {:?})", self.path.display(), self.identity)
    }
}

fn key_of(secret: &Secret) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(secret.expose(), &mut key[..]).map_err(|_| KeyError::Malformed("a key inside"))?;
    Ok(key)
}

impl KeyStore {
    /// Makes new keys and writes the store; refuses to overwrite one. Takes about 0.2 s of one core for Argon2id.
    pub fn create(path: &Path, passphrase: &str, profile: Profile) -> Result<Self, KeyError> {
        if path.exists() {
            return Err(KeyError::Exists(path.to_owned()));
        }
        let secret = || Secret::random().map_err(|_| KeyError::NoRandomness);
        let content = Content {
            identity_secret: secret()?,
            signing_secret: secret()?,
            master_key: secret()?,
            wallet_password: secret()?,
            profile,
            pins: BTreeMap::new(),
            prekeys: Prekeys::default(),
        };
        let identity = identity_of(&content)?;
        let (salt, key) = Kdf::DEFAULT.new_key(passphrase)?;
        let store = Self { path: path.to_owned(), kdf: Kdf::DEFAULT, salt, key, content, identity };
        store.save()?;
        Ok(store)
    }

    /// Opens the store. It must be readable by its owner only.
    pub fn open(path: &Path, passphrase: &str) -> Result<Self, KeyError> {
        let bytes = files::read_private(path, MAX_FILE)?;
        let malformed = |_| KeyError::Malformed("its outer layout");
        // The version comes first, so that a newer layout gets the right message.
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_slice(&bytes).map_err(malformed)?;
        if head.version != VERSION {
            return Err(KeyError::UnknownVersion(head.version));
        }
        let file: Sealed = serde_json::from_slice(&bytes).map_err(malformed)?;
        let mut salt = [0; 32];
        hex::decode_to_slice(&file.salt, &mut salt).map_err(|_| KeyError::Malformed("its salt"))?;
        let sealed = hex::decode(&file.ciphertext).map_err(|_| KeyError::Malformed("its ciphertext"))?;
        let key = file.kdf.derive(passphrase, &salt)?;
        let plain =
            sealed::open(&key, &purpose(file.kdf, &salt), &sealed).map_err(|_| KeyError::WrongPassphrase)?;
        let content: Content =
            serde_json::from_slice(&plain).map_err(|_| KeyError::Malformed("its content"))?;
        let identity = identity_of(&content)?;
        Ok(Self { path: path.to_owned(), kdf: file.kdf, salt, key, content, identity })
    }

    /// Writes the store with a fresh nonce; durable when this returns.
    pub fn save(&self) -> Result<(), KeyError> {
        let plain = serde_json::to_vec(&self.content).map(Zeroizing::new);
        let plain = plain.map_err(|_| KeyError::Malformed("its content"))?;
        let sealed = sealed::seal(&self.key, &purpose(self.kdf, &self.salt), &plain);
        let file = Sealed {
            version: VERSION,
            kdf: self.kdf,
            salt: hex::encode(self.salt),
            ciphertext: hex::encode(sealed.map_err(|_| KeyError::NoRandomness)?),
        };
        let bytes = serde_json::to_vec_pretty(&file).map_err(|_| KeyError::Malformed("its outer layout"))?;
        // What could not be opened again must not take the place of what can.
        if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
            return Err(KeyError::Full);
        }
        Ok(files::write_atomic(&self.path, &bytes)?)
    }

    /// Encrypts the store with another passphrase and saves it. The keys inside stay.
    pub fn change_passphrase(&mut self, passphrase: &str) -> Result<(), KeyError> {
        (self.salt, self.key) = Kdf::DEFAULT.new_key(passphrase)?;
        self.kdf = Kdf::DEFAULT;
        self.save()
    }

    /// The participant's key pairs.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where and as whom the participant acts.
    pub fn profile(&self) -> &Profile {
        &self.content.profile
    }

    /// The same, to change; then [`KeyStore::save`].
    pub fn profile_mut(&mut self) -> &mut Profile {
        &mut self.content.profile
    }

    /// What the account is registered with: the newest prekeys, as many as a bundle may have. The private halves are durable
    /// when this returns.
    pub fn bundle(&mut self) -> Result<IdentityBundle, KeyError> {
        if self.content.prekeys.is_empty() {
            self.make_prekeys(FULL)?;
        }
        let (public, signer) = (self.identity.public(), self.identity.signing_key());
        let prekeys = self.content.prekeys.newest(bounds::ONE_TIME, bounds::ML_KEM).public(signer)?;
        Ok(IdentityBundle {
            identity_key: public.identity_key,
            fingerprint: public.fingerprint(),
            signing_key: public.signing_key,
            identity_signature: sign_identity(&public.identity_key, signer),
            signed_prekey: prekeys.signed_prekey.ok_or(KeyError::Malformed("its prekeys"))?,
            one_time_prekeys: prekeys.one_time_prekeys,
            ml_kem_prekeys: prekeys.ml_kem_prekeys,
        })
    }

    /// Makes prekeys, so many of X25519 and of ML-KEM, and a signed one where there is none. They are durable when this
    /// returns, and are to be sent then.
    pub fn make_prekeys(&mut self, count: (usize, usize)) -> Result<PrekeysRequest, KeyError> {
        let new = self.content.prekeys.make(count)?;
        self.save()?;
        new.public(self.identity.signing_key())
    }

    /// The password of all wallet files.
    pub fn wallet_password(&self) -> &Secret {
        &self.content.wallet_password
    }

    /// The sealed records in a folder of the caller's choice.
    pub fn vault(&self, folder: &Path) -> Result<Vault, VaultError> {
        let key: [u8; 32] = Sha256::new()
            .chain_update(b"aegis vault v1")
            .chain_update(self.content.master_key.expose())
            .finalize()
            .into();
        Vault::new(Zeroizing::new(key), folder)
    }

    /// Compares presented keys with what is known of the user.
    pub fn check_pin(&self, username: &str, presented: &PublicKeys) -> PinCheck {
        PinCheck::of(self.pin(username), presented)
    }

    /// What is known of the user.
    pub fn pin(&self, username: &str) -> Option<&Pin> {
        self.content.pins.get(&username.to_ascii_lowercase())
    }

    /// Everybody known, by name.
    pub fn pins(&self) -> impl Iterator<Item = (&str, &Pin)> {
        self.content.pins.iter().map(|(name, pin)| (name.as_str(), pin))
    }

    /// Remembers the user's keys, replacing what was known, and saves. Whether a changed key may be accepted is the
    /// person's decision: ask before calling this after [`PinCheck::Changed`].
    pub fn set_pin(&mut self, username: &str, keys: PublicKeys, how: PinSource) -> Result<(), KeyError> {
        if !is_username(username) {
            return Err(KeyError::BadName);
        }
        // Accounts are one without regard to case.
        self.content.pins.insert(username.to_ascii_lowercase(), Pin { keys, how });
        self.save()
    }
}

fn identity_of(content: &Content) -> Result<Identity, KeyError> {
    Ok(Identity::from_secrets(*key_of(&content.identity_secret)?, &*key_of(&content.signing_secret)?))
}

/// Everything outside the ciphertext is authenticated with it.
fn purpose(kdf: Kdf, salt: &[u8; 32]) -> Vec<u8> {
    let header =
        format!("aegis key store {VERSION} {} {} {} ", kdf.memory_kib, kdf.iterations, kdf.parallelism);
    [header.as_bytes(), salt].concat()
}
