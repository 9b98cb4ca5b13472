//! What was done, or tried, with credentials: written in the transaction that does it.

use aegis_common::ids::{SessionId, UserId};
use aegis_common::time::Timestamp;
use aegis_common::wire::event::OwnNotice;
use diesel::prelude::*;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::store::Store;
use crate::store::commit::{InsertEvent, NewEvent};
use crate::store::connection::Conn;
use crate::store::dump::as_json;
use crate::store::error::StoreError;
use crate::store::schema::{audit, events, sessions, users};
use crate::store::types::{DbUuid, impossible, page, time};
use crate::store::users::Role;

/// The kind of the events that tell people of their own credentials.
pub const ACCOUNT_NOTICE: &str = "AccountNotice";

/// A line of the audit, still to be written.
#[derive(Debug, Clone)]
pub struct Note {
    /// Whose account; nobody's where the name is unknown.
    pub user: Option<UserId>,
    /// When.
    pub at: Timestamp,
    /// What, e.g. `passwordChanged`.
    pub kind: &'static str,
    /// Where it came from, coarsely; `None` is the server's machine.
    pub network: Option<String>,
    /// More of it. Never a secret.
    pub detail: Value,
    /// Whether the person is told by an event as well.
    pub tell: bool,
    /// What must still hold when it is written: a request may have been let in, and its session ended while its body came.
    pub under: Option<Under>,
}

/// The standing that an act rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Under {
    /// The session or API key: it must not be over.
    pub session: SessionId,
    /// What its account must still be, where the act is not for everybody.
    pub role: Option<Role>,
}

impl Under {
    fn check(self, conn: &mut Conn, at: Timestamp) -> Result<(), StoreError> {
        let row = sessions::table.inner_join(users::table.on(users::id.eq(sessions::user_id)));
        let row = row.filter(sessions::id.eq(DbUuid::from(self.session.0)));
        let row = row.filter(sessions::expires_at.gt(at.as_millisecond())).select(users::role);
        let role = row.first::<String>(conn).optional()?.ok_or(StoreError::SessionOver)?;
        match self.role {
            Some(needed) if needed.as_str() != role => Err(StoreError::SessionOver),
            _ => Ok(()),
        }
    }
}

impl Note {
    /// Writes it. [`StoreError::SessionOver`], which undoes the whole act, where its standing is gone.
    pub(in crate::store) fn write(&self, conn: &mut Conn) -> Result<(), StoreError> {
        self.under.map_or(Ok(()), |under| under.check(conn, self.at))?;
        let user = self.user.map(|id| DbUuid::from(id.0));
        let row = (
            audit::user_id.eq(user),
            audit::at.eq(self.at.as_millisecond()),
            audit::kind.eq(self.kind),
            audit::network.eq(&self.network),
            audit::detail.eq(self.detail.to_string()),
        );
        diesel::insert_into(audit::table).values(row).execute(conn)?;
        if let Some(user_id) = self.user.filter(|_| self.tell) {
            let notice = OwnNotice::AccountNotice {
                kind: self.kind.to_owned(),
                network: self.network.clone(),
                detail: self.detail.clone(),
            };
            let event = NewEvent {
                event_id: Uuid::now_v7(),
                user_id,
                escrow_id: None,
                kind: ACCOUNT_NOTICE.to_owned(),
                payload: notice.payload().to_string(),
            };
            let event = InsertEvent::encode(event, self.at);
            diesel::insert_into(events::table).values(&event).execute(conn)?;
        }
        Ok(())
    }
}

/// A line of the audit.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// Position.
    pub seq: i64,
    /// Whose account.
    pub user: Option<UserId>,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: String,
    /// Where it came from.
    pub network: Option<String>,
    /// More of it.
    pub detail: Value,
}

#[derive(Queryable, Serialize)]
pub(in crate::store) struct RawAudit {
    pub seq: i64,
    user_id: Option<DbUuid>,
    at: i64,
    kind: String,
    network: Option<String>,
    #[serde(serialize_with = "as_json")]
    detail: String,
}

impl RawAudit {
    fn decode(self) -> Result<AuditRow, StoreError> {
        Ok(AuditRow {
            seq: self.seq,
            user: self.user_id.map(|id| UserId(id.into())),
            at: time(self.at)?,
            kind: self.kind,
            network: self.network,
            detail: serde_json::from_str(&self.detail)
                .map_err(|_| impossible("an audit line is not JSON"))?,
        })
    }
}

impl Store {
    /// Writes a line on its own, where nothing else was changed.
    pub async fn note(&self, note: Note) -> Result<(), StoreError> {
        self.writer.run(move |conn| note.write(conn)).await
    }

    /// A person's lines before a position, newest first.
    pub async fn audit_of(
        &self,
        user: UserId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, _| {
            let rows = audit::table.filter(audit::user_id.eq(user));
            let rows = rows.filter(audit::seq.lt(before.unwrap_or(i64::MAX))).order(audit::seq.desc());
            let rows: Vec<RawAudit> = rows.limit(page(limit)).load(conn)?;
            rows.into_iter().map(RawAudit::decode).collect()
        })
        .await
    }

    /// Forgets up to `limit` of the events that told people of their credentials before a moment; returns how many.
    pub async fn purge_notices(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.writer
            .run(move |conn| {
                let old = events::table.filter(events::kind.eq(ACCOUNT_NOTICE)).order(events::seq);
                let old = old.filter(events::created_at.lt(before.as_millisecond())).limit(page(limit));
                let old: Vec<i64> = old.select(events::seq).load(conn)?;
                Ok(diesel::delete(events::table.filter(events::seq.eq_any(&old))).execute(conn)?)
            })
            .await
    }

    /// Forgets up to `limit` lines from before a moment; returns how many.
    pub async fn purge_audit(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.writer
            .run(move |conn| {
                let old = audit::table.filter(audit::at.lt(before.as_millisecond())).order(audit::at);
                let old: Vec<i64> = old.limit(page(limit)).select(audit::seq).load(conn)?;
                Ok(diesel::delete(audit::table.filter(audit::seq.eq_any(&old))).execute(conn)?)
            })
            .await
    }
}
