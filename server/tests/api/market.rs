//! Trade by listings: what is for sale. What the tests of orders and reviews share stands here too.

use std::time::Duration;

use aegis_common::code::Code;
use aegis_common::escrow::deadline::Awaited;
use aegis_common::escrow::outcome::{Authority, Outcome};
use aegis_common::escrow::returns::Returns;
use aegis_common::escrow::settling::Settling;
use aegis_common::escrow::state::{Escrow, Phase, Status};
use aegis_common::hash::Hash32;
use aegis_common::ids::{EscrowId, ListingId};
use aegis_common::reputation::Ending;
use aegis_common::role::Role;
use aegis_common::time::{Clock, SignedDuration};
use aegis_common::wire::event::{EventFrame, EventPage};
use aegis_common::wire::market::{ListingPage, ListingStatus, ListingView, OrderView};
use aegis_server::store::{Commit, DatabaseUrl, Expected, NewEvent};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Person, TestServer, problem, server};

fn offer() -> Value {
    json!({
        "title": "A bicycle",
        "description": "Red.\nWith a bell.",
        "price": "500000000000",
        "stock": 5,
        "terms": { "defaultOutcome": "refund", "expiryDays": 7, "maxQuantity": 3 },
    })
}

pub async fn taken<T: DeserializeOwned>(request: RequestBuilder, status: StatusCode) -> T {
    let sent = request.send().await.unwrap();
    let (found, text) = (sent.status(), sent.text().await.unwrap());
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).unwrap()
}

impl TestServer {
    pub fn offer(&self, seller: &Person, key: &str, body: &Value) -> RequestBuilder {
        self.post("/api/v1/listings", seller, body).header("Idempotency-Key", key)
    }

    pub async fn listed(&self, seller: &Person, key: &str) -> ListingView {
        taken(self.offer(seller, key, &offer()), StatusCode::CREATED).await
    }

    pub fn order_of(
        &self,
        buyer: &Person,
        listing: &ListingView,
        quantity: u32,
        key: &str,
    ) -> RequestBuilder {
        let body = json!({ "listingId": listing.id, "quantity": quantity, "version": listing.version });
        self.post("/api/v1/orders", buyer, &body).header("Idempotency-Key", key)
    }

    pub async fn ordered(
        &self,
        buyer: &Person,
        listing: &ListingView,
        quantity: u32,
        key: &str,
    ) -> OrderView {
        taken(self.order_of(buyer, listing, quantity, key), StatusCode::CREATED).await
    }

    pub async fn found<T: DeserializeOwned>(&self, path: &str, who: &Person) -> T {
        taken(self.get(path, who), StatusCode::OK).await
    }

    pub async fn stock(&self, listing: &ListingView) -> u64 {
        self.state.store.listing(listing.id).await.unwrap().unwrap().stock
    }

    pub fn change(&self, who: &Person, id: ListingId, version: i64, body: &Value) -> RequestBuilder {
        let request = self.request(Method::PATCH, &format!("/api/v1/listings/{id}"));
        request.bearer_auth(&who.token).header("If-Match", version).json(body)
    }

    /// What somebody was told of a kind.
    pub async fn told(&self, who: &Person, kind: &str) -> Vec<EventFrame> {
        let page: EventPage = self.found("/api/v1/events?limit=100", who).await;
        page.events.into_iter().filter(|event| event.kind == kind).collect()
    }

    /// Moves an escrow's status, with the events that its actor would have stored.
    pub async fn moves(&self, id: EscrowId, to: Status) {
        let mut row = self.state.store.escrow(id).await.unwrap().unwrap();
        let mut escrow: Escrow = serde_json::from_str(&row.snapshot).unwrap();
        let (from, now) = (row.status.clone(), self.clock.now());
        let settled = |outcome| Settling::begin(outcome, Authority::Mutual, false, now);
        let paid = |outcome| Phase::Completed {
            settled: settled(outcome),
            txid: Hash32([7; 32]),
            height: 9,
            returns: Returns::default(),
        };
        escrow.phase = match to {
            Status::CompletedReleased => paid(Outcome::Release),
            Status::CompletedRefunded => paid(Outcome::Refund),
            Status::Settling => Phase::Settling(settled(Outcome::Refund)),
            Status::Expired => Phase::Expired,
            Status::Disputed => Phase::Disputed { by: Role::Buyer, statement: Hash32([8; 32]), since: now },
            _ => escrow.phase,
        };
        let event = |user_id| NewEvent {
            event_id: Uuid::now_v7(),
            user_id,
            escrow_id: Some(id),
            kind: "EscrowStatusChanged".to_owned(),
            payload: json!({ "from": from, "to": to }).to_string(),
        };
        let events = [row.buyer_id, row.seller_id, row.arbiter_id].map(event).to_vec();
        let ending = Ending::of(&escrow, now);
        let expected = Expected::Version(row.version);
        row.version += 1;
        if to == Status::Disputed {
            let until = now + SignedDuration::from_secs(escrow.patience.ruling_seconds.into());
            escrow.awaited = Some(Awaited { since: now, until: Some(until), put_off: 0 });
        }
        (row.status, row.wake_at) = (to.wire().to_owned(), escrow.wake_at());
        row.snapshot = serde_json::to_string(&escrow).unwrap();
        let commit = Commit {
            escrow: row,
            expected,
            journal: None,
            events,
            idempotency: None,
            view_key: None,
            title: None,
            spend_keys: None,
            ending,
            replaces: None,
        };
        self.state.store.commit(commit).await.unwrap();
    }

