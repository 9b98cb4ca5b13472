//! Trade by listings: what is for sale, orders and the escrows they open, and reviews.

use std::time::Duration;

use aegis_common::code::Code;
use aegis_common::escrow::outcome::{Authority, Outcome};
use aegis_common::escrow::settling::Settling;
use aegis_common::escrow::state::{Escrow, Phase, Status};
use aegis_common::hash::Hash32;
use aegis_common::ids::{EscrowId, ListingId, OrderId, ReviewId};
use aegis_common::time::{Clock, SignedDuration};
use aegis_common::wire::account::AccountRole;
use aegis_common::wire::escrow::EscrowView;
use aegis_common::wire::event::{EventFrame, EventPage};
use aegis_common::wire::market::{
    ListingPage, ListingStatus, ListingView, OrderPage, OrderStatus, OrderView, ReviewPage, ReviewView,
};
use aegis_server::store::{Commit, DatabaseUrl, Expected, Hold, IdempotencyRow, NewEvent, NewOrder};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
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

async fn taken<T: DeserializeOwned>(request: RequestBuilder, status: StatusCode) -> T {
    let sent = request.send().await.unwrap();
    let (found, text) = (sent.status(), sent.text().await.unwrap());
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).unwrap()
}

impl TestServer {
    fn offer(&self, seller: &Person, key: &str, body: &Value) -> RequestBuilder {
        self.post("/api/v1/listings", seller, body).header("Idempotency-Key", key)
    }

    async fn listed(&self, seller: &Person, key: &str) -> ListingView {
        taken(self.offer(seller, key, &offer()), StatusCode::CREATED).await
    }

    fn order_of(&self, buyer: &Person, listing: &ListingView, quantity: u32, key: &str) -> RequestBuilder {
        let body = json!({ "listingId": listing.id, "quantity": quantity, "version": listing.version });
        self.post("/api/v1/orders", buyer, &body).header("Idempotency-Key", key)
    }

    async fn ordered(&self, buyer: &Person, listing: &ListingView, quantity: u32, key: &str) -> OrderView {
        taken(self.order_of(buyer, listing, quantity, key), StatusCode::CREATED).await
    }

    async fn found<T: DeserializeOwned>(&self, path: &str, who: &Person) -> T {
        taken(self.get(path, who), StatusCode::OK).await
    }

    async fn stock(&self, listing: &ListingView) -> u64 {
        self.state.store.listing(listing.id).await.unwrap().unwrap().stock
    }

    fn change(&self, who: &Person, id: ListingId, version: i64, body: &Value) -> RequestBuilder {
        let request = self.request(Method::PATCH, &format!("/api/v1/listings/{id}"));
        request.bearer_auth(&who.token).header("If-Match", version).json(body)
    }

    /// What somebody was told of a kind.
    async fn told(&self, who: &Person, kind: &str) -> Vec<EventFrame> {
        let page: EventPage = self.found("/api/v1/events?limit=100", who).await;
        page.events.into_iter().filter(|event| event.kind == kind).collect()
    }

    /// Moves an escrow's status, with the events that its actor would have stored.
    async fn moves(&self, id: EscrowId, to: Status) {
        let mut row = self.state.store.escrow(id).await.unwrap().unwrap();
        let mut escrow: Escrow = serde_json::from_str(&row.snapshot).unwrap();
        let (from, now) = (row.status.clone(), self.clock.now());
        let settled = |outcome| Settling::begin(outcome, Authority::Mutual, false, now);
        let paid = |outcome| Phase::Completed { settled: settled(outcome), txid: Hash32([7; 32]), height: 9 };
        escrow.phase = match to {
            Status::CompletedReleased => paid(Outcome::Release),
            Status::CompletedRefunded => paid(Outcome::Refund),
            Status::Settling => Phase::Settling(settled(Outcome::Refund)),
            Status::Expired => Phase::Expired,
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
        let expected = Expected::Version(row.version);
        row.version += 1;
        row.status = to.wire().to_owned();
        row.snapshot = serde_json::to_string(&escrow).unwrap();
        let (journal, idempotency, view_key, spend_keys) = (None, None, None, None);
        let commit = Commit { escrow: row, expected, journal, events, idempotency, view_key, spend_keys };
        self.state.store.commit(commit).await.unwrap();
    }

    fn tamper(&self, sql: &str) {
        let DatabaseUrl::Sqlite(path) = self.database() else { panic!("SQLite") };
        let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
        conn.batch_execute(sql).unwrap();
    }
}

/// Waits until something is so; the orders follow their escrows beside everything else.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
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
    assert_eq!(search("text=blue").await.listings, [changed.clone()]);
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
        ("limit=101", Code::Invalid),
    ] {
        let path = format!("/api/v1/listings?{query}");
        problem(server.get(&path, &seller).send().await.unwrap(), code).await;
    }
}

