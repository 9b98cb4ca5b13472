//! Orders of listings, and the pieces they hold.

use aegis_common::code::Code;
use aegis_common::escrow::state::Status;
use aegis_common::escrow::statement::Act;
use aegis_common::ids::{EscrowId, ListingId, OrderId};
use aegis_common::role::Role;
use aegis_common::time::{Clock, SignedDuration};
use aegis_common::wire::account::AccountRole;
use aegis_common::wire::escrow::EscrowView;
use aegis_common::wire::market::{
    ListingStatus, ListingView, OrderPage, OrderRequest, OrderStatus, OrderView,
};
use aegis_server::store::{Hold, IdempotencyRow, NewOrder};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::market::{taken, until};
use crate::support::{Person, TestServer, acceptance, problem, said, server};

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
    assert_eq!(server.found::<OrderPage>(&of, &seller).await.orders, std::slice::from_ref(&order));
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
    let request = OrderRequest { listing_id: listing.id, quantity: 2, version: listing.version };
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

/// While another escrow takes the place of one that was called off, an order is no other than before.
#[actix_web::test]
async fn an_order_whose_arbiter_declines_is_not_cancelled_unless_nobody_takes_the_place() {
    let server = server().await;
    let [buyer, seller, ada] = server.people().await;
    let listing = server.listed(&seller, "one").await;
    let order = server.ordered(&buyer, &listing, 1, "order").await;
    let path = format!("/api/v1/orders/{}", order.id);
    let decline = async |id: EscrowId, who: &Person| {
        let escrow: EscrowView = server.found(&format!("/api/v1/escrows/{id}"), who).await;
        let mut statement = acceptance(&escrow, Role::Arbiter, who).statement;
        statement.act = Act::Decline { reason: "no time".to_owned() };
        let signed = said(&statement.sign(&who.signing).unwrap());
        let sent =
            server.post(&format!("/api/v1/escrows/{id}/statements"), who, &signed).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::OK);
    };
    let again =
        async |person: &Person| Person { token: server.login(&person.name).await.token, ..person.clone() };
    decline(order.escrow_id, &ada).await;
    until("nobody is there", async || server.told(&buyer, "ArbiterWanted").await.len() == 1).await;
    server.state.market.follow().await.unwrap();
    let waiting: OrderView = server.found(&path, &seller).await;
    assert_eq!((waiting.status, waiting.escrow_status), (OrderStatus::Pending, Status::Cancelled));
    for (status, count) in [("PENDING", 1), ("CANCELLED", 0)] {
        let page: OrderPage = server.found(&format!("/api/v1/orders?status={status}"), &buyer).await;
        assert_eq!(page.orders.len(), count, "{status}");
    }
    assert!(server.told(&buyer, "OrderStatusChanged").await.is_empty());

    let zoe = server.person("Zoe-arbiter", 4, AccountRole::Arbiter).await;
    server.clock.advance(SignedDuration::from_mins(11));
    let (buyer, seller) = (again(&buyer).await, again(&seller).await);
    until("Zoe takes it on", async || {
        let now: OrderView = server.found(&path, &buyer).await;
        now.escrow_id != order.escrow_id
    })
    .await;
    server.state.market.follow().await.unwrap();
    let now: OrderView = server.found(&path, &buyer).await;
    assert_eq!((now.status, now.escrow_status), (OrderStatus::Pending, Status::PendingFunding));
    assert_eq!(server.told(&seller, "OrderPlaced").await.len(), 1, "it was placed once");
    assert!(server.told(&seller, "OrderStatusChanged").await.is_empty());

    // She declines as well, and nobody else is found before it would have expired.
    decline(now.escrow_id, &again(&zoe).await).await;
    until("nobody is there", async || server.told(&buyer, "ArbiterWanted").await.len() == 2).await;
    server.clock.advance(SignedDuration::from_hours(24 * 8));
    let buyer = again(&buyer).await;
    until("it is told", async || server.told(&buyer, "OrderStatusChanged").await.len() == 1).await;
    let told = server.told(&buyer, "OrderStatusChanged").await.remove(0);
    assert_eq!((&told.payload["from"], &told.payload["to"]), (&json!("PENDING"), &json!("CANCELLED")));
    let ended: OrderView = server.found(&path, &buyer).await;
    assert_eq!((ended.status, server.stock(&listing).await), (OrderStatus::Cancelled, 5));
}
