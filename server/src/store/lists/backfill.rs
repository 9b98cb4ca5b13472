//! The words of titles that are older than the table of words.

use aegis_common::wire::list::words;
use diesel::prelude::*;
use serde::Deserialize;

use super::writes::{name, spaced};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::schema::{escrow_list, escrows};
use crate::store::types::{DbUuid, page};

/// What of a snapshot names it.
#[derive(Deserialize)]
struct Named {
    contract: Titled,
}

#[derive(Deserialize)]
struct Titled {
    title: String,
}

impl Store {
    /// Takes the words of the titles of up to `limit` rows that have none yet, and says how many rows there were: fewer than
    /// `limit` means that it is done. Can be cut off anywhere, and run by several servers. A snapshot that can't be read has no
    /// words; its own escrow complains.
    pub async fn name_lists(&self, limit: usize) -> Result<usize, StoreError> {
        let rows: Vec<(DbUuid, DbUuid, String)> = self
            .read(move |conn, _| {
                let rows = escrow_list::table.inner_join(escrows::table);
                let rows = rows
                    .filter(escrow_list::words.is_null())
                    .order(escrow_list::escrow_id)
                    .limit(page(limit));
                Ok(rows
                    .select((escrow_list::user_id, escrow_list::escrow_id, escrows::snapshot))
                    .load(conn)?)
            })
            .await?;
        let count = rows.len();
        let named: Vec<_> = rows
            .into_iter()
            .map(|(user, id, snapshot)| {
                let named = serde_json::from_str::<Named>(&snapshot).ok();
                (user, id, named.map_or_else(Vec::new, |named| words(&named.contract.title)))
            })
            .collect();
        if count > 0 {
            self.writer
                .run(move |conn| {
                    for (user, id, words) in &named {
                        let row = escrow_list::table.find((*user, *id)).filter(escrow_list::words.is_null());
                        let set = escrow_list::words.eq(spaced(words));
                        // Another server may have been here.
                        if diesel::update(row).set(set).execute(conn)? > 0 {
                            name(conn, *id, &[*user], words)?;
                        }
                    }
                    Ok::<_, StoreError>(())
                })
                .await?;
        }
        Ok(count)
    }
}
