//! Creating an escrow: its first row, at version 1. The journal begins with the event that leads to version 2.

use std::sync::Arc;

use aegis_common::escrow::effect::{Effect, Notice};
use aegis_common::escrow::state::{Escrow, Opening};
use aegis_common::ids::EscrowId;
use serde::{Deserialize, Serialize};

use super::escrow::{commit_refusal, store_refusal};
use super::message::{Create, Refusal, Snapshot};
use super::rows::{self, Held, inconsistent};
use super::world::World;
use crate::store::{Commit, CommitError, Expected, IdempotencyRow};

/// The version of an escrow to which nothing has happened.
const FIRST: i64 = 1;
/// HTTP 201: what the request was answered with.
const CREATED: u16 = 201;

/// What is kept of the answer: enough to give it again.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Answer {
    escrow_id: EscrowId,
}

pub(super) async fn create(world: Arc<World>, create: Create) -> Result<Snapshot, Refusal> {
    let Create { contract, initiator, replaces, idempotency: (key, request_hash) } = create;
    let id = contract.escrow_id;
    let now = world.clock.now();
    let opening = Opening { initiator, replaces, patience: world.patience };
    let escrow = Escrow::create(contract, opening, now).map_err(|error| inconsistent(id, error))?;
    let watch_from = match world.next_block(id).await {
        Ok(height) => Some(height),
        // A server that has seen nothing of the chain yet finds out when the address is ready.
        Err(Refusal::Unavailable) => None,
        Err(refusal) => return Err(refusal),
    };
    let held = Held { escrow: Arc::new(escrow), version: FIRST, watch_from };
    let arbiter = held.escrow.contract.arbiter.user_id;
    let announced = [Notice::EscrowInit {}, Notice::EscrowAssigned { arbiter }].map(Effect::Notify);
    let response = serde_json::to_string(&Answer { escrow_id: id }).map_err(|e| inconsistent(id, e))?;
    let mut events = rows::events(&held.escrow, FIRST, &announced, now).map_err(|e| inconsistent(id, e))?;
    events.extend(rows::replaced(&held.escrow).map_err(|e| inconsistent(id, e))?);
    let commit = Commit {
        escrow: held.to_row(now)?,
        expected: Expected::New,
        journal: None,
        events,
        idempotency: Some(IdempotencyRow {
            user_id: initiator,
            key: key.clone(),
            request_hash,
            status: CREATED,
            response,
            created_at: now,
        }),
        view_key: None,
        title: Some(held.escrow.contract.title.clone()),
        spend_keys: None,
        ending: None,
        replaces,
    };
    match world.store.commit(commit).await {
        Ok(_) => {
            world.committed.notify_one();
            Ok(Snapshot { escrow: held.escrow, version: FIRST, statement: None })
        }
        Err(CommitError::IdempotencyConflict) => {
            let known = world.store.idempotency(initiator, key).await;
            let known = known.map_err(|error| store_refusal(id, &error))?;
            // It was there a moment ago; gone means that its day is over just now.
            let known = known.ok_or(Refusal::Busy)?;
            if known.request_hash != request_hash {
                return Err(Refusal::IdempotencyConflict);
            }
            answer_again(&world, &known.response).await.ok_or(Refusal::Unavailable)
        }
        // Another request is making the same: whoever repeats this one finds it.
        Err(CommitError::Duplicate) => Err(Refusal::Busy),
        Err(error) => Err(commit_refusal(id, &error)),
    }
}

/// The escrow that the first of equal requests made, as it stands now.
async fn answer_again(world: &World, response: &str) -> Option<Snapshot> {
    let answer: Answer = serde_json::from_str(response).ok()?;
    let row = world.store.escrow(answer.escrow_id).await.ok()??;
    let held = Held::from_row(row).ok()?;
    Some(Snapshot { escrow: held.escrow, version: held.version, statement: None })
}
