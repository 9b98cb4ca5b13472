//! Webhooks, and the state of each one's queue.

use aegis_common::ids::{UserId, WebhookId};
use aegis_common::time::Timestamp;
use aegis_common::wire::webhook::DisabledBecause;
use diesel::dsl::{count_star, max};
use diesel::prelude::*;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::crypto::Cell;
use crate::store::Store;
use crate::store::accounts::audit::Note;
use crate::store::commit::check_text;
use crate::store::connection::Conn;
use crate::store::dump::as_json;
use crate::store::error::StoreError;
use crate::store::keys::check_sealed;
use crate::store::schema::{deliveries, events, webhooks};
use crate::store::types::{DbUuid, impossible, natural, time};

/// A webhook, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRow {
    /// Its id.
    pub id: WebhookId,
    /// Whose.
    pub user: UserId,
    /// Where to.
    pub url: String,
    /// Types of events; all where `None`.
    pub kinds: Option<Vec<String>>,
    /// For its owner.
    pub description: String,
    /// Whether it is called.
    pub enabled: bool,
    /// Why the server disabled it.
    pub because: Option<DisabledBecause>,
    /// Failed attempts at the first delivery that waits.
    pub failures: u32,
    /// The first of them.
    pub tried_at: Option<Timestamp>,
    /// When the next attempt is due; `None` where nothing waits.
    pub due_at: Option<Timestamp>,
    /// Deliveries that wait.
    pub waiting: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A new webhook. Not `Debug`: the secret is plain here.
#[derive(Clone)]
pub struct NewWebhookRow {
    /// Its id.
    pub id: WebhookId,
    /// Whose.
    pub user: UserId,
    /// Where to.
    pub url: String,
    /// Types of events; all where `None`.
    pub kinds: Option<Vec<String>>,
    /// What signs the calls; sealed.
    pub secret: Zeroizing<String>,
    /// For its owner.
    pub description: String,
    /// Whether it is called.
    pub enabled: bool,
}

/// What changes; `None` stays. Not `Debug`: the secret is plain here.
#[derive(Clone, Default)]
pub struct WebhookChanges {
    /// Where to.
    pub url: Option<String>,
    /// Types of events; all where `Some(None)`.
    pub kinds: Option<Option<Vec<String>>>,
    /// What signs the calls; sealed.
    pub secret: Option<Zeroizing<String>>,
    /// For its owner.
    pub description: Option<String>,
    /// Whether it is called.
    pub enabled: Option<bool>,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = webhooks, treat_none_as_default_value = false)]
pub(in crate::store) struct RawWebhook {
    pub id: DbUuid,
    pub user_id: DbUuid,
    url: String,
    #[serde(serialize_with = "kinds_as_json")]
    pub kinds: Option<String>,
    #[serde(skip)]
    pub secret: Vec<u8>,
    description: String,
    pub enabled: bool,
    because: Option<String>,
    pub since: i64,
    pub due_at: Option<i64>,
    pub failures: i32,
    pub tried_at: Option<i64>,
    pub lease: i64,
    leased_until: i64,
    created_at: i64,
}

fn kinds_as_json<S: serde::Serializer>(kinds: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match kinds {
        Some(kinds) => as_json(kinds, serializer),
        None => serializer.serialize_none(),
    }
}

/// The types of events that a column names.
pub(in crate::store) fn kinds(text: Option<&str>) -> Result<Option<Vec<String>>, StoreError> {
    let read = text.map(serde_json::from_str).transpose();
    read.map_err(|_| impossible("a webhook's types are no list"))
}

impl RawWebhook {
    pub fn decode(self, waiting: u64) -> Result<WebhookRow, StoreError> {
        let because = self.because.map(|name| DisabledBecause::from_wire(&name));
        Ok(WebhookRow {
            id: WebhookId(self.id.into()),
            user: UserId(self.user_id.into()),
            url: self.url,
            kinds: kinds(self.kinds.as_deref())?,
            description: self.description,
            enabled: self.enabled,
            because: because
                .map(|known| known.ok_or_else(|| impossible("a webhook is disabled for no known reason")))
                .transpose()?,
            failures: u32::try_from(self.failures).map_err(|_| impossible("a negative count"))?,
            tried_at: self.tried_at.map(time).transpose()?,
            due_at: self.due_at.map(time).transpose()?,
            waiting,
            created_at: time(self.created_at)?,
        })
    }
}

/// The place a webhook's secret is sealed for.
pub(in crate::store) fn secret_cell(webhook: &[u8]) -> Cell<'_> {
    Cell { table: "webhooks", column: "secret", row: webhook }
}

fn listed(kinds: Option<Vec<String>>) -> Result<Option<String>, StoreError> {
    let text = kinds.map(|kinds| serde_json::to_string(&kinds)).transpose();
    text.map_err(|error| impossible(&error.to_string()))
}

/// How many deliveries of a webhook wait.
fn waiting(conn: &mut Conn, webhook: DbUuid) -> Result<u64, StoreError> {
    let rows = deliveries::table.filter(deliveries::webhook_id.eq(webhook));
    natural(rows.filter(deliveries::status.eq("waiting")).select(count_star()).first(conn)?)
}

/// One of a person's webhooks.
pub(super) fn find(conn: &mut Conn, user: DbUuid, id: DbUuid) -> Result<Option<RawWebhook>, StoreError> {
    Ok(webhooks::table.find(id).filter(webhooks::user_id.eq(user)).first(conn).optional()?)
}

fn row(conn: &mut Conn, raw: RawWebhook) -> Result<WebhookRow, StoreError> {
    let waiting = waiting(conn, raw.id)?;
    raw.decode(waiting)
}

