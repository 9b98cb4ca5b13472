//! One escrow's change: snapshot by compare-and-swap, journal row, events and idempotency record together.

use aegis_common::escrow::state::Status;
use aegis_common::hash::Key32;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::reputation::Ending;
use aegis_common::time::Timestamp;
use diesel::prelude::*;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Store;
use super::arbiters::assign::is_reserved;
use super::connection::Conn;
use super::dialect::native;
use super::error::{CommitError, StoreError};
use super::escrows::{EscrowRow, RawEscrow, view_key_cell, watch_secret};
use super::idempotency::{IdempotencyRow, RawIdempotency};
use super::journal::{JournalRow, RawJournal};
use super::keys::check_sealed;
use super::lists;
use super::market::orders::{claim, order_follows, order_moves};
use super::schema::{escrows, events, idempotency, journal};
use super::tallies::count;
use super::types::{DbUuid, impossible};

/// Longest text column in bytes: a snapshot with all its rounds and proofs stays far below.
const MAX_TEXT: usize = 4 * 1024 * 1024;
/// Most events of one change: a block can make 64 outputs final at once, or undo them, and three parties are told.
const MAX_EVENTS: usize = 256;

/// The event of every change of a status.
const STATUS_CHANGED: &str = "EscrowStatusChanged";

/// What the caller believes is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing yet.
    New,
    /// This version; the commit stores the next.
    Version(i64),
}

/// A notification to one user: pushed by the dispatcher and kept as the user's feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Stable id: a replay of the same change can't store it twice.
    pub event_id: Uuid,
    /// Whom it is for.
    pub user_id: UserId,
    /// What it is about.
    pub escrow_id: Option<EscrowId>,
    /// Wire name of the event, up to 64 characters.
    pub kind: String,
    /// JSON.
    pub payload: String,
}

/// All that one change of an escrow writes, in one transaction.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The new values. The parties, the amount, the creator and `created_at` count only for a new escrow, the watch only for
    /// a new one or with a view key.
    pub escrow: EscrowRow,
    /// What is stored now.
    pub expected: Expected,
    /// The event that caused the change; its version is the escrow's.
    pub journal: Option<JournalRow>,
    /// What to tell whom, in order; dated by the escrow's `updated_at`.
    pub events: Vec<NewEvent>,
    /// The answer to give when the same request comes again.
    pub idempotency: Option<IdempotencyRow>,
    /// The view key to seal beside the escrow; `None` keeps what is there.
    pub view_key: Option<Zeroizing<[u8; 32]>>,
    /// How the escrow ends with this change: counted for its parties.
    pub ending: Option<Ending>,
    /// The escrow whose place a new one takes: an order that follows it follows the new one.
    pub replaces: Option<EscrowId>,
    /// What it is called, to be found by its words; counts for a new escrow.
    pub title: Option<String>,
    /// What was derived with the view key: public spend keys of its three subaddresses. Sealed with it.
    pub spend_keys: Option<[Key32; 3]>,
}

#[derive(Insertable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
pub(super) struct InsertEvent {
    event_id: DbUuid,
    user_id: DbUuid,
    escrow_id: Option<DbUuid>,
    kind: String,
    payload: String,
    created_at: i64,
}

/// The commit as it goes into the database; prepared by the caller, so that the writer only writes.
struct Prepared {
    escrow: RawEscrow,
    entry: lists::Entry,
    expected: Expected,
    journal: Option<RawJournal>,
    events: Vec<InsertEvent>,
    idempotency: Option<RawIdempotency>,
    ending: Option<Ending>,
    replaces: Option<DbUuid>,
    /// The status, where it is another than before.
    moves_to: Option<Status>,
}

