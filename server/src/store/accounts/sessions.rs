//! Logins and API keys. A row that is gone is a session that is over: every request looks for its own.

use aegis_common::hash::Hash32;
use aegis_common::ids::{SessionId, UserId};
use aegis_common::time::{SignedDuration, Timestamp};
use diesel::prelude::*;
use serde::Serialize;

use super::audit::Note;
use super::factors;
use crate::store::Store;
use crate::store::connection::Conn;
use crate::store::error::StoreError;
use crate::store::schema::{challenges, disabled, sessions, users};
use crate::store::types::{DbBytes, DbHash, DbUuid, page, time};
use crate::store::users::Role;

/// A login, or an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// Whether it is an API key.
    pub is_key: bool,
    /// The device, or what the key is for.
    pub name: String,
    /// What the key may do: wire names separated by spaces.
    pub scopes: String,
    /// SHA-256 of the refresh token that works next, or of the key.
    pub secret_hash: Hash32,
    /// SHA-256 of the part that all its tokens share.
    pub family_hash: Hash32,
    /// Where it was last used from, coarsely.
    pub network: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used.
    pub used_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether a second factor was shown in it.
    pub strong: bool,
}

#[derive(Queryable, Selectable, Insertable, Serialize)]
#[diesel(table_name = sessions, treat_none_as_default_value = false)]
pub(in crate::store) struct RawSession {
    pub id: DbUuid,
    user_id: DbUuid,
    is_key: bool,
    name: String,
    scopes: String,
    secret_hash: DbHash,
    family_hash: DbHash,
    network: String,
    created_at: i64,
    used_at: Option<i64>,
    expires_at: i64,
    strong: bool,
}

impl RawSession {
    fn encode(row: SessionRow) -> Self {
        Self {
            id: row.id.0.into(),
            user_id: row.user.0.into(),
            is_key: row.is_key,
            name: row.name,
            scopes: row.scopes,
            secret_hash: DbBytes(row.secret_hash.0),
            family_hash: DbBytes(row.family_hash.0),
            network: row.network,
            created_at: row.created_at.as_millisecond(),
            used_at: row.used_at.map(Timestamp::as_millisecond),
            expires_at: row.expires_at.as_millisecond(),
            strong: row.strong,
        }
    }

    fn decode(self) -> Result<SessionRow, StoreError> {
        Ok(SessionRow {
            id: SessionId(self.id.into()),
            user: UserId(self.user_id.into()),
            is_key: self.is_key,
            name: self.name,
            scopes: self.scopes,
            secret_hash: Hash32(self.secret_hash.0),
            family_hash: Hash32(self.family_hash.0),
            network: self.network,
            created_at: time(self.created_at)?,
            used_at: self.used_at.map(time).transpose()?,
            expires_at: time(self.expires_at)?,
            strong: self.strong,
        })
    }
}

/// How a refresh went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// The new token holds.
    Done(Box<SessionRow>),
    /// The token was used before, so two have it: the session was ended.
    Reused(UserId),
    /// There is no such session, or its time is over.
    Gone,
}

/// What the login that begins a session rests on: it begins only where that still holds.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The password's hash that was verified.
    pub password_hash: String,
    /// Whether a second factor was shown, or is asked for now.
    pub strong: bool,
}

impl Opening {
    /// [`StoreError::SessionOver`] where the password is another by now, the account is disabled, or it has got a second factor.
    pub(super) fn check(&self, conn: &mut Conn, user: DbUuid) -> Result<(), StoreError> {
        let hash = users::table.find(user).select(users::password_hash).first::<String>(conn).optional()?;
        let shut = disabled::table.find(user).select(disabled::at).first::<i64>(conn).optional()?;
        let holds = hash.as_ref() == Some(&self.password_hash) && shut.is_none();
        if holds && (self.strong || !factors::counts(conn, user)?.is_needed()) {
            Ok(())
        } else {
            Err(StoreError::SessionOver)
        }
    }
}

/// What the next refresh token is, and how long the session goes on.
#[derive(Debug, Clone)]
pub struct NextToken {
    /// SHA-256 of the part that all tokens of the session share, as it was sent.
    pub family: Hash32,
    /// SHA-256 of the token that was sent.
    pub sent: Hash32,
    /// SHA-256 of the next.
    pub next: Hash32,
    /// Now.
    pub at: Timestamp,
    /// How long the session goes on without being used.
    pub idle: SignedDuration,
    /// How long it goes on at most.
    pub longest: SignedDuration,
    /// Where the request came from, coarsely.
    pub network: String,
}

