//! Rate limits that survive restarts and hold for all servers on one database: GCRA, one row a key.

use aegis_common::hash::Hash32;
use aegis_common::time::{SignedDuration, Timestamp};
use diesel::prelude::*;
use serde::Serialize;

use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::schema::budgets;
use crate::store::types::{DbBytes, DbHash, page, time};

/// How often something may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// What is counted.
    pub key: Hash32,
    /// Tries that may come at once.
    pub burst: u32,
    /// After how long another one has come together.
    pub every: SignedDuration,
}

impl Budget {
    /// So many a minute, which may also come all at once.
    pub fn per_minute(key: Hash32, tries: u32) -> Self {
        let tries = tries.max(1);
        Self {
            key,
            burst: tries,
            every: SignedDuration::from_mins(1) / i32::try_from(tries).unwrap_or(i32::MAX),
        }
    }

    /// When the next try after this one would be on time; or, where this one comes too early, from when on it does not.
    fn spend(&self, ready_at: Option<i64>, now: i64) -> Result<i64, i64> {
        let price = i64::try_from(self.every.as_millis()).unwrap_or(i64::MAX).max(1);
        // No tries make it later than that: what is later was stored while the clock was ahead, and must keep nobody out.
        let latest = now.saturating_add(price.saturating_mul(i64::from(self.burst)));
        let due = ready_at.filter(|ready_at| *ready_at <= latest).unwrap_or(now).max(now);
        let earliest = due.saturating_sub(price.saturating_mul(i64::from(self.burst) - 1));
        if now < earliest { Err(earliest) } else { Ok(due.saturating_add(price)) }
    }
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = budgets)]
pub(in crate::store) struct RawBudget {
    pub key: DbHash,
    ready_at: i64,
}

impl Store {
    /// Spends one try of every budget, or of none: then it tells when all would have one.
    pub async fn spend(&self, all: Vec<Budget>, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let now = now.as_millisecond();
        self.writer
            .run(move |conn| {
                let mut next = Vec::with_capacity(all.len());
                let mut wait = None;
                for budget in &all {
                    let key = DbBytes(budget.key.0);
                    let stored = budgets::table.find(key).select(budgets::ready_at).first(conn).optional()?;
                    match budget.spend(stored, now) {
                        Ok(ready_at) => next.push((RawBudget { key, ready_at }, stored.is_some())),
                        Err(from) => wait = wait.max(Some(from)),
                    }
                }
                if let Some(from) = wait {
                    return time(from).map(Some);
                }
                for (row, is_known) in &next {
                    if *is_known {
                        let stored = diesel::update(budgets::table.find(row.key));
                        stored.set(budgets::ready_at.eq(row.ready_at)).execute(conn)?;
                    } else {
                        diesel::insert_into(budgets::table).values(row).execute(conn)?;
                    }
                }
                Ok(None)
            })
            .await
    }

    /// Makes a budget whole again: what was tried was right.
    pub async fn refund(&self, key: Hash32) -> Result<(), StoreError> {
        let key = DbBytes(key.0);
        self.writer
            .run(move |conn| {
                diesel::delete(budgets::table.find(key)).execute(conn)?;
                Ok(())
            })
            .await
    }

    /// Forgets up to `limit` budgets that are whole again; returns how many.
    pub async fn purge_budgets(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.writer
            .run(move |conn| {
                let whole = budgets::table.filter(budgets::ready_at.lt(now.as_millisecond()));
                let whole: Vec<DbHash> = whole.limit(page(limit)).select(budgets::key).load(conn)?;
                Ok(diesel::delete(budgets::table.filter(budgets::key.eq_any(&whole))).execute(conn)?)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_lets_a_burst_through_then_one_at_a_time_and_never_more_in_a_minute() {
        let budget = Budget::per_minute(Hash32([0; 32]), 10);
        let mut ready = None;
        for _ in 0..10 {
            ready = Some(budget.spend(ready, 1_000).unwrap());
        }
        assert_eq!(budget.spend(ready, 1_000), Err(7_000));
        assert_eq!(budget.spend(ready, 6_999), Err(7_000));
        ready = Some(budget.spend(ready, 7_000).unwrap());
        assert_eq!(budget.spend(ready, 7_000), Err(13_000));
        assert_eq!(
            budget.spend(Some(86_400_000), 7_000),
            Ok(13_000),
            "stored while the clock was a day ahead"
        );
        // After a minute of rest it is whole again, and not more than whole.
        for _ in 0..10 {
            ready = Some(budget.spend(ready, 1_000_000).unwrap());
        }
        assert!(budget.spend(ready, 1_000_000).is_err());
    }
}
