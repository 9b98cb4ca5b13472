//! The journal: every event an escrow took, in order.

use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::time::Timestamp;
use diesel::prelude::*;
use serde::Serialize;

use super::Store;
use super::dump::as_json;
use super::error::StoreError;
use super::schema::journal;
use super::types::{DbBytes, DbHash, DbUuid, page, time};

/// One change of an escrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// Which escrow.
    pub escrow_id: EscrowId,
    /// The version the event led to.
    pub version: i64,
    /// When it was taken.
    pub at: Timestamp,
    /// The event as JSON.
    pub event: String,
    /// The signed statement that caused it. It caused no other: it points at what its author said before, and the next version
    /// is stored once.
    pub statement_hash: Option<Hash32>,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = journal, treat_none_as_default_value = false)]
pub(super) struct RawJournal {
    pub escrow_id: DbUuid,
    pub version: i64,
    at: i64,
    #[serde(serialize_with = "as_json")]
    event: String,
    statement_hash: Option<DbHash>,
}

impl RawJournal {
    pub fn encode(row: JournalRow) -> Self {
        Self {
            escrow_id: row.escrow_id.0.into(),
            version: row.version,
            at: row.at.as_millisecond(),
            event: row.event,
            statement_hash: row.statement_hash.map(|hash| DbBytes(hash.0)),
        }
    }

    fn decode(self) -> Result<JournalRow, StoreError> {
        Ok(JournalRow {
            escrow_id: EscrowId(self.escrow_id.into()),
            version: self.version,
            at: time(self.at)?,
            event: self.event,
            statement_hash: self.statement_hash.map(|hash| Hash32(hash.0)),
        })
    }
}

impl Store {
    /// An escrow's journal, oldest first, beginning after version `after` (−1 for all).
    pub async fn journal(
        &self,
        escrow: EscrowId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<JournalRow>, StoreError> {
        let escrow = DbUuid::from(escrow.0);
        self.read(move |conn, _| {
            let rows =
                journal::table.filter(journal::escrow_id.eq(escrow)).filter(journal::version.gt(after));
            let rows: Vec<RawJournal> = rows.order(journal::version).limit(page(limit)).load(conn)?;
            rows.into_iter().map(RawJournal::decode).collect()
        })
        .await
    }

    /// Entries of an escrow that statements caused, oldest first, beginning after version `after`.
    pub async fn statements(
        &self,
        escrow: EscrowId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<JournalRow>, StoreError> {
        let escrow = DbUuid::from(escrow.0);
        self.read(move |conn, _| {
            let rows = journal::table.filter(journal::escrow_id.eq(escrow));
            let rows = rows.filter(journal::version.gt(after)).filter(journal::statement_hash.is_not_null());
            let rows: Vec<RawJournal> = rows.order(journal::version).limit(page(limit)).load(conn)?;
            rows.into_iter().map(RawJournal::decode).collect()
        })
        .await
    }

    /// The entry of an escrow that a statement caused, by the statement's hash. Reads the escrow's journal.
    pub async fn journal_of_statement(
        &self,
        escrow: EscrowId,
        hash: Hash32,
    ) -> Result<Option<JournalRow>, StoreError> {
        let (escrow, hash): (_, DbHash) = (DbUuid::from(escrow.0), DbBytes(hash.0));
        self.read(move |conn, _| {
            let row = journal::table.filter(journal::escrow_id.eq(escrow));
            let row = row.filter(journal::statement_hash.eq(hash));
            row.first::<RawJournal>(conn).optional()?.map(RawJournal::decode).transpose()
        })
        .await
    }
}
