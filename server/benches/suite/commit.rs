//! Commits a second with many callers, beside the same writes one transaction at a time in plain Diesel;
//! and how long the watcher takes to load 100,000 view keys.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use aegis_common::escrow::statement::Act;
use aegis_common::ids::UserId;
use aegis_common::role::Role;
use aegis_common::testing::{Sim, contract};
use aegis_server::store::{Commit, DatabaseUrl, MAX_PAGE, NewEvent, Store};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::Measured;
use crate::postgres::Postgres;
use crate::rows::{next, open, opening, parties, sqlite, watched};

const CALLERS: usize = 256;
const TIME: Duration = Duration::from_secs(4);
const WATCHED: usize = 100_000;

diesel::table! {
    escrows (id) {
        id -> Binary,
        version -> BigInt,
        status -> Text,
        snapshot -> Text,
        wake_at -> Nullable<BigInt>,
        wake_height -> Nullable<BigInt>,
        unmined -> Integer,
        watching -> Bool,
        watch_from -> Nullable<BigInt>,
        highest_output -> Nullable<BigInt>,
        updated_at -> BigInt,
    }
}

diesel::table! {
    journal (escrow_id, version) {
        escrow_id -> Binary,
        version -> BigInt,
        at -> BigInt,
        event -> Text,
        statement_hash -> Nullable<Binary>,
    }
}

diesel::table! {
    events (seq) {
        seq -> BigInt,
        event_id -> Binary,
        user_id -> Binary,
        escrow_id -> Nullable<Binary>,
        kind -> Text,
        payload -> Text,
        created_at -> BigInt,
    }
}

/// The statements of one commit, written down once for both backends.
macro_rules! plain_commit {
    ($conn:expr, $commit:expr) => {{
        let (conn, row) = ($conn, &$commit.escrow);
        let (id, at) = (row.id.0.into_bytes().to_vec(), row.updated_at.as_millisecond());
        let target = escrows::table.filter(escrows::id.eq(&id));
        let set = (
            escrows::version.eq(row.version),
            escrows::status.eq(&row.status),
            escrows::snapshot.eq(&row.snapshot),
            escrows::wake_at.eq(None::<i64>),
            escrows::wake_height.eq(None::<i64>),
            escrows::unmined.eq(0),
            escrows::watching.eq(false),
            escrows::watch_from.eq(None::<i64>),
            escrows::highest_output.eq(None::<i64>),
            escrows::updated_at.eq(at),
        );
        let target = target.filter(escrows::version.eq(row.version - 1));
        assert_eq!(diesel::update(target).set(set).execute(conn)?, 1);
        if let Some(entry) = &$commit.journal {
            let values = (
                journal::escrow_id.eq(&id),
                journal::version.eq(entry.version),
                journal::at.eq(entry.at.as_millisecond()),
                journal::event.eq(&entry.event),
                journal::statement_hash.eq(entry.statement_hash.map(|hash| hash.0.to_vec())),
            );
            diesel::insert_into(journal::table).values(values).execute(conn)?;
        }
        for event in &$commit.events {
            let values = (
                events::event_id.eq(event.event_id.into_bytes().to_vec()),
                events::user_id.eq(event.user_id.0.into_bytes().to_vec()),
                events::escrow_id.eq(&id),
                events::kind.eq(&event.kind),
                events::payload.eq(&event.payload),
                events::created_at.eq(at),
            );
            diesel::insert_into(events::table).values(values).execute(conn)?;
        }
        QueryResult::Ok(())
    }};
}

/// All measurements of the store.
pub async fn measure() -> Vec<Measured> {
    let dir = tempfile::tempdir().unwrap();
    let server = Postgres::start();
    let mut results = Vec::new();
    for (name, url) in [("commit.sqlite", sqlite(dir.path())), ("commit.postgres", server.database("bench"))]
    {
        let store = open(&url);
        let people = parties(&store).await;
        let baseline = plain(&url, &store, people).await;
        let value = grouped(&store, people).await;
        results.push(Measured::new(name, value, "transitions/s", Some(baseline)));
    }
    let many = tempfile::tempdir().unwrap();
    let store = open(&sqlite(many.path()));
    results.push(Measured::new("watched.load_100k", load_watched(&store).await, "s", None));
    results
}

