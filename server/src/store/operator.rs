//! What operators are shown: escrows that are not over, and what waits to be told or sent.

use aegis_common::ids::EscrowId;
use aegis_common::time::Timestamp;
use aegis_common::wire::operator::{MOST, OutboxLag, WebhookBacklog};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::Store;
use super::arbiters::OPEN;
use super::error::StoreError;
use super::escrows::{EscrowRow, RawEscrow};
use super::schema::{escrows, events, outbox_cursor, webhooks};
use super::types::{DbUuid, page, time};

/// An escrow that is paid out and has something on its way back, in the words of the partial index.
const RETURNING: &str = "status IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT') \
                         AND (wake_at IS NOT NULL OR unmined > 0)";

impl Store {
    /// Escrows that are not over, or give back what came late, those that have not changed for longest first; only what comes after
    /// a time of change and id.
    pub async fn open_escrows(
        &self,
        after: Option<(Timestamp, EscrowId)>,
        limit: usize,
    ) -> Result<Vec<EscrowRow>, StoreError> {
        self.read(move |conn, _| {
            let mut found = Vec::new();
            // Each by its own index.
            for which in [OPEN, RETURNING] {
                let mut query = escrows::table.filter(sql::<Bool>(which)).into_boxed();
                if let Some((changed, id)) = after {
                    let (changed, id) = (changed.as_millisecond(), DbUuid::from(id.0));
                    // Said in this way the index is entered at the place, not read up to it.
                    query = query.filter(escrows::updated_at.ge(changed));
                    query = query.filter(escrows::updated_at.gt(changed).or(escrows::id.gt(id)));
                }
                let query = query.order((escrows::updated_at, escrows::id)).limit(page(limit));
                let rows: Vec<RawEscrow> = query.load(conn)?;
                found.extend(rows.into_iter().map(RawEscrow::decode_as_it_is));
            }
            let mut found: Vec<EscrowRow> = found.into_iter().collect::<Result<_, _>>()?;
            found.sort_unstable_by_key(|row| (row.updated_at, row.id));
            found.truncate(limit);
            Ok(found)
        })
        .await
    }

    /// How many escrows were not told of everything the chain holds for them, up to [`MOST`].
    pub async fn count_behind(&self) -> Result<u64, StoreError> {
        self.read(|conn, _| {
            let behind = escrows::table.filter(escrows::behind_from.is_not_null()).select(escrows::id);
            let behind: Vec<DbUuid> = behind.limit(page(MOST)).load(conn)?;
            Ok(behind.len() as u64)
        })
        .await
    }

    /// What each reader of the outbox has yet to take.
    pub async fn outbox_lag(&self) -> Result<Vec<OutboxLag>, StoreError> {
        self.read(|conn, _| {
            let readers = outbox_cursor::table.order(outbox_cursor::name);
            let readers: Vec<(String, i64)> = readers.load(conn)?;
            let lag = |(reader, seq): (String, i64)| {
                let rows = events::table.filter(events::seq.gt(seq)).order(events::seq).limit(page(MOST));
                let waiting: Vec<i64> = rows.select(events::seq).load(conn)?;
                let oldest = waiting.first().map(|seq| events::table.find(*seq).select(events::created_at));
                let oldest = oldest.map(|row| row.first::<i64>(conn)).transpose()?;
                Ok(OutboxLag { reader, waiting: waiting.len() as u64, oldest: oldest.map(time).transpose()? })
            };
            readers.into_iter().map(lag).collect()
        })
        .await
    }

    /// What webhooks have yet to send at a moment.
    pub async fn webhook_backlog(&self, now: Timestamp) -> Result<WebhookBacklog, StoreError> {
        self.read(move |conn, _| {
            // What is disabled waits for its owner.
            let waiting =
                webhooks::table.filter(webhooks::due_at.is_not_null()).filter(sql::<Bool>("enabled"));
            let waiting = waiting.order(webhooks::due_at).limit(page(MOST));
            let waiting: Vec<(Option<i64>, i32)> =
                waiting.select((webhooks::due_at, webhooks::failures)).load(conn)?;
            let off = webhooks::table.filter(sql::<Bool>("because IS NOT NULL")).select(webhooks::id);
            let off: Vec<DbUuid> = off.limit(page(MOST)).load(conn)?;
            let due: Vec<i64> = waiting
                .iter()
                .filter_map(|(due, _)| *due)
                .filter(|due| *due <= now.as_millisecond())
                .collect();
            Ok(WebhookBacklog {
                waiting: waiting.len() as u64,
                due: due.len() as u64,
                oldest_due: due.first().copied().map(time).transpose()?,
                failing: waiting.iter().filter(|(_, failures)| *failures > 0).count() as u64,
                disabled: off.len() as u64,
            })
        })
        .await
    }
}
