//! Arbiters: what they say of themselves, how busy they are, whom the server chose, and whose place is vacant.

pub(super) mod assign;
pub(super) mod disputes;
pub(super) mod standby;
pub(super) mod vacancies;

use std::collections::HashMap;

use aegis_common::ids::UserId;
use aegis_common::time::Timestamp;
use diesel::dsl::{count_star, exists, not, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use serde::Serialize;

use super::Store;
use super::accounts::audit::Note;
use super::commit::check_text;
use super::connection::Conn;
use super::error::StoreError;
use super::schema::{arbiters, disabled, escrows, users};
use super::types::{DbUuid, impossible, natural, page, time};
use super::users::{RawUser, Role, UserRow};

/// An escrow that is not over, in the words of the partial indexes: only so does a query use them.
pub(super) const OPEN: &str =
    "status NOT IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT', 'EXPIRED', 'CANCELLED')";

/// What an arbiter says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// About itself.
    pub about: String,
    /// Language tags.
    pub languages: Vec<String>,
    /// Basis points; the operator's where `None`.
    pub fee_bps: Option<u16>,
    /// Cases at once; the operator's number where `None`.
    pub capacity: Option<u32>,
    /// Whether it takes on new ones.
    pub accepting: bool,
}

/// An arbiter, what it offers, and how busy it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArbiterRow {
    /// Its account.
    pub user: UserRow,
    /// What it says of itself.
    pub offer: Offer,
    /// When its program was last heard; when it registered, before.
    pub seen_at: Timestamp,
    /// When it was last assigned an escrow.
    pub assigned_at: Option<Timestamp>,
    /// Its escrows that are not over, disputed ones among them.
    pub open: u64,
    /// Of these, how many are disputed.
    pub disputed: u64,
}

#[derive(Debug, Clone, Queryable, Insertable, Serialize)]
#[diesel(table_name = arbiters, treat_none_as_default_value = false)]
pub(super) struct RawArbiter {
    pub user_id: DbUuid,
    about: String,
    languages: String,
    fee_bps: Option<i32>,
    capacity: Option<i32>,
    accepting: bool,
    seen_at: i64,
    assigned_at: Option<i64>,
}

impl RawArbiter {
    /// As one counts who has said nothing yet.
    fn new(user: DbUuid, at: i64) -> Self {
        Self {
            user_id: user,
            about: String::new(),
            languages: String::new(),
            fee_bps: None,
            capacity: None,
            accepting: true,
            seen_at: at,
            assigned_at: None,
        }
    }

    fn offer(&self) -> Result<Offer, StoreError> {
        let number = |value: i32| u32::try_from(value).map_err(|_| impossible("a negative capacity"));
        let bps = |value: i32| u16::try_from(value).map_err(|_| impossible("a fee beyond its bounds"));
        Ok(Offer {
            about: self.about.clone(),
            languages: self.languages.split_whitespace().map(str::to_owned).collect(),
            fee_bps: self.fee_bps.map(bps).transpose()?,
            capacity: self.capacity.map(number).transpose()?,
            accepting: self.accepting,
        })
    }
}

/// Escrows by arbiter, of those that are not over: all, or those that are disputed.
fn counts(conn: &mut Conn, of: &[DbUuid], disputed: bool) -> QueryResult<HashMap<[u8; 16], i64>> {
    let open = escrows::table.filter(sql::<Bool>(OPEN)).filter(escrows::arbiter_id.eq_any(of));
    let rows: Vec<(DbUuid, i64)> = if disputed {
        let open = open.filter(escrows::status.eq("DISPUTED")).group_by(escrows::arbiter_id);
        open.select((escrows::arbiter_id, count_star())).load(conn)?
    } else {
        open.group_by(escrows::arbiter_id).select((escrows::arbiter_id, count_star())).load(conn)?
    };
    Ok(rows.into_iter().map(|(id, count)| (id.0, count)).collect())
}

/// Arbiters that are not disabled, with what they offer and how busy they are.
fn with_load(conn: &mut Conn, found: Vec<RawUser>) -> Result<Vec<ArbiterRow>, StoreError> {
    let ids: Vec<DbUuid> = found.iter().map(|user| user.id).collect();
    let said: Vec<RawArbiter> = arbiters::table.filter(arbiters::user_id.eq_any(&ids)).load(conn)?;
    let mut said: HashMap<[u8; 16], RawArbiter> = said.into_iter().map(|row| (row.user_id.0, row)).collect();
    let (open, disputed) = (counts(conn, &ids, false)?, counts(conn, &ids, true)?);
    let count = |of: &HashMap<[u8; 16], i64>, id: &DbUuid| natural(of.get(&id.0).copied().unwrap_or(0));
    let rows = found.into_iter().map(|raw| {
        let id = raw.id;
        let user = raw.decode()?;
        let registered = user.created_at.as_millisecond();
        let said = said.remove(&id.0).unwrap_or_else(|| RawArbiter::new(id, registered));
        Ok(ArbiterRow {
            offer: said.offer()?,
            seen_at: time(said.seen_at)?,
            assigned_at: said.assigned_at.map(time).transpose()?,
            open: count(&open, &id)?,
            disputed: count(&disputed, &id)?,
            user,
        })
    });
    rows.collect()
}

