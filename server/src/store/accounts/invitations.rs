//! Invitations.

use aegis_common::hash::Hash32;
use aegis_common::ids::{InvitationId, UserId};
use aegis_common::time::Timestamp;
use diesel::dsl::count_star;
use diesel::prelude::*;
use serde::Serialize;

use super::audit::Note;
use crate::store::Store;
use crate::store::connection::Conn;
use crate::store::error::StoreError;
use crate::store::schema::{disabled, invitations, users};
use crate::store::types::{DbBytes, DbHash, DbUuid, natural, page, time};
use crate::store::users::Role;

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationRow {
    /// Its id.
    pub id: InvitationId,
    /// SHA-256 of the token.
    pub token_hash: Hash32,
    /// What the new account may do.
    pub role: Role,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// The account that was made with it.
    pub accepted_by: Option<UserId>,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = invitations, treat_none_as_default_value = false)]
pub(in crate::store) struct RawInvitation {
    pub id: DbUuid,
    token_hash: DbHash,
    role: String,
    created_by: Option<DbUuid>,
    created_at: i64,
    expires_at: i64,
    accepted_by: Option<DbUuid>,
}

impl RawInvitation {
    fn decode(self) -> Result<InvitationRow, StoreError> {
        Ok(InvitationRow {
            id: InvitationId(self.id.into()),
            token_hash: Hash32(self.token_hash.0),
            role: self.role.parse()?,
            created_by: self.created_by.map(|id| UserId(id.into())),
            created_at: time(self.created_at)?,
            expires_at: time(self.expires_at)?,
            accepted_by: self.accepted_by.map(|id| UserId(id.into())),
        })
    }
}

impl Store {
    /// Stores a new one. `false` where its maker has `most` that still work.
    pub async fn invite(&self, row: InvitationRow, most: usize, note: Note) -> Result<bool, StoreError> {
        let raw = RawInvitation {
            id: row.id.0.into(),
            token_hash: DbBytes(row.token_hash.0),
            role: row.role.as_str().to_owned(),
            created_by: row.created_by.map(|id| id.0.into()),
            created_at: row.created_at.as_millisecond(),
            expires_at: row.expires_at.as_millisecond(),
            accepted_by: None,
        };
        self.writer
            .run(move |conn| {
                if let Some(by) = raw.created_by {
                    let open = invitations::table.filter(invitations::created_by.eq(by));
                    let open = open.filter(invitations::accepted_by.is_null());
                    let open = open.filter(invitations::expires_at.gt(raw.created_at));
                    if natural(open.select(count_star()).first(conn)?)? >= most as u64 {
                        return Ok(false);
                    }
                }
                diesel::insert_into(invitations::table).values(&raw).execute(conn)?;
                note.write(conn)?;
                Ok(true)
            })
            .await
    }

    /// The newest invitations.
    pub async fn invitations(&self, limit: usize) -> Result<Vec<InvitationRow>, StoreError> {
        self.read(move |conn, _| {
            let rows = invitations::table.order(invitations::id.desc()).limit(page(limit));
            rows.load::<RawInvitation>(conn)?.into_iter().map(RawInvitation::decode).collect()
        })
        .await
    }

    /// Forgets up to `limit` that nobody accepted and whose time was over at a moment; returns how many.
    pub async fn purge_invitations(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.writer
            .run(move |conn| {
                let old = invitations::table.filter(invitations::expires_at.lt(before.as_millisecond()));
                let old = old.filter(invitations::accepted_by.is_null()).limit(page(limit));
                let old: Vec<DbUuid> = old.select(invitations::id).load(conn)?;
                let old = invitations::table.filter(invitations::id.eq_any(&old));
                Ok(diesel::delete(old).execute(conn)?)
            })
            .await
    }

    /// Takes one back that was not accepted. `false` where there is no such.
    pub async fn withdraw(&self, id: InvitationId, note: Note) -> Result<bool, StoreError> {
        let id = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                let row = invitations::table.find(id).filter(invitations::accepted_by.is_null());
                let withdrawn = diesel::delete(row).execute(conn)? == 1;
                if withdrawn {
                    note.write(conn)?;
                }
                Ok(withdrawn)
            })
            .await
    }
}

/// The role of an invitation that works at a moment.
pub(super) fn open(conn: &mut Conn, token: Hash32, at: Timestamp) -> Result<Option<Role>, StoreError> {
    let row = invitations::table.filter(invitations::token_hash.eq(DbBytes(token.0)));
    let row = row.filter(invitations::accepted_by.is_null());
    let row = row.filter(invitations::expires_at.gt(at.as_millisecond()));
    let row = row.select((invitations::created_by, invitations::role));
    let Some((by, role)) = row.first::<(Option<DbUuid>, String)>(conn).optional()? else { return Ok(None) };
    if let Some(by) = by {
        // Who may not invite any more has not invited: what a stolen session has made ends with its account's role.
        let maker = users::table.find(by).select(users::role).first::<String>(conn)?;
        let shut = disabled::table.find(by).select(disabled::at).first::<i64>(conn).optional()?;
        if maker != Role::Admin.as_str() || shut.is_some() {
            return Ok(None);
        }
    }
    role.parse().map(Some)
}

/// Uses one up.
pub(super) fn accept(conn: &mut Conn, token: Hash32, by: UserId) -> Result<(), StoreError> {
    let row = invitations::table.filter(invitations::token_hash.eq(DbBytes(token.0)));
    diesel::update(row).set(invitations::accepted_by.eq(DbUuid::from(by.0))).execute(conn)?;
    Ok(())
}
