//! A home's backup as one sealed file, small enough to lie at the server: what a keys-only copy holds, and never a wallet's
//! cache.
//!
//! ```text
//! "aegis backup 1\0" · memory · iterations · lanes · salt[32] · nonce[12] · AES-256-GCM(time · left out · files)
//! ```
//!
//! The passphrase is its own: the file alone opens neither the key store nor the books in it, which stay sealed as they were.

use std::collections::BTreeMap;
use std::path::Path;

use aegis_common::time::Timestamp;
use zeroize::Zeroizing;

use super::kdf::Kdf;
use super::sealed;
use super::store::KeyError;
use super::vault::is_record_name;
use crate::files::{self, FileError};

const MAGIC: &[u8] = b"aegis backup 1\0";
const HEADER: usize = MAGIC.len() + 12 + 32;
/// Nonce and tag.
const SEAL: usize = 28;
/// Of a path, of a file, and the number of those left out.
const LENGTH: usize = 4;

/// The folder of the books.
const BOOKS: &str = "escrows/";

/// The key store's file. It is written last: without it the folder is no home.
const KEYS: &str = "keys";

/// Why a backup could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Not a backup.
    #[error("this is no backup of Aegis: {0}")]
    Malformed(&'static str),
    /// Authenticated encryption cannot tell which.
    #[error("wrong passphrase, or the backup is damaged")]
    WrongPassphrase,
    /// Its own files don't make one: a fault of this program.
    #[error("the backup would not be readable; nothing was sent")]
    Unreadable,
    /// Even without the books.
    #[error("the backup is larger than the {0} bytes that are allowed")]
    TooLarge(usize),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What a backup holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Archive {
    /// When it was made, by the clock of whoever made it.
    pub made_at: Timestamp,
    /// Files by their path in the home.
    pub files: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// Paths of books that were left out.
    pub left_out: Vec<String>,
}

/// Whether a path is one of those that a backup may hold. Nothing else is ever read for one, or written.
pub(crate) fn is_kept(path: &str) -> bool {
    let wallet = |name: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=80).contains(&name.len()) && name.bytes().all(plain)
    };
    match path.rsplit_once('/') {
        None => path == KEYS,
        Some(("escrows", file)) => file.strip_suffix(".sealed").is_some_and(is_record_name),
        Some(("wallet/wallets", file)) => file.strip_suffix(".keys").is_some_and(wallet),
        Some(("nonces", file)) => file.strip_suffix(".nonces-used").is_some_and(wallet),
        Some(_) => false,
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.try_into().ok()?)
    }

    fn path(&mut self) -> Option<String> {
        let path = std::str::from_utf8(self.bytes()?).ok()?;
        is_kept(path).then(|| path.to_owned())
    }
}

impl Archive {
    /// Leaves out as few books as possible, the largest first, so that the rest, sealed, has at most `limit` bytes.
    pub fn fit(&mut self, limit: usize) -> Result<(), ArchiveError> {
        let mut size = HEADER + SEAL + self.encoded_len();
        let books = self.files.iter().filter(|(path, _)| path.starts_with(BOOKS));
        let mut books: Vec<_> = books.map(|(path, bytes)| (bytes.len(), path.clone())).collect();
        books.sort();
        while size > limit {
            let (length, path) = books.pop().ok_or(ArchiveError::TooLarge(limit))?;
            // Of the file its name stays, without its length and bytes.
            size -= LENGTH + length;
            self.files.remove(&path);
            self.left_out.push(path);
        }
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        let left_out = self.left_out.iter().map(|path| LENGTH + path.len());
        let files = self.files.iter().map(|(path, bytes)| 2 * LENGTH + path.len() + bytes.len());
        8 + LENGTH + left_out.chain(files).sum::<usize>()
    }

    fn encode(&self) -> Result<Zeroizing<Vec<u8>>, ArchiveError> {
        let mut out = Zeroizing::new(self.made_at.as_millisecond().to_be_bytes().to_vec());
        let number = |length: usize| u32::try_from(length).map(u32::to_be_bytes);
        let mut put = |bytes: Option<&[u8]>, length: usize| {
            out.extend(number(length).map_err(|_| ArchiveError::TooLarge(u32::MAX as usize))?);
            out.extend(bytes.unwrap_or_default());
            Ok::<_, ArchiveError>(())
        };
        put(None, self.left_out.len())?;
        for path in &self.left_out {
            put(Some(path.as_bytes()), path.len())?;
        }
        for (path, bytes) in &self.files {
            put(Some(path.as_bytes()), path.len())?;
            put(Some(bytes), bytes.len())?;
        }
        Ok(out)
    }

