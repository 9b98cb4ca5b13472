//! The one door to `monero-wallet-rpc`: the process, its JSON-RPC, and the multisig operations over it.
//!
//! ```text
//! MultisigWallet   operations by wallet file; guards the nonces; makes every step durable
//!   WalletRpc      typed calls, digest login, one connection, time and size limits
//!     WalletProcess  a private monero-wallet-rpc of our own, or one that was given
//! ```

mod backup;
mod calls;
mod error;
mod fee;
mod guard;
mod multisig;
mod name;
mod process;
mod replies;
mod rpc;
mod signing;

pub use error::WalletError;
pub use fee::{FeeRate, Priority, TxShape, estimate_fee};
pub use guard::NonceGuard;
pub use multisig::{MultisigWallet, RoundOutput, Session};
pub use name::WalletName;
pub use process::{MIN_VERSION, ProcessOptions, WalletAccess, WalletProcess};
pub use replies::{
    Balance, Described, Destination, IncomingTransfer, MadeTxset, MultisigStatus, Recipient, SignedTxset,
    SubaddressBalance, SubaddressIndex, Transfer, Transfers,
};
pub(crate) use rpc::Limits;
pub use rpc::{Login, WalletRpc};
