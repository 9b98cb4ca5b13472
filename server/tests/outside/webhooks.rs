//! Webhooks, delivered by real couriers to real sockets.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use aegis_common::ids::DeliveryId;
use aegis_common::time::{Clock, SignedDuration, Timestamp};
use aegis_common::wire::webhook::{DeliveryStatus, DisabledBecause, WebhookCall, bounds};
use aegis_server::integrations::{IntegrationError, LEASE, PATIENCE};
use aegis_server::store::{ByHand, Queued, WebhookChanges};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::postgres::Postgres;
use crate::support::{Mode, Receiver, SECRET, Seen, World, door, drain, until};

/// HMAC (RFC 2104) from its definition.
fn hmac(key: &[u8], message: &[u8]) -> String {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    hex::encode(Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize())
}

fn assert_signed(seen: &Seen, at: Timestamp) {
    let seconds = at.as_second();
    let signed = hmac(SECRET.as_bytes(), &[format!("{seconds}.").as_bytes(), &seen.body].concat());
    assert_eq!(seen.header("aegis-signature"), format!("t={seconds},v1={signed}"));
    assert_eq!(seen.header("aegis-delivery"), seen.delivery().to_string());
    assert_eq!(seen.header("content-type"), "application/json");
}

fn seqs(seen: &[Seen]) -> Vec<i64> {
    seen.iter().map(Seen::seq).collect()
}

#[tokio::test]
async fn every_event_is_delivered_once_in_order_signed_as_it_is_in_the_feed() {
    let (world, receiver) = (World::new().await, Receiver::start(Mode::status(204)).await);
    world.event(0).await;
    let hook = world.webhook(receiver.url(), None).await;
    for n in 1..=300 {
        world.event(n).await;
    }
    assert_eq!(drain(&world.courier()).await, 300);
    let (seen, feed) = (receiver.seen(), world.feed().await);
    // What was before it is not sent.
    assert_eq!(seqs(&seen), feed[1..].iter().map(|event| event.seq).collect::<Vec<_>>());
    for (request, event) in seen.iter().zip(&feed[1..]) {
        assert_signed(request, world.clock.now());
        let body = request.json();
        assert_eq!(body["webhookId"], hook.to_string());
        assert_eq!((&body["type"], &body["isRedelivery"]), (&"AccountNotice".into(), &false.into()));
        assert_eq!(body["event"]["id"], event.event_id.to_string());
        assert_eq!(
            body["event"]["payload"],
            serde_json::from_str::<serde_json::Value>(&event.payload).unwrap()
        );
    }
    assert_eq!(drain(&world.courier()).await, 0);
}

#[tokio::test]
async fn a_receiver_that_is_down_for_72_hours_loses_nothing_and_order_and_ids_stay() {
    let (world, receiver) = (World::new().await, Receiver::start(Mode::Close).await);
    let hook = world.webhook(receiver.url(), None).await;
    for n in 0..20 {
        world.event(n).await;
    }
    let (courier, begun) = (world.courier(), world.clock.now());
    // To the second: 10 s, 1 min, 10 min, doubling to 6 h, and the last one 72 h after the first.
    let mut pauses = vec![10, 60, 600, 1200, 2400, 4800, 9600, 19200];
    pauses.resize(8 + 10, 21_600);
    pauses.push(72 * 3600 - pauses.iter().sum::<i64>());
    assert!((1..=21_600).contains(pauses.last().unwrap()));
    for (n, pause) in pauses.iter().enumerate() {
        assert_eq!(courier.turn().await.unwrap(), 1, "attempt {n}");
        let (state, now) = (world.state(hook).await, world.clock.now());
        assert_eq!(state.due_at, Some(now + SignedDuration::from_secs(*pause)), "attempt {n}");
        assert_eq!((state.failures as usize, state.enabled), (n + 1, true));
        world.clock.set(state.due_at.unwrap() - SignedDuration::from_millis(1));
        assert_eq!(courier.turn().await.unwrap(), 0, "attempt {n} came early");
        world.clock.set(state.due_at.unwrap());
        // What happens meanwhile waits behind; and a receiver fails in more than one way.
        world.event(100 + n).await;
        receiver.set(if n % 2 == 0 { Mode::status(503) } else { Mode::Close });
    }
    assert_eq!(world.clock.now(), begun + PATIENCE);
    assert_eq!(courier.turn().await.unwrap(), 1);
    let state = world.state(hook).await;
    assert_eq!((state.enabled, state.because), (false, Some(DisabledBecause::Failing)));
    let (feed, tried) = (world.feed().await, receiver.seen());
    let told: Vec<_> = feed.iter().filter(|event| event.kind == "WebhookDisabled").collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].payload.contains(&hook.to_string()) && told[0].payload.contains("failing"), "{told:?}");
    // Only the first was tried, with the same bytes each time.
    assert_eq!(tried.len(), pauses.len() + 1);
    assert!(tried.iter().all(|request| request.body == tried[0].body));
    world.clock.advance(SignedDuration::from_hours(100));
    receiver.set(Mode::status(200));
    world.event(999).await;
    assert_eq!(drain(&courier).await, 0, "it is disabled");

    world.enable(hook, true).await;
    let feed = world.feed().await;
    assert_eq!(drain(&courier).await, feed.len());
    let got = &receiver.seen()[tried.len()..];
    assert_eq!(seqs(got), feed.iter().map(|event| event.seq).collect::<Vec<_>>());
    assert_eq!(got[0].delivery(), tried[0].delivery());
    let ids: BTreeSet<_> = got.iter().map(Seen::delivery).collect();
    assert_eq!(ids.len(), feed.len());
    let state = world.state(hook).await;
    assert_eq!((state.waiting, state.failures, state.because, state.due_at), (0, 0, None, None));
}

