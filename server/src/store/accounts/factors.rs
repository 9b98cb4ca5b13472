//! Second factors. Whatever works once is used up in the transaction that takes it, so that of many who try at once one wins.

use aegis_common::hash::Hash32;
use aegis_common::ids::{PasskeyId, UserId};
use aegis_common::time::Timestamp;
use diesel::dsl::count_star;
use diesel::prelude::*;
use serde::Serialize;
use zeroize::Zeroizing;

use super::audit::Note;
use crate::crypto::Cell;
use crate::store::Store;
use crate::store::connection::Conn;
use crate::store::error::StoreError;
use crate::store::keys::check_sealed;
use crate::store::schema::{backup_codes, challenges, passkeys, sessions, totp};
use crate::store::types::{DbBytes, DbHash, DbUuid, natural, time};

/// An authenticator.
#[derive(Clone)]
pub struct TotpRow {
    /// The shared secret.
    pub secret: Zeroizing<Vec<u8>>,
    /// As it lies in the database: names exactly this one.
    pub sealed: Vec<u8>,
    /// Whether a code has shown that the person has it.
    pub confirmed: bool,
}

/// A passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasskeyRow {
    /// Its id.
    pub id: PasskeyId,
    /// Whose.
    pub user: UserId,
    /// The authenticator's id for it.
    pub credential_id: Vec<u8>,
    /// The person's name for it.
    pub name: String,
    /// Public key and counter, as JSON.
    pub credential: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last used.
    pub used_at: Option<Timestamp>,
}

/// What an account can prove itself with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FactorCounts {
    /// An authenticator is confirmed.
    pub totp: bool,
    /// Unused backup codes.
    pub backup_codes: u64,
    /// Passkeys.
    pub passkeys: u64,
}

impl FactorCounts {
    /// Whether a login needs more than the password. Backup codes alone are no factor: they stand in for a lost one.
    pub fn is_needed(&self) -> bool {
        self.totp || self.passkeys > 0
    }
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = totp)]
pub(in crate::store) struct RawTotp {
    pub user_id: DbUuid,
    #[serde(skip)]
    pub secret: Vec<u8>,
    confirmed: bool,
    last_step: i64,
    created_at: i64,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = backup_codes, treat_none_as_default_value = false)]
pub(in crate::store) struct RawBackupCode {
    pub code_hash: DbHash,
    user_id: DbUuid,
    used_at: Option<i64>,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = passkeys, treat_none_as_default_value = false)]
pub(in crate::store) struct RawPasskey {
    pub id: DbUuid,
    user_id: DbUuid,
    #[serde(with = "hex")]
    credential_id: Vec<u8>,
    name: String,
    #[serde(serialize_with = "crate::store::dump::as_json")]
    credential: String,
    created_at: i64,
    used_at: Option<i64>,
}

impl RawPasskey {
    fn decode(self) -> Result<PasskeyRow, StoreError> {
        Ok(PasskeyRow {
            id: PasskeyId(self.id.into()),
            user: UserId(self.user_id.into()),
            credential_id: self.credential_id,
            name: self.name,
            credential: self.credential,
            created_at: time(self.created_at)?,
            used_at: self.used_at.map(time).transpose()?,
        })
    }
}

/// The place an authenticator's secret is sealed for.
pub(in crate::store) fn totp_cell(user: &[u8]) -> Cell<'_> {
    Cell { table: "totp", column: "secret", row: user }
}

