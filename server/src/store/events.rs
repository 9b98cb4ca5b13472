//! The outbox, which is each user's feed as well, and how far the dispatcher has come with it.

use aegis_common::ids::{EscrowId, UserId};
use aegis_common::time::Timestamp;
use diesel::prelude::*;
use serde::Serialize;
use uuid::Uuid;

use super::Store;
use super::connection::Conn;
use super::dump::as_json;
use super::error::StoreError;
use super::schema::{events, outbox_cursor};
use super::types::{DbUuid, page, time};

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Cursor: grows in the order of commits, with gaps.
    pub seq: i64,
    /// Stable id.
    pub event_id: Uuid,
    /// Whom it is for.
    pub user_id: UserId,
    /// What it is about.
    pub escrow_id: Option<EscrowId>,
    /// Wire name.
    pub kind: String,
    /// JSON.
    pub payload: String,
    /// When it was stored.
    pub created_at: Timestamp,
}

#[derive(Queryable, Serialize)]
pub(super) struct RawEvent {
    pub seq: i64,
    event_id: DbUuid,
    user_id: DbUuid,
    escrow_id: Option<DbUuid>,
    kind: String,
    #[serde(serialize_with = "as_json")]
    payload: String,
    created_at: i64,
}

impl RawEvent {
    pub fn decode(self) -> Result<EventRow, StoreError> {
        Ok(EventRow {
            seq: self.seq,
            event_id: self.event_id.into(),
            user_id: UserId(self.user_id.into()),
            escrow_id: self.escrow_id.map(|id| EscrowId(id.into())),
            kind: self.kind,
            payload: self.payload,
            created_at: time(self.created_at)?,
        })
    }
}

impl Store {
    /// A user's events after a cursor (0 for all), oldest first.
    pub async fn events_of(
        &self,
        user: UserId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, _| {
            let rows = events::table.filter(events::user_id.eq(user)).filter(events::seq.gt(after));
            let rows: Vec<RawEvent> = rows.order(events::seq).limit(page(limit)).load(conn)?;
            rows.into_iter().map(RawEvent::decode).collect()
        })
        .await
    }

    /// Everybody's events after a cursor, oldest first: for the dispatcher.
    pub async fn events_after(&self, after: i64, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        self.read(move |conn, _| {
            let rows = events::table.filter(events::seq.gt(after)).order(events::seq);
            let rows: Vec<RawEvent> = rows.limit(page(limit)).load(conn)?;
            rows.into_iter().map(RawEvent::decode).collect()
        })
        .await
    }

    /// How far the named dispatcher has come; 0 where it never began.
    pub async fn outbox_cursor(&self, name: &'static str) -> Result<i64, StoreError> {
        self.read(move |conn, _| Ok(cursor(conn, name)?)).await
    }

    /// Remembers how far the named dispatcher has come. Never moves it back.
    pub async fn set_outbox_cursor(&self, name: &'static str, seq: i64) -> Result<(), StoreError> {
        self.writer.run(move |conn| Ok::<_, StoreError>(move_cursor(conn, name, seq)?)).await
    }
}

/// How far a named reader has come; 0 where it never began.
pub(super) fn cursor(conn: &mut Conn, name: &str) -> QueryResult<i64> {
    let seq = outbox_cursor::table.find(name).select(outbox_cursor::seq);
    Ok(seq.first(conn).optional()?.unwrap_or(0))
}

/// Remembers how far a named reader has come. Never moves it back.
pub(super) fn move_cursor(conn: &mut Conn, name: &str, seq: i64) -> QueryResult<()> {
    let stored = outbox_cursor::table.find(name).select(outbox_cursor::seq);
    match stored.first::<i64>(conn).optional()? {
        None => {
            let row = (outbox_cursor::name.eq(name), outbox_cursor::seq.eq(seq));
            diesel::insert_into(outbox_cursor::table).values(row).execute(conn)?;
        }
        Some(stored) if stored < seq => {
            let row = diesel::update(outbox_cursor::table.find(name));
            row.set(outbox_cursor::seq.eq(seq)).execute(conn)?;
        }
        Some(_) => {}
    }
    Ok(())
}
