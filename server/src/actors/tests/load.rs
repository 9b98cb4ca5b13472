//! Many at once, and two servers on one database.

use aegis_common::escrow::statement::Act;
use aegis_common::hash::Hash32;
use aegis_common::role::Role;
use futures_util::future::join_all;

use super::super::message::{Command, Create, Refusal};
use super::kit::{Universe, people};

#[actix::test]
async fn two_hundred_concurrent_statements_are_all_taken_once() {
    let mut universe = Universe::new();
    universe.options.threads = 2;
    let server = universe.start().await;
    let mut ids = Vec::new();
    for _ in 0..67 {
        ids.push(server.create(&universe).await);
    }
    let mut commands = Vec::new();
    for id in &ids {
        for role in Role::ALL {
            commands.push((*id, server.command(&universe, *id, role, Act::Accept {}).await));
        }
    }
    let answers = join_all(commands.into_iter().map(|(id, command)| server.tell(id, command))).await;
    assert!(answers.iter().all(Result::is_ok));
    for id in ids {
        assert_eq!(server.read(id).await.version, 4);
        server.check_replay(id).await;
    }
    server.stop();
}

#[actix::test]
async fn two_servers_on_one_database_lose_nothing_and_apply_nothing_twice() {
    let mut universe = Universe::new();
    universe.options.several_servers = true;
    let (one, other) = (universe.start().await, universe.start().await);
    let id = one.create(&universe).await;
    // Both hold the escrow in memory from the beginning.
    let (_, _) = (one.read(id).await, other.read(id).await);
    let mut said = 0;
    for (turn, chunk) in people::setup(&universe.wallet).chunks(3).enumerate() {
        let mut commands = Vec::new();
        for (role, act) in chunk {
            // Everybody sends to both, at the same time.
            let first = one.command(&universe, id, *role, act.clone()).await;
            let Command::Statement { by, signed, view_key } = first else { panic!() };
            let again = Command::Statement { by, signed: signed.clone(), view_key: view_key.clone() };
            commands.push(one.tell(id, Command::Statement { by, signed, view_key }));
            commands.push(other.tell(id, again));
            said += 1;
        }
        for answers in join_all(commands).await.chunks(2) {
            let hashes: Vec<_> = answers.iter().map(|a| a.as_ref().unwrap().statement.unwrap()).collect();
            assert_eq!(hashes[0], hashes[1], "turn {turn}");
        }
    }
    assert_eq!(one.read(id).await.version, 1 + said);
    one.check_replay(id).await;
    other.check_replay(id).await;
    let stale = other.command(&universe, id, Role::Buyer, Act::Accept {}).await;
    assert!(matches!(other.tell(id, stale).await, Err(Refusal::Rejected(_))));
    one.stop();
    other.stop();
}

#[actix::test]
async fn a_repeated_creation_gives_the_escrow_of_the_first() {
    let universe = Universe::new();
    let server = universe.start().await;
    let create = |request: u8| {
        let contract = universe.people.contract(aegis_common::time::Clock::now(&*universe.clock));
        let initiator = contract.buyer.user_id;
        let idempotency = ("key".to_owned(), Hash32([request; 32]));
        server.handles.create.send(Create { contract, initiator, replaces: None, idempotency })
    };
    let first = create(1).await.unwrap().unwrap();
    let id = first.escrow.contract.escrow_id;
    server.say(&universe, id, Role::Buyer, Act::Accept {}).await.unwrap();
    let again = create(1).await.unwrap().unwrap();
    assert_eq!((again.escrow.contract.escrow_id, again.version), (id, 2));
    assert!(matches!(create(2).await.unwrap(), Err(Refusal::IdempotencyConflict)));
    server.stop();
}