async fn opened(store: &Store, people: [UserId; 3]) -> Vec<Commit> {
    let openings: Vec<_> = (0..CALLERS).map(|_| opening(people)).collect();
    for outcome in futures_util::future::join_all(openings.iter().map(|o| store.commit(o.clone()))).await {
        outcome.unwrap();
    }
    openings
}

/// The next change, of the size that real ones have: an active escrow's snapshot, a statement, an event for each party.
fn step(before: &Commit) -> Commit {
    static REAL: LazyLock<(String, String)> = LazyLock::new(|| {
        let mut sim = Sim::new(contract());
        sim.active();
        let said = sim.sign(Role::Buyer, Act::Confirm {});
        (serde_json::to_string(&sim.escrow).unwrap(), serde_json::to_string(&said).unwrap())
    });
    let mut commit = next(before);
    commit.escrow.snapshot.clone_from(&REAL.0);
    if let Some(entry) = &mut commit.journal {
        entry.event.clone_from(&REAL.1);
    }
    let arbiter = NewEvent {
        user_id: commit.escrow.arbiter_id,
        event_id: uuid::Uuid::now_v7(),
        ..commit.events[0].clone()
    };
    commit.events.push(arbiter);
    commit
}

/// Every caller changes its own escrow as fast as it is answered.
async fn grouped(store: &Store, people: [UserId; 3]) -> f64 {
    let openings = opened(store, people).await;
    let begin = Instant::now();
    let callers = openings.into_iter().map(|mut commit| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut count = 0_u32;
            while begin.elapsed() < TIME {
                commit = step(&commit);
                store.commit(commit.clone()).await.unwrap();
                count += 1;
            }
            count
        })
    });
    let mut total = 0;
    for caller in callers.collect::<Vec<_>>() {
        total += caller.await.unwrap();
    }
    f64::from(total) / begin.elapsed().as_secs_f64()
}

async fn plain(url: &DatabaseUrl, store: &Store, people: [UserId; 3]) -> f64 {
    let mut openings = opened(store, people).await;
    let url = url.clone();
    let run = move || {
        let mut count = 0_u32;
        let mut transact: Box<dyn FnMut(&Commit)> = match &url {
            DatabaseUrl::Sqlite(path) => {
                let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
                let setup =
                    "PRAGMA busy_timeout = 10000; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON";
                conn.batch_execute(setup).unwrap();
                Box::new(move |commit| {
                    conn.immediate_transaction(|conn| plain_commit!(conn, commit)).unwrap();
                })
            }
            DatabaseUrl::Postgres(url) => {
                let mut conn = PgConnection::establish(url).unwrap();
                Box::new(move |commit| conn.transaction(|conn| plain_commit!(conn, commit)).unwrap())
            }
        };
        let begin = Instant::now();
        while begin.elapsed() < TIME {
            for commit in &mut openings {
                *commit = step(commit);
                transact(commit);
                count += 1;
            }
        }
        f64::from(count) / begin.elapsed().as_secs_f64()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Seconds to read and open all view keys.
async fn load_watched(store: &Store) -> f64 {
    let people = parties(store).await;
    for _ in 0..WATCHED / 1000 {
        let all = (0..1000).map(|_| store.commit(watched(opening(people), [7; 32])));
        for outcome in futures_util::future::join_all(all).await {
            outcome.unwrap();
        }
    }
    let begin = Instant::now();
    let (mut seen, mut after) = (0, None);
    loop {
        let page = store.watched(after, MAX_PAGE).await.unwrap();
        seen += page.len();
        match page.last() {
            Some(last) => after = Some(last.id),
            None => break,
        }
    }
    assert_eq!(seen, WATCHED);
    begin.elapsed().as_secs_f64()
}
