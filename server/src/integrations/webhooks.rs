//! Making, changing and looking at webhooks.

use aegis_common::ids::{DeliveryId, UserId, WebhookId};
use aegis_common::wire::event::KINDS;
use aegis_common::wire::webhook::{
    AttemptView, DeliveryPage, DeliveryView, NewWebhook, WebhookChange, WebhookRequest, WebhookView, bounds,
};
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Actor, IntegrationError, Integrations, refuse};
use crate::crypto::opaque;
use crate::store::{AttemptRow, ByHand, DeliveryRow, NewWebhookRow, Queued, WebhookChanges, WebhookRow};

/// Pings and redeliveries of one person at once, and seconds between two more.
const BY_HAND: (u32, i64) = (30, 10);

impl Integrations {
    /// Makes a webhook for events from now on; its secret is shown this once.
    pub async fn make_webhook(
        &self,
        actor: &Actor,
        request: WebhookRequest,
    ) -> Result<NewWebhook, IntegrationError> {
        let WebhookRequest { url, kinds, secret, description, enabled } = request;
        check_kinds(kinds.as_deref())?;
        check_secret(secret.as_deref())?;
        check_description(&description)?;
        let url = self.judged(actor.user, &url).await?.to_string();
        let secret = match secret {
            Some(secret) => Zeroizing::new(secret),
            None => opaque::token().map_err(|error| IntegrationError::Failed(error.to_string()))?.0,
        };
        let (id, user) = (WebhookId(Uuid::now_v7()), actor.user);
        let new = NewWebhookRow { id, user, url, kinds, secret: secret.clone(), description, enabled };
        let note = self.act(actor, "webhookMade", json!({ "webhook": id }));
        let made = self.store.insert_webhook(new, bounds::WEBHOOKS, note).await?;
        let row = made.ok_or(IntegrationError::LimitReached("webhooks"))?;
        Ok(NewWebhook { secret: secret.to_string(), webhook: view(row) })
    }

    /// A person's webhooks.
    pub async fn webhooks(&self, user: UserId) -> Result<Vec<WebhookView>, IntegrationError> {
        Ok(self.store.webhooks_of(user).await?.into_iter().map(view).collect())
    }

    /// One of them.
    pub async fn webhook(&self, user: UserId, id: WebhookId) -> Result<WebhookView, IntegrationError> {
        self.store.webhook(user, id).await?.map(view).ok_or(IntegrationError::Unknown)
    }

    /// Changes one; what is left out stays.
    pub async fn change_webhook(
        &self,
        actor: &Actor,
        id: WebhookId,
        change: WebhookChange,
    ) -> Result<WebhookView, IntegrationError> {
        let WebhookChange { url, kinds, all_kinds, secret, description, enabled } = change;
        if all_kinds && kinds.is_some() {
            return refuse("kinds", "must be left out with allKinds");
        }
        check_kinds(kinds.as_deref())?;
        check_secret(secret.as_deref())?;
        check_description(description.as_deref().unwrap_or_default())?;
        let url = match url {
            Some(url) => Some(self.judged(actor.user, &url).await?.to_string()),
            None => None,
        };
        let changed = json!({
            "webhook": id,
            "url": url.is_some(),
            "kinds": all_kinds || kinds.is_some(),
            "secret": secret.is_some(),
            "enabled": enabled,
        });
        let note = self.act(actor, "webhookChanged", changed);
        let kinds = if all_kinds { Some(None) } else { kinds.map(Some) };
        let secret = secret.map(Zeroizing::new);
        let changes = WebhookChanges { url, kinds, secret, description, enabled };
        let row = self.store.change_webhook(actor.user, id, changes, note).await?;
        row.map(view).ok_or(IntegrationError::Unknown)
    }

