//! What the couriers do: from events to deliveries, taking the first that waits, and noting how it went.

use std::collections::HashMap;

use aegis_common::ids::DeliveryId;
use aegis_common::time::Timestamp;
use aegis_common::wire::webhook::{DeliveryStatus, DisabledBecause, bounds};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use zeroize::Zeroizing;

use super::deliveries::{AttemptRow, DeliveryRow, InsertDelivery, RawDelivery};
use super::webhooks::{RawWebhook, WebhookRow, kinds, secret_cell};
use crate::store::Store;
use crate::store::commit::{InsertEvent, NewEvent, check_text};
use crate::store::connection::Conn;
use crate::store::error::StoreError;
use crate::store::events::{EventRow, RawEvent, cursor, move_cursor};
use crate::store::schema::{deliveries, disabled, events, webhooks};
use crate::store::types::{DbUuid, page};

/// More owners than can be at their most at once.
const OWNERS: usize = 32;

/// A delivery that one courier may try, until its lease ends.
#[derive(Clone)]
pub struct Claim {
    /// The webhook as it was when it was taken.
    pub webhook: WebhookRow,
    /// What signs.
    pub secret: Zeroizing<Vec<u8>>,
    /// Which taking this is.
    pub lease: i64,
    /// The first that waits.
    pub delivery: DeliveryRow,
    /// Its event; `None` for a ping.
    pub event: Option<EventRow>,
}

/// What follows an attempt.
#[derive(Debug, Clone)]
pub enum After {
    /// It is delivered; the next is due.
    Delivered,
    /// It is tried again then.
    Retry(Timestamp),
    /// The webhook is disabled, and its owner told by this event; the delivery waits.
    Disable(DisabledBecause, NewEvent),
}

/// A webhook that may be called, and its first delivery.
type Taken = (RawWebhook, RawDelivery, Option<RawEvent>);

/// Webhooks that may be called now, those that have waited longest first, and of one owner no more than `each`, those that are being
/// called among them: whoever has slow receivers holds up nobody else.
fn due(conn: &mut Conn, now: i64, limit: usize, each: usize) -> Result<Vec<RawWebhook>, StoreError> {
    // In the words of the partial index: only so is it used.
    let rows = webhooks::table.filter(sql::<Bool>("enabled")).filter(webhooks::due_at.le(now));
    // Nothing leaves for an account that is shut out.
    let shut = disabled::table.select(disabled::user_id);
    let rows = rows.filter(webhooks::user_id.ne_all(shut)).filter(webhooks::leased_until.le(now));
    // Behind all that owners who are at their most can have due there is one of another's.
    let most = bounds::WEBHOOKS.saturating_mul(OWNERS).saturating_add(limit);
    let rows = rows.order(webhooks::due_at).select((webhooks::id, webhooks::user_id)).limit(page(most));
    let waiting: Vec<(DbUuid, DbUuid)> = rows.load(conn)?;
    let owners: Vec<DbUuid> = waiting.iter().map(|(_, owner)| *owner).collect();
    let held = webhooks::table.filter(webhooks::user_id.eq_any(&owners));
    let held = held.filter(webhooks::leased_until.gt(now)).select(webhooks::user_id);
    let mut taken: HashMap<[u8; 16], usize> = HashMap::new();
    for owner in held.load::<DbUuid>(conn)? {
        *taken.entry(owner.0).or_default() += 1;
    }
    let mut ids = Vec::new();
    for (id, owner) in waiting {
        let count = taken.entry(owner.0).or_default();
        if *count < each && ids.len() < limit {
            *count += 1;
            ids.push(id);
        }
    }
    Ok(webhooks::table.filter(webhooks::id.eq_any(&ids)).order(webhooks::due_at).load(conn)?)
}

/// The first delivery that waits and has its event still; those without are over.
fn head(conn: &mut Conn, webhook: DbUuid) -> Result<Option<(RawDelivery, Option<RawEvent>)>, StoreError> {
    loop {
        let rows = deliveries::table.filter(deliveries::webhook_id.eq(webhook));
        let rows = rows.filter(deliveries::status.eq("waiting")).order(deliveries::seq);
        let Some(first) = rows.first::<RawDelivery>(conn).optional()? else { return Ok(None) };
        let Some(seq) = first.event_seq else { return Ok(Some((first, None))) };
        if let Some(event) = events::table.find(seq).first(conn).optional()? {
            return Ok(Some((first, Some(event))));
        }
        let over = deliveries::status.eq(DeliveryStatus::Expired.wire());
        diesel::update(deliveries::table.find(first.seq)).set(over).execute(conn)?;
    }
}

