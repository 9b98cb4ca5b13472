//! Escrow rows: what is stored of an escrow beside its journal, and the questions asked about many.

use aegis_common::amount::Piconero;
use aegis_common::hash::Key32;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::time::Timestamp;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use serde::Serialize;
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::Store;
use super::dump::as_json;
use super::error::StoreError;
use super::schema::escrows;
use super::swap::Swap;
use super::types::{DbUuid, amount, height, impossible, natural, page, time};
use crate::crypto::{Cell, Keyring};

/// An escrow as it is stored. The snapshot is the truth; the other columns make it findable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscrowRow {
    /// Its id, a version 7 UUID: ordered by creation.
    pub id: EscrowId,
    /// Grows by one with each change.
    pub version: i64,
    /// Wire name of the status.
    pub status: String,
    /// Who pays.
    pub buyer_id: UserId,
    /// Who delivers.
    pub seller_id: UserId,
    /// Who rules in a dispute.
    pub arbiter_id: UserId,
    /// Who opened it.
    pub creator_id: UserId,
    /// The price.
    pub amount: Piconero,
    /// The whole state as JSON.
    pub snapshot: String,
    /// When the timers must look at it.
    pub wake_at: Option<Timestamp>,
    /// At which block height it must be looked at.
    pub wake_height: Option<u64>,
    /// How many things it has seen that wait for a block.
    pub unmined: u32,
    /// Whether the chain is scanned for it; needs a view key and `watch_from`. Like `watch_from`, it is changed only by a
    /// commit that brings a view key, and ended by [`Store::unwatch`].
    pub watching: bool,
    /// First block that may hold its outputs.
    pub watch_from: Option<u64>,
    /// First block that may hold something it was not told of; `None` when it was told everything. Written with the watch, then
    /// by [`Store::fall_behind`] and [`Store::caught_up`].
    pub behind_from: Option<u64>,
    /// Height of its highest output: a reorganisation below it concerns it.
    pub highest_output: Option<u64>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What the scanner needs to know of an escrow.
pub struct Watched {
    /// Which escrow.
    pub id: EscrowId,
    /// Its private view key.
    pub view_key: Zeroizing<[u8; 32]>,
    /// First block that may hold its outputs.
    pub watch_from: u64,
    /// First block that may hold something it was not told of.
    pub behind_from: Option<u64>,
    /// Public spend keys of its three subaddresses, where they were stored with the view key.
    pub spend_keys: Option<[Key32; 3]>,
}

#[derive(Debug, Queryable, Insertable, Serialize)]
#[diesel(table_name = escrows, treat_none_as_default_value = false)]
pub(super) struct RawEscrow {
    pub id: DbUuid,
    version: i64,
    pub status: String,
    buyer_id: DbUuid,
    seller_id: DbUuid,
    arbiter_id: DbUuid,
    creator_id: DbUuid,
    amount: i64,
    #[serde(serialize_with = "as_json")]
    snapshot: String,
    /// Sealed.
    pub view_key: Option<Vec<u8>>,
    wake_at: Option<i64>,
    wake_height: Option<i64>,
    unmined: i32,
    watching: bool,
    watch_from: Option<i64>,
    behind_from: Option<i64>,
    highest_output: Option<i64>,
    created_at: i64,
    updated_at: i64,
}

/// What only a commit with a view key writes, so that no later one begins a watch anew that [`Store::unwatch`] ended.
#[derive(AsChangeset)]
#[diesel(table_name = escrows, treat_none_as_null = true)]
pub(super) struct WatchChange<'a> {
    view_key: Option<&'a [u8]>,
    watching: bool,
    watch_from: Option<i64>,
    behind_from: Option<i64>,
}

/// The place a view key is sealed for.
pub(super) fn view_key_cell(escrow: &[u8]) -> Cell<'_> {
    Cell { table: "escrows", column: "view_key", row: escrow }
}

