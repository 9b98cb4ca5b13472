//! The participant's own Monero node: only the price of weight is asked of it here; the wallet asks the rest.

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
}
