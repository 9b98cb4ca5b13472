//! Deleting an escrow that has an address: only after a look at chain and mempool that began when it was asked for. What the
//! server happens to know of the mempool may be seconds old, or older where a node was away.

use std::sync::PoisonError;

use aegis_common::escrow::state::{Escrow, Status};
use aegis_common::escrow::transition::Rejected;
use aegis_common::ids::{EscrowId, UserId};

use super::directory::Channel;
use super::escrow::{Fault, Work, store_refusal};
use super::message::{Command, Refusal, Snapshot};
use super::world::World;

/// How often a deletion that needs no look is tried while others say something.
const TRIES: usize = 4;

/// Has the chain looked at, then tells the escrow.
pub(super) async fn delete(
    channel: &Channel,
    world: &World,
    by: UserId,
    expected: Option<i64>,
) -> Result<Snapshot, Fault> {
    for _ in 0..TRIES {
        let Snapshot { escrow, version, .. } = channel.ask(Work::Command(Command::Read), None).await?;
        // To everybody else it doesn't exist.
        if escrow.contract.role_of(by).is_none() {
            return Err(Refusal::NotFound.into());
        }
        if expected.is_some_and(|expected| expected != version) {
            return Err(Refusal::Stale { actual: version }.into());
        }
        if needs_look(&escrow, by) {
            return looked_at(channel, world, by, escrow.contract.escrow_id, expected).await;
        }
        // Nor must it need one when it is decided: the address could come in between.
        let answer = channel.ask(Work::Command(Command::Delete { by }), Some(version)).await;
        if !(expected.is_none() && matches!(answer, Err(Fault::Refused(Refusal::Stale { .. })))) {
            return answer;
        }
    }
    Err(Refusal::Busy.into())
}

async fn looked_at(
    channel: &Channel,
    world: &World,
    by: UserId,
    id: EscrowId,
    expected: Option<i64>,
) -> Result<Snapshot, Fault> {
    // Each waits in the escrow's mailbox, where there is room for others as well.
    let _turn = Turn::take(world, id).ok_or(Refusal::Busy)?;
    let looked = tokio::time::timeout(world.look_patience, world.looks.fresh()).await;
    looked.map_err(|_| Refusal::Unavailable)?;
    let watched = world.store.watched_one(id).await.map_err(|error| store_refusal(id, &error))?;
    // It is looked for at all, and has been told of all old blocks.
    let told = watched.is_some_and(|watched| watched.behind_from.is_none());
    if !told || !world.watched.contains(id) {
        return Err(Refusal::Unavailable.into());
    }
    let answer = channel.ask(Work::Command(Command::Delete { by }), expected).await;
    if matches!(answer, Err(Fault::Refused(Refusal::Stale { .. }))) {
        // What was found made it another version; why it is not deleted is said all the same.
        let found = channel.ask(Work::Command(Command::Read), None).await?;
        if has_funds(&found.escrow) {
            return Err(Refusal::Rejected(Rejected::FundsSeen).into());
        }
    }
    answer
}

/// Whether money may be on its way unseen. Nobody but its initiator may delete an escrow, at no other time, and not where money was
/// seen: that is refused without a look.
fn needs_look(escrow: &Escrow, by: UserId) -> bool {
    let may = escrow.initiator == by && escrow.status() == Status::PendingFunding;
    may && escrow.setup.address().is_some() && !has_funds(escrow)
}

fn has_funds(escrow: &Escrow) -> bool {
    !escrow.deposits.all().is_empty()
}

/// The one who waits for a look to delete an escrow.
struct Turn<'a> {
    world: &'a World,
    id: EscrowId,
}

impl<'a> Turn<'a> {
    fn take(world: &'a World, id: EscrowId) -> Option<Self> {
        let is_free = world.deleting.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        is_free.then_some(Self { world, id })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.world.deleting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
