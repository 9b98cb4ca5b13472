//! Accounts.

use std::fmt;
use std::str::FromStr;

use aegis_common::hash::Key32;
use aegis_common::ids::UserId;
use aegis_common::time::Timestamp;
use diesel::prelude::*;
use serde::Serialize;

use super::Store;
use super::commit::check_text;
use super::connection::Conn;
use super::error::StoreError;
use super::schema::users;
use super::types::{DbBytes, DbHash, DbUuid, impossible, time};

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Trades.
    User,
    /// Trades and can be chosen to rule.
    Arbiter,
    /// Runs the server day to day.
    Operator,
    /// Everything, appointing operators included.
    Admin,
}

impl Role {
    const ALL: [Self; 4] = [Self::User, Self::Arbiter, Self::Operator, Self::Admin];

    /// The name that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Arbiter => "arbiter",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = StoreError;
    fn from_str(text: &str) -> Result<Self, StoreError> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| impossible("an unknown role"))
    }
}

/// An account.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRow {
    /// Its id.
    pub id: UserId,
    /// As given; unique without regard to case. 1 to 64 characters.
    pub username: String,
    /// PHC string.
    pub password_hash: String,
    /// What it may do.
    pub role: Role,
    /// Public X25519 key.
    pub identity_key: Key32,
    /// Public Ed25519 key.
    pub signing_key: Key32,
    /// Where payouts go.
    pub payout_address: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Neither password hash nor address belongs in a log.
impl fmt::Debug for UserRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRow").field("id", &self.id).field("role", &self.role).finish_non_exhaustive()
    }
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = users)]
pub(super) struct RawUser {
    pub id: DbUuid,
    username: String,
    username_lower: String,
    password_hash: String,
    role: String,
    identity_key: DbHash,
    signing_key: DbHash,
    payout_address: String,
    created_at: i64,
}

impl RawUser {
    pub fn encode(row: UserRow) -> Self {
        Self {
            id: row.id.0.into(),
            username_lower: row.username.to_lowercase(),
            username: row.username,
            password_hash: row.password_hash,
            role: row.role.as_str().to_owned(),
            identity_key: DbBytes(row.identity_key.0),
            signing_key: DbBytes(row.signing_key.0),
            payout_address: row.payout_address,
            created_at: row.created_at.as_millisecond(),
        }
    }

    pub fn decode(self) -> Result<UserRow, StoreError> {
        Ok(UserRow {
            id: UserId(self.id.into()),
            username: self.username,
            password_hash: self.password_hash,
            role: self.role.parse()?,
            identity_key: Key32(self.identity_key.0),
            signing_key: Key32(self.signing_key.0),
            payout_address: self.payout_address,
            created_at: time(self.created_at)?,
        })
    }
}

impl Store {
    /// Makes an account. [`StoreError::UsernameTaken`] where the name exists in any case,
    /// [`StoreError::Duplicate`] where the id does.
    pub async fn insert_user(&self, user: UserRow) -> Result<(), StoreError> {
        check_text([&user.username, &user.password_hash, &user.payout_address])?;
        let raw = RawUser::encode(user);
        self.writer.run(move |conn| insert(conn, &raw)).await
    }

    /// One account by id.
    pub async fn user(&self, id: UserId) -> Result<Option<UserRow>, StoreError> {
        let id = DbUuid::from(id.0);
        self.read(move |conn, _| {
            let row = users::table.find(id).first::<RawUser>(conn).optional()?;
            row.map(RawUser::decode).transpose()
        })
        .await
    }

    /// One account by name, in any case.
    pub async fn user_by_name(&self, username: &str) -> Result<Option<UserRow>, StoreError> {
        let name = username.to_lowercase();
        check_text([&name])?;
        self.read(move |conn, _| {
            let row =
                users::table.filter(users::username_lower.eq(name)).first::<RawUser>(conn).optional()?;
            row.map(RawUser::decode).transpose()
        })
        .await
    }
}

/// [`StoreError::UsernameTaken`] where the name exists in any case.
pub(super) fn insert(conn: &mut Conn, raw: &RawUser) -> Result<(), StoreError> {
    let same_name = users::table.filter(users::username_lower.eq(&raw.username_lower));
    if same_name.select(users::id).first::<DbUuid>(conn).optional()?.is_some() {
        return Err(StoreError::UsernameTaken);
    }
    diesel::insert_into(users::table).values(raw).execute(conn)?;
    Ok(())
}
