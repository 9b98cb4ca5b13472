//! Getting in and staying in: login, sessions, API keys, and what was done with credentials.

use serde::{Deserialize, Serialize};

use super::UserView;
use super::factor::{Factor, FactorKind};
use crate::ids::SessionId;
use crate::time::Timestamp;

/// `POST /api/v1/auth/login`
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoginRequest {
    /// The username.
    pub username: String,
    /// The password.
    #[schema(format = Password)]
    pub password: String,
    /// What the session is called in the list of sessions; at most 64 characters. The `User-Agent` where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// What a right password gets.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "status", rename_all = "camelCase")]
pub enum LoginAnswer {
    /// A session.
    LoggedIn(Box<LoggedIn>),
    /// The account has a second factor: go on with `POST /api/v1/auth/second-factor`.
    SecondFactor(SecondFactorNeeded),
}

/// A session's tokens.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggedIn {
    /// JWT (EdDSA) for `Authorization: Bearer`.
    pub token: String,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// For `POST /api/v1/auth/refresh`; works once.
    pub refresh_token: String,
    /// When the session ends if it is not refreshed before.
    pub refresh_expires_at: Timestamp,
    /// The session.
    pub session: SessionId,
    /// The account.
    pub user: UserView,
}

/// The password was right; the second factor is missing.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecondFactorNeeded {
    /// For five minutes, five attempts, and from this address only.
    pub token: String,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// What the account can prove itself with.
    pub methods: Vec<FactorKind>,
    /// Options for `navigator.credentials.get()`, where it has a passkey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub passkey: Option<serde_json::Value>,
}

/// `POST /api/v1/auth/second-factor`
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecondFactorRequest {
    /// From the login.
    pub token: String,
    /// The proof.
    pub factor: Factor,
}

/// `POST /api/v1/auth/refresh`
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefreshRequest {
    /// The last one of the session. One that was used before ends the session: somebody has a copy.
    pub refresh_token: String,
}

/// `POST /api/v1/auth/step-up`: proves anew who is there, for what asks for it.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepUpRequest {
    /// The second factor; the password where there is none.
    pub factor: Factor,
}

/// A token that may do what asks for a fresh proof. Those from before may not.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepUpView {
    /// JWT (EdDSA) for `Authorization: Bearer`.
    pub token: String,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// Until when it counts as freshly proved: five minutes from now.
    pub until: Timestamp,
}

/// A login on one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// The device, as it named itself.
    pub device: String,
    /// The network of the address it was last used from: a /24, or a /48 of IPv6.
    pub network: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last refreshed.
    pub used_at: Timestamp,
    /// When it ends if it is not refreshed before.
    pub expires_at: Timestamp,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// `GET /api/v1/me/sessions`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    /// The most recently used first.
    pub sessions: Vec<SessionView>,
}

/// What an API key may do. No credential can be changed with one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read escrows, events, profiles.
    Read,
    /// Make and delete escrows and say statements, which are signed anyway.
    Trade,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 2] = [Self::Read, Self::Trade];

    /// The name on the wire and in the database.
    pub fn wire(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Trade => "trade",
        }
    }

    /// The scope of a wire name.
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.wire() == name)
    }
}

/// `POST /api/v1/me/api-keys`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKeyRequest {
    /// What it is for, 1 to 64 characters.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Days for which it works, 1 to 366.
    pub days: u32,
}

/// A new API key. The key is shown this once.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewApiKey {
    /// For `Authorization: Bearer`.
    pub key: String,
    /// What it is.
    pub view: ApiKeyView,
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyView {
    /// Its id.
    pub id: SessionId,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub used_at: Option<Timestamp>,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// `GET /api/v1/me/api-keys`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeys {
    /// Newest first.
    pub keys: Vec<ApiKeyView>,
}

/// Something that was done, or tried, with an account's credentials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Position.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What, e.g. `loggedIn`, `loginFailed`, `passwordChanged`.
    pub kind: String,
    /// The network of the address it came from: a /24, or a /48 of IPv6; nothing where it came from the server's machine.
    pub network: Option<String>,
    /// More of it.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
}

/// `GET /api/v1/me/audit`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// Pass as `before` to go on; nothing where this is all.
    pub next: Option<i64>,
}

/// `POST /api/v1/ws/ticket`
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketResponse {
    /// Good for one WebSocket, within thirty seconds.
    pub ticket: String,
}
