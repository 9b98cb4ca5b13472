//! Arbiters: offering oneself, being chosen, declining, being replaced.

use std::time::Duration;

use aegis_common::arbiter::ShownBar;
use aegis_common::code::Code;
use aegis_common::escrow::state::{CalledOff, Status};
use aegis_common::escrow::statement::{Act, SignedStatement};
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::time::{Clock, SignedDuration, Timestamp};
use aegis_common::wire::account::AccountRole;
use aegis_common::wire::arbiter::{ArbiterPage, ArbiterView, AssignmentView, DisputePage};
use aegis_common::wire::escrow::EscrowView;
use aegis_common::wire::event::EventPage;
use aegis_server::accounts::Origin;
use aegis_server::ws::Timing;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::market::until;
use crate::support::{Person, TestServer, acceptance, problem, said, server, server_with};

fn declining(escrow: &EscrowView, role: Role, who: &Person) -> SignedStatement {
    let mut statement = acceptance(escrow, role, who).statement;
    statement.act = Act::Decline { reason: "no time this month".to_owned() };
    statement.sign(&who.signing).unwrap()
}

async fn post(server: &TestServer, escrow: &EscrowView, who: &Person, signed: &SignedStatement) {
    let path = format!("/api/v1/escrows/{}/statements", escrow.id);
    let sent = server.post(&path, who, &said(signed)).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK, "{}", sent.text().await.unwrap());
}

async fn read(server: &TestServer, who: &Person, id: EscrowId) -> EscrowView {
    let sent = server.get(&format!("/api/v1/escrows/{id}"), who).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK);
    sent.json().await.unwrap()
}

