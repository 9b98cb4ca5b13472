//! What the lower floors' errors are to a client.

use actix::MailboxError;
use aegis_common::address::AddressError;
use aegis_common::code::Code;

use super::problem::ApiError;
use crate::accounts::AccountError;
use crate::actors::message::Refusal;
use crate::arbiters::ArbiterError;
use crate::crypto::password::PasswordError;
use crate::escrows::{DraftError, ReadError};
use crate::integrations::IntegrationError;
use crate::market::MarketError;
use crate::outside::OutsideError;
use crate::store::StoreError;

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Busy => Code::Busy,
            StoreError::Full => Code::StorageFull,
            StoreError::Unavailable(_) => Code::Unavailable,
            StoreError::UsernameTaken => Code::UsernameTaken,
            StoreError::SessionOver => Code::SessionRevoked,
            StoreError::Uncertain(_)
            | StoreError::Inconsistent(_)
            | StoreError::Sealed(_)
            | StoreError::Duplicate
            | StoreError::Url
            | StoreError::Migration(_) => Code::Internal,
        };
        Self::failure(code, &error)
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Field { field, why } => Self::invalid(field, why),
            AccountError::Address(ref source) => {
                let foreign = matches!(source, AddressError::ForeignNetwork { .. });
                let code = if foreign { Code::ForeignNetwork } else { Code::BadAddress };
                Self::new(code, error.to_string())
            }
            AccountError::Taken => Self::of(Code::UsernameTaken),
            AccountError::Keys(error) => Self::new(Code::BadKeys, error.to_string()),
            AccountError::BadCredentials => Self::of(Code::BadCredentials),
            AccountError::BadFactor => Self::of(Code::BadFactor),
            AccountError::FactorMissing => Self::of(Code::SecondFactorMissing),
            AccountError::FactorExists => Self::of(Code::SecondFactorExists),
            AccountError::BadReset => Self::of(Code::BadReset),
            AccountError::SessionOver => Self::of(Code::SessionRevoked),
            AccountError::BadToken(_) => Self::new(Code::Unauthenticated, error.to_string()),
            AccountError::Disabled => Self::of(Code::AccountDisabled),
            AccountError::RegistrationClosed => Self::of(Code::RegistrationClosed),
            AccountError::InvitationNeeded => Self::of(Code::InvitationNeeded),
            AccountError::BadInvitation => Self::of(Code::BadInvitation),
            AccountError::LimitReached(_) => Self::new(Code::LimitReached, error.to_string()),
            AccountError::PasskeysOff => Self::of(Code::PasskeysOff),
            AccountError::Limited { seconds, .. } => {
                let detail = format!("Too many attempts; wait {seconds} seconds.");
                Self { retry_after: Some(seconds), ..Self::new(Code::RateLimited, detail) }
            }
            AccountError::Unknown => Self::of(Code::NotFound),
            AccountError::Store(error) => error.into(),
            AccountError::Password(PasswordError::Busy) => Self::of(Code::Busy),
            AccountError::Password(PasswordError::Weak(advice)) => Self::new(Code::WeakPassword, advice),
            AccountError::Password(PasswordError::Hash(_))
            | AccountError::Token(_)
            | AccountError::Totp(_)
            | AccountError::Failed(_)
            | AccountError::Inconsistent(_) => Self::failure(Code::Internal, &error),
        }
    }
}

/// What is wrong with a URL, and what became of a call of it.
fn outside(error: &OutsideError, code: Code, said: String) -> ApiError {
    let code = match error {
        OutsideError::Url(_) | OutsideError::Address => Code::UrlNotAllowed,
        OutsideError::TorOff => return ApiError::of(Code::TorOff),
        OutsideError::TooLong(_) => Code::WalletAnswer,
        _ => code,
    };
    ApiError::new(code, said)
}

impl From<IntegrationError> for ApiError {
    fn from(error: IntegrationError) -> Self {
        let said = error.to_string();
        match error {
            IntegrationError::Field { field, why } => Self::invalid(field, why),
            IntegrationError::Url(error) => outside(&error, Code::UrlNotAllowed, said),
            IntegrationError::LimitReached(_) => Self::new(Code::LimitReached, said),
            IntegrationError::Limited { seconds } => {
                Self { retry_after: Some(seconds), ..Self::new(Code::RateLimited, said) }
            }
            IntegrationError::Busy => Self::new(Code::Busy, said),
            IntegrationError::Unknown => Self::of(Code::NotFound),
            IntegrationError::NoWallet => Self::of(Code::WalletMissing),
            IntegrationError::Call(why) => Self::new(Code::WalletCall, why),
            IntegrationError::Wallet(error) => outside(&error, Code::WalletUnreachable, said),
            IntegrationError::WalletLogin => Self::of(Code::WalletLogin),
            IntegrationError::WalletAnswer(why) => Self::new(Code::WalletAnswer, why),
            IntegrationError::WalletRefused(why) => Self::new(Code::WalletRefused, why),
            IntegrationError::Store(error) => error.into(),
            IntegrationError::Inconsistent(_) | IntegrationError::Failed(_) => {
                Self::failure(Code::Internal, &said)
            }
        }
    }
}

