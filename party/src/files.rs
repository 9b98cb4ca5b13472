//! Private files that survive a crash: written whole or not at all, readable by their owner only.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

/// How long the lock of what another process is at is waited for: longer than a slow wallet call takes.
const LOCK_LIMIT: Duration = Duration::from_secs(120);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Why a private file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused; the path says where.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Others on this machine could read or change it.
    #[error("{}: others may access it (mode {mode:03o}); run chmod {} on it", path.display(), if *folder { "700" } else { "600" })]
    Loose {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Whether it is a folder.
        folder: bool,
    },
    /// Larger than anything this program writes.
    #[error("{}: larger than the {limit} bytes that are allowed", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound in bytes.
        limit: u64,
    },
    /// Another process was at it for too long.
    #[error("{}: another process of this home has been at it for too long; try again", .0.display())]
    Locked(PathBuf),
}

impl FileError {
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// Whether the file simply does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes a rename or removal inside the folder durable.
pub fn sync_dir(folder: &Path) -> Result<(), FileError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(FileError::at(folder))
}

/// Makes a file's content durable, e.g. after another program wrote it.
pub fn sync_file(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(FileError::at(path))
}

/// Replaces the file in one step: after a crash either the old or the new content is there, never a mixture.
/// The file gets mode 0600. The bytes are durable when this returns.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut tag = [0; 8];
    getrandom::fill(&mut tag).map_err(|e| FileError::at(path)(io::Error::other(e.to_string())))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", hex::encode(tag)));
    let temporary = folder_of(path).join(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = written {
        // The write already failed and is reported; a leftover only costs space.
        let _ = fs::remove_file(&temporary);
        return Err(FileError::Io { path: path.to_owned(), source });
    }
    sync_dir(folder_of(path))
}

/// Removes the file durably; a missing file is fine.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::at(path)(e)),
        _ => sync_dir(folder_of(path)),
    }
}

/// Refuses a file or folder that its group or others may access.
pub fn require_private(path: &Path) -> Result<(), FileError> {
    let meta = fs::metadata(path).map_err(FileError::at(path))?;
    check_mode(path, &meta)
}

fn check_mode(path: &Path, meta: &fs::Metadata) -> Result<(), FileError> {
    let mode = meta.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(FileError::Loose { path: path.to_owned(), mode, folder: meta.is_dir() })
}

/// Reads a private file of at most `limit` bytes; refuses one that others may access.
pub fn read_private(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = File::open(path).map_err(FileError::at(path))?;
    // Checked on the open file: the name may point elsewhere a moment later.
    check_mode(path, &file.metadata().map_err(FileError::at(path))?)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(limit + 1).read_to_end(&mut bytes).map_err(FileError::at(path))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

fn lock_file(path: &Path) -> Result<File, FileError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    file.map_err(FileError::at(path))
}

/// Waits for the lock on a file, which is made where it is missing; held until what is given back is dropped. Only for what
/// nobody holds while waiting for something else: the thread does nothing meanwhile.
pub fn lock(path: &Path) -> Result<File, FileError> {
    let file = lock_file(path)?;
    file.lock().map_err(FileError::at(path))?;
    Ok(file)
}

/// The same while other futures of the task go on, for two minutes at most: whoever holds it may wait for what one of them
/// holds.
pub async fn wait_for_lock(path: &Path) -> Result<File, FileError> {
    lock_within(path, LOCK_LIMIT).await
}

async fn lock_within(path: &Path, limit: Duration) -> Result<File, FileError> {
    let file = lock_file(path)?;
    let limit = Instant::now() + limit;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < limit => sleep(LOCK_PAUSE).await,
            Err(TryLockError::WouldBlock) => return Err(FileError::Locked(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(FileError::at(path)(source)),
        }
    }
}

/// Creates the folder (and its parents) with mode 0700; an existing one must already be private.
pub fn private_dir(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(FileError::at(path))?;
    require_private(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_write_replaces_the_whole_file_privately_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write_atomic(&path, b"a long first version").unwrap();
        write_atomic(&path, b"second").unwrap();
        assert_eq!(&read_private(&path, 100).unwrap()[..], b"second");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_others_may_read_and_one_that_is_too_large_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write_atomic(&path, &[0; 101]).unwrap();
        assert!(matches!(read_private(&path, 100), Err(FileError::TooLarge { limit: 100, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read_private(&path, 200), Err(FileError::Loose { mode: 0o640, .. })));
        assert!(read_private(&dir.path().join("none"), 1).is_err_and(|e| e.is_missing()));
    }

    #[tokio::test]
    async fn a_lock_is_waited_for_while_other_futures_go_on_and_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = lock(&path).unwrap();
        let waiting = wait_for_lock(&path);
        let letting_go = async {
            sleep(LOCK_PAUSE * 3).await;
            drop(held);
        };
        let (got, ()) = tokio::join!(waiting, letting_go);
        let got = got.unwrap();
        assert!(matches!(lock_within(&path, LOCK_PAUSE).await, Err(FileError::Locked(_))));
        drop(got);
        wait_for_lock(&path).await.unwrap();
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("name");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("x"), "kept").unwrap();
        assert!(write_atomic(&folder, b"new").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
