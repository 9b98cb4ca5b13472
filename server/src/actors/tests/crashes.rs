//! Panics, failing databases, full queues, lost dispatchers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::Actor;
use aegis_common::escrow::state::Status;
use aegis_common::escrow::statement::Act;
use aegis_common::escrow::transition::Rejected;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use futures_util::future::join_all;

use super::super::message::{Command, Refusal};
use super::super::outbox::{Outbox, Waiting};
use super::kit::{Listener, Server, Told, Universe, until};

/// A connection of somebody else to the same database.
fn raw(universe: &Universe) -> SqliteConnection {
    let path = universe.dir.path().join("aegis.db");
    let mut raw = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    raw.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    raw
}

/// The next so many decisions of any escrow panic.
fn panic_next(server: &Server, count: usize) {
    let left = AtomicUsize::new(count);
    let hook = move |_: &_, _: &_| {
        let some_left = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(some_left.is_err(), "a panic on purpose");
    };
    server.handles.set_hook(Arc::new(hook));
}

#[actix::test]
async fn an_actor_that_panics_is_restarted_from_disk_after_a_pause() {
    let mut universe = Universe::new();
    // Long enough for the next command to come within it on a loaded machine.
    universe.options.back_off = Duration::from_secs(2);
    universe.options.panic_window = Duration::from_secs(60);
    let server = universe.start().await;
    let id = server.create(&universe).await;
    let other = server.create(&universe).await;
    let accepted = server.say(&universe, id, Role::Buyer, Act::Accept {}).await.unwrap();
    let command = server.command(&universe, id, Role::Seller, Act::Accept {}).await;
    panic_next(&server, 1);
    assert!(matches!(server.tell(id, command).await, Err(Refusal::Failed)));
    assert!(matches!(server.tell(id, Command::Read).await, Err(Refusal::Failed)), "it rests");
    server.read(other).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let again = server.read(id).await;
    assert_eq!((again.version, again.escrow), (accepted.version, accepted.escrow));
    server.say(&universe, id, Role::Seller, Act::Accept {}).await.unwrap();
    let status = server.handles.status();
    assert_eq!((status.restarted, status.given_up), (1, 0));
    server.check_replay(id).await;
    server.stop();
}

#[actix::test]
async fn an_actor_that_keeps_panicking_is_left_alone_loudly_and_harms_no_other() {
    let universe = Universe::new();
    let server = universe.start().await;
    let (id, other) = (server.create(&universe).await, server.create(&universe).await);
    panic_next(&server, 3);
    for pause in [30, 60, 0] {
        assert!(matches!(server.tell(id, Command::Read).await, Err(Refusal::Failed)));
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(matches!(server.tell(id, Command::Read).await, Err(Refusal::Failed)), "left alone");
    server.read(other).await;
    let status = server.handles.status();
    assert_eq!((status.restarted, status.given_up), (3, 1));
    tokio::time::sleep(Duration::from_millis(600)).await;
    server.read(id).await;
    server.stop();
}

#[actix::test]
async fn an_escrow_that_fails_does_not_hold_up_the_chain_and_gets_its_news_later() {
    let universe = Universe::new();
    let server = universe.start().await;
    let (sick, well) = (server.ready(&universe).await, server.ready(&universe).await);
    let failing = Arc::new(AtomicBool::new(true));
    let fails = Arc::clone(&failing);
    server.handles.set_hook(Arc::new(move |id: &EscrowId, _: &_| {
        assert!(*id != sick || !fails.load(Ordering::SeqCst), "a panic on purpose");
    }));
    // Both are watched with one wallet, so the payment concerns both.
    universe.chain.mine(0, 10, vec![super::flow::deposit(&universe, 5).tx]);
    super::flow::reaches(&server, well, Status::Active).await;
    assert!(matches!(server.tell(sick, Command::Read).await, Err(Refusal::Failed)));
    failing.store(false, Ordering::SeqCst);
    let active = async || match server.tell(sick, Command::Read).await {
        Ok(snapshot) => snapshot.escrow.status() == Status::Active,
        Err(_) => false,
    };
    until("the sick one is well", active).await;
    server.check_replay(sick).await;
    server.stop();
}

#[actix::test]
async fn what_a_failing_escrow_missed_is_told_after_a_restart_too() {
    let universe = Universe::new();
    let server = universe.start().await;
    let (sick, well) = (server.ready(&universe).await, server.ready(&universe).await);
    let behind = async || server.store.escrow(sick).await.unwrap().unwrap().behind_from;
    until("it knows everything", async || behind().await.is_none()).await;
    server.handles.set_hook(Arc::new(move |id: &EscrowId, _: &_| {
        assert!(*id != sick, "a panic on purpose");
    }));
    universe.chain.mine(0, 10, vec![super::flow::deposit(&universe, 5).tx]);
    super::flow::reaches(&server, well, Status::Active).await;
    assert!(behind().await.is_some(), "that it missed something is on disk");
    server.stop();
    // The follower has passed these blocks, and by more than any reorganisation reaches.
    universe.chain.mine(0, 120, Vec::new());
    let again = universe.start().await;
    super::flow::reaches(&again, sick, Status::Active).await;
    let caught_up = async || again.store.escrow(sick).await.unwrap().unwrap().behind_from.is_none();
    until("caught up", caught_up).await;
    again.check_replay(sick).await;
    again.stop();
}

#[actix::test]
async fn a_commit_that_fails_leaves_the_state_and_says_why() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = server.create(&universe).await;
    let before = server.read(id).await;
    let mut raw = raw(&universe);
    for (text, full) in [("database or disk is full", true), ("disk I/O error", false)] {
        let trigger =
            format!("CREATE TRIGGER t BEFORE INSERT ON journal BEGIN SELECT RAISE(ABORT, '{text}'); END");
        raw.batch_execute(&trigger).unwrap();
        let refused = server.say(&universe, id, Role::Buyer, Act::Accept {}).await.unwrap_err();
        match refused {
            Refusal::Full => assert!(full),
            Refusal::Unavailable => assert!(!full),
            other => panic!("{other:?}"),
        }
        raw.batch_execute("DROP TRIGGER t").unwrap();
        let after = server.read(id).await;
        assert_eq!((before.version, &before.escrow), (after.version, &after.escrow));
    }
    server.say(&universe, id, Role::Buyer, Act::Accept {}).await.unwrap();
    server.check_replay(id).await;
    server.stop();
}

