//! The ring of keys that seal columns.
//!
//! A key file holds one key a line (64 hex digits), oldest first; the last line is the current key, the
//! others only open what they once sealed. Rotation: append a line, restart. Empty lines and lines that
//! start with `#` don't count.
//!
//! A key's id is the beginning of a hash of it, so that a wrong key can't pass for a lost one.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aes_gcm::{Aes256Gcm, KeyInit};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// More keys than any rotation schedule needs; a bound for damaged files.
const MAX_KEYS: usize = 64;
/// Longest key file in bytes: all keys and generous comments.
const MAX_FILE: u64 = 64 * 1024;

/// Names a key without revealing it: the first bytes of `sha256("aegis key id" ‖ key)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub(super) [u8; Self::LEN]);

impl KeyId {
    /// Length in bytes.
    pub const LEN: usize = 4;

    fn of(key: &[u8; 32]) -> Self {
        let [a, b, c, d, ..]: [u8; 32] =
            Sha256::new().chain_update("aegis key id").chain_update(key).finalize().into();
        Self([a, b, c, d])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// There is no usable keyring; the server must not start.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file could not be read or created.
    #[error("key file {path}: {cause}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// Others on the machine can read the keys.
    #[error("key file {path} has mode {mode:04o}: group and others must have no access (chmod 600)")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line is not a key.
    #[error("key {0}: expected 64 hexadecimal digits")]
    NotAKey(usize),
    /// The same key, or two keys with one id.
    #[error("key {0} has the same id as another; remove it or make a new one")]
    Repeated(usize),
    /// No key at all.
    #[error("the keyring is empty")]
    Empty,
    /// More than any rotation needs.
    #[error("a keyring holds at most {MAX_KEYS} keys")]
    TooMany,
}

/// Several keys, one of them current. Key schedules are wiped on drop.
pub struct Keyring {
    current: (KeyId, Aes256Gcm),
    retired: Vec<(KeyId, Aes256Gcm)>,
}

impl Keyring {
    /// Reads the key file; creates it with one fresh key and mode 0600 where there is none.
    /// Refuses a file that group or others may access in any way.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyringError> {
        let failed = |cause| KeyringError::File { path: path.to_owned(), cause };
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => Self::create(file, path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyringError::Exposed { path: path.to_owned(), mode });
        }
        // Whole capacity at once: a growing buffer would leave copies of keys behind.
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize + 1));
        file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
        Self::parse(&text)
    }

    /// Writes a fresh key durably.
    fn create(mut file: File, path: &Path) -> io::Result<()> {
        let written = (|| {
            let mut key = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *key).map_err(io::Error::other)?;
            let mut line = Zeroizing::new([0; 65]);
            let (digits, end) = line.split_at_mut(64);
            hex::encode_to_slice(key.as_slice(), digits).map_err(io::Error::other)?;
            end.copy_from_slice(b"\n");
            file.write_all(&*line)?;
            file.sync_all()?;
            // The name must be as durable as what will be sealed under the key.
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(())
        })();
        if written.is_err() {
            // An empty key file would stop every later start.
            let _ = std::fs::remove_file(path);
        }
        written
    }

    /// A keyring from text: keys separated by line ends or commas, oldest first, the last one current.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<(KeyId, Aes256Gcm)> = Vec::new();
        let entries = text.split(['\n', ',']).map(str::trim);
        for (index, entry) in entries.filter(|e| !e.is_empty() && !e.starts_with('#')).enumerate() {
            if index == MAX_KEYS {
                return Err(KeyringError::TooMany);
            }
            let mut key = Zeroizing::new([0; 32]);
            hex::decode_to_slice(entry, &mut *key).map_err(|_| KeyringError::NotAKey(index + 1))?;
            let id = KeyId::of(&key);
            if keys.iter().any(|(known, _)| *known == id) {
                return Err(KeyringError::Repeated(index + 1));
            }
            keys.push((id, Aes256Gcm::new((&*key).into())));
        }
        let current = keys.pop().ok_or(KeyringError::Empty)?;
        Ok(Self { current, retired: keys })
    }

    /// The id of the key that seals new values.
    pub fn current_id(&self) -> KeyId {
        self.current.0
    }

    pub(super) fn current(&self) -> (KeyId, &Aes256Gcm) {
        (self.current.0, &self.current.1)
    }

    pub(super) fn find(&self, id: KeyId) -> Option<&Aes256Gcm> {
        let mut all = std::iter::once(&self.current).chain(&self.retired);
        all.find(|(known, _)| *known == id).map(|(_, cipher)| cipher)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring(current {}, {} retired)", self.current.0, self.retired.len())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_start_makes_a_private_file_and_the_second_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let first = Keyring::load_or_create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Keyring::load_or_create(&path).unwrap().current_id(), first.current_id());
        let other = Keyring::load_or_create(&dir.path().join("other")).unwrap();
        assert_ne!(other.current_id(), first.current_id());
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        Keyring::load_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let refused = Keyring::load_or_create(&path);
            assert!(matches!(refused, Err(KeyringError::Exposed { .. })), "{mode:o}");
        }
    }

    #[test]
    fn damaged_empty_and_repeated_keys_are_refused() {
        let key = "c".repeat(64);
        assert!(matches!(Keyring::parse(""), Err(KeyringError::Empty)));
        assert!(matches!(Keyring::parse("# only words\n"), Err(KeyringError::Empty)));
        assert!(matches!(Keyring::parse("abc"), Err(KeyringError::NotAKey(1))));
        assert!(matches!(Keyring::parse(&format!("{key},{key}")), Err(KeyringError::Repeated(2))));
        assert_eq!(format!("{:?}", Keyring::parse(&key).unwrap()).find(&key), None);
    }
}
