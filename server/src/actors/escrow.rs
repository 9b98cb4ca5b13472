//! One escrow's actor: decides, commits, swaps; one command at a time.
//!
//! It loads its state with its first command. What it holds is always what it committed or loaded last, never more:
//! a failed commit leaves it as it was. The compare-and-swap on the version finds out when another server was faster;
//! then the state is loaded anew and the command decided again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix::{Actor, ActorFutureExt, AtomicResponse, Context, Handler, Message, WrapFuture};
use aegis_common::escrow::event::Event;
use aegis_common::escrow::record::Entry;
use aegis_common::escrow::transition::Rejected;
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::reputation::Ending;
use aegis_common::time::Timestamp;
use futures_util::FutureExt;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::decide::{Change, Order, Verdict, decide};
use super::message::{Command, Refusal, Snapshot};
use super::rows::{self, Held, inconsistent};
use super::world::World;
use crate::store::{Commit, CommitError, Expected, JournalRow, StoreError};

/// How often one command is decided when others keep being faster. Two servers that follow one chain meet once a
/// command; more than this is no coincidence.
const TRIES: usize = 4;

/// What an actor is to do.
pub(super) enum Work {
    /// Somebody's command.
    Command(Command),
    /// What a look-up found.
    Event(Event),
}

/// An order with the place where its answer goes. Sent with `try_send`, so that a full mailbox is noticed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Do {
    pub work: Work,
    pub expected: Option<i64>,
    pub reply: oneshot::Sender<Result<Snapshot, Fault>>,
}

/// Why an order was not carried out.
pub(super) enum Fault {
    /// It is refused.
    Refused(Refusal),
    /// There is no such escrow: the actor has no reason to live.
    Missing,
    /// The handler panicked: the actor must go.
    Panicked,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

pub(super) struct EscrowActor {
    desk: Arc<Desk>,
    held: Option<Held>,
    /// After a panic nothing is believed any more: a fresh actor takes over.
    broken: bool,
}

impl EscrowActor {
    pub fn new(id: EscrowId, world: Arc<World>) -> Self {
        Self { desk: Arc::new(Desk { id, world }), held: None, broken: false }
    }
}

impl Actor for EscrowActor {
    type Context = Context<Self>;
}

impl Handler<Do> for EscrowActor {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, order: Do, _: &mut Self::Context) -> Self::Result {
        let Do { work, expected, reply } = order;
        let (desk, held, broken) = (Arc::clone(&self.desk), self.held.clone(), self.broken);
        let handled = async move {
            if broken { (None, Err(Refusal::Failed.into())) } else { desk.handle(held, work, expected).await }
        };
        let contained = AssertUnwindSafe(handled).catch_unwind().into_actor(self);
        AtomicResponse::new(Box::pin(contained.map(move |outcome, actor, _| {
            let answer = match outcome {
                Ok((held, answer)) => {
                    actor.held = held;
                    answer
                }
                Err(_) => {
                    actor.held = None;
                    actor.broken = true;
                    Err(Fault::Panicked)
                }
            };
            // Whoever asked may have gone; what was committed stands all the same.
            let _ = reply.send(answer);
        })))
    }
}

/// Where one escrow's commands are worked on.
struct Desk {
    id: EscrowId,
    world: Arc<World>,
}

/// Why a command could not be finished with the state at hand.
enum Halt {
    Refused(Refusal),
    /// The state on disk may be another: load it and try again.
    Outdated,
}

type Outcome = (Option<Held>, Result<Snapshot, Fault>);

impl Desk {
    async fn handle(&self, held: Option<Held>, work: Work, expected: Option<i64>) -> Outcome {
        #[cfg(test)]
        self.call_hook(&work);
        let order = Order::from(work).at_most(self.world.tip.height());
        let mut from_memory = held.is_some();
        let mut held = held;
        if self.world.several_servers && matches!(order, Order::Read) {
            held = None;
        }
        for _ in 0..TRIES {
            let now = match held.take() {
                Some(held) => held,
                None => match self.load().await {
                    Ok(held) => held,
                    Err(fault) => return (None, Err(fault)),
                },
            };
            match self.attempt(&now, &order, expected).await {
                Ok((next, statement)) => {
                    let snapshot =
                        Snapshot { escrow: Arc::clone(&next.escrow), version: next.version, statement };
                    return (Some(next), Ok(snapshot));
                }
                Err(Halt::Refused(refusal)) => {
                    // Another server may have moved on since: only what is on disk can refuse.
                    if !(self.world.several_servers && from_memory && may_depend_on_state(&refusal)) {
                        return (Some(now), Err(refusal.into()));
                    }
                }
                Err(Halt::Outdated) => {}
            }
            from_memory = false;
        }
        (None, Err(Refusal::Busy.into()))
    }

