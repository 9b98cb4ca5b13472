//! What can happen to an escrow. Events are journalled as they are, so that replaying the journal gives the snapshot.

use serde::{Deserialize, Serialize};

use super::deadline::Due;
use super::deposits::{OutputId, Sighting};
use super::payout::Payments;
use super::statement::SignedStatement;
use crate::hash::Hash32;
use crate::ids::UserId;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// A party said something.
    Statement {
        /// What.
        signed: Box<SignedStatement>,
    },
    /// An output to the escrow was seen in the pool or in a block.
    DepositSeen {
        /// What was seen.
        seen: Sighting,
    },
    /// An unconfirmed output is in neither pool nor chain any more.
    DepositLost {
        /// Which.
        output: OutputId,
    },
    /// All blocks above a height are undone.
    RolledBack {
        /// The highest block that stands.
        to: u64,
    },
    /// The chain has grown to this height and something may have become final.
    Tip {
        /// Height of the newest block.
        height: u64,
    },
    /// A payout was seen in the pool or in a block: an approved one, or one whose keys prove that it completes a proposal.
    PayoutSeen {
        /// Its id.
        txid: Hash32,
        /// The block; none for the pool.
        height: Option<u64>,
        /// What its keys prove that it pays.
        payments: Payments,
    },
    /// An approved payout is in neither pool nor chain.
    PayoutLost {
        /// Its id.
        txid: Hash32,
    },
    /// A deadline has passed.
    Timer {
        /// Which: only what is due then is accepted. None in journals that were written before it was told.
        #[serde(default)]
        due: Option<Due>,
    },
    /// The server was down for so long since the present answer, or the present pair's signatures, were asked for: nobody could
    /// give them meanwhile.
    Outage {
        /// In all, in seconds.
        seconds: u32,
    },
    /// Somebody wants to delete the escrow.
    Delete {
        /// Who.
        by: UserId,
    },
}

impl Event {
    /// The event's name in the table of the lifecycle; statements by their kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Statement { signed } => signed.statement.act.kind(),
            Self::DepositSeen { .. } => "depositSeen",
            Self::DepositLost { .. } => "depositLost",
            Self::RolledBack { .. } => "rolledBack",
            Self::Tip { .. } => "tip",
            Self::PayoutSeen { .. } => "payoutSeen",
            Self::PayoutLost { .. } => "payoutLost",
            Self::Timer { .. } => "timer",
            Self::Outage { .. } => "outage",
            Self::Delete { .. } => "delete",
        }
    }

    /// Every name there is.
    pub const NAMES: [&'static str; 24] = [
        "accept",
        "round",
        "restart",
        "attest",
        "confirm",
        "refund",
        "dispute",
        "settle",
        "cancel",
        "evidence",
        "ruling",
        "sync",
        "propose",
        "approve",
        "decline",
        "depositSeen",
        "depositLost",
        "rolledBack",
        "tip",
        "payoutSeen",
        "payoutLost",
        "timer",
        "outage",
        "delete",
    ];
}
