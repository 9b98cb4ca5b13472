//! What lists of escrows are read from: a narrow row for each party, kept by every commit, and the words of titles.
//!
//! A row stands in three indexes, each of which begins with user, part and status and goes on in the order of one sort. A list
//! is the merger of as many stretches as it has parts and statuses, so that no page costs more than its own rows; see
//! [`stretches`]. What no index can say in order, words and another party, is looked up first where few escrows have it, and
//! tested row by row where many do; see [`page`].

mod backfill;
mod page;
mod stretches;
mod writes;

use aegis_common::amount::Piconero;
use aegis_common::escrow::state::Status;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::role::Role;
use aegis_common::time::Timestamp;
use aegis_common::wire::list::{Direction, EscrowSort};
use diesel::prelude::*;
use serde::Serialize;
use uuid::Uuid;

pub(super) use self::writes::{Entry, follow, open};
use super::error::StoreError;
use super::types::{DbUuid, impossible};

/// Which of a user's escrows to list. What is empty or `None` lets everything through.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// The user's part.
    pub role: Option<Role>,
    /// Where they are in their lives.
    pub statuses: Vec<Status>,
    /// Another party.
    pub participant: Option<UserId>,
    /// Words of the title in lower case, made of letters and digits; the last one may go on.
    pub words: Vec<String>,
    /// Created at this moment or later.
    pub created_from: Option<Timestamp>,
    /// Created before this moment.
    pub created_to: Option<Timestamp>,
    /// The least price.
    pub amount_min: Option<Piconero>,
    /// The highest price.
    pub amount_max: Option<Piconero>,
}

/// The order of a list: by a key, then by the time of creation, then by the id, all in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListOrder {
    /// The key.
    pub sort: EscrowSort,
    /// Which end comes first.
    pub direction: Direction,
}

/// A place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPosition {
    /// Unix milliseconds, piconero, or the status' place in an escrow's life, by the order of the list.
    pub key: i64,
    /// Unix milliseconds.
    pub created: i64,
    /// The escrow.
    pub id: Uuid,
}

/// An escrow in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEscrow {
    /// Where it stands in the list.
    pub at: ListPosition,
    /// Which escrow.
    pub id: EscrowId,
    /// The user's part.
    pub role: Role,
    /// The version of the snapshot.
    pub version: i64,
    /// The whole state as JSON.
    pub snapshot: String,
    /// When it last changed.
    pub updated_at: Timestamp,
}

#[derive(Queryable, Serialize)]
pub(super) struct RawListEntry {
    pub user_id: DbUuid,
    pub escrow_id: DbUuid,
    role: i32,
    status: i32,
    amount: i64,
    created_at: i64,
    updated_at: i64,
    words: Option<String>,
}

#[derive(Queryable, Serialize)]
pub(super) struct RawTitleWord {
    pub user_id: DbUuid,
    pub word: String,
    pub escrow_id: DbUuid,
}

/// A part as it is stored: its place among all.
fn role_place(role: Role) -> i32 {
    Role::ALL.iter().zip(0..).find(|(known, _)| **known == role).map_or(0, |(_, place)| place)
}

/// A status as it is stored: its place in an escrow's life. The migration that fills the table says the same.
fn status_place(status: Status) -> i32 {
    Status::ALL.iter().zip(0..).find(|(known, _)| **known == status).map_or(0, |(_, place)| place)
}

fn role_at(place: i32) -> Result<Role, StoreError> {
    let role = usize::try_from(place).ok().and_then(|place| Role::ALL.get(place).copied());
    role.ok_or_else(|| impossible("an unknown part"))
}

fn status_at(place: i32) -> Result<Status, StoreError> {
    let status = usize::try_from(place).ok().and_then(|place| Status::ALL.get(place).copied());
    status.ok_or_else(|| impossible("an unknown status"))
}