impl From<DraftError> for ApiError {
    fn from(error: DraftError) -> Self {
        let code = match error {
            DraftError::Store(error) => return error.into(),
            DraftError::Inconsistent(_) | DraftError::Damaged(_) => {
                return Self::failure(Code::Internal, &error);
            }
            DraftError::NotATrader => Code::Invalid,
            DraftError::UnknownUser { .. } => Code::UnknownUser,
            DraftError::Conflict => Code::ConflictOfInterest,
            DraftError::TooMany => Code::LimitReached,
            DraftError::NoArbiter | DraftError::Barred(_) => Code::NoArbiter,
            DraftError::Replaced(_) => Code::AlreadyDone,
            DraftError::Contract(ref error) => error.code(),
        };
        Self::new(code, error.to_string())
    }
}

impl From<ArbiterError> for ApiError {
    fn from(error: ArbiterError) -> Self {
        match error {
            ArbiterError::NotFound => Self::of(Code::NotFound),
            ArbiterError::Field { field, why } => Self::invalid(field, why),
            ArbiterError::Inconsistent(..) => Self::failure(Code::Internal, &error),
            ArbiterError::Store(error) => error.into(),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound => Self::of(Code::NotFound),
            ReadError::NotReplaceable => Self::new(Code::WrongState, error.to_string()),
            ReadError::Field { field, why } => Self::invalid(field, why),
            ReadError::UnknownUser => Self::new(Code::UnknownUser, error.to_string()),
            ReadError::BadCursor => Self::of(Code::BadCursor),
            ReadError::Inconsistent { .. } => Self::failure(Code::Internal, &error),
            ReadError::Store(error) => error.into(),
        }
    }
}

impl From<MarketError> for ApiError {
    fn from(error: MarketError) -> Self {
        let code = match error {
            MarketError::Store(error) => return error.into(),
            MarketError::Field { field, why } => return Self::invalid(field, why),
            MarketError::Stale { actual } => {
                return Self {
                    current_version: Some(actual),
                    ..Self::new(Code::StaleVersion, error.to_string())
                };
            }
            MarketError::Limited { seconds } => {
                return Self {
                    retry_after: Some(seconds),
                    ..Self::new(Code::RateLimited, error.to_string())
                };
            }
            MarketError::Inconsistent(_) => return Self::failure(Code::Internal, &error),
            MarketError::Unknown => return Self::of(Code::NotFound),
            MarketError::IdempotencyConflict => return Self::of(Code::IdempotencyConflict),
            MarketError::UnknownUser { .. } => Code::UnknownUser,
            MarketError::NotForSale => Code::NotForSale,
            MarketError::OutOfStock => Code::OutOfStock,
            MarketError::LimitReached(_) => Code::LimitReached,
            MarketError::Over(_) => Code::WrongState,
            MarketError::Done(_) => Code::AlreadyDone,
            MarketError::Forbidden(_) => Code::Forbidden,
            MarketError::Undone => Code::Busy,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::Rejected(rejected) => rejected.code(),
            Refusal::NotFound => return Self::of(Code::NotFound),
            Refusal::NotAuthor => Code::WrongAuthor,
            Refusal::BadViewKey => Code::BadViewKey,
            Refusal::Stale { actual } => {
                let stale = Self::new(Code::StaleVersion, refusal.to_string());
                return Self { current_version: Some(*actual), ..stale };
            }
            Refusal::IdempotencyConflict => Code::IdempotencyConflict,
            Refusal::Busy => return Self::failure(Code::Busy, &refusal),
            Refusal::Full => return Self::failure(Code::StorageFull, &refusal),
            Refusal::Unavailable => return Self::failure(Code::Unavailable, &refusal),
            Refusal::Failed => return Self::failure(Code::Internal, &refusal),
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<MailboxError> for ApiError {
    fn from(error: MailboxError) -> Self {
        let busy = match error {
            // It may yet be done: statements and creations can be repeated safely, and that is what tells.
            MailboxError::Timeout => Self::new(Code::Busy, "No answer in time; send the same request again."),
            MailboxError::Closed => Self::of(Code::Unavailable),
        };
        Self { cause: Some(format!("actor: {error}")), ..busy }
    }
}