impl RawEscrow {
    pub fn encode(row: EscrowRow, view_key: Option<Vec<u8>>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.0.into(),
            version: row.version,
            status: row.status,
            buyer_id: row.buyer_id.0.into(),
            seller_id: row.seller_id.0.into(),
            arbiter_id: row.arbiter_id.0.into(),
            creator_id: row.creator_id.0.into(),
            amount: amount(row.amount)?,
            snapshot: row.snapshot,
            view_key,
            wake_at: row.wake_at.map(Timestamp::as_millisecond),
            wake_height: row.wake_height.map(height).transpose()?,
            unmined: i32::try_from(row.unmined).map_err(|_| impossible("unmined beyond 2^31"))?,
            watching: row.watching,
            watch_from: row.watch_from.map(height).transpose()?,
            behind_from: row.behind_from.map(height).transpose()?,
            highest_output: row.highest_output.map(height).transpose()?,
            created_at: row.created_at.as_millisecond(),
            updated_at: row.updated_at.as_millisecond(),
        })
    }

    /// The change of the row that is stored with version `expected`.
    pub fn swap(&self, expected: i64) -> Swap<'_> {
        Swap {
            id: &self.id,
            expected,
            version: self.version,
            status: &self.status,
            snapshot: &self.snapshot,
            wake_at: self.wake_at,
            wake_height: self.wake_height,
            unmined: self.unmined,
            highest_output: self.highest_output,
            updated_at: self.updated_at,
        }
    }

    /// The new sealed view key with the watch; `None` keeps what is there.
    pub fn watch(&self) -> Option<WatchChange<'_>> {
        let Self { watching, watch_from, behind_from, .. } = *self;
        let key = self.view_key.as_deref()?;
        Some(WatchChange { view_key: Some(key), watching, watch_from, behind_from })
    }

    pub fn decode(self) -> Result<EscrowRow, StoreError> {
        if serde_json::from_str::<IgnoredAny>(&self.snapshot).is_err() {
            return Err(impossible("an escrow's snapshot is not JSON"));
        }
        self.decode_as_it_is()
    }

    /// With whatever snapshot it has: for a look at many, which one that is damaged must not hide.
    pub fn decode_as_it_is(self) -> Result<EscrowRow, StoreError> {
        Ok(EscrowRow {
            id: EscrowId(self.id.into()),
            version: self.version,
            status: self.status,
            buyer_id: UserId(self.buyer_id.into()),
            seller_id: UserId(self.seller_id.into()),
            arbiter_id: UserId(self.arbiter_id.into()),
            creator_id: UserId(self.creator_id.into()),
            amount: Piconero(natural(self.amount)?),
            snapshot: self.snapshot,
            wake_at: self.wake_at.map(time).transpose()?,
            wake_height: self.wake_height.map(natural).transpose()?,
            unmined: u32::try_from(self.unmined).map_err(|_| impossible("negative unmined"))?,
            watching: self.watching,
            watch_from: self.watch_from.map(natural).transpose()?,
            behind_from: self.behind_from.map(natural).transpose()?,
            highest_output: self.highest_output.map(natural).transpose()?,
            created_at: time(self.created_at)?,
            updated_at: time(self.updated_at)?,
        })
    }
}

/// What is sealed: the view key, then the spend keys.
pub(super) fn watch_secret(view_key: &[u8; 32], spend_keys: Option<&[Key32; 3]>) -> Zeroizing<Vec<u8>> {
    let mut secret = Zeroizing::new(Vec::with_capacity(128));
    secret.extend_from_slice(view_key);
    spend_keys.into_iter().flatten().for_each(|key| secret.extend_from_slice(&key.0));
    secret
}

/// The view key, and the spend keys where they were stored with it.
type WatchSecret = (Zeroizing<[u8; 32]>, Option<[Key32; 3]>);

/// Opens what was sealed.
pub(super) fn open_watch_secret(
    ring: &Keyring,
    id: DbUuid,
    sealed: &[u8],
) -> Result<WatchSecret, StoreError> {
    let opened = ring.open(view_key_cell(&id.0), sealed)?;
    let (keys, rest) = opened.as_chunks::<32>();
    let (view, spend) = match (keys, rest) {
        ([view], []) => (view, None),
        ([view, one, two, three], []) => (view, Some([*one, *two, *three].map(Key32))),
        _ => return Err(impossible("a view key is not 32 bytes")),
    };
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(view);
    Ok((key, spend))
}

/// Id, sealed keys, first block, first block it was not told of.
type WatchedRow = (DbUuid, Option<Vec<u8>>, Option<i64>, Option<i64>);

