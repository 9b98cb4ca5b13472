//! Signed statements in three chains that point at each other.
//!
//! Every act that matters is a statement signed by its author. `prev` binds it to the author's own chain, `seen` to
//! the newest statements of the other two that the author knows. Authors never wait for one another, and whoever
//! shows different people different histories is found out by the next statement that arrives.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};

pub use super::chains::{Chain, Chains, Check, TranscriptError, Verified, verify, verify_transcript};
use super::outcome::Outcome;
use crate::address::Address;
use crate::amount::Piconero;
use crate::canonical;
use crate::code::Code;
use crate::hash::{Hash32, Signature};
use crate::ids::{EscrowId, UserId};
use crate::role::Role;

/// Bounds on statements.
pub mod bounds {
    /// Statements one author may make in one escrow.
    pub const PER_AUTHOR: usize = 256;
    /// Bytes in a multisig round message (measured: 236 at most).
    pub const MESSAGE: usize = 1_024;
    /// Bytes in a reason.
    pub const REASON: usize = 4_000;
    /// Statements of an author after which no more evidence is taken from them: the rest is for signing.
    pub const WITH_EVIDENCE: usize = 128;
    /// Files named in one statement.
    pub const EXHIBITS: usize = 16;
    /// Bytes in a file's name.
    pub const FILE_NAME: usize = 255;
    /// The largest size of a file: canonical JSON (RFC 8785) knows whole numbers up to this, and what is signed must read the same.
    pub const FILE_BYTES: u64 = (1 << 53) - 1;
    /// Hex digits in exported signing data. The wallet exports every output it ever received, some 900 digits each, dust
    /// too; so this bounds how many outputs an escrow may receive, about 1,150, before it can't be paid out any more.
    pub const SYNC: usize = 1_048_576;
    /// Hex digits in a transaction set.
    pub const TXSET: usize = 524_288;
    /// Transaction keys: the main one and one for every output.
    pub const TX_KEYS: usize = 17;
}

/// What a statement says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", content = "payload", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Act {
    /// The author agrees to the contract.
    Accept {},
    /// The author's message of a multisig round.
    Round {
        /// Setup attempt, from 1.
        attempt: u32,
        /// Round 1, 2 or 3.
        round: u8,
        /// What the wallet returned.
        message: String,
    },
    /// The author lost a wallet output and asks all three for a new setup attempt.
    Restart {
        /// The new attempt: the present one plus one.
        attempt: u32,
        /// Why.
        reason: String,
    },
    /// The author's wallet is ready, and a restore from its backup gave the same address.
    Attest {
        /// Setup attempt.
        attempt: u32,
        /// The multisig address.
        address: Address,
        /// Signatures needed: 2.
        threshold: u8,
        /// Signers: 3.
        total: u8,
        /// What `is_multisig` says of the wallet.
        ready: bool,
    },
    /// Buyer: all is well, pay the seller. Seller: I have delivered.
    Confirm {},
    /// The seller gives the money back.
    Refund {},
    /// A trader calls the arbiter.
    Dispute {
        /// What went wrong.
        reason: String,
    },
    /// A trader offers to end it this way; it holds when the other signs the same.
    Settle {
        /// The proposed outcome.
        outcome: Outcome,
    },
    /// A trader offers to call it off: a settlement that pays everybody back.
    Cancel {},
    /// What the author puts on record while the money lies there: words, and files by their hashes. It moves nothing.
    Evidence {
        /// What it shows.
        text: String,
        /// Files that the author keeps and can show.
        files: Vec<Exhibit>,
    },
    /// The arbiter's decision.
    Ruling {
        /// The outcome.
        outcome: Outcome,
        /// The reasons.
        reason: String,
    },
    /// The author does not want this escrow. Before money can come, and not after the author's own attestation.
    Decline {
        /// Why.
        reason: String,
    },
    /// `export_multisig_info` of the author's wallet for one signing attempt.
    Sync {
        /// Signing attempt, from 1.
        attempt: u32,
        /// The exported data, hex.
        info: String,
    },
    /// The proposer's transaction, signed once.
    #[serde(rename_all = "camelCase")]
    Propose {
        /// Signing attempt.
        attempt: u32,
        /// The two `Sync` statements it is built on: proposer's and cosigner's.
        built_on: [Hash32; 2],
        /// The multisig transaction set, hex.
        txset: String,
        /// Transaction secret keys, which prove what it pays: main key, then additional ones.
        tx_keys: Vec<Hash32>,
        /// Network fee.
        fee: Piconero,
        /// What goes back to the escrow's own address.
        residue: Piconero,
    },
    /// The cosigner's signature on the proposal; the transaction is complete.
    Approve {
        /// Signing attempt.
        attempt: u32,
        /// The proposal's hash.
        proposal: Hash32,
        /// The transaction's id.
        txid: Hash32,
        /// The fully signed set, hex, so that either signer can submit it.
        txset: String,
    },
}

