//! Deadlines under clocks that jump and servers that stop.

use std::time::Duration;

use aegis_common::escrow::event::Event;
use aegis_common::escrow::state::{CalledOff, Phase, Status};
use aegis_common::escrow::statement::Act;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::time::SignedDuration;

use super::super::message::Command;
use super::kit::people::DAYS;
use super::kit::{Server, Universe, until};

const WEEK: SignedDuration = SignedDuration::from_hours(24 * 7);

async fn timers(server: &Server, id: EscrowId) -> usize {
    server.count(id, |event| matches!(event, Event::Timer { .. })).await
}

/// Long enough for several looks at the deadlines.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}

#[actix::test]
async fn a_clock_that_jumps_a_week_both_ways_fires_what_is_due_once() {
    let mut universe = Universe::new();
    // Nobody answers here, and it is not of that.
    universe.options.patience.setup_seconds = u32::MAX;
    let server = universe.start().await;
    let id = server.create(&universe).await;
    let expiry = server.read(id).await.escrow.contract.expires_at;
    universe.clock.step(WEEK);
    universe.clock.step(-WEEK - WEEK);
    a_while().await;
    assert_eq!(timers(&server, id).await, 0);
    universe.clock.set(expiry - SignedDuration::from_hours(12));
    until("the first warning", async || timers(&server, id).await == 1).await;
    universe.clock.step(-WEEK);
    a_while().await;
    universe.clock.step(WEEK);
    a_while().await;
    assert_eq!(timers(&server, id).await, 1);
    universe.clock.step(WEEK);
    until("expiry", async || server.status(id).await == Status::Expired).await;
    universe.clock.step(-WEEK - WEEK);
    a_while().await;
    assert_eq!(timers(&server, id).await, 2);
    server.check_replay(id).await;
    server.stop();
}

#[actix::test]
async fn an_arbiter_who_does_not_answer_is_let_go_but_not_for_the_time_that_no_server_ran() {
    let universe = Universe::new();
    let hours = |hours| universe.clock.step(SignedDuration::from_hours(hours));
    let server = universe.start().await;
    let kept = server.create(&universe).await;
    for role in [Role::Buyer, Role::Seller] {
        server.say(&universe, kept, role, Act::Accept {}).await.unwrap();
    }
    hours(71);
    a_while().await;
    assert_eq!(server.status(kept).await, Status::PendingFunding);
    server.stop();
    // Three days are over, two of which nobody could answer.
    hours(48);
    let again = universe.start().await;
    until("the deadline is put off", async || {
        again.count(kept, |event| matches!(event, Event::Outage { .. })).await == 1
    })
    .await;
    a_while().await;
    assert_eq!(again.status(kept).await, Status::PendingFunding);
    let awaited = again.read(kept).await.escrow.awaited.unwrap();
    // The server had noted that it ran ten seconds before its end at the earliest.
    assert!((48 * 3_600..=48 * 3_600 + 10).contains(&awaited.put_off), "{}", awaited.put_off);
    hours(2);
    until("the arbiter is let go", async || again.status(kept).await == Status::Cancelled).await;
    let why = CalledOff::ArbiterSilent;
    assert_eq!(again.read(kept).await.escrow.phase, Phase::Cancelled { why });
    assert_eq!((timers(&again, kept).await, again.read(kept).await.escrow.wake_at()), (1, None));
    again.check_replay(kept).await;
    again.stop();
}

#[actix::test]
async fn a_pair_of_signers_has_its_turn_also_where_no_server_ran_for_longer() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = server.ready(&universe).await;
    universe.chain.mine(0, 10, vec![super::flow::deposit(&universe, 5).tx]);
    super::flow::reaches(&server, id, Status::Active).await;
    server.say(&universe, id, Role::Seller, Act::Refund {}).await.unwrap();
    let rotation = async |server: &Server| server.read(id).await.escrow.settling().unwrap().rotation;
    let turn = server.read(id).await.escrow.contract.cosign_seconds;
    server.stop();
    universe.clock.step(SignedDuration::from_secs(i64::from(turn) * 3));
    let again = universe.start().await;
    until("the turn is put off", async || {
        again.count(id, |event| matches!(event, Event::Outage { .. })).await == 1
    })
    .await;
    a_while().await;
    assert_eq!(rotation(&again).await, 0);
    universe.clock.step(SignedDuration::from_secs(i64::from(turn)));
    until("the next pair is asked", async || rotation(&again).await == 1).await;
    again.check_replay(id).await;
    again.stop();
}

