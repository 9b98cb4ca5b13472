//! Reading lists: which escrows come into question at all, where that is known to be few, and then a page of them.

use std::collections::HashSet;

use aegis_common::escrow::state::Status;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::role::Role;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Text};

use super::stretches::Page;
use super::{
    ListFilter, ListOrder, ListPosition, ListedEscrow, role_at, role_place, status_at, status_place,
};
use crate::store::Store;
use crate::store::connection::Conn;
use crate::store::dialect::{self, native};
use crate::store::error::StoreError;
use crate::store::schema::title_words;
use crate::store::types::{DbUuid, natural, page, time};
use crate::store::written::{Rows, Written};

/// Up to so many escrows with a word, or with another party, are looked up and sorted. Where more have it, so many of a list
/// do that a page is soon full when row after row is tested: of 50,000 escrows, 25 for each that is found.
const FEW: usize = 2_000;

/// Escrows of one part and status that are counted; more are not told apart.
pub const COUNTED: i64 = 10_000;

type Columns = (BigInt, BigInt, Binary, Integer, BigInt, Text, BigInt);
type Row = (i64, i64, DbUuid, i32, i64, String, i64);

impl Store {
    /// A page of a user's escrows in an order, behind the position `after`; at most `limit`. Every word must be one of letters
    /// and digits.
    pub async fn list(
        &self,
        user: UserId,
        filter: ListFilter,
        order: ListOrder,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<ListedEscrow>, StoreError> {
        self.read(move |conn, _| {
            let Some(page) = prepare(conn, user, &filter, order, after, limit)? else {
                return Ok(Vec::new());
            };
            let Some(query) = page.query("") else { return Ok(Vec::new()) };
            let rows: Vec<Row> = native!(conn, c => Rows::<Columns>::of(query).load(c))?;
            let mut listed = rows.into_iter().map(decode).collect::<Result<Vec<_>, _>>()?;
            // The page was cut in order; its escrows were then looked up in any.
            listed.sort_unstable_by_key(|row| row.at);
            if order.direction == aegis_common::wire::list::Direction::Desc {
                listed.reverse();
            }
            Ok(listed)
        })
        .await
    }

    /// How the database goes about a page, in its own words: for whoever wonders why a list is slow.
    pub async fn list_plan(
        &self,
        user: UserId,
        filter: ListFilter,
        order: ListOrder,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        self.read(move |conn, _| {
            let page = prepare(conn, user, &filter, order, after, limit)?;
            let query = page.and_then(|page| page.query(dialect::explain(conn)));
            Ok(query.map_or(Ok(Vec::new()), |query| dialect::plan(conn, query))?)
        })
        .await
    }

    /// How many escrows a user has, by part and status: up to [`COUNTED`] of each.
    pub async fn list_counts(&self, user: UserId) -> Result<Vec<(Role, Status, u64)>, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, _| {
            let mut query = Written::new("");
            let places = Role::ALL.into_iter().flat_map(|role| Status::ALL.map(|status| (role, status)));
            for (index, (role, status)) in places.enumerate() {
                let (role, status) = (role_place(role), status_place(status));
                query.sql(if index > 0 { " UNION ALL SELECT " } else { "SELECT " }).int(role);
                query
                    .sql(" AS role, ")
                    .int(status)
                    .sql(" AS status, count(*) FROM (SELECT 1 FROM escrow_list");
                query.sql(" WHERE user_id = ").id(user).sql(" AND role = ").int(role);
                query.sql(" AND status = ").int(status).sql(" LIMIT ").big(COUNTED).sql(") AS counted");
            }
            let rows = native!(conn, c => Rows::<(Integer, Integer, BigInt)>::of(query).load(c))?;
            let rows: Vec<(i32, i32, i64)> = rows;
            let rows = rows.into_iter().filter(|(.., count)| *count > 0);
            rows.map(|(role, status, count)| Ok((role_at(role)?, status_at(status)?, natural(count)?)))
                .collect()
        })
        .await
    }
}