#[actix_web::test]
async fn an_order_holds_pieces_and_opens_the_escrow_that_the_listing_says() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let listing = server.listed(&seller, "one").await;
    let order = server.ordered(&buyer, &listing, 2, "order").await;
    assert_eq!((order.status, order.escrow_status), (OrderStatus::Pending, Status::PendingFunding));
    assert_eq!((order.quantity, order.amount.piconero.0), (2, 1_000_000_000_000));
    assert_eq!((&order.buyer, &order.seller), (&buyer.name, &seller.name));
    assert_eq!(server.stock(&listing).await, 3);
    let escrow: EscrowView = server.found(&format!("/api/v1/escrows/{}", order.escrow_id), &arbiter).await;
    let contract = &escrow.contract;
    assert_eq!(
        (contract.title.as_str(), contract.description.as_str()),
        ("2 × A bicycle", "Red.\nWith a bell.")
    );
    assert_eq!((contract.buyer.user_id, contract.seller.user_id), (buyer.view.id, seller.view.id));
    assert_eq!(contract.expires_at, server.clock.now() + SignedDuration::from_hours(24 * 7));
    let asked = listing.to_escrow(2, contract.expires_at).unwrap();
    assert_eq!((asked.amount, &asked.title), (contract.amount, &contract.title));

    // The same request gives the same order; another one under its key is a mistake.
    assert_eq!(server.ordered(&buyer, &listing, 2, "order").await, order);
    let other = server.order_of(&buyer, &listing, 1, "order").send().await.unwrap();
    problem(other, Code::IdempotencyConflict).await;
    assert_eq!(server.stock(&listing).await, 3);
    let path = format!("/api/v1/orders/{}", order.id);
    for who in [&buyer, &seller] {
        assert_eq!(server.found::<OrderView>(&path, who).await, order);
    }
    for (who, query, count) in [
        (&buyer, "", 1),
        (&buyer, "?role=buyer&status=PENDING", 1),
        (&buyer, "?role=seller", 0),
        (&seller, "?role=seller", 1),
        (&seller, "?status=PAID", 0),
        (&arbiter, "", 0),
    ] {
        let page: OrderPage = server.found(&format!("/api/v1/orders{query}"), who).await;
        assert_eq!(page.orders.len(), count, "{query}");
    }
    let of = format!("/api/v1/orders?listing={}", listing.id);
    assert_eq!(server.found::<OrderPage>(&of, &seller).await.orders, [order.clone()]);
    // A closed listing is there for those who ordered.
    let listed = format!("/api/v1/listings/{}", listing.id);
    let close = server.request(Method::DELETE, &listed).bearer_auth(&seller.token).header("If-Match", "1");
    let _: ListingView = taken(close, StatusCode::OK).await;
    assert_eq!(server.found::<ListingView>(&listed, &buyer).await.status, ListingStatus::Closed);
    problem(server.get(&listed, &arbiter).send().await.unwrap(), Code::NotFound).await;
    until("both are told", async || {
        let [one, two] = [&buyer, &seller].map(|who| server.told(who, "OrderPlaced"));
        (one.await.len(), two.await.len()) == (1, 1)
    })
    .await;
    assert!(server.told(&arbiter, "OrderPlaced").await.is_empty());
}

