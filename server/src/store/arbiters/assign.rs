//! Choosing an arbiter. The one writer chooses, so two escrows that are made at once never count on the same idle arbiter.

use std::collections::HashSet;

use aegis_common::arbiter::{Bar, Candidate, Choice};
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::time::{SignedDuration, Timestamp};
use diesel::dsl::{count_star, exists, not, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use serde::Serialize;

use super::{ArbiterRow, OPEN, ensure, with_load};
use crate::store::Store;
use crate::store::connection::Conn;
use crate::store::dump::as_json;
use crate::store::error::StoreError;
use crate::store::schema::{arbiters, assignments, disabled, escrows, users, vacancies};
use crate::store::types::{DbUuid, impossible, natural, time};
use crate::store::users::{RawUser, Role, UserRow};

/// An assignment without an escrow counts as work for so long: the escrow is being made.
const BEING_MADE: SignedDuration = SignedDuration::from_mins(5);
/// Most arbiters that are considered.
const POOL: i64 = 5_000;
/// In the words of the partial index: only so is it used.
const UNFUNDED: &str = "status = 'PENDING_FUNDING'";

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
    /// Escrows that one person may have begun that are not paid for. One that takes another's place is not one more.
    pub most_unfunded: u32,
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
    /// One of the traders is the arbiter of the other in an escrow that is not over.
    Conflict,
    /// The creator has begun as many that are not paid for as it may.
    TooMany,
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
    creator_id: DbUuid,
    other_id: DbUuid,
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
    let making = Making::load(conn, sought.at, None)?;
    if is_one_more(conn, sought.replaces)?
        && unfunded(conn, sought, &making)? >= u64::from(sought.most_unfunded)
    {
        return Ok(Assigned::TooMany);
    }
    if arbitrates(conn, sought, &making)? {
        return Ok(Assigned::Conflict);
    }
    let found = found(conn, sought.named)?;
    let choice = choice(conn, sought, &found, &making)?;
    let Some(chosen) = choice.chosen().map(|chosen| chosen.user_id) else {
        let bar = choice.candidates.first().map(|candidate| choice.bar(candidate));
        return Ok(if choice.named { Assigned::Barred(bar.flatten()) } else { Assigned::Nobody });
    };
    record(conn, sought, chosen, choice)?;
    assigned(sought.escrow, chosen, found)
}

fn assigned(escrow: EscrowId, chosen: UserId, found: Vec<ArbiterRow>) -> Result<Assigned, StoreError> {
    let arbiter = found.into_iter().find(|row| row.user.id == chosen);
    let arbiter = arbiter.ok_or_else(|| impossible("an arbiter was chosen who was not considered"))?;
    let fee_bps = arbiter.offer.fee_bps;
    Ok(Assigned::To { escrow, arbiter: Box::new(arbiter.user), fee_bps })
}

/// A choice that was made for the same place: an escrow has one successor at most. It is given again for the same traders while its
/// arbiter can be had; otherwise it is forgotten, and whoever makes an escrow of it is refused.
fn made_before(conn: &mut Conn, sought: &Sought) -> Result<Option<Assigned>, StoreError> {
    let Some(place) = sought.replaces else { return Ok(None) };
    let row = assignments::table.filter(assignments::replaces.eq(DbUuid::from(place.0)));
    let Some(raw) = row.first::<RawAssignment>(conn).optional()? else { return Ok(None) };
    let made = escrows::table.find(raw.escrow_id).select(escrows::version).first::<i64>(conn).optional()?;
    let escrow = EscrowId(raw.escrow_id.into());
    if made.is_some() {
        return Ok(Some(Assigned::Taken(escrow)));
    }
    let is_fresh = sought.at.duration_since(time(raw.at)?) <= BEING_MADE;
    if is_fresh && [raw.creator_id, raw.other_id] == sought.traders.map(|id| DbUuid::from(id.0)) {
        let arbiter = UserId(raw.arbiter_id.into());
        if sought.named.is_some_and(|named| named != arbiter) {
            return Err(StoreError::Busy);
        }
        let making = Making::load(conn, sought.at, Some(raw.escrow_id))?;
        let found = found(conn, Some(arbiter))?;
        let again = choice(conn, sought, &found, &making)?;
        if again.chosen().is_some() && !arbitrates(conn, sought, &making)? {
            return assigned(escrow, arbiter, found).map(Some);
        }
    }
    diesel::delete(assignments::table.find(raw.escrow_id)).execute(conn)?;
    Ok(None)
}

