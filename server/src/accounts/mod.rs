//! Accounts: registration, login, second factors, sessions, profiles, roles. One file a concern; each is a set of methods
//! of [`Accounts`].
//!
//! Whatever can be guessed at is paid for first, from budgets that the database keeps ([`Accounts::charge`]). Whatever
//! changes a credential leaves a line in the audit, in the same transaction.

mod backups;
mod factors;
mod invitations;
mod login;
mod origin;
mod passkeys;
mod password;
mod profile;
mod register;
mod sessions;
mod token_keys;

use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use aegis_common::address::{Address, AddressError, AddressKind, Network};
use aegis_common::hash::Hash32;
use aegis_common::identity::BundleError;
use aegis_common::ids::{SessionId, UserId};
use aegis_common::time::{Clock, SignedDuration, Timestamp};
use aegis_common::username::is_username;
use aegis_common::wire::account::{AccountRole, bounds};
use serde_json::{Value, json};

pub use origin::Origin;
pub use passkeys::{PasskeyError, Passkeys};
pub use sessions::{API_KEY, Who};

use crate::config::Registration;
use crate::crypto::password::{PasswordError, Passwords};
use crate::crypto::token::{TokenError, TokenKeyError, Tokens};
use crate::crypto::totp::TotpError;
use crate::store::{Budget, Note, Role, Store, StoreError, Under, UserRow};

/// For how long a proof counts as fresh.
pub const FRESH: SignedDuration = SignedDuration::from_mins(5);
/// How long what was begun can be gone on with.
const CHALLENGE: SignedDuration = SignedDuration::from_mins(5);

