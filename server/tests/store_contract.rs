//! One contract, proven on both real databases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "store/arbiters.rs"]
mod arbiters;
#[path = "store/credentials.rs"]
mod credentials;
#[path = "store/durability.rs"]
mod durability;
#[path = "store/lists.rs"]
mod lists;
#[path = "store/market.rs"]
mod market;
#[path = "store/operator.rs"]
mod operator;
#[path = "store/orders.rs"]
mod orders;
#[path = "store/outside.rs"]
mod outside;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/rows.rs"]
mod rows;
#[path = "support/seed.rs"]
#[allow(dead_code, reason = "shared with the bench")]
mod seed;
#[path = "store/whole.rs"]
mod whole;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aegis_common::address::Network;
use aegis_common::hash::Hash32;
use aegis_common::time::Timestamp;
use aegis_server::crypto::{Keyring, SealError};
use aegis_server::store::{
    CommitError, DatabaseUrl, Expected, MAX_PAGE, Role, Store, StoreError, StoreOptions, Tip,
};
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};
use postgres::Postgres;
use rows::{answer, keyring, next, now, open, opening, parties, sqlite, user, watched};

/// Changes rows behind the store's back.
fn tamper(url: &DatabaseUrl, sql: &str) {
    match url {
        DatabaseUrl::Sqlite(path) => {
            let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            conn.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
            conn.batch_execute(sql).unwrap();
        }
        DatabaseUrl::Postgres(url) => PgConnection::establish(url).unwrap().batch_execute(sql).unwrap(),
    }
}

async fn contract(url: &DatabaseUrl) {
    let store = open(url);
    store.ping().await.unwrap();
    accounts(&store).await;

    commits(&store).await;

    bad_neighbours(&store).await;

    many_writers(&store).await;

    searches(&store).await;

    lists::lists(&store).await;
    lists::unknown_status(&store).await;
    lists::stale(&store).await;
    lists::old_titles(url, &store).await;

    feeds(&store).await;

    falling_behind(&store).await;

    chain(&store).await;

    arbiters::arbiters(&store).await;
    credentials::credentials(url, &store).await;
    outside::outside(url, &store).await;
    operator::operator(url, &store).await;
    operator::inbox(&store).await;
    market::market(url, &store).await;
    orders::orders(url, &store).await;
    secrets(url, &store).await;
    whole::unwatching(&store).await;
    whole::dump(url, &store).await;
    corruption(url, &store).await;
    // Opening again migrates nothing and loses nothing.
    let again = open(url);
    assert!(again.user_by_name("ALICE").await.unwrap().is_some());
}

async fn accounts(store: &Store) {
    let alice = user("Alice", Role::User);
    store.insert_user(alice.clone()).await.unwrap();
    assert_eq!(store.user(alice.id).await.unwrap(), Some(alice.clone()));
    assert_eq!(store.user_by_name("aLICE").await.unwrap(), Some(alice.clone()));
    assert_eq!(store.user_by_name("bob").await.unwrap(), None);
    assert_eq!(store.insert_user(user("ALICE", Role::User)).await, Err(StoreError::UsernameTaken));
    let same_id = aegis_server::store::UserRow { id: alice.id, ..user("carol", Role::User) };
    assert_eq!(store.insert_user(same_id).await, Err(StoreError::Duplicate));
    assert!(matches!(store.insert_user(user("", Role::User)).await, Err(StoreError::Inconsistent(_))));
}