/// The escrow that takes another's place, once there is one.
async fn successor(server: &TestServer, who: &Person, of: EscrowId) -> EscrowView {
    for _ in 0..600 {
        let sent = server.get("/api/v1/events?limit=100", who).send().await.unwrap();
        let page: EventPage = sent.json().await.unwrap();
        let found =
            page.events.iter().find(|event| event.kind == "EscrowReplaced" && event.escrow_id == Some(of));
        if let Some(event) = found {
            let id = serde_json::from_value(event.payload["by"].clone()).unwrap();
            return read(server, who, id).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing takes the place of {of}");
}

#[actix_web::test]
async fn an_arbiter_who_declines_is_replaced_in_another_escrow_with_the_same_terms() {
    let server = server().await;
    let [buyer, seller, ada] = server.people().await;
    let mut order = server.order(&seller);
    order["arbiter"] = json!(ada.name);
    order["sellerDeposit"] = json!("5000000000");
    let sent = server.create(&buyer, "key", &order).send().await.unwrap();
    let first: EscrowView = sent.json().await.unwrap();
    post(&server, &first, &buyer, &acceptance(&first, Role::Buyer, &buyer)).await;
    post(&server, &first, &ada, &declining(&first, Role::Arbiter, &ada)).await;
    let ended = read(&server, &buyer, first.id).await;
    let called_off = Some(CalledOff::Declined { by: Role::Arbiter });
    assert_eq!((ended.status, ended.called_off), (Status::Cancelled, called_off));
    // There is nobody else, of which the traders are told once; then there is.
    for (who, count) in [(&buyer, 1), (&seller, 1), (&ada, 0)] {
        until("it is told", async || server.told(who, "ArbiterWanted").await.len() == count).await;
    }
    server.clock.advance(SignedDuration::from_mins(11));
    let again = async |person: Person| Person { token: server.login(&person.name).await.token, ..person };
    let seller = again(seller).await;
    until("it is tried again", async || {
        server.state.store.vacancies(server.clock.now(), 10).await.unwrap().is_empty()
    })
    .await;
    assert_eq!(server.told(&seller, "ArbiterWanted").await.len(), 1);
    let zoe = server.person("Zoe-arbiter", 4, AccountRole::Arbiter).await;
    server.clock.advance(SignedDuration::from_mins(11));
    let (buyer, seller, ada, zoe) =
        (again(buyer).await, again(seller).await, again(ada).await, again(zoe).await);
    let second = successor(&server, &seller, first.id).await;
    assert_eq!(second.contract.arbiter.user_id, zoe.view.id);
    assert_eq!((second.replaces, second.initiator), (Some(first.id), buyer.view.id));
    let same = aegis_common::escrow::contract::Contract {
        escrow_id: first.id,
        arbiter: first.contract.arbiter.clone(),
        ..second.contract.clone()
    };
    assert_eq!(same, first.contract);
    // Nobody has accepted this one yet, and the first arbiter has nothing to do with it.
    assert_eq!(second.setup.waiting_for, Role::ALL);
    let path = format!("/api/v1/escrows/{}", second.id);
    problem(server.get(&path, &ada).send().await.unwrap(), Code::NotFound).await;
    // The choice can be read and made again; the one who declined is barred.
    let path = format!("/api/v1/escrows/{}/assignment", second.id);
    let sent = server.get(&path, &seller).send().await.unwrap();
    let AssignmentView { arbiter, replaces, choice, .. } = sent.json().await.unwrap();
    assert_eq!((arbiter, replaces), (zoe.view.id, Some(first.id)));
    assert_eq!(choice.chosen().map(|chosen| chosen.user_id), Some(zoe.view.id));
    let barred = choice.candidates.iter().find(|candidate| candidate.user_id == ada.view.id).unwrap();
    assert_eq!(barred.barred, Some(ShownBar::Declined));
    problem(server.get(&path, &ada).send().await.unwrap(), Code::NotFound).await;
    // It is replaced once, and not again when its place is asked for by hand.
    let mut by_hand = order.clone();
    (by_hand["replaces"], by_hand["arbiter"]) = (json!(first.id), Value::Null);
    problem(server.create(&buyer, "by-hand", &by_hand).send().await.unwrap(), Code::WrongState).await;
}

#[actix_web::test]
async fn a_trader_who_declines_ends_it() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    server.person("Zoe-arbiter", 4, AccountRole::Arbiter).await;
    let escrow = server.escrow(&buyer, &seller, "key").await;
    post(&server, &escrow, &seller, &declining(&escrow, Role::Seller, &seller)).await;
    let ended = read(&server, &buyer, escrow.id).await;
    assert_eq!(ended.called_off, Some(CalledOff::Declined { by: Role::Seller }));
    let late = server.post(
        &format!("/api/v1/escrows/{}/statements", escrow.id),
        &buyer,
        &said(&acceptance(&escrow, Role::Buyer, &buyer)),
    );
    problem(late.send().await.unwrap(), Code::WrongState).await;
}

#[actix_web::test]
async fn what_the_other_trader_has_not_accepted_can_be_edited_by_its_initiator_once() {
    let server = server().await;
    let [buyer, seller, ada] = server.people().await;
    let first = server.escrow(&buyer, &seller, "key").await;
    // Its own acceptance does not count, nor does that of an arbiter, whose program may give it at once.
    post(&server, &first, &buyer, &acceptance(&first, Role::Buyer, &buyer)).await;
    post(&server, &first, &ada, &acceptance(&first, Role::Arbiter, &ada)).await;
    let mut edited = server.order(&seller);
    (edited["replaces"], edited["title"]) = (json!(first.id), json!("A better bicycle"));
    problem(server.create(&seller, "not-mine", &edited).send().await.unwrap(), Code::WrongState).await;
    let mut bad = edited.clone();
    bad["amount"] = json!("1");
    problem(server.create(&buyer, "bad", &bad).send().await.unwrap(), Code::BadContract).await;
    assert_eq!(read(&server, &buyer, first.id).await.status, Status::PendingFunding);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let sent = server.create(&buyer, "edit", &edited).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::CREATED, "{}", sent.text().await.unwrap());
        answers.push(sent.json::<EscrowView>().await.unwrap());
    }
    assert_eq!(answers[0].id, answers[1].id);
    assert_eq!(
        (answers[0].replaces, answers[0].contract.title.as_str()),
        (Some(first.id), "A better bicycle")
    );
    let ended = read(&server, &seller, first.id).await;
    assert_eq!((ended.status, ended.called_off), (Status::Cancelled, Some(CalledOff::Deleted)));
    assert_eq!(successor(&server, &seller, first.id).await.id, answers[0].id);
    problem(server.create(&buyer, "once-more", &edited).send().await.unwrap(), Code::AlreadyDone).await;
    // Accepted by the other trader: too late.
    let second = &answers[0];
    post(&server, second, &seller, &acceptance(second, Role::Seller, &seller)).await;
    edited["replaces"] = json!(second.id);
    problem(server.create(&buyer, "late", &edited).send().await.unwrap(), Code::WrongState).await;
    // Unknown and foreign ones.
    for foreign in [EscrowId(uuid::Uuid::now_v7()), first.id] {
        let mut order = server.order(&seller);
        order["replaces"] = json!(foreign);
        let stranger =
            server.person(&format!("stranger-{}", &foreign.to_string()[30..]), 9, AccountRole::User).await;
        problem(server.create(&stranger, "foreign", &order).send().await.unwrap(), Code::NotFound).await;
    }
}

