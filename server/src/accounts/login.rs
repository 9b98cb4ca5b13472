//! Getting in: a password, then a second factor where there is one.

use aegis_common::hash::Hash32;
use aegis_common::ids::SessionId;
use aegis_common::time::Timestamp;
use aegis_common::username::is_username;
use aegis_common::wire::account::{
    Factor, FactorKind, LoggedIn, LoginAnswer, LoginRequest, RefreshRequest, SecondFactorNeeded,
    SecondFactorRequest, bounds,
};
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::sessions::REFRESH;
use super::{AccountError, Accounts, CHALLENGE, Origin, shown, steers};
use crate::crypto::opaque::{Opaque, token};
use crate::crypto::password::is_outdated;
use crate::crypto::token::Bearer;
use crate::store::{ChallengeRow, NextToken, Note, Opening, Rotation, SessionRow, UserRow};

/// How often the second factor may be tried after one right password.
const TRIES: u32 = 5;

impl Accounts {
    /// A session for a name and its password, or what is missing for one. Unknown names cost the same work and get the same
    /// answer. `agent` names the device where the request does not.
    pub async fn login(
        &self,
        request: LoginRequest,
        agent: &str,
        origin: Origin,
    ) -> Result<LoginAnswer, AccountError> {
        let LoginRequest { username, password, device } = request;
        let password = Zeroizing::new(password);
        let row = if is_username(&username) { self.store.user_by_name(&username).await? } else { None };
        let network = origin.network().unwrap_or_default();
        let is_known_here = self.store.is_known_from(row.as_ref().map(|row| row.id), network).await?;
        self.charge(self.for_password(&username, is_known_here, origin)).await?;
        if password.len() > bounds::PASSWORD_BYTES {
            return Err(AccountError::BadCredentials);
        }
        let known = row.as_ref().map(|row| row.password_hash.clone());
        let fits = self.passwords.verify(password.clone(), known).await?;
        let Some(mut row) = row.clone().filter(|_| fits) else {
            // A line for unknown names as well: the answer takes as long.
            let user = row.map(|row| row.id);
            self.store.note(self.note(user, "loginFailed", origin, json!({}))).await?;
            return Err(AccountError::BadCredentials);
        };
        self.check_enabled(row.id).await?;
        if is_outdated(&row.password_hash) {
            let fresh = self.passwords.hash(password.clone()).await?;
            self.store.rehash_password(row.id, row.password_hash, fresh).await?;
            // Another login may have been faster, or the password been changed.
            row = self.row(row.id).await?;
            if !self.passwords.verify(password, Some(row.password_hash.clone())).await? {
                return Err(AccountError::BadCredentials);
            }
        }
        let device = device_name(device.as_deref().unwrap_or(agent));
        if self.store.factors(row.id).await?.is_needed() {
            return Ok(LoginAnswer::SecondFactor(self.ask_for_factor(&row, device, origin).await?));
        }
        Ok(LoginAnswer::LoggedIn(Box::new(
            self.open_session(row, device, origin, FactorKind::Password).await?,
        )))
    }

    async fn ask_for_factor(
        &self,
        row: &UserRow,
        device: String,
        origin: Origin,
    ) -> Result<SecondFactorNeeded, AccountError> {
        let counts = self.store.factors(row.id).await?;
        let passkey = match &self.passkeys {
            Some(passkeys) if counts.passkeys > 0 => {
                Some(passkeys.ask(&self.store.passkeys(row.id).await?).map_err(super::failed)?)
            }
            _ => None,
        };
        let methods = [
            (counts.totp, FactorKind::Totp),
            (counts.backup_codes > 0, FactorKind::BackupCode),
            (passkey.is_some(), FactorKind::Passkey),
        ];
        let (options, state) = passkey.unzip();
        let (token, id) = token()?;
        let expires_at = self.clock.now() + CHALLENGE;
        let challenge = ChallengeRow {
            id,
            user: row.id,
            origin: origin.binding(),
            tries_left: TRIES,
            name: device,
            state,
            expires_at,
        };
        let opening = Opening { password_hash: row.password_hash.clone(), strong: true };
        self.store.begin(challenge, Some(opening)).await?;
        Ok(SecondFactorNeeded {
            token: token.to_string(),
            expires_at,
            methods: methods.into_iter().filter_map(|(has, kind)| has.then_some(kind)).collect(),
            passkey: options,
        })
    }