fn found(conn: &mut Conn, named: Option<UserId>) -> Result<Vec<ArbiterRow>, StoreError> {
    let shut = disabled::table.filter(disabled::user_id.eq(users::id)).select(disabled::user_id);
    let pool = users::table.filter(users::role.eq(Role::Arbiter.as_str())).filter(not(exists(shut)));
    let pool = pool.order(users::id).limit(POOL);
    let found: Vec<RawUser> = match named {
        Some(id) => pool.filter(users::id.eq(DbUuid::from(id.0))).load(conn)?,
        None => pool.load(conn)?,
    };
    with_load(conn, found)
}

fn choice(
    conn: &mut Conn,
    sought: &Sought,
    found: &[ArbiterRow],
    making: &Making,
) -> Result<Choice, StoreError> {
    let partners = partners(conn, sought.traders, making)?;
    let candidates =
        found.iter().map(|ArbiterRow { user, offer, seen_at, assigned_at, open, .. }| Candidate {
            user_id: user.id,
            username: user.username.clone(),
            open: open + making.count(|escrow| escrow.arbiter == user.id),
            capacity: offer.capacity.unwrap_or(sought.capacity),
            idle_since: assigned_at.unwrap_or(user.created_at),
            seen_at: *seen_at,
            accepting: offer.accepting,
            trades_with_party: partners.contains(&user.id),
            declined: sought.declined.contains(&user.id),
        });
    Ok(Choice {
        format: Choice::FORMAT,
        at: sought.at,
        traders: sought.traders,
        named: sought.named.is_some(),
        silent_before: sought.silent_before,
        considered: found.len() as u64,
        candidates: candidates.collect(),
    })
}

/// Whether an escrow is one more of those that are begun: not where it takes the place of one that counts, or of one whose arbiter
/// would not.
fn is_one_more(conn: &mut Conn, replaces: Option<EscrowId>) -> QueryResult<bool> {
    let Some(place) = replaces.map(|id| DbUuid::from(id.0)) else { return Ok(true) };
    let begun = escrows::table.find(place).filter(sql::<Bool>(UNFUNDED)).select(escrows::id);
    let vacant = vacancies::table.find(place).select(vacancies::escrow_id);
    let counts = begun.first::<DbUuid>(conn).optional()?.is_some();
    Ok(!counts && vacant.first::<DbUuid>(conn).optional()?.is_none())
}

/// How many escrows the creator has begun that are not paid for, those that are being made among them.
fn unfunded(conn: &mut Conn, sought: &Sought, making: &Making) -> Result<u64, StoreError> {
    let [creator, _] = sought.traders;
    let begun = escrows::table.filter(escrows::creator_id.eq(DbUuid::from(creator.0)));
    let begun = natural(begun.filter(sql::<Bool>(UNFUNDED)).select(count_star()).first(conn)?)?;
    Ok(begun + making.count(|escrow| escrow.traders.first() == Some(&creator)))
}

