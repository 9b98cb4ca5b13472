//! Orders, and the pieces they hold.

use aegis_common::amount::Piconero;
use aegis_common::escrow::state::Status;
use aegis_common::ids::{EscrowId, ListingId, OrderId, UserId};
use aegis_common::time::{SignedDuration, Timestamp};
use aegis_common::wire::market::{ListingStatus, OrderStatus};
use aegis_server::store::{
    Assigned, Commit, CommitError, DatabaseUrl, Ended, Hold, ListingPatch, ListingRow, NewEvent, NewOrder,
    OrderQuery, Sought, Store, StoreError,
};
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::market::{listed, listing};
use crate::rows::{answer, now, open, opening, parties};
use crate::tamper;

/// Most orders of one buyer that are not paid.
const MOST: usize = 20;

pub async fn orders(url: &DatabaseUrl, store: &Store) {
    holds(store).await;
    the_last_pieces(url, store).await;
    escrows_of_orders(store).await;
    undoing_while_escrows_are_made(store).await;
    endings(url, store).await;
    lists_of_orders(store).await;
    plans(url, store).await;
}

fn order(listing: &ListingRow, buyer: UserId, quantity: u32) -> NewOrder {
    NewOrder {
        id: OrderId(Uuid::now_v7()),
        listing_id: listing.id,
        seen: listing.version,
        escrow_id: EscrowId(Uuid::now_v7()),
        buyer_id: buyer,
        seller_id: listing.seller_id,
        title: listing.title.clone(),
        quantity,
        price: listing.price,
        contract: r#"{"a":"contract"}"#.to_owned(),
        created_at: now(),
    }
}

async fn hold(store: &Store, order: &NewOrder) -> Hold {
    let key = answer(order.buyer_id, &order.id.to_string());
    store.hold(order.clone(), key, MOST).await.unwrap()
}

async fn stock(store: &Store, listing: ListingId) -> u64 {
    store.listing(listing).await.unwrap().unwrap().stock
}

/// The first commit of an order's escrow.
fn escrow_of(order: &NewOrder, arbiter: UserId) -> Commit {
    let mut commit = opening([order.buyer_id, order.seller_id, arbiter]);
    commit.escrow.id = order.escrow_id;
    commit.journal.as_mut().unwrap().escrow_id = order.escrow_id;
    commit.events.iter_mut().for_each(|event| event.escrow_id = Some(order.escrow_id));
    commit
}

fn later(by: SignedDuration) -> Timestamp {
    now() + by
}

async fn holds(store: &Store) {
    let [buyer, seller, _] = parties(store).await;
    let row = listing(seller, "x", 5, 30);
    listed(store, &row, &[]).await;
    let unknown = listing(seller, "y", 5, 30);
    assert_eq!(hold(store, &order(&unknown, buyer, 1)).await, Hold::Missing);
    let stale = NewOrder { seen: 2, ..order(&row, buyer, 1) };
    assert_eq!(hold(store, &stale).await, Hold::Stale { actual: 1 });
    assert_eq!(hold(store, &order(&row, buyer, 31)).await, Hold::OutOfStock);
    let made = order(&row, buyer, 7);
    assert_eq!(hold(store, &made).await, Hold::Held);
    assert_eq!(hold(store, &made).await, Hold::Known);
    assert_eq!(stock(store, row.id).await, 23);
    let kept = store.idempotency(buyer, made.id.to_string()).await.unwrap().unwrap();
    assert_eq!(kept.response, json!({ "orderId": made.id }).to_string());
    let waiting = store.opening_order(made.id).await.unwrap().unwrap();
    assert_eq!((waiting.buyer_id, waiting.contract), (buyer, made.contract));
    assert_eq!(store.order(made.id).await.unwrap(), None, "it has no escrow");
    for _ in 1..MOST {
        assert_eq!(hold(store, &order(&row, buyer, 1)).await, Hold::Held);
    }
    assert_eq!(hold(store, &order(&row, buyer, 1)).await, Hold::TooMany);
    let paused = ListingPatch { status: Some(ListingStatus::Paused), ..ListingPatch::default() };
    store.change_listing(row.id, seller, 1, paused, now()).await.unwrap();
    let [other, ..] = parties(store).await;
    let late = NewOrder { seen: 2, ..order(&row, other, 1) };
    assert_eq!(hold(store, &late).await, Hold::NotForSale);
}

