//! Accounts: registration, login, profiles, roles.

mod keys;

use std::sync::Arc;

use aegis_common::address::{Address, AddressError, AddressKind, Network};
use aegis_common::hash::Hash32;
use aegis_common::ids::UserId;
use aegis_common::time::Clock;
use aegis_common::username::is_username;
use aegis_common::wire::account::{AccountRole, LoginResponse, MeView, RegisterRequest, UserView, bounds};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::crypto::password::{PasswordError, Passwords};
use crate::crypto::token::{Bearer, TokenKeyError, Tokens};
use crate::store::{Role, Store, StoreError, UserRow};

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
    /// The name exists, in some spelling of case.
    #[error("that username is taken")]
    Taken,
    /// No such account, or another password: which of them is not told.
    #[error("the username or the password is wrong")]
    BadCredentials,
    /// There is no such account.
    #[error("there is no such account")]
    Unknown,
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
    /// Hashing failed or too many wait for it.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No token could be made.
    #[error(transparent)]
    Token(#[from] TokenKeyError),
    /// A stored account is impossible.
    #[error("account {0} is stored inconsistently")]
    Inconsistent(UserId),
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::UsernameTaken => Self::Taken,
            other => Self::Store(other),
        }
    }
}

/// The use cases; clones are handles on the same.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    passwords: Passwords,
    tokens: Arc<Tokens>,
    clock: Arc<dyn Clock>,
    network: Network,
}

impl Accounts {
    /// On a store, for one network.
    pub fn new(
        store: Store,
        passwords: Passwords,
        tokens: Arc<Tokens>,
        clock: Arc<dyn Clock>,
        network: Network,
    ) -> Self {
        Self { store, passwords, tokens, clock, network }
    }

    /// Makes an account with the role of a user.
    pub async fn register(&self, mut request: RegisterRequest) -> Result<UserView, AccountError> {
        let password = Zeroizing::new(std::mem::take(&mut request.password));
        let refuse = |field, why| Err(AccountError::Field { field, why });
        if !is_username(&request.username) {
            return refuse("username", "must have 3 to 32 letters, digits, _ or -");
        }
        if !bounds::PASSWORD.contains(&password.len()) {
            return refuse("password", "must have 12 to 256 bytes");
        }
        if !keys::is_identity_key(&request.identity_key) {
            return refuse("identityKey", "is not a usable X25519 public key");
        }
        if !keys::is_signing_key(&request.signing_key) {
            return refuse("signingKey", "is not a usable Ed25519 public key");
        }
        self.check_payee(&request.payout_address)?;
        // Before the costly hash; the insertion decides.
        if self.store.user_by_name(&request.username).await?.is_some() {
            return Err(AccountError::Taken);
        }
        let row = UserRow {
            id: UserId(Uuid::now_v7()),
            username: request.username,
            password_hash: self.passwords.hash(password).await?,
            role: Role::User,
            identity_key: request.identity_key,
            signing_key: request.signing_key,
            payout_address: request.payout_address.to_string(),
            created_at: self.clock.now(),
        };
        let view = view(&row);
        self.store.insert_user(row).await?;
        tracing::info!(user = %view.id, "account registered");
        Ok(view)
    }

    /// A token for a name and its password. Unknown names cost the same work and get the same answer.
    pub async fn login(
        &self,
        username: &str,
        password: Zeroizing<String>,
    ) -> Result<LoginResponse, AccountError> {
        if password.len() > *bounds::PASSWORD.end() {
            return Err(AccountError::BadCredentials);
        }
        let row = if is_username(username) { self.store.user_by_name(username).await? } else { None };
        let known = row.as_ref().map(|row| row.password_hash.clone());
        let fits = self.passwords.verify(password, known).await?;
        let row = row.filter(|_| fits).ok_or(AccountError::BadCredentials)?;
        let user = view(&row);
        let (token, expires_at) =
            self.tokens.issue(Bearer { user: row.id, role: user.role }, self.clock.now())?;
        Ok(LoginResponse { token, expires_at, user })
    }

    /// One's own account.
    pub async fn me(&self, user: UserId) -> Result<MeView, AccountError> {
        let row = self.store.user(user).await?.ok_or(AccountError::Unknown)?;
        let payout_address = payout_address(&row).ok_or(AccountError::Inconsistent(row.id))?;
        Ok(MeView { user: view(&row), payout_address })
    }

    /// Changes where contracts made from now on pay an account.
    pub async fn set_payout_address(&self, user: UserId, address: Address) -> Result<MeView, AccountError> {
        self.check_payee(&address)?;
        if !self.store.set_payout_address(user, address.to_string()).await? {
            return Err(AccountError::Unknown);
        }
        tracing::info!(%user, "payout address changed");
        self.me(user).await
    }

    /// An account as everybody may see it.
    pub async fn lookup(&self, username: &str) -> Result<UserView, AccountError> {
        self.by_name(username).await.map(|row| view(&row))
    }

    /// What an account may do now; `None` where there is none.
    pub async fn role(&self, user: UserId) -> Result<Option<AccountRole>, AccountError> {
        Ok(self.store.user(user).await?.map(|row| shown(row.role)))
    }

    /// Changes what an account may do, at once.
    pub async fn set_role(&self, username: &str, role: AccountRole) -> Result<UserView, AccountError> {
        let mut row = self.by_name(username).await?;
        row.role = stored(role);
        if !self.store.set_role(row.id, row.role).await? {
            return Err(AccountError::Unknown);
        }
        tracing::warn!(user = %row.id, role = role.wire(), "role changed");
        Ok(view(&row))
    }

    async fn by_name(&self, username: &str) -> Result<UserRow, AccountError> {
        if !is_username(username) {
            return Err(AccountError::Unknown);
        }
        self.store.user_by_name(username).await?.ok_or(AccountError::Unknown)
    }

    /// The same rule that [`aegis_common::escrow::contract::Contract::check`] applies to payees, told early.
    fn check_payee(&self, address: &Address) -> Result<(), AccountError> {
        address.require(self.network)?;
        match address.kind {
            AddressKind::Integrated(_) => Err(AccountError::Field {
                field: "payoutAddress",
                why: "is an integrated address, which a payout cannot use",
            }),
            AddressKind::Standard | AddressKind::Subaddress => Ok(()),
        }
    }
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

fn payout_address(row: &UserRow) -> Option<Address> {
    row.payout_address.parse().ok()
}

fn view(row: &UserRow) -> UserView {
    UserView {
        id: row.id,
        username: row.username.clone(),
        role: shown(row.role),
        identity_key: row.identity_key,
        fingerprint: Hash32::sha256(&row.identity_key.0),
        signing_key: row.signing_key,
    }
}
