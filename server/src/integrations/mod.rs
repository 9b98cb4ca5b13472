//! What a person has connected to their account: webhooks that tell others of their events, and their own wallet, which is read
//! through the server. Everything goes out by the one door ([`crate::outside`]).

mod calls;
mod courier;
mod schedule;
mod signature;
mod wallet;
mod webhooks;

use std::sync::Arc;

use aegis_common::hash::Hash32;
use aegis_common::ids::{SessionId, UserId};
use aegis_common::time::{Clock, SignedDuration};
use aegis_common::wire::account::Settings;
use serde_json::Value;
use tokio::sync::Semaphore;

pub use self::courier::{Courier, LEASE};
pub use self::schedule::PATIENCE;
pub use self::signature::signature;
use crate::outside::{Door, OutsideError};
use crate::store::{Budget, Note, Store, StoreError, Under};

/// Calls to wallets at a time, of all people together.
const WALLET_CALLS: usize = 64;

/// A request is refused; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum IntegrationError {
    /// A field has a value that is not allowed.
    #[error("{field}: {why}")]
    Field {
        /// The field's wire name.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The server does not call that URL.
    #[error("url: {0}")]
    Url(OutsideError),
    /// One more is not allowed.
    #[error("there are as many {0} as there may be")]
    LimitReached(&'static str),
    /// Too many calls.
    #[error("too many calls; wait {seconds} seconds")]
    Limited {
        /// Whole seconds until there may be another.
        seconds: u64,
    },
    /// Too many calls of all people at once.
    #[error("too many wallets are being read")]
    Busy,
    /// There is no such webhook or delivery.
    #[error("there is no such webhook or delivery")]
    Unknown,
    /// No wallet is connected.
    #[error("no wallet is connected")]
    NoWallet,
    /// The call is none that only reads, or has other parameters.
    #[error("{0}")]
    Call(String),
    /// The wallet gave no answer.
    #[error("the wallet {0}")]
    Wallet(OutsideError),
    /// The wallet refuses the login.
    #[error("the wallet refuses the login")]
    WalletLogin,
    /// The wallet answered with something else.
    #[error("{0}")]
    WalletAnswer(&'static str),
    /// The wallet refuses the call, in its own words.
    #[error("{0}")]
    WalletRefused(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored is impossible.
    #[error("what is stored of {0}'s integrations is inconsistent")]
    Inconsistent(UserId),
    /// The machine failed.
    #[error("{0}")]
    Failed(String),
}

/// Whose act it is, and from where: for the audit.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The account.
    pub user: UserId,
    /// The session, which must not be over when it happens.
    pub session: SessionId,
    /// Where it comes from, coarsely.
    pub network: Option<String>,
}

/// The use cases; clones are handles on the same.
#[derive(Clone)]
pub struct Integrations {
    store: Store,
    door: Door,
    clock: Arc<dyn Clock>,
    calls: Arc<Semaphore>,
    turns: wallet::Turns,
}

impl Integrations {
    /// On a store, by a door.
    pub fn new(store: Store, door: Door, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            door,
            clock,
            calls: Arc::new(Semaphore::new(WALLET_CALLS)),
            turns: wallet::Turns::default(),
        }
    }

    /// A line of audit, of which its person is told.
    fn act(&self, actor: &Actor, kind: &'static str, detail: Value) -> Note {
        Note {
            user: Some(actor.user),
            at: self.clock.now(),
            kind,
            network: actor.network.clone(),
            detail,
            tell: true,
            under: Some(Under { session: actor.session, role: None }),
        }
    }

    /// Lets a person do so many of something at once, and then one more after each pause of so many seconds.
    async fn charge(
        &self,
        what: &[u8],
        user: UserId,
        (burst, pause): (u32, i64),
    ) -> Result<(), IntegrationError> {
        let key = Hash32::sha256(&[what, user.0.as_bytes()].concat());
        let (now, budget) =
            (self.clock.now(), Budget { key, burst, every: SignedDuration::from_secs(pause) });
        match self.store.spend(vec![budget], now).await? {
            None => Ok(()),
            Some(until) => {
                let wait = u64::try_from(until.duration_since(now).as_millis()).unwrap_or(0);
                Err(IntegrationError::Limited { seconds: wait.div_ceil(1000).max(1) })
            }
        }
    }

    /// The URL as it will be called.
    async fn judged(&self, user: UserId, url: &str) -> Result<reqwest::Url, IntegrationError> {
        let by_tor = uses_tor(&self.store, user).await?;
        self.door.judge(url, by_tor).map_err(IntegrationError::Url)
    }
}

/// Whether a person wants what is theirs to be reached over Tor.
async fn uses_tor(store: &Store, user: UserId) -> Result<bool, IntegrationError> {
    let Some(profile) = store.profile(user).await? else { return Ok(false) };
    let settings: Settings =
        serde_json::from_str(&profile.settings).map_err(|_| IntegrationError::Inconsistent(user))?;
    Ok(settings.use_tor)
}

fn refuse<T>(field: &'static str, why: &'static str) -> Result<T, IntegrationError> {
    Err(IntegrationError::Field { field, why })
}