    /// Forgets one, with what waits and its log.
    pub async fn delete_webhook(&self, actor: &Actor, id: WebhookId) -> Result<(), IntegrationError> {
        let note = self.act(actor, "webhookDeleted", json!({ "webhook": id }));
        let deleted = self.store.delete_webhook(actor.user, id, note).await?;
        if deleted { Ok(()) } else { Err(IntegrationError::Unknown) }
    }

    /// Sends a sign of life, or an earlier delivery once more, behind all that waits.
    pub async fn send_by_hand(
        &self,
        user: UserId,
        webhook: WebhookId,
        what: ByHand,
    ) -> Result<DeliveryView, IntegrationError> {
        self.charge(b"by hand\0", user, BY_HAND).await?;
        match self.store.queue_by_hand(user, webhook, what, bounds::BY_HAND, self.clock.now()).await? {
            Queued::As(row) => Ok(delivery_view(*row)),
            Queued::TooMany => Err(IntegrationError::LimitReached("pings and redeliveries that wait")),
            Queued::Missing => Err(IntegrationError::Unknown),
        }
    }

    /// The log, newest first.
    pub async fn deliveries(
        &self,
        user: UserId,
        webhook: WebhookId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<DeliveryPage, IntegrationError> {
        let rows = self.store.deliveries_of(user, webhook, before, limit).await?;
        let rows = rows.ok_or(IntegrationError::Unknown)?;
        let next = rows.last().filter(|_| rows.len() == limit).map(|row| row.seq);
        Ok(DeliveryPage { deliveries: rows.into_iter().map(delivery_view).collect(), next })
    }

    /// One delivery.
    pub async fn delivery(
        &self,
        user: UserId,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<DeliveryView, IntegrationError> {
        let row = self.store.delivery(user, webhook, id).await?;
        row.map(delivery_view).ok_or(IntegrationError::Unknown)
    }
}

fn check_kinds(kinds: Option<&[String]>) -> Result<(), IntegrationError> {
    let Some(kinds) = kinds else { return Ok(()) };
    // One that nobody sends would be waited for in vain.
    if (1..=bounds::KINDS).contains(&kinds.len()) && kinds.iter().all(|kind| KINDS.contains(&kind.as_str())) {
        return Ok(());
    }
    refuse(
        "kinds",
        "must name 1 to 64 types of events that there are, e.g. EscrowStatusChanged; see /api/v1/asyncapi.json",
    )
}

fn check_secret(secret: Option<&str>) -> Result<(), IntegrationError> {
    let fits = |secret: &str| {
        bounds::SECRET.contains(&secret.len()) && secret.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if secret.is_none_or(fits) {
        Ok(())
    } else {
        refuse("secret", "must have 16 to 256 visible ASCII characters")
    }
}

fn check_description(text: &str) -> Result<(), IntegrationError> {
    if text.chars().count() <= bounds::DESCRIPTION && !text.chars().any(char::is_control) {
        return Ok(());
    }
    refuse("description", "must have at most 200 visible characters")
}

fn view(row: WebhookRow) -> WebhookView {
    WebhookView {
        id: row.id,
        url: row.url,
        kinds: row.kinds,
        description: row.description,
        enabled: row.enabled,
        disabled_because: row.because,
        waiting: row.waiting,
        failed_attempts: row.failures,
        next_attempt_at: row.due_at.filter(|_| row.enabled && row.waiting > 0),
        created_at: row.created_at,
    }
}

fn delivery_view(row: DeliveryRow) -> DeliveryView {
    let attempt = |row: AttemptRow| AttemptView {
        at: row.at,
        millis: row.millis,
        http_status: row.http_status,
        error: row.error,
        excerpt: row.excerpt,
    };
    DeliveryView {
        id: row.id,
        seq: row.seq,
        event_seq: row.event_seq,
        kind: row.kind,
        original_delivery_id: row.original,
        status: row.status,
        created_at: row.created_at,
        attempts: row.attempts,
        last_attempt: row.last.map(attempt),
    }
}