#[actix_web::test]
async fn an_arbiter_says_what_it_offers_and_contracts_follow() {
    let server = server().await;
    let [buyer, seller, ada] = server.people().await;
    let offer = async |who: &Person, body: Value| {
        let sent = server.request(Method::PUT, "/api/v1/me/arbiter").bearer_auth(&who.token).json(&body);
        sent.send().await.unwrap()
    };
    let good = json!({ "about": "Fair and quick.", "languages": ["en", "pt-BR"], "feeBps": 250, "capacity": 2, "accepting": true });
    problem(offer(&buyer, good.clone()).await, Code::Forbidden).await;
    for (field, value) in [
        ("about", json!("x".repeat(2_001))),
        ("about", json!("bell\u{7}")),
        ("languages", json!(["english please"])),
        ("languages", json!(vec!["en"; 17])),
        ("feeBps", json!(2_501)),
        ("capacity", json!(10_001)),
        ("capacity", json!(-1)),
        ("stars", json!(5)),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        problem(offer(&ada, bad).await, Code::Invalid).await;
    }
    let view: ArbiterView = offer(&ada, good.clone()).await.json().await.unwrap();
    assert_eq!((view.fee_bps, view.capacity, view.open, view.available), (250, 2, 0, true));
    assert_eq!((view.about.as_str(), view.languages.len()), ("Fair and quick.", 2));
    let first = server.escrow(&buyer, &seller, "first").await;
    assert_eq!(first.contract.arbiter_fee_bps, 250);
    server.escrow(&buyer, &seller, "second").await;
    // It has as many as it takes on.
    problem(server.create(&buyer, "third", &server.order(&seller)).send().await.unwrap(), Code::NoArbiter)
        .await;
    let mut named = server.order(&seller);
    named["arbiter"] = json!(ada.name);
    problem(server.create(&buyer, "named", &named).send().await.unwrap(), Code::NoArbiter).await;
    let sent = server.get("/api/v1/arbiters", &buyer).send().await.unwrap();
    let page: ArbiterPage = sent.json().await.unwrap();
    assert_eq!((page.arbiters.len(), page.arbiters[0].open, page.arbiters[0].available), (1, 2, false));
    // Who trades with a party in an open escrow is no arbiter for it.
    let zoe = server.person("Zoe-arbiter", 4, AccountRole::Arbiter).await;
    problem(server.create(&zoe, "trade", &server.order(&seller)).send().await.unwrap(), Code::NoArbiter)
        .await;
    let roomy: ArbiterView = offer(&ada, json!({ "accepting": true })).await.json().await.unwrap();
    assert_eq!((roomy.fee_bps, roomy.capacity, roomy.about.as_str()), (100, 100, ""));
    let trade = server.create(&zoe, "trade", &server.order(&seller)).send().await.unwrap();
    assert_eq!(trade.status(), StatusCode::CREATED);
    named["arbiter"] = json!(zoe.name);
    let sent = server.create(&buyer, "conflict", &named).send().await.unwrap();
    problem(sent, Code::NoArbiter).await;
    // Pages, and names.
    let sent = server.get("/api/v1/arbiters?limit=1", &buyer).send().await.unwrap();
    let page: ArbiterPage = sent.json().await.unwrap();
    let path = format!("/api/v1/arbiters?limit=1&after={}", page.next.unwrap());
    let rest: ArbiterPage = server.get(&path, &buyer).send().await.unwrap().json().await.unwrap();
    assert_eq!((rest.arbiters[0].username.as_str(), rest.next), (zoe.name.as_str(), None));
    problem(server.get("/api/v1/arbiters/nobody", &buyer).send().await.unwrap(), Code::NotFound).await;
    problem(
        server.get(&format!("/api/v1/arbiters/{}", buyer.name), &ada).send().await.unwrap(),
        Code::NotFound,
    )
    .await;
}