#[actix_web::test]
async fn orders_that_are_not_in_order_are_refused_and_hold_nothing() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let listing = server.listed(&seller, "one").await;
    let refused = async |who: &Person, listing: &ListingView, quantity, code| {
        problem(server.order_of(who, listing, quantity, "key").send().await.unwrap(), code).await
    };
    refused(&seller, &listing, 1, Code::Invalid).await;
    refused(&buyer, &listing, 0, Code::Invalid).await;
    refused(&buyer, &listing, 4, Code::Invalid).await;
    let unknown = ListingView { id: ListingId(Uuid::now_v7()), ..listing.clone() };
    refused(&buyer, &unknown, 1, Code::NotFound).await;
    // Whoever can't be the arbiter of a trade with itself finds nobody else here.
    refused(&arbiter, &listing, 1, Code::NoArbiter).await;
    let change = async |version, body: Value| {
        let changed: ListingView =
            taken(server.change(&seller, listing.id, version, &body), StatusCode::OK).await;
        changed
    };
    let cheaper = change(1, json!({ "price": "400000000" })).await;
    let stale = refused(&buyer, &listing, 1, Code::StaleVersion).await;
    assert_eq!(stale.current_version, Some(2));
    refused(&buyer, &cheaper, 2, Code::BadContract).await;
    let fewer = change(2, json!({ "price": "500000000000", "addStock": -4 })).await;
    refused(&buyer, &fewer, 2, Code::OutOfStock).await;
    let paused = change(3, json!({ "status": "paused" })).await;
    refused(&buyer, &paused, 1, Code::NotForSale).await;
    let active = change(4, json!({ "status": "active", "addStock": 40 })).await;
    let keyless = json!({ "listingId": listing.id, "quantity": 1, "version": 5 });
    let keyless = server.post("/api/v1/orders", &buyer, &keyless).send().await.unwrap();
    problem(keyless, Code::IdempotencyMissing).await;
    assert_eq!(server.stock(&listing).await, 41);
    for n in 0..20 {
        server.ordered(&buyer, &active, 1, &n.to_string()).await;
    }
    refused(&buyer, &active, 1, Code::LimitReached).await;
    assert_eq!(server.stock(&listing).await, 21);
    for query in ["status=LOST", "role=arbiter", "limit=0", "before=x"] {
        let sent = server.get(&format!("/api/v1/orders?{query}"), &buyer).send().await.unwrap();
        assert!(sent.status().is_client_error(), "{query}");
    }
}

#[actix_web::test]
async fn foreign_listings_and_orders_are_the_same_404_as_those_that_do_not_exist() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let stranger = server.person("stranger", 9, AccountRole::Admin).await;
    let listing = server.listed(&seller, "one").await;
    let order = server.ordered(&buyer, &listing, 1, "order").await;
    for id in [listing.id, ListingId(Uuid::now_v7())] {
        let change = server.change(&stranger, id, 1, &json!({ "addStock": 1 })).send().await.unwrap();
        problem(change, Code::NotFound).await;
        let close = server.request(Method::DELETE, &format!("/api/v1/listings/{id}"));
        let close = close.bearer_auth(&stranger.token).header("If-Match", 1);
        problem(close.send().await.unwrap(), Code::NotFound).await;
    }
    for id in [order.id, OrderId(Uuid::now_v7())] {
        let sent = server.get(&format!("/api/v1/orders/{id}"), &stranger).send().await.unwrap();
        problem(sent, Code::NotFound).await;
    }
    let review = json!({ "subject": "seller", "stars": 5 });
    for id in [order.escrow_id, EscrowId(Uuid::now_v7())] {
        let sent = server.post(&format!("/api/v1/escrows/{id}/reviews"), &stranger, &review);
        problem(sent.send().await.unwrap(), Code::NotFound).await;
    }
}

/// An order whose escrow was never made: what a server leaves behind that ends in between.
async fn stuck(
    server: &TestServer,
    buyer: &Person,
    seller: &Person,
    listing: &ListingView,
    key: &str,
) -> OrderId {
    let request = aegis_common::wire::market::OrderRequest {
        listing_id: listing.id,
        quantity: 2,
        version: listing.version,
    };
    let escrow_id = EscrowId(Uuid::now_v7());
    let quote = server.state.market.quote(buyer.view.id, &request).await.unwrap();
    let contract = server.state.drafts.draft(escrow_id, buyer.view.id, quote.escrow).await.unwrap();
    let order = NewOrder {
        id: OrderId(Uuid::now_v7()),
        listing_id: listing.id,
        seen: listing.version,
        escrow_id,
        buyer_id: buyer.view.id,
        seller_id: seller.view.id,
        title: listing.title.clone(),
        quantity: 2,
        price: listing.price.piconero,
        contract: serde_json::to_string(&contract).unwrap(),
        created_at: server.clock.now(),
    };
    let answer = IdempotencyRow {
        user_id: buyer.view.id,
        key: key.to_owned(),
        request_hash: aegis_common::canonical::hash(&request).unwrap(),
        status: 201,
        response: String::new(),
        created_at: server.clock.now(),
    };
    let id = order.id;
    assert_eq!(server.state.store.hold(order, answer, 20).await, Ok(Hold::Held));
    id
}