/// A hundred want one of ten pieces, through two servers.
async fn the_last_pieces(url: &DatabaseUrl, store: &Store) {
    let [seller, ..] = parties(store).await;
    let row = listing(seller, "x", 5, 10);
    listed(store, &row, &[]).await;
    let second = open(url);
    let mut orders = Vec::new();
    for _ in 0..10 {
        let [buyer, ..] = parties(store).await;
        orders.extend((0..10).map(|_| order(&row, buyer, 1)));
    }
    let all = orders.iter().enumerate().map(|(n, order)| hold([store, &second][n % 2], order));
    let outcomes = join_all(all).await;
    let won = outcomes.iter().filter(|outcome| **outcome == Hold::Held).count();
    let lost = outcomes.iter().filter(|outcome| **outcome == Hold::OutOfStock).count();
    assert_eq!((won, lost), (10, 90));
    assert_eq!(stock(store, row.id).await, 0);
    let held = orders.iter().map(|order| store.opening_order(order.id));
    let held = join_all(held).await.into_iter().filter(|order| order.as_ref().unwrap().is_some()).count();
    assert_eq!(held, 10);
}

async fn escrows_of_orders(store: &Store) {
    let [buyer, seller, arbiter] = parties(store).await;
    let row = listing(seller, "x", 5, 10);
    listed(store, &row, &[]).await;
    let (kept, undone) = (order(&row, buyer, 2), order(&row, buyer, 3));
    assert_eq!(hold(store, &kept).await, Hold::Held);
    assert_eq!(hold(store, &undone).await, Hold::Held);
    store.commit(escrow_of(&kept, arbiter)).await.unwrap();
    assert_eq!(store.opening_order(kept.id).await.unwrap(), None);
    let found = store.order(kept.id).await.unwrap().unwrap();
    assert_eq!((found.escrow_id, found.quantity, found.price), (kept.escrow_id, 2, Piconero(5)));
    assert_eq!((found.escrow_status, found.buyer_id), (Status::PendingFunding, buyer));

    assert_eq!(store.undo_orders(now(), 1000).await.unwrap(), 0, "not yet");
    // Those of the tests before as well.
    let count = store.undo_orders(later(SignedDuration::from_millis(1)), 1000).await.unwrap();
    assert!(count > 1, "{count}");
    assert_eq!(store.undo_orders(later(SignedDuration::from_millis(1)), 1000).await.unwrap(), 0);
    assert_eq!(stock(store, row.id).await, 8, "two pieces are still held");
    assert_eq!(store.commit(escrow_of(&undone, arbiter)).await, Err(CommitError::Undone));
    assert!(store.escrow(undone.escrow_id).await.unwrap().is_none());
    // Its key can be used anew; that of the other stays.
    let key = async |order: &NewOrder| store.idempotency(buyer, order.id.to_string()).await.unwrap();
    assert!(key(&undone).await.is_none() && key(&kept).await.is_some());

    assert!(!store.has_ordered(row.id, seller).await.unwrap());
    assert!(store.has_ordered(row.id, buyer).await.unwrap());
}

/// Wherever the one comes before the other: an escrow with its order, or neither.
async fn undoing_while_escrows_are_made(store: &Store) {
    let [seller, _, arbiter] = parties(store).await;
    let row = listing(seller, "x", 5, 60);
    listed(store, &row, &[]).await;
    let mut orders = Vec::new();
    for _ in 0..6 {
        let [buyer, ..] = parties(store).await;
        for _ in 0..10 {
            let order = order(&row, buyer, 1);
            assert_eq!(hold(store, &order).await, Hold::Held);
            orders.push(order);
        }
    }
    let made = join_all(orders.iter().map(|order| store.commit(escrow_of(order, arbiter))));
    let undone = join_all((0..40).map(|_| store.undo_orders(later(SignedDuration::from_millis(1)), 1)));
    let (made, _) = tokio::join!(made, undone);
    let mut count = 0;
    for (order, outcome) in orders.iter().zip(made) {
        let has_escrow = store.escrow(order.escrow_id).await.unwrap().is_some();
        assert_eq!(has_escrow, outcome == Ok(()), "{outcome:?}");
        assert_eq!(store.order(order.id).await.unwrap().is_some(), has_escrow);
        count += u64::from(has_escrow);
    }
    while store.undo_orders(later(SignedDuration::from_millis(1)), 100).await.unwrap() > 0 {}
    assert_eq!(stock(store, row.id).await, 60 - count);
}

