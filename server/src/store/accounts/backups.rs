//! Backups of wallets: bytes that only their owners can open.

use aegis_common::hash::Hash32;
use aegis_common::ids::UserId;
use aegis_common::time::Timestamp;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use serde::Serialize;

use super::audit::Note;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::schema::wallet_backups;
use crate::store::types::{DbBytes, DbHash, DbUuid, natural, page, time};

/// A version, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupRow {
    /// One more than the newest that is kept.
    pub version: i64,
    /// Of the bytes.
    pub sha256: Hash32,
    /// Bytes.
    pub size: u64,
    /// When it came.
    pub created_at: Timestamp,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = wallet_backups)]
pub(in crate::store) struct RawBackup {
    pub user_id: DbUuid,
    pub version: i64,
    sha256: DbHash,
    #[serde(with = "hex")]
    bytes: Vec<u8>,
    created_at: i64,
}

impl RawBackup {
    fn decode(&self) -> Result<BackupRow, StoreError> {
        Ok(BackupRow {
            version: self.version,
            sha256: Hash32(self.sha256.0),
            size: self.bytes.len() as u64,
            created_at: time(self.created_at)?,
        })
    }
}

impl Store {
    /// Stores the next version; of all the newest `most` stay.
    pub async fn add_backup(
        &self,
        user: UserId,
        bytes: Vec<u8>,
        most: usize,
        note: Note,
    ) -> Result<BackupRow, StoreError> {
        let (user, at) = (DbUuid::from(user.0), note.at);
        let mut raw = RawBackup {
            user_id: user,
            version: 0,
            sha256: DbBytes(Hash32::sha256(&bytes).0),
            bytes,
            created_at: at.as_millisecond(),
        };
        self.writer
            .run(move |conn| {
                let known = wallet_backups::table.filter(wallet_backups::user_id.eq(user));
                let known = known.order(wallet_backups::version.desc()).select(wallet_backups::version);
                let known: Vec<i64> = known.load(conn)?;
                raw.version = known.first().copied().unwrap_or(0) + 1;
                diesel::insert_into(wallet_backups::table).values(&raw).execute(conn)?;
                if let Some(oldest) = known.get(most.saturating_sub(1)) {
                    let old = wallet_backups::table.filter(wallet_backups::user_id.eq(user));
                    diesel::delete(old.filter(wallet_backups::version.le(*oldest))).execute(conn)?;
                }
                note.write(conn)?;
                raw.decode()
            })
            .await
    }

    /// An account's versions, newest first.
    pub async fn backups(&self, user: UserId, limit: usize) -> Result<Vec<BackupRow>, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, _| {
            let rows = wallet_backups::table.filter(wallet_backups::user_id.eq(user));
            let rows = rows.order(wallet_backups::version.desc()).limit(page(limit));
            let length = sql::<BigInt>("CAST(length(bytes) AS BIGINT)");
            let columns =
                (wallet_backups::version, wallet_backups::sha256, length, wallet_backups::created_at);
            let rows: Vec<(i64, DbHash, i64, i64)> = rows.select(columns).load(conn)?;
            let row = |(version, sha256, size, at): (i64, DbHash, i64, i64)| {
                Ok(BackupRow {
                    version,
                    sha256: Hash32(sha256.0),
                    size: natural(size)?,
                    created_at: time(at)?,
                })
            };
            rows.into_iter().map(row).collect()
        })
        .await
    }

    /// The bytes of one version; that they were read is noted.
    pub async fn backup(
        &self,
        user: UserId,
        version: i64,
        note: Note,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let key = (DbUuid::from(user.0), version);
        let bytes = self
            .read(move |conn, _| {
                Ok(wallet_backups::table.find(key).select(wallet_backups::bytes).first(conn).optional()?)
            })
            .await?;
        if bytes.is_some() {
            self.note(note).await?;
        }
        Ok(bytes)
    }

    /// Deletes one version. `false` where there is no such.
    pub async fn delete_backup(&self, user: UserId, version: i64, note: Note) -> Result<bool, StoreError> {
        let key = (DbUuid::from(user.0), version);
        self.writer
            .run(move |conn| {
                let deleted = diesel::delete(wallet_backups::table.find(key)).execute(conn)? == 1;
                if deleted {
                    note.write(conn)?;
                }
                Ok(deleted)
            })
            .await
    }
}