impl Store {
    /// Stores a new one, for events from now on. `None` where its owner has `most`.
    pub async fn insert_webhook(
        &self,
        new: NewWebhookRow,
        most: usize,
        note: Note,
    ) -> Result<Option<WebhookRow>, StoreError> {
        check_text([&new.url, &new.description])?;
        let (id, user) = (DbUuid::from(new.id.0), DbUuid::from(new.user.0));
        let sealed = self.keyring.seal(secret_cell(&id.0), new.secret.as_bytes())?;
        let kinds = listed(new.kinds.clone())?;
        self.writer
            .run(move |conn| {
                check_sealed(conn, &sealed)?;
                let known = webhooks::table.filter(webhooks::user_id.eq(user));
                if natural(known.select(count_star()).first(conn)?)? >= most as u64 {
                    return Ok(None);
                }
                // First: that it was made is no event for it yet.
                note.write(conn)?;
                let newest: Option<i64> = events::table.select(max(events::seq)).first(conn)?;
                let raw = RawWebhook {
                    id,
                    user_id: user,
                    url: new.url.clone(),
                    kinds: kinds.clone(),
                    secret: sealed.clone(),
                    description: new.description.clone(),
                    enabled: new.enabled,
                    because: None,
                    since: newest.unwrap_or(0),
                    due_at: None,
                    failures: 0,
                    tried_at: None,
                    lease: 0,
                    leased_until: 0,
                    created_at: note.at.as_millisecond(),
                };
                diesel::insert_into(webhooks::table).values(&raw).execute(conn)?;
                raw.decode(0).map(Some)
            })
            .await
    }

    /// A person's webhooks, newest first.
    pub async fn webhooks_of(&self, user: UserId) -> Result<Vec<WebhookRow>, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, _| {
            let rows = webhooks::table.filter(webhooks::user_id.eq(user)).order(webhooks::id.desc());
            let rows: Vec<RawWebhook> = rows.load(conn)?;
            rows.into_iter().map(|raw| row(conn, raw)).collect()
        })
        .await
    }

    /// One of a person's webhooks.
    pub async fn webhook(&self, user: UserId, id: WebhookId) -> Result<Option<WebhookRow>, StoreError> {
        let (user, id) = (DbUuid::from(user.0), DbUuid::from(id.0));
        self.read(move |conn, _| find(conn, user, id)?.map(|raw| row(conn, raw)).transpose()).await
    }

    /// Changes one. Where it is enabled again, or called elsewhere, what waits is due at once and its failures are forgotten.
    /// `None` where there is no such.
    pub async fn change_webhook(
        &self,
        user: UserId,
        id: WebhookId,
        changes: WebhookChanges,
        note: Note,
    ) -> Result<Option<WebhookRow>, StoreError> {
        check_text(changes.url.iter().chain(&changes.description))?;
        let (user, id, at) = (DbUuid::from(user.0), DbUuid::from(id.0), note.at.as_millisecond());
        let secret = changes.secret.as_ref();
        let sealed =
            secret.map(|secret| self.keyring.seal(secret_cell(&id.0), secret.as_bytes())).transpose()?;
        let kinds = changes.kinds.clone().map(listed).transpose()?;
        self.writer
            .run(move |conn| {
                let Some(was) = find(conn, user, id)? else { return Ok(None) };
                let enables = changes.enabled == Some(true) && !was.enabled;
                let moves = changes.url.as_ref().is_some_and(|url| *url != was.url);
                let mut now = RawWebhook {
                    url: changes.url.clone().unwrap_or(was.url),
                    kinds: kinds.clone().unwrap_or(was.kinds),
                    description: changes.description.clone().unwrap_or(was.description),
                    enabled: changes.enabled.unwrap_or(was.enabled),
                    ..was
                };
                if let Some(sealed) = &sealed {
                    check_sealed(conn, sealed)?;
                    now.secret.clone_from(sealed);
                }
                if enables || moves {
                    (now.failures, now.tried_at, now.due_at) = (0, None, now.due_at.map(|_| at));
                    // What a call under way comes to is of the webhook as it was.
                    (now.lease, now.leased_until) = (now.lease + 1, 0);
                }
                if enables {
                    now.because = None;
                }
                let row = diesel::update(webhooks::table.find(id));
                let set = (
                    webhooks::url.eq(&now.url),
                    webhooks::kinds.eq(&now.kinds),
                    webhooks::secret.eq(&now.secret),
                    webhooks::description.eq(&now.description),
                    webhooks::enabled.eq(now.enabled),
                    webhooks::because.eq(&now.because),
                    webhooks::due_at.eq(now.due_at),
                    webhooks::failures.eq(now.failures),
                    webhooks::tried_at.eq(now.tried_at),
                    webhooks::lease.eq(now.lease),
                    webhooks::leased_until.eq(now.leased_until),
                );
                row.set(set).execute(conn)?;
                note.write(conn)?;
                let waiting = waiting(conn, id)?;
                now.decode(waiting).map(Some)
            })
            .await
    }

    /// Forgets one and all its deliveries. `false` where there is no such.
    pub async fn delete_webhook(&self, user: UserId, id: WebhookId, note: Note) -> Result<bool, StoreError> {
        let (user, id) = (DbUuid::from(user.0), DbUuid::from(id.0));
        self.writer
            .run(move |conn| {
                let row = webhooks::table.find(id).filter(webhooks::user_id.eq(user));
                let deleted = diesel::delete(row).execute(conn)? == 1;
                if deleted {
                    note.write(conn)?;
                }
                Ok(deleted)
            })
            .await
    }
}
