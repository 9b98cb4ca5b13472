//! Signed public keys of accounts.

use aegis_common::hash::Signature;
use aegis_common::identity::KeyKind;
use aegis_common::ids::UserId;
use aegis_common::time::Timestamp;
use diesel::dsl::count_star;
use diesel::prelude::*;
use serde::Serialize;

use crate::store::Store;
use crate::store::connection::Conn;
use crate::store::error::StoreError;
use crate::store::schema::prekeys;
use crate::store::types::{DbBytes, DbUuid, natural};

/// A signed public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrekeyRow {
    /// What it is for.
    pub kind: KeyKind,
    /// Its owner's number for it.
    pub key_id: u32,
    /// The key.
    pub public_key: Vec<u8>,
    /// By the account's signing key.
    pub signature: Signature,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = prekeys)]
pub(in crate::store) struct RawPrekey {
    pub user_id: DbUuid,
    pub kind: String,
    pub key_id: i64,
    #[serde(with = "hex")]
    public_key: Vec<u8>,
    signature: DbBytes<64>,
    created_at: i64,
}

impl Store {
    /// How many keys of a kind an account has here.
    pub async fn count_prekeys(&self, user: UserId, kind: KeyKind) -> Result<u64, StoreError> {
        self.read(move |conn, _| count(conn, user, kind)).await
    }

    /// Adds keys; a signed prekey takes the place of the one before, and with `replace` all others go first. `false`
    /// where there would be more than `most` of a kind.
    /// [`StoreError::Duplicate`] where a number is in use.
    pub async fn add_prekeys(
        &self,
        user: UserId,
        keys: Vec<PrekeyRow>,
        replace: bool,
        most: usize,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.writer
            .run(move |conn| {
                let kinds = [KeyKind::OneTimePrekey, KeyKind::MlKemPrekey];
                for kind in kinds {
                    let new = keys.iter().filter(|key| key.kind == kind).count() as u64;
                    let kept = if replace { 0 } else { count(conn, user, kind)? };
                    if kept + new > most as u64 {
                        return Ok(false);
                    }
                }
                if replace {
                    let old = prekeys::table.filter(prekeys::user_id.eq(DbUuid::from(user.0)));
                    let old = old.filter(prekeys::kind.eq_any(kinds.map(KeyKind::wire)));
                    diesel::delete(old).execute(conn)?;
                }
                if keys.iter().any(|key| key.kind == KeyKind::SignedPrekey) {
                    let old = prekeys::table.filter(prekeys::user_id.eq(DbUuid::from(user.0)));
                    let old = old.filter(prekeys::kind.eq(KeyKind::SignedPrekey.wire()));
                    diesel::delete(old).execute(conn)?;
                }
                insert(conn, user, &keys, at)?;
                Ok(true)
            })
            .await
    }
}

fn count(conn: &mut Conn, user: UserId, kind: KeyKind) -> Result<u64, StoreError> {
    let keys = prekeys::table.filter(prekeys::user_id.eq(DbUuid::from(user.0)));
    natural(keys.filter(prekeys::kind.eq(kind.wire())).select(count_star()).first(conn)?)
}

pub(super) fn insert(
    conn: &mut Conn,
    user: UserId,
    keys: &[PrekeyRow],
    at: Timestamp,
) -> Result<(), StoreError> {
    for key in keys {
        let row = RawPrekey {
            user_id: user.0.into(),
            kind: key.kind.wire().to_owned(),
            key_id: key.key_id.into(),
            public_key: key.public_key.clone(),
            signature: DbBytes(key.signature.0),
            created_at: at.as_millisecond(),
        };
        diesel::insert_into(prekeys::table).values(&row).execute(conn)?;
    }
    Ok(())
}
