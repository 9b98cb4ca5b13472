//! Becoming somebody, and more prekeys later.

use aegis_common::hash::Hash32;
use aegis_common::identity::{BundleError, Flaw, KeyKind, Prekey, verify_prekeys};
use aegis_common::ids::UserId;
use aegis_common::username::is_username;
use aegis_common::wire::account::{PrekeyStock, PrekeysRequest, RegisterRequest, UserView, bounds};
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{AccountError, Accounts, Origin, check_password, refuse, shown};
use crate::config::Registration;
use crate::store::{PrekeyRow, Registered, Role, StoreError, UserRow};

impl Accounts {
    /// Makes an account; an invitation gives its role, without one it is a user.
    pub async fn register(
        &self,
        mut request: RegisterRequest,
        origin: Origin,
    ) -> Result<UserView, AccountError> {
        let password = Zeroizing::new(std::mem::take(&mut request.password));
        let invitation = request.invitation.take().map(Zeroizing::new);
        match self.policy.registration {
            Registration::Closed => return Err(AccountError::RegistrationClosed),
            Registration::Invite if invitation.is_none() => return Err(AccountError::InvitationNeeded),
            Registration::Invite | Registration::Open => {}
        }
        if !is_username(&request.username) {
            return refuse("username", "must have 3 to 32 letters, digits, _ or -");
        }
        check_password(&password)?;
        self.check_payee(&request.payout_address)?;
        self.charge(vec![self.by_origin(origin)]).await?;
        request.keys.verify()?;
        // Before the costly hash; the insertion decides.
        if self.store.user_by_name(&request.username).await?.is_some() {
            return Err(AccountError::Taken);
        }
        let known = vec![request.username.clone()];
        let row = UserRow {
            id: UserId(Uuid::now_v7()),
            username: request.username,
            password_hash: self.passwords.hash_chosen(password, known).await?,
            role: Role::User,
            identity_key: request.keys.identity_key,
            signing_key: request.keys.signing_key,
            payout_address: request.payout_address.to_string(),
            created_at: self.clock.now(),
        };
        let keys = &request.keys;
        let mut rows = vec![PrekeyRow {
            kind: KeyKind::Identity,
            key_id: 0,
            public_key: keys.identity_key.0.to_vec(),
            signature: keys.identity_signature,
        }];
        rows.extend(stored(KeyKind::SignedPrekey, std::slice::from_ref(&keys.signed_prekey))?);
        rows.extend(stored(KeyKind::OneTimePrekey, &keys.one_time_prekeys)?);
        rows.extend(stored(KeyKind::MlKemPrekey, &keys.ml_kem_prekeys)?);
        let token = invitation.map(|token| Hash32::sha256(token.as_bytes()));
        let note = self.note(Some(row.id), "registered", origin, json!({ "invited": token.is_some() }));
        let mut row = row;
        match self.store.register(row.clone(), rows, token, note).await? {
            Registered::As(role) => row.role = role,
            Registered::BadInvitation => return Err(AccountError::BadInvitation),
        }
        tracing::info!(user = %row.id, role = shown(row.role).wire(), "account registered");
        self.view(row).await
    }

    /// Adds prekeys that the account's signing key has signed.
    pub async fn add_prekeys(
        &self,
        user: UserId,
        request: PrekeysRequest,
    ) -> Result<PrekeyStock, AccountError> {
        self.charge(vec![self.by_account("prekeys", user)]).await?;
        let signer = self.row(user).await?.signing_key;
        let mut rows = Vec::new();
        if let Some(key) = &request.signed_prekey {
            key.verify(KeyKind::SignedPrekey, &signer)?;
            rows.extend(stored(KeyKind::SignedPrekey, std::slice::from_ref(key))?);
        }
        for (kind, keys) in [
            (KeyKind::OneTimePrekey, &request.one_time_prekeys),
            (KeyKind::MlKemPrekey, &request.ml_kem_prekeys),
        ] {
            verify_prekeys(kind, keys, &signer)?;
            rows.extend(stored(kind, keys)?);
        }
        match self.store.add_prekeys(user, rows, request.replace, bounds::PREKEYS, self.clock.now()).await {
            Ok(true) => self.prekey_stock(user).await,
            Ok(false) => Err(AccountError::LimitReached("prekeys")),
            Err(StoreError::Duplicate) => refuse("id", "a key has this number already"),
            Err(error) => Err(error.into()),
        }
    }

    /// How many prekeys are there to be handed out.
    pub async fn prekey_stock(&self, user: UserId) -> Result<PrekeyStock, AccountError> {
        Ok(PrekeyStock {
            one_time_prekeys: self.store.count_prekeys(user, KeyKind::OneTimePrekey).await?,
            ml_kem_prekeys: self.store.count_prekeys(user, KeyKind::MlKemPrekey).await?,
        })
    }
}

fn stored(kind: KeyKind, keys: &[Prekey]) -> Result<Vec<PrekeyRow>, BundleError> {
    let row = |key: &Prekey| {
        let bytes =
            hex::decode(&key.key).map_err(|_| BundleError { kind, id: key.id, why: Flaw::NotAKey })?;
        Ok(PrekeyRow { kind, key_id: key.id, public_key: bytes, signature: key.signature })
    };
    keys.iter().map(row).collect()
}
