//! A month of the server's life: hundreds of people trade, late, silent, hostile, while the server stops in the middle of its
//! work once a day. Database, actors, chain follower, assignment and replacement of arbiters are those of the program; the clock
//! goes forward in ticks, and does not wait for deadlines but only until the server has looked for them.
//!
//! A small part of it runs with every test; with `AEGIS_MONTH_ALL=1` it is 10,000 escrows of 500 traders and 20 arbiters.
#![allow(clippy::print_stderr, reason = "a long test says how far it is, and what it found")]
#![allow(clippy::await_holding_refcell_ref, reason = "nobody but the one who looks at a trade holds it")]

mod check;
mod plan;
mod player;
mod recompute;
mod steps;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler};
use aegis_common::address::Network;
use aegis_common::amount::Piconero;
use aegis_common::chain::{BatchScanner, Engine, Path};
use aegis_common::escrow::deadline::Patience;
use aegis_common::hash::Hash32;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::role::Role;
use aegis_common::time::{Clock, SignedDuration, Timestamp};
use aegis_common::wire::account::AccountRole as WireRole;
use futures_util::StreamExt;
use futures_util::stream;

use self::plan::{Dice, Habit, Plan};
use super::super::Deliver;
use super::kit::people::Person;
use super::kit::{Server, Universe, account, keyring, until};
use crate::app::successors::Successors;
use crate::arbiters::{Arbiters, Usual};
use crate::escrows::{ArbiterTerms, Drafts, Terms};
use crate::store::{Role as AccountRole, Store, StoreOptions};

const TICK: SignedDuration = SignedDuration::from_mins(5);
const TICKS_A_DAY: u64 = 288;
/// Between two signs of life of an arbiter's program, and two looks after silent ones.
const HOUR: u64 = 12;
/// After so long an arbiter counts as silent.
const SILENT: SignedDuration = SignedDuration::from_hours(24);
/// People at work at the same time.
const AT_ONCE: usize = 32;

struct Size {
    users: usize,
    arbiters: usize,
    escrows: usize,
    /// In which escrows are made.
    days: u64,
    /// Hours until an escrow expires: least and most.
    hours: (u64, u64),
}

impl Size {
    fn asked_for() -> Self {
        if std::env::var_os("AEGIS_MONTH_ALL").is_some() {
            Self { users: 500, arbiters: 20, escrows: 10_000, days: 24, hours: (24, 144) }
        } else {
            Self { users: 40, arbiters: 8, escrows: 160, days: 3, hours: (12, 60) }
        }
    }
}

/// An escrow and those that took its place.
struct Trade {
    plan: Plan,
    buyer: usize,
    seller: usize,
    /// The present one last.
    ids: Vec<EscrowId>,
    paid: usize,
    /// For whom it waited last, at which version.
    asked: Option<(Role, i64)>,
    dice: Dice,
}

/// A payout, or a return, on the chain.
struct Sent {
    txid: Hash32,
    to: Vec<(aegis_common::address::Address, Piconero)>,
}

/// What every person's socket has passed on: only what is above the last position.
#[derive(Default)]
struct Passed {
    of: HashMap<UserId, Vec<i64>>,
    /// Handed over once more, after a crash.
    again: usize,
}

struct Sockets(Arc<Mutex<Passed>>);

impl Actor for Sockets {
    type Context = Context<Self>;
}

impl Handler<Deliver> for Sockets {
    type Result = ();
    fn handle(&mut self, Deliver { user, frame }: Deliver, _: &mut Self::Context) {
        let mut passed = self.0.lock().unwrap();
        let seqs = passed.of.entry(user).or_default();
        if seqs.last().is_none_or(|last| *last < frame.seq) {
            seqs.push(frame.seq);
        } else {
            passed.again += 1;
        }
    }
}

struct Month {
    size: Size,
    universe: Universe,
    began: Timestamp,
    /// Traders, then arbiters.
    people: Vec<Person>,
    habits: Vec<Habit>,
    trades: Vec<RefCell<Trade>>,
    /// What is to be looked at when.
    agenda: BTreeMap<u64, Vec<usize>>,
    passed: Arc<Mutex<Passed>>,
    /// What each person has read of its feed.
    feeds: HashMap<UserId, Vec<i64>>,
    /// By escrow: the payout, and the return of what came after it.
    sent: RefCell<HashMap<(EscrowId, bool), Sent>>,
    /// When no server ran.
    down: Vec<(Timestamp, Timestamp)>,
    /// When each arbiter was heard.
    heard: HashMap<UserId, Vec<Timestamp>>,
    refused: RefCell<usize>,
    scanner: Arc<BatchScanner>,
    dice: Dice,
}

/// A server with what works beside the actors.
struct Live {
    server: Server,
    drafts: Drafts,
    successors: Successors,
    arbiters: Arbiters,
}

