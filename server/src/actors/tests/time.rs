//! Deadlines under clocks that jump and servers that stop.

use std::time::Duration;

use aegis_common::escrow::event::Event;
use aegis_common::escrow::state::Status;
use aegis_common::ids::EscrowId;
use aegis_common::time::SignedDuration;

use super::kit::people::DAYS;
use super::kit::{Server, Universe, until};

const WEEK: SignedDuration = SignedDuration::from_hours(24 * 7);

async fn timers(server: &Server, id: EscrowId) -> usize {
    server.count(id, |event| matches!(event, Event::Timer)).await
}

/// Long enough for several looks at the deadlines.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}

#[actix::test]
async fn a_clock_that_jumps_a_week_both_ways_fires_what_is_due_once() {
    let universe = Universe::new();
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
