//! From an escrow's id to its actor: wakes, supervises, puts to sleep.
//!
//! Actors end when the directory drops their address: what is in their mailbox is worked off first. A panic is caught
//! inside the actor; the directory drops it, and a fresh one starts from disk with the next command after a pause.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use actix::dev::SendError;
use actix::{
    Actor, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context, Handler, ResponseActFuture,
    ResponseFuture, WrapFuture,
};
use aegis_common::ids::EscrowId;
use tokio::sync::oneshot;

use super::create;
use super::delete::delete;
use super::escrow::{Do, EscrowActor, Fault, Work};
use super::lookup::{Finder, look_up};
use super::message::{Command, Create, Refusal, Snapshot, Tell};
use super::troubles::Next;
use super::world::World;

/// Bounds of the directory and its actors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Messages that may wait for the directory itself, which only passes them on.
    pub mailbox: usize,
    /// People's commands are refused while so many are under way with one escrow. Counted here: an actor's mailbox has
    /// a slot for every clone of its address beyond its capacity, so that alone bounds nothing. News from the chain and
    /// timers pass: they come one by one, and nobody shall hold up the chain by keeping an escrow busy.
    pub escrow_mailbox: usize,
    /// Actors alive at once; the ones that rested longest go first.
    pub live: usize,
    /// An actor that had nothing to do for so long is put to sleep.
    pub idle: Duration,
}

struct Lane {
    addr: Addr<EscrowActor>,
    used: Instant,
    /// Tells this actor from the one before it.
    number: u64,
    /// Cloned into every request under way.
    in_use: Arc<()>,
}

impl Lane {
    fn under_way(&self) -> usize {
        Arc::strong_count(&self.in_use) - 1
    }
}

/// A way to one actor; while it exists the actor is not put to sleep.
pub(super) struct Channel {
    addr: Addr<EscrowActor>,
    number: u64,
    _in_use: Arc<()>,
}

impl Channel {
    /// Puts an order into the mailbox at once, so that orders keep their order, and gives the answer to wait for.
    pub fn ask(
        &self,
        work: Work,
        expected: Option<i64>,
    ) -> impl Future<Output = Result<Snapshot, Fault>> + 'static {
        let (reply, answer) = oneshot::channel();
        let sent = self.addr.try_send(Do { work, expected, reply });
        async move {
            match sent {
                Ok(()) => answer.await.unwrap_or(Err(Fault::Panicked)),
                Err(SendError::Full(_)) => Err(Refusal::Busy.into()),
                Err(SendError::Closed(_)) => Err(Fault::Panicked),
            }
        }
    }
}

pub(super) struct Directory {
    world: Arc<World>,
    finder: Arc<dyn Finder>,
    limits: Limits,
    /// Where escrow actors run; none for the directory's own thread.
    arbiters: Vec<ArbiterHandle>,
    lanes: HashMap<EscrowId, Lane>,
    next: u64,
}

impl Directory {
    pub fn new(
        world: Arc<World>,
        finder: Arc<dyn Finder>,
        limits: Limits,
        arbiters: Vec<ArbiterHandle>,
    ) -> Self {
        Self { world, finder, limits, arbiters, lanes: HashMap::new(), next: 0 }
    }

    fn channel(&mut self, id: EscrowId, from_people: bool) -> Result<Channel, Refusal> {
        let now = Instant::now();
        if self.world.troubles().rests(id, now) {
            return Err(Refusal::Failed);
        }
        if !self.lanes.contains_key(&id) {
            self.wake(id, now)?;
        }
        let lane = self.lanes.get_mut(&id).ok_or(Refusal::Busy)?;
        lane.used = now;
        if from_people && lane.under_way() >= self.limits.escrow_mailbox {
            return Err(Refusal::Busy);
        }
        Ok(Channel { addr: lane.addr.clone(), number: lane.number, _in_use: Arc::clone(&lane.in_use) })
    }

    fn wake(&mut self, id: EscrowId, now: Instant) -> Result<(), Refusal> {
        if self.lanes.len() >= self.limits.live {
            self.make_room();
        }
        if self.lanes.len() >= self.limits.live {
            return Err(Refusal::Busy);
        }
        let (world, mailbox) = (Arc::clone(&self.world), self.limits.escrow_mailbox.saturating_mul(2));
        let make = move |ctx: &mut Context<EscrowActor>| {
            ctx.set_mailbox_capacity(mailbox);
            EscrowActor::new(id, world)
        };
        self.next += 1;
        let count = self.arbiters.len() as u64;
        let place = self.next.checked_rem(count).and_then(|place| usize::try_from(place).ok());
        let addr = match place.and_then(|place| self.arbiters.get(place)) {
            Some(arbiter) => EscrowActor::start_in_arbiter(arbiter, make),
            None => EscrowActor::create(make),
        };
        let lane = Lane { addr, used: now, number: self.next, in_use: Arc::default() };
        self.lanes.insert(id, lane);
        self.world.counters.activated.fetch_add(1, Relaxed);
        self.count_live();
        Ok(())
    }