    #[cfg(test)]
    fn call_hook(&self, work: &Work) {
        let hook = self.world.hook.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(&self.id, work);
        }
    }

    async fn load(&self) -> Result<Held, Fault> {
        let row = self.world.store.escrow(self.id).await.map_err(|error| store_refusal(self.id, &error))?;
        let row = row.ok_or(Fault::Missing)?;
        // The commit that began the watch may have become durable without anybody hearing of it.
        if row.watching && row.behind_from.is_some() && !self.world.watched.contains(self.id) {
            self.world.watch_again(self.id).await.map_err(|error| store_refusal(self.id, &error))?;
        }
        Ok(Held::from_row(row)?)
    }

    async fn attempt(
        &self,
        held: &Held,
        order: &Order,
        expected: Option<i64>,
    ) -> Result<(Held, Option<Hash32>), Halt> {
        let now = self.world.clock.now();
        let brought = match order {
            Order::Timer => Some(self.by_the_clock(held, now).map_err(Halt::Refused)?),
            _ => None,
        };
        let order = brought.as_ref().unwrap_or(order);
        match decide(held, order, expected, now).map_err(Halt::Refused)? {
            Verdict::Nothing(statement) => Ok((held.clone(), statement)),
            Verdict::Change(change) => {
                let statement = change.statement;
                Ok((self.make_durable(held, order, *change, now).await?, statement))
            }
        }
    }

    /// What is due now: more time for an answer, where no server ran meanwhile.
    fn by_the_clock(&self, held: &Held, now: Timestamp) -> Result<Order, Refusal> {
        let due = || held.escrow.due(now).map(|due| Event::Timer { due: Some(due) });
        let event = self.world.outages.put_off(&held.escrow, now).or_else(due);
        let event = event.ok_or(Refusal::Rejected(Rejected::NotDue))?;
        Ok(Order::Apply { by: None, event, view_key: None })
    }

    async fn make_durable(
        &self,
        held: &Held,
        order: &Order,
        change: Change,
        now: Timestamp,
    ) -> Result<Held, Halt> {
        let watch_from = match held.watch_from {
            None if change.watch => Some(self.world.next_block(self.id).await.map_err(Halt::Refused)?),
            known => known,
        };
        let next = Held { escrow: Arc::clone(&change.next), version: held.version + 1, watch_from };
        let commit = self.commit(held, &next, order, &change, now).map_err(Halt::Refused)?;
        match self.world.store.commit(commit).await {
            Ok(_) => {}
            Err(CommitError::Stale { .. } | CommitError::Duplicate) => return Err(Halt::Outdated),
            Err(CommitError::Uncertain(_)) => {
                let stored = self.load().await.map_err(|_| Halt::Outdated)?;
                if stored.version != next.version || stored.escrow != next.escrow {
                    return Err(Halt::Outdated);
                }
            }
            Err(error) => return Err(Halt::Refused(commit_refusal(self.id, &error))),
        }
        if let (Some(key), Some(from), true) = (change.attested, next.watch_from, change.watch) {
            self.world.watched.add(key, from);
        }
        self.world.committed.notify_one();
        Ok(next)
    }

    fn commit(
        &self,
        held: &Held,
        next: &Held,
        order: &Order,
        change: &Change,
        now: Timestamp,
    ) -> Result<Commit, Refusal> {
        let Order::Apply { event, .. } = order else {
            return Err(inconsistent(self.id, "reading changes nothing"));
        };
        let entry = Entry { event: event.clone(), at: now };
        let journal = JournalRow {
            escrow_id: self.id,
            version: next.version,
            at: now,
            event: entry.to_text().map_err(|error| inconsistent(self.id, error))?,
            statement_hash: change.statement,
        };
        let events = rows::events(&next.escrow, next.version, &change.effects, now);
        // Only a key that was checked against an attested address: others may come with any statement.
        let attested = change.attested.as_ref();
        Ok(Commit {
            escrow: next.to_row(now)?,
            expected: Expected::Version(held.version),
            journal: Some(journal),
            events: events.map_err(|error| inconsistent(self.id, error))?,
            idempotency: None,
            view_key: attested.map(|key| Zeroizing::new(key.view_secret().to_bytes())),
            title: None,
            spend_keys: attested.map(|key| *key.spend_keys()),
            replaces: None,
            ending: Ending::of(&next.escrow, now).filter(|_| !held.escrow.status().is_over()),
        })
    }
}

/// Refusals that another state could turn into something else.
fn may_depend_on_state(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Rejected(_) | Refusal::Stale { .. })
}

pub(super) fn commit_refusal(id: EscrowId, error: &CommitError) -> Refusal {
    match error {
        CommitError::Full => Refusal::Full,
        // Whoever wanted it orders anew.
        CommitError::Busy | CommitError::Undone => Refusal::Busy,
        CommitError::Missing => Refusal::NotFound,
        CommitError::IdempotencyConflict => Refusal::IdempotencyConflict,
        CommitError::Unavailable(_) | CommitError::Uncertain(_) => {
            tracing::error!(escrow = %id, %error, "an escrow could not be committed");
            Refusal::Unavailable
        }
        CommitError::Stale { .. } | CommitError::Duplicate | CommitError::Inconsistent(_) => {
            inconsistent(id, error)
        }
    }
}

pub(super) fn store_refusal(id: EscrowId, error: &StoreError) -> Refusal {
    match error {
        StoreError::Full => Refusal::Full,
        StoreError::Busy => Refusal::Busy,
        StoreError::Unavailable(_) | StoreError::Uncertain(_) => Refusal::Unavailable,
        _ => inconsistent(id, error),
    }
}
