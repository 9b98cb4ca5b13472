//! A folder for a test's programs, kept where the test fails: their logs tell why.
#![expect(clippy::print_stderr, reason = "who runs the test has to know where the logs are")]

use std::path::{Path, PathBuf};

use anyhow::Result;

/// Removed at the end, unless the thread panics.
pub struct Scratch(Option<tempfile::TempDir>);

impl Scratch {
    /// A new folder.
    pub fn new() -> Result<Self> {
        Ok(Self(Some(tempfile::tempdir()?)))
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.0.as_ref().map_or_else(PathBuf::new, |dir| Path::new(dir.path()).to_owned())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(dir) = self.0.take()
        {
            eprintln!("logs: {}", dir.keep().display());
        }
    }
}
