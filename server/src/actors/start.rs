//! Starting the actors and their loops.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::{Actor, Arbiter, ArbiterHandle, Recipient};
use aegis_common::address::Network;
use aegis_common::chain::Scanner;
use aegis_common::escrow::deadline::Patience;
use aegis_common::ids::EscrowId;
use aegis_common::time::Clock;
use futures_util::FutureExt;
use tokio::sync::{Notify, watch};

use super::chain_watch::{ChainWatch, StoredProgress};
use super::directory::{Directory, Limits};
use super::lookup::Finder;
use super::message::{Create, Refusal, Tell};
use super::outages::Outages;
use super::outbox::{Deliver, Outbox};
use super::timers::Timers;
use super::tip::ChainTip;
use super::troubles::{Policy, Resting, Troubles};
use super::watched;
use super::world::{Counters, World};
use crate::chain::{Config, Follower, Health, Looks, Source, WatchList};
use crate::store::Store;

/// Sizes, bounds and pauses.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads for escrow actors; 0 runs them on the thread that starts them.
    pub threads: usize,
    /// Messages that may wait for the directory.
    pub mailbox: usize,
    /// Commands that may be under way with one escrow; one more is refused as busy.
    pub escrow_mailbox: usize,
    /// Escrow actors alive at once. Each takes some ten kilobytes.
    pub live: usize,
    /// An escrow's actor that had nothing to do for so long is put to sleep.
    pub idle: Duration,
    /// Pause before an actor that panicked is woken again; it doubles.
    pub back_off: Duration,
    /// Time over which panics are counted, and for which an escrow that keeps panicking is left alone.
    pub panic_window: Duration,
    /// So many panics in the window are too many.
    pub panics: usize,
    /// Pause between two looks for deadlines.
    pub timer_poll: Duration,
    /// Pause between two looks for events of other servers, and after failures.
    pub outbox_poll: Duration,
    /// Pause between two rounds of looking up unmined transactions.
    pub look_up: Duration,
    /// How long the nodes have for a look that somebody waits for.
    pub look_patience: Duration,
    /// Days for which an escrow is watched after its end, counted from its last change.
    pub watch_days: u32,
    /// Pause between two rounds of ending watches; there is one at the start.
    pub unwatch: Duration,
    /// How the chain is followed.
    pub chain: Config,
    /// Whether other servers use the same database.
    pub several_servers: bool,
    /// How long people have to answer in escrows made from now on.
    pub patience: Patience,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 2,
            mailbox: 8_192,
            escrow_mailbox: 64,
            live: 50_000,
            idle: Duration::from_secs(120),
            back_off: Duration::from_millis(200),
            panic_window: Duration::from_secs(300),
            panics: 5,
            timer_poll: Duration::from_secs(1),
            outbox_poll: Duration::from_secs(1),
            look_up: Duration::from_secs(1),
            look_patience: Duration::from_secs(10),
            watch_days: 30,
            unwatch: Duration::from_secs(3600),
            chain: Config::default(),
            several_servers: false,
            patience: Patience::default(),
        }
    }
}

/// What the actors work with.
pub struct ActorDeps<N> {
    /// The database.
    pub store: Store,
    /// The nodes ([`crate::node::NodePool`] in the program).
    pub nodes: Arc<N>,
    /// How transactions are scanned.
    pub scanner: Arc<dyn Scanner>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The network that is followed.
    pub network: Network,
    /// Who pushes events to people.
    pub sessions: Recipient<Deliver>,
    /// Sizes, bounds and pauses.
    pub options: Options,
}

/// Counters and states for status pages and alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Escrow actors alive.
    pub live: u64,
    /// Actors woken since the start.
    pub activated: u64,
    /// Actors put to sleep since the start.
    pub passivated: u64,
    /// Actors that panicked since the start. Anything above zero is a mistake in the program.
    pub restarted: u64,
    /// How often an escrow was left alone because it kept panicking: a person must look.
    pub given_up: u64,
    /// How often one of the loops (timers, outbox, chain) panicked.
    pub loops_restarted: u64,
    /// Looks for deadlines that were brought to an end since the start.
    pub deadline_looks: u64,
    /// Escrows the chain is scanned for.
    pub watched: usize,
    /// The newest block that has been processed.
    pub tip: Option<u64>,
    /// How the chain follower fares.
    pub chain: Health,
    /// Escrows that are left alone for now.
    pub resting: Vec<Resting>,
}

