//! Orders of listings. The escrow of an order is made by its actor, which is told by whoever serves the request; so an order is
//! made in steps: [`Market::quote`] says what escrow to ask for, [`Market::hold`] keeps the pieces and the contract,
//! and once the escrow is stored the order is open.

use aegis_common::escrow::contract::Contract;
use aegis_common::hash::Hash32;
use aegis_common::ids::{ListingId, OrderId, UserId};
use aegis_common::time::SignedDuration;
use aegis_common::wire::escrow::CreateEscrowRequest;
use aegis_common::wire::market::{
    ListingStatus, ListingView, OrderPage, OrderRequest, OrderStatus, OrderView, bounds,
};
use serde::Deserialize;
use uuid::Uuid;

use super::listings::view;
use super::{CREATED, Market, MarketError, refuse};
use crate::store::{Hold, IdempotencyRow, NewOrder, OrderQuery, OrderRow};

/// How long an order may be without its escrow: twice as long as its request waits for the escrow's actor.
const OPENING: SignedDuration = SignedDuration::from_mins(1);
/// Orders that are undone in one transaction.
const BATCH: usize = 100;

/// What an order comes to.
#[derive(Debug)]
pub struct Quote {
    /// The listing as the buyer has seen it.
    pub listing: ListingView,
    /// The escrow to make a contract for.
    pub escrow: CreateEscrowRequest,
}

/// An order that is stored.
#[derive(Debug)]
pub struct Opening {
    /// Its id.
    pub id: OrderId,
    /// The contract to make its escrow of; `None` where there is the escrow already.
    pub contract: Option<Contract>,
}

/// Which orders to list.
#[derive(Debug, Default)]
pub struct OrderFilter {
    /// Those that one made (`true`) or was sent (`false`) only.
    pub bought: Option<bool>,
    /// Of this status only.
    pub status: Option<OrderStatus>,
    /// Of this listing only.
    pub listing: Option<ListingId>,
    /// `next` of the page before.
    pub before: Option<OrderId>,
}

/// The answer that is kept under a key.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    order_id: OrderId,
}

impl Market {
    /// The order that was made under this key by the same request, if any. Repeating the request finishes it.
    pub async fn known_order(
        &self,
        buyer: UserId,
        key: &str,
        request: Hash32,
    ) -> Result<Option<Opening>, MarketError> {
        let Some(known) = self.known(buyer, key.to_owned(), request).await? else { return Ok(None) };
        let Made { order_id } = serde_json::from_str(&known)?;
        let opening = self.store.opening_order(order_id).await?;
        let contract = opening.map(|order| serde_json::from_str(&order.contract)).transpose()?;
        Ok(Some(Opening { id: order_id, contract }))
    }

    /// What an order comes to, at the price and on the terms that the buyer has seen.
    pub async fn quote(&self, buyer: UserId, request: &OrderRequest) -> Result<Quote, MarketError> {
        let row = self.store.listing(request.listing_id).await?.ok_or(MarketError::Unknown)?;
        // Of what is closed others know nothing any more.
        if row.status == ListingStatus::Closed && !self.store.has_ordered(row.id, buyer).await? {
            return Err(MarketError::Unknown);
        }
        let listing = view(row)?;
        if listing.version != request.version {
            return Err(MarketError::Stale { actual: listing.version });
        }
        if listing.status != ListingStatus::Active {
            return Err(MarketError::NotForSale);
        }
        if listing.seller_id == buyer {
            return refuse("listingId", "is your own");
        }
        let most = listing.terms.max_quantity.unwrap_or(bounds::STOCK);
        if !(1..=most).contains(&request.quantity) {
            return refuse("quantity", "must lie between 1 and the most that the listing allows at once");
        }
        if listing.stock < request.quantity.into() {
            return Err(MarketError::OutOfStock);
        }
        let days = SignedDuration::from_hours(24 * i64::from(listing.terms.expiry_days));
        let escrow = listing.to_escrow(request.quantity, self.clock.now() + days);
        match escrow {
            Some(escrow) => Ok(Quote { listing, escrow }),
            None => refuse("quantity", "is too large for any amount"),
        }
    }

