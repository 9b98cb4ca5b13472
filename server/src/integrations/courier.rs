//! The courier: turns events into deliveries and brings them, each webhook's in order, several webhooks' at once.
//!
//! A webhook is held by a lease in the database while its first delivery is tried, so several couriers never send the same at once.
//! One that dies between sending and noting leaves the lease to end: the delivery is sent again under the same id.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aegis_common::time::{Clock, SignedDuration, Timestamp};
use aegis_common::wire::event::{EventFrame, OwnNotice};
use aegis_common::wire::webhook::{DisabledBecause, WebhookCall, bounds};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::schedule::next_attempt;
use super::signature::signature;
use super::{IntegrationError, uses_tor};
use crate::outside::{Answer, Call, Door, OutsideError};
use crate::store::{After, AttemptRow, Claim, EventRow, NewEvent, Store, StoreError};

/// The dispatcher's name in the database.
const NAME: &str = "webhooks";
/// Events that become deliveries in one transaction.
const BATCH: usize = 256;
/// Webhooks that are called at once.
const AT_ONCE: usize = 16;
/// Of these, how many of one owner.
const EACH: usize = 2;
/// How long a receiver may take.
const WITHIN: Duration = Duration::from_secs(10);
/// How long a webhook is held for one attempt: longer than that may take.
pub const LEASE: SignedDuration = SignedDuration::from_secs(60);
/// Between two looks where nothing is to be done.
const POLL: Duration = Duration::from_secs(1);

const SIGNATURE: HeaderName = HeaderName::from_static("aegis-signature");
const DELIVERY: HeaderName = HeaderName::from_static("aegis-delivery");

/// Gone, for good (RFC 9110, 15.5.11).
const GONE: u16 = 410;

/// Brings what waits; clones share everything.
#[derive(Clone)]
pub struct Courier {
    store: Store,
    door: Door,
    clock: Arc<dyn Clock>,
    within: Duration,
}

impl Courier {
    /// On a store, by a door.
    pub fn new(store: Store, door: Door, clock: Arc<dyn Clock>) -> Self {
        Self { store, door, clock, within: WITHIN }
    }

