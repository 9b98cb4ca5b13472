//! Escrows without an arbiter that want another, and the times in which no server ran.

use aegis_common::ids::EscrowId;
use aegis_common::time::{SignedDuration, Timestamp};
use diesel::prelude::*;
use serde::Serialize;

use crate::store::Store;
use crate::store::commit::NewEvent;
use crate::store::error::StoreError;
use crate::store::market::follow::end_vacant;
use crate::store::schema::{heartbeat, outages, vacancies};
use crate::store::types::{DbUuid, page, time};

/// How far clocks of servers may differ.
const AHEAD: SignedDuration = SignedDuration::from_mins(10);
/// The one row of `heartbeat`.
const SERVERS: &str = "servers";

#[derive(Queryable, Serialize)]
pub(in crate::store) struct RawVacancy {
    pub escrow_id: DbUuid,
    try_at: i64,
}

#[derive(Queryable, Serialize)]
pub(in crate::store) struct RawOutage {
    pub began: i64,
    ended: i64,
}

#[derive(Queryable, Serialize)]
pub(in crate::store) struct RawHeartbeat {
    pub name: String,
    at: i64,
}

fn is_longer(now: Timestamp, last: Timestamp, gap: Option<SignedDuration>) -> bool {
    gap.is_some_and(|gap| now.duration_since(last) > gap)
}

impl Store {
    /// An escrow wants another arbiter: it is tried from a moment on. Harmless where it is known.
    pub async fn want_arbiter(&self, escrow: EscrowId, try_at: Timestamp) -> Result<(), StoreError> {
        let (id, at) = (DbUuid::from(escrow.0), try_at.as_millisecond());
        self.writer
            .run(move |conn| {
                let row = vacancies::table.find(id);
                if diesel::update(row).set(vacancies::try_at.eq(at)).execute(conn)? == 0 {
                    let row = (vacancies::escrow_id.eq(id), vacancies::try_at.eq(at));
                    diesel::insert_into(vacancies::table).values(row).execute(conn)?;
                }
                Ok(())
            })
            .await
    }

    /// Nothing more is to be tried for an escrow: another has taken its place, and its order with it, or none will, of which people
    /// are told where it had an order.
    pub async fn close_vacancy(
        &self,
        escrow: EscrowId,
        told: Vec<NewEvent>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let id = DbUuid::from(escrow.0);
        self.writer
            .run(move |conn| {
                diesel::delete(vacancies::table.find(id)).execute(conn)?;
                end_vacant(conn, id, &told, at)
            })
            .await
    }

    /// Escrows that want another arbiter and are to be tried by now, those due first first.
    pub async fn vacancies(&self, now: Timestamp, limit: usize) -> Result<Vec<EscrowId>, StoreError> {
        self.read(move |conn, _| {
            let due = vacancies::table.filter(vacancies::try_at.le(now.as_millisecond()));
            let due = due.order((vacancies::try_at, vacancies::escrow_id)).limit(page(limit));
            let due: Vec<DbUuid> = due.select(vacancies::escrow_id).load(conn)?;
            Ok(due.into_iter().map(|id| EscrowId(id.into())).collect())
        })
        .await
    }

    /// Notes that a server runs. Where none did for longer than `gap`, that was an outage; without one nothing is.
    pub async fn beat(&self, now: Timestamp, gap: Option<SignedDuration>) -> Result<(), StoreError> {
        self.writer
            .run(move |conn| {
                let at = now.as_millisecond();
                let last =
                    heartbeat::table.find(SERVERS).select(heartbeat::at).first::<i64>(conn).optional()?;
                match last {
                    None => {
                        let row = (heartbeat::name.eq(SERVERS), heartbeat::at.eq(at));
                        diesel::insert_into(heartbeat::table).values(row).execute(conn)?;
                        return Ok(());
                    }
                    // A server whose clock is a little behind another's. One that was far ahead is not believed for ever.
                    Some(last) if last >= at && !is_longer(time(last)?, now, Some(AHEAD)) => return Ok(()),
                    Some(last) if last >= at => {}
                    Some(last) if is_longer(now, time(last)?, gap) => {
                        let row = (outages::began.eq(last), outages::ended.eq(at));
                        diesel::insert_into(outages::table).values(row).execute(conn)?;
                    }
                    Some(_) => {}
                }
                let row = diesel::update(heartbeat::table.find(SERVERS));
                row.set(heartbeat::at.eq(at)).execute(conn)?;
                Ok(())
            })
            .await
    }

    /// Times in which no server ran, as (from, to), that ended after a moment; the newest first.
    pub async fn outages(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Timestamp, Timestamp)>, StoreError> {
        self.read(move |conn, _| {
            let rows = outages::table.filter(outages::ended.gt(since.as_millisecond()));
            let rows = rows.order(outages::began.desc()).limit(page(limit));
            let rows: Vec<RawOutage> = rows.load(conn)?;
            rows.into_iter().map(|row| Ok((time(row.began)?, time(row.ended)?))).collect()
        })
        .await
    }
}