    /// Holds the pieces of an order for the escrow that its contract names. The listing must still be as it was quoted.
    pub async fn hold(
        &self,
        buyer: UserId,
        quantity: u32,
        listing: ListingView,
        contract: Contract,
        (key, request_hash): (String, Hash32),
    ) -> Result<Opening, MarketError> {
        let now = self.clock.now();
        let order = NewOrder {
            id: OrderId(Uuid::now_v7()),
            listing_id: listing.id,
            seen: listing.version,
            escrow_id: contract.escrow_id,
            buyer_id: buyer,
            seller_id: listing.seller_id,
            title: listing.title,
            quantity,
            price: listing.price.piconero,
            contract: serde_json::to_string(&contract)?,
            created_at: now,
        };
        let (id, response) = (order.id, String::new());
        let answer = IdempotencyRow {
            user_id: buyer,
            key: key.clone(),
            request_hash,
            status: CREATED,
            response,
            created_at: now,
        };
        match self.store.hold(order, answer, bounds::UNPAID_ORDERS).await? {
            Hold::Held => Ok(Opening { id, contract: Some(contract) }),
            // The same request came twice at once.
            Hold::Known => self.known_order(buyer, &key, request_hash).await?.ok_or(MarketError::Undone),
            Hold::Missing => Err(MarketError::Unknown),
            Hold::Stale { actual } => Err(MarketError::Stale { actual }),
            Hold::NotForSale => Err(MarketError::NotForSale),
            Hold::OutOfStock => Err(MarketError::OutOfStock),
            Hold::TooMany => Err(MarketError::LimitReached("orders that are not paid")),
        }
    }

    /// Gives up orders that did not get their escrow in time: whoever sent them was told nothing but to try again. Returns how
    /// many.
    pub async fn undo_stuck(&self) -> Result<usize, MarketError> {
        let before = self.clock.now().saturating_sub(OPENING).unwrap_or(self.clock.now());
        let mut all = 0;
        loop {
            let undone = self.store.undo_orders(before, BATCH).await?;
            all += undone;
            if undone < BATCH {
                return Ok(all);
            }
        }
    }

    /// One order of the reader's, as buyer or seller.
    pub async fn order(&self, reader: UserId, id: OrderId) -> Result<OrderView, MarketError> {
        let row = self.store.order(id).await?.ok_or(MarketError::Unknown)?;
        if ![row.buyer_id, row.seller_id].contains(&reader) {
            return Err(MarketError::Unknown);
        }
        order_view(row)
    }

    /// The reader's orders, newest first.
    pub async fn orders(
        &self,
        reader: UserId,
        filter: OrderFilter,
        limit: usize,
    ) -> Result<OrderPage, MarketError> {
        let query = OrderQuery {
            user: reader,
            bought: filter.bought.unwrap_or(true),
            sold: !filter.bought.unwrap_or(false),
            status: filter.status,
            listing: filter.listing,
            before: filter.before,
            limit: limit + 1,
        };
        let mut rows = self.store.orders(query).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| row.id);
        Ok(OrderPage { orders: rows.into_iter().map(order_view).collect::<Result<_, _>>()?, next })
    }
}

fn order_view(row: OrderRow) -> Result<OrderView, MarketError> {
    let amount = row.price.ratio(row.quantity, 1);
    let amount =
        amount.ok_or_else(|| MarketError::Inconsistent(format!("order {}: no such amount", row.id)))?;
    Ok(OrderView {
        id: row.id,
        listing_id: row.listing_id,
        escrow_id: row.escrow_id,
        buyer: row.buyer,
        seller: row.seller,
        title: row.title,
        quantity: row.quantity,
        price: row.price.into(),
        amount: amount.into(),
        status: row.status,
        escrow_status: row.escrow_status,
        created_at: row.created_at,
    })
}
