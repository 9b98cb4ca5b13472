//! Accounts: registration, login, second factors, sessions, profiles, invitations, backups of wallets.

mod access;
mod factor;
mod profile;
mod register;

use serde::{Deserialize, Serialize};

pub use access::{
    ApiKeyRequest, ApiKeyView, ApiKeys, AuditEntry, AuditPage, LoggedIn, LoginAnswer, LoginRequest,
    NewApiKey, RefreshRequest, Scope, SecondFactorNeeded, SecondFactorRequest, SessionView, Sessions,
    StepUpRequest, StepUpView, TicketResponse,
};
pub use factor::{
    BackupCodes, Factor, FactorKind, NewPasskey, PasskeyChallenge, PasskeyView, Passkeys, TotpCode,
    TotpEnrolment,
};
pub use profile::{
    BackupView, Backups, MeView, NotificationChoices, PayoutAddressRequest, ProfileRequest, Reputation,
    RoleRequest, Settings, UserPage, UserView, UsernameView,
};
pub use register::{
    Invitation, InvitationRequest, Invitations, NewInvitation, PasswordRequest, PrekeyStock, PrekeysRequest,
    RegisterRequest, ResetRequest,
};

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
    /// Least characters in a password.
    pub const PASSWORD: usize = 12;
    /// Most bytes in a password. Argon2id takes any; the bound keeps requests small.
    pub const PASSWORD_BYTES: usize = 256;
    /// Least zxcvbn score of a password, of 4: safely unguessable without the hash.
    pub const PASSWORD_SCORE: u8 = 3;
    /// Characters in a name that a person gives to a device, a passkey or an API key.
    pub const LABEL: std::ops::RangeInclusive<usize> = 1..=64;
    /// Characters in a display name.
    pub const DISPLAY_NAME: usize = 64;
    /// Characters in the URL of a node.
    pub const URL: usize = 256;
    /// Passkeys of one account.
    pub const PASSKEYS: usize = 16;
    /// API keys of one account.
    pub const API_KEYS: usize = 32;
    /// Logins of one account; one more ends the one that was used least recently.
    pub const SESSIONS: usize = 32;
    /// Days that an API key may work.
    pub const API_KEY_DAYS: std::ops::RangeInclusive<u32> = 1..=366;
    /// Hours that an invitation may work.
    pub const INVITATION_HOURS: std::ops::RangeInclusive<u32> = 1..=24 * 30;
    /// Invitations of one account that are not used yet.
    pub const INVITATIONS: usize = 100;
    /// Bytes of a wallet's backup.
    pub const BACKUP: usize = 1024 * 1024;
    /// Versions of it that are kept; a new one takes the place of the oldest.
    pub const BACKUPS: usize = 10;
    /// Characters in a search for users.
    pub const PREFIX: std::ops::RangeInclusive<usize> = 3..=32;
    /// Unused one-time prekeys that are kept, and as many ML-KEM prekeys.
    pub const PREKEYS: usize = 200;
    /// Backup codes that are given out together.
    pub const BACKUP_CODES: usize = 10;
}
