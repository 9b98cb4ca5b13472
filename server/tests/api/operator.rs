//! What operators are shown.

use aegis_common::code::Code;
use aegis_common::escrow::stall::{Debt, Why};
use aegis_common::role::Role;
use aegis_common::time::SignedDuration;
use aegis_common::wire::account::AccountRole;
use aegis_common::wire::operator::{Attention, ChainState, NodeCondition, OperatorStatus, StuckPage};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use reqwest::StatusCode;

use crate::support::{Person, TestServer, acceptance, problem, said, server};

async fn stuck(server: &TestServer, who: &Person, query: &str) -> StuckPage {
    let sent = server.get(&format!("/api/v1/operator/escrows{query}"), who).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK, "{query}");
    sent.json().await.unwrap()
}

#[actix_web::test]
async fn operators_see_how_the_server_is_and_what_somebody_has_to_look_at() {
    let server = server().await;
    let status = async |who: &Person| -> OperatorStatus {
        server.get("/api/v1/operator/status", who).send().await.unwrap().json().await.unwrap()
    };
    let operator = server.person("the-operator", 9, AccountRole::Operator).await;
    let empty = status(&operator).await;
    assert!(empty.attention.contains(&Attention::Arbiters) && empty.attention.contains(&Attention::Chain));
    let [buyer, seller, _] = server.people().await;
    server.escrow(&buyer, &seller, "one").await;
    let found = status(&operator).await;
    assert_eq!(found.at, server.state.clock.now());
    assert_eq!((found.arbiters.arbiters, found.arbiters.available, found.arbiters.open), (1, 1, 1));
    assert_eq!((found.arbiters.silent, found.arbiters.paused, found.arbiters.disputed), (0, 0, 0));
    assert!(found.arbiters.room > 0 && !found.attention.contains(&Attention::Arbiters));
    let health = found.health.unwrap();
    assert!(matches!(health.chain, ChainState::Starting | ChainState::Stalled));
    assert_eq!((health.database, health.nodes.len(), health.tip, health.agreed_tip), (true, 1, None, None));
    assert_ne!(health.nodes[0].state, NodeCondition::Up);
    assert_eq!((found.behind, &found.resting[..], found.webhooks.waiting), (0, &[][..], 0));
    // What is said of nodes names no addresses.
    assert!(!format!("{:?}", found.reasons).contains("127.0.0.1"));
    for lag in &found.outbox {
        assert!(["sessions", "webhooks", "orders", "vacancies"].contains(&lag.reader.as_str()), "{lag:?}");
    }
    server.clock.advance(SignedDuration::from_hours(24 * 3));
    let operator = Person { token: server.login(&operator.name).await.token, ..operator };
    let silent = status(&operator).await;
    assert_eq!((silent.arbiters.available, silent.arbiters.silent, silent.arbiters.room), (0, 1, 0));
    assert!(silent.attention.contains(&Attention::Arbiters));
}

#[actix_web::test]
async fn escrows_that_do_not_go_on_are_listed_with_who_owes_what() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let operator = server.person("the-operator", 9, AccountRole::Operator).await;
    let mut made = Vec::new();
    for n in 0..3 {
        made.push(server.escrow(&buyer, &seller, &format!("key-{n}")).await);
        server.clock.advance(SignedDuration::from_secs(10));
    }
    // The one that changed last comes last.
    let accepted = said(&acceptance(&made[0], Role::Buyer, &buyer));
    let path = format!("/api/v1/escrows/{}/statements", made[0].id);
    assert_eq!(server.post(&path, &buyer, &accepted).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(stuck(&server, &operator, "").await, StuckPage { escrows: Vec::new(), next: None });
    let order = [made[1].id, made[2].id, made[0].id];
    let (mut found, mut next) = (Vec::new(), String::new());
    loop {
        let page = stuck(&server, &operator, &format!("?waiting=true&limit=1{next}")).await;
        found.extend(page.escrows);
        match page.next {
            Some(cursor) => next = format!("&after={cursor}"),
            None => break,
        }
    }
    assert_eq!(found.iter().map(|escrow| escrow.escrow_id).collect::<Vec<_>>(), order);
    let last = &found[2];
    assert_eq!(last.parties, [&buyer, &seller, &arbiter].map(|person| person.name.clone()));
    let [stall] = &last.stalls[..] else { panic!("{last:?}") };
    assert_eq!((stall.why, stall.overdue, stall.since), (Why::Setup, false, Some(made[0].created_at)));
    let owed: Vec<_> =
        stall.owed.iter().map(|debtor| (debtor.role, &*debtor.username, debtor.debt)).collect();
    let acceptance = Debt::Acceptance;
    assert_eq!(
        owed,
        [(Role::Seller, &*seller.name, acceptance), (Role::Arbiter, &*arbiter.name, acceptance)]
    );
    // The chain is not followed here, so nothing follows from deadlines: that is told as well.
    server.clock.advance(SignedDuration::from_hours(24 * 3 + 1));
    let operator = Person { token: server.login(&operator.name).await.token, ..operator };
    let late = stuck(&server, &operator, "").await;
    assert_eq!(late.escrows.len(), 3);
    let whys: Vec<_> = late.escrows[0].stalls.iter().map(|s| (s.why, s.needs_operator)).collect();
    assert_eq!(whys, [(Why::Deadline, true), (Why::Setup, false)]);
    // One that can't be read hides none of the others.
    let aegis_server::store::DatabaseUrl::Sqlite(path) = server.database() else { panic!() };
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 5000; UPDATE escrows SET snapshot = '{' WHERE creator_id = buyer_id AND updated_at = (SELECT min(updated_at) FROM escrows)").unwrap();
    let damaged = stuck(&server, &operator, "").await;
    assert_eq!(damaged.escrows.len(), 3);
    assert_eq!((damaged.escrows[0].escrow_id, damaged.escrows[0].status), (order[0], None));
    assert_eq!(damaged.escrows[0].stalls[0].why, Why::Unreadable);
    for query in ["?after=yesterday", "?after=1-x"] {
        let path = format!("/api/v1/operator/escrows{query}");
        problem(server.get(&path, &operator).send().await.unwrap(), Code::BadCursor).await;
    }
    let path = "/api/v1/operator/escrows?limit=101";
    problem(server.get(path, &operator).send().await.unwrap(), Code::Invalid).await;
}
