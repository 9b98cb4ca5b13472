//! What was begun and must be gone on with in time.

use aegis_common::hash::Hash32;
use aegis_common::ids::UserId;
use aegis_common::time::Timestamp;
use diesel::prelude::*;
use serde::Serialize;

use super::sessions::Opening;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::schema::{challenges, reset_signatures};
use crate::store::types::{DbBytes, DbHash, DbUuid, page, time};

/// Something begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeRow {
    /// SHA-256 of what names it.
    pub id: Hash32,
    /// Whose.
    pub user: UserId,
    /// Where it must be gone on from.
    pub origin: String,
    /// How often it may still be tried.
    pub tries_left: u32,
    /// What a session that comes of it is called.
    pub name: String,
    /// JSON that only this server understands.
    pub state: Option<String>,
    /// Until when.
    pub expires_at: Timestamp,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = challenges, treat_none_as_default_value = false)]
pub(in crate::store) struct RawChallenge {
    pub id: DbHash,
    user_id: DbUuid,
    origin: String,
    tries_left: i32,
    name: String,
    state: Option<String>,
    expires_at: i64,
}

impl RawChallenge {
    fn decode(self) -> Result<ChallengeRow, StoreError> {
        Ok(ChallengeRow {
            id: Hash32(self.id.0),
            user: UserId(self.user_id.into()),
            origin: self.origin,
            tries_left: u32::try_from(self.tries_left).unwrap_or(0),
            name: self.name,
            state: self.state,
            expires_at: time(self.expires_at)?,
        })
    }
}

impl Store {
    /// Begins something; it takes the place of what had the same name. A login begins only where what it rests on still holds.
    pub async fn begin(&self, row: ChallengeRow, opening: Option<Opening>) -> Result<(), StoreError> {
        let raw = RawChallenge {
            id: DbBytes(row.id.0),
            user_id: row.user.0.into(),
            origin: row.origin,
            tries_left: i32::try_from(row.tries_left).unwrap_or(i32::MAX),
            name: row.name,
            state: row.state,
            expires_at: row.expires_at.as_millisecond(),
        };
        self.writer
            .run(move |conn| {
                opening.as_ref().map_or(Ok(()), |opening| opening.check(conn, raw.user_id))?;
                diesel::delete(challenges::table.find(raw.id)).execute(conn)?;
                diesel::insert_into(challenges::table).values(&raw).execute(conn)?;
                Ok(())
            })
            .await
    }

    /// Uses one try up and tells what was begun; `None` where nothing is there, its time is over, no try is left, or it was
    /// begun elsewhere.
    pub async fn try_challenge(
        &self,
        id: Hash32,
        origin: String,
        at: Timestamp,
    ) -> Result<Option<ChallengeRow>, StoreError> {
        let id = DbBytes(id.0);
        self.writer
            .run(move |conn| {
                let row = challenges::table.find(id).filter(challenges::origin.eq(&origin));
                let row = row.filter(challenges::expires_at.gt(at.as_millisecond()));
                let row = row.filter(challenges::tries_left.gt(0)).first::<RawChallenge>(conn).optional()?;
                let Some(row) = row else { return Ok(None) };
                let left = diesel::update(challenges::table.find(id));
                left.set(challenges::tries_left.eq(row.tries_left - 1)).execute(conn)?;
                row.decode().map(Some)
            })
            .await
    }

    /// Ends it. `false` where another was faster.
    pub async fn end_challenge(&self, id: Hash32) -> Result<bool, StoreError> {
        let id = DbBytes(id.0);
        self.writer.run(move |conn| Ok(diesel::delete(challenges::table.find(id)).execute(conn)? == 1)).await
    }

    /// Forgets up to `limit` whose time was over at a moment, and signatures of password resets from before it.
    pub async fn purge_challenges(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let before = before.as_millisecond();
        self.writer
            .run(move |conn| {
                let old = challenges::table.filter(challenges::expires_at.lt(before)).limit(page(limit));
                let old: Vec<DbHash> = old.select(challenges::id).load(conn)?;
                let gone =
                    diesel::delete(challenges::table.filter(challenges::id.eq_any(&old))).execute(conn)?;
                let old = reset_signatures::table.filter(reset_signatures::at.lt(before)).limit(page(limit));
                let old: Vec<DbHash> = old.select(reset_signatures::hash).load(conn)?;
                let used = reset_signatures::table.filter(reset_signatures::hash.eq_any(&old));
                Ok(gone.max(diesel::delete(used).execute(conn)?))
            })
            .await
    }
}
