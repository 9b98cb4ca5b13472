//! No nonce is used for two transactions.
//!
//! An export makes signing nonces; a signature uses them. Two different transactions signed with the same nonces help
//! to compute this participant's key share. The wallet forgets nonces when it signs, but before monero-project/monero
//! pull request 10754 it wrote the forgetting to disk only at its next `store`: a crash in between would bring them
//! back. And it builds as often as it is asked from one import, where only one of those transactions can ever be
//! signed. So this program keeps its own durable mark, set before a build or signature and cleared only when a fresh
//! export is on disk; it does not lean on what a given version of the wallet remembers.

use std::path::{Path, PathBuf};

use super::error::WalletError;
use super::name::WalletName;
use crate::files;

/// The marks of one wallet folder; they must never be removed by hand or replaced by older ones. A backup brings its own.
#[derive(Debug, Clone)]
pub struct NonceGuard {
    folder: PathBuf,
}

impl NonceGuard {
    /// Keeps its marks in the folder, which is created private.
    pub fn new(folder: &Path) -> Result<Self, WalletError> {
        files::private_dir(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Where the mark of a wallet lies in a home.
    pub fn path(wallet: &WalletName) -> String {
        format!("nonces/{}", Self::name(wallet))
    }

    fn name(wallet: &WalletName) -> String {
        format!("{wallet}.nonces-used")
    }

    fn mark(&self, wallet: &WalletName) -> PathBuf {
        self.folder.join(Self::name(wallet))
    }

    /// Whether a fresh export is needed before the next build or signature.
    pub fn is_used(&self, wallet: &WalletName) -> bool {
        // An unreadable folder counts as used: refusing costs a round trip, signing could cost the key.
        self.mark(wallet).try_exists().unwrap_or(true)
    }

    /// Claims the nonces durably, or refuses because they were claimed before.
    pub fn claim(&self, wallet: &WalletName) -> Result<(), WalletError> {
        if self.is_used(wallet) {
            return Err(WalletError::NoncesUsed);
        }
        Ok(files::write_atomic(&self.mark(wallet), b"")?)
    }

    /// Clears the mark: a fresh export is durable, or the wallet refused and gave nothing out.
    pub fn clear(&self, wallet: &WalletName) -> Result<(), WalletError> {
        Ok(files::remove(&self.mark(wallet))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_are_claimed_once_until_cleared_also_by_a_restarted_program() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("g");
        let [a, b] = ["a", "b"].map(|name| name.parse::<WalletName>().unwrap());
        NonceGuard::new(&folder).unwrap().claim(&a).unwrap();
        let restarted = NonceGuard::new(&folder).unwrap();
        assert!(matches!(restarted.claim(&a), Err(WalletError::NoncesUsed)));
        restarted.claim(&b).unwrap();
        restarted.clear(&a).unwrap();
        restarted.claim(&a).unwrap();
    }
}
