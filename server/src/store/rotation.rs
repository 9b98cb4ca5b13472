//! Rotation of the sealing key, while everything else runs.

use aegis_common::ids::EscrowId;
use diesel::prelude::*;

use super::Store;
use super::accounts::factors::totp_cell;
use super::connection::Conn;
use super::error::StoreError;
use super::escrows::view_key_cell;
use super::keys::seed_cell;
use super::schema::{escrows, token_keys, totp};
use super::types::{DbUuid, page};
use crate::crypto::{Cell, Keyring};

/// How far a rotation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resealed {
    /// Where to go on; `None` when all has been seen.
    pub next: Option<EscrowId>,
    /// How many values were found under a retired key in this step. Each was sealed anew, unless another came in its place
    /// meanwhile.
    pub changed: usize,
}

/// The value under the current key, where it lies under another.
fn renewed(ring: &Keyring, cell: Cell<'_>, sealed: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    if ring.is_current(sealed) {
        return Ok(None);
    }
    Ok(Some(ring.seal(cell, &ring.open(cell, sealed)?)?))
}

/// A row's key, the value as it was read, and the value to put in its place.
type Renewal<K> = (K, Vec<u8>, Vec<u8>);

/// Renews every row that was read and lies under a retired key.
fn renew<K: Clone>(
    ring: &Keyring,
    rows: Vec<(K, Vec<u8>)>,
    cell: impl Fn(&K) -> Cell<'_>,
) -> Result<Vec<Renewal<K>>, StoreError> {
    let mut all = Vec::new();
    for (key, sealed) in rows {
        if let Some(fresh) = renewed(ring, cell(&key), &sealed)? {
            all.push((key, sealed, fresh));
        }
    }
    Ok(all)
}

/// Writes renewals of one column, each only where the value is still what was read.
macro_rules! put {
    ($conn:ident, $table:ident . $column:ident, $renewals:expr) => {
        for (key, old, new) in $renewals {
            let row = $table::table.find(key).filter($table::$column.eq(old));
            diesel::update(row).set($table::$column.eq(new)).execute($conn)?;
        }
    };
}

impl Store {
    /// Seals anew what lies under a retired key: the view keys of up to `limit` escrows after `after`. The first step takes
    /// the keys of login tokens as well, the last step (`next` is `None`) the secrets of authenticators.
    pub async fn reseal(&self, after: Option<EscrowId>, limit: usize) -> Result<Resealed, StoreError> {
        let from = after.map_or(DbUuid::from(uuid::Uuid::nil()), |id| id.0.into());
        let (next, escrows, tokens) = self
            .read(move |conn, ring| {
                let rows: Vec<(DbUuid, Option<Vec<u8>>)> = escrows::table
                    .filter(escrows::id.gt(from))
                    .order(escrows::id)
                    .limit(page(limit))
                    .select((escrows::id, escrows::view_key))
                    .load(conn)?;
                let next = rows.last().map(|(id, _)| EscrowId((*id).into()));
                let rows = rows.into_iter().filter_map(|(id, sealed)| Some((id, sealed?))).collect();
                let escrows = renew(ring, rows, |id| view_key_cell(&id.0))?;
                let tokens = if after.is_none() {
                    token_keys::table.select((token_keys::kid, token_keys::seed)).load(conn)?
                } else {
                    Vec::new()
                };
                Ok((next, escrows, renew(ring, tokens, |kid: &String| seed_cell(kid))?))
            })
            .await?;
        let mut changed = escrows.len() + tokens.len();
        if changed > 0 {
            let write = move |conn: &mut Conn| {
                put!(conn, escrows.view_key, &escrows);
                put!(conn, token_keys.seed, &tokens);
                Ok::<_, StoreError>(())
            };
            self.writer.run(write).await?;
        }
        if next.is_none() {
            changed += self.reseal_factors(limit).await?;
        }
        Ok(Resealed { next, changed })
    }

    /// All secrets of authenticators, page by page.
    async fn reseal_factors(&self, limit: usize) -> Result<usize, StoreError> {
        let (mut after, mut changed) = (DbUuid::from(uuid::Uuid::nil()), 0);
        loop {
            let (last, renewals) = self
                .read(move |conn, ring| {
                    let rows = totp::table.filter(totp::user_id.gt(after)).order(totp::user_id);
                    let rows = rows.limit(page(limit)).select((totp::user_id, totp::secret));
                    let rows: Vec<(DbUuid, Vec<u8>)> = rows.load(conn)?;
                    let last = rows.last().map(|(id, _)| *id);
                    Ok((last, renew(ring, rows, |id: &DbUuid| totp_cell(&id.0))?))
                })
                .await?;
            let Some(last) = last else { return Ok(changed) };
            after = last;
            changed += renewals.len();
            if !renewals.is_empty() {
                let write = move |conn: &mut Conn| {
                    put!(conn, totp.secret, &renewals);
                    Ok::<_, StoreError>(())
                };
                self.writer.run(write).await?;
            }
        }
    }
}
