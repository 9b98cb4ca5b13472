//! The ring of keys that seal columns.
//!
//! A key file holds one key a line (64 hex digits), oldest first; the last line is the current key, the
//! others only open what they once sealed. `aegis-server keys rotate` adds a line and seals everything anew. Empty
//! lines and lines that start with `#` don't count. Instead of a file, the keys may stand in the environment.
//!
//! A key's id is the beginning of a hash of it, so that a wrong key can't pass for a lost one.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use aes_gcm::{Aes256Gcm, KeyInit};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::seal::SealError;

/// More keys than any rotation schedule needs; a bound for damaged files.
const MAX_KEYS: usize = 64;
/// Longest key file in bytes: all keys and generous comments.
const MAX_FILE: u64 = 64 * 1024;

/// Names a key without revealing it: the first bytes of `sha256("aegis key id" ‖ key)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub(crate) [u8; Self::LEN]);

impl KeyId {
    /// Length in bytes.
    pub const LEN: usize = 4;

    /// The key that a sealed value lies under.
    pub fn of_sealed(sealed: &[u8]) -> Result<Self, SealError> {
        let id = sealed.get(1..=Self::LEN).and_then(|id| id.try_into().ok());
        id.map(Self).ok_or(SealError::Malformed)
    }

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
    /// Somebody else has changed the file.
    #[error("the key file was changed meanwhile; try again")]
    Changed,
    /// The keys come from the environment, which only its owner changes.
    #[error("the keys come from AEGIS_KEYS, which only you change: see docs/SECURITY.md, Keys")]
    NoFile,
}

/// The keys of one reading.
struct Ring {
    current: (KeyId, Aes256Gcm),
    retired: Vec<(KeyId, Aes256Gcm)>,
}

/// A key that is still to be added.
pub struct NewKey {
    /// Its id.
    pub id: KeyId,
    line: Zeroizing<String>,
}

/// Several keys, one of them current. Key schedules are wiped on drop. A ring from a file is read anew where the file has
/// changed, so that a rotation needs no restart.
pub struct Keyring {
    ring: RwLock<Ring>,
    file: Option<PathBuf>,
}

impl Keyring {
    /// Reads the key file; creates it with one fresh key and mode 0600 where there is none.
    /// Refuses a file that group or others may access in any way.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyringError> {
        let failed = |cause| KeyringError::File { path: path.to_owned(), cause };
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => create(file, path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(Self { ring: RwLock::new(Ring::parse(&read(path)?)?), file: Some(path.to_owned()) })
    }

    /// A keyring from text: keys separated by line ends or commas, oldest first, the last one current.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        Ok(Self { ring: RwLock::new(Ring::parse(text)?), file: None })
    }

    /// Reads the file anew. One that can't be read changes nothing.
    pub fn reload(&self) -> Result<(), KeyringError> {
        if let Some(path) = &self.file {
            let fresh = Ring::parse(&read(path)?)?;
            *self.ring.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }

    /// A fresh key that is in no file yet. [`KeyringError::NoFile`] where the keys come from the environment.
    pub fn new_key(&self) -> Result<NewKey, KeyringError> {
        let path = self.path()?;
        let line = fresh_line().map_err(|cause| KeyringError::File { path: path.to_owned(), cause })?;
        Ok(NewKey { id: Ring::parse(&line)?.current.0, line })
    }

    /// Adds a key at the end of the file, durably: it is the current one from now on.
    pub fn adopt(&self, new: &NewKey) -> Result<(), KeyringError> {
        self.edit(|old| Ok(Zeroizing::new(format!("{}\n{}", old.trim_end(), *new.line))))
    }

    /// Removes all keys but this one from the file; refused where it is not the current one there, as when another was added a
    /// moment ago.
    pub fn prune(&self, current: KeyId) -> Result<(), KeyringError> {
        self.edit(|old| {
            let last = entries(old).next_back().ok_or(KeyringError::Empty)?;
            if Ring::parse(last)?.current.0 != current {
                return Err(KeyringError::Changed);
            }
            Ok(Zeroizing::new(format!("{last}\n")))
        })
    }

    fn path(&self) -> Result<&Path, KeyringError> {
        self.file.as_deref().ok_or(KeyringError::NoFile)
    }

    /// Puts an edited file in the place of the old one; who edits at the same time waits. A crash leaves one of the two.
    fn edit(
        &self,
        change: impl FnOnce(&str) -> Result<Zeroizing<String>, KeyringError>,
    ) -> Result<(), KeyringError> {
        let path = self.path()?;
        let failed = |cause| KeyringError::File { path: path.to_owned(), cause };
        let beside = |end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        // An operator may be root, and the server not: what they leave behind must not be in each other's way.
        let owner = std::fs::metadata(path).map_err(failed)?;
        let give = |file: &File| fchown(file, Some(owner.uid()), Some(owner.gid()));
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        let lock = options.clone().create(true).truncate(true).open(beside(".lock")).map_err(failed)?;
        give(&lock).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let text = change(&read(path)?)?;
        Ring::parse(&text)?;
        let new = beside(".new");
        let write = || {
            // One from an edit that was cut off.
            let _ = std::fs::remove_file(&new);
            let mut file = options.clone().create_new(true).open(&new)?;
            give(&file)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, path)?;
            sync_folder(path)
        };
        write().map_err(failed)?;
        self.reload()
    }

    /// The id of the key that seals new values.
    pub fn current_id(&self) -> KeyId {
        self.read_ring().current.0
    }

    /// The ids of all keys, oldest first.
    pub fn ids(&self) -> Vec<KeyId> {
        let ring = self.read_ring();
        ring.retired.iter().chain(std::iter::once(&ring.current)).map(|(id, _)| *id).collect()
    }

    fn read_ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something with the current key.
    pub(super) fn with_current<T>(&self, work: impl FnOnce(KeyId, &Aes256Gcm) -> T) -> T {
        let ring = self.read_ring();
        work(ring.current.0, &ring.current.1)
    }

    /// Runs something with a key; `None` where it is not in the ring, nor in the file by now.
    pub(super) fn with_key<T>(&self, id: KeyId, work: impl Fn(&Aes256Gcm) -> T) -> Option<T> {
        if let Some(cipher) = self.read_ring().find(id) {
            return Some(work(cipher));
        }
        // Another server, or the rotation's program, may have added it a moment ago.
        self.reload().ok()?;
        self.read_ring().find(id).map(work)
    }
}

