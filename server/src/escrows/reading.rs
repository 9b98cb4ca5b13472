//! Reading escrows as one of their parties. To everybody else they don't exist.

use aegis_common::escrow::event::Event;
use aegis_common::escrow::history;
use aegis_common::escrow::record::{Beginning, Entry};
use aegis_common::escrow::setup::Stage;
use aegis_common::escrow::state::{CalledOff, Escrow, Phase};
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::role::Role;
use aegis_common::wire::escrow::{HistoryEntry, HistoryPage, RecordPage, TranscriptEntry, TranscriptPage};

use crate::store::{EscrowRow, JournalRow, Store, StoreError};

/// The version of an escrow to which nothing has happened: its journal begins after it.
const FIRST: i64 = 1;
/// Entries of a journal read at once.
const STEP: usize = 16;
/// A page of them is full at this size: two signers can fill an escrow with statements of half a mebibyte.
const PAGE_BYTES: usize = 2 << 20;

/// An escrow can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such escrow, or not one of the reader's.
    #[error("no such escrow")]
    NotFound,
    /// It can't be replaced any more.
    #[error(
        "replaces: only an escrow that you created and the other trader has not accepted can be replaced"
    )]
    NotReplaceable,
    /// A list is asked for with a value that is not allowed.
    #[error("{field}: {why}")]
    Field {
        /// The parameter's wire name.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A list is asked for with a name that nobody has.
    #[error("participant: there is no such account")]
    UnknownUser,
    /// The cursor is damaged or of another list.
    #[error("the cursor does not belong to this list")]
    BadCursor,
    /// What is stored makes no sense.
    #[error("escrow {id} is stored inconsistently: {why}")]
    Inconsistent {
        /// Which escrow.
        id: EscrowId,
        /// What is wrong.
        why: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An escrow as it is stored.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The state.
    pub escrow: Escrow,
    /// Its version.
    pub version: i64,
}

impl Kept {
    pub(super) fn decode(row: &EscrowRow) -> Result<Self, ReadError> {
        let inconsistent = |why: String| ReadError::Inconsistent { id: row.id, why };
        let escrow: Escrow =
            serde_json::from_str(&row.snapshot).map_err(|error| inconsistent(error.to_string()))?;
        if escrow.contract.escrow_id != row.id {
            return Err(inconsistent("the snapshot is another escrow's".to_owned()));
        }
        Ok(Self { escrow: escrow.awaiting(row.updated_at), version: row.version })
    }
}

/// The use cases; clones are handles on the same.
#[derive(Clone)]
pub struct Escrows {
    pub(super) store: Store,
}

impl Escrows {
    /// On a store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// One escrow of the reader's.
    pub async fn one(&self, reader: UserId, id: EscrowId) -> Result<Kept, ReadError> {
        let row = self.store.escrow(id).await?.ok_or(ReadError::NotFound)?;
        let parties = [row.buyer_id, row.seller_id, row.arbiter_id];
        if !parties.contains(&reader) {
            return Err(ReadError::NotFound);
        }
        Kept::decode(&row)
    }

    /// An escrow that its initiator may replace by another: the other trader has not accepted it, or it was deleted for that. An
    /// arbiter's program may have accepted at once, and is asked anew.
    pub async fn replaceable(&self, initiator: UserId, id: EscrowId) -> Result<Kept, ReadError> {
        let kept = self.one(initiator, id).await?;
        let Escrow { contract, setup, phase, .. } = &kept.escrow;
        let traders = Role::ALL.into_iter().filter(|role| role.is_trader());
        let mut others = traders.filter(|role| contract.party(*role).user_id != initiator);
        let untouched =
            setup.stage() == Stage::AwaitingAcceptance && !others.any(|role| setup.has_accepted(role));
        let open = matches!(phase, Phase::Open { .. } | Phase::Cancelled { why: CalledOff::Deleted });
        let may = kept.escrow.initiator == initiator && untouched && open;
        if may { Ok(kept) } else { Err(ReadError::NotReplaceable) }
    }

    /// What happened, in words and in order, after a version (0 for all). A page may hold fewer than `limit` although more
    /// follow: `next` tells.
    pub async fn history(
        &self,
        reader: UserId,
        id: EscrowId,
        after: i64,
        limit: usize,
    ) -> Result<HistoryPage, ReadError> {
        let Escrow { contract, initiator, created_at, .. } = self.one(reader, id).await?.escrow;
        let mut entries = Vec::new();
        if after < FIRST {
            entries.push(HistoryEntry::of(history::created(&contract, initiator), FIRST, created_at));
        }
        let read = async |after, limit| self.store.journal(id, after, limit).await;
        let (rows, next) = page_of(read, after.max(FIRST), limit - entries.len()).await?;
        for (row, Entry { event, at }) in parsed(id, rows)? {
            entries.push(HistoryEntry::of(history::tell(&contract, &event), row.version, at));
        }
        Ok(HistoryPage { entries, next })
    }

    /// Statements in the order in which the server took them, after a version (0 for all). A page may hold fewer
    /// than `limit` although more follow: `next` tells.
    pub async fn transcript(
        &self,
        reader: UserId,
        id: EscrowId,
        after: i64,
        limit: usize,
    ) -> Result<TranscriptPage, ReadError> {
        self.one(reader, id).await?;
        let read = async |after, limit| self.store.statements(id, after, limit).await;
        let (rows, next) = page_of(read, after, limit).await?;
        let mut entries = Vec::with_capacity(rows.len());
        for (row, Entry { event, .. }) in parsed(id, rows)? {
            if let Event::Statement { signed } = event {
                entries.push(TranscriptEntry { version: row.version, at: row.at, signed: *signed });
            }
        }
        Ok(TranscriptPage { entries, next })
    }

    /// Everything that happened, after a version (0 for all). Pages as of a transcript.
    pub async fn record(
        &self,
        reader: UserId,
        id: EscrowId,
        after: i64,
        limit: usize,
    ) -> Result<RecordPage, ReadError> {
        let beginning = Beginning::of(&self.one(reader, id).await?.escrow);
        let read = async |after, limit| self.store.journal(id, after, limit).await;
        let (rows, next) = page_of(read, after, limit).await?;
        let entries = parsed(id, rows)?.into_iter().map(|(_, entry)| entry).collect();
        Ok(RecordPage { beginning, entries, next })
    }
}

/// Up to `limit` entries, fewer where they are large, and where to go on, if there are more.
async fn page_of(
    read: impl AsyncFn(i64, usize) -> Result<Vec<JournalRow>, StoreError>,
    after: i64,
    limit: usize,
) -> Result<(Vec<JournalRow>, Option<i64>), StoreError> {
    let (mut page, mut at, mut bytes): (Vec<JournalRow>, _, _) = (Vec::new(), after, 0);
    loop {
        let asked = STEP.min(limit + 1 - page.len());
        let rows = read(at, asked).await?;
        let more = rows.len() == asked;
        for row in rows {
            if page.len() == limit || bytes >= PAGE_BYTES {
                return Ok((page, Some(at)));
            }
            (at, bytes) = (row.version, bytes + row.event.len());
            page.push(row);
        }
        if !more {
            return Ok((page, None));
        }
    }
}

fn parsed(id: EscrowId, rows: Vec<JournalRow>) -> Result<Vec<(JournalRow, Entry)>, ReadError> {
    let parse = |row: JournalRow| match Entry::parse(&row.event) {
        Ok(entry) => Ok((row, entry)),
        Err(error) => Err(ReadError::Inconsistent { id, why: error.to_string() }),
    };
    rows.into_iter().map(parse).collect()
}