    /// Lets the buyer call the arbiter.
    pub async fn disputed(&self, id: EscrowId) -> EscrowId {
        self.moves(id, Status::Disputed).await;
        id
    }

    pub fn tamper(&self, sql: &str) {
        let DatabaseUrl::Sqlite(path) = self.database() else { panic!("SQLite") };
        let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
        conn.batch_execute(sql).unwrap();
    }
}

/// Waits until something is so; the orders follow their escrows beside everything else.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..1_200 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

#[actix_web::test]
async fn a_listing_is_made_found_changed_and_closed() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let made = server.listed(&seller, "one").await;
    assert_eq!((made.version, made.stock, made.status), (1, 5, ListingStatus::Active));
    assert_eq!((made.seller.as_str(), made.price.xmr.as_str()), (seller.name.as_str(), "0.500000000000"));
    assert_eq!(server.listed(&seller, "one").await, made, "the same request again");
    let mut other = offer();
    other["stock"] = json!(6);
    problem(server.offer(&seller, "one", &other).send().await.unwrap(), Code::IdempotencyConflict).await;

    let path = format!("/api/v1/listings/{}", made.id);
    assert_eq!(server.found::<ListingView>(&path, &buyer).await, made);
    let search =
        async |query: &str| server.found::<ListingPage>(&format!("/api/v1/listings?{query}"), &buyer).await;
    for (query, count) in [
        ("", 1),
        ("text=BICY", 1),
        ("text=bell", 0),
        ("seller=sam-seller", 1),
        ("minPrice=500000000001", 0),
        ("maxPrice=500000000000&sort=cheapest", 1),
    ] {
        assert_eq!(search(query).await.listings.len(), count, "{query}");
    }
    let dearer = json!({ "price": "600000000000", "addStock": -2, "title": "A blue bicycle" });
    let changed: ListingView = taken(server.change(&seller, made.id, 1, &dearer), StatusCode::OK).await;
    assert_eq!((changed.version, changed.stock, changed.price.piconero.0), (2, 3, 600_000_000_000));
    assert_eq!(changed.description, made.description, "what is left out stays");
    assert_eq!(search("text=blue").await.listings, std::slice::from_ref(&changed));
    let paused = json!({ "status": "paused" });
    let _: ListingView = taken(server.change(&seller, made.id, 2, &paused), StatusCode::OK).await;
    assert!(search("").await.listings.is_empty());
    let mine: ListingPage = server.found("/api/v1/listings?status=paused&seller=Sam-seller", &seller).await;
    assert_eq!(mine.listings.len(), 1);

    let close = server.request(Method::DELETE, &path).bearer_auth(&seller.token).header("If-Match", "\"3\"");
    let closed: ListingView = taken(close, StatusCode::OK).await;
    assert_eq!(closed.status, ListingStatus::Closed);
    problem(server.get(&path, &buyer).send().await.unwrap(), Code::NotFound).await;
    assert_eq!(server.found::<ListingView>(&path, &seller).await, closed);
    problem(server.change(&seller, made.id, 4, &paused).send().await.unwrap(), Code::WrongState).await;
}

#[actix_web::test]
async fn pages_of_listings_follow_each_other_without_gap() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    for n in 0..5_u64 {
        let mut body = offer();
        body["price"] = json!((1_000_000_000 + n % 3).to_string());
        let _: ListingView = taken(server.offer(&seller, &n.to_string(), &body), StatusCode::CREATED).await;
    }
    for sort in ["newest", "oldest", "cheapest", "dearest"] {
        let whole: ListingPage = server.found(&format!("/api/v1/listings?sort={sort}"), &buyer).await;
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/listings?sort={sort}&limit=2{after}");
            let page: ListingPage = server.found(&path, &buyer).await;
            found.extend(page.listings);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(found, whole.listings, "{sort}");
        assert_eq!(found.len(), 5);
    }
}