impl Status {
    /// The chain is being followed, and no escrow had to be left alone.
    pub fn is_well(&self) -> bool {
        matches!(self.chain, Health::Following(_)) && self.given_up == 0
    }
}

/// How the present follower fares; a panic brings another.
#[derive(Clone, Default)]
struct FollowerHealth(Arc<Mutex<Option<watch::Receiver<Health>>>>);

impl FollowerHealth {
    fn now(&self) -> Health {
        let present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        present.as_ref().map_or(Health::Starting, |health| health.borrow().clone())
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn set(&self, health: watch::Receiver<Health>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(health);
    }
}

/// The running actors.
#[derive(Clone)]
pub struct ActorHandles {
    /// Tells an escrow something.
    pub tell: Recipient<Tell>,
    /// Creates an escrow.
    pub create: Recipient<Create>,
    /// The chain's height as far as it was followed.
    pub tip: ChainTip,
    world: Arc<World>,
    health: FollowerHealth,
    stop: Arc<watch::Sender<bool>>,
    arbiters: Vec<ArbiterHandle>,
}

impl ActorHandles {
    /// How everything fares.
    pub fn status(&self) -> Status {
        let Counters { live, activated, passivated, restarted, given_up, loops_restarted, deadline_looks } =
            &self.world.counters;
        Status {
            live: live.load(Relaxed),
            activated: activated.load(Relaxed),
            passivated: passivated.load(Relaxed),
            restarted: restarted.load(Relaxed),
            given_up: given_up.load(Relaxed),
            loops_restarted: loops_restarted.load(Relaxed),
            deadline_looks: deadline_looks.load(Relaxed),
            watched: self.world.watched.len(),
            tip: self.tip.height(),
            chain: self.health.now(),
            resting: self.world.troubles().resting(Instant::now()),
        }
    }

    /// Looks for a watched escrow in old blocks again, from one on, without stopping anything else. What it knows stays; what
    /// is found is told to it. Refused as busy while it is behind, and looked for anyway.
    pub async fn rescan(&self, id: EscrowId, from: u64) -> Result<(), Refusal> {
        watched::rescan(&self.world, id, from).await
    }

    #[cfg(test)]
    pub(super) fn set_hook(&self, hook: super::world::Hook) {
        *self.world.hook.lock().unwrap() = Some(hook);
    }

    #[cfg(test)]
    pub(super) fn world(&self) -> Arc<World> {
        Arc::clone(&self.world)
    }