async fn commits(store: &Store) {
    let people = parties(store).await;
    let mut first = opening(people);
    first.idempotency = Some(answer(people[0], "create"));
    store.commit(first.clone()).await.unwrap();
    assert_eq!(store.escrow(first.escrow.id).await.unwrap(), Some(first.escrow.clone()));
    assert_eq!(store.idempotency(people[0], "create".to_owned()).await.unwrap(), first.idempotency.clone());

    // The same again: the answer given before counts; without a key it is a duplicate.
    assert_eq!(store.commit(first.clone()).await, Err(CommitError::IdempotencyConflict));
    let other = rows::opening(people);
    let retried = aegis_server::store::Commit { idempotency: first.idempotency.clone(), ..other };
    assert_eq!(store.commit(retried).await, Err(CommitError::IdempotencyConflict));
    first.idempotency = None;
    assert_eq!(store.commit(first.clone()).await, Err(CommitError::Duplicate));

    let second = next(&first);
    store.commit(second.clone()).await.unwrap();
    assert_eq!(store.commit(next(&first)).await, Err(CommitError::Stale { actual: 2 }));
    let journal = store.journal(first.escrow.id, -1, 10).await.unwrap();
    assert_eq!(journal, [first.journal.clone().unwrap(), second.journal.clone().unwrap()]);
    assert_eq!(store.journal(first.escrow.id, 1, 10).await.unwrap().len(), 1);

    assert_eq!(store.commit(next(&opening(people))).await, Err(CommitError::Missing));
    let mut skipping = next(&second);
    skipping.expected = Expected::Version(1);
    assert!(matches!(store.commit(skipping).await, Err(CommitError::Inconsistent(_))));
    let mut blind = next(&second);
    blind.escrow.watching = true;
    blind.view_key = Some(zeroize::Zeroizing::new([7; 32]));
    assert!(matches!(store.commit(blind).await, Err(CommitError::Inconsistent(_))), "from which block on?");
    assert_eq!(store.escrow(first.escrow.id).await.unwrap(), Some(second.escrow));

    assert_eq!(store.purge_idempotency(now(), 100).await.unwrap(), 0);
    let later = Timestamp::from_millisecond(now().as_millisecond() + 1).unwrap();
    assert_eq!(store.purge_idempotency(later, 100).await.unwrap(), 1);
}

async fn bad_neighbours(store: &Store) {
    let people = parties(store).await;
    let mut stored = opening(people);
    stored.idempotency = Some(answer(people[0], "used"));
    store.commit(stored.clone()).await.unwrap();
    // All are polled before the writer can take the first few, so that good and bad share transactions.
    let all = (0..90).map(|n| {
        let mut commit = opening(people);
        match n % 9 {
            0 => commit.events[1].user_id = rows::user("nobody", Role::User).id,
            1 => commit.events[0].event_id = stored.events[0].event_id,
            2 => commit = next(&opening(people)),
            3 => commit.idempotency = stored.idempotency.clone(),
            4 => commit.escrow.status = String::new(),
            _ => {}
        }
        let id = commit.escrow.id;
        async move { (n % 9, id, store.commit(commit).await) }
    });
    for (kind, id, outcome) in futures_util::future::join_all(all).await {
        match kind {
            0 | 4 => assert!(matches!(outcome, Err(CommitError::Inconsistent(_))), "{outcome:?}"),
            1 => assert_eq!(outcome, Err(CommitError::Duplicate)),
            2 => assert_eq!(outcome, Err(CommitError::Missing)),
            3 => assert_eq!(outcome, Err(CommitError::IdempotencyConflict)),
            _ => assert!(outcome.is_ok(), "{outcome:?}"),
        }
        assert_eq!(store.escrow(id).await.unwrap().is_some(), kind > 4);
        assert_eq!(store.journal(id, -1, 10).await.unwrap().len(), usize::from(kind > 4));
    }
}

/// 200 tasks add to ten counters; each retries until its own addition is in.
async fn many_writers(store: &Store) {
    let people = parties(store).await;
    let counters: Vec<_> = (0..10).map(|_| opening(people)).collect();
    for counter in &counters {
        store.commit(counter.clone()).await.unwrap();
    }
    let adds = (0..200).map(|n| {
        let (store, mut base) = (store.clone(), counters[n % counters.len()].clone());
        tokio::spawn(async move {
            loop {
                match store.commit(next(&base)).await {
                    Ok(_) => return,
                    Err(CommitError::Stale { actual }) => base.escrow.version = actual,
                    Err(other) => panic!("{other}"),
                }
            }
        })
    });
    for add in adds.collect::<Vec<_>>() {
        add.await.unwrap();
    }
    for counter in &counters {
        let end = store.escrow(counter.escrow.id).await.unwrap().unwrap();
        assert_eq!(end.version, 21);
        assert_eq!(store.journal(end.id, -1, 1000).await.unwrap().len(), 21);
    }
    let events = store.events_of(people[0], 0, 1000).await.unwrap();
    assert_eq!(events.len(), 210);
    assert!(events.is_sorted_by_key(|event| event.seq));
}

