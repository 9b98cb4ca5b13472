//! The participant's own Monero node: only the price of weight is asked of it here; the wallet asks the rest.

use std::time::Duration;

use serde::Deserialize;

use crate::wallet::{FeeRate, Priority};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The node did not say what was asked.
#[derive(Debug, thiserror::Error)]
#[error("the Monero node: {0}")]
pub struct DaemonError(String);

/// A monerod.
pub struct Daemon {
    http: reqwest::Client,
    url: String,
}

#[derive(Deserialize)]
struct Reply {
    result: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    #[serde(default)]
    fees: Vec<u64>,
    fee: u64,
    quantization_mask: u64,
}

impl Daemon {
    /// A node at `host:port` or a URL.
    pub fn new(address: &str) -> Result<Self, DaemonError> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| DaemonError(error.to_string()))?;
        let base = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        Ok(Self { http, url: format!("{}/json_rpc", base.trim_end_matches('/')) })
    }

    /// `get_fee_estimate` at a fee level.
    pub async fn fee_rate(&self, priority: Priority) -> Result<FeeRate, DaemonError> {
        let failed = |error: reqwest::Error| DaemonError(error.without_url().to_string());
        let body = serde_json::json!({"jsonrpc": "2.0", "id": "0", "method": "get_fee_estimate"});
        let reply = self.http.post(&self.url).json(&body).send().await.map_err(failed)?;
        let Reply { result } = reply.json().await.map_err(failed)?;
        // Nodes before the 2021 fee scaling name only the lowest level.
        let per_byte = result.fees.get(priority.index()).copied().unwrap_or(result.fee);
        Ok(FeeRate { per_byte, mask: result.quantization_mask })
    }
}
