//! Trade by listings: what is for sale, orders that open escrows, and reviews. One file a concern; each is a set of methods of
//! [`Market`].
//!
//! An order holds its pieces before its escrow exists, and its escrow's events tell how it ends: see `follow`.

mod follow;
mod listings;
mod orders;
mod reviews;

use std::sync::Arc;

use aegis_common::hash::Hash32;
use aegis_common::ids::UserId;
use aegis_common::time::{Clock, SignedDuration};
use aegis_common::username::is_username;

pub use follow::{called_off, run};
pub use listings::Search;
pub use orders::{Opening, OrderFilter, Quote};
pub use reviews::Operator;

use crate::store::{Budget, Changed, Store, StoreError, UserRow};

/// HTTP 201: what a listing or an order is answered with.
const CREATED: u16 = 201;

/// A request concerning listings, orders or reviews is refused; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// A field has a value that is not allowed.
    #[error("{field}: {why}")]
    Field {
        /// The field's wire name.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no such thing, or it is not the sender's.
    #[error("there is no such thing")]
    Unknown,
    /// No such account, or not one for that part.
    #[error("{field}: there is no such account, or it cannot take that part")]
    UnknownUser {
        /// The field's wire name.
        field: &'static str,
    },
    /// It is at another version by now.
    #[error("it is at version {actual}")]
    Stale {
        /// At which.
        actual: i64,
    },
    /// The listing is paused or closed.
    #[error("the listing is not for sale at the moment")]
    NotForSale,
    /// There are fewer pieces, or there would be too many.
    #[error("there are not so many pieces, or there would be more than 1,000,000")]
    OutOfStock,
    /// One more is not allowed.
    #[error("there are as many {0} as there may be")]
    LimitReached(&'static str),
    /// Its state does not allow that.
    #[error("{0}")]
    Over(&'static str),
    /// It has been done.
    #[error("{0}")]
    Done(&'static str),
    /// Only somebody else may do that.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Too many at once.
    #[error("too many at once; wait {seconds} seconds")]
    Limited {
        /// Whole seconds until there may be another.
        seconds: u64,
    },
    /// The key was used with another request.
    #[error("the idempotency key was used with another request")]
    IdempotencyConflict,
    /// The order was given up because its escrow could not be made in time.
    #[error("it was given up; send it again")]
    Undone,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored makes no sense, or can't be written.
    #[error("stored inconsistently: {0}")]
    Inconsistent(String),
}

impl From<serde_json::Error> for MarketError {
    fn from(error: serde_json::Error) -> Self {
        Self::Inconsistent(error.to_string())
    }
}

/// The use cases; clones are handles on the same.
#[derive(Clone)]
pub struct Market {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Market {
    /// On a store.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// The answer that is stored under a key, if the key was used with the same request.
    async fn known(&self, user: UserId, key: String, request: Hash32) -> Result<Option<String>, MarketError> {
        match self.store.idempotency(user, key).await? {
            Some(known) if known.request_hash != request => Err(MarketError::IdempotencyConflict),
            known => Ok(known.map(|known| known.response)),
        }
    }

    /// Lets a person do so many of something at once, and then one more after each pause of so many seconds.
    async fn charge(&self, what: &[u8], user: UserId, (burst, pause): (u32, i64)) -> Result<(), MarketError> {
        let key = Hash32::sha256(&[what, user.0.as_bytes()].concat());
        let (now, budget) =
            (self.clock.now(), Budget { key, burst, every: SignedDuration::from_secs(pause) });
        match self.store.spend(vec![budget], now).await? {
            None => Ok(()),
            Some(until) => {
                let wait = u64::try_from(until.duration_since(now).as_millis()).unwrap_or(0);
                Err(MarketError::Limited { seconds: wait.div_ceil(1000).max(1) })
            }
        }
    }

    async fn named(&self, username: &str) -> Result<Option<UserRow>, StoreError> {
        if is_username(username) { self.store.user_by_name(username).await } else { Ok(None) }
    }

    async fn name(&self, user: UserId) -> Result<String, MarketError> {
        let row = self.store.user(user).await?;
        row.map(|row| row.username).ok_or_else(|| MarketError::Inconsistent(format!("no account {user}")))
    }
}

fn refuse<T>(field: &'static str, why: &'static str) -> Result<T, MarketError> {
    Err(MarketError::Field { field, why })
}

/// A text of some lines.
fn is_plain(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// What a change led to, where its state can stand against it for one reason only.
fn changed(how: Changed, over: MarketError) -> Result<(), MarketError> {
    match how {
        Changed::Done => Ok(()),
        Changed::Missing => Err(MarketError::Unknown),
        Changed::Stale { actual } => Err(MarketError::Stale { actual }),
        Changed::OutOfStock => Err(MarketError::OutOfStock),
        Changed::Over => Err(over),
    }
}