impl Store {
    /// Begins a session or stores a key. Of the same account and sort at most `most` stay: of logins those used least
    /// recently end, and their ids are returned; of keys nothing ends: `None` says that there are as many as there may be.
    pub async fn insert_session(
        &self,
        row: SessionRow,
        opening: Option<Opening>,
        most: usize,
        note: Note,
    ) -> Result<Option<Vec<SessionId>>, StoreError> {
        let (user, is_key) = (DbUuid::from(row.user.0), row.is_key);
        let raw = RawSession::encode(row);
        self.writer
            .run(move |conn| {
                opening.as_ref().map_or(Ok(()), |opening| opening.check(conn, user))?;
                let known =
                    sessions::table.filter(sessions::user_id.eq(user)).filter(sessions::is_key.eq(is_key));
                let known: Vec<DbUuid> = known
                    .order((sessions::used_at.desc(), sessions::id.desc()))
                    .select(sessions::id)
                    .load(conn)?;
                let beyond = known.get(most.saturating_sub(1)..).unwrap_or_default();
                if is_key && !beyond.is_empty() {
                    return Ok(None);
                }
                delete(conn, beyond)?;
                diesel::insert_into(sessions::table).values(&raw).execute(conn)?;
                note.write(conn)?;
                Ok(Some(beyond.iter().map(|id| SessionId((*id).into())).collect()))
            })
            .await
    }

    /// A session with its account's role; `None` where it is over or was never there.
    pub async fn session(&self, id: SessionId) -> Result<Option<(SessionRow, Role)>, StoreError> {
        let id = DbUuid::from(id.0);
        self.read(move |conn, _| {
            let row = sessions::table.inner_join(users::table.on(users::id.eq(sessions::user_id)));
            let row = row.filter(sessions::id.eq(id)).select((RawSession::as_select(), users::role));
            let row = row.first::<(RawSession, String)>(conn).optional()?;
            row.map(|(session, role)| Ok((session.decode()?, role.parse()?))).transpose()
        })
        .await
    }

