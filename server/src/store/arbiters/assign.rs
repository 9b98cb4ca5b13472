//! Choosing an arbiter. The one writer chooses, so two escrows that are made at once never count on the same idle arbiter.

use std::collections::{HashMap, HashSet};

use aegis_common::arbiter::{Bar, Candidate, Choice};
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::time::{SignedDuration, Timestamp};
use diesel::dsl::{exists, not, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use serde::Serialize;

use super::{ArbiterRow, OPEN, ensure, with_load};
use crate::store::Store;
use crate::store::connection::Conn;
use crate::store::dump::as_json;
use crate::store::error::StoreError;
use crate::store::schema::{arbiters, assignments, disabled, escrows, users};
use crate::store::types::{DbUuid, impossible, time};
use crate::store::users::{RawUser, Role, UserRow};

/// An assignment without an escrow counts as work for so long: the escrow is being made.
const BEING_MADE: SignedDuration = SignedDuration::from_mins(5);
/// Most arbiters that are considered.
const POOL: i64 = 5_000;

/// For whom an arbiter is sought.
#[derive(Debug, Clone)]
pub struct Sought {
    /// The escrow that is to be made.
    pub escrow: EscrowId,
    /// Now.
    pub at: Timestamp,
    /// The creator and the other.
    pub traders: [UserId; 2],
    /// The arbiter whom they named.
    pub named: Option<UserId>,
    /// The escrow whose place it takes.
    pub replaces: Option<EscrowId>,
    /// Who would not.
    pub declined: Vec<UserId>,
    /// Who was last heard before this counts as silent.
    pub silent_before: Timestamp,
    /// Cases at once of those who don't say.
    pub capacity: u32,
}

/// How the choice went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assigned {
    /// Chosen and recorded.
    To {
        /// The id that the escrow must have: the one that was sought for, or that of a choice for the same place whose escrow is
        /// being made.
        escrow: EscrowId,
        /// Who.
        arbiter: Box<UserRow>,
        /// Its fee in basis points, if it says one.
        fee_bps: Option<u16>,
    },
    /// The named one can't be had; `None`: it is no arbiter, or disabled.
    Barred(Option<Bar>),
    /// Nobody can be had.
    Nobody,
    /// Another escrow has taken that place.
    Taken(EscrowId),
}

/// A recorded choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignmentRow {
    /// The escrow.
    pub escrow_id: EscrowId,
    /// Who got it.
    pub arbiter_id: UserId,
    /// When.
    pub at: Timestamp,
    /// The escrow whose place it takes.
    pub replaces: Option<EscrowId>,
    /// What the choice rests on, as JSON.
    pub choice: String,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = assignments, treat_none_as_default_value = false)]
pub(in crate::store) struct RawAssignment {
    pub escrow_id: DbUuid,
    arbiter_id: DbUuid,
    at: i64,
    replaces: Option<DbUuid>,
    #[serde(serialize_with = "as_json")]
    choice: String,
}

impl Store {
    /// Chooses an arbiter by [`Choice`]'s rule and records what the choice rests on. An escrow's place is taken once: a choice for it
    /// whose escrow is being made is given again, and refused as busy where another arbiter is named.
    pub async fn assign(&self, sought: Sought) -> Result<Assigned, StoreError> {
        self.writer.run(move |conn| assign(conn, &sought)).await
    }

    /// The recorded choice for an escrow.
    pub async fn assignment(&self, escrow: EscrowId) -> Result<Option<AssignmentRow>, StoreError> {
        let id = DbUuid::from(escrow.0);
        self.read(move |conn, _| {
            let row = assignments::table.find(id).first::<RawAssignment>(conn).optional()?;
            let decode = |raw: RawAssignment| {
                Ok(AssignmentRow {
                    escrow_id: EscrowId(raw.escrow_id.into()),
                    arbiter_id: UserId(raw.arbiter_id.into()),
                    at: time(raw.at)?,
                    replaces: raw.replaces.map(|id| EscrowId(id.into())),
                    choice: raw.choice,
                })
            };
            row.map(decode).transpose()
        })
        .await
    }

