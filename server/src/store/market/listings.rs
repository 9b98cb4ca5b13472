//! Listings, and the words they are found by.

use std::collections::HashMap;

use aegis_common::amount::Piconero;
use aegis_common::ids::{ListingId, UserId};
use aegis_common::time::Timestamp;
use aegis_common::wire::market::{ListingStatus, Sort};
use diesel::dsl::{count_star, exists, not, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use serde::{Serialize, Serializer};

use super::{Changed, Names, search};
use crate::store::Store;
use crate::store::commit::check_text;
use crate::store::connection::Conn;
use crate::store::dump::as_json;
use crate::store::error::StoreError;
use crate::store::idempotency::{IdempotencyRow, RawIdempotency};
use crate::store::schema::{idempotency, listing_words, listings, orders};
use crate::store::types::{DbUuid, amount, impossible, natural, page, time};

/// A listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingRow {
    /// Its id, a version 7 UUID: ordered by creation.
    pub id: ListingId,
    /// Whose it is.
    pub seller_id: UserId,
    /// The seller's name; not stored with it.
    pub seller: String,
    /// Grows by one with each change of the seller's.
    pub version: i64,
    /// Whether it can be ordered.
    pub status: ListingStatus,
    /// In a few words.
    pub title: String,
    /// In detail.
    pub description: String,
    /// The price of a piece.
    pub price: Piconero,
    /// Pieces that no order holds.
    pub stock: u64,
    /// Terms of an order's escrow, as JSON.
    pub terms: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its seller last changed it.
    pub updated_at: Timestamp,
}

/// How the storing of a listing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// It is stored.
    Done,
    /// The seller's key was used before: answer with what is stored under it.
    Known,
    /// The seller has as many that are not closed as it may have.
    TooMany,
}

/// What a seller changes; what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct ListingPatch {
    /// The title, with the words it is found by.
    pub title: Option<(String, Vec<String>)>,
    /// The description.
    pub description: Option<String>,
    /// The price of a piece.
    pub price: Option<Piconero>,
    /// Pieces that have come or gone.
    pub add_stock: i64,
    /// Most pieces there may then be, where some have come.
    pub most_stock: i64,
    /// Whether it can be ordered.
    pub status: Option<ListingStatus>,
    /// JSON.
    pub terms: Option<String>,
}

/// Which listings to find, and in which order.
#[derive(Debug, Clone)]
pub struct ListingQuery {
    /// Only this seller's; otherwise those of everybody who is not disabled.
    pub seller: Option<UserId>,
    /// Of this status.
    pub status: ListingStatus,
    /// With a word in the title that begins so, for each of these.
    pub words: Vec<String>,
    /// From this price on.
    pub min: Option<Piconero>,
    /// Up to this price.
    pub max: Option<Piconero>,
    /// In which order.
    pub sort: Sort,
    /// Behind the one with this price and id.
    pub after: Option<(Piconero, ListingId)>,
    /// At most so many.
    pub limit: usize,
}

/// A page of listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// In the order that was asked for.
    pub rows: Vec<ListingRow>,
    /// Behind which price and id to go on, where the page is short because enough was looked at.
    pub walked: Option<(Piconero, ListingId)>,
}

#[derive(Queryable, Insertable, AsChangeset, Serialize)]
#[diesel(table_name = listings)]
pub(in crate::store) struct RawListing {
    pub id: DbUuid,
    seller_id: DbUuid,
    version: i64,
    status: String,
    title: String,
    description: String,
    price: i64,
    stock: i64,
    #[serde(serialize_with = "as_json")]
    terms: String,
    created_at: i64,
    updated_at: i64,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = listing_words)]
pub(in crate::store) struct RawWord {
    #[serde(serialize_with = "as_text")]
    pub word: Vec<u8>,
    pub listing_id: DbUuid,
}

fn as_text<S: Serializer>(word: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(word))
}

