//! A 32-byte secret in a file of its own that only the server's user may read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// There is no usable secret; the server must not start.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file could not be read or made.
    #[error("{path}: {cause}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// Others on the machine have access.
    #[error("{path} has mode {mode:04o}: group and others must have no access (chmod 600)")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content is not 64 hexadecimal digits.
    #[error("{0} does not hold 64 hexadecimal digits")]
    Malformed(PathBuf),
}

/// Reads the secret; makes a random one, with mode 0600, where there is no file.
pub(super) fn load_or_create(path: &Path) -> Result<Zeroizing<[u8; 32]>, SecretFileError> {
    let failed = |cause| SecretFileError::File { path: path.to_owned(), cause };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            if let Err(cause) = fill(file) {
                // An empty file would stop every later start.
                let _ = std::fs::remove_file(path);
                return Err(failed(cause));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Exposed { path: path.to_owned(), mode });
    }
    // Capacity at once: a growing buffer would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(128));
    file.take(128).read_to_string(&mut text).map_err(failed)?;
    let mut secret = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), &mut *secret)
        .map_err(|_| SecretFileError::Malformed(path.to_owned()))?;
    Ok(secret)
}

fn fill(mut file: File) -> io::Result<()> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret).map_err(io::Error::other)?;
    let mut digits = Zeroizing::new([0; 64]);
    hex::encode_to_slice(*secret, &mut *digits).map_err(io::Error::other)?;
    file.write_all(&*digits)?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_start_makes_a_private_file_and_the_second_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt");
        let first = load_or_create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load_or_create(&path).unwrap(), first);
    }

    #[test]
    fn loose_permissions_and_damaged_contents_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt");
        load_or_create(&path).unwrap();
        set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load_or_create(&path), Err(SecretFileError::Exposed { mode: 0o640, .. })));
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        for damaged in ["", "abc", &"0".repeat(63), &"0".repeat(66)] {
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(load_or_create(&path), Err(SecretFileError::Malformed(_))), "{damaged}");
        }
    }
}