async fn endings(url: &DatabaseUrl, store: &Store) {
    let [buyer, seller, arbiter] = parties(store).await;
    let row = listing(seller, "x", 5, 10);
    listed(store, &row, &[]).await;
    let mut orders = Vec::new();
    for quantity in [1, 2, 4] {
        let order = order(&row, buyer, quantity);
        assert_eq!(hold(store, &order).await, Hold::Held);
        store.commit(escrow_of(&order, arbiter)).await.unwrap();
        orders.push(order);
    }
    let following =
        store.orders_following(orders.iter().map(|order| order.escrow_id).collect()).await.unwrap();
    assert_eq!(following.len(), 3);
    assert!(following.iter().all(|order| (order.buyer_id, order.seller_id) == (buyer, seller)));

    let end = |n: usize, sold| Ended { order: orders[n].id, escrow: orders[n].escrow_id, sold };
    let event = NewEvent {
        event_id: Uuid::now_v7(),
        user_id: buyer,
        escrow_id: Some(orders[0].escrow_id),
        kind: "OrderStatusChanged".to_owned(),
        payload: "{}".to_owned(),
    };
    let told = async || {
        let events = store.events_of(buyer, 0, 1000).await.unwrap();
        events.iter().filter(|told| told.event_id == event.event_id).count()
    };
    // Several servers read the same events at once: one of them does what they lead to.
    let second = open(url);
    let all = (0..8).map(|n| {
        let (ended, told) = (vec![end(0, false), end(1, true)], vec![event.clone()]);
        [store, &second][n % 2].follow("endings", (0, 7), ended, told, now())
    });
    let done: Vec<bool> = join_all(all).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(done.iter().filter(|done| **done).count(), 1);
    assert_eq!((store.outbox_cursor("endings").await.unwrap(), told().await), (7, 1));
    assert_eq!(stock(store, row.id).await, 4, "one piece is back");

    // From the beginning again, and an end that comes after another: nothing twice.
    tamper(url, "DELETE FROM outbox_cursor WHERE name = 'endings'");
    let ended = vec![end(0, false), end(0, true), end(0, false), end(1, false)];
    assert!(store.follow("endings", (0, 8), ended, vec![event.clone()], now()).await.unwrap());
    assert_eq!((stock(store, row.id).await, told().await), (4, 1));

    // Half of it is nothing of it: here the last event is for nobody.
    let nobody = NewEvent { user_id: UserId(Uuid::now_v7()), event_id: Uuid::now_v7(), ..event.clone() };
    let failed = store.follow("endings", (8, 9), vec![end(2, false)], vec![nobody], now()).await;
    assert!(matches!(failed, Err(StoreError::Inconsistent(_))), "{failed:?}");
    assert_eq!((stock(store, row.id).await, store.outbox_cursor("endings").await.unwrap()), (4, 8));

    // An order that follows another escrow by now does not end with the one before.
    let next = order(&row, buyer, 1);
    let successor = async |of: usize| {
        let replaces = Some(orders[of].escrow_id);
        let sought = Sought {
            escrow: EscrowId(Uuid::now_v7()),
            at: now(),
            traders: [buyer, row.seller_id],
            named: Some(arbiter),
            replaces,
            declined: Vec::new(),
            silent_before: now(),
            capacity: 1_000,
            most_unfunded: 1_000,
        };
        let Assigned::To { escrow, .. } = store.assign(sought).await.unwrap() else { panic!("nobody") };
        let mut commit = Commit { replaces, ..escrow_of(&next, arbiter) };
        (commit.escrow.id, commit.journal, commit.events) = (escrow, None, Vec::new());
        commit
    };
    let taken = successor(2).await;
    let next_id = taken.escrow.id;
    store.commit(taken).await.unwrap();
    // Nothing takes the place of one whose order is over: its pieces may be another's by now.
    assert_eq!(store.commit(successor(0).await).await, Err(CommitError::Undone));
    assert_eq!(store.order(orders[0].id).await.unwrap().unwrap().escrow_id, orders[0].escrow_id);
    assert!(store.follow("endings", (8, 9), vec![end(2, false)], Vec::new(), now()).await.unwrap());
    assert_eq!(stock(store, row.id).await, 4);
    let new_end = Ended { escrow: next_id, ..end(2, false) };
    assert!(store.follow("endings", (9, 10), vec![new_end], Vec::new(), now()).await.unwrap());
    assert_eq!(stock(store, row.id).await, 8);
    assert_eq!(store.order(orders[2].id).await.unwrap().unwrap().escrow_id, next_id);
}

