//! The queue of disputes.

use aegis_common::ids::{EscrowId, UserId};
use aegis_common::time::Timestamp;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::escrows::{EscrowRow, RawEscrow};
use crate::store::schema::escrows;
use crate::store::types::{DbUuid, page};

impl Store {
    /// Disputed escrows, of one arbiter or of all, those whose ruling is due first first; only what comes after a due time and id.
    pub async fn disputes(
        &self,
        arbiter: Option<UserId>,
        after: Option<(Timestamp, EscrowId)>,
        limit: usize,
    ) -> Result<Vec<EscrowRow>, StoreError> {
        self.read(move |conn, _| {
            // In the words of the partial indexes: only so are they used.
            let mut query = escrows::table.filter(sql::<Bool>("status = 'DISPUTED'")).into_boxed();
            if let Some(id) = arbiter {
                query = query.filter(escrows::arbiter_id.eq(DbUuid::from(id.0)));
            }
            if let Some((due, id)) = after {
                let (due, id) = (due.as_millisecond(), DbUuid::from(id.0));
                let same = escrows::wake_at.eq(due).and(escrows::id.gt(id));
                query = query.filter(escrows::wake_at.gt(due).or(same));
            }
            // Every dispute has a time at which it is reminded of.
            let query = query.filter(escrows::wake_at.is_not_null());
            let rows: Vec<RawEscrow> =
                query.order((escrows::wake_at, escrows::id)).limit(page(limit)).load(conn)?;
            rows.into_iter().map(RawEscrow::decode_as_it_is).collect()
        })
        .await
    }
}
