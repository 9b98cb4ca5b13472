//! Passkeys (WebAuthn Level 3). The only place that knows `webauthn-rs`.

use aegis_common::hash::Hash32;
use aegis_common::ids::{PasskeyId, UserId};
use aegis_common::wire::account::{FactorKind, NewPasskey, PasskeyChallenge, PasskeyView, bounds};
use reqwest::Url;
use serde_json::{Value, json};
use uuid::Uuid;
use webauthn_rs::prelude::{
    COSEAlgorithm, Passkey, PasskeyAuthentication, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Webauthn, WebauthnBuilder, WebauthnError,
};

use super::{AccountError, Accounts, CHALLENGE, Origin, Who, check_label, failed, key, refuse};
use crate::store::{ChallengeRow, PasskeyRow, StoreError, UserRow};

/// The public address can't be used for passkeys; the server must not start.
#[derive(Debug, thiserror::Error)]
#[error("AEGIS_PUBLIC_URL can't be used for passkeys: {0}")]
pub struct PasskeyError(String);

fn unusable(error: impl std::fmt::Display) -> PasskeyError {
    PasskeyError(error.to_string())
}

/// What passkeys of this server are bound to.
pub struct Passkeys(Webauthn);

impl Passkeys {
    /// For the address under which browsers see this server.
    pub fn new(public: &Url) -> Result<Self, PasskeyError> {
        let host = public.domain().ok_or_else(|| unusable("it needs a domain name, not an IP address"))?;
        let builder = WebauthnBuilder::new(host, public).map_err(unusable)?;
        Ok(Self(builder.rp_name("Aegis").build().map_err(unusable)?))
    }

    /// Options for `navigator.credentials.get()`, and what has to be kept until the answer.
    pub(super) fn ask(&self, rows: &[PasskeyRow]) -> Result<(Value, String), WebauthnFailure> {
        let known: Vec<Passkey> =
            rows.iter().map(|row| serde_json::from_str(&row.credential)).collect::<Result<_, _>>()?;
        let (options, state) = self.0.start_passkey_authentication(&known)?;
        Ok((serde_json::to_value(options.public_key)?, serde_json::to_string(&state)?))
    }

    fn ask_new(&self, row: &UserRow, known: &[PasskeyRow]) -> Result<(Value, String), WebauthnFailure> {
        let known = known.iter().map(|row| row.credential_id.clone()).collect();
        let (options, state) =
            self.0.start_passkey_registration(row.id.0, &row.username, &row.username, Some(known))?;
        let mut options = serde_json::to_value(options.public_key)?;
        // The library offers RSA with the padding of PKCS #1 v1.5 as well.
        if let Some(offered) = options["pubKeyCredParams"].as_array_mut() {
            offered.retain(|algorithm| algorithm["alg"] != json!(RS256));
        }
        Ok((options, serde_json::to_string(&state)?))
    }
}

/// A stored value is no passkey's, or the library refuses.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebauthnFailure {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Webauthn(#[from] WebauthnError),
}

/// The name of a challenge that belongs to a session: one of a sort at a time.
fn challenge_of(who: &Who, sort: &str) -> Hash32 {
    key(sort, who.session.0.as_bytes())
}

/// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8812 §2).
const RS256: i64 = -257;

const NEW: &str = "new passkey";
const STEP_UP: &str = "step-up by passkey";

impl Accounts {
    fn passkeys_on(&self) -> Result<&Passkeys, AccountError> {
        self.passkeys.as_deref().ok_or(AccountError::PasskeysOff)
    }

    async fn begin_for(&self, who: &Who, sort: &str, state: String) -> Result<(), AccountError> {
        let challenge = ChallengeRow {
            id: challenge_of(who, sort),
            user: who.user,
            origin: who.session.to_string(),
            tries_left: 1,
            name: String::new(),
            state: Some(state),
            expires_at: self.clock.now() + CHALLENGE,
        };
        Ok(self.store.begin(challenge, None).await?)
    }

    async fn begun_for(&self, who: &Who, sort: &str) -> Result<String, AccountError> {
        let id = challenge_of(who, sort);
        let found = self.store.try_challenge(id, who.session.to_string(), self.clock.now()).await?;
        found.and_then(|challenge| challenge.state).ok_or(AccountError::BadFactor)
    }

    /// Begins to add a passkey.
    pub async fn passkey_challenge(&self, who: &Who) -> Result<PasskeyChallenge, AccountError> {
        let known = self.store.passkeys(who.user).await?;
        let (options, state) =
            self.passkeys_on()?.ask_new(&self.row(who.user).await?, &known).map_err(failed)?;
        self.begin_for(who, NEW, state).await?;
        Ok(PasskeyChallenge { options })
    }

