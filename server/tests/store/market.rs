//! Listings, orders and the pieces they hold, reviews.

use std::collections::BTreeSet;

use aegis_common::amount::Piconero;
use aegis_common::escrow::state::Status;
use aegis_common::ids::{EscrowId, ListingId, OrderId, ReviewId, UserId};
use aegis_common::role::Role as Part;
use aegis_common::time::{SignedDuration, Timestamp};
use aegis_common::wire::market::{ListingStatus, Sort};
use aegis_server::store::{
    Changed, Commit, CommitError, DatabaseUrl, Ended, Hold, Listed, ListingPatch, ListingQuery, ListingRow,
    NewEvent, NewOrder, Note, OrderQuery, ReviewRow, Store, StoreError,
};
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::rows::{answer, now, open, opening, parties};
use crate::tamper;

const MOST: usize = 20;

pub async fn market(url: &DatabaseUrl, store: &Store) {
    listings(store).await;
    searches(store).await;
    holds(store).await;
    the_last_pieces(url, store).await;
    escrows_of_orders(store).await;
    undoing_while_escrows_are_made(store).await;
    endings(url, store).await;
    lists_of_orders(store).await;
    reviews(store).await;
}

fn listing(seller: UserId, title: &str, price: u64, stock: u64) -> ListingRow {
    ListingRow {
        id: ListingId(Uuid::now_v7()),
        seller_id: seller,
        seller: String::new(),
        version: 1,
        status: ListingStatus::Active,
        title: title.to_owned(),
        description: String::new(),
        price: Piconero(price),
        stock,
        terms: "{}".to_owned(),
        created_at: now(),
        updated_at: now(),
    }
}

async fn listed(store: &Store, row: &ListingRow, words: &[&str]) {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    let key = answer(row.seller_id, &row.id.to_string());
    assert_eq!(store.insert_listing(row.clone(), words, key, 1000).await, Ok(Listed::Done));
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

async fn listings(store: &Store) {
    let [seller, other, _] = parties(store).await;
    let row = listing(seller, "A red bicycle", 5, 3);
    listed(store, &row, &["a", "bicycle", "red"]).await;
    let again = answer(seller, &row.id.to_string());
    let second = listing(seller, "x", 1, 1);
    assert_eq!(store.insert_listing(second.clone(), Vec::new(), again, 1000).await, Ok(Listed::Known));
    let key = answer(seller, "one more");
    assert_eq!(store.insert_listing(second, Vec::new(), key, 1).await, Ok(Listed::TooMany));
    assert!(store.idempotency(seller, "one more".to_owned()).await.unwrap().is_none());

    let stored = store.listing(row.id).await.unwrap().unwrap();
    assert!(!stored.seller.is_empty());
    assert_eq!(ListingRow { seller: String::new(), ..stored }, row);
    let change =
        async |by, version, patch| store.change_listing(row.id, by, version, patch, now()).await.unwrap();
    let add = |add_stock| ListingPatch { add_stock, most_stock: 10, ..ListingPatch::default() };
    assert_eq!(change(other, 1, add(1)).await, Changed::Missing, "another's");
    assert_eq!(change(seller, 2, add(1)).await, Changed::Stale { actual: 1 });
    assert_eq!(change(seller, 1, add(-4)).await, Changed::OutOfStock);
    assert_eq!(change(seller, 1, add(8)).await, Changed::OutOfStock);
    assert_eq!(change(seller, 1, add(i64::MAX)).await, Changed::OutOfStock);
    assert_eq!(change(seller, 1, add(7)).await, Changed::Done);
    assert_eq!(change(seller, 2, add(-10)).await, Changed::Done);
    let titled = ListingPatch {
        title: Some(("A blue bicycle".to_owned(), vec!["blue".to_owned()])),
        price: Some(Piconero(6)),
        status: Some(ListingStatus::Closed),
        ..ListingPatch::default()
    };
    assert_eq!(change(seller, 3, titled).await, Changed::Done);
    let stored = store.listing(row.id).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.price, stored.stock), (4, Piconero(6), 0));
    assert_eq!((stored.status, stored.title.as_str()), (ListingStatus::Closed, "A blue bicycle"));
    assert_eq!(change(seller, 4, add(1)).await, Changed::Over);
}

