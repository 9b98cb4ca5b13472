//! Lists of escrows: what a row of a list tells, in which order, and how many there are.

use serde::{Deserialize, Serialize};

use super::escrow::{AmountView, EscrowView};
use crate::escrow::state::{Escrow, Status};
use crate::ids::EscrowId;
use crate::role::Role;
use crate::time::Timestamp;

/// Characters in a text to search for.
pub const MAX_TEXT: usize = 200;
/// Words in a text to search for.
pub const MAX_WORDS: usize = 8;

/// What a list is sorted by. Equal ones follow the time of creation, then the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EscrowSort {
    /// When it was created.
    #[default]
    Created,
    /// When it last changed.
    Updated,
    /// The price.
    Amount,
    /// Where it is in its life, from waiting for money to over.
    Status,
}

impl EscrowSort {
    /// Every order there is.
    pub const ALL: [Self; 4] = [Self::Created, Self::Updated, Self::Amount, Self::Status];

    /// The name on the wire.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Amount => "amount",
            Self::Status => "status",
        }
    }
}

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Oldest, smallest or earliest first.
    Asc,
    /// Newest, largest or furthest first.
    #[default]
    Desc,
}

/// Statuses to look for: a list of statuses, `open` (not over) and `over`, separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Statuses(Vec<Status>);

impl Statuses {
    /// The statuses, each once, in the order of an escrow's life; none stands for all.
    pub fn all(&self) -> &[Status] {
        &self.0
    }
}

impl std::str::FromStr for Statuses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut wanted = Vec::new();
        for name in text.split(',') {
            match (name, Status::from_wire(name)) {
                ("open", _) => wanted.extend(Status::ALL.into_iter().filter(|status| !status.is_over())),
                ("over", _) => wanted.extend(Status::ALL.into_iter().filter(|status| status.is_over())),
                (_, Some(status)) => wanted.push(status),
                (_, None) => return Err("a status, open or over is expected, several with commas".to_owned()),
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        Ok(Self(wanted))
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A page of escrows.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EscrowPage {
    /// In the order that was asked for.
    pub escrows: Vec<EscrowItem>,
    /// Escrows of this page that the server can't read: its operator has to look at them.
    #[serde(default)]
    pub unreadable: Vec<EscrowId>,
    /// Pass as `cursor`, with everything else as it was, to go on; none at the end.
    pub next: Option<String>,
}

/// An escrow as a row of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EscrowItem {
    /// Its id.
    pub id: EscrowId,
    /// Counts its changes.
    pub version: i64,
    /// Where it is in its life.
    pub status: Status,
    /// The reader's part.
    pub role: Role,
    /// What is traded, in a few words.
    pub title: String,
    /// The buyer's name.
    pub buyer: String,
    /// The seller's name.
    pub seller: String,
    /// The arbiter's name.
    pub arbiter: String,
    /// The price.
    pub amount: AmountView,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Whether it can't go on without the reader.
    pub waiting_for_me: bool,
    /// What is being confirmed by blocks.
    pub progress: Option<Progress>,
    /// Whether something that came after the payout is on its way back.
    #[serde(default)]
    pub returning: bool,
}

impl EscrowItem {
    /// The row of one of the escrow's parties.
    pub fn of(escrow: &Escrow, version: i64, tip: u64, role: Role, updated_at: Timestamp) -> Self {
        let contract = &escrow.contract;
        Self {
            id: contract.escrow_id,
            version,
            status: escrow.status(),
            role,
            title: contract.title.clone(),
            buyer: contract.buyer.username.clone(),
            seller: contract.seller.username.clone(),
            arbiter: contract.arbiter.username.clone(),
            amount: contract.amount.into(),
            created_at: escrow.created_at,
            updated_at,
            expires_at: contract.expires_at,
            waiting_for_me: escrow.waits_for(role),
            progress: EscrowView::of(escrow, version, tip).progress(),
            returning: escrow.status().is_over() && escrow.settling().is_some(),
        }
    }
}

/// What is being confirmed by blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confirming {
    /// A deposit: of several the one that has furthest to go.
    Deposit,
    /// The payout.
    Payout,
}

/// How far something is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Progress {
    /// What.
    pub of: Confirming,
    /// Blocks it has, at most as many as it needs.
    pub confirmations: u32,
    /// Blocks it needs.
    pub needed: u32,
}

impl EscrowView {
    /// How far the payout is, else the deposit that has furthest to go.
    pub fn progress(&self) -> Option<Progress> {
        let progress = |of, have: u64, needed: u32| {
            let confirmations = u32::try_from(have).unwrap_or(u32::MAX).min(needed);
            Progress { of, confirmations, needed }
        };
        let payout = self.returning.as_ref().or(self.payout.as_ref());
        if let Some(payout) = payout.filter(|payout| payout.seen.is_some()) {
            let needed = self.contract.finality_depth;
            return Some(progress(Confirming::Payout, payout.confirmations, needed));
        }
        let waiting = self.deposits.iter().flat_map(|slot| slot.outputs.iter());
        let open = waiting.filter(|output| output.refused.is_none() && !output.is_final);
        open.map(|output| (output.confirmations, output.needed))
            .min()
            .map(|(have, needed)| progress(Confirming::Deposit, have, needed))
    }
}

/// How many escrows the reader has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EscrowCounts {
    /// By part and status; those of which there are none are left out.
    pub counts: Vec<EscrowCount>,
    /// All that are not over.
    pub open: u64,
    /// All that are over.
    pub over: u64,
}

/// How many escrows of one sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EscrowCount {
    /// The reader's part.
    pub role: Role,
    /// Where they are in their lives.
    pub status: Status,
    /// How many; 10000 stands for as many or more.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_named_one_by_one_or_in_groups() {
        let parsed = |text: &str| text.parse::<Statuses>().map(|statuses| statuses.all().to_vec());
        assert_eq!(parsed("DISPUTED,ACTIVE,ACTIVE"), Ok(vec![Status::Active, Status::Disputed]));
        assert_eq!(parsed("open,over"), Ok(Status::ALL.to_vec()));
        assert!(parsed("over").unwrap().iter().all(|status| status.is_over()));
        for bad in ["", "active", "ACTIVE,", "ACTIVE, DISPUTED", "OPEN"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