#[actix_web::test]
async fn an_order_that_was_cut_off_is_finished_by_repeating_it_and_undone_where_nobody_does() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let listing = server.listed(&seller, "one").await;
    let first = stuck(&server, &buyer, &seller, &listing, "one").await;
    let finished = server.ordered(&buyer, &listing, 2, "one").await;
    assert_eq!((finished.id, finished.status), (first, OrderStatus::Pending));
    assert_eq!(server.stock(&listing).await, 3);

    let second = stuck(&server, &buyer, &seller, &listing, "two").await;
    assert_eq!(server.stock(&listing).await, 1);
    server.clock.advance(SignedDuration::from_secs(61));
    until("its pieces are back", async || server.stock(&listing).await == 3).await;
    let sent = server.get(&format!("/api/v1/orders/{second}"), &buyer).send().await.unwrap();
    problem(sent, Code::NotFound).await;
    assert_eq!(server.found::<OrderPage>("/api/v1/orders", &seller).await.orders.len(), 1);
    // Nothing was acknowledged, so the same request makes a new one.
    let anew = server.ordered(&buyer, &listing, 2, "two").await;
    assert_ne!(anew.id, second);
    assert_eq!(server.stock(&listing).await, 1);
}

#[actix_web::test]
async fn pieces_come_back_once_however_an_escrow_ends_that_was_no_sale() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let listing = server.listed(&seller, "one").await;
    let deleted = server.ordered(&buyer, &listing, 1, "deleted").await;
    let revived = server.ordered(&buyer, &listing, 1, "revived").await;
    let sold = server.ordered(&buyer, &listing, 1, "sold").await;
    assert_eq!(server.stock(&listing).await, 2);
    let path = format!("/api/v1/escrows/{}", deleted.escrow_id);
    let _: EscrowView =
        taken(server.request(Method::DELETE, &path).bearer_auth(&buyer.token), StatusCode::OK).await;
    until("the first is back", async || server.stock(&listing).await == 3).await;
    let now: OrderView = server.found(&format!("/api/v1/orders/{}", deleted.id), &seller).await;
    assert_eq!(now.status, OrderStatus::Cancelled);

    // Money that was on its way when an escrow expired goes back: its piece is back already.
    for to in [Status::Expired, Status::TimelockDefaultTriggered, Status::Settling, Status::CompletedRefunded]
    {
        server.moves(revived.escrow_id, to).await;
    }
    for to in [Status::BuyerFunded, Status::Active, Status::CompletedReleased] {
        server.moves(sold.escrow_id, to).await;
    }
    let told = async |who: &Person| -> Vec<(Value, Value)> {
        let events = server.told(who, "OrderStatusChanged").await;
        events.into_iter().map(|event| (event.payload["from"].clone(), event.payload["to"].clone())).collect()
    };
    let wanted = [
        ("PENDING", "CANCELLED"),
        ("PENDING", "CANCELLED"),
        ("CANCELLED", "SETTLING"),
        ("SETTLING", "REFUNDED"),
        ("PENDING", "PAID"),
        ("PAID", "COMPLETED"),
    ];
    let wanted = wanted.map(|(from, to)| (json!(from), json!(to)));
    until("everything is told", async || told(&buyer).await.len() == wanted.len()).await;
    assert_eq!((told(&buyer).await, told(&seller).await), (wanted.to_vec(), wanted.to_vec()));
    assert!(told(&arbiter).await.is_empty());
    assert_eq!(server.stock(&listing).await, 4);

    // From the very beginning again: nothing is told or returned twice.
    let before = server.told(&buyer, "OrderStatusChanged").await;
    server.tamper("DELETE FROM outbox_cursor WHERE name = 'orders'");
    server.state.market.follow().await.unwrap();
    assert_eq!(server.told(&buyer, "OrderStatusChanged").await, before);
    assert_eq!(server.stock(&listing).await, 4);
}