impl Month {
    fn new(size: Size, seed: u64) -> Self {
        let mut universe = Universe::new();
        let options = &mut universe.options;
        options.threads = 2;
        options.timer_poll = Duration::from_millis(2);
        options.outbox_poll = Duration::from_millis(20);
        options.watch_days = 1;
        options.unwatch = Duration::from_millis(500);
        // Nothing is due on a tick: the clock stops in between for what is.
        let (setup_seconds, ruling_seconds) = (12 * 3_600 + 7, 24 * 3_600 + 11);
        options.patience = Patience { setup_seconds, ruling_seconds, ..Patience::default() };
        let mut dice = Dice(seed);
        let ticks = size.days * TICKS_A_DAY;
        let mut people: Vec<Person> =
            (1..=size.users + size.arbiters).map(|number| Person::new(number as u64)).collect();
        for (number, person) in people.iter_mut().enumerate() {
            person.party.username = format!("person-{number}");
        }
        let mut habits: Vec<Habit> = (0..size.users).map(|_| Habit::of_user(&mut dice, ticks)).collect();
        habits.extend((0..size.arbiters).map(|n| Habit::of_arbiter(&mut dice, ticks, n)));
        let mut agenda: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let trades = (0..size.escrows).map(|number| {
            let buyer = dice.below(size.users as u64) as usize;
            let seller = (buyer + 1 + dice.below(size.users as u64 - 1) as usize) % size.users;
            // Arbiters trade too, now and then.
            let seller =
                if dice.percent(5) { size.users + dice.below(size.arbiters as u64) as usize } else { seller };
            agenda.entry(1 + dice.below(ticks)).or_default().push(number);
            let (plan, dice) = (Plan::new(&mut dice, size.hours), Dice(seed ^ (number as u64) << 20));
            RefCell::new(Trade { plan, buyer, seller, ids: Vec::new(), paid: 0, asked: None, dice })
        });
        let trades = trades.collect();
        let engine = Engine::new(Path::best(), false);
        Self {
            size,
            began: universe.clock.now(),
            universe,
            people,
            habits,
            trades,
            agenda,
            passed: Arc::default(),
            feeds: HashMap::new(),
            sent: RefCell::default(),
            down: Vec::new(),
            heard: HashMap::new(),
            refused: RefCell::default(),
            scanner: Arc::new(BatchScanner::new(engine, 1).unwrap()),
            dice,
        }
    }

    fn open(&self) -> Store {
        Store::open(&self.universe.url(), keyring(), StoreOptions::default()).unwrap()
    }

    async fn start(&self) -> Live {
        let store = self.open();
        let sockets = Sockets(Arc::clone(&self.passed)).start();
        let scanner = Arc::clone(&self.scanner);
        let server = self.universe.serve(store.clone(), scanner, sockets.recipient()).await;
        let clock = Arc::clone(&self.universe.clock) as Arc<dyn Clock>;
        let terms = Terms {
            network: Network::Regtest,
            finality_depth: 10,
            cosign_seconds: 3_600 + 13,
            arbiter_fee_bps: 100,
            platform: None,
            dust_limit: Piconero(100_000_000),
            max_network_fee: Piconero(10_000_000_000),
            max_residue: Piconero(1_250_000_000),
            arbiters: ArbiterTerms { capacity: 10_000, silent: SILENT, most_unfunded: 1_000 },
        };
        let drafts = Drafts::new(store.clone(), Arc::clone(&clock), terms);
        let successors = Successors {
            store: store.clone(),
            drafts: drafts.clone(),
            clock: Arc::clone(&clock),
            create: server.handles.create.clone(),
        };
        let usual = Usual { fee_bps: 100, capacity: 10_000, silent: SILENT };
        let live = Live { server, drafts, successors, arbiters: Arbiters::new(store, clock, usual) };
        self.looked(&live).await;
        live
    }

    /// Waits until the chain is followed, also by escrows that began to be watched, and the server has looked for deadlines three
    /// times since, and no longer: a look may have begun before, and two deadlines of one escrow can fall together.
    async fn looked(&self, live: &Live) {
        let handles = &live.server.handles;
        let height = self.universe.chain.height();
        until("the chain is followed", async || handles.tip.height() == Some(height)).await;
        until("nobody is behind", async || live.server.store.count_behind().await.unwrap() == 0).await;
        let before = handles.status().deadline_looks;
        until("looks for deadlines", async || handles.status().deadline_looks >= before + 4).await;
    }

    /// Goes on to a moment, and stops for each deadline on the way until it is dealt with.
    async fn reach(&self, live: &Live, moment: Timestamp) {
        let store = &live.server.store;
        while let Some(id) = store.due_by_time(moment, 1).await.unwrap().first() {
            let due = store.escrow(*id).await.unwrap().unwrap().wake_at.unwrap();
            assert!(due > self.universe.clock.now(), "{id} was due at {due}");
            self.universe.clock.set(due);
            self.looked(live).await;
        }
        self.universe.clock.set(moment);
        self.universe.chain.mine_pool();
        self.looked(live).await;
    }

    fn advance(&self) {
        self.universe.clock.step(TICK);
        self.universe.chain.mine_pool();
    }

