//! Lists of escrows as clients meet them.

use std::collections::BTreeMap;

use aegis_common::code::Code;
use aegis_common::escrow::stall::Why;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::time::{Clock as _, SignedDuration};
use aegis_common::wire::account::AccountRole;
use aegis_common::wire::arbiter::DisputePage;
use aegis_common::wire::escrow::EscrowView;
use aegis_common::wire::list::{EscrowCounts, EscrowItem, EscrowPage};
use aegis_common::wire::operator::StuckPage;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Person, TestServer, acceptance, problem, said, server};

/// Makes an escrow of a title and an amount in thousandths of a monero, ten seconds after the one before.
async fn make(server: &TestServer, buyer: &Person, seller: &Person, title: &str, milli: u64) -> EscrowView {
    server.clock.advance(SignedDuration::from_secs(10));
    let mut order = server.order(seller);
    order["title"] = json!(title);
    order["amount"] = json!((milli * 1_000_000_000).to_string());
    let sent = server.create(buyer, &server.clock.now().to_string(), &order).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::CREATED);
    sent.json().await.unwrap()
}

async fn page(server: &TestServer, who: &Person, query: &str) -> EscrowPage {
    let sent = server.get(&format!("/api/v1/escrows?{query}"), who).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK, "{query}");
    sent.json().await.unwrap()
}

/// The whole list, by pages of two.
async fn walk(server: &TestServer, who: &Person, query: &str) -> Vec<EscrowItem> {
    let (mut found, mut next) = (Vec::new(), String::new());
    loop {
        let page = page(server, who, &format!("{query}&limit=2{next}")).await;
        found.extend(page.escrows);
        match page.next {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => return found,
        }
    }
}

async fn titles(server: &TestServer, who: &Person, query: &str) -> Vec<String> {
    walk(server, who, query).await.into_iter().map(|item| item.title).collect()
}

async fn cancel(server: &TestServer, who: &Person, id: EscrowId) {
    let delete = server.request(Method::DELETE, &format!("/api/v1/escrows/{id}"));
    assert_eq!(delete.bearer_auth(&who.token).send().await.unwrap().status(), StatusCode::OK);
}