#[actix_web::test]
async fn an_end_that_can_not_be_told_is_not_half_done_and_is_done_when_it_can() {
    let server = server().await;
    let [buyer, seller, _] = server.people().await;
    let listing = server.listed(&seller, "one").await;
    let order = server.ordered(&buyer, &listing, 1, "order").await;
    server.state.market.follow().await.unwrap();
    server.tamper(
        "CREATE TRIGGER stop BEFORE INSERT ON events WHEN NEW.kind = 'OrderStatusChanged' \
         BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    server.moves(order.escrow_id, Status::Expired).await;
    for _ in 0..3 {
        server.state.market.follow().await.unwrap_err();
        assert_eq!(server.stock(&listing).await, 4);
    }
    server.tamper("DROP TRIGGER stop");
    // The server itself follows as well.
    futures_util::future::join_all((0..4).map(|_| server.state.market.follow())).await;
    until("the piece is back", async || server.stock(&listing).await == 5).await;
    for who in [&buyer, &seller] {
        assert_eq!(server.told(who, "OrderStatusChanged").await.len(), 1);
    }
}

async fn reviewed(server: &TestServer, who: &Person, escrow: EscrowId, body: &Value) -> Response {
    server.post(&format!("/api/v1/escrows/{escrow}/reviews"), who, body).send().await.unwrap()
}

#[actix_web::test]
async fn reviews_are_written_changed_answered_hidden_and_averaged() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let operator = server.person("the-operator", 9, AccountRole::Operator).await;
    let escrow = server.escrow(&buyer, &seller, "one").await;
    server.moves(escrow.id, Status::CompletedReleased).await;
    let good = json!({ "subject": "seller", "stars": 5, "text": "As described." });
    let sent = reviewed(&server, &buyer, escrow.id, &good).await;
    assert_eq!(sent.status(), StatusCode::CREATED);
    let made: ReviewView = sent.json().await.unwrap();
    assert_eq!((made.version, made.stars, made.escrow_id), (1, Some(5), Some(escrow.id)));
    problem(reviewed(&server, &buyer, escrow.id, &good).await, Code::AlreadyDone).await;
    let fair = json!({ "subject": "arbiter", "stars": 4 });
    assert_eq!(reviewed(&server, &buyer, escrow.id, &fair).await.status(), StatusCode::CREATED);
    assert_eq!(reviewed(&server, &seller, escrow.id, &fair).await.status(), StatusCode::CREATED);
    assert_eq!(server.told(&seller, "ReviewPosted").await.len(), 1);

    let path = format!("/api/v1/reviews/{}", made.id);
    let change = |who: &Person, version: i64, body: Value| {
        let request = server.request(Method::PATCH, &path).bearer_auth(&who.token);
        request.header("If-Match", version).json(&body).send()
    };
    let changed = change(&buyer, 1, json!({ "stars": 3 })).await.unwrap();
    let changed: ReviewView = changed.json().await.unwrap();
    assert_eq!((changed.version, changed.stars, changed.text), (2, Some(3), made.text.clone()));
    assert!(changed.edited_at.is_some());
    problem(change(&buyer, 1, json!({ "stars": 1 })).await.unwrap(), Code::StaleVersion).await;
    problem(change(&seller, 2, json!({ "stars": 1 })).await.unwrap(), Code::Forbidden).await;
    let answer = async |who: &Person| {
        let request = server.request(Method::PUT, &format!("{path}/answer")).bearer_auth(&who.token);
        request.json(&json!({ "text": "Thank you." })).send().await.unwrap()
    };
    problem(answer(&buyer).await, Code::Forbidden).await;
    let answered: ReviewView = answer(&seller).await.json().await.unwrap();
    assert_eq!(answered.answer.unwrap().text, "Thank you.");
    problem(answer(&seller).await, Code::AlreadyDone).await;
    assert_eq!(server.told(&buyer, "ReviewAnswered").await.len(), 1);

    let page: ReviewPage = server.found("/api/v1/users/sam-SELLER/reviews", &arbiter).await;
    assert_eq!((page.count, page.average.as_deref(), page.next), (1, Some("3.00"), None));
    assert_eq!(page.reviews[0].escrow_id, None, "it is no concern of others");
    let arbiters: ReviewPage = server.found("/api/v1/users/Ada-arbiter/reviews?limit=1", &buyer).await;
    assert_eq!((arbiters.count, arbiters.average.as_deref()), (2, Some("4.00")));
    let next = arbiters.next.unwrap();
    let rest = format!("/api/v1/users/Ada-arbiter/reviews?limit=1&before={next}");
    assert_eq!(server.found::<ReviewPage>(&rest, &buyer).await.next, None);

    let hide = server.request(Method::PUT, &format!("{path}/hidden")).bearer_auth(&operator.token);
    let hidden: ReviewView =
        taken(hide.json(&json!({ "reason": "names a third person" })), StatusCode::OK).await;
    assert_eq!(hidden.hidden.as_deref(), Some("names a third person"));
    assert_eq!((hidden.stars, hidden.text, hidden.answer), (None, None, None));
    let page: ReviewPage = server.found("/api/v1/users/Sam-seller/reviews", &seller).await;
    assert_eq!((page.count, page.average, page.reviews.len()), (0, None, 1));
    let audit = server.state.store.audit_of(buyer.view.id, None, 100).await.unwrap();
    let line = audit.iter().find(|line| line.kind == "reviewHidden").unwrap();
    assert_eq!((&line.detail["by"], &line.detail["review"]), (&json!(operator.view.id), &json!(made.id)));
    let show = server.request(Method::DELETE, &format!("{path}/hidden")).bearer_auth(&operator.token);
    let shown: ReviewView = taken(show, StatusCode::OK).await;
    assert_eq!((shown.stars, shown.hidden), (Some(3), None));

    let reputation = server.state.accounts.lookup(&seller.name).await.unwrap().reputation;
    assert_eq!((reputation.released, reputation.refunded), (1, 0), "from the escrow alone");
    server.clock.advance(SignedDuration::from_hours(24 * 14 + 1));
    let late = Person { token: server.login(&buyer.name).await.token, ..buyer.clone() };
    problem(change(&late, shown.version, json!({ "stars": 1 })).await.unwrap(), Code::WrongState).await;
}

