//! Rotation of the sealing key, while everything else runs.

use aegis_common::ids::EscrowId;
use diesel::prelude::*;

use super::Store;
use super::error::StoreError;
use super::escrows::{open_watch_secret, view_key_cell, watch_secret};
use super::schema::escrows;
use super::types::{DbUuid, page};

/// How far a rotation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resealed {
    /// Where to go on; `None` when all has been seen.
    pub next: Option<EscrowId>,
    /// How many values were sealed anew in this step.
    pub changed: usize,
}

impl Store {
    /// Seals the view keys of up to `limit` escrows after `after` anew, where they lie under a retired key.
    /// When a whole round has succeeded, retired keys can be removed from the keyring.
    pub async fn reseal(&self, after: Option<EscrowId>, limit: usize) -> Result<Resealed, StoreError> {
        let after = after.map_or(DbUuid::from(uuid::Uuid::nil()), |id| id.0.into());
        let (next, renewed) = self
            .read(move |conn, ring| {
                let rows: Vec<(DbUuid, Option<Vec<u8>>)> = escrows::table
                    .filter(escrows::id.gt(after))
                    .order(escrows::id)
                    .limit(page(limit))
                    .select((escrows::id, escrows::view_key))
                    .load(conn)?;
                let next = rows.last().map(|(id, _)| EscrowId((*id).into()));
                let mut renewed = Vec::new();
                for (id, sealed) in rows {
                    if let Some(sealed) = sealed.filter(|sealed| !ring.is_current(sealed)) {
                        let (key, spend_keys) = open_watch_secret(ring, id, &sealed)?;
                        let secret = watch_secret(&key, spend_keys.as_ref());
                        renewed.push((id, sealed, ring.seal(view_key_cell(&id.0), &secret)?));
                    }
                }
                Ok((next, renewed))
            })
            .await?;
        if renewed.is_empty() {
            return Ok(Resealed { next, changed: 0 });
        }
        let write = move |conn: &mut super::connection::Conn| {
            let mut changed = 0;
            for (id, old, new) in &renewed {
                // Only what was read: a commit may have brought another key meanwhile.
                let row = escrows::table.filter(escrows::id.eq(id)).filter(escrows::view_key.eq(old));
                changed += diesel::update(row).set(escrows::view_key.eq(new)).execute(conn)?;
            }
            Ok::<_, StoreError>(changed)
        };
        Ok(Resealed { next, changed: self.writer.run(write).await? })
    }
}