#[actix_web::test]
async fn listings_that_are_not_in_order_are_refused() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    for (field, value, code) in [
        ("title", json!(""), Code::Invalid),
        ("title", json!("x".repeat(191)), Code::Invalid),
        ("title", json!("a\nb"), Code::Invalid),
        ("description", json!("x".repeat(4001)), Code::Invalid),
        ("description", json!("a\u{0}b"), Code::Invalid),
        ("price", json!("0"), Code::Invalid),
        ("price", json!("1000000000000000001"), Code::Invalid),
        ("price", json!(5), Code::Invalid),
        ("stock", json!(1_000_001), Code::Invalid),
        ("stock", json!(-1), Code::Invalid),
        ("colour", json!("red"), Code::Invalid),
    ] {
        let mut body = offer();
        body[field] = value;
        problem(server.offer(&seller, "key", &body).send().await.unwrap(), code).await;
    }
    for (field, value, code) in [
        ("expiryDays", json!(0), Code::Invalid),
        ("expiryDays", json!(367), Code::Invalid),
        ("buyerDeposit", json!("1"), Code::Invalid),
        ("sellerDeposit", json!("1000000000000000001"), Code::Invalid),
        ("finalityDepth", json!(9), Code::Invalid),
        ("cosignSeconds", json!(4), Code::Invalid),
        ("maxQuantity", json!(0), Code::Invalid),
        ("arbiter", json!("nobody-here"), Code::UnknownUser),
        ("arbiter", json!(buyer.name), Code::UnknownUser),
    ] {
        let mut body = offer();
        body["terms"][field] = value;
        problem(server.offer(&seller, "key", &body).send().await.unwrap(), code).await;
    }
    let own = json!({ "terms": { "defaultOutcome": "refund", "expiryDays": 1, "arbiter": arbiter.name } });
    let made = server.listed(&seller, "key").await;
    let _: ListingView = taken(server.change(&seller, made.id, 1, &own), StatusCode::OK).await;
    let changes = [
        (json!({ "status": "closed" }), Code::Invalid),
        (json!({ "status": "sold" }), Code::Invalid),
        (json!({ "addStock": -6 }), Code::OutOfStock),
        (json!({ "addStock": 1_000_000 }), Code::OutOfStock),
        (json!({ "stock": 7 }), Code::Invalid),
        (json!({ "title": "\u{7}" }), Code::Invalid),
    ];
    for (body, code) in changes {
        problem(server.change(&seller, made.id, 2, &body).send().await.unwrap(), code).await;
    }
    let stale = problem(
        server.change(&seller, made.id, 1, &json!({ "addStock": 1 })).send().await.unwrap(),
        Code::StaleVersion,
    );
    assert_eq!(stale.await.current_version, Some(2));
    let blind = server.request(Method::PATCH, &format!("/api/v1/listings/{}", made.id));
    let blind = blind.bearer_auth(&seller.token).json(&json!({ "addStock": 1 }));
    problem(blind.send().await.unwrap(), Code::Invalid).await;
    let keyless = server.post("/api/v1/listings", &seller, &offer()).send().await.unwrap();
    problem(keyless, Code::IdempotencyMissing).await;
    for (query, code) in [
        ("text=x", Code::Invalid),
        ("text=a+b+c+d+e+f", Code::Invalid),
        ("after=x", Code::Invalid),
        ("status=paused", Code::Invalid),
        ("seller=nobody-here", Code::UnknownUser),
        ("sort=best", Code::Malformed),
        ("minPrice=-1", Code::Malformed),
        ("minPrice=1000000000000000001", Code::Invalid),
        ("limit=101", Code::Invalid),
    ] {
        let path = format!("/api/v1/listings?{query}");
        problem(server.get(&path, &seller).send().await.unwrap(), code).await;
    }
}

#[actix_web::test]
async fn listings_are_made_a_hundred_at_once_and_then_one_a_minute() {
    let server = server().await;
    let [_, seller, _] = server.people().await;
    for n in 0..100 {
        server.listed(&seller, &n.to_string()).await;
    }
    let refused = problem(server.offer(&seller, "more", &offer()).send().await.unwrap(), Code::RateLimited);
    assert_eq!(refused.await.code, "rate_limited");
    server.clock.advance(SignedDuration::from_secs(60));
    server.listed(&seller, "more").await;
}