impl RawListing {
    fn encode(row: &ListingRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.0.into(),
            seller_id: row.seller_id.0.into(),
            version: row.version,
            status: row.status.wire().to_owned(),
            title: row.title.clone(),
            description: row.description.clone(),
            price: amount(row.price)?,
            stock: i64::try_from(row.stock).map_err(|_| impossible("a stock beyond 2^63"))?,
            terms: row.terms.clone(),
            created_at: row.created_at.as_millisecond(),
            updated_at: row.updated_at.as_millisecond(),
        })
    }

    fn decode(self, names: &Names) -> Result<ListingRow, StoreError> {
        let seller_id = UserId(self.seller_id.into());
        Ok(ListingRow {
            id: ListingId(self.id.into()),
            seller: names.of(seller_id)?,
            seller_id,
            version: self.version,
            status: ListingStatus::from_wire(&self.status)
                .ok_or_else(|| impossible("an unknown status of a listing"))?,
            title: self.title,
            description: self.description,
            price: Piconero(natural(self.price)?),
            stock: natural(self.stock)?,
            terms: self.terms,
            created_at: time(self.created_at)?,
            updated_at: time(self.updated_at)?,
        })
    }

    /// The row with a change, or why not.
    fn patched(&mut self, patch: &ListingPatch, at: Timestamp) -> Result<Changed, StoreError> {
        let stock = self.stock.checked_add(patch.add_stock);
        match stock {
            Some(stock) if stock >= 0 && (patch.add_stock <= 0 || stock <= patch.most_stock) => {
                self.stock = stock;
            }
            _ => return Ok(Changed::OutOfStock),
        }
        if let Some((title, _)) = &patch.title {
            self.title.clone_from(title);
        }
        if let Some(description) = &patch.description {
            self.description.clone_from(description);
        }
        if let Some(price) = patch.price {
            self.price = amount(price)?;
        }
        if let Some(status) = patch.status {
            status.wire().clone_into(&mut self.status);
        }
        if let Some(terms) = &patch.terms {
            self.terms.clone_from(terms);
        }
        self.version += 1;
        self.updated_at = at.as_millisecond();
        Ok(Changed::Done)
    }
}

impl Store {
    /// Stores a new listing with the words it is found by, under its seller's idempotency key.
    pub async fn insert_listing(
        &self,
        row: ListingRow,
        words: Vec<String>,
        key: IdempotencyRow,
        most: usize,
    ) -> Result<Listed, StoreError> {
        check_text([&row.title, &row.description, &row.terms, &key.key, &key.response])?;
        let (raw, key) = (RawListing::encode(&row)?, RawIdempotency::encode(key));
        self.writer
            .run(move |conn| {
                if key.is_used(conn)? {
                    return Ok(Listed::Known);
                }
                let open = listings::table.filter(listings::seller_id.eq(raw.seller_id));
                let open = open.filter(listings::status.eq_any(["active", "paused"]));
                if natural(open.select(count_star()).first(conn)?)? >= most as u64 {
                    return Ok(Listed::TooMany);
                }
                diesel::insert_into(listings::table).values(&raw).execute(conn)?;
                diesel::insert_into(idempotency::table).values(&key).execute(conn)?;
                index(conn, raw.id, &words)?;
                Ok(Listed::Done)
            })
            .await
    }

    /// One listing.
    pub async fn listing(&self, id: ListingId) -> Result<Option<ListingRow>, StoreError> {
        let id = DbUuid::from(id.0);
        self.read(move |conn, _| {
            let Some(raw) = listings::table.find(id).first::<RawListing>(conn).optional()? else {
                return Ok(None);
            };
            let names = Names::load(conn, [raw.seller_id])?;
            raw.decode(&names).map(Some)
        })
        .await
    }

