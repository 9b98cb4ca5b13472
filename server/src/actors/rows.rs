//! An escrow as database rows: the snapshot with the columns that make it findable, and its notices as events.

use std::sync::Arc;

use aegis_common::escrow::effect::{Effect, Notice};
use aegis_common::escrow::state::Escrow;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::role::Role;
use aegis_common::time::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::message::Refusal;
use crate::store::{EscrowRow, NewEvent};

/// An escrow as an actor holds it; it is on disk just so.
#[derive(Clone)]
pub(super) struct Held {
    pub escrow: Arc<Escrow>,
    pub version: i64,
    /// First block that may hold its outputs: above the tip when it was created. Before that none of its wallets was made.
    pub watch_from: Option<u64>,
}

/// A value could not be written or read: a mistake in the program, or a damaged database.
pub(super) fn inconsistent(id: EscrowId, what: impl std::fmt::Display) -> Refusal {
    tracing::error!(escrow = %id, %what, "inconsistent escrow");
    Refusal::Failed
}

impl Held {
    /// The row to store.
    pub fn to_row(&self, at: Timestamp) -> Result<EscrowRow, Refusal> {
        let escrow = &*self.escrow;
        let contract = &escrow.contract;
        let id = contract.escrow_id;
        Ok(EscrowRow {
            id,
            version: self.version,
            status: escrow.status().wire().to_owned(),
            buyer_id: contract.buyer.user_id,
            seller_id: contract.seller.user_id,
            arbiter_id: contract.arbiter.user_id,
            creator_id: escrow.initiator,
            amount: contract.amount,
            snapshot: serde_json::to_string(escrow).map_err(|error| inconsistent(id, error))?,
            wake_at: escrow.wake_at(),
            wake_height: escrow.wake_height(),
            unmined: u32::try_from(escrow.unmined().len()).map_err(|error| inconsistent(id, error))?,
            watching: escrow.is_ready(),
            watch_from: self.watch_from,
            behind_from: self.watch_from.filter(|_| escrow.is_ready()),
            highest_output: escrow.highest_block(),
            created_at: escrow.created_at,
            updated_at: at,
        })
    }

    /// Reads a stored row.
    pub fn from_row(row: EscrowRow) -> Result<Self, Refusal> {
        let escrow: Escrow =
            serde_json::from_str(&row.snapshot).map_err(|error| inconsistent(row.id, error))?;
        let escrow = escrow.awaiting(row.updated_at);
        if escrow.contract.escrow_id != row.id {
            return Err(inconsistent(row.id, "the snapshot is of another escrow"));
        }
        Ok(Self { escrow: Arc::new(escrow), version: row.version, watch_from: row.watch_from })
    }
}

/// One event for each party and notice, in order.
pub(super) fn events(
    escrow: &Escrow,
    version: i64,
    effects: &[Effect],
    at: Timestamp,
) -> Result<Vec<NewEvent>, serde_json::Error> {
    let mut events = Vec::new();
    let notices = effects.iter().filter_map(|effect| match effect {
        Effect::Notify(notice) => Some(notice),
        Effect::Watch(_) => None,
    });
    for (index, notice) in (0u32..).zip(notices) {
        let payload = payload(notice)?;
        for role in Role::ALL {
            let (id, user) = (escrow.contract.escrow_id, escrow.contract.party(role).user_id);
            events.push(NewEvent {
                event_id: event_id(id, version, index, user, at),
                user_id: user,
                escrow_id: Some(id),
                kind: notice.kind().to_owned(),
                payload: payload.clone(),
            });
        }
    }
    Ok(events)
}

/// What the traders are told, under the escrow whose place this one takes.
pub(super) fn replaced(escrow: &Escrow) -> Result<Vec<NewEvent>, serde_json::Error> {
    let Some(old) = escrow.replaces else { return Ok(Vec::new()) };
    let notice = Notice::EscrowReplaced { by: escrow.contract.escrow_id };
    let payload = payload(&notice)?;
    let traders = Role::ALL.into_iter().filter(|role| role.is_trader());
    let told = traders.map(|role| escrow.contract.party(role).user_id).map(|user_id| NewEvent {
        // Nothing else happens to the old one at a version that it never had.
        event_id: event_id(old, i64::MAX, 0, user_id, escrow.created_at),
        user_id,
        escrow_id: Some(old),
        kind: notice.kind().to_owned(),
        payload: payload.clone(),
    });
    Ok(told.collect())
}

/// The notice's data without its type, which has a column of its own.
fn payload(notice: &Notice) -> Result<String, serde_json::Error> {
    let whole = serde_json::to_value(notice)?;
    serde_json::to_string(whole.get("data").unwrap_or(&serde_json::Value::Null))
}

/// Always the same for the same notice of the same change: a version 8 UUID (RFC 9562) of the change's time and a hash.
/// The time in front keeps new ids together in their index; scattered ones would dirty a page each.
fn event_id(escrow: EscrowId, version: i64, index: u32, user: UserId, at: Timestamp) -> Uuid {
    let hash = Sha256::new()
        .chain_update(escrow.0.as_bytes())
        .chain_update(version.to_be_bytes())
        .chain_update(index.to_be_bytes())
        .chain_update(user.0.as_bytes())
        .finalize();
    let time = at.as_millisecond().to_be_bytes().into_iter().skip(2);
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(time.chain(hash)).for_each(|(byte, value)| *byte = value);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
