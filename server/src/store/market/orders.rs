//! Orders, and the pieces they hold.
//!
//! ```text
//!  opening ──(its escrow is stored)──► open ──(sold)──► sold
//!     │                                  └──(ended without a sale: pieces back)──► returned
//!     └──(no escrow in time: pieces back)──► undone
//! ```
//! An order is stored, and holds its pieces, before its escrow exists, whose id it names. The transaction that stores the
//! escrow moves it to `open`, or stores nothing where it was undone: so there is never an escrow without its order, and
//! none for an order that was undone, wherever a server ends. Each arrow is one change of one row.

use aegis_common::amount::Piconero;
use aegis_common::escrow::state::Status;
use aegis_common::ids::{EscrowId, ListingId, OrderId, UserId};
use aegis_common::time::Timestamp;
use aegis_common::wire::market::OrderStatus;
use diesel::dsl::{count_star, sql};
use diesel::prelude::*;
use diesel::sql_types::{Binary, Bool};
use serde::Serialize;
use serde_json::json;

use super::Names;
use crate::store::commit::check_text;
use crate::store::connection::Conn;
use crate::store::dialect::{self, native};
use crate::store::dump::as_json_or_null;
use crate::store::error::StoreError;
use crate::store::idempotency::{IdempotencyRow, RawIdempotency};
use crate::store::schema::{escrows, idempotency, listings, orders};
use crate::store::types::{DbUuid, amount, impossible, natural, page, time};
use crate::store::written::{Rows, Written};
use crate::store::{MAX_PAGE, Store};

/// Spelled out, not bound: SQLite uses a partial index only where the query says its condition.
const OPENING: &str = "orders.stage = 'opening'";
/// The same of orders that hold pieces.
const HELD: &str = "orders.stage IN ('opening', 'open')";

/// An order to be stored.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// Its id, a version 7 UUID: ordered by creation.
    pub id: OrderId,
    /// What is ordered.
    pub listing_id: ListingId,
    /// The version of it that the buyer has seen.
    pub seen: i64,
    /// The escrow to be made.
    pub escrow_id: EscrowId,
    /// Who orders.
    pub buyer_id: UserId,
    /// Whose listing it is.
    pub seller_id: UserId,
    /// The listing's title.
    pub title: String,
    /// Pieces.
    pub quantity: u32,
    /// The price of a piece.
    pub price: Piconero,
    /// The contract that the escrow is to be made of, as JSON.
    pub contract: String,
    /// When.
    pub created_at: Timestamp,
}

/// How an attempt to hold pieces for an order went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The order holds them.
    Held,
    /// The buyer's key was used before: answer with what is stored under it.
    Known,
    /// There is no such listing.
    Missing,
    /// The listing is at another version by now.
    Stale {
        /// At which.
        actual: i64,
    },
    /// It can't be ordered.
    NotForSale,
    /// There are fewer pieces.
    OutOfStock,
    /// The buyer has as many orders that are not paid as it may have.
    TooMany,
}

/// An order whose escrow is yet to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpeningOrder {
    /// Its id.
    pub id: OrderId,
    /// Who orders.
    pub buyer_id: UserId,
    /// The contract, as JSON.
    pub contract: String,
}

/// An order with its escrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// Its id.
    pub id: OrderId,
    /// What was ordered.
    pub listing_id: ListingId,
    /// The escrow it is paid by.
    pub escrow_id: EscrowId,
    /// Who ordered.
    pub buyer_id: UserId,
    /// Whose listing it is.
    pub seller_id: UserId,
    /// The buyer's name.
    pub buyer: String,
    /// The seller's name.
    pub seller: String,
    /// The listing's title when it was ordered.
    pub title: String,
    /// Pieces.
    pub quantity: u64,
    /// The price of a piece.
    pub price: Piconero,
    /// As its escrow goes; it waits while another takes the place of one that was called off.
    pub status: OrderStatus,
    /// Status of the escrow.
    pub escrow_status: Status,
    /// When.
    pub created_at: Timestamp,
}

/// Which of somebody's orders to list, newest first.
#[derive(Debug, Clone)]
pub struct OrderQuery {
    /// Whose.
    pub user: UserId,
    /// Those that the user made.
    pub bought: bool,
    /// Those that the user was sent.
    pub sold: bool,
    /// Only those of this status.
    pub status: Option<OrderStatus>,
    /// Only those of a listing.
    pub listing: Option<ListingId>,
    /// Only those older than this one.
    pub before: Option<OrderId>,
    /// At most so many.
    pub limit: usize,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = orders, treat_none_as_default_value = false)]