    /// Changes a listing of this seller's that is at version `expected` and not closed.
    pub async fn change_listing(
        &self,
        id: ListingId,
        seller: UserId,
        expected: i64,
        patch: ListingPatch,
        at: Timestamp,
    ) -> Result<Changed, StoreError> {
        check_text(patch.title.iter().map(|(title, _)| title).chain(&patch.description).chain(&patch.terms))?;
        let (id, seller) = (DbUuid::from(id.0), DbUuid::from(seller.0));
        self.writer
            .run(move |conn| {
                let row = listings::table.find(id).filter(listings::seller_id.eq(seller));
                let Some(mut raw) = row.first::<RawListing>(conn).optional()? else {
                    return Ok(Changed::Missing);
                };
                if raw.version != expected {
                    return Ok(Changed::Stale { actual: raw.version });
                }
                if raw.status == ListingStatus::Closed.wire() {
                    return Ok(Changed::Over);
                }
                let changed = raw.patched(&patch, at)?;
                if changed == Changed::Done {
                    diesel::update(listings::table.find(id)).set(&raw).execute(conn)?;
                    let is_closed = raw.status == ListingStatus::Closed.wire();
                    if patch.title.is_some() || is_closed {
                        let old = listing_words::table.filter(listing_words::listing_id.eq(id));
                        diesel::delete(old).execute(conn)?;
                    }
                    // What is closed is not searched for.
                    if let Some((_, words)) = patch.title.as_ref().filter(|_| !is_closed) {
                        index(conn, id, words)?;
                    }
                }
                Ok(changed)
            })
            .await
    }

    /// A page of listings.
    pub async fn listings(&self, asked: ListingQuery) -> Result<Found, StoreError> {
        self.read(move |conn, _| {
            let (ids, walked) = search::search(conn, &asked)?;
            let rows: Vec<RawListing> = listings::table.filter(listings::id.eq_any(&ids)).load(conn)?;
            let mut rows: HashMap<[u8; 16], RawListing> =
                rows.into_iter().map(|row| (row.id.0, row)).collect();
            let names = Names::load(conn, rows.values().map(|row| row.seller_id))?;
            let rows = ids.iter().filter_map(|id| rows.remove(&id.0)).map(|row| row.decode(&names));
            Ok(Found { rows: rows.collect::<Result<_, _>>()?, walked })
        })
        .await
    }

    /// How the database goes about a page of listings that is not looked up by a rare word, in its own words.
    pub async fn listings_plan(&self, asked: ListingQuery) -> Result<Vec<String>, StoreError> {
        self.read(move |conn, _| search::plan(conn, &asked)).await
    }

    /// Forgets up to `limit` listings that were closed between two moments and never ordered; returns how many.
    pub async fn purge_listings(
        &self,
        (from, to): (Timestamp, Timestamp),
        limit: usize,
    ) -> Result<usize, StoreError> {
        let (from, to) = (from.as_millisecond(), to.as_millisecond());
        self.writer
            .run(move |conn| {
                let ordered = orders::table.filter(orders::listing_id.eq(listings::id)).select(orders::id);
                // In the words of the partial index: only so is it used.
                let old =
                    listings::table.filter(sql::<Bool>("status = 'closed'")).filter(not(exists(ordered)));
                let old = old.filter(listings::updated_at.ge(from)).filter(listings::updated_at.lt(to));
                let old: Vec<DbUuid> = old.limit(page(limit)).select(listings::id).load(conn)?;
                let words = listing_words::table.filter(listing_words::listing_id.eq_any(&old));
                diesel::delete(words).execute(conn)?;
                Ok(diesel::delete(listings::table.filter(listings::id.eq_any(&old))).execute(conn)?)
            })
            .await
    }

    /// Whether somebody has an order of a listing.
    pub async fn has_ordered(&self, listing: ListingId, buyer: UserId) -> Result<bool, StoreError> {
        let (listing, buyer) = (DbUuid::from(listing.0), DbUuid::from(buyer.0));
        self.read(move |conn, _| {
            let row = orders::table.filter(orders::buyer_id.eq(buyer)).filter(orders::listing_id.eq(listing));
            let row = row.filter(orders::stage.ne("undone")).select(orders::id);
            Ok(row.first::<DbUuid>(conn).optional()?.is_some())
        })
        .await
    }
}

fn index(conn: &mut Conn, listing_id: DbUuid, words: &[String]) -> Result<(), StoreError> {
    for word in words {
        let row = RawWord { word: word.clone().into_bytes(), listing_id };
        diesel::insert_into(listing_words::table).values(&row).execute(conn)?;
    }
    Ok(())
}