    fn decode(plain: &[u8]) -> Option<Self> {
        let mut reader = Reader(plain);
        let time = i64::from_be_bytes(reader.take(8)?.try_into().ok()?);
        let made_at = Timestamp::from_millisecond(time).ok()?;
        let left_out = (0..reader.number()?).map(|_| reader.path()).collect::<Option<_>>()?;
        let mut files = BTreeMap::new();
        while !reader.0.is_empty() {
            let (path, bytes) = (reader.path()?, reader.bytes()?);
            if files.insert(path, Zeroizing::new(bytes.to_vec())).is_some() {
                return None;
            }
        }
        files.contains_key(KEYS).then_some(Self { made_at, files, left_out })
    }

    /// Encrypts it under a passphrase of its own.
    pub fn seal(&self, passphrase: &str) -> Result<Vec<u8>, ArchiveError> {
        let plain = self.encode()?;
        // What could not be opened again is of no use, and nobody would notice before it is needed.
        if Self::decode(&plain).as_ref() != Some(self) {
            return Err(ArchiveError::Unreadable);
        }
        let kdf = Kdf::DEFAULT;
        let (salt, key) = kdf.new_key(passphrase)?;
        let numbers = [kdf.memory_kib, kdf.iterations, kdf.parallelism].map(u32::to_be_bytes);
        let header = [MAGIC, &numbers.concat(), &salt].concat();
        let sealed = sealed::seal(&key, &header, &plain).map_err(|_| KeyError::NoRandomness)?;
        Ok([header, sealed].concat())
    }

    /// Opens a backup.
    pub fn open(bytes: &[u8], passphrase: &str) -> Result<Self, ArchiveError> {
        let malformed = || ArchiveError::Malformed("its head");
        let (header, body) = bytes.split_at_checked(HEADER).ok_or_else(malformed)?;
        let mut head = Reader(header.strip_prefix(MAGIC).ok_or_else(malformed)?);
        let mut number = || head.number().ok_or_else(malformed);
        let kdf = Kdf { memory_kib: number()?, iterations: number()?, parallelism: number()? };
        let salt = head.0.try_into().map_err(|_| malformed())?;
        Self::open_with(&*kdf.derive(passphrase, salt)?, header, body)
    }

    fn open_with(key: &[u8; 32], header: &[u8], body: &[u8]) -> Result<Self, ArchiveError> {
        let plain = sealed::open(key, header, body).map_err(|_| ArchiveError::WrongPassphrase)?;
        Self::decode(&plain).ok_or(ArchiveError::Malformed("its content"))
    }

