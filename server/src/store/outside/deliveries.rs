//! The log of deliveries, and those that owners ask for.

use aegis_common::ids::{DeliveryId, UserId, WebhookId};
use aegis_common::time::Timestamp;
use aegis_common::wire::webhook::DeliveryStatus;
use diesel::dsl::count_star;
use diesel::prelude::*;
use serde::Serialize;
use uuid::Uuid;

use super::webhooks::{RawWebhook, find};
use crate::store::Store;
use crate::store::connection::Conn;
use crate::store::error::StoreError;
use crate::store::schema::{deliveries, webhooks};
use crate::store::types::{DbUuid, impossible, natural, page, time};

/// The type of what has no event.
pub const PING: &str = "Ping";

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Its order.
    pub seq: i64,
    /// Its id.
    pub id: DeliveryId,
    /// Of which webhook.
    pub webhook: WebhookId,
    /// Of which event; `None` is a ping.
    pub event_seq: Option<i64>,
    /// The event's type.
    pub kind: String,
    /// What it repeats.
    pub original: Option<DeliveryId>,
    /// What became of it.
    pub status: DeliveryStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// The last of them.
    pub last: Option<AttemptRow>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// When.
    pub at: Timestamp,
    /// Milliseconds it took.
    pub millis: u32,
    /// HTTP status of the answer.
    pub http_status: Option<u16>,
    /// Why there was none.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub excerpt: Option<String>,
}

#[derive(Queryable, Serialize)]
pub(in crate::store) struct RawDelivery {
    pub seq: i64,
    pub id: DbUuid,
    webhook_id: DbUuid,
    pub event_seq: Option<i64>,
    kind: String,
    original_id: Option<DbUuid>,
    status: String,
    created_at: i64,
    attempts: i32,
    at: Option<i64>,
    millis: Option<i32>,
    http_status: Option<i32>,
    error: Option<String>,
    excerpt: Option<String>,
}

#[derive(Insertable)]
#[diesel(table_name = deliveries, treat_none_as_default_value = false)]
pub(super) struct InsertDelivery<'a> {
    pub id: DbUuid,
    pub webhook_id: DbUuid,
    pub event_seq: Option<i64>,
    pub kind: &'a str,
    pub original_id: Option<DbUuid>,
    pub status: &'a str,
    pub created_at: i64,
    pub attempts: i32,
}

impl<'a> InsertDelivery<'a> {
    pub fn of(webhook_id: DbUuid, kind: &'a str, event_seq: Option<i64>, at: i64) -> Self {
        Self {
            id: Uuid::now_v7().into(),
            webhook_id,
            event_seq,
            kind,
            original_id: None,
            status: DeliveryStatus::Waiting.wire(),
            created_at: at,
            attempts: 0,
        }
    }

    /// Queues it, and makes the queue due where nothing waited.
    pub fn write(&self, conn: &mut Conn) -> Result<(), StoreError> {
        diesel::insert_into(deliveries::table).values(self).execute(conn)?;
        let idle = webhooks::table.find(self.webhook_id).filter(webhooks::due_at.is_null());
        diesel::update(idle).set(webhooks::due_at.eq(self.created_at)).execute(conn)?;
        Ok(())
    }
}

impl RawDelivery {
    pub fn decode(self) -> Result<DeliveryRow, StoreError> {
        let small = |value: i32| u32::try_from(value).map_err(|_| impossible("a negative count"));
        let last = self.at.map(|at| {
            let status = self.http_status.map(u16::try_from).transpose();
            Ok::<_, StoreError>(AttemptRow {
                at: time(at)?,
                millis: small(self.millis.unwrap_or(0))?,
                http_status: status.map_err(|_| impossible("no HTTP status"))?,
                error: self.error,
                excerpt: self.excerpt,
            })
        });
        Ok(DeliveryRow {
            seq: self.seq,
            id: DeliveryId(self.id.into()),
            webhook: WebhookId(self.webhook_id.into()),
            event_seq: self.event_seq,
            kind: self.kind,
            original: self.original_id.map(|id| DeliveryId(id.into())),
            status: DeliveryStatus::from_wire(&self.status)
                .ok_or_else(|| impossible("a delivery of no known status"))?,
            created_at: time(self.created_at)?,
            attempts: small(self.attempts)?,
            last: last.transpose()?,
        })
    }
}

