//! Arbiters whose programs have fallen silent while money depends on them.

use aegis_common::arbiter::silent_before;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::time::{SignedDuration, Timestamp};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::OPEN;
use crate::crypto::Keyring;
use crate::store::Store;
use crate::store::commit::{InsertEvent, NewEvent};
use crate::store::connection::Conn;
use crate::store::error::StoreError;
use crate::store::schema::{arbiters, escrows, events};
use crate::store::types::{DbUuid, page, time};

/// Statuses in which the arbiter may be needed.
const FUNDED: [&str; 6] =
    ["BUYER_FUNDED", "ACTIVE", "SELLER_CONFIRMED_ITEM", "DISPUTED", "TIMELOCK_DEFAULT_TRIGGERED", "SETTLING"];

/// An escrow whose arbiter is silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unattended {
    /// Which.
    pub escrow: EscrowId,
    /// Buyer, seller and arbiter.
    pub parties: [UserId; 3],
}

/// Outages that count for whether an arbiter is silent.
const OUTAGES: usize = 1_000;

impl Store {
    /// Whoever was last heard before this is silent: time in which no server ran is nobody's silence.
    pub async fn silent_before(
        &self,
        now: Timestamp,
        silent: SignedDuration,
    ) -> Result<Timestamp, StoreError> {
        Ok(silent_before(now, silent, &self.outages(Timestamp::MIN, OUTAGES).await?))
    }

    /// Arbiters that were last heard before a moment, each with that time, in order of it and of id, beginning after `after`.
    pub async fn silent_arbiters(
        &self,
        before: Timestamp,
        after: Option<(UserId, Timestamp)>,
        limit: usize,
    ) -> Result<Vec<(UserId, Timestamp)>, StoreError> {
        self.read(move |conn, _| {
            let mut silent =
                arbiters::table.filter(arbiters::seen_at.lt(before.as_millisecond())).into_boxed();
            if let Some((id, seen)) = after {
                let (id, seen) = (DbUuid::from(id.0), seen.as_millisecond());
                let same = arbiters::seen_at.eq(seen).and(arbiters::user_id.gt(id));
                silent = silent.filter(arbiters::seen_at.gt(seen).or(same));
            }
            let silent = silent.order((arbiters::seen_at, arbiters::user_id)).limit(page(limit));
            let rows: Vec<(DbUuid, i64)> =
                silent.select((arbiters::user_id, arbiters::seen_at)).load(conn)?;
            rows.into_iter().map(|(id, at)| Ok((UserId(id.into()), time(at)?))).collect()
        })
        .await
    }

    /// Escrows with money in them whose arbiter this is, in order of id, beginning after `after`.
    pub async fn unattended(
        &self,
        arbiter: UserId,
        after: Option<EscrowId>,
        limit: usize,
    ) -> Result<Vec<Unattended>, StoreError> {
        let (arbiter, after) =
            (DbUuid::from(arbiter.0), after.map_or(DbUuid::from(uuid::Uuid::nil()), |id| id.0.into()));
        self.read(move |conn, _| {
            let rows = escrows::table.filter(sql::<Bool>(OPEN)).filter(escrows::arbiter_id.eq(arbiter));
            let rows = rows.filter(escrows::id.gt(after));
            let rows = rows.filter(escrows::status.eq_any(FUNDED)).order(escrows::id).limit(page(limit));
            let rows = rows.select((escrows::id, escrows::buyer_id, escrows::seller_id, escrows::arbiter_id));
            let rows: Vec<(DbUuid, DbUuid, DbUuid, DbUuid)> = rows.load(conn)?;
            let user = |id: DbUuid| UserId(id.into());
            Ok(rows
                .into_iter()
                .map(|(id, buyer, seller, arbiter)| Unattended {
                    escrow: EscrowId(id.into()),
                    parties: [user(buyer), user(seller), user(arbiter)],
                })
                .collect())
        })
        .await
    }

    /// Tells people; what was told before, by its id, is not told again.
    pub async fn tell_once(&self, told: Vec<NewEvent>, at: Timestamp) -> Result<(), StoreError> {
        // The writer is asked only where there is something new.
        let ids: Vec<DbUuid> = told.iter().map(|event| event.event_id.into()).collect();
        let known = move |conn: &mut Conn, _: &Keyring| {
            let known = events::table.filter(events::event_id.eq_any(&ids)).select(events::event_id);
            Ok(known.load::<DbUuid>(conn)?)
        };
        let known = self.read(known).await?;
        let told: Vec<NewEvent> =
            told.into_iter().filter(|event| !known.contains(&event.event_id.into())).collect();
        if told.is_empty() {
            return Ok(());
        }
        self.writer
            .run(move |conn| {
                for event in &told {
                    let known = events::table.filter(events::event_id.eq(DbUuid::from(event.event_id)));
                    if known.select(events::seq).first::<i64>(conn).optional()?.is_none() {
                        let event = InsertEvent::encode(event.clone(), at);
                        diesel::insert_into(events::table).values(event).execute(conn)?;
                    }
                }
                Ok(())
            })
            .await
    }
}
