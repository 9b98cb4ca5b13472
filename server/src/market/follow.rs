//! Orders follow their escrows: a reader of the events with a cursor of its own settles the pieces and tells buyer and seller.
//!
//! What a batch of events leads to is stored together with the cursor behind it, so a crash repeats nothing, and of several
//! servers one does it. The events that people are told carry ids made of those they follow from.

use std::time::Duration;

use aegis_common::escrow::state::{CalledOff, Status};
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::wire::market::{Goods, MarketNotice, OrderStatus};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Market, MarketError};
use crate::store::{Ended, EventRow, Followed, NewEvent};

/// The reader's name in the database.
const NAME: &str = "orders";
/// Events that are read at once.
const BATCH: usize = 256;
/// Between two readings.
const POLL: Duration = Duration::from_secs(1);
/// Readings between two looks for orders that got no escrow.
const LOOKS: u64 = 10;

/// The notices of an escrow that concern its order.
enum News {
    /// It exists.
    Opened,
    /// Its status changed.
    Moved { from: Status, to: Status },
    /// It was called off: for good, or until another escrow takes its place.
    CalledOff { for_good: bool },
}

#[derive(Deserialize)]
struct Why {
    why: CalledOff,
}

#[derive(Deserialize)]
struct Change {
    from: Status,
    to: Status,
}

/// Never ends. What fails is tried again at the next turn.
pub async fn run(market: Market) {
    for turn in 0_u64.. {
        if let Err(error) = market.follow().await {
            tracing::warn!(%error, "orders wait for the events of their escrows");
        }
        if turn.is_multiple_of(LOOKS) {
            match market.undo_stuck().await {
                Ok(0) => {}
                Ok(count) => tracing::warn!(count, "orders got no escrow and were undone"),
                Err(error) => tracing::warn!(%error, "orders without an escrow could not be undone"),
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

impl Market {
    /// Follows all events there are.
    pub async fn follow(&self) -> Result<(), MarketError> {
        loop {
            let from = self.store.outbox_cursor(NAME).await?;
            let events = self.store.events_after(from, BATCH).await?;
            let Some(last) = events.last().map(|event| event.seq) else { return Ok(()) };
            let news: Vec<(EventRow, EscrowId, News)> = events.into_iter().filter_map(news).collect();
            let mut escrows: Vec<EscrowId> = news.iter().map(|(_, escrow, _)| *escrow).collect();
            escrows.sort_unstable();
            escrows.dedup();
            let orders = self.store.orders_following(escrows).await?;
            let (mut ended, mut told) = (Vec::new(), Vec::new());
            for (event, escrow, news) in &news {
                if let Some(order) = orders.iter().find(|order| order.escrow_id == *escrow) {
                    ended.extend(end(order, news));
                    told.extend(notice(order, event, news)?);
                }
            }
            self.store.follow(NAME, (from, last), ended, told, self.clock.now()).await?;
        }
    }
}

/// One whose payload is damaged is passed over loudly: it must not hold up everybody's.
fn news(event: EventRow) -> Option<(EventRow, EscrowId, News)> {
    let escrow = event.escrow_id?;
    let news = match event.kind.as_str() {
        "EscrowInit" => News::Opened,
        "EscrowStatusChanged" => match serde_json::from_str(&event.payload) {
            Ok(Change { from, to }) => News::Moved { from, to },
            Err(error) => {
                tracing::error!(seq = event.seq, %error, "an event's payload names no statuses");
                return None;
            }
        },
        "EscrowCalledOff" => match serde_json::from_str(&event.payload) {
            Ok(Why { why }) => News::CalledOff { for_good: !why.wants_arbiter() },
            Err(error) => {
                tracing::error!(seq = event.seq, %error, "an event's payload names no reason");
                return None;
            }
        },
        _ => return None,
    };
    Some((event, escrow, news))
}

/// How the order ends, if it does. Each party's event says it; the first one counts.
fn end(order: &Followed, news: &News) -> Option<Ended> {
    let sold = match news {
        // That comes with the reason, and the reason decides.
        News::Opened | News::Moved { to: Status::Cancelled, .. } => return None,
        News::CalledOff { for_good } => return for_good.then_some(ended(order, false)),
        News::Moved { to, .. } => match OrderStatus::of(*to).goods() {
            Goods::Held => return None,
            Goods::Sold => true,
            Goods::Returned => false,
        },
    };
    Some(ended(order, sold))
}

fn ended(order: &Followed, sold: bool) -> Ended {
    Ended { order: order.id, escrow: order.escrow_id, sold }
}

/// What the person whom an escrow's event is for is told of the order; the arbiter is no party to it.
fn notice(order: &Followed, event: &EventRow, news: &News) -> Result<Option<NewEvent>, MarketError> {
    if ![order.buyer_id, order.seller_id].contains(&event.user_id) {
        return Ok(None);
    }
    let (order_id, escrow_id) = (order.id, order.escrow_id);
    let notice = match *news {
        News::Opened => {
            let quantity = u32::try_from(order.quantity);
            let quantity = quantity.map_err(|error| MarketError::Inconsistent(error.to_string()))?;
            MarketNotice::OrderPlaced { order_id, escrow_id, listing_id: order.listing_id, quantity }
        }
        // That comes with the reason, and the reason decides.
        News::Moved { to: Status::Cancelled, .. } | News::CalledOff { for_good: false } => return Ok(None),
        News::CalledOff { for_good: true } => cancelled(order),
        News::Moved { from, to } => {
            let (from, to) = (OrderStatus::of(from), OrderStatus::of(to));
            if from == to {
                return Ok(None);
            }
            MarketNotice::OrderStatusChanged { order_id, escrow_id, from, to }
        }
    };
    // An order is placed once, however many escrows it goes through.
    let source = if matches!(news, News::Opened) { order.id.0 } else { event.event_id };
    Ok(Some(NewEvent {
        event_id: derived(source, event.user_id),
        user_id: event.user_id,
        escrow_id: Some(escrow_id),
        kind: notice.kind().to_owned(),
        payload: payload(&notice)?,
    }))
}

fn cancelled(order: &Followed) -> MarketNotice {
    let (order_id, escrow_id) = (order.id, order.escrow_id);
    let (from, to) = (OrderStatus::Pending, OrderStatus::Cancelled);
    MarketNotice::OrderStatusChanged { order_id, escrow_id, from, to }
}

/// What buyer and seller are told when nothing takes the place of their order's escrow.
pub fn called_off(order: &Followed) -> Vec<NewEvent> {
    let notice = cancelled(order);
    let told = [order.buyer_id, order.seller_id].map(|user_id| {
        Some(NewEvent {
            event_id: derived(order.escrow_id.0, user_id),
            user_id,
            escrow_id: Some(order.escrow_id),
            kind: notice.kind().to_owned(),
            payload: payload(&notice).ok()?,
        })
    });
    told.into_iter().flatten().collect()
}

/// The notice's data without its type, which has a column of its own.
pub(super) fn payload(notice: &MarketNotice) -> Result<String, serde_json::Error> {
    let whole = serde_json::to_value(notice)?;
    serde_json::to_string(whole.get("data").unwrap_or(&serde_json::Value::Null))
}

/// Always the same for the same source and person: a version 8 UUID (RFC 9562) with the time of the other in front.
fn derived(from: Uuid, user: UserId) -> Uuid {
    let hash = Sha256::new().chain_update(b"order\0").chain_update(from.as_bytes());
    let hash = hash.chain_update(user.0.as_bytes()).finalize();
    let time = from.as_bytes().iter().copied().take(6);
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(time.chain(hash)).for_each(|(byte, value)| *byte = value);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