async fn lists_of_orders(store: &Store) {
    let [ann, bob, arbiter] = parties(store).await;
    let (by_ann, by_bob) = (listing(ann, "x", 5, 100), listing(bob, "y", 5, 100));
    listed(store, &by_ann, &[]).await;
    listed(store, &by_bob, &[]).await;
    let mut all = Vec::new();
    for n in 0..9 {
        let (row, buyer) = if n % 3 == 0 { (&by_ann, bob) } else { (&by_bob, ann) };
        let order = order(row, buyer, 1);
        assert_eq!(hold(store, &order).await, Hold::Held);
        let mut commit = escrow_of(&order, arbiter);
        let status = [Status::Active, Status::Expired][n % 2];
        commit.escrow.status = status.wire().to_owned();
        store.commit(commit).await.unwrap();
        all.push((order, status));
    }
    // One without an escrow is not listed.
    assert_eq!(hold(store, &order(&by_bob, ann, 1)).await, Hold::Held);
    for (bought, sold) in [(true, true), (true, false), (false, true)] {
        for status in [None, Some(OrderStatus::Paid)] {
            for listing in [None, Some(by_bob.id)] {
                let mut wanted: Vec<_> = all
                    .iter()
                    .filter(|(order, _)| {
                        (bought && order.buyer_id == ann) || (sold && order.seller_id == ann)
                    })
                    .filter(|(_, has)| status.is_none_or(|status| OrderStatus::of(*has) == status))
                    .filter(|(order, _)| listing.is_none_or(|listing| order.listing_id == listing))
                    .map(|(order, _)| order.id)
                    .collect();
                wanted.reverse();
                let (mut found, mut before) = (Vec::new(), None);
                loop {
                    let asked = OrderQuery { user: ann, bought, sold, status, listing, before, limit: 2 };
                    let page = store.orders(asked).await.unwrap();
                    before = page.last().map(|order| order.id);
                    let full = page.len() == 2;
                    found.extend(page.into_iter().map(|order| order.id));
                    if !full {
                        break;
                    }
                }
                assert_eq!(found, wanted, "{bought} {sold} {status:?} {listing:?}");
            }
        }
    }
}

/// What of a plan is not answered in order by an index.
fn faults(plan: &[String]) -> Vec<String> {
    let fine = |line: &String| line.starts_with("SEARCH orders USING") && line.contains("INDEX orders_");
    plan.iter().filter(|line| !fine(line)).cloned().collect()
}

/// Every filter is answered from an index of its own; and without one the test says so.
async fn plans(url: &DatabaseUrl, store: &Store) {
    let DatabaseUrl::Sqlite(_) = url else { return };
    let [ann, bob, _] = parties(store).await;
    let row = listing(ann, "x", 5, 100);
    listed(store, &row, &[]).await;
    let filters = [
        (ann, (true, false), None, None, "orders_buyer"),
        (ann, (true, false), Some(OrderStatus::Paid), None, "orders_buyer_status"),
        (bob, (true, false), None, Some(row.id), "orders_buyer_listing"),
        (ann, (false, true), None, None, "orders_seller"),
        (ann, (false, true), Some(OrderStatus::Paid), None, "orders_seller_status"),
        (ann, (false, true), None, Some(row.id), "orders_listing"),
        (ann, (false, true), Some(OrderStatus::Paid), Some(row.id), "orders_listing_status"),
    ];
    let migration = include_str!("../../../migrations/sqlite/00000000000004_market/up.sql");
    for (user, (bought, sold), status, listing, index) in filters {
        let asked = OrderQuery { user, bought, sold, status, listing, before: None, limit: 51 };
        let plan = async || {
            // A plan is made of the schema that the connection has seen: a real query has it looked at again.
            store.orders(asked.clone()).await.unwrap();
            store.orders_plan(asked.clone()).await.unwrap()
        };
        let indexed = plan().await;
        assert!(
            faults(&indexed).is_empty() && indexed[0].contains(&format!("INDEX {index} ")),
            "{indexed:?}"
        );
        let line = format!("CREATE INDEX {index} ");
        let made = migration.lines().find(|made| made.starts_with(&line)).unwrap();
        tamper(url, &format!("DROP INDEX {index}"));
        let without = plan().await;
        assert!(!without[0].contains(&format!("INDEX {index} ")), "{without:?}");
        tamper(url, made);
    }
}
