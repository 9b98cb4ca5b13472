//! Accounts and their credentials.

pub(super) mod audit;
pub(super) mod backups;
pub(super) mod budgets;
pub(super) mod challenges;
pub(super) mod factors;
pub(super) mod invitations;
pub(super) mod prekeys;
pub(super) mod profiles;
pub(super) mod sessions;

use aegis_common::hash::Hash32;
use aegis_common::ids::{SessionId, UserId};
use aegis_common::time::Timestamp;
use diesel::prelude::*;

use self::audit::Note;
use self::prekeys::PrekeyRow;
use super::Store;
use super::commit::check_text;
use super::error::StoreError;
use super::schema::{disabled, reset_signatures, users};
use super::types::{DbBytes, DbUuid};
use super::users::{RawUser, Role, UserRow, insert};

/// How a registration went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// With this role.
    As(Role),
    /// The invitation is wrong, used up or too old; nothing was made.
    BadInvitation,
}

impl Store {
    /// Makes an account with its keys; an invitation is used up with it and gives the role.
    /// [`StoreError::UsernameTaken`] where the name exists in any case.
    pub async fn register(
        &self,
        user: UserRow,
        keys: Vec<PrekeyRow>,
        invitation: Option<Hash32>,
        note: Note,
    ) -> Result<Registered, StoreError> {
        check_text([&user.username, &user.password_hash, &user.payout_address])?;
        let (id, at) = (user.id, user.created_at);
        self.writer
            .run(move |conn| {
                let mut user = user.clone();
                if let Some(token) = invitation {
                    match invitations::open(conn, token, at)? {
                        Some(role) => user.role = role,
                        None => return Ok(Registered::BadInvitation),
                    }
                }
                let role = user.role;
                insert(conn, &RawUser::encode(user))?;
                prekeys::insert(conn, id, &keys, at)?;
                if let Some(token) = invitation {
                    invitations::accept(conn, token, id)?;
                }
                note.write(conn)?;
                Ok(Registered::As(role))
            })
            .await
    }

    /// Changes where an account is paid from now on. `false` where there is no such account.
    pub async fn set_payout_address(
        &self,
        id: UserId,
        address: String,
        note: Note,
    ) -> Result<bool, StoreError> {
        check_text([&address])?;
        let id = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                let row = diesel::update(users::table.find(id));
                let changed = row.set(users::payout_address.eq(&address)).execute(conn)? == 1;
                if changed {
                    note.write(conn)?;
                }
                Ok(changed)
            })
            .await
    }

    /// Changes what an account may do. `false` where there is no such account.
    pub async fn set_role(&self, id: UserId, role: Role, note: Note) -> Result<bool, StoreError> {
        let id = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                let row = users::table.find(id);
                if row.select(users::id).first::<DbUuid>(conn).optional()?.is_none() {
                    return Ok(false);
                }
                // First: it may be one's own role.
                note.write(conn)?;
                diesel::update(row).set(users::role.eq(role.as_str())).execute(conn)?;
                Ok(true)
            })
            .await
    }

    /// Stores a new hash in the place of `was`, and ends all logins but one. `None` where another hash is stored by now.
    pub async fn set_password(
        &self,
        id: UserId,
        was: String,
        hash: String,
        but: Option<SessionId>,
        note: Note,
    ) -> Result<Option<Vec<SessionId>>, StoreError> {
        let key = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                let row = users::table.find(key).filter(users::password_hash.eq(&was));
                if diesel::update(row).set(users::password_hash.eq(&hash)).execute(conn)? == 0 {
                    return Ok(None);
                }
                note.write(conn)?;
                sessions::end_logins(conn, id, but).map(Some)
            })
            .await
    }

    /// The same password under other parameters. Nothing happens where another hash is stored by now.
    pub async fn rehash_password(&self, id: UserId, was: String, hash: String) -> Result<(), StoreError> {
        let id = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                let row = users::table.find(id).filter(users::password_hash.eq(&was));
                diesel::update(row).set(users::password_hash.eq(&hash)).execute(conn)?;
                Ok(())
            })
            .await
    }

    /// Stores a new hash on a signature's word, which is used up, and ends all logins and API keys. `None` where it was used before.
    pub async fn reset_password(
        &self,
        id: UserId,
        hash: String,
        signature: Hash32,
        signed_at: Timestamp,
        note: Note,
    ) -> Result<Option<Vec<SessionId>>, StoreError> {
        let key = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                let used = reset_signatures::table.find(DbBytes(signature.0)).select(reset_signatures::at);
                if used.first::<i64>(conn).optional()?.is_some() {
                    return Ok(None);
                }
                let row = (
                    reset_signatures::hash.eq(DbBytes(signature.0)),
                    reset_signatures::at.eq(signed_at.as_millisecond()),
                );
                diesel::insert_into(reset_signatures::table).values(row).execute(conn)?;
                let user = diesel::update(users::table.find(key));
                user.set(users::password_hash.eq(&hash)).execute(conn)?;
                note.write(conn)?;
                sessions::end_all(conn, id).map(Some)
            })
            .await
    }

    /// Keeps an account from being used, and ends all its logins and API keys; or lets it be used again.
    pub async fn set_disabled(
        &self,
        id: UserId,
        disable: bool,
        note: Note,
    ) -> Result<Vec<SessionId>, StoreError> {
        let key = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                // First: it may be one's own account.
                note.write(conn)?;
                diesel::delete(disabled::table.find(key)).execute(conn)?;
                let mut ended = Vec::new();
                if disable {
                    let row = (disabled::user_id.eq(key), disabled::at.eq(note.at.as_millisecond()));
                    diesel::insert_into(disabled::table).values(row).execute(conn)?;
                    ended = sessions::end_all(conn, id)?;
                }
                Ok(ended)
            })
            .await
    }

    /// Whether an account can't be used for the time being.
    pub async fn is_disabled(&self, id: UserId) -> Result<bool, StoreError> {
        let key = DbUuid::from(id.0);
        self.read(move |conn, _| {
            let row = disabled::table.find(key).select(disabled::at).first::<i64>(conn).optional()?;
            Ok(row.is_some())
        })
        .await
    }
}