    async fn run(&mut self) {
        let store = self.open();
        for (number, person) in self.people.iter().enumerate() {
            let role = if number < self.size.users { AccountRole::User } else { AccountRole::Arbiter };
            store.insert_user(account(person, role, self.began)).await.unwrap();
        }
        drop(store);
        let mut live = self.start().await;
        let (mut tick, mut crash) = (0, self.dice.below(TICKS_A_DAY));
        while !self.agenda.is_empty() {
            tick += 1;
            assert!(tick < (self.size.days + 30) * TICKS_A_DAY, "still open: {:?}", self.agenda);
            self.reach(&live, self.universe.clock.now() + TICK).await;
            self.housekeeping(&live, tick).await;
            let crashes = tick == crash;
            self.people_act(&live, tick, crashes).await;
            if crashes {
                live = self.crash(live, &mut tick).await;
                crash = (tick / TICKS_A_DAY + 1) * TICKS_A_DAY + self.dice.below(TICKS_A_DAY);
            }
            if tick % TICKS_A_DAY == 0 {
                let day = tick / TICKS_A_DAY;
                let (open, watched) =
                    (self.agenda.values().map(Vec::len).sum::<usize>(), live.server.handles.status().watched);
                eprintln!("day {day}: {open} escrows to go, {watched} watched");
            }
        }
        self.read_feeds(&live, 0..self.people.len()).await;
        check::all(self, &live).await;
        live.server.stop();
    }

    async fn housekeeping(&mut self, live: &Live, tick: u64) {
        let now = self.universe.clock.now();
        if tick % HOUR == 1 {
            for number in self.size.users..self.people.len() {
                if self.habits[number].away_until(tick).is_none() {
                    let id = self.people[number].party.user_id;
                    live.arbiters.heard(id, WireRole::Arbiter).await.unwrap();
                    self.heard.entry(id).or_default().push(now);
                }
            }
            live.arbiters.watch().await.unwrap();
        }
        live.successors.round().await.unwrap();
        // Everybody reads its feed once an hour.
        let readers = (0..self.people.len()).filter(|number| *number as u64 % HOUR == tick % HOUR);
        self.read_feeds(live, readers).await;
    }

    async fn read_feeds(&mut self, live: &Live, readers: impl Iterator<Item = usize>) {
        for number in readers {
            let id = self.people[number].party.user_id;
            let read = self.feeds.entry(id).or_default();
            loop {
                let after = read.last().copied().unwrap_or(0);
                let page = live.server.store.events_of(id, after, 100).await.unwrap();
                read.extend(page.iter().map(|event| event.seq));
                if page.len() < 100 {
                    break;
                }
            }
        }
    }

    /// Everybody whose time it is does something. In a crash only some of it is waited for.
    async fn people_act(&mut self, live: &Live, tick: u64, crashes: bool) {
        let due = self.agenda.remove(&tick).unwrap_or_default();
        let enough = if crashes { self.dice.below(due.len() as u64 + 1) as usize } else { due.len() };
        let mut next: HashMap<usize, u64> = due.iter().map(|number| (*number, tick + 1)).collect();
        {
            let this = &*self;
            let steps =
                stream::iter(&due).map(async |number| (*number, this.step(live, *number, tick).await));
            let mut steps = std::pin::pin!(steps.buffer_unordered(AT_ONCE).take(enough));
            while let Some((number, at)) = steps.next().await {
                match at {
                    Some(at) => next.insert(number, at),
                    None => next.remove(&number),
                };
            }
        }
        for (number, at) in next {
            self.agenda.entry(at).or_default().push(number);
        }
        for due in self.agenda.values_mut() {
            due.sort_unstable();
        }
    }

    /// The server ends with work under way, and comes back after some time.
    async fn crash(&mut self, live: Live, tick: &mut u64) -> Live {
        let Live { server, .. } = live;
        let store = server.store.clone();
        server.stop();
        // A write that had been handed over is brought to an end, as a kernel does with what a killed process wrote.
        tokio::time::sleep(Duration::from_millis(50)).await;
        store.set_outbox_cursor("nobody", 1).await.unwrap();
        drop(store);
        let from = self.universe.clock.now();
        let ticks = 1 + self.dice.below(30);
        for _ in 0..ticks {
            self.advance();
        }
        // What was due meanwhile is looked at now.
        let missed: Vec<u64> = self.agenda.range(..*tick + ticks).map(|(at, _)| *at).collect();
        *tick += ticks;
        for at in missed {
            let due = self.agenda.remove(&at).unwrap_or_default();
            self.agenda.entry(*tick + 1).or_default().extend(due);
        }
        self.down.push((from, self.universe.clock.now()));
        self.start().await
    }
}

#[actix::test]
async fn a_month_of_trading_with_a_crash_a_day_ends_as_the_contracts_say() {
    let began = Instant::now();
    let seed = std::env::var("AEGIS_MONTH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut month = Month::new(Size::asked_for(), seed);
    month.run().await;
    eprintln!("seed {seed}: {:?} of real time", began.elapsed());
}
