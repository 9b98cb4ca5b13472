//! Escrows that do not go on, for whoever runs the server.

use aegis_common::escrow::stall::{Stall, Why};
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::time::{SignedDuration, Timestamp};
use aegis_common::wire::operator::{StuckEscrow, StuckPage};

use super::reading::{Escrows, Kept, ReadError};
use crate::store::EscrowRow;

/// Escrows read at once: a snapshot can be large.
const STEP: usize = 10;
/// Escrows that one page looks at, and bytes of their snapshots.
const LOOKED_AT: usize = 500;
const BYTES: usize = 16 << 20;
/// An escrow that begins to be watched has caught up by then.
const BEHIND: SignedDuration = SignedDuration::from_mins(30);

impl Escrows {
    /// Escrows that are not over, or give back what came late, and don't go on as they should, those that have not changed for longest first; with `waiting` also those
    /// that merely wait for somebody. A page may hold fewer than `limit`, or none, although more follow: `next` tells. `resting`
    /// are those whose actors are left alone.
    pub async fn stuck(
        &self,
        waiting: bool,
        resting: &[EscrowId],
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<StuckPage, ReadError> {
        let mut at = after.map(|text| cursor(text).ok_or(ReadError::BadCursor)).transpose()?;
        let (mut escrows, mut seen, mut bytes) = (Vec::new(), 0, 0);
        while seen < LOOKED_AT && bytes < BYTES {
            let rows = self.store.open_escrows(at, STEP).await?;
            let more = rows.len() == STEP;
            for row in rows {
                if escrows.len() == limit {
                    return Ok(StuckPage { escrows, next: at.map(text) });
                }
                (at, seen, bytes) = (Some((row.updated_at, row.id)), seen + 1, bytes + row.snapshot.len());
                let found = stuck(&row, resting.contains(&row.id), now);
                let shown = found.is_overdue() || waiting && !found.stalls.is_empty();
                escrows.extend(shown.then_some(found));
            }
            if !more {
                return Ok(StuckPage { escrows, next: None });
            }
        }
        Ok(StuckPage { escrows, next: at.map(text) })
    }
}

fn stuck(row: &EscrowRow, rests: bool, now: Timestamp) -> StuckEscrow {
    let kept = Kept::decode(row).ok();
    let escrow = kept.as_ref().map(|kept| &kept.escrow);
    let mut stalls = match escrow {
        Some(escrow) => escrow.stalls(row.updated_at, now),
        None => vec![Stall::trouble(Why::Unreadable, None)],
    };
    if row.behind_from.is_some() && now.duration_since(row.updated_at) > BEHIND {
        // Its deadlines wait for that, so they are no trouble of their own.
        stalls.retain(|stall| stall.why != Why::Deadline);
        stalls.push(Stall::trouble(Why::Chain, Some(row.updated_at)));
    }
    if rests {
        stalls.push(Stall::trouble(Why::Actor, None));
    }
    let name = |escrow: &aegis_common::escrow::state::Escrow| {
        Role::ALL.map(|role| escrow.contract.party(role).username.clone()).to_vec()
    };
    StuckEscrow {
        escrow_id: row.id,
        version: row.version,
        status: escrow.map(|escrow| escrow.status()),
        changed_at: row.updated_at,
        parties: escrow.map(name).unwrap_or_default(),
        stalls,
    }
}

/// A cursor: milliseconds and id.
fn text((changed, id): (Timestamp, EscrowId)) -> String {
    format!("{}-{id}", changed.as_millisecond())
}

fn cursor(text: &str) -> Option<(Timestamp, EscrowId)> {
    let (changed, id) = text.split_once('-')?;
    Some((Timestamp::from_millisecond(changed.parse().ok()?).ok()?, id.parse().ok()?))
}
