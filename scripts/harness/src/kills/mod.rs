//! Kills the server and participants' programs with SIGKILL at planned points of the stories, and starts them again at
//! once on the same data.
//!
//! The relays tell where the stories are. A kill happens in an exchange of the program that stands in the plan:
//!
//! ```text
//! participant ──► relay ──► server      before: the request is lost
//!                   │  ◄──              amid:   while the server may be at work on it
//!             ◄──   │                   after:  the answer is lost
//!                                       later:  in the middle of whatever follows
//! ```

mod check;
mod schedule;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use aegis_common::ids::EscrowId;
use aegis_common::wire::escrow::{EscrowView, StatementReceipt};
use anyhow::{Context, Result, bail, ensure};
use futures_util::FutureExt;
use tokio::sync::OwnedMutexGuard;

use crate::relay::{Action, Exchange, Hook, Moment};
use crate::world::World;

pub use check::{Facts, nothing_lost};
pub use schedule::{CREATE, Place, Point, Target, When, label, schedule};

/// How long the server may be away before that is an error of its own.
const BACK_LIMIT: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(20);
/// After this a statement that was sent is not sent again: its answer died with a server or program at another point, and
/// its author found it in the transcript. A kill that waited for that answer then takes the next exchange there is.
const MISSED: Duration = Duration::from_secs(8);

/// What the server must know when it is back: the escrow that somebody heard of last, and its version then.
#[derive(Debug, Clone)]
struct Known {
    escrow: EscrowId,
    version: i64,
    person: String,
}

#[derive(Default)]
struct State {
    left: Vec<Point>,
    /// Kills whose place was reached and that have not happened yet.
    under_way: usize,
    /// Which statement is the n-th of its kind: by body, since one that is sent again is the same.
    order: HashMap<String, Vec<Vec<u8>>>,
    /// When each planned place was reached first.
    reached: HashMap<Place, Instant>,
    known: Option<Known>,
    done: Vec<Point>,
    backs: Vec<Duration>,
    errors: Vec<String>,
}

/// What was killed.
#[derive(Debug)]
pub struct Tally {
    /// The kills, in order.
    pub done: Vec<Point>,
    /// Points that never came.
    pub left: Vec<Point>,
    /// From each start of the server until an escrow was shown in a state no older than before.
    pub backs: Vec<Duration>,
    /// Kills and restarts that went wrong.
    pub errors: Vec<String>,
}

