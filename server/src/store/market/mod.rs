//! Listings, orders, reviews.

pub(super) mod follow;
pub(super) mod listings;
pub(super) mod orders;
pub(super) mod reviews;
mod search;

use std::collections::HashMap;

use aegis_common::ids::UserId;
use diesel::prelude::*;

use super::connection::Conn;
use super::error::StoreError;
use super::schema::users;
use super::types::{DbUuid, impossible};

/// How a change of something with a version went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It is done.
    Done,
    /// There is no such thing.
    Missing,
    /// It is at another version by now.
    Stale {
        /// At which.
        actual: i64,
    },
    /// Its state does not allow it.
    Over,
    /// There would be fewer pieces than none, or more than a listing may have.
    OutOfStock,
}

/// The names of accounts.
struct Names(HashMap<uuid::Uuid, String>);

impl Names {
    /// Those of these ids.
    fn load(conn: &mut Conn, ids: impl IntoIterator<Item = DbUuid>) -> Result<Self, StoreError> {
        let ids: Vec<DbUuid> = ids.into_iter().collect();
        let rows = users::table.filter(users::id.eq_any(&ids)).select((users::id, users::username));
        let rows: Vec<(DbUuid, String)> = rows.load(conn)?;
        Ok(Self(rows.into_iter().map(|(id, name)| (id.into(), name)).collect()))
    }

    fn of(&self, id: UserId) -> Result<String, StoreError> {
        self.0.get(&id.0).cloned().ok_or_else(|| impossible("an account without a name"))
    }
}