/// An account request is refused; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// A field has a value that is not allowed.
    #[error("{field}: {why}")]
    Field {
        /// The field's wire name.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The payout address can't be used.
    #[error("payoutAddress: {0}")]
    Address(#[from] AddressError),
    /// The identity's keys are not in order.
    #[error("keys: {0}")]
    Keys(#[from] BundleError),
    /// The name exists, in some spelling of case.
    #[error("that username is taken")]
    Taken,
    /// No such account, or another password: which of them is not told.
    #[error("the username or the password is wrong")]
    BadCredentials,
    /// The proof does not hold.
    #[error("the code or proof is wrong, used up or too old")]
    BadFactor,
    /// There is no such factor to be used or removed.
    #[error("the account has no such second factor")]
    FactorMissing,
    /// There is one already.
    #[error("the account has that already")]
    FactorExists,
    /// The words of a password reset do not hold.
    #[error("the signature does not fit, is too old or was used before")]
    BadReset,
    /// The session or key is over.
    #[error("the session is over")]
    SessionOver,
    /// The login token is not good.
    #[error(transparent)]
    BadToken(#[from] TokenError),
    /// Nobody can register.
    #[error("this server takes no registrations")]
    RegistrationClosed,
    /// The account can't be used for the time being.
    #[error("the account is disabled")]
    Disabled,
    /// Only who is invited can register.
    #[error("this server takes registrations by invitation only")]
    InvitationNeeded,
    /// The invitation does not hold.
    #[error("the invitation is wrong, used up or too old")]
    BadInvitation,
    /// One more is not allowed.
    #[error("there are as many {0} as there may be")]
    LimitReached(&'static str),
    /// Passkeys need a public address.
    #[error("AEGIS_PUBLIC_URL is not set")]
    PasskeysOff,
    /// Too many attempts.
    #[error("too many attempts until {until}")]
    Limited {
        /// From when on there may be another.
        until: Timestamp,
        /// Whole seconds until then.
        seconds: u64,
    },
    /// There is no such account, or nothing such of it.
    #[error("there is no such account or part of it")]
    Unknown,
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
    /// Hashing failed, too many wait for it, or the password is too easy to guess.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No token could be made.
    #[error(transparent)]
    Token(#[from] TokenKeyError),
    /// No authenticator could be set up.
    #[error(transparent)]
    Totp(#[from] TotpError),
    /// A stored account is impossible.
    #[error("account {0} is stored inconsistently")]
    Inconsistent(UserId),
    /// The machine or a library failed.
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::UsernameTaken => Self::Taken,
            StoreError::SessionOver => Self::SessionOver,
            other => Self::Store(other),
        }
    }
}

impl From<getrandom::Error> for AccountError {
    fn from(error: getrandom::Error) -> Self {
        failed(error)
    }
}

fn failed(error: impl Display) -> AccountError {
    AccountError::Failed(error.to_string())
}

/// What the operator decides.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The chain that payouts are on.
    pub network: Network,
    /// The server's public origin, where it has one.
    pub server: Option<String>,
    /// Who may register.
    pub registration: Registration,
    /// Attempts at credentials a minute from one address.
    pub attempts_per_minute: u32,
    /// Attempts at one account's password a minute, from wherever.
    pub logins_per_minute: u32,
    /// Whether those who run the server act only in sessions that a second factor was shown in.
    pub strong_staff: bool,
    /// How long a session goes on without being used.
    pub idle: SignedDuration,
    /// How long a session goes on at most.
    pub longest: SignedDuration,
}

/// What hears of sessions that are over.
type Ended = Box<dyn Fn(SessionId) + Send + Sync>;

/// The use cases; clones are handles on the same.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    passwords: Passwords,
    tokens: Arc<Tokens>,
    passkeys: Option<Arc<Passkeys>>,
    clock: Arc<dyn Clock>,
    policy: Arc<Policy>,
    ended: Arc<OnceLock<Ended>>,
}

impl Accounts {
    /// On a store.
    pub fn new(
        store: Store,
        passwords: Passwords,
        passkeys: Option<Passkeys>,
        clock: Arc<dyn Clock>,
        policy: Policy,
    ) -> Self {
        Self {
            store,
            passwords,
            tokens: Arc::default(),
            passkeys: passkeys.map(Arc::new),
            clock,
            policy: Arc::new(policy),
            ended: Arc::default(),
        }
    }

    /// From now on `ended` is told of every session and key that is over. The first one counts.
    pub fn on_ended(&self, ended: Ended) {
        let _ = self.ended.set(ended);
    }

    fn tell_ended(&self, sessions: impl IntoIterator<Item = SessionId>) {
        if let Some(ended) = self.ended.get() {
            sessions.into_iter().for_each(ended);
        }
    }

    /// A line of audit; of nobody's account where the name is unknown.
    fn note(&self, user: Option<UserId>, kind: &'static str, origin: Origin, detail: Value) -> Note {
        let (at, network) = (self.clock.now(), origin.network());
        Note { user, at, kind, network, detail, tell: false, under: None }
    }

    /// The same of one's own act, which happens only while one's session goes on; and one is told.
    fn act(&self, who: &Who, kind: &'static str, origin: Origin, detail: Value) -> Note {
        let under = Some(Under { session: who.session, role: None });
        Note { tell: true, under, ..self.note(Some(who.user), kind, origin, detail) }
    }

    /// The same of an administrator's act on an account; `by` is nobody on the server's machine.
    fn rule(
        &self,
        user: Option<UserId>,
        kind: &'static str,
        by: Option<&Who>,
        origin: Origin,
        mut detail: Value,
    ) -> Note {
        detail["by"] = json!(by.map(|who| who.user));
        let under = by.map(|who| Under { session: who.session, role: Some(Role::Admin) });
        Note { tell: user.is_some(), under, ..self.note(user, kind, origin, detail) }
    }

    /// Pays for one attempt from every budget, or refuses it.
    async fn charge(&self, budgets: Vec<Budget>) -> Result<(), AccountError> {
        let now = self.clock.now();
        match self.store.spend(budgets, now).await? {
            None => Ok(()),
            Some(until) => {
                let wait = u64::try_from(until.duration_since(now).as_millis()).unwrap_or(0);
                Err(AccountError::Limited { until, seconds: wait.div_ceil(1000).max(1) })
            }
        }
    }

    /// Attempts from one address at whatever can be guessed.
    fn by_origin(&self, origin: Origin) -> Budget {
        Budget::per_minute(from("origin", origin), self.policy.attempts_per_minute)
    }

    /// Refreshing is no guessing, and many may sit behind one address.
    fn for_refresh(&self, origin: Origin) -> Budget {
        Budget::per_minute(from("refresh", origin), self.policy.attempts_per_minute.saturating_mul(10))
    }

    /// Attempts at the password of a name, whether or not it exists: so many from one address, and ten times as many from all
    /// networks together where its owner is not logged in. So guessers elsewhere do not shut its owner out.
    fn for_password(&self, username: &str, is_known_here: bool, origin: Origin) -> Vec<Budget> {
        let (name, most) = (username.to_lowercase(), self.policy.logins_per_minute);
        let here = [name.as_bytes(), b"\0", from("name", origin).as_bytes()].concat();
        // Another budget, not none: the answer to a name that exists must take as long as to one that does not.
        let from_all = if is_known_here { "password from known networks" } else { "password" };
        vec![
            self.by_origin(origin),
            Budget::per_minute(key("password here", &here), most),
            Budget::per_minute(key(from_all, name.as_bytes()), most.saturating_mul(10)),
        ]
    }

    /// What only somebody who is logged in, or has signed, can use up: attempts at a password, and what costs the server much.
    fn by_account(&self, of: &str, user: UserId) -> Budget {
        Budget::per_minute(key(of, user.0.as_bytes()), self.policy.logins_per_minute)
    }

    /// Wrong codes of an account: five, then one in five minutes, or six digits would be guessed within days. Only who has the
    /// password, or a session, gets so far; backup codes and passkeys can't be guessed, so their owner still gets in.
    fn by_factor(&self, user: UserId) -> Budget {
        Budget { key: key("factor", user.0.as_bytes()), burst: 5, every: SignedDuration::from_mins(5) }
    }

    async fn check_enabled(&self, user: UserId) -> Result<(), AccountError> {
        if self.store.is_disabled(user).await? { Err(AccountError::Disabled) } else { Ok(()) }
    }

    async fn row(&self, user: UserId) -> Result<UserRow, AccountError> {
        self.store.user(user).await?.ok_or(AccountError::Unknown)
    }

    async fn row_named(&self, username: &str) -> Result<UserRow, AccountError> {
        if !is_username(username) {
            return Err(AccountError::Unknown);
        }
        self.store.user_by_name(username).await?.ok_or(AccountError::Unknown)
    }

    /// The same rule that [`aegis_common::escrow::contract::Contract::check`] applies to payees, told early.
    fn check_payee(&self, address: &Address) -> Result<(), AccountError> {
        address.require(self.policy.network)?;
        match address.kind {
            AddressKind::Integrated(_) => {
                refuse("payoutAddress", "is an integrated address, which a payout cannot use")
            }
            AddressKind::Standard | AddressKind::Subaddress => Ok(()),
        }
    }
}

fn key(of: &str, what: &[u8]) -> Hash32 {
    Hash32::sha256(&[of.as_bytes(), b"\0", what].concat())
}

/// One address under a purpose.
fn from(of: &str, origin: Origin) -> Hash32 {
    let address = origin.counted().map(|address| address.to_string()).unwrap_or_default();
    key(of, address.as_bytes())
}

fn refuse<T>(field: &'static str, why: &'static str) -> Result<T, AccountError> {
    Err(AccountError::Field { field, why })
}

/// A name that a person gives to something.
fn check_label(field: &'static str, label: &str) -> Result<(), AccountError> {
    let fits = bounds::LABEL.contains(&label.chars().count());
    if fits && label.trim() == label && !label.chars().any(steers) {
        return Ok(());
    }
    refuse(field, "must have 1 to 64 visible characters")
}

/// Characters that steer a terminal or turn the order of letters.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn check_password(password: &str) -> Result<(), AccountError> {
    let fits = password.chars().count() >= bounds::PASSWORD && password.len() <= bounds::PASSWORD_BYTES;
    if fits { Ok(()) } else { refuse("password", "must have 12 characters or more, and at most 256 bytes") }
}

fn stored(role: AccountRole) -> Role {
    match role {
        AccountRole::User => Role::User,
        AccountRole::Arbiter => Role::Arbiter,
        AccountRole::Operator => Role::Operator,
        AccountRole::Admin => Role::Admin,
    }
}

fn shown(role: Role) -> AccountRole {
    match role {
        Role::User => AccountRole::User,
        Role::Arbiter => AccountRole::Arbiter,
        Role::Operator => AccountRole::Operator,
        Role::Admin => AccountRole::Admin,
    }
}
