//! Rows to store in tests.

use std::sync::Arc;

use aegis_common::amount::Piconero;
use aegis_common::hash::{Hash32, Key32};
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::time::Timestamp;
use aegis_server::crypto::Keyring;
use aegis_server::store::{
    Commit, DatabaseUrl, EscrowRow, Expected, IdempotencyRow, JournalRow, NewEvent, Role, Store,
    StoreOptions, UserRow,
};
use uuid::Uuid;
use zeroize::Zeroizing;

pub fn now() -> Timestamp {
    Timestamp::from_millisecond(1_760_000_000_000).unwrap()
}

pub fn keyring(digit: &str) -> Arc<Keyring> {
    Arc::new(Keyring::parse(&digit.repeat(64)).unwrap())
}

pub fn open(url: &DatabaseUrl) -> Store {
    Store::open(url, keyring("a"), StoreOptions::default()).unwrap()
}

pub fn sqlite(dir: &std::path::Path) -> DatabaseUrl {
    format!("sqlite:{}", dir.join("aegis.db").display()).parse().unwrap()
}

pub fn user(name: &str, role: Role) -> UserRow {
    UserRow {
        id: UserId(Uuid::now_v7()),
        username: name.to_owned(),
        password_hash: "$argon2id$".to_owned(),
        role,
        identity_key: Key32([1; 32]),
        signing_key: Key32([2; 32]),
        payout_address: "888t".to_owned(),
        created_at: now(),
    }
}

/// Stores a buyer, a seller and an arbiter with names of their own.
pub async fn parties(store: &Store) -> [UserId; 3] {
    let mut ids = Vec::new();
    for role in [Role::User, Role::User, Role::Arbiter] {
        let row = user(&Uuid::now_v7().to_string(), role);
        ids.push(row.id);
        store.insert_user(row).await.unwrap();
    }
    ids.try_into().unwrap()
}

/// The opening of an escrow.
pub fn opening([buyer, seller, arbiter]: [UserId; 3]) -> Commit {
    let id = EscrowId(Uuid::now_v7());
    let escrow = EscrowRow {
        id,
        version: 1,
        status: "PENDING_FUNDING".to_owned(),
        buyer_id: buyer,
        seller_id: seller,
        arbiter_id: arbiter,
        creator_id: buyer,
        amount: Piconero::XMR,
        snapshot: r#"{"n":1}"#.to_owned(),
        wake_at: None,
        wake_height: None,
        unmined: 0,
        watching: false,
        watch_from: None,
        behind_from: None,
        highest_output: None,
        created_at: now(),
        updated_at: now(),
    };
    let mut commit = Commit {
        escrow,
        expected: Expected::New,
        journal: None,
        events: Vec::new(),
        idempotency: None,
        view_key: None,
        title: Some("A bicycle".to_owned()),
        spend_keys: None,
        ending: None,
        replaces: None,
    };
    furnish(&mut commit);
    commit
}

/// The next change after a commit.
pub fn next(before: &Commit) -> Commit {
    let mut commit = before.clone();
    commit.expected = Expected::Version(before.escrow.version);
    commit.escrow.version += 1;
    commit.escrow.snapshot = format!("{{\"n\":{}}}", commit.escrow.version);
    commit.view_key = None;
    commit.idempotency = None;
    furnish(&mut commit);
    commit
}

fn furnish(commit: &mut Commit) {
    let escrow = &commit.escrow;
    commit.journal = Some(JournalRow {
        escrow_id: escrow.id,
        version: escrow.version,
        at: now(),
        event: "{\"kind\":\"step\"}".to_owned(),
        statement_hash: Some(Hash32::sha256(Uuid::now_v7().as_bytes())),
    });
    let event = |user_id| NewEvent {
        event_id: Uuid::now_v7(),
        user_id,
        escrow_id: Some(escrow.id),
        kind: "escrow.changed".to_owned(),
        payload: format!("{{\"version\":{}}}", escrow.version),
    };
    commit.events = vec![event(escrow.buyer_id), event(escrow.seller_id)];
}

pub fn watched(mut commit: Commit, key: [u8; 32]) -> Commit {
    commit.view_key = Some(Zeroizing::new(key));
    commit.escrow.watching = true;
    commit.escrow.watch_from = Some(100);
    commit
}

pub fn answer(user_id: UserId, key: &str) -> IdempotencyRow {
    IdempotencyRow {
        user_id,
        key: key.to_owned(),
        request_hash: Hash32::sha256(key.as_bytes()),
        status: 201,
        response: "{}".to_owned(),
        created_at: now(),
    }
}
