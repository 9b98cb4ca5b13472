//! Backups of wallets. The server keeps bytes that it can't open.

use aegis_common::ids::UserId;
use aegis_common::wire::account::{BackupView, bounds};
use serde_json::json;

use super::{AccountError, Accounts, Origin, Who, refuse};
use crate::store::{BackupRow, Note};

impl Accounts {
    /// Keeps the next version.
    pub async fn push_backup(
        &self,
        who: &Who,
        bytes: Vec<u8>,
        origin: Origin,
    ) -> Result<BackupView, AccountError> {
        if !(1..=bounds::BACKUP).contains(&bytes.len()) {
            return refuse("body", "must have 1 to 1048576 bytes");
        }
        self.charge(vec![self.by_account("backups", who.user)]).await?;
        let note = self.act(who, "walletBackedUp", origin, json!({ "bytes": bytes.len() }));
        let note = Note { tell: false, ..note };
        Ok(view(self.store.add_backup(who.user, bytes, bounds::BACKUPS, note).await?))
    }

    /// What versions there are.
    pub async fn backups(&self, user: UserId) -> Result<Vec<BackupView>, AccountError> {
        Ok(self.store.backups(user, bounds::BACKUPS).await?.into_iter().map(view).collect())
    }

    /// One version's bytes.
    pub async fn pull_backup(
        &self,
        who: &Who,
        version: i64,
        origin: Origin,
    ) -> Result<Vec<u8>, AccountError> {
        self.charge(vec![self.by_account("backups", who.user)]).await?;
        let note = self.act(who, "walletBackupRead", origin, json!({ "version": version }));
        self.store.backup(who.user, version, note).await?.ok_or(AccountError::Unknown)
    }

    /// Forgets one version.
    pub async fn delete_backup(&self, who: &Who, version: i64, origin: Origin) -> Result<(), AccountError> {
        let note = self.act(who, "walletBackupDeleted", origin, json!({ "version": version }));
        if self.store.delete_backup(who.user, version, note).await? {
            Ok(())
        } else {
            Err(AccountError::Unknown)
        }
    }
}

fn view(row: BackupRow) -> BackupView {
    BackupView { version: row.version, size: row.size, sha256: row.sha256, created_at: row.created_at }
}
