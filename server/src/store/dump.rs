//! Everything the database holds, row by row: for an operator who wants to know, and for tests that look for what must
//! not be there.

use aegis_common::identity::KeyKind;
use diesel::prelude::*;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Store;
use super::accounts::audit::RawAudit;
use super::accounts::backups::RawBackup;
use super::accounts::budgets::RawBudget;
use super::accounts::challenges::RawChallenge;
use super::accounts::factors::{RawBackupCode, RawPasskey, RawTotp, totp_cell};
use super::accounts::invitations::RawInvitation;
use super::accounts::prekeys::RawPrekey;
use super::accounts::profiles::RawProfile;
use super::accounts::sessions::RawSession;
use super::arbiters::RawArbiter;
use super::arbiters::assign::RawAssignment;
use super::arbiters::vacancies::{RawHeartbeat, RawOutage, RawVacancy};
use super::error::StoreError;
use super::escrows::{RawEscrow, open_watch_secret};
use super::events::RawEvent;
use super::idempotency::RawIdempotency;
use super::inbox::RawInbox;
use super::journal::RawJournal;
use super::keys::{RawSealKey, RawTokenKey, seed_cell};
use super::lists::{RawListEntry, RawTitleWord};
use super::market::listings::{RawListing, RawWord};
use super::market::orders::RawOrder;
use super::market::reviews::{RawRating, RawReview};
use super::outside::deliveries::RawDelivery;
use super::outside::wallets::{RawWallet, connection_cell};
use super::outside::webhooks::{RawWebhook, secret_cell};
use super::schema::{
    arbiters, assignments, audit, backup_codes, budgets, chain_blocks, chain_progress, challenges,
    deliveries, disabled, escrow_list, escrows, events, heartbeat, idempotency, inbox, invitations, journal,
    listing_words, listings, orders, outages, outbox_cursor, own_wallets, passkeys, prekeys, profiles,
    ratings, reset_signatures, reviews, seal_keys, sessions, tallies, title_words, token_keys, totp, users,
    vacancies, wallet_backups, webhooks,
};
use super::tallies::RawTally;
use super::types::{DbBytes, DbHash, DbUuid, impossible};
use super::users::RawUser;
use crate::crypto::SealError;

/// Rows that are read at once. A row's texts are bounded to megabytes each, so this bounds the memory.
const PAGE: i64 = 32;

impl<const N: usize> Serialize for DbBytes<N> {
    /// As the rest of the program writes it: 16 bytes as a UUID, others in hexadecimal digits.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match uuid::Uuid::from_slice(&self.0) {
            Ok(id) => serializer.collect_str(&id),
            Err(_) => serializer.serialize_str(&hex::encode(self.0)),
        }
    }
}

/// A text that holds JSON, as that JSON; any other as it is.
pub(super) fn as_json<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => value.serialize(serializer),
        Err(_) => serializer.serialize_str(text),
    }
}

/// The same of a text that may be missing.
pub(super) fn as_json_or_null<S: Serializer>(
    text: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => as_json(text, serializer),
        None => serializer.serialize_none(),
    }
}

/// Reads page after page, each behind the last row of the one before, and hands over every row.
fn pages<R>(
    mut page: impl FnMut(Option<&R>) -> QueryResult<Vec<R>>,
    mut line: impl FnMut(&R) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut last = None;
    loop {
        let rows = page(last.as_ref())?;
        rows.iter().try_for_each(&mut line)?;
        last = rows.into_iter().next_back();
        if last.is_none() {
            return Ok(());
        }
    }
}

fn columns<R: Serialize>(row: &R) -> Result<Value, StoreError> {
    serde_json::to_value(row).map_err(|error| impossible(&error.to_string()))
}