    /// The session that the right password was on its way to.
    pub async fn second_factor(
        &self,
        request: SecondFactorRequest,
        origin: Origin,
    ) -> Result<LoggedIn, AccountError> {
        let token = Zeroizing::new(request.token);
        self.charge(vec![self.by_origin(origin)]).await?;
        let id = Hash32::sha256(token.as_bytes());
        let found = self.store.try_challenge(id, origin.binding(), self.clock.now()).await?;
        let challenge = found.ok_or(AccountError::BadFactor)?;
        let factor = match request.factor {
            Factor::Password(_) => return Err(AccountError::BadFactor),
            factor => factor,
        };
        let row = self.row(challenge.user).await?;
        let kind = self.prove(&row, factor, challenge.state.as_deref(), origin).await?;
        // Of many who go on with the same login one gets in.
        if !self.store.end_challenge(id).await? {
            return Err(AccountError::BadFactor);
        }
        self.open_session(row, challenge.name, origin, kind).await
    }

    async fn open_session(
        &self,
        row: UserRow,
        device: String,
        origin: Origin,
        factor: FactorKind,
    ) -> Result<LoggedIn, AccountError> {
        let (id, now) = (SessionId(Uuid::now_v7()), self.clock.now());
        let refresh = Opaque::new(id.0)?;
        let session = SessionRow {
            id,
            user: row.id,
            is_key: false,
            name: device,
            scopes: String::new(),
            secret_hash: refresh.hash(),
            family_hash: refresh.family_hash(),
            network: origin.network().unwrap_or_default(),
            created_at: now,
            used_at: Some(now),
            expires_at: now + self.policy.idle.min(self.policy.longest),
            strong: factor != FactorKind::Password,
        };
        let note = self.note(Some(row.id), "loggedIn", origin, json!({ "session": id, "factor": factor }));
        let opening = Some(Opening { password_hash: row.password_hash.clone(), strong: session.strong });
        let ended = self.store.insert_session(session.clone(), opening, bounds::SESSIONS, note).await?;
        self.tell_ended(ended.unwrap_or_default());
        self.logged_in(row, session, &refresh, Some(now)).await
    }

    async fn logged_in(
        &self,
        row: UserRow,
        session: SessionRow,
        refresh: &Opaque,
        proved_at: Option<Timestamp>,
    ) -> Result<LoggedIn, AccountError> {
        let bearer = Bearer { user: row.id, role: shown(row.role), session: session.id, proved_at };
        let (token, expires_at) = self.tokens.issue(bearer, self.clock.now())?;
        Ok(LoggedIn {
            token,
            expires_at,
            refresh_token: refresh.text(REFRESH).to_string(),
            refresh_expires_at: session.expires_at,
            session: session.id,
            user: self.view(row).await?,
        })
    }

    /// The next tokens of a session. A refresh token that was used before ends it, and the person is told: two have it.
    pub async fn refresh(&self, request: RefreshRequest, origin: Origin) -> Result<LoggedIn, AccountError> {
        let sent = Zeroizing::new(request.refresh_token);
        self.charge(vec![self.for_refresh(origin)]).await?;
        let sent = Opaque::parse(REFRESH, &sent).ok_or(AccountError::SessionOver)?;
        let (id, now) = (SessionId(sent.id), self.clock.now());
        let next = sent.next()?;
        let step = NextToken {
            family: sent.family_hash(),
            sent: sent.hash(),
            next: next.hash(),
            at: now,
            idle: self.policy.idle,
            longest: self.policy.longest,
            network: origin.network().unwrap_or_default(),
        };
        let note = self.note(None, "refreshReused", origin, json!({ "session": id }));
        let note = Note { tell: true, ..note };
        match self.store.rotate_session(id, step, note).await? {
            Rotation::Done(session) => {
                let row = self.row(session.user).await?;
                self.logged_in(row, *session, &next, None).await
            }
            Rotation::Reused(user) => {
                tracing::warn!(%user, session = %id, "a refresh token was used twice; the session was ended");
                self.tell_ended([id]);
                Err(AccountError::SessionOver)
            }
            Rotation::Gone => Err(AccountError::SessionOver),
        }
    }
}

/// What a session is called: what a device says of itself, cut and cleaned.
fn device_name(said: &str) -> String {
    let clean: String = said.chars().filter(|c| !steers(*c)).take(*bounds::LABEL.end()).collect();
    let clean = clean.trim();
    if clean.is_empty() { "unknown".to_owned() } else { clean.to_owned() }
}
