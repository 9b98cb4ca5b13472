//! A private Monero chain with its own miner and a funded wallet.

mod chain;
mod funds;
mod miner;

pub use chain::Chain;
pub use funds::{Funds, Incoming, PAYEES, Payment};
pub use miner::Miner;
