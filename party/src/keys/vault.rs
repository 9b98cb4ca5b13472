//! Sealed records beside the key store: each escrow's local state, unreadable without the passphrase.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::sealed;
use crate::files::{self, FileError};

/// The longest record, in bytes. A book holds every statement, and one party may fill all of its 256 with signing data of a
/// megabyte: that must not keep the other two from signing.
pub const MAX_RECORD: usize = 512 * 1024 * 1024;

/// Longest record name.
const MAX_NAME: usize = 128;

/// Why a record could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Names are 1 to 128 of `a-z A-Z 0-9 - _ .` and don't begin with a dot.
    #[error("a record's name has 1 to 128 letters, digits, '-', '_' or '.', and does not begin with '.'")]
    BadName,
    /// Over [`MAX_RECORD`].
    #[error("the record is larger than {MAX_RECORD} bytes")]
    TooLarge,
    /// It belongs to another key store or another name, or was changed.
    #[error("record {0}: not sealed by this key store under this name, or damaged")]
    NotAuthentic(String),
    /// The file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

/// Records sealed with a key derived from the key store's master key; the name is authenticated, so that one
/// record cannot be passed off as another. An older version of the same record does pass: keep what must never
/// go back (signing nonces) out of it.
#[derive(Clone)]
pub struct Vault {
    key: Zeroizing<[u8; 32]>,
    folder: PathBuf,
}

/// A name that stays in the folder.
pub(super) fn is_record_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=MAX_NAME).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain)
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.folder.display())
    }
}

impl Vault {
    pub(super) fn new(key: Zeroizing<[u8; 32]>, folder: &Path) -> Result<Self, VaultError> {
        files::private_dir(folder)?;
        Ok(Self { key, folder: folder.to_owned() })
    }

    fn path(&self, name: &str) -> Result<PathBuf, VaultError> {
        if !is_record_name(name) {
            return Err(VaultError::BadName);
        }
        Ok(self.folder.join(format!("{name}.sealed")))
    }

    /// Replaces the record; it is durable when this returns.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Result<(), VaultError> {
        let path = self.path(name)?;
        if plain.len() > MAX_RECORD {
            return Err(VaultError::TooLarge);
        }
        let sealed = sealed::seal(&self.key, name.as_bytes(), plain).map_err(|_| VaultError::NoRandomness)?;
        Ok(files::write_atomic(&path, &sealed)?)
    }

    /// The record, or `None` where there is none.
    pub fn open(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let sealed = match files::read_private(&self.path(name)?, MAX_RECORD as u64 + 64) {
            Err(e) if e.is_missing() => return Ok(None),
            other => other?,
        };
        let plain = sealed::open(&self.key, name.as_bytes(), &sealed);
        plain.map(Some).map_err(|_| VaultError::NotAuthentic(name.to_owned()))
    }

    /// The names of all records, sorted.
    pub fn names(&self) -> Result<Vec<String>, VaultError> {
        let entries = std::fs::read_dir(&self.folder).map_err(FileError::at(&self.folder))?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(FileError::at(&self.folder))?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(".sealed")).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Removes the record; a missing one is fine.
    pub fn remove(&self, name: &str) -> Result<(), VaultError> {
        Ok(files::remove(&self.path(name)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(key: u8, folder: &Path) -> Vault {
        Vault::new(Zeroizing::new([key; 32]), folder).unwrap()
    }

    #[test]
    fn a_record_opens_under_its_own_name_and_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("v");
        let mine = vault(1, &folder);
        assert!(mine.open("a").unwrap().is_none());
        mine.seal("a", b"state").unwrap();
        assert_eq!(&mine.open("a").unwrap().unwrap()[..], b"state");
        std::fs::copy(folder.join("a.sealed"), folder.join("b.sealed")).unwrap();
        assert!(matches!(mine.open("b"), Err(VaultError::NotAuthentic(_))));
        assert!(matches!(vault(2, &folder).open("a"), Err(VaultError::NotAuthentic(_))));
        assert_eq!(mine.names().unwrap(), ["a", "b"]);
        mine.remove("b").unwrap();
        mine.remove("b").unwrap();
        assert_eq!(mine.names().unwrap(), ["a"]);
    }

    #[test]
    fn a_single_changed_bit_or_a_cut_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("v");
        let vault = vault(1, &folder);
        vault.seal("a", b"state").unwrap();
        let path = folder.join("a.sealed");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            assert!(vault.open("a").is_err(), "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(vault.open("a").is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(1, &dir.path().join("v"));
        for bad in ["", "../x", "a/b", ".hidden", "a\0", "é", &"x".repeat(129)] {
            assert!(matches!(vault.seal(bad, b""), Err(VaultError::BadName)), "{bad}");
        }
    }
}
