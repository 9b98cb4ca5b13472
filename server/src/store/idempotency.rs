//! Answers given before, for requests that come again with the same `Idempotency-Key`.

use aegis_common::hash::Hash32;
use aegis_common::ids::UserId;
use aegis_common::time::Timestamp;
use diesel::prelude::*;
use serde::Serialize;

use super::Store;
use super::connection::Conn;
use super::dump::as_json;
use super::error::StoreError;
use super::schema::idempotency;
use super::types::{DbBytes, DbHash, DbUuid, impossible, page, time};

/// An answer given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRow {
    /// Whose key.
    pub user_id: UserId,
    /// The client's key, 1 to 255 characters.
    pub key: String,
    /// Hash of the request: another request under the same key is a mistake of the client.
    pub request_hash: Hash32,
    /// HTTP status of the answer.
    pub status: u16,
    /// Body of the answer.
    pub response: String,
    /// When it was given.
    pub created_at: Timestamp,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = idempotency)]
pub(super) struct RawIdempotency {
    pub user_id: DbUuid,
    pub key: String,
    request_hash: DbHash,
    status: i32,
    #[serde(serialize_with = "as_json")]
    response: String,
    created_at: i64,
}

impl RawIdempotency {
    pub fn encode(row: IdempotencyRow) -> Self {
        Self {
            user_id: row.user_id.0.into(),
            key: row.key,
            request_hash: DbBytes(row.request_hash.0),
            status: row.status.into(),
            response: row.response,
            created_at: row.created_at.as_millisecond(),
        }
    }

    /// Whether an answer is stored under the user's key.
    pub fn is_used(&self, conn: &mut Conn) -> QueryResult<bool> {
        let row = idempotency::table.find((self.user_id, &self.key)).select(idempotency::status);
        Ok(row.first::<i32>(conn).optional()?.is_some())
    }

    fn decode(self) -> Result<IdempotencyRow, StoreError> {
        Ok(IdempotencyRow {
            user_id: UserId(self.user_id.into()),
            key: self.key,
            request_hash: Hash32(self.request_hash.0),
            status: u16::try_from(self.status).map_err(|_| impossible("not an HTTP status"))?,
            response: self.response,
            created_at: time(self.created_at)?,
        })
    }
}

impl Store {
    /// The answer given before under a user's key, if any.
    pub async fn idempotency(&self, user: UserId, key: String) -> Result<Option<IdempotencyRow>, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, _| {
            let row = idempotency::table.find((user, key)).first::<RawIdempotency>(conn).optional()?;
            row.map(RawIdempotency::decode).transpose()
        })
        .await
    }

    /// Forgets answers given before a moment (24 hours ago); at most `limit` at once, so that no commit waits
    /// long. Returns how many were forgotten: call again while that equals `limit`.
    pub async fn purge_idempotency(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.writer
            .run(move |conn| {
                let old = idempotency::table.filter(idempotency::created_at.lt(before.as_millisecond()));
                let keys: Vec<(DbUuid, String)> = old
                    .order(idempotency::created_at)
                    .limit(page(limit))
                    .select((idempotency::user_id, idempotency::key))
                    .load(conn)?;
                for (user, key) in &keys {
                    diesel::delete(idempotency::table.find((*user, key))).execute(conn)?;
                }
                Ok(keys.len())
            })
            .await
    }
}