async fn searches(store: &Store) {
    let people = parties(store).await;
    let mut openings = Vec::new();
    for n in 0..6_u64 {
        let mut commit = opening(people);
        let at = now().as_millisecond() + 1000 + n.cast_signed();
        commit.escrow.wake_at = Some(Timestamp::from_millisecond(at).unwrap());
        commit.escrow.wake_height = Some(1000 + n);
        commit.escrow.highest_output = (n > 3).then_some(2000 + n);
        commit.escrow.unmined = u32::from(n == 5);
        if n == 0 {
            commit.escrow.status = "CANCELLED".to_owned();
        }
        store.commit(commit.clone()).await.unwrap();
        openings.push(commit.escrow);
    }
    let ids: Vec<_> = openings.iter().map(|row| row.id).collect();
    assert!(store.due_by_time(now(), 10).await.unwrap().is_empty());
    assert_eq!(store.due_by_time(openings[2].wake_at.unwrap(), 10).await.unwrap(), ids[..3]);
    assert_eq!(store.due_by_time(openings[5].wake_at.unwrap(), 2).await.unwrap(), ids[..2]);
    assert_eq!(store.due_by_height(1001, 10).await.unwrap(), ids[..2]);
    assert_eq!(store.unmined(None, 10).await.unwrap(), ids[5..]);
    assert!(store.unmined(Some(ids[5]), 10).await.unwrap().is_empty());
    assert_eq!(store.above_height(2004).await.unwrap(), ids[5..]);
    let arbiters = store.arbiters(None, 100).await.unwrap();
    let ours = arbiters.iter().find(|arbiter| arbiter.user.id == people[2]).unwrap();
    assert_eq!((ours.open, ours.disputed), (5, 0));
    // Clearing a column really clears it.
    let mut cleared = next(&opening(people));
    cleared.escrow = openings[5].clone();
    cleared.escrow.version = 2;
    (cleared.escrow.wake_at, cleared.escrow.highest_output) = (None, None);
    (cleared.journal, cleared.events) = (None, Vec::new());
    store.commit(cleared.clone()).await.unwrap();
    assert_eq!(store.escrow(ids[5]).await.unwrap(), Some(cleared.escrow));
}

async fn falling_behind(store: &Store) {
    let mut commit = watched(opening(parties(store).await), [7; 32]);
    // Before all others of this test.
    let early = Timestamp::from_millisecond(1_000).unwrap();
    commit.escrow.wake_at = Some(early);
    let id = commit.escrow.id;
    store.commit(commit).await.unwrap();
    let behind = async || store.watched_one(id).await.unwrap().unwrap().behind_from;
    let due = async || store.due_by_time(early, 10).await.unwrap();
    assert_eq!((behind().await, due().await), (None, vec![id]));
    for (height, first) in [(60, 60), (50, 50), (70, 50)] {
        store.fall_behind(id, height).await.unwrap();
        assert_eq!(behind().await, Some(first), "the first block that it missed");
    }
    assert!(due().await.is_empty(), "its deadlines wait");
    store.caught_up(id, 60).await.unwrap();
    assert_eq!(behind().await, Some(50), "it fell further behind meanwhile");
    store.caught_up(id, 50).await.unwrap();
    assert_eq!((behind().await, due().await), (None, vec![id]));
    // What is not watched is behind nothing.
    let asleep = opening(parties(store).await);
    store.commit(asleep.clone()).await.unwrap();
    store.fall_behind(asleep.escrow.id, 5).await.unwrap();
    assert!(store.watched_one(asleep.escrow.id).await.unwrap().is_none());
}

