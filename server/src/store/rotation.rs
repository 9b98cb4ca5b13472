//! Rotation of the sealing key, while everything else runs.

use aegis_common::ids::EscrowId;
use diesel::prelude::*;

use super::Store;
use super::accounts::factors::totp_cell;
use super::connection::Conn;
use super::error::StoreError;
use super::escrows::view_key_cell;
use super::keys::seed_cell;
use super::outside::wallets::connection_cell;
use super::outside::webhooks::secret_cell;
use super::schema::{escrows, own_wallets, token_keys, totp, webhooks};
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

/// Renews one column, page by page, and counts.
macro_rules! renew_all {
    ($store:ident, $limit:ident, $changed:ident, $table:ident . $key:ident, $column:ident, $cell:path) => {
        let mut after = DbUuid::from(uuid::Uuid::nil());
        loop {
            let (last, renewals) = $store
                .read(move |conn, ring| {
                    let rows = $table::table.filter($table::$key.gt(after)).order($table::$key);
                    let rows = rows.limit(page($limit)).select(($table::$key, $table::$column));
                    let rows: Vec<(DbUuid, Vec<u8>)> = rows.load(conn)?;
                    let last = rows.last().map(|(id, _)| *id);
                    Ok((last, renew(ring, rows, |id: &DbUuid| $cell(&id.0))?))
                })
                .await?;
            let Some(last) = last else { break };
            after = last;
            $changed += renewals.len();
            if !renewals.is_empty() {
                let write = move |conn: &mut Conn| {
                    put!(conn, $table.$column, &renewals);
                    Ok::<_, StoreError>(())
                };
                $store.writer.run(write).await?;
            }
        }
    };
}

impl Store {
    /// Seals anew what lies under a retired key: the view keys of up to `limit` escrows after `after`. The first step takes
    /// the keys of login tokens as well, the last step (`next` is `None`) the secrets of authenticators and
    /// webhooks and the connections to wallets.
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
            changed += self.reseal_secrets(limit).await?;
        }
        Ok(Resealed { next, changed })
    }

    /// All secrets that accounts have, page by page.
    async fn reseal_secrets(&self, limit: usize) -> Result<usize, StoreError> {
        let mut changed = 0;
        renew_all!(self, limit, changed, totp.user_id, secret, totp_cell);
        renew_all!(self, limit, changed, webhooks.id, secret, secret_cell);
        renew_all!(self, limit, changed, own_wallets.user_id, connection, connection_cell);
        Ok(changed)
    }
}