fn waits(conn: &mut Conn, webhook: DbUuid) -> Result<bool, StoreError> {
    let rows = deliveries::table.filter(deliveries::webhook_id.eq(webhook));
    let rows = rows.filter(deliveries::status.eq("waiting")).select(deliveries::seq);
    Ok(rows.first::<i64>(conn).optional()?.is_some())
}

/// Takes a webhook's lease for its first delivery; a queue in which nothing waits is due no more.
fn take(conn: &mut Conn, mut raw: RawWebhook, until: i64) -> Result<Option<Taken>, StoreError> {
    let held = webhooks::table.find(raw.id).filter(webhooks::lease.eq(raw.lease));
    let Some((delivery, event)) = head(conn, raw.id)? else {
        let none = None::<i64>;
        let idle = (webhooks::due_at.eq(none), webhooks::failures.eq(0), webhooks::tried_at.eq(none));
        diesel::update(held).set(idle).execute(conn)?;
        return Ok(None);
    };
    raw.lease += 1;
    let set = (webhooks::lease.eq(raw.lease), webhooks::leased_until.eq(until));
    let taken = diesel::update(held).set(set).execute(conn)? == 1;
    Ok(taken.then_some((raw, delivery, event)))
}

impl Store {
    /// Makes deliveries of up to `limit` events that the named dispatcher has not seen, and moves its cursor, all or nothing.
    /// Returns the number of events.
    pub async fn queue_events(
        &self,
        name: &'static str,
        limit: usize,
        at: Timestamp,
    ) -> Result<usize, StoreError> {
        // Looked at first: most of the time there is nothing to write.
        if self.events_after(self.outbox_cursor(name).await?, 1).await?.is_empty() {
            return Ok(0);
        }
        self.writer
            .run(move |conn| {
                let rows = events::table.filter(events::seq.gt(cursor(conn, name)?)).order(events::seq);
                let rows = rows.limit(page(limit)).select((events::seq, events::user_id, events::kind));
                let rows: Vec<(i64, DbUuid, String)> = rows.load(conn)?;
                let Some((last, ..)) = rows.last() else { return Ok(0) };
                let users: Vec<DbUuid> = rows.iter().map(|(_, user, _)| *user).collect();
                let hooks: Vec<RawWebhook> = webhooks::table
                    .filter(webhooks::user_id.eq_any(&users))
                    .order(webhooks::id)
                    .load(conn)?;
                for hook in hooks {
                    // One that is damaged must not hold up the others: it is called no more, and sends what waits once it is mended.
                    let wanted = match kinds(hook.kinds.as_deref()) {
                        Ok(wanted) => wanted,
                        Err(error) => {
                            if hook.enabled {
                                tracing::error!(webhook = %uuid::Uuid::from(hook.id), %error, "a webhook is disabled");
                                let row = diesel::update(webhooks::table.find(hook.id));
                                row.set(webhooks::enabled.eq(false)).execute(conn)?;
                            }
                            None
                        }
                    };
                    for (seq, user, kind) in &rows {
                        let fits = wanted.as_ref().is_none_or(|wanted| wanted.contains(kind));
                        if *user == hook.user_id && *seq > hook.since && fits {
                            InsertDelivery::of(hook.id, kind, Some(*seq), at.as_millisecond()).write(conn)?;
                        }
                    }
                }
                move_cursor(conn, name, *last)?;
                Ok(rows.len())
            })
            .await
    }