#[actix_web::test]
async fn lists_are_filtered_and_sorted_as_documented_and_walked_page_by_page() {
    let server = server().await;
    let [bea, sam, ada] = server.people().await;
    let eve = server.person("eve-trader", 7, AccountRole::User).await;
    let start = server.clock.now().to_string();
    let car = make(&server, &bea, &sam, "Red car", 3).await;
    make(&server, &sam, &bea, "Red BIKE, used", 2).await;
    let middle = server.clock.now().to_string();
    make(&server, &bea, &eve, "Ölfarbe", 9).await;
    let boat = make(&server, &eve, &bea, "Bigger boat", 2).await;
    server.clock.advance(SignedDuration::from_secs(60));
    cancel(&server, &eve, boat.id).await;
    server.clock.advance(SignedDuration::from_secs(60));
    let accepted = said(&acceptance(&car, Role::Buyer, &bea));
    let statements = format!("/api/v1/escrows/{}/statements", car.id);
    assert_eq!(server.post(&statements, &bea, &accepted).send().await.unwrap().status(), StatusCode::OK);
    let later = server.clock.now().to_string();
    let [car, bike, oil, boat] = ["Red car", "Red BIKE, used", "Ölfarbe", "Bigger boat"];
    let cases: Vec<(String, Vec<&str>)> = [
        ("sort=created", vec![boat, oil, bike, car]),
        ("order=asc", vec![car, bike, oil, boat]),
        ("sort=updated", vec![car, boat, oil, bike]),
        ("sort=updated&order=asc", vec![bike, oil, boat, car]),
        ("sort=amount", vec![oil, car, boat, bike]),
        ("sort=amount&order=asc", vec![bike, boat, car, oil]),
        ("sort=status", vec![boat, oil, bike, car]),
        ("sort=status&order=asc", vec![car, bike, oil, boat]),
        ("role=buyer", vec![oil, car]),
        ("role=seller", vec![boat, bike]),
        ("role=arbiter", vec![]),
        ("status=CANCELLED", vec![boat]),
        ("status=over", vec![boat]),
        ("status=open", vec![oil, bike, car]),
        ("status=CANCELLED,PENDING_FUNDING", vec![boat, oil, bike, car]),
        ("status=DISPUTED", vec![]),
        ("participant=EVE-trader", vec![boat, oil]),
        ("participant=Ada-arbiter&role=buyer", vec![oil, car]),
        ("text=red", vec![bike, car]),
        ("text=b", vec![boat, bike]),
        ("text=used%20RED", vec![bike]),
        ("text=re%20used", vec![]),
        ("text=%C3%B6LF", vec![oil]),
        ("amountMin=3000000000", vec![oil, car]),
        ("amountMax=2000000000&sort=amount", vec![boat, bike]),
        ("amountMin=2000000001&amountMax=3000000000&sort=updated", vec![car]),
        ("status=open&text=r&role=buyer&participant=sam-seller&amountMax=3000000000", vec![car]),
    ]
    .map(|(query, titles)| (query.to_owned(), titles))
    .into_iter()
    .chain([
        (format!("createdFrom={start}&createdTo={middle}"), vec![car]),
        (format!("createdFrom={middle}&order=asc"), vec![bike, oil, boat]),
        (format!("createdFrom={later}"), vec![]),
    ])
    .collect();
    for (query, expected) in cases {
        assert_eq!(titles(&server, &bea, &query).await, expected, "{query}");
    }
    // The arbiter's cases come by the same list.
    assert_eq!(titles(&server, &ada, "role=arbiter&status=open").await, [oil, bike, car]);
    let stranger = server.person("stranger", 9, AccountRole::Admin).await;
    assert!(titles(&server, &stranger, "sort=amount").await.is_empty());
}

#[actix_web::test]
async fn a_row_tells_what_a_list_needs_and_for_whom_it_waits() {
    let server = server().await;
    let [bea, sam, ada] = server.people().await;
    let escrow = make(&server, &bea, &sam, "Red car", 3).await;
    server.clock.advance(SignedDuration::from_secs(60));
    let accepted = said(&acceptance(&escrow, Role::Buyer, &bea));
    let path = format!("/api/v1/escrows/{}/statements", escrow.id);
    assert_eq!(server.post(&path, &bea, &accepted).send().await.unwrap().status(), StatusCode::OK);
    for (who, role, waits) in
        [(&bea, Role::Buyer, false), (&sam, Role::Seller, true), (&ada, Role::Arbiter, true)]
    {
        let item = page(&server, who, "").await.escrows.remove(0);
        assert_eq!((item.id, item.version, item.status), (escrow.id, escrow.version + 1, escrow.status));
        assert_eq!((item.role, item.waiting_for_me, item.progress), (role, waits, None));
        assert_eq!([&item.buyer, &item.seller, &item.arbiter], [&bea.name, &sam.name, &ada.name]);
        assert_eq!((item.created_at, item.expires_at), (escrow.created_at, escrow.contract.expires_at));
        assert_eq!(item.updated_at, escrow.created_at + SignedDuration::from_secs(60));
        assert_eq!((item.title, item.amount), (escrow.contract.title.clone(), escrow.amount.clone()));
    }
}

