//! Accounts: registration, login, profiles.

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::hash::{Hash32, Key32};
use crate::ids::UserId;
use crate::time::Timestamp;

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccountRole {
    /// Trades.
    User,
    /// Trades, and decides disputes of others.
    Arbiter,
    /// Watches over the server.
    Operator,
    /// Manages accounts as well.
    Admin,
}

impl AccountRole {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::User, Self::Arbiter, Self::Operator, Self::Admin];

    /// The name on the wire and in the database.
    pub fn wire(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Arbiter => "arbiter",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of a wire name.
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.wire() == name)
    }
}

/// Bounds on account fields.
pub mod bounds {
    /// Bytes in a password. Argon2id takes any; the upper bound keeps requests small.
    pub const PASSWORD: std::ops::RangeInclusive<usize> = 12..=256;
}

/// `POST /api/v1/auth/register`
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterRequest {
    /// 3 to 32 letters, digits, `_` or `-`; unique without regard to case.
    pub username: String,
    /// 12 to 256 bytes.
    pub password: String,
    /// X25519 identity key.
    pub identity_key: Key32,
    /// Ed25519 key that will sign statements.
    pub signing_key: Key32,
    /// Where this account is paid.
    pub payout_address: Address,
}

/// `POST /api/v1/auth/login`
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoginRequest {
    /// The username.
    pub username: String,
    /// The password.
    pub password: String,
}

/// A bearer token.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoginResponse {
    /// JWT (EdDSA) for `Authorization: Bearer`.
    pub token: String,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// The account.
    pub user: UserView,
}

/// An account as everybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserView {
    /// Its id.
    pub id: UserId,
    /// Its name.
    pub username: String,
    /// What it may do.
    pub role: AccountRole,
    /// X25519 identity key.
    pub identity_key: Key32,
    /// SHA-256 of the identity key.
    pub fingerprint: Hash32,
    /// Ed25519 signing key.
    pub signing_key: Key32,
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

/// `POST /api/v1/ws/ticket`
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketResponse {
    /// Good for one WebSocket, within thirty seconds.
    pub ticket: String,
}