impl Ring {
    fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<(KeyId, Aes256Gcm)> = Vec::new();
        for (index, entry) in entries(text).enumerate() {
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

    fn find(&self, id: KeyId) -> Option<&Aes256Gcm> {
        let mut all = std::iter::once(&self.current).chain(&self.retired);
        all.find(|(known, _)| *known == id).map(|(_, cipher)| cipher)
    }
}

fn entries(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split(['\n', ',']).map(str::trim).filter(|entry| !entry.is_empty() && !entry.starts_with('#'))
}

/// A random key as a line of the file.
fn fresh_line() -> io::Result<Zeroizing<String>> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key).map_err(io::Error::other)?;
    let mut line = Zeroizing::new(hex::encode(key.as_slice()));
    line.push('\n');
    Ok(line)
}

/// Writes a fresh key durably into a file that was just made.
fn create(mut file: File, path: &Path) -> io::Result<()> {
    let written = fresh_line().and_then(|line| {
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        // The name must be as durable as what will be sealed under the key.
        sync_folder(path)
    });
    if written.is_err() {
        // An empty key file would stop every later start.
        let _ = std::fs::remove_file(path);
    }
    written
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeyringError> {
    let failed = |cause| KeyringError::File { path: path.to_owned(), cause };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyringError::Exposed { path: path.to_owned(), mode });
    }
    // Whole capacity at once: a growing buffer would leave copies of keys behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize + 1));
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.read_ring();
        write!(f, "Keyring(current {}, {} retired)", ring.current.0, ring.retired.len())
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

    #[test]
    fn a_key_is_added_and_others_find_it_by_themselves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let (one, other) = (Keyring::load_or_create(&path).unwrap(), Keyring::load_or_create(&path).unwrap());
        let (old, new) = (one.current_id(), one.new_key().unwrap());
        assert_eq!(one.ids(), [old]);
        one.adopt(&new).unwrap();
        assert_eq!((one.ids(), other.ids()), (vec![old, new.id], vec![old]));
        assert!(matches!(one.adopt(&new), Err(KeyringError::Repeated(3))));
        assert!(other.with_key(new.id, |_| ()).is_some());
        assert_eq!(other.current_id(), new.id);
        assert!(matches!(one.prune(old), Err(KeyringError::Changed)));
        one.prune(new.id).unwrap();
        assert_eq!(one.ids(), [new.id]);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let fixed = Keyring::parse(&"a".repeat(64)).unwrap();
        assert!(matches!(fixed.new_key().map(|new| new.id), Err(KeyringError::NoFile)));
    }

    #[test]
    fn keys_that_are_added_at_once_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        Keyring::load_or_create(&path).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let ring = Keyring::load_or_create(&path).unwrap();
                    ring.adopt(&ring.new_key().unwrap()).unwrap();
                });
            }
        });
        assert_eq!(Keyring::load_or_create(&path).unwrap().ids().len(), 9);
    }
}