#[actix_web::test]
async fn counts_tell_how_many_escrows_one_has_by_part_and_status() {
    let server = server().await;
    let [bea, sam, ada] = server.people().await;
    for n in 1..=3 {
        make(&server, &bea, &sam, "Red car", n).await;
    }
    let reverse = make(&server, &sam, &bea, "Blue car", 1).await;
    cancel(&server, &sam, reverse.id).await;
    let counts = async |who: &Person| -> (BTreeMap<String, u64>, u64, u64) {
        let sent = server.get("/api/v1/escrow-counts", who).send().await.unwrap();
        let told: EscrowCounts = sent.json().await.unwrap();
        let counts =
            told.counts.iter().map(|count| (format!("{} {}", count.role, count.status), count.count));
        (counts.collect(), told.open, told.over)
    };
    let expected =
        |all: &[(&str, u64)]| all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let bea_has = expected(&[("buyer PENDING_FUNDING", 3), ("seller CANCELLED", 1)]);
    assert_eq!(counts(&bea).await, (bea_has, 3, 1));
    let ada_has = expected(&[("arbiter CANCELLED", 1), ("arbiter PENDING_FUNDING", 3)]);
    assert_eq!(counts(&ada).await, (ada_has, 3, 1));
    let stranger = server.person("stranger", 9, AccountRole::Admin).await;
    assert_eq!(counts(&stranger).await, (BTreeMap::new(), 0, 0));
}

#[actix_web::test]
async fn a_walk_shows_each_escrow_whose_place_stays_once_whatever_changes_meanwhile() {
    let server = server().await;
    let [bea, sam, _] = server.people().await;
    let mut made = Vec::new();
    for n in 1..=9 {
        made.push(make(&server, &bea, &sam, &format!("Lot {n}"), n % 4 + 1).await);
    }
    // Each moves out of what was seen, into it, or comes anew; what stays must be seen once, and in order.
    for (query, moves) in [
        ("sort=amount", false),
        ("sort=created&order=asc", false),
        ("sort=updated", true),
        ("status=open&sort=amount", true),
    ] {
        let before = walk(&server, &bea, query).await;
        let (mut seen, mut next, mut moved) = (Vec::new(), String::new(), Vec::new());
        loop {
            let page = page(&server, &bea, &format!("{query}&limit=2{next}")).await;
            seen.extend(page.escrows.into_iter().map(|item| item.id));
            if moved.is_empty() {
                server.clock.advance(SignedDuration::from_secs(10));
                let one = made.pop().unwrap();
                cancel(&server, &bea, one.id).await;
                moved.push(one.id);
                moved.push(make(&server, &bea, &sam, &format!("New {query}"), 2).await.id);
            }
            match page.next {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => break,
            }
        }
        let stays = |id: &EscrowId| !moved.contains(id);
        let want: Vec<_> = before.iter().map(|item| item.id).filter(|id| stays(id) || !moves).collect();
        let seen: Vec<_> =
            seen.into_iter().filter(|id| if moves { stays(id) } else { *id != moved[1] }).collect();
        assert_eq!(seen, want, "{query}");
    }
}

