//! Deleting an escrow that has an address: only after a look at chain and mempool that began when it was asked for. What the
//! server happens to know of the mempool may be seconds old, or older where a node was away.

use aegis_common::escrow::state::Status;
use aegis_common::ids::UserId;

use super::directory::Channel;
use super::escrow::{Fault, Work, store_refusal};
use super::message::{Command, Refusal, Snapshot};
use super::world::World;

/// Has the chain looked at, then tells the escrow.
pub(super) async fn delete(
    channel: &Channel,
    world: &World,
    by: UserId,
    expected: Option<i64>,
) -> Result<Snapshot, Fault> {
    let escrow = channel.ask(Work::Command(Command::Read), None).await?.escrow;
    // Nobody else may delete it, and at no other time: that is refused without a look.
    let may = escrow.initiator == by && escrow.status() == Status::PendingFunding;
    if may && escrow.setup.address().is_some() {
        let looked = tokio::time::timeout(world.look_patience, world.looks.fresh()).await;
        looked.map_err(|_| Refusal::Unavailable)?;
        let id = escrow.contract.escrow_id;
        let watched = world.store.watched_one(id).await.map_err(|error| store_refusal(id, &error))?;
        // It is looked for at all, and has been told of all old blocks.
        let told = watched.is_some_and(|watched| watched.behind_from.is_none());
        if !told || !world.watched.contains(id) {
            return Err(Refusal::Unavailable.into());
        }
    }
    channel.ask(Work::Command(Command::Delete { by }), expected).await
}