async fn feeds(store: &Store) {
    let people = parties(store).await;
    let commit = opening(people);
    store.commit(commit.clone()).await.unwrap();
    let seller = store.events_of(people[1], 0, 10).await.unwrap();
    assert_eq!(seller.len(), 1);
    assert_eq!(seller[0].event_id, commit.events[1].event_id);
    assert!(store.events_of(people[1], seller[0].seq, 10).await.unwrap().is_empty());
    let buyer = store.events_of(people[0], 0, 10).await.unwrap();
    let all = store.events_after(buyer[0].seq - 1, 10).await.unwrap();
    assert_eq!(all, [buyer, seller].concat(), "in the order given");
    assert_eq!(store.outbox_cursor("push").await.unwrap(), 0);
    for (set, got) in [(5, 5), (9, 9), (7, 9)] {
        store.set_outbox_cursor("push", set).await.unwrap();
        assert_eq!(store.outbox_cursor("push").await.unwrap(), got);
    }
}

async fn chain(store: &Store) {
    let tip = |height: u64| Tip { height, hash: Hash32::sha256(&height.to_le_bytes()) };
    let net = Network::Regtest;
    assert_eq!(store.chain_progress(net).await.unwrap(), None);
    store.advance_chain(net, (1..=150).map(tip).collect()).await.unwrap();
    store.advance_chain(net, (151..=400).map(tip).collect()).await.unwrap();
    store.advance_chain(net, vec![tip(401)]).await.unwrap();
    assert_eq!(store.chain_progress(net).await.unwrap(), Some(tip(401)));
    assert_eq!(store.chain_blocks(net).await.unwrap(), (202..=401).rev().map(tip).collect::<Vec<_>>());
    assert!(store.advance_chain(net, vec![tip(401)]).await.is_err());
    assert_eq!(store.rewind_chain(net, 100).await.unwrap(), None);
    assert_eq!(store.rewind_chain(net, 390).await.unwrap(), Some(tip(390)));
    assert_eq!(store.chain_progress(net).await.unwrap(), Some(tip(390)));
    store.advance_chain(net, vec![tip(391)]).await.unwrap();
    assert_eq!(store.chain_progress(Network::Mainnet).await.unwrap(), None);
}

async fn secrets(url: &DatabaseUrl, store: &Store) {
    let people = parties(store).await;
    let commit = watched(opening(people), [7; 32]);
    let id = commit.escrow.id;
    store.commit(commit.clone()).await.unwrap();
    // A later change without a key keeps it.
    store.commit(next(&commit)).await.unwrap();
    assert_eq!(*store.view_key(id).await.unwrap().unwrap(), [7; 32]);
    let wrong = Store::open(url, keyring("b"), StoreOptions::default()).unwrap();
    assert!(wrong.escrow(id).await.is_ok());
    let lost = StoreError::Sealed(SealError::UnknownKey(keyring("a").current_id()));
    assert_eq!(wrong.view_key(id).await.map(drop), Err(lost.clone()));
    assert_eq!(wrong.watched(None, 10).await.map(drop), Err(lost));

    // Rotation: both keys for a while, then only the new one.
    let both = Keyring::parse(&format!("{},{}", "a".repeat(64), "b".repeat(64))).unwrap();
    let both = Store::open(url, Arc::new(both), StoreOptions::default()).unwrap();
    let first = both.reseal(None, MAX_PAGE).await.unwrap();
    assert!(first.changed >= 1 && first.next.is_some());
    assert_eq!(both.reseal(None, MAX_PAGE).await.unwrap().changed, 0);
    let end = both.reseal(first.next, MAX_PAGE).await.unwrap();
    assert_eq!((end.next, end.changed), (None, 0));
    assert_eq!(*wrong.view_key(id).await.unwrap().unwrap(), [7; 32]);
    store.commit(watched(next(&next(&commit)), [7; 32])).await.unwrap();

    // A sealed key moved to another escrow does not open.
    let other = watched(opening(people), [8; 32]);
    store.commit(other.clone()).await.unwrap();
    let keys = store.watched(Some(id), 10).await.unwrap();
    assert_eq!((keys.len(), *keys[0].view_key, keys[0].watch_from), (1, [8; 32], 100));
    let from = format!("(SELECT e.view_key FROM escrows e WHERE e.id = {})", literal(url, id.0.as_bytes()));
    let at = literal(url, other.escrow.id.0.as_bytes());
    tamper(url, &format!("UPDATE escrows SET view_key = {from} WHERE id = {at}"));
    let moved = store.view_key(other.escrow.id).await;
    assert_eq!(moved.map(drop), Err(StoreError::Sealed(SealError::Forged)));
}

