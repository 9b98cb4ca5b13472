//! Deadlines. They stand in the database, so a restart or a step of the clock loses none: whatever is due by the clock
//! is told, and the rules refuse what is not due any more.
//!
//! What expiry means depends on what is final by then. So nothing is told while the chain is not followed, after a start
//! or because no node answers: otherwise a payment that became final meanwhile would count as never made.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use actix::Recipient;
use aegis_common::ids::EscrowId;

use super::message::{Command, Tell};
use super::outages::Pulse;
use super::sweep::{tell_each, warn};
use super::world::World;
use crate::store::MAX_PAGE;

/// Due escrows that are read at once.
const BATCH: usize = 500;

/// The loop that tells escrows their time has come.
pub(super) struct Timers {
    world: Arc<World>,
    tell: Recipient<Tell>,
    poll: Duration,
    pulse: Pulse,
    /// Whether the last look at the chain succeeded and all of it was told.
    is_followed: Box<dyn Fn() -> bool>,
    /// An escrow that could not be told is left alone until then, so that it does not hide those behind it.
    resting: HashMap<EscrowId, Instant>,
}

impl Timers {
    pub fn new(
        world: Arc<World>,
        tell: Recipient<Tell>,
        poll: Duration,
        is_followed: impl Fn() -> bool + 'static,
    ) -> Self {
        let (pulse, is_followed) = (Pulse::default(), Box::new(is_followed));
        Self { world, tell, poll, pulse, is_followed, resting: HashMap::new() }
    }

    /// Never ends.
    pub async fn run(mut self) {
        loop {
            if !self.beat().await || !(self.is_followed)() || !self.round().await {
                tokio::time::sleep(self.poll).await;
            }
        }
    }

    /// False while it can't be told how long no server ran: nobody may count as late for that time.
    async fn beat(&mut self) -> bool {
        let World { store, clock, outages, .. } = &*self.world;
        match self.pulse.beat(store, outages, clock.now()).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "it could not be noted that the server runs");
                false
            }
        }
    }

    /// One look. True if more may be due at once.
    pub async fn round(&mut self) -> bool {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let limit = (BATCH + self.resting.len()).min(MAX_PAGE);
        let due = match self.world.store.due_by_time(self.world.clock.now(), limit).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "deadlines could not be read");
                return false;
            }
        };
        let full = due.len() == limit;
        let due: Vec<EscrowId> = due.into_iter().filter(|id| !self.resting.contains_key(id)).collect();
        let failed = tell_each(&self.tell, &due, || Command::Timer).await;
        let until = Instant::now() + self.poll.saturating_mul(10);
        warn("deadline", &failed);
        self.resting.extend(failed.into_iter().map(|(id, _)| (id, until)));
        self.world.counters.deadline_looks.fetch_add(1, Relaxed);
        full && !due.is_empty()
    }
}