#[actix::test]
async fn a_full_mailbox_is_an_answer_and_not_a_wait() {
    let mut universe = Universe::new();
    universe.options.escrow_mailbox = 2;
    let server = universe.start().await;
    let id = server.create(&universe).await;
    server.read(id).await;
    let answers = join_all((0..100).map(|_| server.tell(id, Command::Read))).await;
    let busy = answers.iter().filter(|answer| matches!(answer, Err(Refusal::Busy))).count();
    assert!(busy > 0);
    assert_eq!(busy + answers.iter().filter(|answer| answer.is_ok()).count(), 100);
    let (read, timer) = (server.tell(id, Command::Read), server.tell(id, Command::Timer));
    let crowd = join_all((0..100).map(|_| server.tell(id, Command::Read)));
    let (_, _, timer) = tokio::join!(read, crowd, timer);
    assert!(matches!(timer, Err(Refusal::Rejected(Rejected::NotDue))), "no crowd holds up a timer");
    server.read(id).await;
    server.stop();
}

#[actix::test]
async fn an_idle_actor_is_put_to_sleep_and_wakes_as_it_was() {
    let mut universe = Universe::new();
    universe.options.idle = Duration::from_millis(50);
    let server = universe.start().await;
    let id = server.create(&universe).await;
    let before = server.say(&universe, id, Role::Buyer, Act::Accept {}).await.unwrap();
    until("asleep", async || server.handles.status().live == 0).await;
    let after = server.read(id).await;
    assert_eq!((before.version, before.escrow), (after.version, after.escrow));
    let status = server.handles.status();
    assert!(status.activated >= 2 && status.passivated >= 1, "{status:?}");
    server.say(&universe, id, Role::Seller, Act::Accept {}).await.unwrap();
    server.check_replay(id).await;
    server.stop();
}

#[actix::test]
async fn more_escrows_than_may_be_alive_take_turns() {
    let mut universe = Universe::new();
    universe.options.live = 8;
    let server = universe.start().await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(server.create(&universe).await);
    }
    for id in ids.iter().chain(&ids) {
        server.read(*id).await;
        assert!(server.handles.status().live <= 8);
    }
    server.stop();
}

#[actix::test]
async fn a_crash_in_the_middle_of_dispatch_repeats_events_and_loses_none() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = server.ready(&universe).await;
    let world = server.handles.world();
    let store = server.store.clone();
    let all = store.events_after(0, 10_000).await.unwrap();
    assert!(all.len() > 40 && all.iter().all(|event| event.escrow_id == Some(id)));
    // A note of the server's own dispatcher that is on its way to the database would outlive the server.
    let last = all.last().unwrap().seq;
    until("dispatched", async || store.outbox_cursor("sessions").await.unwrap() == last).await;
    server.stop();
    // The same feed from its beginning, by a dispatcher of the test's own.
    let mut raw = raw(&universe);
    raw.batch_execute("DELETE FROM outbox_cursor").unwrap();
    let told: Told = Arc::new(Mutex::default());
    for left in [7, 20, usize::MAX] {
        let listener = Listener { told: Arc::clone(&told), left }.start();
        let outbox = Outbox::new(Arc::clone(&world), listener.recipient(), Duration::from_millis(10));
        let outcome = outbox.dispatch().await;
        assert_eq!(matches!(outcome, Err(Waiting::Sessions)), left != usize::MAX);
    }
    let told = told.lock().unwrap();
    assert!(told.len() > all.len(), "some came twice");
    for role in Role::ALL {
        // A socket passes on what is above the last position it passed on.
        let mut passed: Vec<(i64, uuid::Uuid)> = Vec::new();
        for (_, frame) in told.iter().filter(|(user, _)| *user == universe.people.id(role)) {
            if passed.last().is_none_or(|(last, _)| *last < frame.seq) {
                passed.push((frame.seq, frame.id));
            } else {
                assert!(passed.contains(&(frame.seq, frame.id)), "a repetition is the same event");
            }
        }
        let mine = all.iter().filter(|event| event.user_id == universe.people.id(role));
        assert_eq!(passed, mine.map(|event| (event.seq, event.event_id)).collect::<Vec<_>>());
    }
}
