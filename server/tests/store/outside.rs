//! Webhooks and wallets: what is queued, who may take it, what is sealed.

use std::sync::Arc;

use aegis_common::ids::{UserId, WebhookId};
use aegis_common::time::{SignedDuration, Timestamp};
use aegis_server::crypto::Keyring;
use aegis_server::store::{
    After, AttemptRow, ByHand, Claim, DatabaseUrl, NewWebhookRow, Note, Queued, Role, Store, StoreError,
    StoreOptions, WebhookChanges,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::rows::{keyring, next, now, open, opening, parties, user};

const SECRET: &str = "a secret of a webhook";
const NAME: &str = "webhooks";

fn note(user: UserId, tell: bool) -> Note {
    Note { user: Some(user), at: now(), kind: "tried", network: None, detail: json!({}), tell, under: None }
}

async fn somebody(store: &Store) -> UserId {
    let row = user(&Uuid::now_v7().to_string(), Role::User);
    let id = row.id;
    store.insert_user(row).await.unwrap();
    id
}

fn webhook(user: UserId, kinds: Option<&[&str]>) -> NewWebhookRow {
    NewWebhookRow {
        id: WebhookId(Uuid::now_v7()),
        user,
        url: "https://a.example/".to_owned(),
        kinds: kinds.map(|all| all.iter().map(|kind| (*kind).to_owned()).collect()),
        secret: Zeroizing::new(SECRET.to_owned()),
        description: "for the shop".to_owned(),
        enabled: true,
    }
}

fn later(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

fn attempt(http_status: u16) -> AttemptRow {
    AttemptRow {
        at: now(),
        millis: 7,
        http_status: Some(http_status),
        error: None,
        excerpt: Some("x".to_owned()),
    }
}

async fn queue(store: &Store) -> usize {
    let mut all = 0;
    loop {
        match store.queue_events(NAME, 50, now()).await.unwrap() {
            0 => return all,
            more => all += more,
        }
    }
}

pub async fn outside(url: &DatabaseUrl, store: &Store) {
    queued(store).await;
    taken(url, store).await;
    sealed(url, store).await;
}

async fn queued(store: &Store) {
    let (ann, bob) = (somebody(store).await, somebody(store).await);
    let people = [ann, bob, parties(store).await[2]];
    let first = opening(people);
    store.commit(first.clone()).await.unwrap();
    let all = webhook(ann, None);
    let some = webhook(ann, Some(&["AccountNotice"]));
    let foreign = webhook(bob, Some(&["Other"]));
    for new in [&all, &some, &foreign] {
        assert!(store.insert_webhook(new.clone(), 2, note(new.user, false)).await.unwrap().is_some());
    }
    assert!(store.insert_webhook(webhook(ann, None), 2, note(ann, false)).await.unwrap().is_none());
    assert_eq!(store.webhooks_of(ann).await.unwrap().len(), 2);
    store.commit(next(&first)).await.unwrap();
    store.note(note(ann, true)).await.unwrap();
    // Several servers at once make each delivery once.
    let queues = join_all((0..8).map(|_| queue(store))).await;
    assert!(queues.into_iter().sum::<usize>() >= 3);
    let kinds = async |user, id| {
        let log = store.deliveries_of(user, id, None, 10).await.unwrap().unwrap();
        log.into_iter().map(|row| row.kind).collect::<Vec<_>>()
    };
    assert_eq!(
        kinds(ann, all.id).await,
        ["AccountNotice", "escrow.changed"],
        "newest first, and from now on"
    );
    assert_eq!(kinds(ann, some.id).await, ["AccountNotice"]);
    assert!(kinds(bob, foreign.id).await.is_empty());
    assert!(store.deliveries_of(bob, all.id, None, 10).await.unwrap().is_none());
    assert!(store.webhook(bob, all.id).await.unwrap().is_none());
    assert!(!store.delete_webhook(bob, all.id, note(bob, false)).await.unwrap());
    for _ in 0..3 {
        let asked = store.queue_by_hand(ann, all.id, ByHand::Ping, 3, now()).await.unwrap();
        assert!(matches!(asked, Queued::As(_)), "{asked:?}");
    }
    assert_eq!(store.queue_by_hand(ann, all.id, ByHand::Ping, 3, now()).await.unwrap(), Queued::TooMany);
    for id in [all.id, some.id] {
        assert!(store.delete_webhook(ann, id, note(ann, false)).await.unwrap());
    }
    assert!(store.delete_webhook(bob, foreign.id, note(bob, false)).await.unwrap());
}

async fn taken(url: &DatabaseUrl, store: &Store) {
    let ann = somebody(store).await;
    let hook = webhook(ann, None);
    store.insert_webhook(hook.clone(), 20, note(ann, false)).await.unwrap();
    for _ in 0..3 {
        store.note(note(ann, true)).await.unwrap();
    }
    queue(store).await;
    // Nothing leaves for an account that is shut out.
    store.set_disabled(ann, true, note(ann, false)).await.unwrap();
    assert!(store.claim_deliveries(now(), later(60), 5, 20).await.unwrap().is_empty());
    store.set_disabled(ann, false, note(ann, false)).await.unwrap();
    // Of two servers' many couriers one gets it, and only it can note what became of it.
    let other = open(url);
    let claims = (0..20).map(|n| [store, &other][n % 2].claim_deliveries(now(), later(60), 5, 20));
    let claims: Vec<Claim> = join_all(claims).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(claims.len(), 1);
    let claim = &claims[0];
    assert_eq!((claim.webhook.id, claim.secret.as_slice()), (hook.id, SECRET.as_bytes()));
    assert!(other.claim_deliveries(later(59), later(119), 5, 20).await.unwrap().is_empty());
    let over = other.claim_deliveries(later(60), later(120), 5, 20).await.unwrap().remove(0);
    assert_eq!((over.delivery.id, &over.event), (claim.delivery.id, &claim.event));
    assert!(
        !store.note_attempt(claim, attempt(200), After::Delivered, now()).await.unwrap(),
        "it came too late"
    );
    let retry = After::Retry(later(100));
    assert!(other.note_attempt(&over, attempt(500), retry, later(61)).await.unwrap());
    let state = store.webhook(ann, hook.id).await.unwrap().unwrap();
    assert_eq!((state.failures, state.tried_at, state.due_at), (1, Some(now()), Some(later(100))));
    assert_eq!(state.waiting, 3);
    assert!(store.claim_deliveries(later(99), later(160), 5, 20).await.unwrap().is_empty());
    let again = store.claim_deliveries(later(100), later(160), 5, 20).await.unwrap().remove(0);
    assert_eq!(again.delivery.id, claim.delivery.id);
    assert_eq!((again.delivery.attempts, again.delivery.last.clone()), (1, Some(attempt(500))));
    assert!(store.note_attempt(&again, attempt(204), After::Delivered, later(101)).await.unwrap());
    assert!(!store.note_attempt(&again, attempt(204), After::Delivered, later(101)).await.unwrap());
    let second = store.claim_deliveries(later(101), later(161), 5, 20).await.unwrap().remove(0);
    assert!(second.delivery.seq > again.delivery.seq && second.webhook.failures == 0);
    assert!(store.delete_webhook(ann, hook.id, note(ann, false)).await.unwrap());
    assert!(!store.note_attempt(&second, attempt(200), After::Delivered, now()).await.unwrap(), "it is gone");
}

async fn sealed(url: &DatabaseUrl, store: &Store) {
    let ann = somebody(store).await;
    let hook = webhook(ann, None);
    store.insert_webhook(hook.clone(), 20, note(ann, false)).await.unwrap();
    let connection = Zeroizing::new(br#"{"url":"http://w.example","password":"of the wallet"}"#.to_vec());
    store.set_wallet(ann, connection.clone(), note(ann, false)).await.unwrap();
    store.set_wallet(ann, connection.clone(), note(ann, false)).await.unwrap();
    assert_eq!(store.wallet(ann).await.unwrap().unwrap().0, connection);
    store.note(note(ann, true)).await.unwrap();
    queue(store).await;
    // Both move to the new key with everything else, and open under it alone.
    let both = Keyring::parse(&format!("{},{}", "a".repeat(64), "d".repeat(64))).unwrap();
    let both = Store::open(url, Arc::new(both), StoreOptions::default()).unwrap();
    let new = Store::open(url, keyring("d"), StoreOptions::default()).unwrap();
    assert!(matches!(new.wallet(ann).await, Err(StoreError::Sealed(_))));
    let under = |ring: &str| keyring(ring).current_id();
    assert!(store.sealed_under().await.unwrap().contains(&under("a")));
    reseal(&both).await;
    assert_eq!(new.wallet(ann).await.unwrap().unwrap().0, connection);
    assert_eq!(
        new.claim_deliveries(now(), later(1), 5, 20).await.unwrap()[0].secret.as_slice(),
        SECRET.as_bytes()
    );
    assert!(store.sealed_under().await.unwrap().contains(&under("d")));
    // A new secret is sealed as well, and what is damaged holds up nobody.
    let changes =
        WebhookChanges { secret: Some(Zeroizing::new("another secret".to_owned())), ..Default::default() };
    new.change_webhook(ann, hook.id, changes, note(ann, false)).await.unwrap().unwrap();
    let claims = new.claim_deliveries(later(1), later(2), 5, 20).await.unwrap();
    assert_eq!(claims[0].secret.as_slice(), b"another secret");
    assert!(
        store.claim_deliveries(later(2), later(3), 5, 20).await.unwrap().is_empty(),
        "its key is not here"
    );
    let back = Keyring::parse(&format!("{},{}", "d".repeat(64), "a".repeat(64))).unwrap();
    reseal(&Store::open(url, Arc::new(back), StoreOptions::default()).unwrap()).await;
    let rows = dumped(store).await;
    let row = |table: &str| rows.iter().find(|row| row["table"] == table).unwrap()["row"].clone();
    assert_eq!(row("own_wallets")["connection"], hex::encode(&*connection));
    assert_eq!(row("webhooks")["secret"], hex::encode("another secret"));
    assert_eq!(row("deliveries")["kind"], "AccountNotice");
    assert!(store.delete_wallet(ann, note(ann, false)).await.unwrap());
    assert!(!store.delete_wallet(ann, note(ann, false)).await.unwrap());
    assert!(store.delete_webhook(ann, hook.id, note(ann, false)).await.unwrap());
}

async fn reseal(store: &Store) {
    let mut after = None;
    loop {
        after = store.reseal(after, 1000).await.unwrap().next;
        if after.is_none() {
            return;
        }
    }
}

async fn dumped(store: &Store) -> Vec<Value> {
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = Arc::clone(&lines);
    let write = move |line: &Value| {
        told.lock().unwrap().push(line.clone());
        Ok(())
    };
    store.dump(write).await.unwrap();
    std::mem::take(&mut *lines.lock().unwrap())
}