impl Act {
    /// The kind's name on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Accept {} => "accept",
            Self::Round { .. } => "round",
            Self::Restart { .. } => "restart",
            Self::Attest { .. } => "attest",
            Self::Confirm {} => "confirm",
            Self::Refund {} => "refund",
            Self::Dispute { .. } => "dispute",
            Self::Settle { .. } => "settle",
            Self::Cancel {} => "cancel",
            Self::Evidence { .. } => "evidence",
            Self::Ruling { .. } => "ruling",
            Self::Decline { .. } => "decline",
            Self::Sync { .. } => "sync",
            Self::Propose { .. } => "propose",
            Self::Approve { .. } => "approve",
        }
    }

    pub(super) fn within_bounds(&self) -> bool {
        let hex = |text: &str, most: usize| {
            !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_hexdigit())
        };
        match self {
            Self::Round { message, .. } => message.len() <= bounds::MESSAGE,
            Self::Restart { reason, .. }
            | Self::Dispute { reason }
            | Self::Decline { reason }
            | Self::Ruling { reason, .. } => !reason.trim().is_empty() && reason.len() <= bounds::REASON,
            Self::Evidence { text, files } => {
                let spoken = !text.trim().is_empty() && text.len() <= bounds::REASON;
                spoken && files.len() <= bounds::EXHIBITS && files.iter().all(Exhibit::within_bounds)
            }
            Self::Sync { info, .. } => hex(info, bounds::SYNC),
            Self::Propose { txset, tx_keys, .. } => {
                hex(txset, bounds::TXSET) && (1..=bounds::TX_KEYS).contains(&tx_keys.len())
            }
            Self::Approve { txset, .. } => hex(txset, bounds::TXSET),
            Self::Accept {}
            | Self::Attest { .. }
            | Self::Confirm {}
            | Self::Refund {}
            | Self::Settle { .. }
            | Self::Cancel {} => true,
        }
    }
}

/// A file that its author can show: whoever is given one compares it with this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Exhibit {
    /// Its name, without a path.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub sha256: Hash32,
}

impl Exhibit {
    fn within_bounds(&self) -> bool {
        let is_name = !self.name.is_empty() && self.name.len() <= bounds::FILE_NAME;
        let is_size = self.bytes <= bounds::FILE_BYTES;
        is_size && is_name && !self.name.contains(|c: char| c.is_control() || c == '/')
    }
}

/// The heads of the two other authors' chains as the author knew them; absent where it knew none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub struct Seen {
    /// The buyer's newest statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<Hash32>,
    /// The seller's newest statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seller: Option<Hash32>,
    /// The arbiter's newest statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arbiter: Option<Hash32>,
}

impl Seen {
    /// What was seen of one role's chain.
    pub fn of(&self, role: Role) -> Option<Hash32> {
        match role {
            Role::Buyer => self.buyer,
            Role::Seller => self.seller,
            Role::Arbiter => self.arbiter,
        }
    }
}

/// A statement, unsigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// The escrow.
    pub escrow_id: EscrowId,
    /// Its contract.
    pub contract_hash: Hash32,
    /// Who speaks.
    pub author: UserId,
    /// In which role.
    pub role: Role,
    /// Position in the author's chain, from 0.
    pub seq: u32,
    /// Hash of the author's previous statement in this escrow.
    pub prev: Option<Hash32>,
    /// Heads of the other two chains.
    pub seen: Seen,
    /// What is said: `kind` and `payload`.
    #[serde(flatten)]
    pub act: Act,
}

/// Keeps an escrow statement from ever being taken for another signed thing.
pub(super) const DOMAIN: &[u8] = b"aegis-escrow-statement-v1\0";

impl Statement {
    /// SHA-256 of the canonical bytes: the statement's name everywhere.
    pub fn hash(&self) -> Result<Hash32, canonical::NotCanonical> {
        canonical::hash(self)
    }

    pub(super) fn signed_bytes(&self) -> Result<Vec<u8>, canonical::NotCanonical> {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend(canonical::to_bytes(self)?);
        Ok(bytes)
    }

    /// Signs the statement (Ed25519, RFC 8032, over a domain prefix and the canonical bytes).
    pub fn sign(self, key: &SigningKey) -> Result<SignedStatement, canonical::NotCanonical> {
        let signature = Signature(key.sign(&self.signed_bytes()?).to_bytes());
        Ok(SignedStatement { statement: self, signature })
    }
}

/// A statement with its author's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedStatement {
    /// What is said.
    pub statement: Statement,
    /// By the author's signing key.
    pub signature: Signature,
}

/// Names a statement to a person: whose, which, what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRef {
    /// The role it claims.
    pub role: Role,
    /// Its position in the author's chain.
    pub seq: u32,
    /// Its kind.
    pub kind: String,
}

impl fmt::Display for StatementRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {}'s statement {} ({})", self.role, self.seq, self.kind)
    }
}

impl From<&Statement> for StatementRef {
    fn from(s: &Statement) -> Self {
        Self { role: s.role, seq: s.seq, kind: s.act.kind().to_owned() }
    }
}

/// What is wrong with a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Another escrow or another contract.
    #[error("belongs to another escrow or another contract")]
    WrongEscrow,
    /// The author does not play that role.
    #[error("names an author who does not play that role")]
    WrongAuthor,
    /// Too long, or not hex where hex is due.
    #[error("has a payload outside its bounds")]
    OutOfBounds,
    /// The signature does not fit.
    #[error("does not carry its author's signature")]
    BadSignature,
    /// `seq` or `prev` do not continue the chain.
    #[error("does not continue its author's chain")]
    BrokenChain,
    /// Another statement of this author stands in its place.
    #[error("contradicts another statement its author signed in the same place")]
    Fork,
    /// `seen` names something unknown, or less than the author's previous statement had seen.
    #[error("refers to a statement that is missing here")]
    UnknownSeen,
    /// The author has said too much.
    #[error("exceeds the number of statements allowed to one author")]
    TooMany,
}

impl StatementError {
    /// The code shown to clients.
    pub fn code(self) -> Code {
        match self {
            Self::WrongEscrow => Code::WrongEscrow,
            Self::WrongAuthor => Code::WrongAuthor,
            Self::OutOfBounds => Code::Invalid,
            Self::BadSignature => Code::BadSignature,
            Self::BrokenChain => Code::BrokenChain,
            Self::Fork => Code::Fork,
            Self::UnknownSeen => Code::UnknownSeen,
            Self::TooMany => Code::TooManyStatements,
        }
    }
}
