//! What one signing attempt is made of, and why a part of it is refused.

use serde::{Deserialize, Serialize};

use super::deposits::Received;
use crate::amount::Piconero;
use crate::code::Code;
use crate::hash::{Hash32, Key32};
use crate::role::Role;
use crate::time::Timestamp;

/// New attempts a pair of signers may start in its turn. More would let one signer use up the other's statements
/// ([`super::statement::bounds::PER_AUTHOR`]).
pub const RETRIES: u32 = 8;

/// A payout statement is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettlingError {
    /// Deposits are not final.
    #[error("the deposits are not all final")]
    NotPayable,
    /// Not one of the two signers, or not this signer's part.
    #[error("the payout is signed by {proposer} (proposes) and {cosigner} (approves)")]
    WrongParty {
        /// Builds the transaction.
        proposer: Role,
        /// Checks and completes it.
        cosigner: Role,
    },
    /// Another signing attempt is under way.
    #[error("the present signing attempt is {present}")]
    WrongAttempt {
        /// The attempt under way.
        present: u32,
    },
    /// The pair has had its attempts; the next pair is asked when its turn is over.
    #[error("these signers have had {RETRIES} new attempts; the next pair is asked when their time is over")]
    Exhausted,
    /// It has been done in this attempt.
    #[error("that has been done in this attempt")]
    AlreadyDone,
    /// The proposal is built on other signing data, or the approval is for another proposal.
    #[error("it is not built on the present signing data")]
    StaleNonces,
    /// A transaction may be on its way.
    #[error("a payout has been approved; a new attempt starts only when it is provably absent")]
    Approved,
}

impl SettlingError {
    /// The code shown to clients.
    pub fn code(self) -> Code {
        match self {
            Self::NotPayable => Code::NotPayable,
            Self::WrongParty { .. } => Code::WrongParty,
            Self::WrongAttempt { .. } => Code::WrongAttempt,
            Self::AlreadyDone | Self::Approved => Code::AlreadyDone,
            Self::StaleNonces => Code::StaleNonces,
            Self::Exhausted => Code::AttemptsExhausted,
        }
    }
}

/// A proposed payout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Proposal {
    /// The `propose` statement.
    pub hash: Hash32,
    /// Its network fee.
    pub fee: Piconero,
    /// What is left with the escrow.
    pub residue: Piconero,
}

/// What a transaction divides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Paid {
    /// What came in, by slot.
    pub received: Received,
    /// The outputs that this is the sum of, by their one-time keys.
    #[serde(default)]
    pub spends: Vec<Key32>,
}

/// A proposal of any attempt, and what it divides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposed {
    /// The `propose` statement.
    pub hash: Hash32,
    /// Its attempt.
    pub attempt: u32,
    /// Who can complete it.
    pub cosigner: Role,
    /// What was final when the attempt began.
    #[serde(flatten)]
    pub divides: Paid,
}

/// An approved payout: a complete transaction that may be on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The transaction.
    pub txid: Hash32,
    /// The proposal it completes.
    pub proposal: Hash32,
    /// When it was approved.
    pub at: Timestamp,
    /// What it spends, by slot: what its attempt was based on.
    pub received: Received,
    /// It was seen, and pays something else.
    pub void: bool,
}

/// Where an approved payout stands on the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OnChain {
    /// The transaction.
    pub txid: Hash32,
    /// The block; none while it is in the pool.
    pub height: Option<u64>,
}
