//! Listings, orders and reviews: how people find what to trade, and whom to trust.

mod listing;
mod order;
mod review;

pub use listing::{
    ListingChange, ListingPage, ListingRequest, ListingStatus, ListingTerms, ListingView, Sort,
};
pub use order::{Goods, OrderPage, OrderRequest, OrderStatus, OrderView};
pub use review::{
    AnswerRequest, AnswerView, EscrowReviews, HideRequest, ReviewChange, ReviewPage, ReviewRequest,
    ReviewView,
};

use serde::{Deserialize, Serialize};

use crate::ids::{EscrowId, ListingId, OrderId, ReviewId};

/// Bounds on what is listed, ordered and reviewed.
pub mod bounds {
    use crate::escrow::contract::bounds;

    /// Characters in a listing's title: the contract's stands for some pieces, `1000000 × ` at most.
    pub const TITLE: usize = bounds::TITLE - 10;
    /// Characters in a listing's description.
    pub const DESCRIPTION: usize = bounds::DESCRIPTION;
    /// Most pieces a listing has.
    pub const STOCK: u32 = 1_000_000;
    /// Days that the escrow of an order runs.
    pub const EXPIRY_DAYS: std::ops::RangeInclusive<u16> = 1..=366;
    /// Listings of one account that are not closed.
    pub const LISTINGS: usize = 1000;
    /// Orders of one buyer that are not paid: each keeps pieces from others.
    pub const UNPAID_ORDERS: usize = 20;
    /// Characters in a search for listings.
    pub const SEARCH: std::ops::RangeInclusive<usize> = 2..=100;
    /// Words in it.
    pub const SEARCH_WORDS: usize = 5;
    /// Stars of a review.
    pub const STARS: std::ops::RangeInclusive<u8> = 1..=5;
    /// Characters in a review, and in the answer to it.
    pub const REVIEW: usize = 2000;
    /// Days for which a review can be changed.
    pub const REVIEW_DAYS: i64 = 14;
    /// Characters in the reason why a review is hidden.
    pub const REASON: std::ops::RangeInclusive<usize> = 1..=500;
}

/// What people are told of their trade, by events beside those of their escrows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", content = "data", rename_all_fields = "camelCase")]
pub enum MarketNotice {
    /// A listing was ordered and the escrow is open. For buyer and seller.
    #[serde(rename_all = "camelCase")]
    OrderPlaced {
        /// The order.
        order_id: OrderId,
        /// The escrow it opened.
        escrow_id: EscrowId,
        /// What was ordered.
        listing_id: ListingId,
        /// How many pieces.
        quantity: u32,
    },
    /// An order's status changed with its escrow's. For buyer and seller.
    #[serde(rename_all = "camelCase")]
    OrderStatusChanged {
        /// The order.
        order_id: OrderId,
        /// Its escrow.
        escrow_id: EscrowId,
        /// Before.
        from: OrderStatus,
        /// After.
        to: OrderStatus,
    },
    /// Somebody reviewed this account.
    #[serde(rename_all = "camelCase")]
    ReviewPosted {
        /// The review.
        review_id: ReviewId,
        /// The escrow it rests on.
        escrow_id: EscrowId,
        /// 1 to 5.
        stars: u8,
    },
    /// The subject of this account's review answered.
    #[serde(rename_all = "camelCase")]
    ReviewAnswered {
        /// The review.
        review_id: ReviewId,
        /// The escrow it rests on.
        escrow_id: EscrowId,
    },
}

impl MarketNotice {
    /// The type's name on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::OrderPlaced { .. } => "OrderPlaced",
            Self::OrderStatusChanged { .. } => "OrderStatusChanged",
            Self::ReviewPosted { .. } => "ReviewPosted",
            Self::ReviewAnswered { .. } => "ReviewAnswered",
        }
    }
}