#[actix_web::test]
async fn an_arbiter_who_is_not_heard_is_assigned_nothing_until_it_is() {
    let server = server().await;
    let [buyer, seller, ada] = server.people().await;
    server.clock.advance(SignedDuration::from_hours(25));
    let again =
        async |person: &Person| Person { token: server.login(&person.name).await.token, ..person.clone() };
    let (buyer, ada) = (again(&buyer).await, again(&ada).await);
    let order = server.order(&seller);
    problem(server.create(&buyer, "silent", &order).send().await.unwrap(), Code::NoArbiter).await;
    // Whom both know they may ask all the same.
    let mut named = order.clone();
    named["arbiter"] = json!(ada.name);
    assert_eq!(server.create(&buyer, "named", &named).send().await.unwrap().status(), StatusCode::CREATED);
    let beat = async |who: &Person| {
        server.post("/api/v1/me/arbiter/heartbeat", who, &json!({})).send().await.unwrap()
    };
    problem(beat(&buyer).await, Code::NotFound).await;
    assert_eq!(beat(&ada).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(server.create(&buyer, "heard", &order).send().await.unwrap().status(), StatusCode::CREATED);
    // The time in which no server ran is not hers.
    let down = server.clock.now();
    server.clock.advance(SignedDuration::from_hours(48));
    server.tamper(&format!(
        "INSERT INTO outages (began, ended) VALUES ({}, {})",
        down.as_millisecond(),
        server.clock.now().as_millisecond()
    ));
    let buyer = again(&buyer).await;
    let after = server.order(&seller);
    assert_eq!(server.create(&buyer, "after", &after).send().await.unwrap().status(), StatusCode::CREATED);
    let sent = server.get(&format!("/api/v1/arbiters/{}", ada.name), &buyer).send().await.unwrap();
    assert!(sent.json::<ArbiterView>().await.unwrap().available);
    server.clock.advance(SignedDuration::from_hours(25));
    let buyer = again(&buyer).await;
    problem(server.create(&buyer, "long after", &order).send().await.unwrap(), Code::NoArbiter).await;
}

/// An arbiter whose role is taken away is chosen no more, and goes on with the cases it has.
#[actix_web::test]
async fn who_is_no_arbiter_any_more_gets_no_case_and_keeps_those_it_has() {
    let server = server().await;
    let [buyer, seller, ada] = server.people().await;
    let case = server.escrow(&buyer, &seller, "case").await;
    server.state.accounts.set_role(&ada.name, AccountRole::User, None, Origin::MACHINE).await.unwrap();
    problem(server.create(&buyer, "next", &server.order(&seller)).send().await.unwrap(), Code::NoArbiter)
        .await;
    let mut named = server.order(&seller);
    named["arbiter"] = json!(ada.name);
    problem(server.create(&buyer, "named", &named).send().await.unwrap(), Code::UnknownUser).await;
    let beat = async || server.post("/api/v1/me/arbiter/heartbeat", &ada, &json!({})).send().await.unwrap();
    assert_eq!(beat().await.status(), StatusCode::NO_CONTENT);
    let disputed = server.disputed(case.id).await;
    let page: DisputePage = server.found("/api/v1/disputes", &ada).await;
    assert_eq!(page.disputes.iter().map(|item| item.escrow_id).collect::<Vec<_>>(), [disputed]);
    server.moves(case.id, Status::CompletedRefunded).await;
    problem(beat().await, Code::NotFound).await;
}

/// Somebody who edits an escrow until the arbiter who declined is chosen again does not get there.
#[actix_web::test]
async fn an_edit_does_not_bring_back_who_declined() {
    let server = server().await;
    let [buyer, seller, ada] = server.people().await;
    let first = server.escrow(&buyer, &seller, "first").await;
    assert_eq!(first.contract.arbiter.user_id, ada.view.id);
    post(&server, &first, &ada, &declining(&first, Role::Arbiter, &ada)).await;
    let zoe = server.person("Zoe-arbiter", 4, AccountRole::Arbiter).await;
    server.clock.advance(SignedDuration::from_mins(11));
    let again =
        async |person: &Person| Person { token: server.login(&person.name).await.token, ..person.clone() };
    let buyer = again(&buyer).await;
    let second = successor(&server, &buyer, first.id).await;
    assert_eq!(second.contract.arbiter.user_id, zoe.view.id);
    // Ada is idle for longer.
    let mut edited = server.order(&seller);
    (edited["replaces"], edited["title"]) = (json!(second.id), json!("A better bicycle"));
    let sent = server.create(&buyer, "edit", &edited).send().await.unwrap();
    let third: EscrowView = sent.json().await.unwrap();
    assert_eq!(third.contract.arbiter.user_id, zoe.view.id);
}

/// Of many edits of one escrow at once one is made, whatever they say.
#[actix_web::test]
async fn of_edits_at_once_one_takes_the_place() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let third = server.person("Ted-third", 5, AccountRole::User).await;
    server.person("Zoe-arbiter", 4, AccountRole::Arbiter).await;
    let first = server.escrow(&buyer, &seller, "first").await;
    let edits = (0..8).map(|n| {
        let mut edited = server.order(if n % 2 == 0 { &seller } else { &third });
        (edited["replaces"], edited["title"]) = (json!(first.id), json!(format!("Edit {n}")));
        let sent = server.create(&buyer, &format!("edit-{n}"), &edited).send();
        async move { (edited, sent.await.unwrap().status()) }
    });
    let all = futures_util::future::join_all(edits).await;
    let made = all.iter().filter(|(_, status)| *status == StatusCode::CREATED).count();
    assert!(made <= 1, "{all:?}");
    assert!(
        all.iter().all(|(_, status)| !status.is_server_error() || *status == StatusCode::SERVICE_UNAVAILABLE)
    );
    // Whoever was told to try again does, and then one has the place.
    if made == 0 {
        let sent = server.create(&buyer, "again", &all[0].0).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::CREATED, "{}", sent.text().await.unwrap());
    }
    let taken = server.state.store.successor(first.id).await.unwrap().unwrap();
    assert!(server.state.store.escrow(taken).await.unwrap().is_some());
    assert_eq!(read(&server, &buyer, first.id).await.status, Status::Cancelled);
}