/// A table whose rows are told apart by one column, or by two or three, the weightiest first.
macro_rules! dump {
    ($conn:ident, $table:ident, $row:ty, [$key:ident], $line:expr) => {
        pages(
            |last: Option<&$row>| {
                let mut query = $table::table.order($table::$key).limit(PAGE).into_boxed();
                if let Some(last) = last {
                    query = query.filter($table::$key.gt(last.$key.clone()));
                }
                query.load($conn)
            },
            $line,
        )?
    };
    ($conn:ident, $table:ident, $row:ty, [$key:ident, $minor:ident], $line:expr) => {
        pages(
            |last: Option<&$row>| {
                let order = ($table::$key, $table::$minor);
                let mut query = $table::table.order(order).limit(PAGE).into_boxed();
                if let Some(last) = last {
                    let same = $table::$key.eq(last.$key.clone()).and($table::$minor.gt(last.$minor.clone()));
                    query = query.filter($table::$key.gt(last.$key.clone()).or(same));
                }
                query.load($conn)
            },
            $line,
        )?
    };
    ($conn:ident, $table:ident, $row:ty, [$key:ident, $minor:ident, $least:ident], $line:expr) => {
        pages(
            |last: Option<&$row>| {
                let order = ($table::$key, $table::$minor, $table::$least);
                let mut query = $table::table.order(order).limit(PAGE).into_boxed();
                if let Some(last) = last {
                    let least =
                        $table::$minor.eq(last.$minor.clone()).and($table::$least.gt(last.$least.clone()));
                    let same = $table::$key.eq(last.$key.clone());
                    let same = same.and($table::$minor.gt(last.$minor.clone()).or(least));
                    query = query.filter($table::$key.gt(last.$key.clone()).or(same));
                }
                query.load($conn)
            },
            $line,
        )?
    };
}

/// A row with a sealed column as it is opened; one that does not open stands there as it is, with the reason beside it.
fn with_opened(
    mut row: Value,
    column: &str,
    sealed: &[u8],
    opened: Result<Zeroizing<Vec<u8>>, SealError>,
) -> Value {
    match opened {
        Ok(secret) => row[column] = json!(hex::encode(secret.as_slice())),
        Err(error) => {
            row[column] = json!(hex::encode(sealed));
            row[format!("{column}_error")] = json!(error.to_string());
        }
    }
    row
}

#[derive(Queryable, Serialize)]
struct Progress {
    network: String,
    height: i64,
    hash: DbHash,
}

#[derive(Queryable, Serialize)]
struct Disabled {
    user_id: DbUuid,
    at: i64,
}

#[derive(Queryable, Serialize)]
struct ResetSignature {
    hash: DbHash,
    at: i64,
}

#[derive(Queryable, Serialize)]
struct Cursor {
    name: String,
    seq: i64,
}