impl Store {
    /// What an account can prove itself with.
    pub async fn factors(&self, user: UserId) -> Result<FactorCounts, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, _| counts(conn, user)).await
    }

    /// An account's authenticator.
    pub async fn totp(&self, user: UserId) -> Result<Option<TotpRow>, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, ring| {
            let Some(row) = totp::table.find(user).first::<RawTotp>(conn).optional()? else {
                return Ok(None);
            };
            let secret = ring.open(totp_cell(&user.0), &row.secret)?;
            Ok(Some(TotpRow { secret, sealed: row.secret, confirmed: row.confirmed }))
        })
        .await
    }

    /// Stores a secret that is still to be confirmed, in the place of another such. `false` where one is confirmed.
    pub async fn set_totp(
        &self,
        user: UserId,
        secret: Zeroizing<Vec<u8>>,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let user = DbUuid::from(user.0);
        let sealed = self.keyring.seal(totp_cell(&user.0), &secret)?;
        self.writer
            .run(move |conn| {
                check_sealed(conn, &sealed)?;
                let confirmed = totp::table.find(user).select(totp::confirmed).first(conn).optional()?;
                if confirmed == Some(true) {
                    return Ok(false);
                }
                diesel::delete(totp::table.find(user)).execute(conn)?;
                let row = RawTotp {
                    user_id: user,
                    secret: sealed.clone(),
                    confirmed: false,
                    last_step: 0,
                    created_at: at.as_millisecond(),
                };
                diesel::insert_into(totp::table).values(&row).execute(conn)?;
                Ok(true)
            })
            .await
    }

    /// From now on the secret counts, the step of its first code is used up, and these are the backup codes. `false` where
    /// another one, or none, waits to be confirmed.
    pub async fn confirm_totp(
        &self,
        user: UserId,
        sealed: Vec<u8>,
        step: i64,
        codes: Vec<Hash32>,
        note: Note,
    ) -> Result<bool, StoreError> {
        let user = DbUuid::from(user.0);
        self.writer
            .run(move |conn| {
                let row = totp::table.find(user).filter(totp::confirmed.eq(false));
                let row = row.filter(totp::secret.eq(&sealed));
                let change = (totp::confirmed.eq(true), totp::last_step.eq(step));
                if diesel::update(row).set(change).execute(conn)? == 0 {
                    return Ok(false);
                }
                replace_codes(conn, user, &codes)?;
                note.write(conn)?;
                Ok(true)
            })
            .await
    }

    /// Uses a step of a confirmed authenticator up. `false` where it, or a later one, was used before.
    pub async fn take_totp_step(&self, user: UserId, step: i64) -> Result<bool, StoreError> {
        let user = DbUuid::from(user.0);
        self.writer.run(move |conn| take_step(conn, user, step)).await
    }

    /// Removes the authenticator; with the last factor the backup codes go.
    pub async fn remove_totp(&self, user: UserId, note: Note) -> Result<(), StoreError> {
        let user = DbUuid::from(user.0);
        self.writer
            .run(move |conn| {
                diesel::delete(totp::table.find(user)).execute(conn)?;
                forget_useless_codes(conn, user)?;
                note.write(conn)
            })
            .await
    }

    /// Uses a backup code up. `false` where it is not one of the account's, or was used before.
    pub async fn take_backup_code(&self, user: UserId, code: Hash32, note: Note) -> Result<bool, StoreError> {
        let user = DbUuid::from(user.0);
        self.writer
            .run(move |conn| {
                let row = backup_codes::table.find(DbBytes(code.0)).filter(backup_codes::user_id.eq(user));
                let row = diesel::update(row.filter(backup_codes::used_at.is_null()));
                let taken = row.set(backup_codes::used_at.eq(note.at.as_millisecond())).execute(conn)? == 1;
                if taken {
                    note.write(conn)?;
                }
                Ok(taken)
            })
            .await
    }

    /// These codes take the place of all before.
    pub async fn replace_backup_codes(
        &self,
        user: UserId,
        codes: Vec<Hash32>,
        note: Note,
    ) -> Result<(), StoreError> {
        let user = DbUuid::from(user.0);
        self.writer
            .run(move |conn| {
                replace_codes(conn, user, &codes)?;
                note.write(conn)
            })
            .await
    }

    /// An account's passkeys, oldest first.
    pub async fn passkeys(&self, user: UserId) -> Result<Vec<PasskeyRow>, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, _| {
            let rows = passkeys::table.filter(passkeys::user_id.eq(user)).order(passkeys::id);
            rows.load::<RawPasskey>(conn)?.into_iter().map(RawPasskey::decode).collect()
        })
        .await
    }

    /// Adds a passkey. `false` where the account has `most`; [`StoreError::Duplicate`] where the authenticator is known.
    pub async fn add_passkey(&self, row: PasskeyRow, most: usize, note: Note) -> Result<bool, StoreError> {
        let raw = RawPasskey {
            id: row.id.0.into(),
            user_id: row.user.0.into(),
            credential_id: row.credential_id,
            name: row.name,
            credential: row.credential,
            created_at: row.created_at.as_millisecond(),
            used_at: None,
        };
        self.writer
            .run(move |conn| {
                let known = passkeys::table.filter(passkeys::user_id.eq(raw.user_id));
                let known: i64 = known.select(count_star()).first(conn)?;
                if natural(known)? >= most as u64 {
                    return Ok(false);
                }
                diesel::insert_into(passkeys::table).values(&raw).execute(conn)?;
                note.write(conn)?;
                Ok(true)
            })
            .await
    }

    /// Stores a passkey's new counter, where it is still as it was read: of two answers with one counter, one wins. (That an
    /// answer works once rests on its challenge.)
    pub async fn use_passkey(
        &self,
        id: PasskeyId,
        was: String,
        credential: String,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                let row = diesel::update(passkeys::table.find(id).filter(passkeys::credential.eq(&was)));
                let change =
                    (passkeys::credential.eq(&credential), passkeys::used_at.eq(at.as_millisecond()));
                Ok(row.set(change).execute(conn)? == 1)
            })
            .await
    }

    /// Removes a passkey; with the last factor the backup codes go. `false` where the account has no such.
    pub async fn remove_passkey(&self, user: UserId, id: PasskeyId, note: Note) -> Result<bool, StoreError> {
        let (user, id) = (DbUuid::from(user.0), DbUuid::from(id.0));
        self.writer
            .run(move |conn| {
                let row = passkeys::table.find(id).filter(passkeys::user_id.eq(user));
                if diesel::delete(row).execute(conn)? == 0 {
                    return Ok(false);
                }
                forget_useless_codes(conn, user)?;
                note.write(conn)?;
                Ok(true)
            })
            .await
    }

    /// Removes every second factor, and what sessions have of it: the operator's help for somebody who lost them all.
    pub async fn remove_factors(&self, user: UserId, note: Note) -> Result<(), StoreError> {
        let user = DbUuid::from(user.0);
        self.writer
            .run(move |conn| {
                diesel::delete(totp::table.find(user)).execute(conn)?;
                diesel::delete(passkeys::table.filter(passkeys::user_id.eq(user))).execute(conn)?;
                replace_codes(conn, user, &[])?;
                let of = sessions::table.filter(sessions::user_id.eq(user));
                diesel::update(of).set(sessions::strong.eq(false)).execute(conn)?;
                diesel::delete(challenges::table.filter(challenges::user_id.eq(user))).execute(conn)?;
                note.write(conn)
            })
            .await
    }
}

