//! The three parts people play in an escrow.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the three parties.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Pays, and receives the goods.
    Buyer,
    /// Delivers, and is paid.
    Seller,
    /// Decides disputes.
    Arbiter,
}

impl Role {
    /// All three, in the order used everywhere.
    pub const ALL: [Self; 3] = [Self::Buyer, Self::Seller, Self::Arbiter];

    /// The other two, in order.
    pub fn others(self) -> [Self; 2] {
        match self {
            Self::Buyer => [Self::Seller, Self::Arbiter],
            Self::Seller => [Self::Buyer, Self::Arbiter],
            Self::Arbiter => [Self::Buyer, Self::Seller],
        }
    }

    /// Buyer or seller.
    pub fn is_trader(self) -> bool {
        self != Self::Arbiter
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buyer => "buyer",
            Self::Seller => "seller",
            Self::Arbiter => "arbiter",
        })
    }
}
