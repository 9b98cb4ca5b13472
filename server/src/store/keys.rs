//! The keys of login tokens, sealed, and which sealing keys are in use.

use std::collections::BTreeSet;

use aegis_common::time::Timestamp;
use diesel::prelude::*;
use serde::Serialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Store;
use super::connection::Conn;
use super::error::StoreError;
use super::schema::{escrows, own_wallets, seal_keys, token_keys, totp, webhooks};
use super::types::{DbBytes, DbUuid, time};
use crate::crypto::{Cell, KeyId, SealError};

/// Rows that are read at once.
const PAGE: i64 = 1000;

/// A key that signs login tokens.
#[derive(Clone)]
pub struct TokenKeyRow {
    /// Its name in tokens.
    pub kid: String,
    /// Ed25519 seed.
    pub seed: Zeroizing<[u8; 32]>,
    /// When it was made.
    pub created_at: Timestamp,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = token_keys)]
pub(super) struct RawTokenKey {
    pub kid: String,
    #[serde(skip)]
    pub seed: Vec<u8>,
    created_at: i64,
}

#[derive(Queryable, Serialize)]
pub(super) struct RawSealKey {
    pub key_id: DbBytes<4>,
    created_at: i64,
    retired_at: Option<i64>,
}

/// The place a token key's seed is sealed for.
pub(super) fn seed_cell(kid: &str) -> Cell<'_> {
    Cell { table: "token_keys", column: "seed", row: kid.as_bytes() }
}

impl Store {
    /// All keys that sign login tokens, oldest first.
    pub async fn token_keys(&self) -> Result<Vec<TokenKeyRow>, StoreError> {
        self.read(|conn, ring| {
            let rows: Vec<RawTokenKey> = token_keys::table.order(token_keys::created_at).load(conn)?;
            let open = |row: RawTokenKey| {
                let opened = ring.open(seed_cell(&row.kid), &row.seed)?;
                let seed = opened.as_slice().try_into().map(Zeroizing::new);
                let seed = seed.map_err(|_| super::types::impossible("a token key of another length"))?;
                Ok(TokenKeyRow { kid: row.kid, seed, created_at: time(row.created_at)? })
            };
            rows.into_iter().map(open).collect()
        })
        .await
    }

    /// Adds a key, unless one was made after `newest`: of several servers one makes it.
    pub async fn add_token_key(&self, key: TokenKeyRow, newest: Option<Timestamp>) -> Result<(), StoreError> {
        let row = RawTokenKey {
            seed: self.keyring.seal(seed_cell(&key.kid), key.seed.as_slice())?,
            kid: key.kid,
            created_at: key.created_at.as_millisecond(),
        };
        let newest = newest.map_or(i64::MIN, Timestamp::as_millisecond);
        self.writer
            .run(move |conn| {
                check_sealed(conn, &row.seed)?;
                let newer = token_keys::table.filter(token_keys::created_at.gt(newest));
                if newer.select(token_keys::kid).first::<String>(conn).optional()?.is_none() {
                    diesel::insert_into(token_keys::table).values(&row).execute(conn)?;
                }
                Ok(())
            })
            .await
    }

    /// Forgets keys: no token of theirs is good any more.
    pub async fn remove_token_keys(&self, kids: Vec<String>) -> Result<(), StoreError> {
        self.writer
            .run(move |conn| {
                diesel::delete(token_keys::table.filter(token_keys::kid.eq_any(&kids))).execute(conn)?;
                Ok(())
            })
            .await
    }

    /// The sealing keys that may have sealed something.
    pub async fn seal_keys(&self) -> Result<Vec<KeyId>, StoreError> {
        self.read(|conn, _| usable(conn)).await
    }