    /// Writes the files to a new folder. The marks of used nonces come first and the key store last, so that a crash never
    /// leaves a home that could sign without them.
    pub fn restore(&self, to: &Path) -> Result<(), ArchiveError> {
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|(path, _)| (*path == KEYS, !path.starts_with("nonces/")));
        for (path, bytes) in files {
            let path = to.join(path);
            files::private_dir(path.parent().unwrap_or(to))?;
            files::write_atomic(&path, bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSPHRASE: &str = "a passphrase of its own";

    fn archive(files: &[(&str, usize)]) -> Archive {
        let file = |(path, size): &(&str, usize)| ((*path).to_owned(), Zeroizing::new(vec![7; *size]));
        let made_at = Timestamp::from_second(1_700_000_000).unwrap();
        Archive { made_at, files: files.iter().map(file).collect(), left_out: Vec::new() }
    }

    fn home() -> Archive {
        let mut made = archive(&[
            ("escrows/book-1.sealed", 300),
            ("keys", 100),
            ("nonces/1-0.nonces-used", 0),
            ("wallet/wallets/1-0.keys", 50),
        ]);
        made.left_out = vec!["escrows/book-2.sealed".to_owned()];
        made
    }

    #[test]
    fn a_backup_opens_with_its_passphrase_only_and_restores_what_it_held() {
        let sealed = home().seal(PASSPHRASE).unwrap();
        assert_eq!(sealed.len(), HEADER + SEAL + home().encoded_len());
        assert!(!sealed.windows(7).any(|window| window == b"escrows"));
        assert!(matches!(Archive::open(&sealed, "another passphrase"), Err(ArchiveError::WrongPassphrase)));
        assert!(matches!(home().seal("short"), Err(ArchiveError::Key(KeyError::WeakPassphrase))));
        let opened = Archive::open(&sealed, PASSPHRASE).unwrap();
        assert!(opened == home());
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("home");
        opened.restore(&to).unwrap();
        for (path, bytes) in &home().files {
            assert_eq!(files::read_private(&to.join(path), 1_000).unwrap(), *bytes, "{path}");
        }
        files::require_private(&to).unwrap();
    }

    #[test]
    fn damage_at_any_byte_and_a_cut_at_any_length_are_noticed() {
        let sealed = home().seal(PASSPHRASE).unwrap();
        let (header, body) = sealed.split_at(HEADER);
        for at in 0..HEADER {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(Archive::open(&changed, PASSPHRASE).is_err(), "byte {at}");
            assert!(Archive::open(&sealed[..at], PASSPHRASE).is_err(), "cut at {at}");
        }
        let key = Kdf::DEFAULT.derive(PASSPHRASE, header[HEADER - 32..].try_into().unwrap()).unwrap();
        Archive::open_with(&key, header, body).unwrap();
        for at in 0..body.len() {
            let mut changed = body.to_vec();
            changed[at] ^= 1;
            assert!(Archive::open_with(&key, header, &changed).is_err(), "byte {at}");
            assert!(Archive::open_with(&key, header, &body[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn nothing_can_be_written_outside_of_the_home_or_where_a_backup_has_no_business() {
        for bad in [
            "",
            "old-keys",
            "escrows/book (1).sealed",
            "wallet/wallets/Main.keys",
            "/keys",
            "../keys",
            "keys/x",
            "policy.toml",
            "session/session.sealed",
            "escrows/../../x.sealed",
            "escrows/.x.sealed",
            "escrows/book-1.lock",
            "escrows/.sealed",
            "wallet/wallets/1-0",
            "wallet/wallets/../1-0.keys",
            "wallet/wallets//etc/x.keys",
            "nonces/a/b.nonces-used",
            "nonces/\u{0}.nonces-used",
        ] {
            assert!(!is_kept(bad), "{bad}");
            let unreadable = archive(&[("keys", 1), (bad, 1)]).seal(PASSPHRASE);
            assert!(matches!(unreadable, Err(ArchiveError::Unreadable)), "{bad}");
            assert!(Archive::decode(&archive(&[("keys", 1), (bad, 1)]).encode().unwrap()).is_none(), "{bad}");
        }
        let without_keys = archive(&[("escrows/book-1.sealed", 1)]);
        assert!(Archive::decode(&without_keys.encode().unwrap()).is_none());
        let mut repeated = archive(&[("keys", 1)]).encode().unwrap();
        repeated.extend_from_slice(b"\0\0\0\x04keys\0\0\0\0");
        assert!(Archive::decode(&repeated).is_none());
        let mut endless = archive(&[("keys", 1)]).encode().unwrap();
        endless[8..12].fill(0xff);
        assert!(Archive::decode(&endless).is_none());
    }

    #[test]
    fn the_fewest_books_are_left_out_for_the_rest_to_fit_and_nothing_else_ever_is() {
        let mut made = archive(&[
            ("escrows/book-1.sealed", 400),
            ("escrows/book-2.sealed", 900),
            ("escrows/book-3.sealed", 100),
            ("keys", 100),
        ]);
        made.fit(2_000).unwrap();
        assert!(made.left_out.is_empty());
        made.fit(1_000).unwrap();
        assert_eq!(made.left_out, ["escrows/book-2.sealed"]);
        let sealed = made.seal(PASSPHRASE).unwrap();
        made.fit(sealed.len()).unwrap();
        assert_eq!(made.left_out.len(), 1);
        made.fit(sealed.len() - 1).unwrap();
        assert_eq!(made.left_out, ["escrows/book-2.sealed", "escrows/book-1.sealed"]);
        assert_eq!(made.seal(PASSPHRASE).unwrap().len(), sealed.len() - 404);
        assert!(matches!(made.fit(150), Err(ArchiveError::TooLarge(150))));
        assert!(made.files.contains_key("keys"));
    }
}
