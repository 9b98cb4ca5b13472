//! The words of titles that are older than the table of words.

use aegis_common::words::words;
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
    /// Takes the words of the titles of up to `limit` escrows that have none yet, and says how many escrows there were: fewer than
    /// `limit` means that it is done. Can be cut off anywhere, and run by several servers. A snapshot that can't be read has no
    /// words; its own escrow complains. One snapshot is in memory at a time.
    pub async fn name_lists(&self, limit: usize) -> Result<usize, StoreError> {
        let wordless = self.read(move |conn, _| {
            let rows = escrow_list::table.filter(escrow_list::words.is_null()).select(escrow_list::escrow_id);
            let rows = rows.distinct().order(escrow_list::escrow_id).limit(page(limit));
            Ok(rows.load::<DbUuid>(conn)?)
        });
        let ids = wordless.await?;
        let (count, mut named) = (ids.len(), Vec::with_capacity(ids.len()));
        for id in ids {
            let read = self.read(move |conn, _| {
                let snapshot = escrows::table.find(id).select(escrows::snapshot).first::<String>(conn)?;
                let named = serde_json::from_str::<Named>(&snapshot).ok();
                Ok(named.map_or_else(Vec::new, |named| words(&named.contract.title)))
            });
            named.push((id, read.await?));
        }
        if count > 0 {
            self.writer
                .run(move |conn| {
                    for (id, words) in &named {
                        let rows = escrow_list::table.filter(escrow_list::escrow_id.eq(*id));
                        // Another server may have been here.
                        let rows = rows.filter(escrow_list::words.is_null());
                        let parties: Vec<DbUuid> = rows.select(escrow_list::user_id).load(conn)?;
                        diesel::update(rows).set(escrow_list::words.eq(spaced(words))).execute(conn)?;
                        name(conn, *id, &parties, words)?;
                    }
                    Ok::<_, StoreError>(())
                })
                .await?;
        }
        Ok(count)
    }
}
