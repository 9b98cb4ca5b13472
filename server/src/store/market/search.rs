//! Listings by the words of their titles, price and seller, page by page.

use std::cmp::Ordering;
use std::collections::HashSet;

use aegis_common::amount::Piconero;
use aegis_common::ids::ListingId;
use aegis_common::wire::market::Sort;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary};

use super::listings::ListingQuery;
use crate::store::MAX_PAGE;
use crate::store::connection::Conn;
use crate::store::dialect::{self, native};
use crate::store::error::StoreError;
use crate::store::schema::listing_words;
use crate::store::types::{DbUuid, amount, natural, page};
use crate::store::written::{Rows, Written};

/// Up to so many listings with a word are looked up and sorted. Where more have it, so many of an order do that a page is soon full
/// when row after row is tested.
const FEW: usize = 1_000;
/// Rows that are tested for one page, which may then be short, and is gone on with behind the last of them.
const WALKED: i64 = 5_000;

/// A place in an order of listings.
type Place = (i64, DbUuid);

/// The ids of a page in order, and where it was cut short by what may be walked for one.
type Searched = (Vec<DbUuid>, Option<(Piconero, ListingId)>);

pub(super) fn search(conn: &mut Conn, asked: &ListingQuery) -> Result<Searched, StoreError> {
    let mut walk = Walk::new(asked)?;
    let (mut few, mut common): (Option<HashSet<DbUuid>>, Vec<String>) = (None, Vec::new());
    for word in &asked.words {
        match titled(conn, word)? {
            Some(found) => few = Some(few.map_or_else(|| found.clone(), |known| &known & &found)),
            None => common.push(word.clone()),
        }
    }
    walk.words = common;
    if let Some(few) = few {
        if few.is_empty() {
            return Ok((Vec::new(), None));
        }
        let mut found = load(conn, walk.few(few))?;
        found.sort_unstable_by(|one, other| asked.sort.compare(*one, *other));
        let behind = |place: &Place| walk.after.is_none_or(|after| asked.sort.compare(*place, after).is_gt());
        let found = found.into_iter().filter(behind).take(asked.limit.min(MAX_PAGE));
        return Ok((found.map(|(_, id)| id).collect(), None));
    }
    // Where rows are tested, so many are walked for one page, whatever the test lets through.
    let end = if walk.is_tested() { load(conn, walk.end(""))?.pop() } else { None };
    let found = load(conn, walk.page("", end))?;
    let full = found.len() >= asked.limit.min(MAX_PAGE);
    let walked = end
        .filter(|_| !full)
        .map(|(price, id)| Ok::<_, StoreError>((Piconero(natural(price)?), ListingId(id.into()))));
    Ok((found.into_iter().map(|(_, id)| id).collect(), walked.transpose()?))
}

/// How the database goes about a page that is not looked up by a rare word.
pub(super) fn plan(conn: &mut Conn, asked: &ListingQuery) -> Result<Vec<String>, StoreError> {
    let walk = Walk::new(asked)?;
    let head = dialect::explain(conn);
    let mut plan = dialect::plan(conn, walk.end(head))?;
    plan.extend(dialect::plan(conn, walk.page(head, walk.after))?);
    Ok(plan)
}

fn load(conn: &mut Conn, query: Written) -> QueryResult<Vec<Place>> {
    native!(conn, c => Rows::<(BigInt, Binary)>::of(query).load::<Place>(c))
}

/// Listings with a word in the title that begins so; `None` where they are many.
fn titled(conn: &mut Conn, word: &str) -> QueryResult<Option<HashSet<DbUuid>>> {
    // No text in UTF-8 holds the byte 255, so this is behind all that begins so.
    let (word, end) = (word.as_bytes().to_vec(), [word.as_bytes(), &[255]].concat());
    let found = listing_words::table.select(listing_words::listing_id);
    let found = found.filter(listing_words::word.ge(word)).filter(listing_words::word.lt(end));
    let found: Vec<DbUuid> = found.limit(page(FEW + 1)).load(conn)?;
    Ok((found.len() <= FEW).then(|| found.into_iter().collect()))
}

trait Compared {
    fn compare(self, one: Place, other: Place) -> Ordering;
}

impl Compared for Sort {
    fn compare(self, one: Place, other: Place) -> Ordering {
        let key = |(price, id): Place| match self {
            Self::Newest | Self::Oldest => (0, id.0),
            Self::Cheapest | Self::Dearest => (price, id.0),
        };
        match self {
            Self::Oldest | Self::Cheapest => key(one).cmp(&key(other)),
            Self::Newest | Self::Dearest => key(other).cmp(&key(one)),
        }
    }
}

/// Reading listings in the order of an index.
struct Walk<'a> {
    asked: &'a ListingQuery,
    min: Option<i64>,
    max: Option<i64>,
    after: Option<Place>,
    /// Words that each row is tested for.
    words: Vec<String>,
}