fn literal(url: &DatabaseUrl, bytes: &[u8]) -> String {
    match url {
        DatabaseUrl::Sqlite(_) => format!("x'{}'", hex::encode(bytes)),
        DatabaseUrl::Postgres(_) => format!("'\\x{}'", hex::encode(bytes)),
    }
}

async fn corruption(url: &DatabaseUrl, store: &Store) {
    let people = parties(store).await;
    for damage in ["snapshot = '{'", "updated_at = 9223372036854775807", "snapshot = ''"] {
        let commit = opening(people);
        store.commit(commit.clone()).await.unwrap();
        let at = literal(url, commit.escrow.id.0.as_bytes());
        tamper(url, &format!("UPDATE escrows SET {damage} WHERE id = {at}"));
        let loaded = store.escrow(commit.escrow.id).await;
        assert!(matches!(loaded, Err(StoreError::Inconsistent(_))), "{damage}: {loaded:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    contract(&sqlite(dir.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_on_postgres_and_a_restart_of_it_is_survived() {
    let server = Postgres::start();
    let url = server.database("contract");
    contract(&url).await;

    let store = open(&url);
    let people = parties(&store).await;
    let first = opening(people);
    store.commit(first.clone()).await.unwrap();
    server.restart();
    store.commit(next(&first)).await.unwrap();
    assert_eq!(store.escrow(first.escrow.id).await.unwrap().unwrap().version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_read_from_an_index_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let url = sqlite(dir.path());
    lists::plans(&url, &open(&url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_read_from_an_index_on_postgres() {
    let server = Postgres::start();
    let url = server.database("lists");
    lists::plans(&url, &open(&url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once_and_loses_nothing_it_took() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { queue: 1, ..StoreOptions::default() };
    let store = Store::open(&sqlite(dir.path()), keyring("a"), options).unwrap();
    let people = parties(&store).await;
    let all = (0..50).map(|_| {
        let (store, commit) = (store.clone(), opening(people));
        async move { (commit.escrow.id, store.commit(commit).await) }
    });
    let mut refused = 0;
    for (id, outcome) in futures_util::future::join_all(all).await {
        assert_eq!(store.escrow(id).await.unwrap().is_some(), outcome.is_ok());
        refused += i32::from(outcome == Err(CommitError::Busy));
    }
    assert!(refused > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_says_why() {
    let url: DatabaseUrl = "postgres://nobody@127.0.0.1:1/none".parse().unwrap();
    let Err(StoreError::Unavailable(why)) = Store::open(&url, keyring("a"), StoreOptions::default()) else {
        panic!("opened");
    };
    assert!(why.contains("refused"), "{why}");
    for bad in ["", "sqlite:", "sqlite::memory:", "mysql://x", "file.db"] {
        assert_eq!(bad.parse::<DatabaseUrl>(), Err(StoreError::Url), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_watched_escrows_load_fast() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&sqlite(dir.path()));
    let people = parties(&store).await;
    let count = 20_000;
    for _ in 0..count / 1000 {
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
    let took = begin.elapsed();
    assert_eq!(seen, count);
    // Guards against a quadratic mistake; `benches/` measures 100,000 in an optimised build.
    assert!(took < Duration::from_secs(4), "{took:?}");
}
