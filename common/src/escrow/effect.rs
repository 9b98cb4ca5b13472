//! What a transition asks the world to do, as data. The server turns it into durable rows in the same commit.

use serde::{Deserialize, Serialize};

use super::deposits::{OutputId, Refusal, Slot};
use super::state::{CalledOff, Status};
use crate::address::Address;
use crate::amount::Piconero;
use crate::hash::Hash32;
use crate::ids::{EscrowId, UserId};
use crate::role::Role;
use crate::time::Timestamp;

/// Something the three parties are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", content = "data", rename_all_fields = "camelCase")]
pub enum Notice {
    /// The escrow exists.
    EscrowInit {},
    /// An arbiter is assigned: with every escrow, as it is made.
    EscrowAssigned {
        /// Who.
        arbiter: UserId,
    },
    /// A party made a statement.
    StatementPosted {
        /// Whose.
        role: Role,
        /// Position in its chain.
        seq: u32,
        /// Its kind.
        kind: String,
        /// Its hash.
        hash: Hash32,
    },
    /// The status changed.
    EscrowStatusChanged {
        /// Before.
        from: Status,
        /// After.
        to: Status,
    },
    /// All three attest the same address: the escrow can be funded.
    AddressReady {
        /// The address.
        address: Address,
    },
    /// The attested addresses differ: the escrow is stopped for good.
    AddressMismatch {
        /// The parties that disagree with the first attestation.
        disagreeing: Vec<Role>,
    },
    /// A deposit was seen, in the pool or in a block.
    DepositSeen {
        /// Which output.
        output: OutputId,
        /// What for.
        slot: Slot,
        /// How much.
        amount: Piconero,
        /// The block, if any.
        height: Option<u64>,
    },
    /// A deposit was seen and is not credited.
    DepositRefused {
        /// Which output.
        output: OutputId,
        /// How much.
        amount: Piconero,
        /// Why not.
        reason: Refusal,
    },
    /// A deposit is final.
    TransactionConfirmed {
        /// Which output.
        output: OutputId,
        /// What for.
        slot: Slot,
        /// How much.
        amount: Piconero,
    },
    /// The chain took a deposit back; it may come again.
    DepositReverted {
        /// Which output.
        output: OutputId,
        /// How much.
        amount: Piconero,
    },
    /// Expiry is near.
    #[serde(rename_all = "camelCase")]
    ExpiryWarning {
        /// When it comes.
        expires_at: Timestamp,
    },
    /// Somebody has not answered in time.
    #[serde(rename_all = "camelCase")]
    AnswerOverdue {
        /// Who.
        waiting_for: Vec<Role>,
        /// Since when an answer is awaited.
        since: Timestamp,
    },
    /// It was called off before any money came.
    EscrowCalledOff {
        /// Why.
        why: CalledOff,
    },
    /// Another escrow has taken its place: the terms were edited, or another arbiter was found.
    EscrowReplaced {
        /// Which.
        by: EscrowId,
    },
    /// Nobody can be had at the moment to take the place of the arbiter who would not. It is tried again and again until the
    /// escrow would have expired.
    ArbiterWanted {},
    /// The arbiter's program has not been heard for long, while money depends on it.
    ArbiterSilent {
        /// Since when.
        since: Timestamp,
    },
    /// Two parties are asked to sign the payout.
    SignersAsked {
        /// Signing attempt.
        attempt: u32,
        /// Builds the transaction.
        proposer: Role,
        /// Checks and completes it.
        cosigner: Role,
    },
    /// The payout is on its way or in a block.
    PayoutSeen {
        /// Its id.
        txid: Hash32,
        /// The block, if any.
        height: Option<u64>,
    },
    /// An approved transaction does not pay what the contract says: its cosigner named a stranger's, or both signers
    /// broke the contract.
    PayoutMismatch {
        /// Its id.
        txid: Hash32,
    },
    /// The payout vanished from pool and chain; it is signed anew.
    PayoutLost {
        /// Its id.
        txid: Hash32,
    },
    /// What came after the payout has gone back to who paid it, for good.
    LatePaymentReturned {
        /// By which transaction.
        txid: Hash32,
    },
}

impl Notice {
    /// The type's name on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::EscrowInit {} => "EscrowInit",
            Self::EscrowAssigned { .. } => "EscrowAssigned",
            Self::StatementPosted { .. } => "StatementPosted",
            Self::EscrowStatusChanged { .. } => "EscrowStatusChanged",
            Self::AddressReady { .. } => "AddressReady",
            Self::AddressMismatch { .. } => "AddressMismatch",
            Self::DepositSeen { .. } => "DepositSeen",
            Self::DepositRefused { .. } => "DepositRefused",
            Self::TransactionConfirmed { .. } => "TransactionConfirmed",
            Self::DepositReverted { .. } => "DepositReverted",
            Self::ExpiryWarning { .. } => "ExpiryWarning",
            Self::AnswerOverdue { .. } => "AnswerOverdue",
            Self::EscrowCalledOff { .. } => "EscrowCalledOff",
            Self::EscrowReplaced { .. } => "EscrowReplaced",
            Self::ArbiterWanted {} => "ArbiterWanted",
            Self::ArbiterSilent { .. } => "ArbiterSilent",
            Self::SignersAsked { .. } => "SignersAsked",
            Self::PayoutSeen { .. } => "PayoutSeen",
            Self::PayoutMismatch { .. } => "PayoutMismatch",
            Self::PayoutLost { .. } => "PayoutLost",
            Self::LatePaymentReturned { .. } => "LatePaymentReturned",
        }
    }
}

/// One effect of a transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Tell the three parties.
    Notify(Notice),
    /// Start watching the chain for payments to this address.
    Watch(Address),
}
