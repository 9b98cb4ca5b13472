//! What becomes of the money of an output. Derived from where the escrow stands, never stored.

use serde::{Deserialize, Serialize};

use super::deposits::Deposit;
use super::settling::Paid;
use super::state::{Escrow, Phase};
use crate::amount::Piconero;

/// What becomes of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// It is not final yet: nothing rests on it.
    Awaited,
    /// It is held for what the contract asks for and divided with the payout; what is above that goes back to who paid it.
    Held,
    /// It came to a subaddress for which the contract asks nothing: it doesn't count, and goes back to the buyer with the payout.
    WrongSubaddress,
    /// The payout has divided it.
    PaidOut,
    /// It came too late for the payout and goes back to who paid it.
    Returning,
    /// It came too late, and has gone back.
    Returned,
    /// It stays with the escrow: it is locked, dust or a copy of another's key; or it came too late and is less than a network fee
    /// may be, or one too many.
    Stays,
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Awaited => "not final yet",
            Self::Held => "held",
            Self::WrongSubaddress => {
                "paid where nothing is asked for; goes back to the buyer with the payout"
            }
            Self::PaidOut => "paid out",
            Self::Returning => "came too late; goes back",
            Self::Returned => "came too late; has gone back",
            Self::Stays => "stays with the escrow",
        })
    }
}

impl Escrow {
    /// What becomes of one of its outputs.
    pub fn fate(&self, deposit: &Deposit) -> Fate {
        let spends = |paid: &Paid| paid.spends.contains(&deposit.key);
        match (deposit.refused, &self.phase) {
            (_, Phase::Completed { settled, .. }) if settled.paid.as_ref().is_some_and(spends) => {
                Fate::PaidOut
            }
            (_, Phase::Completed { returns, .. }) if returns.done.iter().any(|done| spends(&done.paid)) => {
                Fate::Returned
            }
            (Some(_), _) => Fate::Stays,
            _ if !deposit.is_final => Fate::Awaited,
            (None, Phase::Completed { .. }) => {
                let is_due = self.undivided().any(|due| due.output == deposit.output);
                if is_due && self.is_worth_returning() { Fate::Returning } else { Fate::Stays }
            }
            _ if deposit.slot.required(&self.contract) == Piconero::ZERO => Fate::WrongSubaddress,
            _ => Fate::Held,
        }
    }
}
