//! Backups are the keys file alone, and each escrow proves once that it is enough.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_common::address::Address;
use aegis_common::hash::Key32;
use curve25519_dalek::{EdwardsPoint, Scalar};

use super::error::WalletError;
use super::multisig::{Session, note};
use super::replies::MultisigStatus;
use crate::files;

impl Session<'_> {
    fn keys_file(&self) -> Result<PathBuf, WalletError> {
        let folder = self.wallet.wallet_dir.as_ref();
        let folder = folder.ok_or(WalletError::BadArgument("the wallet folder is not on this machine"))?;
        Ok(folder.join(format!("{}.keys", self.name)))
    }

    /// Copies the keys file, and only that: a cache would bring back used nonces. `to` is replaced, mode 0600.
    pub fn back_up_keys(&self, to: &Path) -> Result<(), WalletError> {
        let bytes = files::read_private(&self.keys_file()?, 1 << 20)?;
        Ok(files::write_atomic(to, &bytes)?)
    }

    /// Proves that the keys file alone restores the escrow: opens a copy of it under a scratch name and compares
    /// address, view key and setup. Leaves no wallet open; 1 to 3 s.
    pub async fn prove_backup(mut self, address: &Address) -> Result<(), WalletError> {
        let file = self.keys_file()?;
        self.make_durable().await?;
        let scratch = format!("{}-scratch", self.name);
        let copy = file.with_file_name(format!("{scratch}.keys"));
        self.back_up_keys(&copy)?;
        // From here on the process holds the scratch wallet or none.
        self.state.open = None;
        let proven = self.open_and_compare(&scratch, address).await;
        // Without saving: the scratch wallet gets no cache.
        let _ = self.state.rpc.close_wallet(false).await;
        for leftover in [copy, file.with_file_name(&scratch)] {
            files::remove(&leftover)?;
        }
        proven
    }

    async fn open_and_compare(&mut self, scratch: &str, address: &Address) -> Result<(), WalletError> {
        let rpc = Arc::clone(&self.state.rpc);
        let opened = rpc.open_wallet(scratch, &self.wallet.password).await;
        note(&mut self.state, opened)?;
        let status = rpc.is_multisig().await?;
        let found = rpc.get_address().await?;
        let view = rpc.view_key().await?;
        let wanted = MultisigStatus { multisig: true, ready: true, threshold: 2, total: 3 };
        if status == wanted && found == *address && view_matches(&view, &address.view) {
            Ok(())
        } else {
            Err(WalletError::BadReply {
                method: "open_wallet",
                detail: "the keys file restores another wallet".to_owned(),
            })
        }
    }
}

/// Whether the private view key belongs to the address's public one.
fn view_matches(secret: &[u8; 32], public: &Key32) -> bool {
    EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order(*secret)).compress().0 == public.0
}