/// Whether one of the two is to arbitrate for the other in an escrow that is not over, the one that is to be replaced aside.
fn arbitrates(conn: &mut Conn, sought: &Sought, making: &Making) -> Result<bool, StoreError> {
    let [one, other] = sought.traders;
    let old = sought.replaces.map_or(DbUuid::from(uuid::Uuid::nil()), |id| id.0.into());
    for (arbiter, trader) in [(one, other), (other, one)] {
        let (arbiter_id, trader_id) = (DbUuid::from(arbiter.0), DbUuid::from(trader.0));
        // One query a part, each answered by its own index.
        let open = || escrows::table.filter(sql::<Bool>(OPEN)).filter(escrows::arbiter_id.eq(arbiter_id));
        let open = || open().filter(escrows::id.ne(old)).select(escrows::id);
        let buys = open().filter(escrows::buyer_id.eq(trader_id)).first::<DbUuid>(conn).optional()?;
        let sells = open().filter(escrows::seller_id.eq(trader_id)).first::<DbUuid>(conn).optional()?;
        let begun = making.count(|escrow| escrow.arbiter == arbiter && escrow.traders.contains(&trader));
        if buys.is_some() || sells.is_some() || begun > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Everybody who trades with one of the two in an escrow that is not over, or is being made.
fn partners(conn: &mut Conn, traders: [UserId; 2], making: &Making) -> Result<HashSet<UserId>, StoreError> {
    let ids = traders.map(|id| DbUuid::from(id.0));
    let open = || escrows::table.filter(sql::<Bool>(OPEN));
    let sellers = open().filter(escrows::buyer_id.eq_any(ids)).select(escrows::seller_id).distinct();
    let sellers: Vec<DbUuid> = sellers.load(conn)?;
    let buyers = open().filter(escrows::seller_id.eq_any(ids)).select(escrows::buyer_id).distinct();
    let buyers: Vec<DbUuid> = buyers.load(conn)?;
    let known = sellers.into_iter().chain(buyers).map(|id| UserId(id.into()));
    Ok(known.chain(making.with(traders)).collect())
}

/// Choices whose escrows are being made.
struct Making(Vec<Begun>);

struct Begun {
    arbiter: UserId,
    /// The creator and the other.
    traders: [UserId; 2],
}

impl Making {
    /// All but one.
    fn load(conn: &mut Conn, at: Timestamp, without: Option<DbUuid>) -> Result<Self, StoreError> {
        let since = at.saturating_sub(BEING_MADE).unwrap_or(at).as_millisecond();
        let made = escrows::table.filter(escrows::id.eq(assignments::escrow_id)).select(escrows::id);
        let rows = assignments::table.filter(assignments::at.gt(since)).filter(not(exists(made)));
        let rows: Vec<RawAssignment> = rows.load(conn)?;
        let rows = rows.into_iter().filter(|row| Some(row.escrow_id) != without);
        let begun = rows.map(|row| Begun {
            arbiter: UserId(row.arbiter_id.into()),
            traders: [row.creator_id, row.other_id].map(|id| UserId(id.into())),
        });
        Ok(Self(begun.collect()))
    }

    fn count(&self, is_so: impl Fn(&Begun) -> bool) -> u64 {
        self.0.iter().filter(|begun| is_so(begun)).count() as u64
    }

    /// Those who trade with one of the two.
    fn with(&self, [one, other]: [UserId; 2]) -> impl Iterator<Item = UserId> {
        let is_one = move |user: &UserId| [one, other].contains(user);
        let theirs = self.0.iter().filter(move |begun| begun.traders.iter().any(is_one));
        theirs.flat_map(|begun| begun.traders)
    }
}

fn record(conn: &mut Conn, sought: &Sought, chosen: UserId, choice: Choice) -> Result<(), StoreError> {
    let (id, at) = (DbUuid::from(chosen.0), sought.at.as_millisecond());
    let [creator, other] = sought.traders;
    let choice = serde_json::to_string(&choice.recorded()).map_err(|error| impossible(&error.to_string()))?;
    let row = RawAssignment {
        escrow_id: sought.escrow.0.into(),
        arbiter_id: id,
        creator_id: creator.0.into(),
        other_id: other.0.into(),
        at,
        replaces: sought.replaces.map(|id| id.0.into()),
        choice,
    };
    diesel::insert_into(assignments::table).values(&row).execute(conn)?;
    ensure(conn, id)?;
    diesel::update(arbiters::table.find(id)).set(arbiters::assigned_at.eq(at)).execute(conn)?;
    Ok(())
}