fn decode((key, created, id, role, version, snapshot, updated): Row) -> Result<ListedEscrow, StoreError> {
    let id = uuid::Uuid::from(id);
    Ok(ListedEscrow {
        at: ListPosition { key, created, id },
        id: EscrowId(id),
        role: role_at(role)?,
        version,
        snapshot,
        updated_at: time(updated)?,
    })
}

/// Decides how to go about a page; `None` where nothing can be found.
fn prepare(
    conn: &mut Conn,
    user: UserId,
    filter: &ListFilter,
    order: ListOrder,
    after: Option<ListPosition>,
    limit: usize,
) -> Result<Option<Page>, StoreError> {
    let user = DbUuid::from(user.0);
    let mut ready = Page::new(user, filter, order, after, page(limit))?;
    ready.bare = dialect::merges_bare(conn);
    let mut few: Option<HashSet<DbUuid>> = None;
    let mut narrow = |found: Vec<DbUuid>| {
        let found: HashSet<_> = found.into_iter().collect();
        few = Some(few.take().map_or_else(|| found.clone(), |known| &known & &found));
    };
    if let Some(other) = filter.participant {
        let other = DbUuid::from(other.0);
        match shared(conn, user, other)? {
            Some(found) => narrow(found),
            None => ready.with = Some(other),
        }
    }
    for (index, word) in filter.words.iter().enumerate() {
        let is_prefix = index + 1 == filter.words.len();
        match titled(conn, user, word, is_prefix)? {
            Some(found) => narrow(found),
            None => ready.like.push(if is_prefix { format!("% {word}%") } else { format!("% {word} %") }),
        }
    }
    let nothing = few.as_ref().is_some_and(HashSet::is_empty);
    ready.among = few.map(|found| found.into_iter().collect());
    Ok((!nothing).then_some(ready))
}

/// One more than are few.
fn cap() -> i64 {
    page(FEW + 1)
}

fn if_few(found: Vec<DbUuid>) -> Option<Vec<DbUuid>> {
    (found.len() <= FEW).then_some(found)
}

/// Escrows that two users share; `None` where they are many. Each pair of parts stands in one of three indexes.
fn shared(conn: &mut Conn, one: DbUuid, other: DbUuid) -> QueryResult<Option<Vec<DbUuid>>> {
    const PAIRS: [[&str; 2]; 3] = [
        [" id FROM escrows WHERE buyer_id = ", " AND seller_id = "],
        [" id FROM escrows WHERE seller_id = ", " AND arbiter_id = "],
        [" id FROM escrows WHERE arbiter_id = ", " AND buyer_id = "],
    ];
    let mut query = Written::new("");
    let both = PAIRS.into_iter().flat_map(|pair| [(pair, one, other), (pair, other, one)]);
    for (index, ([first, second], one, other)) in both.enumerate() {
        query.sql(if index > 0 { " UNION ALL SELECT" } else { "SELECT" });
        query.sql(first).id(one).sql(second).id(other);
    }
    query.sql(" LIMIT ").big(cap());
    let found: Vec<(DbUuid,)> = native!(conn, c => Rows::<(Binary,)>::of(query).load(c))?;
    Ok(if_few(found.into_iter().map(|(id,)| id).collect()))
}

/// A user's escrows whose titles have a word, or one that begins so; `None` where they are many.
fn titled(conn: &mut Conn, user: DbUuid, word: &str, is_prefix: bool) -> QueryResult<Option<Vec<DbUuid>>> {
    let titled = || {
        let rows = title_words::table.filter(title_words::user_id.eq(user)).select(title_words::escrow_id);
        let rows = rows.filter(title_words::word.ge(word)).into_boxed();
        // Nothing that begins with the word comes after the word with the last of all characters.
        let last = if is_prefix { format!("{word}{}", char::MAX) } else { word.to_owned() };
        rows.filter(title_words::word.le(last))
    };
    // Whether they are many is asked first: to count costs the database little, to hand them over much.
    if titled().offset(cap() - 1).limit(1).load::<DbUuid>(conn)?.is_empty() {
        return titled().limit(cap()).load(conn).map(Some);
    }
    Ok(None)
}