/// Writes an arbiter's row where there is none.
fn ensure(conn: &mut Conn, user: DbUuid) -> Result<(), StoreError> {
    let known = arbiters::table.find(user).select(arbiters::user_id).first::<DbUuid>(conn).optional()?;
    if known.is_none() {
        let at = users::table.find(user).select(users::created_at).first::<i64>(conn)?;
        diesel::insert_into(arbiters::table).values(RawArbiter::new(user, at)).execute(conn)?;
    }
    Ok(())
}

impl Store {
    /// Arbiters that are not disabled, in order of id, beginning after `after`.
    pub async fn arbiters(&self, after: Option<UserId>, limit: usize) -> Result<Vec<ArbiterRow>, StoreError> {
        let after = after.map_or(DbUuid::from(uuid::Uuid::nil()), |id| id.0.into());
        self.read(move |conn, _| {
            let shut = disabled::table.filter(disabled::user_id.eq(users::id)).select(disabled::user_id);
            let query = users::table.filter(users::role.eq(Role::Arbiter.as_str())).filter(not(exists(shut)));
            let query = query.filter(users::id.gt(after)).order(users::id).limit(page(limit));
            let found = query.load(conn)?;
            with_load(conn, found)
        })
        .await
    }

    /// One arbiter by name, in any case; `None` where nobody of that name is one, or it is disabled.
    pub async fn arbiter_by_name(&self, username: &str) -> Result<Option<ArbiterRow>, StoreError> {
        let name = username.to_lowercase();
        check_text([&name])?;
        self.read(move |conn, _| {
            let shut = disabled::table.filter(disabled::user_id.eq(users::id)).select(disabled::user_id);
            let query = users::table.filter(users::role.eq(Role::Arbiter.as_str())).filter(not(exists(shut)));
            let found: Vec<RawUser> = query.filter(users::username_lower.eq(name)).load(conn)?;
            Ok(with_load(conn, found)?.pop())
        })
        .await
    }

    /// Stores what an arbiter says of itself.
    pub async fn set_offer(&self, user: UserId, offer: Offer, note: Note) -> Result<(), StoreError> {
        let languages = offer.languages.join(" ");
        check_text([&offer.about, &languages])?;
        let id = DbUuid::from(user.0);
        let capacity = offer.capacity.map(i32::try_from).transpose();
        let capacity = capacity.map_err(|_| impossible("a capacity beyond 2^31"))?;
        self.writer
            .run(move |conn| {
                ensure(conn, id)?;
                let row = diesel::update(arbiters::table.find(id));
                row.set((
                    arbiters::about.eq(&offer.about),
                    arbiters::languages.eq(&languages),
                    arbiters::fee_bps.eq(offer.fee_bps.map(i32::from)),
                    arbiters::capacity.eq(capacity),
                    arbiters::accepting.eq(offer.accepting),
                ))
                .execute(conn)?;
                note.write(conn)
            })
            .await
    }

    /// Whether somebody is the arbiter of an escrow that is not over.
    pub async fn has_cases(&self, user: UserId) -> Result<bool, StoreError> {
        let id = DbUuid::from(user.0);
        self.read(move |conn, _| {
            let case = escrows::table.filter(sql::<Bool>(OPEN)).filter(escrows::arbiter_id.eq(id));
            Ok(case.select(escrows::id).first::<DbUuid>(conn).optional()?.is_some())
        })
        .await
    }

    /// An arbiter's program was heard.
    pub async fn heard(&self, user: UserId, at: Timestamp) -> Result<(), StoreError> {
        let (id, at) = (DbUuid::from(user.0), at.as_millisecond());
        self.writer
            .run(move |conn| {
                ensure(conn, id)?;
                let row = arbiters::table.find(id).filter(arbiters::seen_at.lt(at));
                diesel::update(row).set(arbiters::seen_at.eq(at)).execute(conn)?;
                Ok(())
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use aegis_common::escrow::state::Status;

    use super::*;

    #[test]
    fn what_is_not_over_is_open() {
        let over: Vec<_> =
            Status::ALL.into_iter().filter(|status| status.is_over()).map(Status::wire).collect();
        assert_eq!(OPEN, format!("status NOT IN ('{}')", over.join("', '")));
    }
}
