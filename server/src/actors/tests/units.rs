//! Who may send what, and the small parts.

use std::time::{Duration, Instant};

use aegis_common::escrow::statement::Act;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::role::Role;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::super::message::{Command, Refusal};
use super::super::tip::ChainTip;
use super::super::troubles::{Next, Policy, Troubles};
use super::kit::{Universe, people};

#[actix::test]
async fn a_command_is_taken_only_from_the_party_whose_word_it_is() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = server.create(&universe).await;
    let signed = |command: Command, by: UserId| match command {
        Command::Statement { signed, view_key, .. } => Command::Statement { by, signed, view_key },
        _ => panic!("not a statement"),
    };
    let command = server.command(&universe, id, Role::Buyer, Act::Accept {}).await;
    let by = universe.people.id(Role::Seller);
    assert!(matches!(server.tell(id, signed(command, by)).await, Err(Refusal::NotAuthor)));
    let command = server.command(&universe, id, Role::Buyer, Act::Accept {}).await;
    let stranger = UserId(Uuid::now_v7());
    assert!(matches!(server.tell(id, signed(command, stranger)).await, Err(Refusal::NotFound)));
    assert!(matches!(server.tell(id, Command::Delete { by: stranger }).await, Err(Refusal::NotFound)));
    let nowhere = EscrowId(Uuid::now_v7());
    assert!(matches!(server.tell(nowhere, Command::Read).await, Err(Refusal::NotFound)));
    assert_eq!(server.read(id).await.version, 1);
    server.stop();
}

#[actix::test]
async fn a_stale_version_is_refused_unless_the_statement_is_known() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = server.create(&universe).await;
    let buyer = || server.command(&universe, id, Role::Buyer, Act::Accept {});
    let (first, again) = (buyer().await, buyer().await);
    let hash = server.tell_at(id, first, Some(1)).await.unwrap().statement;
    assert_eq!(server.tell_at(id, again, Some(1)).await.unwrap().statement, hash);
    let seller = server.command(&universe, id, Role::Seller, Act::Accept {}).await;
    let refused = server.tell_at(id, seller, Some(1)).await;
    assert!(matches!(refused, Err(Refusal::Stale { actual: 2 })));
    server.stop();
}

#[actix::test]
async fn an_attestation_needs_the_view_key_of_its_address() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = server.create(&universe).await;
    let mut acts = people::setup(&universe.wallet);
    let attest = acts.split_off(12);
    for (role, act) in acts {
        server.say(&universe, id, role, act).await.unwrap();
    }
    let (role, act) = attest[0].clone();
    for wrong in [None, Some(Zeroizing::new([7; 32])), Some(Zeroizing::new([0xff; 32]))] {
        let command = server.command(&universe, id, role, act.clone()).await;
        let Command::Statement { by, signed, .. } = command else { panic!() };
        let command = Command::Statement { by, signed, view_key: wrong };
        assert!(matches!(server.tell(id, command).await, Err(Refusal::BadViewKey)));
    }
    server.say(&universe, id, role, act).await.unwrap();
    server.stop();
}

#[actix::test]
async fn a_key_that_comes_with_another_statement_does_not_replace_the_attested_one() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = server.ready(&universe).await;
    let stored = server.store.view_key(id).await.unwrap().unwrap();
    assert_eq!(*stored, universe.wallet.view.to_bytes());
    universe.chain.mine(0, 10, vec![super::flow::deposit(&universe, 5).tx]);
    super::flow::reaches(&server, id, aegis_common::escrow::state::Status::Active).await;
    let command = server.command(&universe, id, Role::Seller, Act::Confirm {}).await;
    let Command::Statement { by, signed, .. } = command else { panic!() };
    let command = Command::Statement { by, signed, view_key: Some(Zeroizing::new([7; 32])) };
    server.tell(id, command).await.unwrap();
    assert_eq!(*server.store.view_key(id).await.unwrap().unwrap(), *stored);
    server.stop();
}

#[test]
fn back_off_doubles_and_ends_in_leaving_alone_for_a_window() {
    let (back_off, window) = (Duration::from_millis(100), Duration::from_secs(10));
    let mut troubles = Troubles::new(Policy { back_off, window, most: 3 });
    let (id, start) = (EscrowId(Uuid::now_v7()), Instant::now());
    assert_eq!(troubles.failed(id, start), Next::Restart);
    assert!(troubles.rests(id, start + Duration::from_millis(99)));
    let second = start + Duration::from_millis(101);
    assert!(!troubles.rests(id, second));
    assert_eq!(troubles.failed(id, second), Next::Restart);
    assert!(troubles.rests(id, second + Duration::from_millis(199)));
    let third = second + Duration::from_millis(201);
    assert_eq!(troubles.failed(id, third), Next::GivenUp);
    assert!(troubles.rests(id, third + Duration::from_millis(9_999)));
    let later = third + Duration::from_millis(10_001);
    assert!(!troubles.rests(id, later));
    troubles.forget_old(later);
    assert_eq!(troubles.failed(id, later), Next::Restart);
}

#[test]
fn a_mark_knows_the_deepest_reorganisation_since() {
    let tip = ChainTip::default();
    assert_eq!(tip.height(), None);
    tip.set(100);
    tip.roll_back(90);
    let mark = tip.mark();
    assert_eq!((tip.height(), tip.rolled_back_since(mark)), (Some(90), None));
    tip.roll_back(80);
    tip.roll_back(85);
    assert_eq!(tip.rolled_back_since(mark), Some(80));
}