impl<'a> Walk<'a> {
    fn new(asked: &'a ListingQuery) -> Result<Self, StoreError> {
        let (min, max) = (asked.min.map(amount).transpose()?, asked.max.map(amount).transpose()?);
        let after = asked.after.map(|(price, id)| amount(price).map(|price| (price, DbUuid::from(id.0))));
        Ok(Self { asked, min, max, after: after.transpose()?, words: asked.words.clone() })
    }

    fn by_price(&self) -> bool {
        matches!(self.asked.sort, Sort::Cheapest | Sort::Dearest)
    }

    /// Whether rows are tested for something that the order's index does not say.
    fn is_tested(&self) -> bool {
        let priced = self.min.is_some() || self.max.is_some();
        !self.words.is_empty() || self.asked.seller.is_none() || priced && !self.by_price()
    }

    /// What an index answers: status, seller, and prices in their order.
    fn select(&self, head: &'static str) -> Written {
        let mut out = Written::new(head);
        out.sql("SELECT price, id FROM listings WHERE status = ").text(self.asked.status.wire());
        if let Some(seller) = self.asked.seller {
            out.sql(" AND seller_id = ").id(seller.0.into());
        }
        if self.by_price() {
            self.prices(&mut out, " AND price >= ", " AND price <= ");
        }
        if let Some(after) = self.after {
            self.place(
                &mut out,
                after,
                [" AND (price, id) > (", " AND (price, id) < ("],
                [" AND id > ", " AND id < "],
            );
        }
        out
    }

    fn prices(&self, out: &mut Written, from: &'static str, to: &'static str) {
        for (sql, price) in [(from, self.min), (to, self.max)] {
            if let Some(price) = price {
                out.sql(sql).big(price);
            }
        }
    }

    /// Compares with a place in the order, by the first of each pair where it ascends.
    fn place(
        &self,
        out: &mut Written,
        (price, id): Place,
        pair: [&'static str; 2],
        alone: [&'static str; 2],
    ) {
        let [(up, down), (up_alone, down_alone)] = [pair, alone].map(|[up, down]| (up, down));
        match self.asked.sort {
            Sort::Cheapest => out.sql(up).big(price).sql(", ").id(id).sql(")"),
            Sort::Dearest => out.sql(down).big(price).sql(", ").id(id).sql(")"),
            Sort::Oldest => out.sql(up_alone).id(id),
            Sort::Newest => out.sql(down_alone).id(id),
        };
    }

    /// What is tested row by row. As scalar subqueries: planners leave those where they stand, behind the order of the index.
    fn tests(&self, out: &mut Written) {
        if !self.by_price() {
            self.prices(out, " AND +price >= ", " AND +price <= ");
        }
        if self.asked.seller.is_none() {
            out.sql(" AND (SELECT user_id FROM disabled WHERE user_id = listings.seller_id) IS NULL");
        }
        for word in &self.words {
            out.sql(" AND (SELECT listing_id FROM listing_words WHERE listing_id = listings.id AND word >= ")
                .bytes(word.as_bytes())
                .sql(" AND word < ")
                .bytes(&[word.as_bytes(), &[255]].concat())
                .sql(" LIMIT 1) IS NOT NULL");
        }
    }

    fn order(&self, out: &mut Written) {
        out.sql(match self.asked.sort {
            Sort::Newest => " ORDER BY id DESC",
            Sort::Oldest => " ORDER BY id",
            Sort::Cheapest => " ORDER BY price, id",
            Sort::Dearest => " ORDER BY price DESC, id DESC",
        });
    }

    /// The last row that is walked for a page, if there are so many.
    fn end(&self, head: &'static str) -> Written {
        let mut out = self.select(head);
        self.order(&mut out);
        out.sql(" LIMIT 1 OFFSET ").big(WALKED - 1);
        out
    }

    /// A page of what is walked up to a place.
    fn page(&self, head: &'static str, end: Option<Place>) -> Written {
        let mut out = self.select(head);
        if let Some(end) = end {
            self.place(
                &mut out,
                end,
                [" AND (price, id) <= (", " AND (price, id) >= ("],
                [" AND id <= ", " AND id >= "],
            );
        }
        self.tests(&mut out);
        self.order(&mut out);
        out.sql(" LIMIT ").big(page(self.asked.limit));
        out
    }

    /// Those of a few that are asked for, in any order. They are found by their ids.
    fn few(&self, ids: HashSet<DbUuid>) -> Written {
        let mut out = Written::new("SELECT price, id FROM listings WHERE id IN (");
        out.list(ids, |out, id| {
            out.id(id);
        });
        out.sql(") AND status = ").text(self.asked.status.wire());
        if let Some(seller) = self.asked.seller {
            out.sql(" AND seller_id = ").id(seller.0.into());
        }
        if self.by_price() {
            self.prices(&mut out, " AND +price >= ", " AND +price <= ");
        }
        self.tests(&mut out);
        out
    }
}
