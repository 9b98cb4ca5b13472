use aegis_common::code::Code;
use aegis_common::wire::account::AccountRole;
use aegis_common::wire::event::{EventPage, InboxView};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Person, problem, server};

#[actix_web::test]
async fn the_feed_is_read_page_by_page_without_gap_or_repetition_and_is_ones_own() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    for n in 0..5 {
        server.escrow(&buyer, &seller, &format!("key-{n}")).await;
    }
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let path = format!("/api/v1/events?after={after}&limit=2");
        let page: EventPage = server.get(&path, &arbiter).send().await.unwrap().json().await.unwrap();
        if page.events.is_empty() {
            assert_eq!(page.next, after);
            break;
        }
        assert!(page.events.len() <= 2);
        after = page.next;
        found.extend(page.events);
    }
    assert_eq!(found.len(), 10);
    assert!(found.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    for told in found.chunks(2) {
        assert_eq!([&told[0].kind[..], &told[1].kind[..]], ["EscrowInit", "EscrowAssigned"]);
        assert!(told[0].escrow_id.is_some() && told[0].escrow_id == told[1].escrow_id);
        assert_eq!(told[1].payload, json!({ "arbiter": arbiter.view.id }));
    }
    let stranger = server.person("stranger", 9, AccountRole::Admin).await;
    let page: EventPage = server.get("/api/v1/events", &stranger).send().await.unwrap().json().await.unwrap();
    assert!(page.events.is_empty());
}

#[actix_web::test]
async fn what_is_read_on_one_device_is_read_on_all_and_no_mark_moves_it_back_or_too_far() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    for n in 0..3 {
        server.escrow(&buyer, &seller, &format!("key-{n}")).await;
    }
    let page = async |who: &Person| -> EventPage {
        server.get("/api/v1/events?limit=2", who).send().await.unwrap().json().await.unwrap()
    };
    let inbox = async |who: &Person| -> InboxView {
        server.get("/api/v1/me/inbox", who).send().await.unwrap().json().await.unwrap()
    };
    let put = async |who: &Person, body: Value| {
        let put = server.request(Method::PUT, "/api/v1/me/inbox/read").bearer_auth(&who.token);
        put.json(&body).send().await.unwrap()
    };
    let mark = async |who: &Person, up_to: i64| -> InboxView {
        let sent = put(who, json!({ "upTo": up_to })).await;
        assert_eq!(sent.status(), StatusCode::OK);
        sent.json().await.unwrap()
    };
    let first = page(&arbiter).await;
    assert_eq!((first.read_up_to, first.unread, first.events.len()), (0, 6, 2));
    assert_eq!(inbox(&arbiter).await, InboxView { read_up_to: 0, unread: 6 });
    let read = InboxView { read_up_to: first.next, unread: 4 };
    assert_eq!(mark(&arbiter, first.next).await, read);
    assert_eq!(mark(&arbiter, first.next).await, read, "again");
    // A device that was away.
    assert_eq!(mark(&arbiter, first.events[0].seq).await, read);
    assert_eq!(mark(&arbiter, 0).await, read);
    // Never beyond what there is: what comes later is unread.
    let end = mark(&arbiter, i64::MAX).await;
    assert_eq!(end.unread, 0);
    server.escrow(&buyer, &seller, "one more").await;
    let later = page(&arbiter).await;
    assert_eq!((later.read_up_to, later.unread), (end.read_up_to, 2));
    // Of several devices at once the furthest counts.
    let newest = server.state.store.events_of(arbiter.view.id, 0, 100).await.unwrap().last().unwrap().seq;
    let marks = (1..=newest).rev().map(|up_to| mark(&arbiter, up_to));
    futures_util::future::join_all(marks).await;
    assert_eq!(inbox(&arbiter).await, InboxView { read_up_to: newest, unread: 0 });
    // Everybody has their own.
    assert_eq!(inbox(&buyer).await.read_up_to, 0);
    assert_eq!(inbox(&buyer).await.unread, page(&buyer).await.unread);
    let stranger = server.person("stranger", 9, AccountRole::User).await;
    assert_eq!(mark(&stranger, 1_000).await, InboxView { read_up_to: 0, unread: 0 });
    problem(put(&buyer, json!({ "upTo": -1 })).await, Code::Invalid).await;
    for bad in [json!({}), json!({ "upTo": "7" }), json!({ "upTo": 1.5 }), json!({ "upTo": 7, "more": 1 })] {
        problem(put(&buyer, bad).await, Code::Invalid).await;
    }
    // What was read is still there.
    assert_eq!(server.state.store.events_of(arbiter.view.id, 0, 100).await.unwrap().len(), 8);
}
