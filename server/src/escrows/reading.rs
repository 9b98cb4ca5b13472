//! Reading escrows as one of their parties. To everybody else they don't exist.

use aegis_common::escrow::event::Event;
use aegis_common::escrow::setup::Stage;
use aegis_common::escrow::state::{CalledOff, Escrow, Phase};
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::role::Role;
use aegis_common::wire::escrow::{TranscriptEntry, TranscriptPage};

use serde::Deserialize;

use crate::store::{EscrowRow, Store, StoreError};

/// Statements read at once for a transcript.
const STEP: usize = 16;
/// A page of a transcript is full at this size: two signers can fill an escrow with statements of half a mebibyte.
const PAGE_BYTES: usize = 2 << 20;

/// An escrow can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such escrow, or not one of the reader's.
    #[error("no such escrow")]
    NotFound,
    /// It can't be replaced any more.
    #[error("replaces: only an escrow that you created and nobody else has accepted can be replaced")]
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

/// What a transcript needs of a journal entry.
#[derive(Deserialize)]
struct Entry {
    event: Event,
}

impl Kept {
    fn decode(row: &EscrowRow) -> Result<Self, ReadError> {
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

    /// An escrow that its initiator may replace by another: nobody else has accepted it, or it was deleted for that.
    pub async fn replaceable(&self, initiator: UserId, id: EscrowId) -> Result<Kept, ReadError> {
        let kept = self.one(initiator, id).await?;
        let Escrow { contract, setup, phase, .. } = &kept.escrow;
        let others = Role::ALL.into_iter().filter(|role| contract.party(*role).user_id != initiator);
        let untouched = setup.stage() == Stage::AwaitingAcceptance
            && !others.into_iter().any(|role| setup.has_accepted(role));
        let open = matches!(phase, Phase::Open { .. } | Phase::Cancelled { why: CalledOff::Deleted });
        let may = kept.escrow.initiator == initiator && untouched && open;
        if may { Ok(kept) } else { Err(ReadError::NotReplaceable) }
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
        let (mut entries, mut at, mut bytes) = (Vec::new(), after, 0);
        loop {
            let asked = STEP.min(limit + 1 - entries.len());
            let rows = self.store.statements(id, at, asked).await?;
            let more = rows.len() == asked;
            for row in rows {
                if entries.len() == limit || bytes >= PAGE_BYTES {
                    return Ok(TranscriptPage { entries, next: Some(at) });
                }
                (at, bytes) = (row.version, bytes + row.event.len());
                let entry: Entry = serde_json::from_str(&row.event)
                    .map_err(|error| ReadError::Inconsistent { id, why: error.to_string() })?;
                if let Event::Statement { signed } = entry.event {
                    entries.push(TranscriptEntry { version: row.version, at: row.at, signed: *signed });
                }
            }
            if !more {
                return Ok(TranscriptPage { entries, next: None });
            }
        }
    }
}
