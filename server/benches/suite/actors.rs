//! What an escrow costs in memory, awake and asleep, and how long a server with 100,000 of them takes to serve.
//! Measured in a process of its own, whose memory holds nothing else.

use std::path::Path;
use std::process::Command as Process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Actor;
use aegis_common::address::Network;
use aegis_common::chain::PlainScanner;
use aegis_common::escrow::event::Event;
use aegis_common::escrow::state::{Escrow, Opening};
use aegis_common::escrow::transition::apply;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::testing::chain::TestWallet;
use aegis_server::actors::message::{Command, Tell};
use aegis_server::actors::{ActorDeps, Options, start};
use aegis_server::clock::SystemClock;
use aegis_server::store::{Commit, EscrowRow, Expected, Role as Account, Store, Tip as Block, UserRow};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::Measured;
use crate::people::{self, People};
use crate::rows::{now, open, sqlite, user};
use crate::still::{Nobody, Still, TIP};

const ESCROWS: usize = 100_000;
const AWAKE: usize = 10_000;
const CHILD: &str = "AEGIS_BENCH_RESTART";

/// What the child measured.
#[derive(Serialize, Deserialize)]
struct Restart {
    to_serving: f64,
    to_watching: f64,
    resident: f64,
    asleep: f64,
    awake: f64,
}

pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// All measurements of the actors.
pub async fn measure() -> Vec<Measured> {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(&sqlite(dir.path()))).await;
    let child = Process::new(std::env::current_exe().unwrap()).env(CHILD, dir.path()).output().unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let Restart { to_serving, to_watching, resident, asleep, awake } =
        serde_json::from_slice(&child.stdout).unwrap();
    vec![
        Measured::new("escrow.live", awake, "bytes", None),
        Measured::new("escrow.passive", asleep, "bytes", None),
        Measured::new("restart.100k", to_serving, "s", None),
        Measured::new("restart.100k.watching", to_watching, "s", None),
        Measured::new("restart.100k.resident", resident / 1_048_576.0, "MiB", None),
    ]
}

/// Escrows that wait for their deposit, as a setup leaves them.
async fn fill(store: &Store) {
    let (people, wallet) = (People::new(1), TestWallet::new(7));
    for person in &people.0 {
        let id = person.party.user_id;
        let row = UserRow { id, ..user(&person.party.username, Account::User) };
        store.insert_user(row).await.unwrap();
    }
    let contract = people.contract(now());
    let template = contract.escrow_id.to_string();
    let mut escrow = Escrow::create(contract, Opening::by(people.id(Role::Buyer)), now()).unwrap();
    for (role, act) in people::setup(&wallet) {
        let signed = Box::new(people.sign(&escrow, role, act));
        escrow = apply(&escrow, &Event::Statement { signed }, now()).unwrap().0;
    }
    let spend_keys = *wallet.watch(EscrowId(Uuid::nil())).unwrap().spend_keys();
    let text = serde_json::to_string(&escrow).unwrap();
    for _ in 0..ESCROWS / 1_000 {
        let commits = (0..1_000).map(|_| {
            let id = EscrowId(Uuid::now_v7());
            store.commit(Commit {
                escrow: EscrowRow {
                    id,
                    version: 16,
                    status: escrow.status().wire().to_owned(),
                    buyer_id: people.id(Role::Buyer),
                    seller_id: people.id(Role::Seller),
                    arbiter_id: people.id(Role::Arbiter),
                    creator_id: people.id(Role::Buyer),
                    amount: escrow.contract.amount,
                    snapshot: text.replace(&template, &id.to_string()),
                    wake_at: escrow
                        .wake_at()
                        .map(|at| at + aegis_common::time::SignedDuration::from_hours(90_000)),
                    wake_height: None,
                    unmined: 0,
                    watching: true,
                    watch_from: Some(1),
                    behind_from: None,
                    highest_output: None,
                    created_at: now(),
                    updated_at: now(),
                },
                expected: Expected::New,
                journal: None,
                events: Vec::new(),
                idempotency: None,
                view_key: Some(Zeroizing::new(wallet.view.to_bytes())),
                title: Some(escrow.contract.title.clone()),
                spend_keys: Some(spend_keys),
                ending: None,
                replaces: None,
            })
        });
        for outcome in futures_util::future::join_all(commits.collect::<Vec<_>>()).await {
            outcome.unwrap();
        }
    }
    store.advance_chain(Network::Regtest, vec![Block { height: TIP.height, hash: TIP.hash }]).await.unwrap();
}

/// Resident memory of this process in bytes (proc(5): pages in the second field of `statm`, 4 KiB each here).
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

/// The process that is measured.
pub fn child() {
    let dir = std::env::var_os(CHILD).unwrap();
    let measured = actix::System::new().block_on(restart(Path::new(&dir)));
    println!("{}", serde_json::to_string(&measured).unwrap());
}

async fn restart(dir: &Path) -> Restart {
    let begin = Instant::now();
    let store = open(&sqlite(dir));
    let empty = resident();
    let handles = start(ActorDeps {
        store: store.clone(),
        nodes: Arc::new(Still),
        scanner: Arc::new(PlainScanner),
        clock: Arc::new(SystemClock),
        network: Network::Regtest,
        sessions: Nobody.start().recipient(),
        options: Options { idle: Duration::from_secs(3_600), live: ESCROWS, ..Options::default() },
    });
    let first = store.watched(None, 1).await.unwrap().pop().unwrap().id;
    let read = |id| handles.tell.send(Tell { id, command: Command::Read, expected: None });
    read(first).await.unwrap().unwrap();
    let to_serving = begin.elapsed().as_secs_f64();
    while handles.tip.height().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let to_watching = begin.elapsed().as_secs_f64();
    assert_eq!(handles.status().watched, ESCROWS);
    let loaded = resident();
    // By now pages read once are as warm as they get; a first thousand fills the caches.
    let (mut after, mut woken, mut before) = (None, 0, loaded);
    while woken < AWAKE + 1_000 {
        let ids: Vec<EscrowId> =
            store.watched(after, 1_000).await.unwrap().iter().map(|watched| watched.id).collect();
        after = ids.last().copied();
        for some in ids.chunks(50) {
            for answer in futures_util::future::join_all(some.iter().map(|id| read(*id))).await {
                answer.unwrap().unwrap();
            }
        }
        woken += ids.len();
        if woken == 1_000 {
            before = resident();
        }
    }
    assert!(handles.status().live as usize > AWAKE);
    Restart {
        to_serving,
        to_watching,
        resident: loaded,
        asleep: (loaded - empty) / ESCROWS as f64,
        awake: (resident() - before) / AWAKE as f64,
    }
}