pub(in crate::store) struct RawOrder {
    pub id: DbUuid,
    pub(super) listing_id: DbUuid,
    pub(super) escrow_id: DbUuid,
    buyer_id: DbUuid,
    seller_id: DbUuid,
    title: String,
    pub(super) quantity: i64,
    price: i64,
    stage: String,
    status: Option<String>,
    #[serde(serialize_with = "as_json_or_null")]
    contract: Option<String>,
    key: String,
    created_at: i64,
}

impl RawOrder {
    /// Buyer and seller.
    pub(super) fn parties(&self) -> (UserId, UserId) {
        (UserId(self.buyer_id.into()), UserId(self.seller_id.into()))
    }

    fn encode(order: NewOrder, key: String) -> Result<Self, StoreError> {
        Ok(Self {
            id: order.id.0.into(),
            listing_id: order.listing_id.0.into(),
            escrow_id: order.escrow_id.0.into(),
            buyer_id: order.buyer_id.0.into(),
            seller_id: order.seller_id.0.into(),
            title: order.title,
            quantity: order.quantity.into(),
            price: amount(order.price)?,
            stage: "opening".to_owned(),
            status: None,
            contract: Some(order.contract),
            key,
            created_at: order.created_at.as_millisecond(),
        })
    }

    fn decode(self, escrow: &str, names: &Names) -> Result<OrderRow, StoreError> {
        let (buyer_id, seller_id) = self.parties();
        let unknown = || impossible("an unknown status");
        let status = self.status.as_deref().and_then(OrderStatus::from_wire);
        Ok(OrderRow {
            id: OrderId(self.id.into()),
            listing_id: ListingId(self.listing_id.into()),
            escrow_id: EscrowId(self.escrow_id.into()),
            buyer: names.of(buyer_id)?,
            seller: names.of(seller_id)?,
            buyer_id,
            seller_id,
            title: self.title,
            quantity: natural(self.quantity)?,
            price: Piconero(natural(self.price)?),
            status: status.ok_or_else(unknown)?,
            escrow_status: Status::from_wire(escrow).ok_or_else(unknown)?,
            created_at: time(self.created_at)?,
        })
    }
}

/// What is kept of the answer to an order.
fn answer(id: DbUuid) -> String {
    json!({ "orderId": uuid::Uuid::from(id) }).to_string()
}

impl Store {
    /// Takes pieces off a listing and stores the order that holds them, under the buyer's idempotency key. Of those who
    /// want the last piece one gets it.
    pub async fn hold(
        &self,
        order: NewOrder,
        key: IdempotencyRow,
        most_unpaid: usize,
    ) -> Result<Hold, StoreError> {
        check_text([&order.title, &order.contract, &key.key])?;
        let seen = order.seen;
        let raw = RawOrder::encode(order, key.key.clone())?;
        let key = RawIdempotency::encode(IdempotencyRow { response: answer(raw.id), ..key });
        self.writer
            .run(move |conn| {
                if key.is_used(conn)? {
                    return Ok(Hold::Known);
                }
                let row = listings::table.find(raw.listing_id);
                let row = row.select((listings::version, listings::status, listings::stock));
                let Some((version, status, stock)) = row.first::<(i64, String, i64)>(conn).optional()? else {
                    return Ok(Hold::Missing);
                };
                if version != seen {
                    return Ok(Hold::Stale { actual: version });
                }
                if status != "active" {
                    return Ok(Hold::NotForSale);
                }
                if stock < raw.quantity {
                    return Ok(Hold::OutOfStock);
                }
                if natural(unpaid(conn, raw.buyer_id)?)? >= most_unpaid as u64 {
                    return Ok(Hold::TooMany);
                }
                let row = diesel::update(listings::table.find(raw.listing_id));
                row.set(listings::stock.eq(listings::stock - raw.quantity)).execute(conn)?;
                diesel::insert_into(orders::table).values(&raw).execute(conn)?;
                diesel::insert_into(idempotency::table).values(&key).execute(conn)?;
                Ok(Hold::Held)
            })
            .await
    }

