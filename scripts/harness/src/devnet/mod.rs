//! A private Monero chain with its own miner and a funded wallet.

mod chain;
mod funds;
mod miner;
mod state;
mod wallet;

pub use chain::{Chain, OnChain};
pub use funds::{Funds, Incoming, PAYEES, Payment};
pub use miner::Miner;
pub use state::State;
pub use wallet::WalletServer;
