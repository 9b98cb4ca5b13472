//! How an escrow ends, and by whose word.

use serde::{Deserialize, Serialize};

use super::contract::{Contract, DefaultOutcome};
use crate::amount::Piconero;

/// Where the amount goes. Deposits always go back to who paid them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Outcome {
    /// All of it to the seller.
    Release,
    /// All of it back to the buyer.
    Refund,
    /// Divided; the parts add up to the contract's amount.
    Split {
        /// The buyer's part, in piconero.
        buyer: Piconero,
        /// The seller's part, in piconero.
        seller: Piconero,
    },
}

impl Outcome {
    /// The buyer's and the seller's part of the contract's amount; `None` where a split does not add up to it or
    /// leaves one side nothing (that would be a release or a refund under another name).
    pub fn parts(self, amount: Piconero) -> Option<(Piconero, Piconero)> {
        match self {
            Self::Release => Some((Piconero::ZERO, amount)),
            Self::Refund => Some((amount, Piconero::ZERO)),
            Self::Split { buyer, seller } => {
                let whole = buyer.checked_add(seller) == Some(amount);
                (whole && buyer > Piconero::ZERO && seller > Piconero::ZERO).then_some((buyer, seller))
            }
        }
    }
}

impl From<DefaultOutcome> for Outcome {
    fn from(default: DefaultOutcome) -> Self {
        match default {
            DefaultOutcome::Release => Self::Release,
            DefaultOutcome::Refund => Self::Refund,
        }
    }
}

/// By whose word the outcome stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Authority {
    /// The buyer confirmed.
    Buyer,
    /// The seller refunded.
    Seller,
    /// Both traders signed the same settlement.
    Mutual,
    /// The arbiter ruled.
    Ruling,
    /// The contract expired undisputed.
    Expiry,
}

impl Authority {
    /// The arbiter is paid after a ruling and at expiry, whoever signs.
    pub fn pays_arbiter(self) -> bool {
        matches!(self, Self::Ruling | Self::Expiry)
    }
}

/// The outcome at expiry: the default of a funded contract, and a refund of whatever came where it never was.
pub fn at_expiry(contract: &Contract, funded: bool) -> Outcome {
    if funded { contract.default_outcome.into() } else { Outcome::Refund }
}