/// What an account can prove itself with.
pub(super) fn counts(conn: &mut Conn, user: DbUuid) -> Result<FactorCounts, StoreError> {
    let confirmed = totp::table.find(user).select(totp::confirmed).first(conn).optional()?;
    let codes = backup_codes::table.filter(backup_codes::user_id.eq(user));
    let codes: i64 = codes.filter(backup_codes::used_at.is_null()).select(count_star()).first(conn)?;
    let keys = passkeys::table.filter(passkeys::user_id.eq(user));
    let keys: i64 = keys.select(count_star()).first(conn)?;
    Ok(FactorCounts {
        totp: confirmed.unwrap_or(false),
        backup_codes: natural(codes)?,
        passkeys: natural(keys)?,
    })
}

fn take_step(conn: &mut Conn, user: DbUuid, step: i64) -> Result<bool, StoreError> {
    let row = totp::table.find(user).filter(totp::confirmed.eq(true)).filter(totp::last_step.lt(step));
    Ok(diesel::update(row).set(totp::last_step.eq(step)).execute(conn)? == 1)
}

fn replace_codes(conn: &mut Conn, user: DbUuid, codes: &[Hash32]) -> Result<(), StoreError> {
    diesel::delete(backup_codes::table.filter(backup_codes::user_id.eq(user))).execute(conn)?;
    for code in codes {
        let row = RawBackupCode { code_hash: DbBytes(code.0), user_id: user, used_at: None };
        diesel::insert_into(backup_codes::table).values(&row).execute(conn)?;
    }
    Ok(())
}

/// Codes that stand in for no factor any more.
fn forget_useless_codes(conn: &mut Conn, user: DbUuid) -> Result<(), StoreError> {
    let confirmed = totp::table.find(user).select(totp::confirmed).first(conn).optional()?;
    let keys = passkeys::table.filter(passkeys::user_id.eq(user)).select(count_star());
    if confirmed != Some(true) && keys.first::<i64>(conn)? == 0 {
        replace_codes(conn, user, &[])?;
    }
    Ok(())
}
