//! Two servers on one real Postgres: neither loses a statement or takes one twice.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/people.rs"]
mod people;
#[path = "support/postgres.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod postgres;
#[path = "support/still.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod still;

use std::sync::Arc;

use actix::Actor;
use aegis_common::address::Network;
use aegis_common::chain::PlainScanner;
use aegis_common::escrow::record::Entry;
use aegis_common::escrow::state::{Escrow, Opening};
use aegis_common::escrow::statement::Act;
use aegis_common::escrow::transition::apply;
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::testing::chain::TestWallet;
use aegis_common::time::Clock;
use aegis_server::actors::message::{Command, Create, Tell};
use aegis_server::actors::{ActorDeps, ActorHandles, Options, start};
use aegis_server::clock::SystemClock;
use aegis_server::crypto::Keyring;
use aegis_server::store::{DatabaseUrl, Role as Account, Store, StoreOptions, UserRow};
use futures_util::future::join_all;
use people::People;
use still::{Nobody, Still};
use zeroize::Zeroizing;

const ESCROWS: usize = 20;

async fn server(url: &DatabaseUrl) -> (Store, ActorHandles) {
    let keyring = Arc::new(Keyring::parse(&"a".repeat(64)).unwrap());
    let store = Store::open(url, keyring, StoreOptions::default()).unwrap();
    let handles = start(ActorDeps {
        store: store.clone(),
        nodes: Arc::new(Still),
        scanner: Arc::new(PlainScanner),
        clock: Arc::new(SystemClock),
        network: Network::Regtest,
        sessions: Nobody.start().recipient(),
        options: Options { several_servers: true, ..Options::default() },
    });
    while handles.tip.height().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    (store, handles)
}

#[actix::test]
async fn two_servers_on_postgres_take_every_statement_once() {
    let postgres = postgres::Postgres::start();
    let url = postgres.database("aegis");
    // One after the other: the first to come writes the chain's beginning.
    let (store, one) = server(&url).await;
    let (_, other) = server(&url).await;
    let (people, wallet) = (People::new(1), TestWallet::new(7));
    for person in &people.0 {
        let party = &person.party;
        let row = UserRow {
            id: party.user_id,
            username: party.username.clone(),
            password_hash: "$argon2id$".to_owned(),
            role: Account::User,
            identity_key: party.identity_key,
            signing_key: party.signing_key,
            payout_address: party.payout_address.to_string(),
            created_at: SystemClock.now(),
        };
        store.insert_user(row).await.unwrap();
    }
    let mut ids: Vec<EscrowId> = Vec::new();
    for number in 0..ESCROWS {
        let contract = people.contract(SystemClock.now());
        let (id, initiator) = (contract.escrow_id, contract.buyer.user_id);
        let idempotency = (number.to_string(), Hash32([0; 32]));
        one.create.send(Create { contract, initiator, replaces: None, idempotency }).await.unwrap().unwrap();
        ids.push(id);
    }
    let read = |from: &ActorHandles, id| from.tell.send(Tell { id, command: Command::Read, expected: None });
    let acts = people::setup(&wallet);
    for turn in acts.chunks(3) {
        let mut sent = Vec::new();
        for id in &ids {
            let escrow = read(&one, *id).await.unwrap().unwrap().escrow;
            for (role, act) in turn {
                let signed = people.sign(&escrow, *role, act.clone());
                for to in [&one, &other] {
                    let attests = matches!(act, Act::Attest { .. });
                    let view_key = attests.then(|| Zeroizing::new(wallet.view.to_bytes()));
                    let (by, signed) = (people.id(*role), Box::new(signed.clone()));
                    let command = Command::Statement { by, signed, view_key };
                    sent.push(to.tell.send(Tell { id: *id, command, expected: None }));
                }
            }
        }
        for both in join_all(sent).await.chunks(2) {
            let hash = |answer: usize| both[answer].as_ref().unwrap().as_ref().unwrap().statement.unwrap();
            assert_eq!(hash(0), hash(1));
        }
    }
    for id in ids {
        let (a, b) = (read(&one, id).await.unwrap().unwrap(), read(&other, id).await.unwrap().unwrap());
        assert_eq!((a.version, &a.escrow), (b.version, &b.escrow));
        assert!(a.escrow.is_ready());
        let rows = store.journal(id, -1, 100).await.unwrap();
        assert_eq!(rows.len(), acts.len());
        let escrow = &a.escrow;
        let contract = escrow.contract.clone();
        let mut replayed =
            Escrow::create(contract, Opening::by(people.id(Role::Buyer)), escrow.created_at).unwrap();
        for row in rows {
            let Entry { event, at } = Entry::parse(&row.event).unwrap();
            replayed = apply(&replayed, &event, at).unwrap().0;
        }
        assert_eq!(replayed, **escrow);
    }
    one.stop();
    other.stop();
}