const WATCHED: (escrows::id, escrows::view_key, escrows::watch_from, escrows::behind_from) =
    (escrows::id, escrows::view_key, escrows::watch_from, escrows::behind_from);

fn open_watched(ring: &Keyring, (id, sealed, from, behind): WatchedRow) -> Result<Watched, StoreError> {
    let (Some(sealed), Some(from)) = (sealed, from) else {
        return Err(impossible("an escrow is watched without view key or height"));
    };
    let (view_key, spend_keys) = open_watch_secret(ring, id, &sealed)?;
    let (watch_from, behind_from) = (natural(from)?, behind.map(natural).transpose()?);
    Ok(Watched { id: EscrowId(id.into()), view_key, watch_from, behind_from, spend_keys })
}

fn ids(raw: Vec<DbUuid>) -> Vec<EscrowId> {
    raw.into_iter().map(|id| EscrowId(id.into())).collect()
}

impl Store {
    /// One escrow, or `None` where there is none of this id.
    pub async fn escrow(&self, id: EscrowId) -> Result<Option<EscrowRow>, StoreError> {
        let id = DbUuid::from(id.0);
        self.read(move |conn, _| {
            let row = escrows::table.find(id).first::<RawEscrow>(conn).optional()?;
            row.map(RawEscrow::decode).transpose()
        })
        .await
    }

    /// The snapshot of whichever escrow comes first, or `None` where there are none.
    pub async fn any_snapshot(&self) -> Result<Option<String>, StoreError> {
        self.read(|conn, _| Ok(escrows::table.select(escrows::snapshot).first(conn).optional()?)).await
    }

    /// An escrow's private view key, or `None` where there is no such escrow or no key yet.
    pub async fn view_key(&self, id: EscrowId) -> Result<Option<Zeroizing<[u8; 32]>>, StoreError> {
        let id = DbUuid::from(id.0);
        self.read(move |conn, ring| {
            let query = escrows::table.find(id).select(escrows::view_key);
            let sealed = query.first::<Option<Vec<u8>>>(conn).optional()?.flatten();
            Ok(sealed.map(|sealed| open_watch_secret(ring, id, &sealed)).transpose()?.map(|(key, _)| key))
        })
        .await
    }

    /// Escrows to scan the chain for, in order of id, beginning after `after`; at most `limit` (and at most
    /// [`super::MAX_PAGE`]). Fewer than `limit` means there are no more.
    pub async fn watched(&self, after: Option<EscrowId>, limit: usize) -> Result<Vec<Watched>, StoreError> {
        let after = after.map_or(DbUuid::from(uuid::Uuid::nil()), |id| id.0.into());
        self.read(move |conn, ring| {
            let rows: Vec<WatchedRow> = escrows::table
                .filter(escrows::watching)
                .filter(escrows::id.gt(after))
                .order(escrows::id)
                .limit(page(limit))
                .select(WATCHED)
                .load(conn)?;
            rows.into_iter().map(|row| open_watched(ring, row)).collect()
        })
        .await
    }

    /// One escrow to scan the chain for; `None` where it is not watched.
    pub async fn watched_one(&self, id: EscrowId) -> Result<Option<Watched>, StoreError> {
        let id = DbUuid::from(id.0);
        self.read(move |conn, ring| {
            let row = escrows::table.filter(escrows::id.eq(id)).filter(escrows::watching).select(WATCHED);
            row.first(conn).optional()?.map(|row| open_watched(ring, row)).transpose()
        })
        .await
    }

    /// Something from this block on could not be told to a watched escrow.
    pub async fn fall_behind(&self, id: EscrowId, from: u64) -> Result<(), StoreError> {
        let (id, from) = (DbUuid::from(id.0), height(from)?);
        self.writer
            .run(move |conn| {
                let first = escrows::behind_from.is_null().or(escrows::behind_from.gt(from));
                let row = escrows::table.filter(escrows::id.eq(id)).filter(escrows::watching).filter(first);
                diesel::update(row).set(escrows::behind_from.eq(from)).execute(conn)?;
                Ok(())
            })
            .await
    }

