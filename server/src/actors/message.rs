//! What can be said to the actors that own escrows: their whole interface.

use std::sync::Arc;

use actix::Message;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::deposits::Sighting;
use aegis_common::escrow::state::Escrow;
use aegis_common::escrow::statement::SignedStatement;
use aegis_common::escrow::transition::Rejected;
use aegis_common::hash::Hash32;
use aegis_common::ids::{EscrowId, UserId};
use zeroize::Zeroizing;

/// Something for one escrow's actor to do.
pub enum Command {
    /// A party's signed statement, with the shared view key where it attests.
    Statement {
        /// The account that sent it; must be the author.
        by: UserId,
        /// The statement.
        signed: Box<SignedStatement>,
        /// The shared view key, required with `attest`.
        view_key: Option<Zeroizing<[u8; 32]>>,
    },
    /// The initiator deletes the escrow.
    Delete {
        /// Who asks.
        by: UserId,
    },
    /// The chain watcher saw a payment.
    Sighted(Sighting),
    /// Blocks above this height are undone.
    RolledBack {
        /// The highest block that stands.
        to: u64,
    },
    /// The chain has reached the height at which something becomes final.
    Tip {
        /// Height of the newest block.
        height: u64,
    },
    /// A deadline has come.
    Timer,
    /// Look up every transaction that is in no block yet: it may have confirmed or vanished.
    LookUp,
    /// Only read.
    Read,
}

/// Tells an escrow something; answered when the change is durable.
#[derive(Message)]
#[rtype(result = "Result<Snapshot, Refusal>")]
pub struct Tell {
    /// Which escrow.
    pub id: EscrowId,
    /// What to do.
    pub command: Command,
    /// The version the sender believes in (`If-Match`); a stale one is refused.
    pub expected: Option<i64>,
}

/// Creates an escrow for a contract that has been checked.
#[derive(Message)]
#[rtype(result = "Result<Snapshot, Refusal>")]
pub struct Create {
    /// The terms.
    pub contract: Contract,
    /// Who creates it.
    pub initiator: UserId,
    /// The escrow whose place it takes.
    pub replaces: Option<EscrowId>,
    /// The request's idempotency key and hash. A repeated one answers with the escrow of the first.
    pub idempotency: (String, Hash32),
}

/// An escrow as it stands after a command.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The state.
    pub escrow: Arc<Escrow>,
    /// Its version.
    pub version: i64,
    /// The hash of the statement that was posted, new or known.
    pub statement: Option<Hash32>,
}

/// A command is refused; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The rules say no.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// No such escrow, or not the sender's.
    #[error("no such escrow")]
    NotFound,
    /// The sender is not the statement's author.
    #[error("a statement is sent by its author")]
    NotAuthor,
    /// An attestation came without a view key, or with one that does not fit its address.
    #[error("the view key does not belong to the attested address")]
    BadViewKey,
    /// The sender's version is stale.
    #[error("the escrow is at version {actual}")]
    Stale {
        /// The present version.
        actual: i64,
    },
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used with another request")]
    IdempotencyConflict,
    /// A queue is full.
    #[error("the server is busy")]
    Busy,
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The database or the node can't be reached.
    #[error("a part of the server is not available")]
    Unavailable,
    /// The actor failed and is being restarted from its snapshot, or the stored state is inconsistent.
    #[error("the escrow's actor failed")]
    Failed,
}
