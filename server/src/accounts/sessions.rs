//! Staying in: who is behind a token, lists of sessions and API keys, and their end.

use aegis_common::ids::{SessionId, UserId};
use aegis_common::time::{SignedDuration, Timestamp};
use aegis_common::wire::account::{
    AccountRole, ApiKeyRequest, ApiKeyView, AuditEntry, AuditPage, NewApiKey, Scope, SessionView, bounds,
};
use serde_json::json;
use uuid::Uuid;

use super::{AccountError, Accounts, FRESH, Origin, check_label, refuse, shown};
use crate::crypto::opaque::Opaque;
use crate::store::SessionRow;

/// What API keys begin with: programs that look for leaked secrets know them by it.
pub const API_KEY: &str = "aegis_key_";
/// What refresh tokens begin with.
pub(super) const REFRESH: &str = "aegis_refresh_";
/// The use of a key is remembered at most so often.
const TOUCH: SignedDuration = SignedDuration::from_mins(1);

/// Who is behind a token that is good now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The account.
    pub user: UserId,
    /// What it may do now.
    pub role: AccountRole,
    /// The session, or the key.
    pub session: SessionId,
    /// What the key may do; `None` is a login, which may do everything.
    pub scopes: Option<Vec<Scope>>,
    /// Until when the last proof counts as fresh, where this token carries one.
    pub fresh_until: Option<Timestamp>,
    /// Whether it may do what only those do who run the server, should its role allow it: a second factor was shown, or none is
    /// asked for.
    pub strong: bool,
}

impl Who {
    /// Whether the last proof is less than five minutes old.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.fresh_until.is_some_and(|until| until > now)
    }
}

impl Accounts {
    /// Who is behind a login token or an API key. The session is looked up each time: one that was ended is over at once, and a
    /// role is what it is now.
    pub async fn who(&self, token: &str, origin: Origin) -> Result<Who, AccountError> {
        let now = self.clock.now();
        let key = Opaque::parse(API_KEY, token);
        let (id, proved_at) = match &key {
            Some(key) => (SessionId(key.id), None),
            None => {
                let bearer = self.tokens.verify(token, now)?;
                (bearer.session, bearer.proved_at)
            }
        };
        let found = self.store.session(id).await?.filter(|(session, _)| session.expires_at > now);
        let (session, role) = found.ok_or(AccountError::SessionOver)?;
        let fits = match &key {
            Some(key) => session.is_key && session.secret_hash == key.hash(),
            None => !session.is_key,
        };
        if !fits {
            return Err(AccountError::SessionOver);
        }
        if session.is_key && session.used_at.is_none_or(|used| now.duration_since(used) >= TOUCH) {
            // A full disk keeps nobody from reading.
            let touched = self.store.touch_key(id, now, origin.network().unwrap_or_default()).await;
            touched
                .unwrap_or_else(|error| tracing::warn!(%error, "the use of an API key could not be noted"));
        }
        let scopes = session.is_key.then(|| scopes(&session));
        Ok(Who {
            user: session.user,
            role: shown(role),
            session: id,
            scopes,
            fresh_until: proved_at.map(|at| at + FRESH),
            strong: session.strong || !self.policy.strong_staff,
        })
    }

    /// Whether a session or key still goes on.
    pub async fn goes_on(&self, id: SessionId) -> Result<bool, AccountError> {
        let now = self.clock.now();
        Ok(self.store.session(id).await?.is_some_and(|(session, _)| session.expires_at > now))
    }

    /// One's logins.
    pub async fn sessions(&self, who: &Who) -> Result<Vec<SessionView>, AccountError> {
        let rows = self.store.sessions_of(who.user, false).await?;
        let now = self.clock.now();
        let view = |row: SessionRow| SessionView {
            id: row.id,
            device: row.name,
            network: row.network,
            created_at: row.created_at,
            used_at: row.used_at.unwrap_or(row.created_at),
            expires_at: row.expires_at,
            current: row.id == who.session,
        };
        Ok(rows.into_iter().filter(|row| row.expires_at > now).map(view).collect())
    }

    /// Ends one of one's logins.
    pub async fn end_session(&self, user: UserId, id: SessionId, origin: Origin) -> Result<(), AccountError> {
        let note = self.note(Some(user), "sessionEnded", origin, json!({ "session": id }));
        if !self.store.end_session(user, id, false, note).await? {
            return Err(AccountError::Unknown);
        }
        self.tell_ended([id]);
        Ok(())
    }

    /// Ends all of one's logins, but perhaps the present one.
    pub async fn end_sessions(&self, who: &Who, others: bool, origin: Origin) -> Result<(), AccountError> {
        let but = others.then_some(who.session);
        let note = self.act(who, "allSessionsEnded", origin, json!({ "others": others }));
        let ended = self.store.end_logins(who.user, but, note).await?;
        self.tell_ended(ended);
        Ok(())
    }