    /// The same, with another bound on how long a receiver may take.
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// Never ends. What fails is tried again at the next look.
    pub async fn run(self) {
        let mut running = JoinSet::new();
        loop {
            match self.begin(AT_ONCE.saturating_sub(running.len())).await {
                Ok(claims) => {
                    for claim in claims {
                        let courier = self.clone();
                        running.spawn(async move { courier.attempt(claim).await });
                    }
                }
                Err(error) => tracing::warn!(%error, "webhooks wait"),
            }
            // One that is done makes room at once.
            tokio::select! {
                Some(_) = running.join_next() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// One look, and an attempt at all it finds due, at most sixteen. Returns how many there were.
    pub async fn turn(&self) -> Result<usize, StoreError> {
        let claims = self.begin(AT_ONCE).await?;
        let count = claims.len();
        futures_util::future::join_all(claims.into_iter().map(|claim| self.attempt(claim))).await;
        Ok(count)
    }

    async fn begin(&self, room: usize) -> Result<Vec<Claim>, StoreError> {
        while self.store.queue_events(NAME, BATCH, self.clock.now()).await? == BATCH {}
        if room == 0 {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let until = now.saturating_add(LEASE).unwrap_or(Timestamp::MAX);
        self.store.claim_deliveries(now, until, room, EACH).await
    }

    /// Sends, and notes how it went. What can't be noted is sent again when the lease ends.
    async fn attempt(&self, claim: Claim) {
        if let Err(error) = self.try_once(&claim).await {
            tracing::warn!(webhook = %claim.webhook.id, %error, "an attempt could not be made or noted");
        }
    }

    async fn try_once(&self, claim: &Claim) -> Result<(), IntegrationError> {
        let (at, begun) = (self.clock.now(), Instant::now());
        let sent = match uses_tor(&self.store, claim.webhook.user).await {
            Ok(by_tor) => self.send(claim, by_tor, at).await.map_err(|error| error.kind()),
            Err(IntegrationError::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(webhook = %claim.webhook.id, %error, "a webhook can't be called");
                Err("server")
            }
        };
        let mut attempt = AttemptRow { at, millis: 0, http_status: None, error: None, excerpt: None };
        match sent {
            Ok(answer) => {
                attempt.http_status = Some(answer.status());
                attempt.excerpt = Some(readable(&answer.beginning(bounds::EXCERPT).await));
            }
            Err(error) => attempt.error = Some(error.to_owned()),
        }
        attempt.millis = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
        let now = self.clock.now();
        let after = follow(claim, attempt.http_status, at, now);
        let (http, error) = (attempt.http_status, attempt.error.clone());
        if !self.store.note_attempt(claim, attempt, after, now).await? {
            tracing::warn!(webhook = %claim.webhook.id, "a delivery was taken over by another courier");
        }
        tracing::debug!(webhook = %claim.webhook.id, delivery = %claim.delivery.id, http, error, "a webhook was called");
        Ok(())
    }

    async fn send(&self, claim: &Claim, by_tor: bool, at: Timestamp) -> Result<Answer, OutsideError> {
        let body = body(claim).ok_or(OutsideError::Broken)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let texts =
            [(SIGNATURE, signature(&claim.secret, at, &body)), (DELIVERY, claim.delivery.id.to_string())];
        for (name, text) in texts {
            headers.insert(name, HeaderValue::try_from(text).map_err(|_| OutsideError::Broken)?);
        }
        self.door.post(Call { url: &claim.webhook.url, by_tor, headers, body, within: self.within }).await
    }
}

/// The same bytes at every attempt.
fn body(claim: &Claim) -> Option<Vec<u8>> {
    let Claim { webhook, delivery, event, .. } = claim;
    let call = WebhookCall {
        delivery_id: delivery.id,
        webhook_id: webhook.id,
        original_delivery_id: delivery.original,
        is_redelivery: delivery.original.is_some(),
        timestamp: delivery.created_at,
        kind: delivery.kind.clone(),
        event: event.as_ref().map(frame),
    };
    serde_json::to_vec(&call).ok()
}

/// One whose payload is damaged is sent without it, loudly: it must not hold up the others.
fn frame(row: &EventRow) -> EventFrame {
    let payload = serde_json::from_str(&row.payload).unwrap_or_else(|_| {
        tracing::error!(seq = row.seq, "an event's payload is not JSON");
        serde_json::Value::Null
    });
    EventFrame {
        kind: row.kind.clone(),
        seq: row.seq,
        id: row.event_id,
        escrow_id: row.escrow_id,
        at: row.created_at,
        payload,
    }
}

/// What follows an answer, or none.
fn follow(claim: &Claim, status: Option<u16>, at: Timestamp, now: Timestamp) -> After {
    let webhook = &claim.webhook;
    let disable = |because| After::Disable(because, disabled(claim, because));
    match status {
        Some(200..=299) => After::Delivered,
        Some(GONE) => disable(DisabledBecause::Gone),
        _ => {
            let first = webhook.tried_at.unwrap_or(at);
            let next = next_attempt(first, now, webhook.failures.saturating_add(1));
            next.map_or_else(|| disable(DisabledBecause::Failing), After::Retry)
        }
    }
}

fn disabled(claim: &Claim, because: DisabledBecause) -> NewEvent {
    let notice =
        OwnNotice::WebhookDisabled { webhook_id: claim.webhook.id, because, delivery_id: claim.delivery.id };
    let (event_id, user_id) = (Uuid::now_v7(), claim.webhook.user);
    let (kind, payload) = (notice.kind().to_owned(), notice.payload().to_string());
    NewEvent { event_id, user_id, escrow_id: None, kind, payload }
}

/// As text that a database takes. What is cut in the middle of a character loses it.
fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}").trim_end_matches('\u{fffd}').to_owned()
}
