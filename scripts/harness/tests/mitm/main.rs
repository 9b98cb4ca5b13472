//! A man in the middle: whatever a relay does to statements, contracts, posts and receipts, no participant shows an
//! address, each says which statement was wrong, and once the relay is honest everything goes on.
//!
//! `AEGIS_MITM_SEED` chooses other lies, `AEGIS_MITM_CASES=3,14` tells these alone. All of them with `AEGIS_E2E_ALL`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test")]

mod cases;
mod forge;
mod live;
mod mallory;
mod posts;
mod rng;
mod stage;
mod terms;
mod victim;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use aegis_harness::scratch::Scratch;
use futures_util::future::join_all;

use cases::{Seat, Table, seat_of};
use mallory::Mallory;
use stage::{CAST, Logins};

/// Eighteen rounds of all ways; more than five hundred of them can change what address is shown.
const ALL: usize = 774;
const SAMPLE: usize = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn chosen() -> Vec<usize> {
    match std::env::var("AEGIS_MITM_CASES") {
        Ok(text) => text.split(',').map(|case| case.trim().parse().unwrap()).collect(),
        Err(_) if std::env::var_os("AEGIS_E2E_ALL").is_some() => (0..ALL).collect(),
        Err(_) => (0..SAMPLE).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_relay_does_nobody_shows_an_address_and_everybody_names_the_wrong_statement() {
    let seed = number("AEGIS_MITM_SEED").unwrap_or(0x00a3_9150);
    let begun = Instant::now();
    let dir = Scratch::new().unwrap();
    let world = stage::world(dir.path()).await;
    let since = || begun.elapsed().as_secs();

    // Two escrows; in one of them nobody has seen the others' attestations.
    let id = stage::create(&world, "a telescope").await;
    for (name, role) in CAST {
        let relay = world.person(name).unwrap().relay.as_ref().unwrap();
        relay.set_hook(Some(stage::withhold_attestations(&id, role)));
    }
    let other = stage::create(&world, "a microscope").await;
    let mallory = Arc::new(Mallory::arm(&world).await);
    stage::ready(&world, &[&id, &other]).await;
    let all = stage::transcript(&world, &id).await.len();
    for (name, _) in CAST {
        // All statements but the others' two attestations: the own one is in the book.
        let program = &world.person(name).unwrap().program;
        stage::wait(&world, "the own attestation", async || {
            program.cmd(&["verify", &id]).await.unwrap()["statements"] == all - 2
        })
        .await;
    }
    println!("mitm: {} s: two escrows are set up", since());
    let home =
        |name: &str| world.person(name).unwrap().program.home().join(format!("escrows/book-{id}.sealed"));
    let books: Vec<_> = CAST.iter().map(|(name, _)| std::fs::read(home(name)).unwrap()).collect();

    // Honest again: what was withheld is learnt, and the buyer pays.
    for (name, _) in CAST {
        world.person(name).unwrap().relay.as_ref().unwrap().set_hook(None);
    }
    let due = world.person("alice").unwrap().program.cmd(&["fund", &id]).await.unwrap();
    let address = due["payment"]["address"].as_str().unwrap().to_owned();
    assert_eq!(stage::view(&world, &id).await.setup.address.unwrap().to_string(), address);
    let price = due["payment"]["amount"].as_str().unwrap().parse().unwrap();
    world.funds.pay(&[(address.parse().unwrap(), price)]).await.unwrap();

    if std::env::var_os("AEGIS_MITM_CASES").is_none() {
        live::tell(&world, &mallory).await;
        println!("mitm: {} s: the live lies are done", since());
    }
    stage::active(&world, &id).await;
    for (name, parts) in [("alice", ["0.1", "0.9"]), ("bob", ["0.2", "0.8"])] {
        let settle = ["settle", &id, "--buyer", parts[0], "--seller", parts[1]];
        world.person(name).unwrap().program.cmd(&settle).await.unwrap();
    }
    world.rest().await.unwrap();

    let table = Table {
        world: &world,
        truth: stage::transcript(&world, &id).await,
        other: stage::transcript(&world, &other).await,
        id,
        mallory,
        address,
        logins: Arc::new(Logins::default()),
        seed,
    };
    let cases = chosen();
    let told = batch(&table, books, &cases).await;
    report(&told, seed, since());
    assert_eq!(told.len(), cases.len());
    world.server.must_run().unwrap();
}

type Told = (usize, String, Result<(), String>);

/// The three people's cases side by side: each has a relay and a home of its own.
async fn batch<'w>(table: &'w Table<'w>, books: Vec<Vec<u8>>, cases: &[usize]) -> Vec<Told> {
    let seats = books.into_iter().enumerate().map(async |(part, book)| {
        let seat = Seat::take(table, part, book).await;
        let mut told = Vec::new();
        for case in cases.iter().copied().filter(|case| seat_of(*case) == part) {
            let (way, judged) = seat.case(case).await;
            told.push((case, way, judged));
        }
        told
    });
    join_all(seats).await.into_iter().flatten().collect()
}

fn report(told: &[Told], seed: u64, seconds: u64) {
    let mut ways: BTreeMap<&str, usize> = BTreeMap::new();
    told.iter().for_each(|(_, way, _)| *ways.entry(way).or_default() += 1);
    println!("mitm: {seconds} s: {} lies of seed {seed}: {ways:?}", told.len());
    let bad: Vec<_> = told
        .iter()
        .filter_map(|(case, way, judged)| {
            let why = judged.as_ref().err()?;
            Some(format!("AEGIS_MITM_SEED={seed} AEGIS_MITM_CASES={case} ({way}): {why}"))
        })
        .collect();
    assert!(bad.is_empty(), "{} of {} lies went wrong:\n{}", bad.len(), told.len(), bad.join("\n"));
}
