//! Orders: purchases of listings. Each has an escrow, and its status follows from the escrow's.

use serde::{Deserialize, Serialize};

use crate::escrow::state::Status;
use crate::ids::{EscrowId, ListingId, OrderId};
use crate::time::Timestamp;
use crate::wire::escrow::AmountView;

/// Where an order is, as a shop would say it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// Waits for the buyer's payment.
    Pending,
    /// The buyer's payment is final.
    Paid,
    /// The seller says it has delivered.
    Shipped,
    /// The arbiter is asked.
    Disputed,
    /// How it ends is decided, and is being paid.
    Settling,
    /// The seller is paid, wholly or in part.
    Completed,
    /// The buyer got the money back.
    Refunded,
    /// It ended before anything was paid.
    Cancelled,
}

/// What the end of an escrow means for the pieces that its order holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goods {
    /// They are still promised.
    Held,
    /// They are gone.
    Sold,
    /// They can be sold to somebody else.
    Returned,
}

impl OrderStatus {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Paid,
        Self::Shipped,
        Self::Disputed,
        Self::Settling,
        Self::Completed,
        Self::Refunded,
        Self::Cancelled,
    ];

    /// The status of an order whose escrow has this one.
    pub fn of(escrow: Status) -> Self {
        match escrow {
            Status::PendingFunding => Self::Pending,
            Status::BuyerFunded | Status::Active => Self::Paid,
            Status::SellerConfirmedItem => Self::Shipped,
            Status::Disputed => Self::Disputed,
            Status::TimelockDefaultTriggered | Status::Settling => Self::Settling,
            Status::CompletedReleased | Status::CompletedSplit => Self::Completed,
            Status::CompletedRefunded => Self::Refunded,
            Status::Expired | Status::Cancelled => Self::Cancelled,
        }
    }

    /// What it means for the pieces. An escrow that expired or was deleted may come to life once more, when money had been
    /// on its way: that goes back, so its pieces stay returned.
    pub fn goods(self) -> Goods {
        match self {
            Self::Pending | Self::Paid | Self::Shipped | Self::Disputed | Self::Settling => Goods::Held,
            Self::Completed => Goods::Sold,
            Self::Refunded | Self::Cancelled => Goods::Returned,
        }
    }

    /// By the name on the wire.
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.wire() == name)
    }

    /// The name on the wire.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Paid => "PAID",
            Self::Shipped => "SHIPPED",
            Self::Disputed => "DISPUTED",
            Self::Settling => "SETTLING",
            Self::Completed => "COMPLETED",
            Self::Refunded => "REFUNDED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl std::fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.wire())
    }
}

/// `POST /api/v1/orders`. Whoever sends it is the buyer.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderRequest {
    /// What to order.
    pub listing_id: ListingId,
    /// How many pieces, from 1.
    pub quantity: u32,
    /// The version of the listing that the buyer has seen: at another price or on other terms nothing is bought.
    pub version: i64,
}

/// An order, for its buyer and its seller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderView {
    /// Its id.
    pub id: OrderId,
    /// What was ordered.
    pub listing_id: ListingId,
    /// The escrow it is paid by.
    pub escrow_id: EscrowId,
    /// The buyer's name.
    pub buyer: String,
    /// The seller's name.
    pub seller: String,
    /// The listing's title when it was ordered.
    pub title: String,
    /// Pieces.
    pub quantity: u64,
    /// The price of a piece when it was ordered.
    pub price: AmountView,
    /// The price of all.
    pub amount: AmountView,
    /// Where it is. It waits while another escrow takes the place of one that was called off.
    pub status: OrderStatus,
    /// Where its escrow is.
    pub escrow_status: Status,
    /// When it was ordered.
    pub created_at: Timestamp,
}

/// A page of orders, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderPage {
    /// The orders.
    pub orders: Vec<OrderView>,
    /// Pass as `before` to go on; none at the end.
    pub next: Option<OrderId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escrow::table::LISTED;

    #[test]
    fn every_status_of_an_escrow_is_one_of_its_order_and_every_one_of_an_order_is_reached() {
        let said: Vec<_> = Status::ALL.into_iter().map(|status| OrderStatus::of(status).wire()).collect();
        let wanted = [
            "PENDING",
            "PAID",
            "PAID",
            "SHIPPED",
            "DISPUTED",
            "SETTLING",
            "SETTLING",
            "COMPLETED",
            "REFUNDED",
            "COMPLETED",
            "CANCELLED",
            "CANCELLED",
        ];
        assert_eq!(said, wanted);
        for status in Status::ALL {
            let goods = OrderStatus::of(status).goods();
            assert_eq!(goods != Goods::Held, status.is_over(), "{status}");
            let wire = serde_json::to_value(OrderStatus::of(status)).unwrap();
            assert_eq!(wire, OrderStatus::of(status).wire());
        }
    }

    /// Pieces are returned or sold when an escrow is over; what can follow must not say otherwise. From an escrow that came to
    /// life again the lifecycle knows no way to anything but a refund: that is tested where its rules are.
    #[test]
    fn what_is_sold_stays_sold_and_what_was_refunded_stays_refunded() {
        for row in LISTED {
            let Some(from) = row.from else { continue };
            if OrderStatus::of(from) == OrderStatus::Completed
                || OrderStatus::of(from) == OrderStatus::Refunded
            {
                assert_eq!(row.to, from, "{}", row.event);
            }
            if OrderStatus::of(from) == OrderStatus::Cancelled {
                let to = OrderStatus::of(row.to);
                assert!([OrderStatus::Cancelled, OrderStatus::Settling].contains(&to), "{}", row.event);
            }
        }
    }
}