/// Whoever begins and never pays does not use up the arbiters.
#[actix_web::test]
async fn escrows_that_are_begun_and_not_paid_for_are_bounded() {
    let server = server_with(&[("AEGIS_UNFUNDED_ESCROWS", "2")], Timing::default()).await;
    let [buyer, seller, _] = server.people().await;
    let order = server.order(&seller);
    let first = server.escrow(&buyer, &seller, "first").await;
    server.escrow(&buyer, &seller, "second").await;
    problem(server.create(&buyer, "third", &order).send().await.unwrap(), Code::LimitReached).await;
    let path = format!("/api/v1/escrows/{}", first.id);
    let removed = server.request(Method::DELETE, &path).bearer_auth(&buyer.token).send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::OK);
    assert_eq!(server.create(&buyer, "third", &order).send().await.unwrap().status(), StatusCode::CREATED);
}

#[actix_web::test]
async fn the_queue_of_disputes_is_for_those_who_rule_and_those_who_run_the_server() {
    let server = server().await;
    let [buyer, seller, ada] = server.people().await;
    let zoe = server.person("Zoe-arbiter", 4, AccountRole::Arbiter).await;
    let operator = server.person("the-operator", 9, AccountRole::Operator).await;
    let ask = async |who: &Person, query: &str| {
        server.get(&format!("/api/v1/disputes{query}"), who).send().await.unwrap()
    };
    let none: DisputePage = ask(&buyer, "").await.json().await.unwrap();
    assert!(none.disputes.is_empty());
    for who in [&ada, &operator] {
        let page: DisputePage = ask(who, "").await.json().await.unwrap();
        assert!(page.disputes.is_empty() && page.next.is_none());
        problem(ask(who, "?after=yesterday").await, Code::Invalid).await;
        problem(ask(who, "?limit=0").await, Code::Invalid).await;
    }
    // Three disputes of Ada's and one of another's, an hour apart.
    let mut cases = Vec::new();
    for n in 0..4 {
        let mut order = server.order(&seller);
        order["arbiter"] = json!(if n < 3 { &ada.name } else { &zoe.name });
        order["sellerDeposit"] = json!("5000000000");
        let sent = server.create(&buyer, &n.to_string(), &order).send().await.unwrap();
        cases.push(server.disputed(sent.json::<EscrowView>().await.unwrap().id).await);
        server.clock.advance(SignedDuration::from_mins(1));
    }
    let ids = |page: &DisputePage| page.disputes.iter().map(|item| item.escrow_id).collect::<Vec<_>>();
    let mine: DisputePage = ask(&ada, "?limit=2").await.json().await.unwrap();
    assert_eq!(ids(&mine), cases[..2]);
    let item = &mine.disputes[0];
    assert_eq!((&item.arbiter, &item.buyer, item.by), (&ada.name, &buyer.name, Role::Buyer));
    assert!(!item.overdue && item.due == Some(item.since + SignedDuration::from_hours(168)));
    let rest: DisputePage =
        ask(&ada, &format!("?limit=2&after={}", mine.next.unwrap())).await.json().await.unwrap();
    assert_eq!((ids(&rest), rest.next), (cases[2..3].to_vec(), None));
    // One from before rulings had deadlines has them from its dispute on.
    server.tamper(&format!(
        "UPDATE escrows SET snapshot = json_remove(snapshot, '$.awaited', '$.disputedBy') WHERE id = x'{}'",
        cases[0].0.simple()
    ));
    let old: DisputePage = ask(&ada, "?limit=1").await.json().await.unwrap();
    assert_eq!(old.disputes[0].due, Some(old.disputes[0].since + SignedDuration::from_hours(168)));
    let all: DisputePage = ask(&operator, "").await.json().await.unwrap();
    assert_eq!(ids(&all), cases);
    let none: DisputePage = ask(&buyer, "").await.json().await.unwrap();
    assert!(none.disputes.is_empty(), "a party's own disputes are no queue of theirs");
}