#[actix::test]
async fn an_ended_escrow_is_watched_for_the_days_configured_and_no_longer() {
    let mut universe = Universe::new();
    (universe.options.watch_days, universe.options.unwatch) = (30, Duration::from_millis(20));
    let server = universe.start().await;
    let watched = async |server: &Server| {
        let stored = server.store.watched(None, 10).await.unwrap().len();
        (stored, server.handles.status().watched)
    };
    let ended = server.ready(&universe).await;
    universe.clock.step(SignedDuration::from_hours(24 * (DAYS + 1)));
    until("expiry", async || server.status(ended).await == Status::Expired).await;
    let funded = server.ready(&universe).await;
    universe.chain.mine(0, 10, vec![super::flow::deposit(&universe, 5).tx]);
    super::flow::reaches(&server, funded, Status::Active).await;
    // Both were paid, as they share a wallet: the one that had ended is to be refunded.
    assert_eq!(watched(&server).await, (2, 2));
    let deleted = server.ready(&universe).await;
    let by = universe.people.id(aegis_common::role::Role::Buyer);
    server.tell(deleted, Command::Delete { by }).await.unwrap();
    universe.clock.step(SignedDuration::from_hours(24 * 30));
    a_while().await;
    assert_eq!(watched(&server).await, (3, 3), "not a moment too early");
    let held = server.read(deleted).await;
    universe.clock.step(SignedDuration::from_millis(1));
    until("the watch ends", async || watched(&server).await == (2, 2)).await;
    assert_eq!(server.read(deleted).await.version, held.version);
    assert_eq!(server.status(deleted).await, Status::Cancelled);
    server.stop();
    let again = universe.start().await;
    until("the list is loaded", async || watched(&again).await == (2, 2)).await;
    again.stop();
}

#[actix::test]
async fn watches_that_ended_while_the_server_was_down_are_not_begun_again() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = server.ready(&universe).await;
    let by = universe.people.id(aegis_common::role::Role::Buyer);
    server.tell(id, Command::Delete { by }).await.unwrap();
    server.stop();
    universe.clock.step(SignedDuration::from_hours(24 * 31));
    let again = universe.start().await;
    assert_eq!(again.handles.status().watched, 0);
    assert!(again.store.watched(None, 10).await.unwrap().is_empty());
    assert!(again.store.view_key(id).await.unwrap().is_some(), "the key stays, for an audit");
    again.stop();
}

#[actix::test]
async fn what_fell_due_while_the_server_was_down_fires_once_at_the_start() {
    let universe = Universe::new();
    let server = universe.start().await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(server.create(&universe).await);
    }
    server.stop();
    universe.clock.step(SignedDuration::from_hours(24 * (DAYS + 7)));
    for _ in 0..2 {
        let server = universe.start().await;
        for id in &ids {
            until("expiry", async || server.status(*id).await == Status::Expired).await;
            assert_eq!(timers(&server, *id).await, 1);
        }
        a_while().await;
        server.check_replay(ids[0]).await;
        server.stop();
    }
}

#[actix::test]
async fn a_payment_that_became_final_while_the_server_was_down_counts_before_the_expiry_that_passed_meanwhile()
 {
    for _ in 0..5 {
        let universe = Universe::new();
        let server = universe.start().await;
        let id = server.ready(&universe).await;
        server.stop();
        universe.chain.mine(0, 12, vec![super::flow::deposit(&universe, 5).tx]);
        universe.clock.step(SignedDuration::from_hours(24 * (DAYS + 1)));
        let again = universe.start().await;
        until("expiry", async || again.status(id).await == Status::TimelockDefaultTriggered).await;
        let held = again.read(id).await;
        assert!(held.escrow.settling().is_some_and(|settling| !settling.partial), "it was funded");
        again.check_replay(id).await;
        again.stop();
    }
}