    /// Ends the loops and the actors' threads. What was answered is on disk; what was not was not done.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

/// Starts everything; must be called inside an actix system. Returns at once: the watch list is loaded beside the
/// serving, and the chain is followed from then on.
pub fn start<N>(deps: ActorDeps<N>) -> ActorHandles
where
    N: Source + Finder + 'static,
{
    let ActorDeps { store, nodes, scanner, clock, network, sessions, options } = deps;
    let world = Arc::new(World {
        store: store.clone(),
        clock: Arc::clone(&clock),
        network,
        tip: ChainTip::default(),
        watched: WatchList::new(),
        looks: Looks::default(),
        deleting: Mutex::default(),
        look_patience: options.look_patience,
        committed: Notify::new(),
        counters: Counters::default(),
        several_servers: options.several_servers,
        patience: options.patience,
        no_residue: Mutex::default(),
        troubles: Mutex::new(Troubles::new(Policy {
            back_off: options.back_off,
            window: options.panic_window,
            most: options.panics,
        })),
        outages: Outages::default(),
        #[cfg(test)]
        hook: Mutex::default(),
    });
    let arbiters: Vec<ArbiterHandle> = (0..options.threads).map(|_| Arbiter::new().handle()).collect();
    let finder: Arc<dyn Finder> = Arc::clone(&nodes) as Arc<dyn Finder>;
    let directory = Directory::new(Arc::clone(&world), finder, limits(&options), arbiters.clone()).start();
    let tell: Recipient<Tell> = directory.clone().recipient();
    let (stop, stopped) = watch::channel(false);
    let health = FollowerHealth::default();
    let loops = Loops { world: Arc::clone(&world), stopped };

    let poll = options.outbox_poll;
    let of = Arc::clone(&world);
    loops.keep("outbox", move || Outbox::new(Arc::clone(&of), sessions.clone(), poll).run());

    let (to, of, poll, chain) = (tell.clone(), Arc::clone(&world), options.timer_poll, health.clone());
    loops.keep("timers", move || {
        let chain = chain.clone();
        let is_followed = move || matches!(chain.now(), Health::Following(_));
        Timers::new(Arc::clone(&of), to.clone(), poll, is_followed).run()
    });

    let watch = ChainWatch::new(Arc::clone(&world), tell.clone());
    let (sink, every) = (watch.clone(), options.look_up);
    loops.keep("look-ups", move || watch.clone().look_ups(every));

    let (days, pause) = (options.watch_days, options.unwatch);
    let of = Arc::clone(&world);
    loops.keep("watches", move || {
        let world = Arc::clone(&of);
        async move { watched::unwatch_often(&world, days, pause).await }
    });

    let (config, health_of) = (options.chain, health.clone());
    let chain = Chain { nodes, scanner, sink, config, health: health_of, days };
    let chain = Arc::new(chain);
    let (of, stopped) = (Arc::clone(&world), loops.stopped.clone());
    loops.keep("chain", move || follow(Arc::clone(&of), Arc::clone(&chain), stopped.clone()));

    let (create, tip) = (directory.recipient(), world.tip.clone());
    ActorHandles { tell, create, tip, world, health, stop: Arc::new(stop), arbiters }
}

fn limits(options: &Options) -> Limits {
    Limits {
        mailbox: options.mailbox,
        escrow_mailbox: options.escrow_mailbox,
        live: options.live,
        idle: options.idle,
    }
}

struct Chain<N> {
    nodes: Arc<N>,
    scanner: Arc<dyn Scanner>,
    sink: ChainWatch,
    config: Config,
    health: FollowerHealth,
    days: u32,
}

/// Loads the watch list, then follows the chain until told to stop or until a person must look.
async fn follow<N: Source + 'static>(
    world: Arc<World>,
    chain: Arc<Chain<N>>,
    stopped: watch::Receiver<bool>,
) {
    chain.health.forget();
    let (store, network, list) = (world.store.clone(), world.network, world.watched.clone());
    watched::tell_unwatched(watched::unwatch(&world, chain.days).await);
    loop {
        match watched::load(&store, &list).await {
            Ok(behind) => {
                tracing::info!(count = list.len(), behind = behind.len(), "watching escrows");
                chain.sink.catch_up(behind).await;
                break;
            }
            Err(error) => tracing::warn!(%error, "the watch list could not be loaded"),
        }
        tokio::time::sleep(chain.config.poll).await;
    }
    let progress = StoredProgress { store, network };
    let (nodes, sink) = (Arc::clone(&chain.nodes), chain.sink.clone());
    let follower = Follower::new(nodes, progress, sink, Arc::clone(&chain.scanner), list, chain.config);
    let follower = follower.counted_by(world.looks.clone());
    chain.health.set(follower.health());
    // The follower has logged what stopped it, and its health says so.
    let _ = follower.run(stopped).await;
}

/// Pause before a loop that panicked begins anew.
const PAUSE: Duration = Duration::from_secs(1);

struct Loops {
    world: Arc<World>,
    stopped: watch::Receiver<bool>,
}

impl Loops {
    /// Runs a loop until the end of the program; a panic begins it anew.
    fn keep<F>(&self, name: &'static str, make: impl Fn() -> F + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let (world, mut stopped) = (Arc::clone(&self.world), self.stopped.clone());
        actix::spawn(async move {
            let run = async {
                while AssertUnwindSafe(make()).catch_unwind().await.is_err() {
                    world.counters.loops_restarted.fetch_add(1, Relaxed);
                    tracing::error!(name, "a loop panicked, beginning it anew");
                    tokio::time::sleep(PAUSE).await;
                }
            };
            tokio::select! {
                () = run => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        });
    }
}
