//! Listings: what is for sale, at what price and on what terms.

use serde::{Deserialize, Serialize};

use crate::amount::Piconero;
use crate::escrow::contract::DefaultOutcome;
use crate::ids::{ListingId, UserId};
use crate::role::Role;
use crate::time::Timestamp;
use crate::wire::escrow::{AmountView, CreateEscrowRequest};

/// Whether a listing can be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListingStatus {
    /// For sale while there are pieces.
    Active,
    /// Not for the time being.
    Paused,
    /// Never again. Shown to its seller and to those who ordered.
    Closed,
}

impl ListingStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Active, Self::Paused, Self::Closed];

    /// The name on the wire and in the database.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Closed => "closed",
        }
    }

    /// The status of a wire name.
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.wire() == name)
    }
}

/// In which order listings are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
    /// The lowest price first.
    Cheapest,
    /// The highest price first.
    Dearest,
}

/// Terms of the escrow that an order opens; the meaning of each is the contract's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListingTerms {
    /// What happens at expiry.
    pub default_outcome: DefaultOutcome,
    /// Days from an order until its escrow expires, 1 to 366.
    pub expiry_days: u16,
    /// The buyer's security deposit in piconero; zero for none.
    #[serde(default)]
    pub buyer_deposit: Piconero,
    /// The seller's security deposit in piconero; zero for none.
    #[serde(default)]
    pub seller_deposit: Piconero,
    /// Confirmations for finality; the server's default where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finality_depth: Option<u32>,
    /// Seconds until a silent signer is replaced; the server's default where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosign_seconds: Option<u32>,
    /// Username of the arbiter; otherwise the server assigns one to each order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arbiter: Option<String>,
    /// Most pieces of one order; as many as there are where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_quantity: Option<u32>,
}

/// `POST /api/v1/listings`. Whoever sends it is the seller.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListingRequest {
    /// 1 to 190 characters.
    pub title: String,
    /// At most 4000 characters.
    #[serde(default)]
    pub description: String,
    /// The price of a piece in piconero. An order as a whole must reach the least amount of an escrow.
    pub price: Piconero,
    /// Pieces there are, up to 1,000,000.
    pub stock: u32,
    /// What an order is made on.
    pub terms: ListingTerms,
}

/// `PATCH /api/v1/listings/{id}`: what is left out stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListingChange {
    /// 1 to 190 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// At most 4000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The price of a piece in piconero, for orders from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Piconero>,
    /// Pieces that have come, or gone where negative. Not the number there shall be: orders take pieces meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_stock: Option<i32>,
    /// `active` or `paused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ListingStatus>,
    /// All terms, for orders from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<ListingTerms>,
}

/// A listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListingView {
    /// Its id.
    pub id: ListingId,
    /// Counts its seller's changes; for `If-Match`, and named by whoever orders.
    pub version: i64,
    /// Whose it is.
    pub seller_id: UserId,
    /// The seller's name.
    pub seller: String,
    /// What is for sale, in a few words.
    pub title: String,
    /// What is for sale, in detail.
    pub description: String,
    /// The price of a piece.
    pub price: AmountView,
    /// Pieces that can be ordered now.
    pub stock: u64,
    /// Whether it can be ordered.
    pub status: ListingStatus,
    /// What an order is made on.
    pub terms: ListingTerms,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its seller last changed it.
    pub updated_at: Timestamp,
}

/// A page of listings.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListingPage {
    /// In the order that was asked for.
    pub listings: Vec<ListingView>,
    /// Pass as `after` with the same query to go on; none at the end.
    pub next: Option<String>,
}

impl ListingView {
    /// The escrow that an order opens, as its buyer would ask for it; `None` where no amount is so large. The server makes
    /// the contract of it, and the buyer's program holds the contract against it.
    pub fn to_escrow(&self, quantity: u32, expires_at: Timestamp) -> Option<CreateEscrowRequest> {
        let amount = self.price.piconero.ratio(quantity.into(), 1)?;
        let title = match quantity {
            1 => self.title.clone(),
            many => format!("{many} × {}", self.title),
        };
        let terms = &self.terms;
        Some(CreateEscrowRequest {
            title,
            description: self.description.clone(),
            role: Role::Buyer,
            counterparty: self.seller.clone(),
            arbiter: terms.arbiter.clone(),
            amount,
            buyer_deposit: terms.buyer_deposit,
            seller_deposit: terms.seller_deposit,
            default_outcome: terms.default_outcome,
            expires_at,
            finality_depth: terms.finality_depth,
            cosign_seconds: terms.cosign_seconds,
            replaces: None,
        })
    }
}
