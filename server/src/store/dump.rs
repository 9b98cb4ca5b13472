//! Everything the database holds, row by row: for an operator who wants to know, and for tests that look for what must
//! not be there.

use diesel::prelude::*;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::Store;
use super::error::StoreError;
use super::escrows::{RawEscrow, open_watch_secret};
use super::events::RawEvent;
use super::idempotency::RawIdempotency;
use super::journal::RawJournal;
use super::schema::{
    chain_blocks, chain_progress, escrows, events, idempotency, journal, outbox_cursor, users,
};
use super::types::{DbBytes, DbHash, impossible};
use super::users::RawUser;

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

/// A table whose rows are told apart by one column, or by two of which the first has the greater weight.
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
}

#[derive(Queryable, Serialize)]
struct Progress {
    network: String,
    height: i64,
    hash: DbHash,
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
            dump!(conn, journal, RawJournal, [escrow_id, version], |row| tell("journal", columns(row)?));
            dump!(conn, events, RawEvent, [seq], |row| tell("events", columns(row)?));
            dump!(conn, idempotency, RawIdempotency, [user_id, key], |row| tell(
                "idempotency",
                columns(row)?
            ));
            dump!(conn, chain_progress, Progress, [network], |row| tell("chain_progress", columns(row)?));
            dump!(conn, chain_blocks, Progress, [network, height], |row| tell("chain_blocks", columns(row)?));
            dump!(conn, outbox_cursor, Cursor, [name], |row| tell("outbox_cursor", columns(row)?));
            Ok(())
        })
        .await
    }
}
