//! The participant's own Monero node: the price of weight, and single transactions; the wallet asks the rest.

use aegis_common::chain::{Tx, verify_tx};
use aegis_common::hash::Hash32;
use serde::Deserialize;

use crate::wallet::{FeeRate, Limits, Login, Priority, WalletError, WalletRpc};

/// The node did not say what was asked.
#[derive(Debug, thiserror::Error)]
#[error("the Monero node: {0}")]
pub struct DaemonError(String);

/// A monerod. It speaks JSON-RPC with digest login as its wallet does, so the wallet's client asks it.
pub struct Daemon {
    rpc: WalletRpc,
}

#[derive(Deserialize)]
struct Estimate {
    #[serde(default)]
    fees: Vec<u64>,
    fee: u64,
    quantization_mask: u64,
}

/// One of `get_transactions`.
#[derive(Deserialize)]
struct Entry {
    pruned_as_hex: String,
    prunable_hash: Hash32,
    in_pool: bool,
    #[serde(default)]
    block_height: u64,
}

fn failed(error: WalletError) -> DaemonError {
    DaemonError(match error {
        WalletError::Unreachable(why) => format!("can't be reached: {why}"),
        WalletError::Unauthorized => "refuses the login (--daemon-login)".to_owned(),
        other => other.to_string(),
    })
}

impl Daemon {
    /// A node at `host:port` or a URL.
    pub fn new(address: &str, login: Option<Login>) -> Result<Self, DaemonError> {
        let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let rpc = WalletRpc::new(&url, login).map_err(|_| DaemonError(format!("{address} is no address")))?;
        Ok(Self { rpc })
    }

    /// `get_fee_estimate` at a fee level.
    pub async fn fee_rate(&self, priority: Priority) -> Result<FeeRate, DaemonError> {
        let params = serde_json::json!({});
        let estimate: Estimate =
            self.rpc.call("get_fee_estimate", params, Limits::QUICK).await.map_err(failed)?;
        // Nodes before the 2021 fee scaling name only the lowest level.
        let per_byte = estimate.fees.get(priority.index()).copied().unwrap_or(estimate.fee);
        Ok(FeeRate { per_byte, mask: estimate.quantization_mask })
    }

    /// Whether a transaction is in the pool or in a block.
    pub async fn has(&self, txid: Hash32) -> Result<bool, DaemonError> {
        Ok(self.entry(txid).await?.is_some())
    }

    /// `get_transactions`: one that is in a block, that block's height, and how many blocks there are from it on. None where it is
    /// in none.
    pub async fn mined(&self, txid: Hash32) -> Result<Option<(Tx, u64, u64)>, DaemonError> {
        #[derive(Deserialize)]
        struct Count {
            count: u64,
        }
        let Some(entry) = self.entry(txid).await?.filter(|entry| !entry.in_pool) else {
            return Ok(None);
        };
        let unreadable = || DaemonError(format!("shows no transaction {txid} that can be read"));
        let blob = hex::decode(&entry.pruned_as_hex).map_err(|_| unreadable())?;
        let tx = verify_tx(&blob, Some(entry.prunable_hash), txid).map_err(|_| unreadable())?;
        let Count { count } =
            self.rpc.call("get_block_count", serde_json::json!({}), Limits::QUICK).await.map_err(failed)?;
        Ok(Some((tx, entry.block_height, count.saturating_sub(entry.block_height))))
    }

    async fn entry(&self, txid: Hash32) -> Result<Option<Entry>, DaemonError> {
        #[derive(Deserialize)]
        struct Reply {
            #[serde(default)]
            txs: Vec<Entry>,
        }
        let params = serde_json::json!({"txs_hashes": [txid], "prune": true});
        let reply: Reply = self.rpc.post("/get_transactions", params, Limits::QUICK).await.map_err(failed)?;
        Ok(reply.txs.into_iter().next())
    }
}
