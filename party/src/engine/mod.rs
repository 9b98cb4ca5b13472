//! How a participant takes part.
//!
//! ```text
//! cli ──► Desk ── one escrow's book, locked ──► Held: sync · say          (no wallet)
//! run ──► Engine ─ for each escrow: sync, then what is owed:
//!             setup   acceptance · rounds 1-3 · attestation
//!             payout  export · propose · approve · submit
//!             returns the same for what came later, once the payout is proven
//! ```
//!
//! Every output of the wallet is sealed in the book before it is sent, and sent until the transcript shows it, so the
//! program can be killed anywhere and goes on where it was. What the server says is checked against the book, and a
//! payout against the contract, before anything is signed.

pub mod desk;
mod hindrance;
mod holdings;
pub mod payout;
pub mod prekeys;
mod proposal;
mod returns;
pub mod run;
pub mod setup;
pub mod terms;

use aegis_common::escrow::payout::PayoutError;
use aegis_common::escrow::statement::StatementRef;

use crate::book::Fault;
use crate::client::ClientError;
use crate::daemon::DaemonError;
use crate::files::FileError;
use crate::keys::{ArchiveError, KeyError, VaultError};
use crate::wallet::WalletError;

/// A step did not succeed. The next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The server refused, or can't be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server may have set a new password.
    #[error("{0}; the new password may hold, so both are kept: give the command again")]
    PasswordInDoubt(ClientError),
    /// The server did not take a statement.
    #[error("{statement} was not taken: {error}")]
    NotTaken {
        /// The statement.
        statement: StatementRef,
        /// What it answered.
        error: ClientError,
    },
    /// The server, or another party, shows something that can't be.
    #[error("stopped: {0}")]
    Fault(#[from] Fault),
    /// The wallet refused, or can't be reached.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// A private file can't be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A sealed record can't be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The key store can't be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A backup can't be made or opened.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The contract and what was received do not make a payout.
    #[error(transparent)]
    Payout(#[from] PayoutError),
    /// A backup was made of what there is, and something is lacking.
    #[error("{0}")]
    Incomplete(String),
    /// The person has to do something first.
    #[error("{0}")]
    Person(String),
    /// A stored record does not parse.
    #[error("the book of this escrow is damaged: {0}")]
    Book(String),
    /// The Monero node did not say what is asked.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
}

impl EngineError {
    /// A short code for programs.
    pub fn code(&self) -> String {
        match self {
            Self::Fault(_) => "fault".to_owned(),
            Self::Client(error) | Self::PasswordInDoubt(error) | Self::NotTaken { error, .. } => {
                error.wire_code().to_owned()
            }
            Self::Wallet(_) => "wallet".to_owned(),
            Self::File(FileError::Locked(_)) => "locked".to_owned(),
            Self::File(_)
            | Self::Vault(_)
            | Self::Keys(_)
            | Self::Archive(_)
            | Self::Book(_)
            | Self::Incomplete(_) => "local".to_owned(),
            Self::Payout(error) => error.code().wire().to_owned(),
            Self::Person(_) => "ask".to_owned(),
            Self::Daemon(_) => "daemon".to_owned(),
        }
    }
}