#[actix_web::test]
async fn reviews_that_are_not_in_order_are_refused() {
    let server = server().await;
    let [buyer, seller, arbiter] = server.people().await;
    let escrow = server.escrow(&buyer, &seller, "one").await;
    let review = |subject: &str, stars: i64| json!({ "subject": subject, "stars": stars });
    problem(reviewed(&server, &buyer, escrow.id, &review("seller", 5)).await, Code::WrongState).await;
    server.moves(escrow.id, Status::Expired).await;
    problem(reviewed(&server, &buyer, escrow.id, &review("seller", 5)).await, Code::WrongState).await;
    server.moves(escrow.id, Status::CompletedRefunded).await;
    problem(reviewed(&server, &arbiter, escrow.id, &review("seller", 5)).await, Code::Forbidden).await;
    for body in [
        review("buyer", 5),
        review("seller", 0),
        review("seller", 6),
        review("seller", 256),
        review("king", 5),
        json!({ "subject": "seller", "stars": 5, "text": "x".repeat(2001) }),
        json!({ "subject": "seller", "stars": 5, "text": "a\u{1b}[2Jb" }),
    ] {
        problem(reviewed(&server, &buyer, escrow.id, &body).await, Code::Invalid).await;
    }
    let sent = reviewed(&server, &buyer, escrow.id, &review("seller", 5)).await;
    let made: ReviewView = sent.json().await.unwrap();
    for (method, tail, body, code) in [
        (Method::PATCH, "", json!({ "stars": 1 }), Code::Invalid),
        (Method::PUT, "/answer", json!({ "text": "" }), Code::Invalid),
        (Method::PUT, "/hidden", json!({ "reason": "x" }), Code::Forbidden),
    ] {
        let request = server.request(method, &format!("/api/v1/reviews/{}{tail}", made.id));
        problem(request.bearer_auth(&buyer.token).json(&body).send().await.unwrap(), code).await;
    }
    let unknown = format!("/api/v1/reviews/{}", ReviewId(Uuid::now_v7()));
    problem(server.get(&unknown, &buyer).send().await.unwrap(), Code::NotFound).await;
    let nobody = server.get("/api/v1/users/nobody-here/reviews", &buyer).send().await.unwrap();
    problem(nobody, Code::NotFound).await;
}