    /// Adds the passkey that answers the challenge.
    pub async fn add_passkey(
        &self,
        who: &Who,
        new: NewPasskey,
        origin: Origin,
    ) -> Result<PasskeyView, AccountError> {
        check_label("name", &new.name)?;
        let passkeys = self.passkeys_on()?;
        let Ok(credential) = serde_json::from_value::<RegisterPublicKeyCredential>(new.credential) else {
            return refuse("credential", "is not what navigator.credentials.create() gives");
        };
        let state = self.begun_for(who, NEW).await?;
        let state: PasskeyRegistration = serde_json::from_str(&state).map_err(failed)?;
        let made = passkeys.0.finish_passkey_registration(&credential, &state);
        let made = made.map_err(|error| {
            tracing::info!(user = %who.user, %error, "a passkey was refused");
            AccountError::BadFactor
        })?;
        if *made.cred_algorithm() == COSEAlgorithm::RS256 {
            return Err(AccountError::BadFactor);
        }
        let row = PasskeyRow {
            id: PasskeyId(Uuid::now_v7()),
            user: who.user,
            credential_id: made.cred_id().to_vec(),
            name: new.name,
            credential: serde_json::to_string(&made).map_err(failed)?,
            created_at: self.clock.now(),
            used_at: None,
        };
        let note = self.act(who, "passkeyAdded", origin, json!({ "name": row.name }));
        match self.store.add_passkey(row.clone(), bounds::PASSKEYS, note).await {
            Ok(true) => Ok(view(row)),
            Ok(false) => Err(AccountError::LimitReached("passkeys")),
            Err(StoreError::Duplicate) => Err(AccountError::FactorExists),
            Err(error) => Err(error.into()),
        }
    }

    /// One's passkeys.
    pub async fn passkeys(&self, user: UserId) -> Result<Vec<PasskeyView>, AccountError> {
        Ok(self.store.passkeys(user).await?.into_iter().map(view).collect())
    }

    /// Removes a passkey.
    pub async fn remove_passkey(&self, who: &Who, id: PasskeyId, origin: Origin) -> Result<(), AccountError> {
        let note = self.act(who, "passkeyRemoved", origin, json!({ "passkey": id }));
        if self.store.remove_passkey(who.user, id, note).await? { Ok(()) } else { Err(AccountError::Unknown) }
    }

    /// Begins a step-up by passkey.
    pub async fn step_up_challenge(&self, who: &Who) -> Result<PasskeyChallenge, AccountError> {
        let known = self.store.passkeys(who.user).await?;
        let passkeys = self.passkeys_on()?;
        if known.is_empty() {
            return Err(AccountError::FactorMissing);
        }
        let (options, state) = passkeys.ask(&known).map_err(failed)?;
        self.begin_for(who, STEP_UP, state).await?;
        Ok(PasskeyChallenge { options })
    }

    /// What was kept of a step-up's challenge.
    pub(super) async fn step_up_state(&self, who: &Who) -> Result<String, AccountError> {
        self.begun_for(who, STEP_UP).await
    }

    /// Whether an answer proves one of the account's passkeys.
    pub(super) async fn prove_passkey(
        &self,
        user: UserId,
        answer: Value,
        state: Option<&str>,
    ) -> Result<FactorKind, AccountError> {
        let passkeys = self.passkeys_on()?;
        let state = state.ok_or(AccountError::BadFactor)?;
        let state: PasskeyAuthentication = serde_json::from_str(state).map_err(failed)?;
        let answer: PublicKeyCredential =
            serde_json::from_value(answer).map_err(|_| AccountError::BadFactor)?;
        let proved = passkeys.0.finish_passkey_authentication(&answer, &state);
        let proved = proved.map_err(|_| AccountError::BadFactor)?;
        let rows = self.store.passkeys(user).await?;
        let row = rows.into_iter().find(|row| row.credential_id == proved.cred_id().as_slice());
        // Removed since it was asked for.
        let row = row.ok_or(AccountError::BadFactor)?;
        let mut passkey: Passkey = serde_json::from_str(&row.credential).map_err(failed)?;
        passkey.update_credential(&proved);
        let after = serde_json::to_string(&passkey).map_err(failed)?;
        if self.store.use_passkey(row.id, row.credential, after, self.clock.now()).await? {
            Ok(FactorKind::Passkey)
        } else {
            Err(AccountError::BadFactor)
        }
    }
}

fn view(row: PasskeyRow) -> PasskeyView {
    PasskeyView { id: row.id, name: row.name, created_at: row.created_at, used_at: row.used_at }
}