    /// An order whose escrow is yet to be made; `None` once it is made, or never will be.
    pub async fn opening_order(&self, id: OrderId) -> Result<Option<OpeningOrder>, StoreError> {
        let id = DbUuid::from(id.0);
        self.read(move |conn, _| {
            let row = orders::table.find(id).filter(orders::stage.eq("opening"));
            let Some(raw) = row.first::<RawOrder>(conn).optional()? else { return Ok(None) };
            Ok(Some(OpeningOrder {
                id: OrderId(raw.id.into()),
                buyer_id: UserId(raw.buyer_id.into()),
                contract: raw.contract.ok_or_else(|| impossible("an opening order without a contract"))?,
            }))
        })
        .await
    }

    /// Undoes orders from before a moment whose escrow was never made: their pieces are back, and their keys can be used
    /// anew. At most `limit`; returns how many.
    pub async fn undo_orders(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.writer
            .run(move |conn| {
                let stuck = orders::table.filter(sql::<Bool>(OPENING));
                let stuck = stuck.filter(orders::created_at.lt(before.as_millisecond()));
                let stuck: Vec<RawOrder> = stuck.order(orders::created_at).limit(page(limit)).load(conn)?;
                for order in &stuck {
                    let row = orders::table.find(order.id).filter(orders::stage.eq("opening"));
                    let undone = (orders::stage.eq("undone"), orders::contract.eq(None::<String>));
                    if diesel::update(row).set(undone).execute(conn)? == 1 {
                        put_back(conn, order.listing_id, order.quantity)?;
                        let key = idempotency::table.find((order.buyer_id, &order.key));
                        diesel::delete(key.filter(idempotency::response.eq(answer(order.id))))
                            .execute(conn)?;
                    }
                }
                Ok(stuck.len())
            })
            .await
    }

    /// One order that has its escrow.
    pub async fn order(&self, id: OrderId) -> Result<Option<OrderRow>, StoreError> {
        let id = DbUuid::from(id.0);
        self.read(move |conn, _| {
            let row = orders::table.inner_join(escrows::table.on(escrows::id.eq(orders::escrow_id)));
            let row = row.filter(orders::id.eq(id)).select((orders::all_columns, escrows::status));
            let found = row.first::<(RawOrder, String)>(conn).optional()?;
            Ok(decoded(conn, found.into_iter().collect())?.pop())
        })
        .await
    }

    /// Somebody's orders that have their escrows.
    pub async fn orders(&self, asked: OrderQuery) -> Result<Vec<OrderRow>, StoreError> {
        self.read(move |conn, _| {
            let mut ids: Vec<DbUuid> = Vec::new();
            for query in parts(conn, &asked, "")? {
                ids.extend(native!(conn, c => Rows::<Binary>::of(query).load::<DbUuid>(c))?);
            }
            ids.sort_unstable_by_key(|id| std::cmp::Reverse(id.0));
            ids.truncate(asked.limit.min(MAX_PAGE));
            let rows = orders::table.inner_join(escrows::table.on(escrows::id.eq(orders::escrow_id)));
            let rows = rows.filter(orders::id.eq_any(&ids)).select((orders::all_columns, escrows::status));
            let mut found: Vec<(RawOrder, String)> = rows.load(conn)?;
            found.sort_unstable_by_key(|(order, _)| std::cmp::Reverse(order.id.0));
            decoded(conn, found)
        })
        .await
    }

    /// How the database goes about a page of orders, in its own words.
    pub async fn orders_plan(&self, asked: OrderQuery) -> Result<Vec<String>, StoreError> {
        self.read(move |conn, _| {
            let mut plan = Vec::new();
            for query in parts(conn, &asked, dialect::explain(conn))? {
                plan.extend(dialect::plan(conn, query)?);
            }
            Ok(plan)
        })
        .await
    }
}