#[tokio::test]
async fn a_courier_that_dies_between_sending_and_noting_sends_again_under_the_same_id() {
    let (world, receiver) = (World::new().await, Receiver::start(Mode::Hold).await);
    let hook = world.webhook(receiver.url(), None).await;
    world.event(1).await;
    world.event(2).await;
    let courier = world.courier();
    let dying = tokio::spawn(async move { courier.turn().await });
    until("it is sent", async || receiver.seen().len() == 1).await;
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    receiver.set(Mode::status(200));
    let other = world.courier();
    assert_eq!(drain(&other).await, 0, "it is held");
    world.clock.advance(LEASE - SignedDuration::from_millis(1));
    assert_eq!(drain(&other).await, 0, "it is still held");
    world.clock.advance(SignedDuration::from_millis(1));
    assert_eq!(drain(&other).await, 2);
    let seen = receiver.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0].body, seen[1].body);
    assert!(seen[1].seq() < seen[2].seq());
    assert_eq!(world.state(hook).await.waiting, 0);
}

async fn two_couriers(world: &World) {
    let receiver = Receiver::start(Mode::status(200)).await;
    let mut hooks = Vec::new();
    for _ in 0..5 {
        hooks.push(world.webhook(receiver.url(), None).await);
    }
    for n in 0..20 {
        world.event(n).await;
    }
    let other = World::at(world.url.clone()).await;
    let work = async |world: &World| {
        let courier = world.courier();
        until("all is sent", async || {
            courier.turn().await.unwrap();
            receiver.seen().len() >= 100
        })
        .await;
    };
    tokio::join!(work(world), work(&other));
    drain(&world.courier()).await;
    let seen = receiver.seen();
    assert_eq!(seen.len(), 100);
    assert_eq!(seen.iter().map(Seen::delivery).collect::<BTreeSet<_>>().len(), 100);
    for hook in hooks {
        let id = hook.to_string();
        let of: Vec<Seen> =
            seen.iter().filter(|request| request.json()["webhookId"] == id.as_str()).cloned().collect();
        assert_eq!(of.len(), 20);
        assert!(seqs(&of).is_sorted(), "{:?}", seqs(&of));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_couriers_on_one_sqlite_file_send_each_delivery_once() {
    two_couriers(&World::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_couriers_on_one_postgres_send_each_delivery_once() {
    let postgres = Postgres::start();
    two_couriers(&World::at(postgres.database("couriers")).await).await;
}

#[tokio::test]
async fn a_receiver_that_says_nothing_holds_up_no_other() {
    let world = World::new().await;
    let (silent, quick) = (Receiver::start(Mode::Hold).await, Receiver::start(Mode::status(200)).await);
    let held = world.webhook(silent.url(), None).await;
    world.webhook(quick.url(), None).await;
    for n in 0..3 {
        world.event(n).await;
    }
    let patient = world.courier().within(Duration::from_secs(600));
    let courier = tokio::spawn(patient.run());
    until("the quick one has all", async || quick.seen().len() == 3).await;
    // The other is still waited for.
    assert_eq!((world.state(held).await.failures, silent.seen().len()), (0, 1));
    courier.abort();
}

#[tokio::test]
async fn nine_slow_webhooks_of_one_owner_hold_up_nobody_elses() {
    let world = World::new().await;
    let (silent, quick) = (Receiver::start(Mode::Hold).await, Receiver::start(Mode::status(200)).await);
    for _ in 0..9 {
        world.webhook(silent.url(), None).await;
    }
    let other = World::at(world.url.clone()).await;
    other.webhook(quick.url(), None).await;
    world.event(1).await;
    let courier = tokio::spawn(world.courier().within(Duration::from_secs(600)).run());
    until("the slow ones are called", async || silent.seen().len() == 2).await;
    for n in 0..3 {
        other.event(n).await;
    }
    until("the quick one has all", async || quick.seen().len() == 3).await;
    assert_eq!(silent.seen().len(), 2, "of one owner no more are called at a time");
    courier.abort();
}

#[tokio::test]
async fn pings_have_a_budget_beside_the_number_that_waits() {
    let (world, receiver) = (World::new().await, Receiver::start(Mode::status(200)).await);
    let hook = world.webhook(receiver.url(), None).await;
    let (courier, integrations) = (world.courier(), world.integrations(door()));
    let ping = async || integrations.send_by_hand(world.user, hook, ByHand::Ping).await;
    for n in 0..30 {
        ping().await.unwrap();
        if n % 10 == 9 {
            assert_eq!(drain(&courier).await, 10);
        }
    }
    assert!(matches!(ping().await, Err(IntegrationError::Limited { seconds: 10 })));
    world.clock.advance(SignedDuration::from_secs(10));
    ping().await.unwrap();
}

#[tokio::test]
async fn a_damaged_webhook_is_disabled_and_holds_up_no_other() {
    let (world, receiver) = (World::new().await, Receiver::start(Mode::status(200)).await);
    let damaged = world.webhook(receiver.url(), Some(&["AccountNotice"])).await;
    let hook = world.webhook(receiver.url(), None).await;
    world.tamper(&format!("UPDATE webhooks SET kinds = 'lost' WHERE id = x'{}'", damaged.0.simple()));
    world.event(1).await;
    drain(&world.courier()).await;
    assert_eq!(receiver.seen().len(), 1);
    assert_eq!(receiver.seen()[0].json()["webhookId"], hook.to_string());
    // Mended and enabled, it goes on with what happened.
    let mended =
        format!("UPDATE webhooks SET kinds = NULL, enabled = 1 WHERE id = x'{}'", damaged.0.simple());
    world.tamper(&mended);
    drain(&world.courier()).await;
    assert_eq!(receiver.seen().len(), 2);
}

#[tokio::test]
async fn what_the_server_can_not_read_is_a_failure_in_the_log() {
    let (world, receiver) = (World::new().await, Receiver::start(Mode::status(200)).await);
    let hook = world.webhook(receiver.url(), None).await;
    world.tamper(&format!(
        "INSERT INTO profiles (user_id, display_name, settings, updated_at) VALUES (x'{}', '', 'lost', 0)",
        world.user.0.simple()
    ));
    world.event(1).await;
    assert_eq!(drain(&world.courier()).await, 1);
    let log = world.store.deliveries_of(world.user, hook, None, 10).await.unwrap().unwrap();
    assert_eq!(log[0].last.as_ref().unwrap().error.as_deref(), Some("server"));
    assert_eq!((world.state(hook).await.failures, receiver.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_not_called_again_and_its_owner_is_told() {
    let (world, receiver) = (World::new().await, Receiver::start(Mode::status(410)).await);
    let hook = world.webhook(receiver.url(), None).await;
    world.event(1).await;
    assert_eq!(drain(&world.courier()).await, 1);
    let state = world.state(hook).await;
    assert_eq!((state.enabled, state.because, state.waiting), (false, Some(DisabledBecause::Gone), 2));
    let feed = world.feed().await;
    assert_eq!(feed.last().unwrap().kind, "WebhookDisabled");
    assert!(feed.last().unwrap().payload.contains("gone"));
    // Elsewhere it goes on where it stopped.
    let elsewhere = Receiver::start(Mode::status(200)).await;
    let changes =
        WebhookChanges { url: Some(elsewhere.url()), enabled: Some(true), ..WebhookChanges::default() };
    world.store.change_webhook(world.user, hook, changes, world.quiet()).await.unwrap();
    assert_eq!(drain(&world.courier()).await, 2);
    assert_eq!(seqs(&elsewhere.seen()), feed.iter().map(|event| event.seq).collect::<Vec<_>>());
    assert_eq!(receiver.seen().len(), 1);
}

#[tokio::test]
async fn one_that_its_owner_disables_keeps_what_happens_and_goes_on_with_it() {
    let (world, receiver) = (World::new().await, Receiver::start(Mode::status(200)).await);
    let hook = world.webhook(receiver.url(), None).await;
    world.enable(hook, false).await;
    for n in 0..3 {
        world.event(n).await;
    }
    assert_eq!(drain(&world.courier()).await, 0);
    assert_eq!(world.state(hook).await.waiting, 3);
    world.enable(hook, true).await;
    assert_eq!(drain(&world.courier()).await, 3);
    assert!(seqs(&receiver.seen()).is_sorted());
}

#[tokio::test]
async fn only_the_types_that_are_named_are_sent() {
    let (world, receiver) = (World::new().await, Receiver::start(Mode::status(200)).await);
    let other = Receiver::start(Mode::status(200)).await;
    world.webhook(receiver.url(), Some(&["PayoutSeen", "WebhookDisabled"])).await;
    let gone = world.webhook(other.url(), Some(&["AccountNotice"])).await;
    other.set(Mode::status(410));
    world.event(1).await;
    drain(&world.courier()).await;
    assert_eq!(world.state(gone).await.because, Some(DisabledBecause::Gone));
    let seen = receiver.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].json()["type"], "WebhookDisabled");
}

#[tokio::test]
async fn the_log_keeps_the_answer_and_a_delivery_is_sent_again_by_hand_for_the_same_event() {
    let world = World::new().await;
    let answer = format!("no\0t \u{20ac} now{}", "x".repeat(2000));
    let receiver = Receiver::start(Mode::body(500, &answer)).await;
    let hook = world.webhook(receiver.url(), None).await;
    world.event(1).await;
    let courier = world.courier();
    assert_eq!(drain(&courier).await, 1);
    let log = || world.store.deliveries_of(world.user, hook, None, 100);
    let first = log().await.unwrap().unwrap().remove(0);
    let last = first.last.clone().unwrap();
    assert_eq!((first.status, first.attempts), (DeliveryStatus::Waiting, 1));
    assert_eq!((last.at, last.http_status, last.error), (world.clock.now(), Some(500), None));
    let excerpt = last.excerpt.unwrap();
    assert!(excerpt.starts_with("no\u{fffd}t \u{20ac} nowxxx"), "{excerpt}");
    assert_eq!(excerpt.replace('\u{fffd}', "\0").len(), bounds::EXCERPT);

    receiver.set(Mode::status(200));
    let ask = |what| world.store.queue_by_hand(world.user, hook, what, bounds::BY_HAND, world.clock.now());
    let Queued::As(again) = ask(ByHand::Again(first.id)).await.unwrap() else { panic!() };
    let Queued::As(ping) = ask(ByHand::Ping).await.unwrap() else { panic!() };
    assert_eq!(drain(&courier).await, 0, "they wait behind the first");
    world.clock.advance(SignedDuration::from_secs(10));
    assert_eq!(drain(&courier).await, 3);
    let seen = receiver.seen()[1..].iter().map(Seen::json).collect::<Vec<_>>();
    assert_eq!(seen[0]["deliveryId"], first.id.to_string());
    assert_eq!(seen[1]["deliveryId"], again.id.to_string());
    assert_eq!(seen[1]["originalDeliveryId"], first.id.to_string());
    assert_eq!((&seen[1]["isRedelivery"], &seen[1]["event"]), (&true.into(), &seen[0]["event"]));
    assert_eq!((&seen[2]["type"], &seen[2]["event"]), (&"Ping".into(), &serde_json::Value::Null));
    assert_eq!(seen[2]["deliveryId"], ping.id.to_string());
    let log = log().await.unwrap().unwrap();
    assert!(log.iter().all(|row| row.status == DeliveryStatus::Delivered), "{log:?}");
    assert!(log.is_sorted_by_key(|row| std::cmp::Reverse(row.seq)) && log.len() == 3);
    // Somebody else's webhook has no log, and sends nothing.
    let other = World::at(world.url.clone()).await;
    assert!(other.store.deliveries_of(other.user, hook, None, 10).await.unwrap().is_none());
    assert!(other.store.delivery(other.user, hook, first.id).await.unwrap().is_none());
    let foreign = other.store.queue_by_hand(other.user, hook, ByHand::Ping, 20, world.clock.now());
    assert_eq!(foreign.await.unwrap(), Queued::Missing);
    let unknown = ask(ByHand::Again(DeliveryId(uuid::Uuid::now_v7())));
    assert_eq!(unknown.await.unwrap(), Queued::Missing);
}

#[tokio::test]
async fn what_is_older_than_the_log_is_forgotten_and_the_queue_goes_on() {
    let (world, receiver) = (World::new().await, Receiver::start(Mode::Close).await);
    let hook = world.webhook(receiver.url(), None).await;
    world.event(1).await;
    let courier = world.courier();
    assert_eq!(drain(&courier).await, 1);
    world.clock.advance(SignedDuration::from_hours(1));
    world.event(2).await;
    assert_eq!(drain(&courier).await, 1);
    receiver.set(Mode::status(200));
    let (now, hour) = (world.clock.now(), SignedDuration::from_hours(1));
    assert_eq!(world.store.purge_deliveries(now - hour, 10).await.unwrap(), 0);
    assert_eq!(world.store.purge_deliveries(now, 10).await.unwrap(), 1);
    world.clock.advance(hour);
    assert_eq!(drain(&courier).await, 1);
    assert_eq!(receiver.seen().last().unwrap().seq(), world.feed().await[1].seq);
    // An event that is forgotten before its delivery is passed over.
    receiver.set(Mode::Close);
    world.event(3).await;
    assert_eq!(drain(&courier).await, 1);
    world.event(4).await;
    let feed = world.feed().await;
    world.store.purge_notices(world.clock.now() + hour, 10).await.unwrap();
    world.clock.advance(hour);
    assert_eq!(drain(&courier).await, 0);
    let state = world.state(hook).await;
    assert_eq!((state.waiting, state.due_at, feed.len()), (0, None, 4));
}

/// The first block of a language in the document for integrators that holds some text.
fn example(language: &str, with: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/WEBHOOKS.md");
    let text = std::fs::read_to_string(path).unwrap();
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.filter(|block| block.contains(with)).map(str::to_owned).next().unwrap()
}

/// Needs Python 3.
#[tokio::test]
async fn the_document_for_integrators_says_what_is_sent_and_its_check_of_signatures_works() {
    let (world, receiver) = (World::new().await, Receiver::start(Mode::status(200)).await);
    world.webhook(receiver.url(), None).await;
    world.event(1).await;
    assert_eq!(drain(&world.courier()).await, 1);
    let seen = receiver.seen().remove(0);
    let shown: WebhookCall = serde_json::from_str(&example("json", "deliveryId")).unwrap();
    let sent: WebhookCall = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!((shown.is_redelivery, shown.event.is_some()), (sent.is_redelivery, sent.event.is_some()));
    let fields = |body: &[u8]| {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        body.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(fields(example("json", "deliveryId").as_bytes()), fields(&seen.body));
    let program = format!(
        "{}\nimport sys\nsecret, header, now = sys.argv[1:]\n\
         sys.exit(0 if is_genuine(secret, header, sys.stdin.buffer.read(), int(now)) else 1)",
        example("python", "def is_genuine")
    );
    let (header, now) = (seen.header("aegis-signature"), world.clock.now().as_second());
    let check = async |secret: &str, header: &str, body: &[u8], now: i64| {
        let mut python = tokio::process::Command::new("python3");
        python.args(["-c", &program, secret, header, &now.to_string()]).stdin(Stdio::piped());
        let mut python = python.spawn().unwrap();
        python.stdin.take().unwrap().write_all(body).await.unwrap();
        python.wait().await.unwrap().code()
    };
    assert_eq!(check(SECRET, &header, &seen.body, now).await, Some(0));
    assert_eq!(check(SECRET, &header, &seen.body, now + 300).await, Some(0));
    assert_eq!(check(SECRET, &header, &seen.body, now + 301).await, Some(1));
    assert_eq!(check("another secret", &header, &seen.body, now).await, Some(1));
    assert_eq!(check(SECRET, &header, &[&seen.body, b" ".as_slice()].concat(), now).await, Some(1));
    let moved = header.replace(&format!("t={now}"), &format!("t={}", now + 1));
    assert_eq!(check(SECRET, &moved, &seen.body, now).await, Some(1));
}