/// Follows the plan. Its hooks are in the relays of the world, so only one can be at work.
pub struct Killer {
    // The world owns the relays, and they own the hooks.
    world: Weak<World>,
    state: Mutex<State>,
    /// Held from a kill until its victim is back: one at a time.
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Killer {
    /// Puts a plan to work in a world with relays, from now on.
    pub fn set(world: &Arc<World>, plan: Vec<Point>) -> Result<Arc<Self>> {
        let state = Mutex::new(State { left: plan, ..State::default() });
        let killer = Arc::new(Self { world: Arc::downgrade(world), state, gate: Arc::default() });
        for (name, person) in &world.people {
            let relay = person.relay.as_ref().context("this world has no relays")?;
            let (killer, name, first) = (Arc::clone(&killer), name.clone(), relay.count());
            let hook: Hook = Arc::new(move |moment, exchange| {
                let (killer, name) = (Arc::clone(&killer), name.clone());
                async move { killer.meet(name, exchange.index.checked_sub(first), moment, exchange).await }
                    .boxed()
            });
            relay.set_hook(Some(hook));
        }
        Ok(killer)
    }

    /// Waits until the last victim is back, and tells what was done.
    pub async fn tally(&self) -> Tally {
        while self.state().under_way > 0 {
            tokio::time::sleep(ASK_EVERY).await;
        }
        let _nobody_is_down = self.gate.lock().await;
        let state = std::mem::take(&mut *self.state());
        Tally { done: state.done, left: state.left, backs: state.backs, errors: state.errors }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides over one exchange at one of its two moments.
    async fn meet(
        self: Arc<Self>,
        name: String,
        nth: Option<u64>,
        moment: Moment,
        exchange: Exchange,
    ) -> Action {
        self.remember(&name, moment, &exchange);
        let Some(point) = self.due(&name, nth, moment, &exchange) else { return Action::Pass };
        let pause = match point.when {
            When::Before | When::After => None,
            When::Amid(millis) | When::Later(millis) => Some(Duration::from_millis(millis)),
        };
        // A task of its own: this exchange ends with its program, which another kill may meet first.
        let strike = tokio::spawn(async move {
            tokio::time::sleep(pause.unwrap_or_default()).await;
            self.strike(name, point).await;
        });
        if pause.is_some() {
            return Action::Pass;
        }
        let _ = strike.await;
        Action::Drop
    }

    /// What the server said it has stored must be there after a kill.
    fn remember(&self, name: &str, moment: Moment, exchange: &Exchange) {
        if moment == Moment::BeforeForward || !is_good(exchange) {
            return;
        }
        let stored = match exchange.statement() {
            Some(said) => serde_json::from_slice::<StatementReceipt>(&exchange.response_body)
                .ok()
                .map(|receipt| (said.escrow_id, receipt.version)),
            None if is_create(exchange) => serde_json::from_slice::<EscrowView>(&exchange.response_body)
                .ok()
                .map(|view| (view.id, view.version)),
            None => None,
        };
        if let Some((escrow, version)) = stored {
            self.state().known = Some(Known { escrow, version, person: name.to_owned() });
        }
    }

    /// Takes the point that this exchange and moment are, if they are one.
    fn due(&self, name: &str, nth: Option<u64>, moment: Moment, exchange: &Exchange) -> Option<Point> {
        let mut state = self.state();
        let mut places = Vec::new();
        places.extend(nth.map(|nth| Place::Exchange(name.to_owned(), nth)));
        let label = exchange.statement().map(|said| label(&said));
        let label = label.or_else(|| is_create(exchange).then(|| CREATE.to_owned()));
        // An answer that refuses is no answer to the statement; the same is sent again.
        let counts = moment == Moment::BeforeForward || is_good(exchange);
        if let Some(label) = label.filter(|_| counts) {
            let known = state.order.entry(label.clone()).or_default();
            let place = known.iter().position(|body| *body == exchange.request_body).unwrap_or_else(|| {
                known.push(exchange.request_body.clone());
                known.len() - 1
            });
            places.extend(u32::try_from(place).ok().map(|place| Place::Statement(label, place)));
        }
        for place in &places {
            state.reached.entry(place.clone()).or_insert_with(Instant::now);
        }
        let is_now = |point: &Point| {
            let now = match point.when {
                When::Before | When::Amid(_) => Moment::BeforeForward,
                When::After | When::Later(_) => Moment::AfterForward,
            };
            now == moment
        };
        let is_here = |point: &Point| places.contains(&point.place);
        let is_missed =
            |point: &Point| state.reached.get(&point.place).is_some_and(|at| at.elapsed() > MISSED);
        if let Some(found) = state.left.iter().position(|point| is_now(point) && is_here(point)) {
            state.under_way += 1;
            return Some(state.left.remove(found));
        }
        let found = state.left.iter().position(|point| is_now(point) && is_missed(point))?;
        let place = Place::Exchange(name.to_owned(), nth?);
        state.under_way += 1;
        Some(Point { place, ..state.left.remove(found) })
    }

    /// Kills, and sees to it that the victim comes back. Returns as soon as the victim is dead.
    async fn strike(self: &Arc<Self>, name: String, point: Point) {
        let gate = Arc::clone(&self.gate).lock_owned().await;
        let Some(world) = self.world.upgrade() else { return };
        world.timeline.say("kill", &format!("{name}: {point}"));
        let killed = match (point.target, world.person(&name)) {
            (_, Err(error)) => Err(error),
            (Target::Server, _) => world.server.kill(),
            (Target::Participant { with_wallet }, Ok(person)) => {
                if matches!(point.place, Place::Statement(..)) {
                    person.program.kill_command();
                }
                match person.program.is_started() {
                    true => person.program.kill(with_wallet),
                    false => Err(anyhow::anyhow!("{name}'s program does not run")),
                }
            }
        };
        let target = point.target;
        {
            let mut state = self.state();
            state.under_way -= 1;
            match killed {
                Ok(()) => state.done.push(point),
                Err(error) => state.errors.push(format!("{point}: {error:#}")),
            }
        }
        let killer = Arc::clone(self);
        tokio::spawn(async move { killer.revive(&world, &name, target, gate).await });
    }

    async fn revive(&self, world: &World, name: &str, target: Target, _gate: OwnedMutexGuard<()>) {
        let known = self.state().known.clone();
        let begun = Instant::now();
        let revived = match target {
            Target::Participant { .. } => world.person(name).and_then(|person| person.program.start()),
            Target::Server => {
                let (started, back) = tokio::join!(world.server.restart(), back(world, known, begun));
                started.and(back).map(|took| self.state().backs.extend(took))
            }
        };
        if let Err(error) = revived {
            world.timeline.say("kill", &format!("NOT BACK: {error:#}"));
            self.state().errors.push(format!("not back: {error:#}"));
        }
    }
}

fn is_good(exchange: &Exchange) -> bool {
    (200..300).contains(&exchange.status)
}

fn is_create(exchange: &Exchange) -> bool {
    exchange.method == "POST" && exchange.path.ends_with("/escrows")
}

/// How long it takes until the server shows the escrow, with all it had acknowledged. `None` where there is none yet.
async fn back(world: &World, known: Option<Known>, begun: Instant) -> Result<Option<Duration>> {
    let Some(known) = known else { return Ok(None) };
    let eyes = &world.person(&known.person)?.eyes;
    let path = format!("/escrows/{}", known.escrow);
    loop {
        match eyes.get_once::<EscrowView>(&path).await {
            Ok(view) => {
                let (was, is) = (known.version, view.version);
                ensure!(is >= was, "the server forgot: version {was} was acknowledged, and now it is {is}");
                return Ok(Some(begun.elapsed()));
            }
            Err(error) if begun.elapsed() > BACK_LIMIT => bail!("the server is not back: {error:#}"),
            Err(_) => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}