    /// An escrow was told everything from this block on, unless it fell further behind meanwhile.
    pub async fn caught_up(&self, id: EscrowId, from: u64) -> Result<(), StoreError> {
        let (id, from) = (DbUuid::from(id.0), height(from)?);
        self.writer
            .run(move |conn| {
                let row = escrows::table.filter(escrows::id.eq(id)).filter(escrows::behind_from.eq(from));
                diesel::update(row).set(escrows::behind_from.eq(None::<i64>)).execute(conn)?;
                Ok(())
            })
            .await
    }

    /// Ends the watch of up to `limit` escrows of these statuses that have not changed since `before`, and gives them. As
    /// many as `limit` means that there may be more.
    pub async fn unwatch(
        &self,
        statuses: Vec<&'static str>,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<EscrowId>, StoreError> {
        let before = before.as_millisecond();
        let over = statuses.clone();
        let found: Vec<DbUuid> = self
            .read(move |conn, _| {
                let over = escrows::table.filter(escrows::watching).filter(escrows::status.eq_any(&over));
                // What came late and is being given back is watched until it is.
                let over = over.filter(escrows::updated_at.lt(before)).filter(escrows::wake_at.is_null());
                Ok(over.order(escrows::id).limit(page(limit)).select(escrows::id).load(conn)?)
            })
            .await?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        self.writer
            .run(move |conn| {
                let mut ended = Vec::new();
                for id in &found {
                    // An escrow that changed since it was found, by a late payment perhaps, is watched on.
                    let still = escrows::table.filter(escrows::id.eq(id)).filter(escrows::watching);
                    let still = still.filter(escrows::status.eq_any(&statuses));
                    let still =
                        still.filter(escrows::updated_at.lt(before)).filter(escrows::wake_at.is_null());
                    let changed = diesel::update(still).set(escrows::watching.eq(false)).execute(conn)?;
                    ended.extend((changed > 0).then_some(EscrowId((*id).into())));
                }
                Ok(ended)
            })
            .await
    }

    /// Escrows whose `wake_at` has come, the longest overdue first. Not those that are behind: what their deadline means
    /// depends on what they have not been told.
    pub async fn due_by_time(&self, now: Timestamp, limit: usize) -> Result<Vec<EscrowId>, StoreError> {
        self.read(move |conn, _| {
            let due = escrows::table.filter(escrows::wake_at.le(now.as_millisecond()));
            let due = due.filter(escrows::behind_from.is_null());
            Ok(ids(due.order(escrows::wake_at).limit(page(limit)).select(escrows::id).load(conn)?))
        })
        .await
    }

    /// Escrows whose `wake_height` is reached at `tip`, the longest overdue first.
    pub async fn due_by_height(&self, tip: u64, limit: usize) -> Result<Vec<EscrowId>, StoreError> {
        let tip = height(tip)?;
        self.read(move |conn, _| {
            let due = escrows::table.filter(escrows::wake_height.le(tip));
            Ok(ids(due.order(escrows::wake_height).limit(page(limit)).select(escrows::id).load(conn)?))
        })
        .await
    }

    /// Escrows with something seen that no block holds yet, in order of id, beginning after `after`.
    pub async fn unmined(&self, after: Option<EscrowId>, limit: usize) -> Result<Vec<EscrowId>, StoreError> {
        let after = after.map_or(DbUuid::from(uuid::Uuid::nil()), |id| id.0.into());
        self.read(move |conn, _| {
            // Spelled out, not bound: SQLite uses a partial index only where the query says its condition.
            let waiting = escrows::table.filter(sql::<Bool>("unmined > 0")).filter(escrows::id.gt(after));
            Ok(ids(waiting.order(escrows::id).limit(page(limit)).select(escrows::id).load(conn)?))
        })
        .await
    }

    /// Escrows with an output above a height: those that a reorganisation down to it concerns. Not limited by
    /// pages: recent outputs only, bounded by what fits into the reorganised blocks.
    pub async fn above_height(&self, floor: u64) -> Result<Vec<EscrowId>, StoreError> {
        let floor = height(floor)?;
        self.read(move |conn, _| {
            let above = escrows::table.filter(escrows::highest_output.gt(floor));
            Ok(ids(above.order(escrows::highest_output).select(escrows::id).load(conn)?))
        })
        .await
    }
}
