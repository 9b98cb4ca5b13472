//! What can go wrong between the program and its database.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::dialect;
use crate::crypto::SealError;

/// A read or a simple write failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database can't be reached or refused to work. Nothing was changed.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// More requests are waiting than the store accepts. Nothing was changed.
    #[error("too many requests are waiting for the database")]
    Busy,
    /// The disk is full. Nothing was changed.
    #[error("the database's disk is full")]
    Full,
    /// The connection broke while committing: the change may or may not be there. Read it back.
    #[error("the database failed while committing, the outcome is unknown: {0}")]
    Uncertain(String),
    /// A stored or given value is impossible.
    #[error("inconsistent data: {0}")]
    Inconsistent(String),
    /// A sealed column does not open: wrong or lost key, or damage.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// The row, or its unique value, is already there.
    #[error("already exists")]
    Duplicate,
    /// Another account has this name, in some spelling of case.
    #[error("the username is taken")]
    UsernameTaken,
    /// The session that an act rests on is over, or its account may do less by now. Nothing was changed.
    #[error("the session is over")]
    SessionOver,
    /// The database URL is not one of ours.
    #[error("a database URL looks like sqlite:PATH or postgres://USER@HOST/NAME")]
    Url,
    /// A schema migration failed.
    #[error("migrating the database failed: {0}")]
    Migration(String),
}

/// An escrow's commit failed. Only [`CommitError::Uncertain`] leaves a doubt; otherwise nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Another change came first.
    #[error("the escrow is at version {actual}")]
    Stale {
        /// The version that is stored.
        actual: i64,
    },
    /// There is no escrow of this id to change.
    #[error("there is no such escrow")]
    Missing,
    /// The new escrow, its statement, its journal version or one of its events is already stored.
    #[error("the escrow, statement or event is already stored")]
    Duplicate,
    /// The user's idempotency key was used before: answer with the stored response.
    #[error("the idempotency key was used before")]
    IdempotencyConflict,
    /// The order that the new escrow belongs to was undone before the escrow was made.
    #[error("the order was undone")]
    Undone,
    /// The disk is full.
    #[error("the database's disk is full")]
    Full,
    /// More commits are waiting than the store accepts.
    #[error("too many commits are waiting for the database")]
    Busy,
    /// The database can't be reached or refused to work.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The connection broke while committing: the change may or may not be there. Reload the escrow.
    #[error("the database failed while committing, the outcome is unknown: {0}")]
    Uncertain(String),
    /// The commit contradicts itself or the schema: a mistake in the program.
    #[error("inconsistent commit: {0}")]
    Inconsistent(String),
}

/// A whole batch failed, and every item of it for the same reason.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    Full,
    Unavailable(String),
    Uncertain(String),
    Busy,
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full => Self::Full,
            Failure::Unavailable(why) => Self::Unavailable(why),
            Failure::Uncertain(why) => Self::Uncertain(why),
            Failure::Busy => Self::Busy,
        }
    }
}

impl From<Failure> for CommitError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full => Self::Full,
            Failure::Unavailable(why) => Self::Unavailable(why),
            Failure::Uncertain(why) => Self::Uncertain(why),
            Failure::Busy => Self::Busy,
        }
    }
}

impl From<DieselError> for Failure {
    fn from(error: DieselError) -> Self {
        let text = error.to_string();
        if dialect::says_disk_full(&text) { Self::Full } else { Self::Unavailable(text) }
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        use DatabaseErrorKind as Kind;
        match error {
            DieselError::DatabaseError(Kind::UniqueViolation, _) => Self::Duplicate,
            DieselError::DatabaseError(
                Kind::ForeignKeyViolation | Kind::NotNullViolation | Kind::CheckViolation,
                info,
            ) => Self::Inconsistent(info.message().to_owned()),
            DieselError::DeserializationError(why) => Self::Inconsistent(why.to_string()),
            other => Failure::from(other).into(),
        }
    }
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) | StoreError::Migration(why) => Self::Unavailable(why),
            StoreError::Busy => Self::Busy,
            StoreError::Full => Self::Full,
            StoreError::Uncertain(why) => Self::Uncertain(why),
            StoreError::Duplicate | StoreError::UsernameTaken => Self::Duplicate,
            StoreError::SessionOver => Self::Inconsistent(error.to_string()),
            other @ (StoreError::Inconsistent(_) | StoreError::Sealed(_) | StoreError::Url) => {
                Self::Inconsistent(other.to_string())
            }
        }
    }
}

impl From<DieselError> for CommitError {
    fn from(error: DieselError) -> Self {
        StoreError::from(error).into()
    }
}

/// An error of one item in a batch of writes.
pub(super) trait ItemError: From<Failure> + Clone + Send + 'static {
    /// Whether the item failed before it wrote anything, so that its neighbours' transaction is unharmed.
    fn wrote_nothing(&self) -> bool;
    /// Whether the database, not the item, failed.
    fn failure(&self) -> Option<Failure>;
}

impl ItemError for StoreError {
    fn wrote_nothing(&self) -> bool {
        false
    }

    fn failure(&self) -> Option<Failure> {
        match self {
            Self::Full => Some(Failure::Full),
            Self::Unavailable(why) => Some(Failure::Unavailable(why.clone())),
            _ => None,
        }
    }
}

impl ItemError for CommitError {
    fn wrote_nothing(&self) -> bool {
        matches!(self, Self::Stale { .. } | Self::Missing | Self::Undone)
    }

    fn failure(&self) -> Option<Failure> {
        match self {
            Self::Full => Some(Failure::Full),
            Self::Unavailable(why) => Some(Failure::Unavailable(why.clone())),
            _ => None,
        }
    }
}