    /// Ends all of somebody's logins. `by` is nobody where it comes from the server's machine.
    pub async fn end_sessions_of(
        &self,
        username: &str,
        by: Option<&Who>,
        origin: Origin,
    ) -> Result<(), AccountError> {
        let row = self.row_named(username).await?;
        let note = self.rule(Some(row.id), "allSessionsEnded", by, origin, json!({}));
        let ended = self.store.end_logins(row.id, None, note).await?;
        self.tell_ended(ended);
        Ok(())
    }

    /// Ends everybody's logins. API keys go on.
    pub async fn end_everybody(&self) -> Result<usize, AccountError> {
        let note = self.rule(None, "everybodysSessionsEnded", None, Origin::MACHINE, json!({}));
        let ended = self.store.end_everybody(note).await?;
        tracing::warn!(count = ended.len(), "all sessions were ended");
        let count = ended.len();
        self.tell_ended(ended);
        Ok(count)
    }

    /// Keeps an account from being used, and ends its logins and API keys; or lets it be used again. What it signed stands,
    /// and its escrows go on: a participant's statements need a login.
    pub async fn set_disabled(
        &self,
        username: &str,
        disable: bool,
        by: Option<&Who>,
        origin: Origin,
    ) -> Result<(), AccountError> {
        let row = self.row_named(username).await?;
        let kind = if disable { "accountDisabled" } else { "accountEnabled" };
        let note = self.rule(Some(row.id), kind, by, origin, json!({}));
        let ended = self.store.set_disabled(row.id, disable, note).await?;
        tracing::warn!(user = %row.id, kind, "an account was disabled or enabled");
        self.tell_ended(ended);
        Ok(())
    }

    /// Makes an API key; it is shown this once.
    pub async fn make_api_key(
        &self,
        who: &Who,
        request: ApiKeyRequest,
        origin: Origin,
    ) -> Result<NewApiKey, AccountError> {
        check_label("name", &request.name)?;
        if request.scopes.is_empty() || request.scopes.len() > Scope::ALL.len() {
            return refuse("scopes", "must name at least one thing, and none twice");
        }
        if !bounds::API_KEY_DAYS.contains(&request.days) {
            return refuse("days", "must lie between 1 and 366");
        }
        let (id, now) = (SessionId(Uuid::now_v7()), self.clock.now());
        let key = Opaque::new(id.0)?;
        let scopes: Vec<&str> =
            Scope::ALL.into_iter().filter(|scope| request.scopes.contains(scope)).map(Scope::wire).collect();
        let row = SessionRow {
            id,
            user: who.user,
            is_key: true,
            name: request.name,
            scopes: scopes.join(" "),
            secret_hash: key.hash(),
            family_hash: key.family_hash(),
            network: origin.network().unwrap_or_default(),
            created_at: now,
            used_at: None,
            expires_at: now + SignedDuration::from_hours(24 * i64::from(request.days)),
            strong: false,
        };
        let detail = json!({ "key": id, "name": row.name, "scopes": scopes });
        let note = self.act(who, "apiKeyMade", origin, detail);
        let stored = self.store.insert_session(row.clone(), None, bounds::API_KEYS, note).await?;
        stored.ok_or(AccountError::LimitReached("API keys"))?;
        Ok(NewApiKey { key: key.text(API_KEY).to_string(), view: key_view(row) })
    }

    /// One's API keys.
    pub async fn api_keys(&self, user: UserId) -> Result<Vec<ApiKeyView>, AccountError> {
        let mut rows = self.store.sessions_of(user, true).await?;
        rows.sort_by_key(|row| std::cmp::Reverse(row.id));
        Ok(rows.into_iter().map(key_view).collect())
    }

    /// Ends an API key.
    pub async fn end_api_key(&self, user: UserId, id: SessionId, origin: Origin) -> Result<(), AccountError> {
        let note = self.note(Some(user), "apiKeyEnded", origin, json!({ "key": id }));
        if !self.store.end_session(user, id, true, note).await? {
            return Err(AccountError::Unknown);
        }
        self.tell_ended([id]);
        Ok(())
    }

    /// What was done with one's credentials, newest first.
    pub async fn audit(
        &self,
        user: UserId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<AuditPage, AccountError> {
        let rows = self.store.audit_of(user, before, limit).await?;
        let next = rows.last().filter(|_| rows.len() == limit).map(|row| row.seq);
        let entries = rows.into_iter().map(|row| AuditEntry {
            seq: row.seq,
            at: row.at,
            kind: row.kind,
            network: row.network,
            detail: row.detail,
        });
        Ok(AuditPage { entries: entries.collect(), next })
    }
}

fn scopes(row: &SessionRow) -> Vec<Scope> {
    row.scopes.split(' ').filter_map(Scope::from_wire).collect()
}

fn key_view(row: SessionRow) -> ApiKeyView {
    ApiKeyView {
        id: row.id,
        scopes: scopes(&row),
        name: row.name,
        created_at: row.created_at,
        used_at: row.used_at,
        expires_at: row.expires_at,
    }
}
