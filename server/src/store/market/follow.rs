//! What orders learn from the events of their escrows.

use aegis_common::escrow::state::Status;
use aegis_common::ids::{EscrowId, ListingId, OrderId, UserId};
use aegis_common::time::Timestamp;
use aegis_common::wire::market::OrderStatus;
use diesel::prelude::*;

use super::orders::{RawOrder, put_back};
use crate::store::Store;
use crate::store::commit::{InsertEvent, NewEvent, check_text};
use crate::store::connection::Conn;
use crate::store::error::StoreError;
use crate::store::events::{cursor, move_cursor};
use crate::store::schema::{escrows, events, orders};
use crate::store::types::{DbUuid, natural};

/// An order as its escrow's events concern it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Its id.
    pub id: OrderId,
    /// What was ordered.
    pub listing_id: ListingId,
    /// The escrow it follows.
    pub escrow_id: EscrowId,
    /// Who ordered.
    pub buyer_id: UserId,
    /// Whose listing it is.
    pub seller_id: UserId,
    /// Pieces.
    pub quantity: u64,
}

/// The end of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub order: OrderId,
    /// By the end of this escrow; nothing happens where it follows another by now.
    pub escrow: EscrowId,
    /// Whether the pieces are sold; otherwise they are back.
    pub sold: bool,
}

impl Store {
    /// The orders that follow some of these escrows.
    pub async fn orders_following(&self, escrows: Vec<EscrowId>) -> Result<Vec<Followed>, StoreError> {
        let ids: Vec<DbUuid> = escrows.into_iter().map(|id| id.0.into()).collect();
        self.read(move |conn, _| {
            let rows = orders::table.filter(orders::escrow_id.eq_any(&ids));
            let rows: Vec<RawOrder> = rows.filter(orders::stage.ne("undone")).load(conn)?;
            rows.into_iter().map(RawOrder::followed).collect()
        })
        .await
    }

    /// Ends orders, tells people, and moves the named cursor from one position to another, all or nothing. `false`, and
    /// nothing happens, where the cursor is not at `from` any more: another server has done it. What was done or told before is
    /// not done or told again.
    pub async fn follow(
        &self,
        name: &'static str,
        (from, to): (i64, i64),
        ended: Vec<Ended>,
        told: Vec<NewEvent>,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        check_text(told.iter().flat_map(|event| [&event.kind, &event.payload]))?;
        self.writer
            .run(move |conn| {
                if cursor(conn, name)? != from {
                    return Ok(false);
                }
                for end in &ended {
                    end.apply(conn)?;
                }
                for event in &told {
                    tell(conn, event.clone(), at)?;
                }
                move_cursor(conn, name, to)?;
                Ok(true)
            })
            .await
    }
}

impl RawOrder {
    fn followed(self) -> Result<Followed, StoreError> {
        let (buyer_id, seller_id) = self.parties();
        Ok(Followed {
            id: OrderId(self.id.into()),
            listing_id: ListingId(self.listing_id.into()),
            escrow_id: EscrowId(self.escrow_id.into()),
            buyer_id,
            seller_id,
            quantity: natural(self.quantity)?,
        })
    }
}

/// Nothing takes the place of an escrow that was called off: the pieces of its order, if it has one, are back, and people are told.
pub(in crate::store) fn end_vacant(
    conn: &mut Conn,
    escrow: DbUuid,
    told: &[NewEvent],
    at: Timestamp,
) -> Result<(), StoreError> {
    let order = orders::table.filter(orders::escrow_id.eq(escrow)).select(orders::id);
    match order.first::<DbUuid>(conn).optional()? {
        Some(id) => {
            let end = Ended { order: OrderId(id.into()), escrow: EscrowId(escrow.into()), sold: false };
            let told = if end.apply(conn)? { told } else { &[] };
            told.iter().try_for_each(|event| tell(conn, event.clone(), at))
        }
        None => Ok(()),
    }
}

impl Ended {
    /// Whether it had not ended before.
    fn apply(self, conn: &mut Conn) -> Result<bool, StoreError> {
        let (order, escrow) = (DbUuid::from(self.order.0), DbUuid::from(self.escrow.0));
        let row = orders::table.find(order).filter(orders::escrow_id.eq(escrow));
        let row = row.filter(orders::stage.eq("open"));
        let stage = if self.sold { "sold" } else { "returned" };
        let status = escrows::table.find(escrow).select(escrows::status).first::<String>(conn).optional()?;
        let status = status.and_then(|status| Status::from_wire(&status)).map(OrderStatus::of);
        let set = (orders::stage.eq(stage), orders::status.eq(status.map(OrderStatus::wire)));
        let ends = diesel::update(row).set(set).execute(conn)? == 1;
        if ends && !self.sold {
            let held = orders::table.find(order).select((orders::listing_id, orders::quantity));
            let (listing, quantity) = held.first::<(DbUuid, i64)>(conn)?;
            put_back(conn, listing, quantity)?;
        }
        Ok(ends)
    }
}

/// Stores an event, unless it is there.
pub(super) fn tell(conn: &mut Conn, event: NewEvent, at: Timestamp) -> Result<(), StoreError> {
    let known = events::table.filter(events::event_id.eq(DbUuid::from(event.event_id)));
    if known.select(events::seq).first::<i64>(conn).optional()?.is_none() {
        let event = InsertEvent::encode(event, at);
        diesel::insert_into(events::table).values(&event).execute(conn)?;
    }
    Ok(())
}
