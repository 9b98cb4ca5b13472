//! Telling people that their arbiter has fallen silent while money depends on it: a dispute in a week should not be the moment
//! at which they find out.

use aegis_common::ids::{EscrowId, UserId};
use aegis_common::time::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{ArbiterError, Arbiters};
use crate::store::{NewEvent, Unattended};

/// Arbiters looked after in one round, and escrows told at once.
const BATCH: usize = 200;

impl Arbiters {
    /// One round. Each silence is told once in each escrow, also in one that is funded while it lasts; what a crash interrupts is
    /// told at the next round, and nothing of it twice.
    pub async fn watch(&self) -> Result<(), ArbiterError> {
        let now = self.clock.now();
        let before = self.store.silent_before(now, self.usual.silent).await?;
        let mut last = None;
        loop {
            let silent = self.store.silent_arbiters(before, last, BATCH).await?;
            last = silent.last().copied();
            let full = silent.len() == BATCH;
            for (arbiter, since) in silent {
                self.tell_of(arbiter, since, now).await?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    async fn tell_of(&self, arbiter: UserId, since: Timestamp, now: Timestamp) -> Result<(), ArbiterError> {
        let mut after = None;
        loop {
            let page = self.store.unattended(arbiter, after, BATCH).await?;
            after = page.last().map(|row| row.escrow);
            let full = page.len() == BATCH;
            let told = page.iter().flat_map(|row| notices(row, since)).collect();
            self.store.tell_once(told, now).await?;
            if !full {
                return Ok(());
            }
        }
    }
}

fn notices(row: &Unattended, since: Timestamp) -> impl Iterator<Item = NewEvent> {
    let escrow = row.escrow;
    row.parties.into_iter().map(move |user_id| NewEvent {
        event_id: event_id("arbiter silent", escrow, user_id, since),
        user_id,
        escrow_id: Some(escrow),
        kind: "ArbiterSilent".to_owned(),
        payload: json!({ "since": since }).to_string(),
    })
}

/// Always the same for what is told once: a version 8 UUID (RFC 9562).
pub fn event_id(what: &str, escrow: EscrowId, user: UserId, since: Timestamp) -> Uuid {
    let hash = Sha256::new()
        .chain_update(what)
        .chain_update(escrow.0.as_bytes())
        .chain_update(user.0.as_bytes())
        .chain_update(since.as_millisecond().to_be_bytes())
        .finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash).for_each(|(byte, value)| *byte = value);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
