//! Becoming somebody: registration, invitations, passwords, prekeys.

use serde::{Deserialize, Serialize};

use super::AccountRole;
use crate::address::Address;
use crate::hash::Signature;
use crate::identity::{IdentityBundle, Prekey};
use crate::ids::{InvitationId, UserId};
use crate::time::Timestamp;

/// `POST /api/v1/auth/register`
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterRequest {
    /// 3 to 32 letters, digits, `_` or `-`; unique without regard to case.
    pub username: String,
    /// 12 characters or more, at most 256 bytes, hard to guess (zxcvbn score 3 or more).
    #[schema(format = Password)]
    pub password: String,
    /// Public keys, each signed.
    pub keys: IdentityBundle,
    /// Where this account is paid.
    pub payout_address: Address,
    /// Token of an invitation; it gives the role. Needed where registration is by invitation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<String>,
}

/// `PUT /api/v1/me/password`
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PasswordRequest {
    /// The present one.
    #[schema(format = Password)]
    pub current: String,
    /// The new one: 12 characters or more, at most 256 bytes, hard to guess.
    #[schema(format = Password)]
    pub new: String,
}

/// `POST /api/v1/auth/reset`: a new password on the word of the signing key. Ends every session and API key.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResetRequest {
    /// The server that is meant: scheme, host and perhaps port of its URL, in lower case.
    pub server: String,
    /// The account.
    pub username: String,
    /// The new password: 12 characters or more, at most 256 bytes, hard to guess.
    #[schema(format = Password)]
    pub password: String,
    /// When it was signed: at most five minutes from now, in either direction.
    pub at: Timestamp,
    /// By the account's signing key, over `"aegis password reset v1\\0"` and the canonical JSON (RFC 8785) of `at`,
    /// `passwordHash` (SHA-256 of the password, hexadecimal), `server` and `username`. Each works once.
    pub signature: Signature,
}

/// `POST /api/v1/me/prekeys`: more prekeys, or a new signed one. Their signatures are the authority.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrekeysRequest {
    /// All one-time and ML-KEM prekeys from before go: their owner has lost the private halves.
    #[serde(default)]
    pub replace: bool,
    /// Takes the place of the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_prekey: Option<Prekey>,
    /// X25519; at most 100, under new numbers.
    #[serde(default)]
    pub one_time_prekeys: Vec<Prekey>,
    /// ML-KEM-1024; at most 16, under new numbers.
    #[serde(default)]
    pub ml_kem_prekeys: Vec<Prekey>,
}

/// How many prekeys are there to be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrekeyStock {
    /// X25519.
    pub one_time_prekeys: u64,
    /// ML-KEM-1024.
    pub ml_kem_prekeys: u64,
}

/// `POST /api/v1/invitations`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InvitationRequest {
    /// What the new account may do.
    pub role: AccountRole,
    /// Hours for which it works, 1 to 720.
    pub hours: u32,
}

/// A new invitation. The token is shown this once.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewInvitation {
    /// For the person invited: `aegis init --invitation-file FILE`.
    pub token: String,
    /// What it is.
    pub invitation: Invitation,
}

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// What the new account may do.
    pub role: AccountRole,
    /// Who made it; nobody where it was made on the server's machine.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// The account that was made with it.
    pub accepted_by: Option<UserId>,
}

/// `GET /api/v1/invitations`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Invitations {
    /// Newest first.
    pub invitations: Vec<Invitation>,
}