/// What an owner asks to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHand {
    /// A sign of life.
    Ping,
    /// An earlier delivery once more.
    Again(DeliveryId),
}

/// How that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queued {
    /// It waits for its turn.
    As(Box<DeliveryRow>),
    /// As many wait as may.
    TooMany,
    /// There is no such webhook or delivery.
    Missing,
}

fn one(conn: &mut Conn, webhook: DbUuid, id: DbUuid) -> Result<Option<RawDelivery>, StoreError> {
    let row = deliveries::table.filter(deliveries::id.eq(id)).filter(deliveries::webhook_id.eq(webhook));
    Ok(row.first(conn).optional()?)
}

impl Store {
    /// Queues what an owner asks for, behind all that waits. Of such at most `most` wait.
    pub async fn queue_by_hand(
        &self,
        user: UserId,
        webhook: WebhookId,
        what: ByHand,
        most: u64,
        at: Timestamp,
    ) -> Result<Queued, StoreError> {
        let (user, webhook, at) = (DbUuid::from(user.0), DbUuid::from(webhook.0), at.as_millisecond());
        self.writer
            .run(move |conn| {
                if find(conn, user, webhook)?.is_none() {
                    return Ok(Queued::Missing);
                }
                let source = match what {
                    ByHand::Ping => None,
                    ByHand::Again(id) => match one(conn, webhook, id.0.into())? {
                        Some(source) => Some(source),
                        None => return Ok(Queued::Missing),
                    },
                };
                let by_hand = deliveries::event_seq.is_null().or(deliveries::original_id.is_not_null());
                let rows = deliveries::table.filter(deliveries::webhook_id.eq(webhook)).filter(by_hand);
                let rows = rows.filter(deliveries::status.eq("waiting")).select(count_star());
                if natural(rows.first(conn)?)? >= most {
                    return Ok(Queued::TooMany);
                }
                let (kind, event) =
                    source.as_ref().map_or((PING, None), |row| (row.kind.as_str(), row.event_seq));
                let original_id = source.as_ref().map(|row| row.original_id.unwrap_or(row.id));
                let new = InsertDelivery { original_id, ..InsertDelivery::of(webhook, kind, event, at) };
                new.write(conn)?;
                let row = one(conn, webhook, new.id)?.ok_or_else(|| impossible("a new row is not there"))?;
                Ok(Queued::As(Box::new(row.decode()?)))
            })
            .await
    }

    /// A webhook's deliveries before a position, newest first. `None` where there is no such webhook.
    pub async fn deliveries_of(
        &self,
        user: UserId,
        webhook: WebhookId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Option<Vec<DeliveryRow>>, StoreError> {
        let (user, webhook) = (DbUuid::from(user.0), DbUuid::from(webhook.0));
        self.read(move |conn, _| {
            let Some(RawWebhook { id, .. }) = find(conn, user, webhook)? else { return Ok(None) };
            let rows = deliveries::table.filter(deliveries::webhook_id.eq(id));
            let rows = rows.filter(deliveries::seq.lt(before.unwrap_or(i64::MAX)));
            let rows: Vec<RawDelivery> = rows.order(deliveries::seq.desc()).limit(page(limit)).load(conn)?;
            rows.into_iter().map(RawDelivery::decode).collect::<Result<_, _>>().map(Some)
        })
        .await
    }

    /// One delivery.
    pub async fn delivery(
        &self,
        user: UserId,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Option<DeliveryRow>, StoreError> {
        let (user, webhook, id) = (DbUuid::from(user.0), DbUuid::from(webhook.0), DbUuid::from(id.0));
        self.read(move |conn, _| {
            let Some(RawWebhook { id: webhook, .. }) = find(conn, user, webhook)? else { return Ok(None) };
            one(conn, webhook, id)?.map(RawDelivery::decode).transpose()
        })
        .await
    }

    /// Forgets up to `limit` deliveries that were made before a moment, delivered or not; returns how many.
    pub async fn purge_deliveries(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.writer
            .run(move |conn| {
                let old = deliveries::table.filter(deliveries::created_at.lt(before.as_millisecond()));
                let old: Vec<i64> = old
                    .order(deliveries::created_at)
                    .limit(page(limit))
                    .select(deliveries::seq)
                    .load(conn)?;
                Ok(diesel::delete(deliveries::table.filter(deliveries::seq.eq_any(&old))).execute(conn)?)
            })
            .await
    }
}