    /// The escrow that has taken another's place, or will.
    pub async fn successor(&self, of: EscrowId) -> Result<Option<EscrowId>, StoreError> {
        let of = DbUuid::from(of.0);
        self.read(move |conn, _| {
            let row = assignments::table.filter(assignments::replaces.eq(of)).select(assignments::escrow_id);
            Ok(row.first::<DbUuid>(conn).optional()?.map(|id| EscrowId(id.into())))
        })
        .await
    }

    /// Forgets up to `limit` choices made between two moments for escrows that were never made; returns how many.
    pub async fn purge_assignments(
        &self,
        (from, to): (Timestamp, Timestamp),
        limit: usize,
    ) -> Result<usize, StoreError> {
        let (from, to) = (from.as_millisecond(), to.as_millisecond());
        self.writer
            .run(move |conn| {
                let made = escrows::table.filter(escrows::id.eq(assignments::escrow_id)).select(escrows::id);
                let old = assignments::table.filter(assignments::at.ge(from)).filter(assignments::at.lt(to));
                let old = old.filter(not(exists(made)));
                let old = old.filter(assignments::replaces.is_null()).limit(crate::store::types::page(limit));
                let old: Vec<DbUuid> = old.select(assignments::escrow_id).load(conn)?;
                let old = assignments::table.filter(assignments::escrow_id.eq_any(&old));
                Ok(diesel::delete(old).execute(conn)?)
            })
            .await
    }
}

/// Whether an escrow is the one that may take another's place.
pub(in crate::store) fn is_reserved(conn: &mut Conn, escrow: DbUuid, place: DbUuid) -> QueryResult<bool> {
    let row = assignments::table.find(escrow).select(assignments::replaces);
    Ok(row.first::<Option<DbUuid>>(conn).optional()?.flatten() == Some(place))
}

fn assign(conn: &mut Conn, sought: &Sought) -> Result<Assigned, StoreError> {
    if let Some(again) = made_before(conn, sought)? {
        return Ok(again);
    }
    let found = found(conn, sought)?;
    let choice = Choice {
        format: Choice::FORMAT,
        at: sought.at,
        traders: sought.traders,
        named: sought.named.is_some(),
        silent_before: sought.silent_before,
        considered: found.len() as u64,
        candidates: candidates(conn, sought, &found)?,
    };
    let Some(chosen) = choice.chosen().map(|chosen| chosen.user_id) else {
        let bar = choice.candidates.first().map(|candidate| choice.bar(candidate));
        return Ok(if choice.named { Assigned::Barred(bar.flatten()) } else { Assigned::Nobody });
    };
    record(conn, sought, chosen, choice)?;
    let arbiter = found.into_iter().find(|row| row.user.id == chosen);
    let arbiter = arbiter.ok_or_else(|| impossible("an arbiter was chosen who was not considered"))?;
    let fee_bps = arbiter.offer.fee_bps;
    Ok(Assigned::To { escrow: sought.escrow, arbiter: Box::new(arbiter.user), fee_bps })
}

/// A choice that was made for the same place: an escrow has one successor at most.
fn made_before(conn: &mut Conn, sought: &Sought) -> Result<Option<Assigned>, StoreError> {
    let Some(place) = sought.replaces else { return Ok(None) };
    let row = assignments::table.filter(assignments::replaces.eq(DbUuid::from(place.0)));
    let Some(raw) = row.first::<RawAssignment>(conn).optional()? else { return Ok(None) };
    let made = escrows::table.find(raw.escrow_id).select(escrows::version).first::<i64>(conn).optional()?;
    if made.is_some() {
        return Ok(Some(Assigned::Taken(EscrowId(raw.escrow_id.into()))));
    }
    if sought.at.duration_since(time(raw.at)?) > BEING_MADE {
        diesel::delete(assignments::table.find(raw.escrow_id)).execute(conn)?;
        return Ok(None);
    }
    if sought.named.is_some_and(|named| DbUuid::from(named.0) != raw.arbiter_id) {
        return Err(StoreError::Busy);
    }
    let user: Vec<RawUser> = users::table.filter(users::id.eq(raw.arbiter_id)).load(conn)?;
    let arbiter = with_load(conn, user)?.pop().ok_or_else(|| impossible("an assigned arbiter is gone"))?;
    let (escrow, fee_bps) = (EscrowId(raw.escrow_id.into()), arbiter.offer.fee_bps);
    Ok(Some(Assigned::To { escrow, arbiter: Box::new(arbiter.user), fee_bps }))
}