    /// Takes the first delivery of up to `limit` webhooks that are due at a moment and that nobody holds, those that have waited
    /// longest first, and of one owner no more than `each` at a time. Whoever takes one holds it until `until`.
    pub async fn claim_deliveries(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
        each: usize,
    ) -> Result<Vec<Claim>, StoreError> {
        let (now, until) = (now.as_millisecond(), until.as_millisecond());
        if self.read(move |conn, _| due(conn, now, 1, each)).await?.is_empty() {
            return Ok(Vec::new());
        }
        let taken: Vec<Taken> = self
            .writer
            .run(move |conn| {
                let mut taken = Vec::new();
                for raw in due(conn, now, limit, each)? {
                    taken.extend(take(conn, raw, until)?);
                }
                Ok::<_, StoreError>(taken)
            })
            .await?;
        let mut claims = Vec::new();
        for (raw, delivery, event) in taken {
            let id = raw.id;
            // One that is damaged must not hold up the others.
            match self.claim(raw, delivery, event) {
                Ok(claim) => claims.push(claim),
                Err(error) => {
                    tracing::error!(webhook = %uuid::Uuid::from(id), %error, "a webhook can't be called")
                }
            }
        }
        Ok(claims)
    }

    fn claim(
        &self,
        raw: RawWebhook,
        delivery: RawDelivery,
        event: Option<RawEvent>,
    ) -> Result<Claim, StoreError> {
        let secret = self.keyring.open(secret_cell(&raw.id.0), &raw.secret)?;
        let (lease, delivery) = (raw.lease, delivery.decode()?);
        Ok(Claim {
            webhook: raw.decode(1)?,
            secret,
            lease,
            delivery,
            event: event.map(RawEvent::decode).transpose()?,
        })
    }

    /// Notes an attempt and what follows, and gives the lease back. `false`, and nothing changes, where somebody else holds the
    /// webhook by now.
    pub async fn note_attempt(
        &self,
        claim: &Claim,
        attempt: AttemptRow,
        after: After,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        check_text(attempt.error.iter().chain(&attempt.excerpt))?;
        let (webhook, lease) = (DbUuid::from(claim.webhook.id.0), claim.lease);
        let delivery = claim.delivery.id;
        self.writer
            .run(move |conn| {
                let held = webhooks::table.find(webhook).filter(webhooks::lease.eq(lease));
                let Some(raw) = held.first::<RawWebhook>(conn).optional()? else { return Ok(false) };
                log(conn, delivery, &attempt, matches!(after, After::Delivered))?;
                let back = (webhooks::leased_until.eq(0), webhooks::lease.eq(lease + 1));
                let row = diesel::update(webhooks::table.find(webhook));
                if let After::Delivered = after {
                    let due = waits(conn, webhook)?.then_some(now.as_millisecond());
                    let state = (webhooks::failures.eq(0), webhooks::tried_at.eq(None::<i64>));
                    row.set((back, state, webhooks::due_at.eq(due))).execute(conn)?;
                    return Ok(true);
                }
                let first = raw.tried_at.unwrap_or(attempt.at.as_millisecond());
                let failed =
                    (webhooks::failures.eq(raw.failures.saturating_add(1)), webhooks::tried_at.eq(first));
                match &after {
                    After::Retry(at) => {
                        row.set((back, failed, webhooks::due_at.eq(at.as_millisecond()))).execute(conn)?;
                    }
                    After::Disable(reason, event) => {
                        let off = (webhooks::enabled.eq(false), webhooks::because.eq(reason.wire()));
                        row.set((back, failed, off)).execute(conn)?;
                        let event = InsertEvent::encode(event.clone(), now);
                        diesel::insert_into(events::table).values(&event).execute(conn)?;
                    }
                    After::Delivered => {}
                }
                Ok(true)
            })
            .await
    }
}

fn log(conn: &mut Conn, id: DeliveryId, attempt: &AttemptRow, delivered: bool) -> Result<(), StoreError> {
    let status = if delivered { DeliveryStatus::Delivered } else { DeliveryStatus::Waiting };
    let row = diesel::update(deliveries::table.filter(deliveries::id.eq(DbUuid::from(id.0))));
    let set = (
        deliveries::status.eq(status.wire()),
        deliveries::attempts.eq(deliveries::attempts + 1),
        deliveries::at.eq(attempt.at.as_millisecond()),
        deliveries::millis.eq(i32::try_from(attempt.millis).unwrap_or(i32::MAX)),
        deliveries::http_status.eq(attempt.http_status.map(i32::from)),
        deliveries::error.eq(&attempt.error),
        deliveries::excerpt.eq(&attempt.excerpt),
    );
    row.set(set).execute(conn)?;
    Ok(())
}