impl Store {
    /// Stores one change. Durable when it returns `Ok`; commits of many escrows share one fsync.
    ///
    /// Of two commits on one version exactly one succeeds, the other gets [`CommitError::Stale`]. A used
    /// idempotency key is reported before staleness or duplication.
    pub async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        let prepared = self.prepare(commit)?;
        self.writer.run(move |conn| prepared.apply(conn)).await
    }

    fn prepare(&self, commit: Commit) -> Result<Prepared, StoreError> {
        let Commit { escrow, expected, journal, events, idempotency, view_key, spend_keys, .. } = commit;
        let Commit { ending, replaces, title, .. } = commit;
        if let Expected::Version(version) = expected
            && version.checked_add(1) != Some(escrow.version)
        {
            return Err(impossible("a commit stores the version after the expected one"));
        }
        if journal.as_ref().is_some_and(|row| (row.escrow_id, row.version) != (escrow.id, escrow.version)) {
            return Err(impossible("the journal row belongs to another escrow or version"));
        }
        if events.len() > MAX_EVENTS {
            return Err(impossible("too many events in one commit"));
        }
        check_text([&escrow.snapshot, &escrow.status].into_iter().chain(&title))?;
        check_text(journal.iter().map(|row| &row.event))?;
        check_text(events.iter().flat_map(|event| [&event.kind, &event.payload]))?;
        check_text(idempotency.iter().flat_map(|row| [&row.key, &row.response]))?;
        let sealed = view_key
            .map(|key| {
                let secret = watch_secret(&key, spend_keys.as_ref());
                self.keyring.seal(view_key_cell(escrow.id.0.as_bytes()), &secret)
            })
            .transpose()?;
        let at = escrow.updated_at;
        let moves = events.iter().any(|event| event.kind == STATUS_CHANGED);
        let moves_to = Status::from_wire(&escrow.status).filter(|_| moves);
        Ok(Prepared {
            entry: lists::Entry::new(&escrow, title.as_deref())?,
            escrow: RawEscrow::encode(escrow, sealed)?,
            expected,
            journal: journal.map(RawJournal::encode),
            events: events.into_iter().map(|event| InsertEvent::encode(event, at)).collect(),
            idempotency: idempotency.map(RawIdempotency::encode),
            ending,
            replaces: replaces.map(|id| id.0.into()),
            moves_to,
        })
    }
}

/// Postgres refuses NUL in text; both databases shall refuse the same.
pub(super) fn check_text<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<(), StoreError> {
    for text in texts {
        if text.len() > MAX_TEXT {
            return Err(impossible("a text is too long"));
        }
        if text.contains('\0') {
            return Err(impossible("a text contains NUL"));
        }
    }
    Ok(())
}

impl InsertEvent {
    pub fn encode(event: NewEvent, at: Timestamp) -> Self {
        Self {
            event_id: event.event_id.into(),
            user_id: event.user_id.0.into(),
            escrow_id: event.escrow_id.map(|id| id.0.into()),
            kind: event.kind,
            payload: event.payload,
            created_at: at.as_millisecond(),
        }
    }
}

impl Prepared {
    fn apply(&self, conn: &mut Conn) -> Result<(), CommitError> {
        if let Some(sealed) = &self.escrow.view_key {
            check_sealed(conn, sealed)?;
        }
        // The compare-and-swap goes first: a stale commit has then written nothing that must be undone.
        if let Err(refused) = self.swap(conn)? {
            return Err(if self.seen_before(conn)? { CommitError::IdempotencyConflict } else { refused });
        }
        if let Some(row) = &self.idempotency {
            let insert = diesel::insert_into(idempotency::table).values(row).execute(conn);
            insert.map_err(|error| match CommitError::from(error) {
                CommitError::Duplicate => CommitError::IdempotencyConflict,
                other => other,
            })?;
        }
        if let Some(row) = &self.journal {
            native!(conn, c => diesel::insert_into(journal::table).values(row).execute(c))?;
        }
        if let Some(ending) = &self.ending {
            count(conn, ending)?;
        }
        for event in &self.events {
            native!(conn, c => diesel::insert_into(events::table).values(event).execute(c))?;
        }
        Ok(())
    }

    /// The inner error says that the expectation doesn't hold; then nothing was written.
    fn swap(&self, conn: &mut Conn) -> QueryResult<Result<(), CommitError>> {
        let row = &self.escrow;
        let version = escrows::table.find(row.id).select(escrows::version);
        match self.expected {
            Expected::New => {
                if version.first::<i64>(conn).optional()?.is_some() {
                    return Ok(Err(CommitError::Duplicate));
                }
                if let Some(old) = self.replaces {
                    // Another server may have given the place to another escrow meanwhile.
                    if !is_reserved(conn, row.id, old)? || !order_follows(conn, old, row.id)? {
                        return Ok(Err(CommitError::Undone));
                    }
                }
                if !claim(conn, row.id, Status::from_wire(&row.status))? {
                    return Ok(Err(CommitError::Undone));
                }
                native!(conn, c => diesel::insert_into(escrows::table).values(row).execute(c))?;
                lists::open(conn, &self.entry)?;
            }
            Expected::Version(expected) => {
                let changed = native!(conn, c => row.swap(expected).execute(c))?;
                if changed == 0 {
                    return Ok(Err(match version.first(conn).optional()? {
                        Some(actual) => CommitError::Stale { actual },
                        None => CommitError::Missing,
                    }));
                }
                lists::follow(conn, &self.entry)?;
                if let Some(to) = self.moves_to {
                    order_moves(conn, row.id, to)?;
                }
                if let Some(watch) = row.watch() {
                    diesel::update(escrows::table.find(row.id)).set(watch).execute(conn)?;
                }
            }
        }
        Ok(Ok(()))
    }

    fn seen_before(&self, conn: &mut Conn) -> QueryResult<bool> {
        self.idempotency.as_ref().map_or(Ok(false), |row| row.is_used(conn))
    }
}