fn found(conn: &mut Conn, sought: &Sought) -> Result<Vec<ArbiterRow>, StoreError> {
    let shut = disabled::table.filter(disabled::user_id.eq(users::id)).select(disabled::user_id);
    let pool = users::table.filter(users::role.eq(Role::Arbiter.as_str())).filter(not(exists(shut)));
    let pool = pool.order(users::id).limit(POOL);
    let found: Vec<RawUser> = match sought.named {
        Some(id) => pool.filter(users::id.eq(DbUuid::from(id.0))).load(conn)?,
        None => pool.load(conn)?,
    };
    with_load(conn, found)
}

fn candidates(conn: &mut Conn, sought: &Sought, found: &[ArbiterRow]) -> Result<Vec<Candidate>, StoreError> {
    let (partners, being_made) = (partners(conn, sought.traders)?, being_made(conn, sought.at)?);
    Ok(found
        .iter()
        .map(|ArbiterRow { user, offer, seen_at, assigned_at, open, .. }| Candidate {
            user_id: user.id,
            username: user.username.clone(),
            open: open + being_made.get(&user.id).copied().unwrap_or(0),
            capacity: offer.capacity.unwrap_or(sought.capacity),
            idle_since: assigned_at.unwrap_or(user.created_at),
            seen_at: *seen_at,
            accepting: offer.accepting,
            trades_with_party: partners.contains(&user.id),
            declined: sought.declined.contains(&user.id),
        })
        .collect())
}

/// Everybody who trades with one of the two in an escrow that is not over.
fn partners(conn: &mut Conn, traders: [UserId; 2]) -> Result<HashSet<UserId>, StoreError> {
    let traders = traders.map(|id| DbUuid::from(id.0));
    let open = || escrows::table.filter(sql::<Bool>(OPEN));
    let sellers = open().filter(escrows::buyer_id.eq_any(traders)).select(escrows::seller_id).distinct();
    let sellers: Vec<DbUuid> = sellers.load(conn)?;
    let buyers = open().filter(escrows::seller_id.eq_any(traders)).select(escrows::buyer_id).distinct();
    let buyers: Vec<DbUuid> = buyers.load(conn)?;
    Ok(sellers.into_iter().chain(buyers).map(|id| UserId(id.into())).collect())
}

/// Choices whose escrows are being made.
fn being_made(conn: &mut Conn, at: Timestamp) -> Result<HashMap<UserId, u64>, StoreError> {
    let since = at.saturating_sub(BEING_MADE).unwrap_or(at).as_millisecond();
    let made = escrows::table.filter(escrows::id.eq(assignments::escrow_id)).select(escrows::id);
    let waiting = assignments::table.filter(assignments::at.gt(since)).filter(not(exists(made)));
    let mut counts = HashMap::new();
    for id in waiting.select(assignments::arbiter_id).load::<DbUuid>(conn)? {
        *counts.entry(UserId(id.into())).or_default() += 1;
    }
    Ok(counts)
}

fn record(conn: &mut Conn, sought: &Sought, chosen: UserId, choice: Choice) -> Result<(), StoreError> {
    let (id, at) = (DbUuid::from(chosen.0), sought.at.as_millisecond());
    let choice = serde_json::to_string(&choice.recorded()).map_err(|error| impossible(&error.to_string()))?;
    let row = RawAssignment {
        escrow_id: sought.escrow.0.into(),
        arbiter_id: id,
        at,
        replaces: sought.replaces.map(|id| id.0.into()),
        choice,
    };
    diesel::insert_into(assignments::table).values(&row).execute(conn)?;
    ensure(conn, id)?;
    diesel::update(arbiters::table.find(id)).set(arbiters::assigned_at.eq(at)).execute(conn)?;
    Ok(())
}