/// A silence is told once, to all three, and only where money is at stake.
#[actix_web::test]
async fn a_silent_arbiter_with_money_at_stake_is_told_once_of_each_silence() {
    let server = server().await;
    let [buyer, seller, ada] = server.people().await;
    let funded = server.escrow(&buyer, &seller, "funded").await;
    server.escrow(&buyer, &seller, "unfunded").await;
    server.moves(funded.id, Status::Active).await;
    let again =
        async |person: &Person| Person { token: server.login(&person.name).await.token, ..person.clone() };
    let told = async |who: &Person| server.told(&again(who).await, "ArbiterSilent").await.len();
    let beat = async || {
        let ada = again(&ada).await;
        let sent = server.post("/api/v1/me/arbiter/heartbeat", &ada, &json!({})).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::NO_CONTENT);
    };
    beat().await;
    for (hours, count) in [(23, 0), (2, 1), (1, 1), (24, 1)] {
        server.clock.advance(SignedDuration::from_hours(hours));
        server.state.arbiters.watch().await.unwrap();
        for who in [&buyer, &seller, &ada] {
            assert_eq!(told(who).await, count, "after {hours} hours more");
        }
    }
    // It comes back, and falls silent again while no server runs: that is not its fault.
    beat().await;
    let down = server.clock.now();
    server.clock.advance(SignedDuration::from_hours(30));
    server.tamper(&format!(
        "INSERT INTO outages (began, ended) VALUES ({}, {})",
        down.as_millisecond(),
        server.clock.now().as_millisecond()
    ));
    server.state.arbiters.watch().await.unwrap();
    assert_eq!(told(&buyer).await, 1);
    server.clock.advance(SignedDuration::from_hours(25));
    server.state.arbiters.watch().await.unwrap();
    assert_eq!(told(&buyer).await, 2);
}

/// Of two servers that find out at once that an arbiter has declined, one makes the escrow that takes the place.
#[actix_web::test]
async fn two_servers_on_one_database_replace_an_arbiter_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let at = [("AEGIS_DATA_DIR", data.to_str().unwrap())];
    let servers = [server_with(&at, Timing::default()).await, server_with(&at, Timing::default()).await];
    let [server, _] = &servers;
    let [buyer, seller, ada] = server.people().await;
    server.person("Zoe-arbiter", 4, AccountRole::Arbiter).await;
    server.person("Yan-arbiter", 5, AccountRole::Arbiter).await;
    let mut order = server.order(&seller);
    order["arbiter"] = json!(ada.name);
    for n in 0..5 {
        let sent = server.create(&buyer, &n.to_string(), &order).send().await.unwrap();
        let first: EscrowView = sent.json().await.unwrap();
        post(server, &first, &ada, &declining(&first, Role::Arbiter, &ada)).await;
        let second = successor(server, &buyer, first.id).await;
        assert_ne!(second.contract.arbiter.user_id, ada.view.id);
        until("it is done", async || {
            server.state.store.vacancies(Timestamp::MAX, 10).await.unwrap().is_empty()
        })
        .await;
        let replaced = server.told(&seller, "EscrowReplaced").await;
        assert_eq!(replaced.len(), n + 1, "{replaced:?}");
    }
    assert_eq!(server.told(&buyer, "EscrowInit").await.len(), 10);
}