impl Store {
    /// Hands every row of every table to `write`, as `{"table": …, "row": {column: value}}`, in the order of the tables'
    /// keys. Sealed columns are opened; one that
    /// does not open stands there as it is, with the reason beside it. Times are unix milliseconds, amounts piconero, as they are stored. What changes
    /// meanwhile may or may not be seen. An error of `write` ends it as [`StoreError::Unavailable`].
    pub async fn dump<W>(&self, mut write: W) -> Result<(), StoreError>
    where
        W: FnMut(&Value) -> std::io::Result<()> + Send + 'static,
    {
        self.read(move |conn, ring| {
            let mut tell = |table: &str, row: Value| {
                let told = write(&json!({ "table": table, "row": row }));
                told.map_err(|error| StoreError::Unavailable(format!("writing the dump: {error}")))
            };
            dump!(conn, users, RawUser, [id], |row| tell("users", columns(row)?));
            dump!(conn, escrows, RawEscrow, [id], |row| {
                let mut line = columns(row)?;
                if let Some(sealed) = &row.view_key {
                    // Damage is shown and not a reason to hide all the rest.
                    match open_watch_secret(ring, row.id, sealed) {
                        Ok((view, spend)) => {
                            line["view_key"] = json!(hex::encode(view.as_slice()));
                            line["spend_keys"] = json!(spend);
                        }
                        Err(error) => {
                            line["view_key"] = json!(hex::encode(sealed));
                            line["view_key_error"] = json!(error.to_string());
                        }
                    }
                }
                tell("escrows", line)
            });
            dump!(conn, escrow_list, RawListEntry, [user_id, escrow_id], |row| tell(
                "escrow_list",
                columns(row)?
            ));
            dump!(conn, title_words, RawTitleWord, [user_id, word, escrow_id], |row| tell(
                "title_words",
                columns(row)?
            ));
            dump!(conn, journal, RawJournal, [escrow_id, version], |row| tell("journal", columns(row)?));
            dump!(conn, events, RawEvent, [seq], |row| tell("events", columns(row)?));
            dump!(conn, idempotency, RawIdempotency, [user_id, key], |row| tell(
                "idempotency",
                columns(row)?
            ));
            dump!(conn, inbox, RawInbox, [user_id], |row| tell("inbox", columns(row)?));
            dump!(conn, chain_progress, Progress, [network], |row| tell("chain_progress", columns(row)?));
            dump!(conn, chain_blocks, Progress, [network, height], |row| tell("chain_blocks", columns(row)?));
            dump!(conn, outbox_cursor, Cursor, [name], |row| tell("outbox_cursor", columns(row)?));
            dump!(conn, profiles, RawProfile, [user_id], |row| tell("profiles", columns(row)?));
            dump!(conn, sessions, RawSession, [id], |row| tell("sessions", columns(row)?));
            dump!(conn, totp, RawTotp, [user_id], |row| {
                let opened = ring.open(totp_cell(&row.user_id.0), &row.secret);
                tell("totp", with_opened(columns(row)?, "secret", &row.secret, opened))
            });
            dump!(conn, backup_codes, RawBackupCode, [code_hash], |row| tell("backup_codes", columns(row)?));
            dump!(conn, passkeys, RawPasskey, [id], |row| tell("passkeys", columns(row)?));
            dump!(conn, challenges, RawChallenge, [id], |row| tell("challenges", columns(row)?));
            dump!(conn, reset_signatures, ResetSignature, [hash], |row| tell(
                "reset_signatures",
                columns(row)?
            ));
            dump!(conn, invitations, RawInvitation, [id], |row| tell("invitations", columns(row)?));
            dump!(conn, audit, RawAudit, [seq], |row| tell("audit", columns(row)?));
            dump!(conn, budgets, RawBudget, [key], |row| tell("budgets", columns(row)?));
            dump!(conn, token_keys, RawTokenKey, [kid], |row| {
                let opened = ring.open(seed_cell(&row.kid), &row.seed);
                tell("token_keys", with_opened(columns(row)?, "seed", &row.seed, opened))
            });
            dump!(conn, disabled, Disabled, [user_id], |row| tell("disabled", columns(row)?));
            dump!(conn, seal_keys, RawSealKey, [key_id], |row| tell("seal_keys", columns(row)?));
            dump!(conn, tallies, RawTally, [user_id], |row| tell("tallies", columns(row)?));
            dump!(conn, arbiters, RawArbiter, [user_id], |row| tell("arbiters", columns(row)?));
            dump!(conn, assignments, RawAssignment, [escrow_id], |row| tell("assignments", columns(row)?));
            dump!(conn, vacancies, RawVacancy, [escrow_id], |row| tell("vacancies", columns(row)?));
            dump!(conn, outages, RawOutage, [began], |row| tell("outages", columns(row)?));
            dump!(conn, heartbeat, RawHeartbeat, [name], |row| tell("heartbeat", columns(row)?));
            dump!(conn, wallet_backups, RawBackup, [user_id, version], |row| tell(
                "wallet_backups",
                columns(row)?
            ));
            dump!(conn, webhooks, RawWebhook, [id], |row| {
                let opened = ring.open(secret_cell(&row.id.0), &row.secret);
                tell("webhooks", with_opened(columns(row)?, "secret", &row.secret, opened))
            });
            dump!(conn, deliveries, RawDelivery, [seq], |row| tell("deliveries", columns(row)?));
            dump!(conn, own_wallets, RawWallet, [user_id], |row| {
                let opened = ring.open(connection_cell(&row.user_id.0), &row.connection);
                tell("own_wallets", with_opened(columns(row)?, "connection", &row.connection, opened))
            });
            dump!(conn, listings, RawListing, [id], |row| tell("listings", columns(row)?));
            dump!(conn, listing_words, RawWord, [word, listing_id], |row| tell(
                "listing_words",
                columns(row)?
            ));
            dump!(conn, orders, RawOrder, [id], |row| tell("orders", columns(row)?));
            dump!(conn, reviews, RawReview, [id], |row| tell("reviews", columns(row)?));
            dump!(conn, ratings, RawRating, [user_id], |row| tell("ratings", columns(row)?));
            for kind in KeyKind::ALL.map(KeyKind::wire) {
                let mut after: Option<(DbUuid, i64)> = None;
                loop {
                    let mut keys = prekeys::table.filter(prekeys::kind.eq(kind)).into_boxed();
                    if let Some((user, id)) = after {
                        let same = prekeys::user_id.eq(user).and(prekeys::key_id.gt(id));
                        keys = keys.filter(prekeys::user_id.gt(user).or(same));
                    }
                    let keys = keys.order((prekeys::user_id, prekeys::key_id)).limit(PAGE);
                    let keys: Vec<RawPrekey> = keys.load(conn)?;
                    let Some(last) = keys.last() else { break };
                    after = Some((last.user_id, last.key_id));
                    for key in &keys {
                        tell("prekeys", columns(key)?)?;
                    }
                }
            }
            Ok(())
        })
        .await
    }
}
