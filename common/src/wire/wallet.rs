//! A person's own monero-wallet-rpc, read through the server.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Bounds on the connection to a wallet.
pub mod bounds {
    /// Bytes of the URL.
    pub const URL: usize = 512;
    /// Bytes of the username, and of the password.
    pub const LOGIN: usize = 128;
    /// Bytes of the wallet's answer.
    pub const ANSWER: usize = 1024 * 1024;
    /// Indices that one call may name.
    pub const INDICES: usize = 100;
}

/// `PUT /api/v1/me/wallet`
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WalletRequest {
    /// Where monero-wallet-rpc listens, without a path: http:// or https://, at most 512 bytes.
    pub url: String,
    /// As in its `--rpc-login`; without a colon. Empty where it has none.
    #[serde(default)]
    pub username: String,
    /// The same.
    #[serde(default)]
    #[schema(format = Password)]
    pub password: String,
}

/// `GET /api/v1/me/wallet`. The password is never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WalletView {
    /// Where it listens.
    pub url: String,
    /// Empty where it has no login.
    pub username: String,
    /// When it was connected.
    pub connected_at: Timestamp,
}

/// `POST /api/v1/me/wallet/rpc`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WalletCallRequest {
    /// `get_version`, `get_height`, `get_balance`, `get_address`, `get_accounts`, `get_transfers` or
    /// `get_transfer_by_txid`.
    pub method: String,
    /// As monero-wallet-rpc documents them for the method; no others.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub params: serde_json::Value,
}

/// What the wallet says.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WalletCallAnswer {
    /// As it came; at most 1 MiB.
    #[schema(value_type = Object)]
    pub result: serde_json::Value,
}