/// Every filter and order against what a loop over all of them finds, page by page.
async fn searches(store: &Store) {
    let [ann, bob, shut] = parties(store).await;
    let mut all = Vec::new();
    let titles =
        [("sea-green lamp", ["green", "lamp", "sea"]), ("Sealamp lampion", ["lampion", "sealamp", "x"])];
    for n in 0..40_u64 {
        let (title, words) = titles[n as usize % 2];
        let seller = [ann, bob, shut][n as usize % 3];
        let row = listing(seller, title, 1_000_000_000_000 + n % 5, 1);
        listed(store, &row, &words).await;
        all.push((row, words));
    }
    let note = Note {
        user: Some(shut),
        at: now(),
        kind: "accountDisabled",
        network: None,
        detail: json!({}),
        tell: false,
        under: None,
    };
    store.set_disabled(shut, true, note).await.unwrap();
    let base = Piconero(1_000_000_000_000);
    for sort in [Sort::Newest, Sort::Oldest, Sort::Cheapest, Sort::Dearest] {
        for (seller, words, max) in [
            (None, vec![], None),
            (Some(ann), vec![], None),
            (None, vec!["lamp"], None),
            (None, vec!["sea", "lamp"], Some(Piconero(base.0 + 2))),
            (Some(bob), vec!["green"], Some(Piconero(base.0 + 1))),
            (None, vec!["lampions"], None),
        ] {
            let mut wanted: Vec<&ListingRow> = all
                .iter()
                .filter(|(row, _)| seller.map_or(row.seller_id != shut, |seller| row.seller_id == seller))
                .filter(|(_, has)| words.iter().all(|word| has.iter().any(|known| known.starts_with(word))))
                .filter(|(row, _)| max.is_none_or(|max| row.price <= max))
                .map(|(row, _)| row)
                .collect();
            wanted.sort_by_key(|row| match sort {
                Sort::Newest | Sort::Oldest => (Piconero::ZERO, row.id),
                Sort::Cheapest | Sort::Dearest => (row.price, row.id),
            });
            if matches!(sort, Sort::Newest | Sort::Dearest) {
                wanted.reverse();
            }
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let words = words.iter().map(|word| (*word).to_owned()).collect();
                let status = ListingStatus::Active;
                let asked =
                    ListingQuery { seller, status, words, min: Some(base), max, sort, after, limit: 3 };
                let page = store.listings(asked).await.unwrap();
                after = page.last().map(|row| (row.price, row.id));
                let full = page.len() == 3;
                found.extend(page.into_iter().map(|row| row.id));
                if !full {
                    break;
                }
            }
            let wanted: Vec<_> = wanted.into_iter().map(|row| row.id).collect();
            assert_eq!(found, wanted, "{sort:?} {seller:?} {words:?} {max:?}");
        }
    }
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
    store.commit(escrow_of(&next, arbiter)).await.unwrap();
    assert!(store.order_follows(orders[2].escrow_id, next.escrow_id).await.unwrap());
    assert!(!store.order_follows(orders[2].escrow_id, next.escrow_id).await.unwrap());
    assert!(!store.order_follows(orders[0].escrow_id, EscrowId(Uuid::now_v7())).await.unwrap(), "it is over");
    assert!(store.follow("endings", (8, 9), vec![end(2, false)], Vec::new(), now()).await.unwrap());
    assert_eq!(stock(store, row.id).await, 4);
    let new_end = Ended { escrow: next.escrow_id, ..end(2, false) };
    assert!(store.follow("endings", (9, 10), vec![new_end], Vec::new(), now()).await.unwrap());
    assert_eq!(stock(store, row.id).await, 8);
    assert_eq!(store.order(orders[2].id).await.unwrap().unwrap().escrow_id, next.escrow_id);
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
        for status in [None, Some(Status::Active)] {
            for listing in [None, Some(by_bob.id)] {
                let mut wanted: Vec<_> = all
                    .iter()
                    .filter(|(order, _)| {
                        (bought && order.buyer_id == ann) || (sold && order.seller_id == ann)
                    })
                    .filter(|(_, has)| status.is_none_or(|status| *has == status))
                    .filter(|(order, _)| listing.is_none_or(|listing| order.listing_id == listing))
                    .map(|(order, _)| order.id)
                    .collect();
                wanted.reverse();
                let (mut found, mut before) = (Vec::new(), None);
                loop {
                    let statuses = status.map(|status| vec![status, Status::Settling]);
                    let asked = OrderQuery { user: ann, bought, sold, statuses, listing, before, limit: 2 };
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

fn review(escrow: EscrowId, reviewer: UserId, subject: UserId, stars: u8) -> ReviewRow {
    ReviewRow {
        id: ReviewId(Uuid::now_v7()),
        escrow_id: escrow,
        reviewer_id: reviewer,
        reviewer_role: Part::Buyer,
        reviewer: String::new(),
        subject_id: subject,
        subject_role: Part::Seller,
        subject: String::new(),
        version: 1,
        stars,
        text: "Good.".to_owned(),
        answer: None,
        hidden: None,
        created_at: now(),
        edited_at: None,
    }
}

fn told(row: &ReviewRow, user_id: UserId) -> NewEvent {
    NewEvent {
        event_id: Uuid::now_v7(),
        user_id,
        escrow_id: Some(row.escrow_id),
        kind: "ReviewPosted".to_owned(),
        payload: "{}".to_owned(),
    }
}

async fn reviews(store: &Store) {
    let [buyer, seller, arbiter] = parties(store).await;
    let (mut rows, mut ids) = (Vec::new(), BTreeSet::new());
    for stars in [5, 4, 1] {
        let commit = opening([buyer, seller, arbiter]);
        store.commit(commit.clone()).await.unwrap();
        let row = review(commit.escrow.id, buyer, seller, stars);
        store.insert_review(row.clone(), told(&row, seller)).await.unwrap();
        ids.insert(row.id);
        rows.push(row);
    }
    let twice = ReviewRow { id: ReviewId(Uuid::now_v7()), ..rows[0].clone() };
    let again = store.insert_review(twice.clone(), told(&twice, seller)).await;
    assert_eq!(again, Err(StoreError::Duplicate));
    let mut arbiters = review(rows[0].escrow_id, buyer, arbiter, 3);
    arbiters.subject_role = Part::Arbiter;
    store.insert_review(arbiters.clone(), told(&arbiters, arbiter)).await.unwrap();
    let kinds: Vec<_> = store.events_of(seller, 0, 1000).await.unwrap();
    assert_eq!(kinds.iter().filter(|event| event.kind == "ReviewPosted").count(), 3);

    let stored = store.review(rows[1].id).await.unwrap().unwrap();
    let nameless = ReviewRow { reviewer: String::new(), subject: String::new(), ..stored };
    assert_eq!(nameless, rows[1]);
    let pages = store.reviews_of(seller, None, 2).await.unwrap();
    let rest = store.reviews_of(seller, pages.last().map(|row| row.id), 2).await.unwrap();
    let found: Vec<_> = pages.iter().chain(&rest).map(|row| row.id).collect();
    assert_eq!(found, ids.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(store.stars_of(seller).await.unwrap(), (3, 10));

    let id = rows[2].id;
    let change =
        async |expected| store.change_review(id, expected, (2, "Well.".to_owned()), now()).await.unwrap();
    assert_eq!(change(2).await, Changed::Stale { actual: 1 });
    assert_eq!(change(1).await, Changed::Done);
    let say = async || store.answer_review(id, "No.".to_owned(), told(&rows[2], buyer), now()).await.unwrap();
    assert_eq!((say().await, say().await), (Changed::Done, Changed::Over));
    let unknown = ReviewId(Uuid::now_v7());
    let lost = store.answer_review(unknown, "x".to_owned(), told(&rows[2], buyer), now()).await;
    assert_eq!(lost, Ok(Changed::Missing));
    let note = Note {
        user: Some(buyer),
        at: now(),
        kind: "reviewHidden",
        network: None,
        detail: json!({ "review": id }),
        tell: true,
        under: None,
    };
    assert!(store.hide_review(id, Some("slander".to_owned()), note.clone()).await.unwrap());
    assert!(!store.hide_review(unknown, None, note).await.unwrap());
    let changed = store.review(id).await.unwrap().unwrap();
    assert_eq!((changed.version, changed.stars, changed.hidden.as_deref()), (4, 2, Some("slander")));
    assert_eq!(changed.answer, Some(("No.".to_owned(), now())));
    assert_eq!(store.stars_of(seller).await.unwrap(), (2, 9));
    assert_eq!(store.audit_of(buyer, None, 10).await.unwrap().len(), 1, "of one that is there");
}
