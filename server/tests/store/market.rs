//! Listings and reviews.

use std::collections::BTreeSet;

use aegis_common::amount::Piconero;
use aegis_common::ids::{EscrowId, ListingId, ReviewId, UserId};
use aegis_common::role::Role as Part;
use aegis_common::time::SignedDuration;
use aegis_common::wire::market::{ListingStatus, Sort};
use aegis_server::store::{
    Changed, DatabaseUrl, Listed, ListingPatch, ListingQuery, ListingRow, NewEvent, Note, ReviewRow, Store,
    StoreError,
};
use serde_json::json;
use uuid::Uuid;

use crate::rows::{answer, now, opening, parties};
use crate::tamper;

pub async fn market(url: &DatabaseUrl, store: &Store) {
    listings(store).await;
    closed(store).await;
    searches(store).await;
    walks(store).await;
    plans(url, store).await;
    reviews(store).await;
}

pub fn listing(seller: UserId, title: &str, price: u64, stock: u64) -> ListingRow {
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

pub async fn listed(store: &Store, row: &ListingRow, words: &[&str]) {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    let key = answer(row.seller_id, &row.id.to_string());
    assert_eq!(store.insert_listing(row.clone(), words, key, 1000).await, Ok(Listed::Done));
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

/// What is closed is found by its words no more, and forgotten where nobody has ordered it.
async fn closed(store: &Store) {
    let [seller, ..] = parties(store).await;
    let row = listing(seller, "A gramophone", 5, 3);
    listed(store, &row, &["a", "gramophone"]).await;
    let found = async |status| {
        let words = vec!["gramophone".to_owned()];
        let asked = ListingQuery {
            seller: Some(seller),
            status,
            words,
            min: None,
            max: None,
            sort: Sort::Newest,
            after: None,
            limit: 9,
        };
        store.listings(asked).await.unwrap().rows.len()
    };
    assert_eq!(found(ListingStatus::Active).await, 1);
    let close = ListingPatch { status: Some(ListingStatus::Closed), ..ListingPatch::default() };
    assert_eq!(store.change_listing(row.id, seller, 1, close, now()).await, Ok(Changed::Done));
    assert_eq!((found(ListingStatus::Active).await, found(ListingStatus::Closed).await), (0, 0));
    let window =
        |from: i64, to: i64| (now() + SignedDuration::from_secs(from), now() + SignedDuration::from_secs(to));
    assert_eq!(store.purge_listings(window(1, 9), 9).await.unwrap(), 0, "closed before");
    assert!(store.listing(row.id).await.unwrap().is_some());
    assert!(store.purge_listings(window(0, 1), 9).await.unwrap() >= 1);
    assert!(store.listing(row.id).await.unwrap().is_none());
}

/// Words that many have, and hardly any together, do not make one page read the whole market: it is read in pieces.
async fn walks(store: &Store) {
    let [seller, ..] = parties(store).await;
    let both = listing(seller, "both", 9, 1);
    listed(store, &both, &["zalpha", "zbeta"]).await;
    let rows: Vec<ListingRow> = (0..5_200).map(|_| listing(seller, "one of them", 9, 1)).collect();
    for some in rows.chunks(100) {
        let stored = some.iter().enumerate().map(|(n, row)| {
            let words = vec![["zalpha", "zbeta"][n % 2].to_owned()];
            store.insert_listing(row.clone(), words, answer(seller, &row.id.to_string()), 100_000)
        });
        for outcome in futures_util::future::join_all(stored).await {
            assert_eq!(outcome, Ok(Listed::Done));
        }
    }
    let (words, mut after, mut pages) = (vec!["zalpha".to_owned(), "zbeta".to_owned()], None, 0);
    let found = loop {
        let asked = ListingQuery {
            seller: None,
            status: ListingStatus::Active,
            words: words.clone(),
            min: None,
            max: None,
            sort: Sort::Newest,
            after,
            limit: 1,
        };
        let page = store.listings(asked).await.unwrap();
        pages += 1;
        if let Some(row) = page.rows.first() {
            break row.id;
        }
        assert!(page.walked.is_some() && page.walked != after, "page {pages}");
        after = page.walked;
    };
    assert_eq!((found, pages), (both.id, 2));
}

/// Every order is read from an index, and words are tested by theirs; without one the test says so.
async fn plans(url: &DatabaseUrl, store: &Store) {
    let DatabaseUrl::Sqlite(_) = url else { return };
    let [seller, ..] = parties(store).await;
    let faults = async |seller: Option<UserId>, sort| {
        let asked = ListingQuery {
            seller,
            status: ListingStatus::Active,
            words: vec!["lamp".to_owned()],
            min: Some(Piconero(1)),
            max: None,
            sort,
            after: Some((Piconero(1), ListingId(Uuid::nil()))),
            limit: 51,
        };
        // A plan is made of the schema that the connection has seen: a real query has it looked at again.
        store.listings(asked.clone()).await.unwrap();
        let plan = store.listings_plan(asked).await.unwrap();
        let wrong = |line: &&String| {
            let by_word =
                line.contains("listing_words") && !line.contains("(listing_id=? AND word>? AND word<?)");
            let begins = if seller.is_some() { "(seller_id=? AND status=?" } else { "(status=?" };
            let astray = line.starts_with("SEARCH listings ") && !line.contains(begins);
            astray || line.starts_with("SCAN") || line.contains("TEMP B-TREE") || by_word
        };
        plan.iter().filter(wrong).cloned().collect::<Vec<_>>()
    };
    let migration = include_str!("../../../migrations/sqlite/00000000000004_market/up.sql");
    for (seller, sorts, index) in [
        (None, [Sort::Newest, Sort::Oldest], "listings_new"),
        (None, [Sort::Cheapest, Sort::Dearest], "listings_price"),
        (Some(seller), [Sort::Newest, Sort::Oldest], "listings_seller"),
        (Some(seller), [Sort::Cheapest, Sort::Dearest], "listings_seller_price"),
        (None, [Sort::Newest, Sort::Cheapest], "listing_words_listing"),
    ] {
        let line = format!("CREATE INDEX {index} ");
        let made = migration.lines().find(|made| made.starts_with(&line)).unwrap();
        for sort in sorts {
            assert_eq!(faults(seller, sort).await, Vec::<String>::new(), "{sort:?}");
        }
        tamper(url, &format!("DROP INDEX {index}"));
        assert!(!faults(seller, sorts[0]).await.is_empty(), "nothing is wrong without {index}");
        tamper(url, made);
    }
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
    // So many that what they begin with is a common word.
    let crowd = listing(ann, "crowd", 1, 1);
    let many: Vec<String> = (0..1000).map(|n| format!("lampx{n}")).collect();
    let key = answer(ann, "crowd");
    assert_eq!(store.insert_listing(crowd, many, key, 1000).await, Ok(Listed::Done));
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
                let found_now = store.listings(asked).await.unwrap();
                assert_eq!(found_now.walked, None, "a small market");
                let page = found_now.rows;
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
    assert!(!store.hide_review(unknown, None, note.clone()).await.unwrap());
    let changed = store.review(id).await.unwrap().unwrap();
    assert_eq!((changed.version, changed.stars, changed.hidden.as_deref()), (4, 2, Some("slander")));
    assert_eq!(changed.answer, Some(("No.".to_owned(), now())));
    assert_eq!(store.stars_of(seller).await.unwrap(), (2, 9));
    assert_eq!(store.audit_of(buyer, None, 10).await.unwrap().len(), 1, "of one that is there");
    // Hidden twice it counts as hidden once, and shown again as it stands.
    assert!(store.hide_review(id, Some("slander".to_owned()), note.clone()).await.unwrap());
    assert_eq!(store.stars_of(seller).await.unwrap(), (2, 9));
    let later = store.change_review(id, 5, (3, "Well.".to_owned()), now()).await;
    assert_eq!((later, store.stars_of(seller).await), (Ok(Changed::Done), Ok((2, 9))));
    for _ in 0..2 {
        assert!(store.hide_review(id, None, note.clone()).await.unwrap());
        assert_eq!(store.stars_of(seller).await.unwrap(), (3, 12));
    }
}
