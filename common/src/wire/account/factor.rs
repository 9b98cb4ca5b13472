//! Second factors: codes of an authenticator (TOTP), backup codes, passkeys.

use serde::{Deserialize, Serialize};

use crate::ids::PasskeyId;
use crate::time::Timestamp;

/// A kind of proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum FactorKind {
    /// The account's password: only where it has no second factor.
    Password,
    /// A code of an authenticator.
    Totp,
    /// A backup code.
    BackupCode,
    /// A passkey.
    Passkey,
}

/// A proof that it is really you.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Factor {
    /// The account's password: only where it has no second factor.
    Password(String),
    /// Six digits of an authenticator.
    Totp(String),
    /// A backup code; it works once.
    BackupCode(String),
    /// What `navigator.credentials.get()` gave, as JSON (WebAuthn Level 3, `toJSON()`).
    #[schema(value_type = Object)]
    Passkey(serde_json::Value),
}

/// `POST /api/v1/me/totp`: a new secret. It counts once it is confirmed with a code.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TotpEnrolment {
    /// Base 32, for typing.
    pub secret: String,
    /// `otpauth://` URI.
    pub uri: String,
    /// The URI as a QR code: an SVG document.
    pub svg: String,
    /// The same as a PNG, in base64.
    pub png: String,
}

/// A code of an authenticator.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TotpCode {
    /// Six digits.
    pub code: String,
}

/// Ten codes, each good once. They are shown this once, and those given out before stop working.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupCodes {
    /// The codes.
    pub codes: Vec<String>,
}

/// A challenge for `navigator.credentials`: pass `options` on as they are (after `parseCreationOptionsFromJSON` or
/// `parseRequestOptionsFromJSON`), within five minutes.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyChallenge {
    /// `publicKey` options as JSON (WebAuthn Level 3).
    #[schema(value_type = Object)]
    pub options: serde_json::Value,
}

/// `POST /api/v1/me/passkeys`
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPasskey {
    /// The person's name for it, 1 to 64 characters.
    pub name: String,
    /// What `navigator.credentials.create()` gave, as JSON.
    #[schema(value_type = Object)]
    pub credential: serde_json::Value,
}

/// A passkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyView {
    /// Its id.
    pub id: PasskeyId,
    /// The person's name for it.
    pub name: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last used.
    pub used_at: Option<Timestamp>,
}

/// `GET /api/v1/me/passkeys`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Passkeys {
    /// Oldest first.
    pub passkeys: Vec<PasskeyView>,
}