    fn count_live(&self) {
        self.world.counters.live.store(self.lanes.len() as u64, Relaxed);
    }

    /// Puts those to sleep that have been idle since before `since`.
    fn passivate(&mut self, since: Instant) {
        let before = self.lanes.len();
        self.lanes.retain(|_, lane| lane.used > since || lane.under_way() > 0);
        if self.lanes.capacity() > self.lanes.len().saturating_mul(4) {
            self.lanes.shrink_to_fit();
        }
        self.world.counters.passivated.fetch_add((before - self.lanes.len()) as u64, Relaxed);
        self.count_live();
    }

    /// Puts the half to sleep that has rested longer.
    fn make_room(&mut self) {
        let mut used: Vec<Instant> = self.lanes.values().map(|lane| lane.used).collect();
        let middle = used.len() / 2;
        if middle < used.len() {
            let (_, since, _) = used.select_nth_unstable(middle);
            let since = *since;
            self.passivate(since);
        }
    }

    /// Draws the consequences of an answer.
    fn settle(
        &mut self,
        id: EscrowId,
        number: u64,
        answer: Result<Snapshot, Fault>,
    ) -> Result<Snapshot, Refusal> {
        let fault = match answer {
            Ok(snapshot) => return Ok(snapshot),
            Err(Fault::Refused(refusal)) => return Err(refusal),
            Err(fault) => fault,
        };
        let mine = self.lanes.get(&id).is_some_and(|lane| lane.number == number);
        if mine {
            self.lanes.remove(&id);
            self.count_live();
        }
        match fault {
            Fault::Missing => return Err(Refusal::NotFound),
            Fault::Panicked if mine => {
                let counters = &self.world.counters;
                counters.restarted.fetch_add(1, Relaxed);
                let next = self.world.troubles().failed(id, Instant::now());
                match next {
                    Next::Restart => {
                        tracing::warn!(escrow = %id, "an escrow's actor panicked, restarting it")
                    }
                    Next::GivenUp => {
                        counters.given_up.fetch_add(1, Relaxed);
                        tracing::error!(escrow = %id, "an escrow's actor keeps panicking, leaving it alone");
                    }
                }
            }
            // Of several commands that met the same dead actor the first has counted it.
            Fault::Panicked | Fault::Refused(_) => {}
        }
        Err(Refusal::Failed)
    }
}

impl Actor for Directory {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.limits.mailbox);
        let idle = self.limits.idle;
        let every = (idle / 4).max(Duration::from_millis(10));
        ctx.run_interval(every, move |directory, _| {
            let now = Instant::now();
            if let Some(since) = now.checked_sub(idle) {
                directory.passivate(since);
            }
            directory.world.troubles().forget_old(now);
        });
    }
}

impl Handler<Tell> for Directory {
    type Result = ResponseActFuture<Self, Result<Snapshot, Refusal>>;

    fn handle(&mut self, tell: Tell, _: &mut Self::Context) -> Self::Result {
        let Tell { id, command, expected } = tell;
        let from_people =
            matches!(command, Command::Statement { .. } | Command::Delete { .. } | Command::Read);
        let channel = match self.channel(id, from_people) {
            Ok(channel) => channel,
            Err(refusal) => return Box::pin(async { Err(refusal) }.into_actor(self)),
        };
        let number = channel.number;
        let (world, finder) = (Arc::clone(&self.world), Arc::clone(&self.finder));
        // What the escrow alone decides goes into its mailbox at once; the rest asks elsewhere first.
        let work: Pin<Box<dyn Future<Output = _>>> = match command {
            Command::LookUp => Box::pin(async move { look_up(&channel, &world, &*finder).await }),
            Command::Delete { by } => Box::pin(async move { delete(&channel, &world, by, expected).await }),
            command => {
                let answer = channel.ask(Work::Command(command), expected);
                Box::pin(async move {
                    let answer = answer.await;
                    drop(channel);
                    answer
                })
            }
        };
        Box::pin(work.into_actor(self).map(move |answer, directory, _| directory.settle(id, number, answer)))
    }
}

impl Handler<Create> for Directory {
    type Result = ResponseFuture<Result<Snapshot, Refusal>>;

    fn handle(&mut self, create: Create, _: &mut Self::Context) -> Self::Result {
        Box::pin(create::create(Arc::clone(&self.world), create))
    }
}
