//! What an account shows, what it chooses, and what it keeps here.

use serde::{Deserialize, Serialize};

use super::AccountRole;
use crate::address::Address;
use crate::hash::{Hash32, Key32};
use crate::ids::UserId;
use crate::reputation::{Tally, VolumeBand};
use crate::time::Timestamp;

/// An account as everybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserView {
    /// Its id.
    pub id: UserId,
    /// Its name.
    pub username: String,
    /// What it is called beside its name; may be empty, and anybody may choose any.
    pub display_name: String,
    /// What it may do.
    pub role: AccountRole,
    /// X25519 identity key.
    pub identity_key: Key32,
    /// SHA-256 of the identity key.
    pub fingerprint: Hash32,
    /// Ed25519 signing key.
    pub signing_key: Key32,
    /// From its finished escrows.
    pub reputation: Reputation,
}

/// What an account's finished escrows say. Nobody sets it: anybody who has their journals can count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reputation {
    /// When the account was made.
    pub since: Timestamp,
    /// As a trader: the seller was paid.
    pub released: u64,
    /// The buyer got the money back.
    pub refunded: u64,
    /// The amount was divided.
    pub split: u64,
    /// One of the two had called the arbiter.
    pub disputed: u64,
    /// The arbiter ruled for this account.
    pub won: u64,
    /// The arbiter ruled for the other.
    pub lost: u64,
    /// Prices together.
    pub volume: VolumeBand,
    /// As an arbiter: escrows that were paid out.
    pub arbitrated: u64,
    /// Of these, how many by its ruling.
    pub ruled: u64,
}

impl Reputation {
    /// Of an account made at a moment.
    pub fn of(tally: &Tally, since: Timestamp) -> Self {
        let Tally { released, refunded, split, disputed, won, lost, volume, arbitrated, ruled } = *tally;
        let volume = VolumeBand::of(volume);
        Self { since, released, refunded, split, disputed, won, lost, volume, arbitrated, ruled }
    }
}

/// A page of accounts.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserPage {
    /// By name.
    pub users: Vec<UserView>,
    /// Pass as `after` to go on; nothing where this is all.
    pub next: Option<String>,
}

/// `GET /api/v1/usernames/{username}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsernameView {
    /// Whether an account has this name, in any case.
    pub exists: bool,
}

/// `GET /api/v1/me`: one's own account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeView {
    /// What everybody sees.
    #[serde(flatten)]
    pub user: UserView,
    /// Where contracts made from now on pay this account.
    pub payout_address: Address,
    /// When the account was made.
    pub created_at: Timestamp,
    /// What it chose.
    pub settings: Settings,
    /// Whether an authenticator is set up.
    pub totp_enabled: bool,
    /// Backup codes that are not used yet.
    pub backup_codes: u64,
    /// Passkeys.
    pub passkeys: u64,
}

/// What a person chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Reach what is one's own over Tor: node, webhooks, wallet.
    pub use_tor: bool,
    /// A Monero node of one's own: an http:// or https:// URL without a login, at most 256 characters.
    pub monero_node_url: Option<String>,
    /// Language tag (BCP 47), e.g. `en` or `pt-BR`.
    pub locale: Option<String>,
    /// What to be told of.
    pub notifications: NotificationChoices,
}

/// What to be told of, beside what is always in the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NotificationChoices {
    /// Changes of one's escrows.
    pub escrows: bool,
    /// Messages.
    pub messages: bool,
    /// What happens to one's credentials.
    pub security: bool,
}

impl Default for NotificationChoices {
    fn default() -> Self {
        Self { escrows: true, messages: true, security: true }
    }
}

/// `PATCH /api/v1/me`: what is left out stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileRequest {
    /// At most 64 characters, none of which steers a terminal; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// All settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

/// `PUT /api/v1/users/{username}/role`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleRequest {
    /// What the account may do from now on.
    pub role: AccountRole,
}

/// `PUT /api/v1/me/payout-address`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PayoutAddressRequest {
    /// Where contracts made from now on pay this account.
    pub payout_address: Address,
}

/// A version of the wallet's backup, which only its owner can open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupView {
    /// Grows by one with each.
    pub version: i64,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub sha256: Hash32,
    /// When it came.
    pub created_at: Timestamp,
}

/// `GET /api/v1/me/backups`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backups {
    /// Newest first.
    pub backups: Vec<BackupView>,
}