#[actix_web::test]
async fn a_list_that_makes_no_sense_is_refused_by_the_name_of_what_is_wrong() {
    let server = server().await;
    let [bea, sam, _] = server.people().await;
    for n in 1..=3 {
        make(&server, &bea, &sam, "Red car", n).await;
    }
    let ask = async |query: &str| server.get(&format!("/api/v1/escrows?{query}"), &bea).send().await.unwrap();
    for query in [
        "status=LOST",
        "status=",
        "status=ACTIVE,",
        "role=judge",
        "sort=price",
        "order=down",
        "limit=many",
        "limt=5",
        "amountMin=1.5",
        "amountMin=-1",
        "createdFrom=yesterday",
        "before=7",
        "sort=created&sort=amount",
    ] {
        problem(ask(query).await, Code::Malformed).await;
    }
    let long = format!("text={}", "x".repeat(201));
    for (query, field) in [
        ("amountMin=2&amountMax=1", "amountMax"),
        ("amountMax=18446744073709551615", "amountMax"),
        ("createdFrom=2026-01-02T00:00:00Z&createdTo=2026-01-02T00:00:00Z", "createdTo"),
        ("text=", "text"),
        ("text=%25_%27--", "text"),
        ("text=a+b+c+d+e+f+g+h+i", "text"),
        (long.as_str(), "text"),
        ("participant=bea-BUYER", "participant"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
    ] {
        let refused = problem(ask(query).await, Code::Invalid).await;
        assert!(refused.detail.contains(field), "{query}: {}", refused.detail);
    }
    for name in ["nobody-at-all", "no%20name", ""] {
        problem(ask(&format!("participant={name}")).await, Code::UnknownUser).await;
    }
    let next = page(&server, &bea, "limit=1&sort=amount").await.next.unwrap();
    assert_eq!(page(&server, &bea, &format!("limit=2&sort=amount&cursor={next}")).await.escrows.len(), 2);
    for query in [
        format!("cursor={next}"),
        format!("sort=amount&order=asc&cursor={next}"),
        format!("sort=amount&role=buyer&cursor={next}"),
        format!("sort=amount&cursor=A{next}"),
        "sort=amount&cursor=7".to_owned(),
        "cursor=".to_owned(),
    ] {
        problem(ask(&query).await, Code::BadCursor).await;
    }
    // Another's list is another list.
    let theirs =
        server.get(&format!("/api/v1/escrows?sort=amount&cursor={next}"), &sam).send().await.unwrap();
    problem(theirs, Code::BadCursor).await;
}

#[actix_web::test]
async fn every_parameter_of_a_list_is_documented() {
    let server = server().await;
    let described = server.request(Method::GET, "/api/v1/openapi.json").send().await.unwrap();
    let described: serde_json::Value = described.json().await.unwrap();
    let parameters = described["paths"]["/api/v1/escrows"]["get"]["parameters"].as_array().unwrap();
    let mut named: Vec<&str> =
        parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    named.sort_unstable();
    let all = [
        "amountMax",
        "amountMin",
        "createdFrom",
        "createdTo",
        "cursor",
        "limit",
        "order",
        "participant",
        "role",
        "sort",
        "status",
        "text",
    ];
    assert_eq!(named, all);
    assert!(
        parameters.iter().all(|parameter| parameter["description"].is_string() && parameter["in"] == "query")
    );
    assert!(described["paths"]["/api/v1/escrow-counts"]["get"].is_object());
}

/// An escrow whose snapshot is damaged hides none of the others, and is named to whoever can have it mended.
#[actix_web::test]
async fn an_escrow_that_cannot_be_read_hides_no_other() {
    let server = server().await;
    let [bea, sam, ada] = server.people().await;
    let operator = server.person("the-operator", 9, AccountRole::Operator).await;
    let whole = make(&server, &bea, &sam, "A bicycle", 500).await.id;
    let broken = make(&server, &bea, &sam, "A broken bicycle", 500).await.id;
    let of = format!("WHERE id = X'{}'", broken.0.simple());
    // Neither an escrow nor JSON.
    server.tamper(&format!("UPDATE escrows SET snapshot = '{{', status = 'DISPUTED', wake_at = 1 {of}"));
    for who in [&bea, &sam, &ada] {
        let page = page(&server, who, "").await;
        assert_eq!(page.escrows.iter().map(|item| item.id).collect::<Vec<_>>(), [whole]);
        assert_eq!((page.unreadable, page.next), (vec![broken], None));
    }
    let alone = page(&server, &bea, "limit=1").await;
    assert_eq!((alone.escrows.len(), alone.unreadable), (0, vec![broken]));
    assert_eq!(
        page(&server, &bea, &format!("limit=1&cursor={}", alone.next.unwrap())).await.escrows[0].id,
        whole
    );
    for who in [&ada, &operator] {
        let sent = server.get("/api/v1/disputes", who).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::OK);
        let page: DisputePage = sent.json().await.unwrap();
        assert_eq!((page.disputes.len(), page.unreadable), (0, vec![broken]));
    }
    let stuck: StuckPage =
        server.get("/api/v1/operator/escrows", &operator).send().await.unwrap().json().await.unwrap();
    let [found] = &stuck.escrows[..] else { panic!("{stuck:?}") };
    assert_eq!((found.escrow_id, found.status, found.stalls[0].why), (broken, None, Why::Unreadable));
}