    /// An account's logins or keys, the last used first.
    pub async fn sessions_of(&self, user: UserId, is_key: bool) -> Result<Vec<SessionRow>, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, _| {
            let rows = sessions::table.filter(sessions::user_id.eq(user)).filter(sessions::is_key.eq(is_key));
            let rows: Vec<RawSession> =
                rows.order((sessions::used_at.desc(), sessions::id.desc())).load(conn)?;
            rows.into_iter().map(RawSession::decode).collect()
        })
        .await
    }

    /// Takes a refresh token for the next one. `reused` is noted where it was not the one that works.
    pub async fn rotate_session(
        &self,
        id: SessionId,
        token: NextToken,
        reused: Note,
    ) -> Result<Rotation, StoreError> {
        let id = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                let row = sessions::table.find(id).filter(sessions::is_key.eq(false));
                let Some(row) = row.first::<RawSession>(conn).optional()? else { return Ok(Rotation::Gone) };
                let mut row = row.decode()?;
                // Who knows a session's name only can't end it.
                if row.expires_at <= token.at || row.family_hash != token.family {
                    return Ok(Rotation::Gone);
                }
                if row.secret_hash != token.sent {
                    delete(conn, &[id])?;
                    Note { user: Some(row.user), ..reused.clone() }.write(conn)?;
                    return Ok(Rotation::Reused(row.user));
                }
                (row.secret_hash, row.network) = (token.next, token.network.clone());
                row.used_at = Some(token.at);
                row.expires_at = (token.at + token.idle).min(row.created_at + token.longest);
                let change = (
                    sessions::secret_hash.eq(DbBytes(token.next.0)),
                    sessions::network.eq(&token.network),
                    sessions::used_at.eq(token.at.as_millisecond()),
                    sessions::expires_at.eq(row.expires_at.as_millisecond()),
                );
                diesel::update(sessions::table.find(id)).set(change).execute(conn)?;
                Ok(Rotation::Done(Box::new(row)))
            })
            .await
    }

    /// Remembers that somebody proved anew who they are in a session; `strong` that it was by a second factor.
    pub async fn prove_session(&self, id: SessionId, strong: bool, note: Note) -> Result<(), StoreError> {
        let id = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                if strong {
                    let row = diesel::update(sessions::table.find(id));
                    row.set(sessions::strong.eq(true)).execute(conn)?;
                }
                note.write(conn)
            })
            .await
    }

    /// Remembers when a key was last used.
    pub async fn touch_key(&self, id: SessionId, at: Timestamp, network: String) -> Result<(), StoreError> {
        let id = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                let change = (sessions::used_at.eq(at.as_millisecond()), sessions::network.eq(&network));
                diesel::update(sessions::table.find(id)).set(change).execute(conn)?;
                Ok(())
            })
            .await
    }

    /// Ends one session or key of an account. `false` where it has no such.
    pub async fn end_session(
        &self,
        user: UserId,
        id: SessionId,
        is_key: bool,
        note: Note,
    ) -> Result<bool, StoreError> {
        let (user, id) = (DbUuid::from(user.0), DbUuid::from(id.0));
        self.writer
            .run(move |conn| {
                let row = sessions::table.find(id).filter(sessions::user_id.eq(user));
                let ended = diesel::delete(row.filter(sessions::is_key.eq(is_key))).execute(conn)? == 1;
                if ended {
                    note.write(conn)?;
                }
                Ok(ended)
            })
            .await
    }

    /// Whether an account has a login that was last used from a network.
    pub async fn is_known_from(&self, user: Option<UserId>, network: String) -> Result<bool, StoreError> {
        // Nobody's account has none, at the same price.
        let user = DbUuid::from(user.map_or(uuid::Uuid::nil(), |id| id.0));
        self.read(move |conn, _| {
            let row = sessions::table.filter(sessions::user_id.eq(user)).filter(sessions::is_key.eq(false));
            let row = row.filter(sessions::network.eq(&network)).select(sessions::id);
            Ok(row.first::<DbUuid>(conn).optional()?.is_some())
        })
        .await
    }

    /// Ends all logins of an account but one. Its keys stay.
    pub async fn end_logins(
        &self,
        user: UserId,
        but: Option<SessionId>,
        note: Note,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.writer
            .run(move |conn| {
                // First: its own session may be among them.
                note.write(conn)?;
                end_logins(conn, user, but)
            })
            .await
    }

    /// Ends every login on this server: for an operator who does not know what was stolen.
    pub async fn end_everybody(&self, note: Note) -> Result<Vec<SessionId>, StoreError> {
        self.writer
            .run(move |conn| {
                let rows = sessions::table.filter(sessions::is_key.eq(false));
                let rows = rows.filter(sessions::expires_at.gt(note.at.as_millisecond()));
                let ended: Vec<DbUuid> = rows.select(sessions::id).load(conn)?;
                diesel::delete(challenges::table).execute(conn)?;
                note.write(conn)?;
                for part in ended.chunks(500) {
                    delete(conn, part)?;
                }
                Ok(ended.into_iter().map(|id| SessionId(id.into())).collect())
            })
            .await
    }

    /// Forgets up to `limit` sessions and keys whose time was over at a moment; returns how many.
    pub async fn purge_sessions(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.writer
            .run(move |conn| {
                let old = sessions::table.filter(sessions::expires_at.lt(before.as_millisecond()));
                let old: Vec<DbUuid> =
                    old.order(sessions::expires_at).limit(page(limit)).select(sessions::id).load(conn)?;
                delete(conn, &old)
            })
            .await
    }
}

/// Logins that wait for their second factor are over with all others.
fn forget_halfway(conn: &mut Conn, user: UserId) -> Result<(), StoreError> {
    diesel::delete(challenges::table.filter(challenges::user_id.eq(DbUuid::from(user.0)))).execute(conn)?;
    Ok(())
}

/// Ends all logins and API keys of an account.
pub(super) fn end_all(conn: &mut Conn, user: UserId) -> Result<Vec<SessionId>, StoreError> {
    let rows = sessions::table.filter(sessions::user_id.eq(DbUuid::from(user.0)));
    let ids: Vec<DbUuid> = rows.select(sessions::id).load(conn)?;
    delete(conn, &ids)?;
    forget_halfway(conn, user)?;
    Ok(ids.into_iter().map(|id| SessionId(id.into())).collect())
}

/// Ends all logins of an account but one.
pub(super) fn end_logins(
    conn: &mut Conn,
    user: UserId,
    but: Option<SessionId>,
) -> Result<Vec<SessionId>, StoreError> {
    let rows = sessions::table.filter(sessions::user_id.eq(DbUuid::from(user.0)));
    let ids: Vec<DbUuid> = rows.filter(sessions::is_key.eq(false)).select(sessions::id).load(conn)?;
    let but = but.map(|id| DbUuid::from(id.0));
    let ended: Vec<DbUuid> = ids.into_iter().filter(|id| Some(*id) != but).collect();
    delete(conn, &ended)?;
    forget_halfway(conn, user)?;
    Ok(ended.into_iter().map(|id| SessionId(id.into())).collect())
}

fn delete(conn: &mut Conn, ids: &[DbUuid]) -> Result<usize, StoreError> {
    Ok(diesel::delete(sessions::table.filter(sessions::id.eq_any(ids))).execute(conn)?)
}