    /// Remembers that a key may seal from now on. [`SealError::Retired`] where it was retired: who has it as the current one has
    /// an old keyring.
    pub async fn use_seal_key(&self, id: KeyId, at: Timestamp) -> Result<(), StoreError> {
        let key = DbBytes(id.0);
        self.writer
            .run(move |conn| {
                let known = seal_keys::table.find(key).select(seal_keys::retired_at);
                match known.first::<Option<i64>>(conn).optional()? {
                    Some(Some(_)) => return Err(SealError::Retired(id).into()),
                    Some(None) => {}
                    None => {
                        let row = (seal_keys::key_id.eq(key), seal_keys::created_at.eq(at.as_millisecond()));
                        diesel::insert_into(seal_keys::table).values(row).execute(conn)?;
                    }
                }
                Ok(())
            })
            .await
    }

    /// Retires all sealing keys that are older than one, if nothing lies under any other: from then on nothing is stored under
    /// them. `false` where something does.
    pub async fn retire_seal_keys_before(&self, current: KeyId, at: Timestamp) -> Result<bool, StoreError> {
        let key = DbBytes(current.0);
        self.writer
            .run(move |conn| {
                if sealed_under(conn)?.into_iter().any(|id| id != current) {
                    return Ok(false);
                }
                let since: i64 = seal_keys::table.find(key).select(seal_keys::created_at).first(conn)?;
                let others = seal_keys::table.filter(seal_keys::key_id.ne(key));
                // One that was noted later is another rotation's.
                let others =
                    others.filter(seal_keys::created_at.le(since)).filter(seal_keys::retired_at.is_null());
                let retired = diesel::update(others).set(seal_keys::retired_at.eq(at.as_millisecond()));
                retired.execute(conn)?;
                Ok(true)
            })
            .await
    }

    /// The keys under which anything lies. Reads every sealed value.
    pub async fn sealed_under(&self) -> Result<Vec<KeyId>, StoreError> {
        self.read(|conn, _| sealed_under(conn)).await
    }
}

fn sealed_under(conn: &mut Conn) -> Result<Vec<KeyId>, StoreError> {
    let mut found = BTreeSet::new();
    let mut tell = |sealed: &[u8]| -> Result<(), StoreError> {
        found.insert(KeyId::of_sealed(sealed)?.0);
        Ok(())
    };
    let seeds: Vec<Vec<u8>> = token_keys::table.select(token_keys::seed).load(conn)?;
    seeds.iter().try_for_each(|sealed| tell(sealed))?;
    // Every value of one column, page by page.
    macro_rules! tell_all {
        ($table:ident . $key:ident, $column:ident: $ty:ty) => {
            let mut after = DbUuid::from(Uuid::nil());
            loop {
                let rows = $table::table.filter($table::$key.gt(after)).order($table::$key).limit(PAGE);
                let rows: Vec<(DbUuid, $ty)> = rows.select(($table::$key, $table::$column)).load(conn)?;
                let Some((last, _)) = rows.last() else { break };
                after = *last;
                for (_, sealed) in rows {
                    Option::from(sealed).map_or(Ok(()), |sealed: Vec<u8>| tell(&sealed))?;
                }
            }
        };
    }
    tell_all!(totp.user_id, secret: Vec<u8>);
    tell_all!(webhooks.id, secret: Vec<u8>);
    tell_all!(own_wallets.user_id, connection: Vec<u8>);
    tell_all!(escrows.id, view_key: Option<Vec<u8>>);
    Ok(found.into_iter().map(KeyId).collect())
}

/// A value that was sealed before its key was retired, and waited for the writer meanwhile, must not be stored. Where no key was
/// ever noted, nothing was retired.
pub(super) fn check_sealed(conn: &mut Conn, sealed: &[u8]) -> Result<(), StoreError> {
    let id = KeyId::of_sealed(sealed)?;
    let known = usable(conn)?;
    if known.is_empty() || known.contains(&id) { Ok(()) } else { Err(SealError::Retired(id).into()) }
}

fn usable(conn: &mut Conn) -> Result<Vec<KeyId>, StoreError> {
    let ids = seal_keys::table.filter(seal_keys::retired_at.is_null()).select(seal_keys::key_id);
    Ok(ids.load::<DbBytes<4>>(conn)?.into_iter().map(|id| KeyId(id.0)).collect())
}