/// One query for each part that somebody has in orders, each answered in order by its own index; one query with OR would sort
/// everything.
fn parts(conn: &mut Conn, asked: &OrderQuery, head: &'static str) -> Result<Vec<Written>, StoreError> {
    let user = DbUuid::from(asked.user.0);
    let mut queries = Vec::new();
    for (is_asked, bought) in [(asked.bought, true), (asked.sold, false)] {
        if !is_asked {
            continue;
        }
        let mut query = Written::new(head);
        query.sql("SELECT id FROM orders WHERE ");
        match asked.listing.map(|id| DbUuid::from(id.0)) {
            None => query.sql(if bought { "buyer_id = " } else { "seller_id = " }).id(user),
            Some(listing) if bought => {
                query.sql("buyer_id = ").id(user).sql(" AND listing_id = ").id(listing)
            }
            // All orders of a listing are its seller's.
            Some(listing) => {
                let seller = listings::table.find(listing).select(listings::seller_id);
                if seller.first::<DbUuid>(conn).optional()? != Some(user) {
                    continue;
                }
                query.sql("listing_id = ").id(listing)
            }
        };
        match asked.status {
            Some(status) => query.sql(" AND status = ").text(status.wire()),
            None => query.sql(" AND status IS NOT NULL"),
        };
        let before = asked.before.map_or(DbUuid::from(uuid::Uuid::max()), |id| id.0.into());
        query.sql(" AND id < ").id(before).sql(" ORDER BY id DESC LIMIT ").big(page(asked.limit));
        queries.push(query);
    }
    Ok(queries)
}

/// From now on the order of an escrow, if it has one, follows the escrow that takes its place. `false` where the order is over:
/// its pieces may be another's by now, so nothing may take that place.
pub(in crate::store) fn order_follows(conn: &mut Conn, old: DbUuid, new: DbUuid) -> QueryResult<bool> {
    let row = orders::table.filter(orders::escrow_id.eq(old));
    let Some(stage) = row.select(orders::stage).first::<String>(conn).optional()? else { return Ok(true) };
    if stage != "open" {
        return Ok(false);
    }
    let set = (orders::escrow_id.eq(new), orders::status.eq(OrderStatus::Pending.wire()));
    diesel::update(row).set(set).execute(conn)?;
    Ok(true)
}

fn decoded(conn: &mut Conn, found: Vec<(RawOrder, String)>) -> Result<Vec<OrderRow>, StoreError> {
    let names = Names::load(conn, found.iter().flat_map(|(order, _)| [order.buyer_id, order.seller_id]))?;
    found.into_iter().map(|(order, status)| order.decode(&status, &names)).collect()
}

/// How many of a buyer's orders hold pieces and are not paid.
fn unpaid(conn: &mut Conn, buyer: DbUuid) -> QueryResult<i64> {
    let held = orders::table.filter(orders::buyer_id.eq(buyer)).filter(sql::<Bool>(HELD));
    let held = held.filter(orders::status.is_null().or(orders::status.eq(OrderStatus::Pending.wire())));
    held.select(count_star()).first(conn)
}

/// Gives pieces back to their listing.
pub(super) fn put_back(conn: &mut Conn, listing: DbUuid, quantity: i64) -> QueryResult<usize> {
    let row = diesel::update(listings::table.find(listing));
    row.set(listings::stock.eq(listings::stock + quantity)).execute(conn)
}

/// Opens the order that names this escrow, in the transaction that stores the escrow. `false` where it was undone: then there
/// must be no escrow. An escrow without an order is none of its business.
pub(in crate::store) fn claim(conn: &mut Conn, escrow: DbUuid, status: Option<Status>) -> QueryResult<bool> {
    let row = orders::table.filter(orders::escrow_id.eq(escrow));
    let Some(stage) = row.select(orders::stage).first::<String>(conn).optional()? else { return Ok(true) };
    if stage == "opening" {
        let status = status.map(|status| OrderStatus::of(status).wire());
        let opened =
            (orders::stage.eq("open"), orders::status.eq(status), orders::contract.eq(None::<String>));
        diesel::update(row).set(opened).execute(conn)?;
    }
    Ok(stage != "undone")
}

/// The order of an escrow, if it has one, has the status that the escrow's comes to. What it means that an escrow was called off is
/// found out afterwards: another may take its place.
pub(in crate::store) fn order_moves(conn: &mut Conn, escrow: DbUuid, to: Status) -> QueryResult<()> {
    if to == Status::Cancelled {
        return Ok(());
    }
    let row = orders::table.filter(orders::escrow_id.eq(escrow)).filter(orders::status.is_not_null());
    diesel::update(row).set(orders::status.eq(OrderStatus::of(to).wire())).execute(conn).map(drop)
}
