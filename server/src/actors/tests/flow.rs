//! A whole life, driven by signed statements and by the chain.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aegis_common::amount::Piconero;
use aegis_common::escrow::event::Event;
use aegis_common::escrow::outcome::Outcome;
use aegis_common::escrow::payout;
use aegis_common::escrow::state::Status;
use aegis_common::escrow::statement::Act;
use aegis_common::escrow::transition::Rejected;
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::testing::chain::{Crafted, TxBuilder};

use super::super::message::{Command, Refusal};
use super::kit::{Server, Universe, until};

/// What the crafted transactions pay.
const FEE: Piconero = Piconero(30_000_000);

pub fn deposit(universe: &Universe, seed: u64) -> Crafted {
    TxBuilder::new(seed).pay(universe.wallet.primary(), Piconero::XMR).build().unwrap()
}

pub async fn reaches(server: &Server, id: EscrowId, status: Status) {
    until(status.wire(), async || server.status(id).await == status).await;
}

/// Ready, paid and final.
async fn active(universe: &Universe, server: &Server) -> EscrowId {
    let id = server.ready(universe).await;
    universe.chain.mine(0, 10, vec![deposit(universe, 5).tx]);
    reaches(server, id, Status::Active).await;
    id
}

/// Disputed and ruled: both get a part.
async fn ruled(universe: &Universe, server: &Server) -> EscrowId {
    let id = active(universe, server).await;
    let dispute = Act::Dispute { reason: "it has one wheel".to_owned() };
    server.say(universe, id, Role::Buyer, dispute).await.unwrap();
    let half = Piconero(Piconero::XMR.0 / 2);
    let outcome = Outcome::Split { buyer: half, seller: half };
    let ruling = Act::Ruling { outcome, reason: "half a bicycle".to_owned() };
    server.say(universe, id, Role::Arbiter, ruling).await.unwrap();
    id
}

/// Both signers' statements for a transaction that pays the shares, or something else.
async fn signed(universe: &Universe, server: &Server, id: EscrowId, right: bool) -> Crafted {
    approved(universe, server, id, right, None).await
}

/// The same; the cosigner names the transaction, or another one.
async fn approved(
    universe: &Universe,
    server: &Server,
    id: EscrowId,
    right: bool,
    claimed: Option<Hash32>,
) -> Crafted {
    let (payout, proposal) = proposed(universe, server, id, right, Piconero::ZERO).await;
    let escrow = server.read(id).await.escrow;
    let settling = escrow.settling().unwrap();
    let (attempt, txid) = (settling.attempt, claimed.unwrap_or(payout.tx.hash));
    let approve = Act::Approve { attempt, proposal, txid, txset: "7e5e".to_owned() };
    server.say(universe, id, settling.signers().1, approve).await.unwrap();
    payout
}

/// The payout as it is proposed, and the word that proposes it.
async fn proposed(
    universe: &Universe,
    server: &Server,
    id: EscrowId,
    right: bool,
    residue: Piconero,
) -> (Crafted, Hash32) {
    let escrow = server.read(id).await.escrow;
    let settling = escrow.settling().unwrap();
    let (attempt, (proposer, cosigner)) = (settling.attempt, settling.signers());
    let mut syncs = Vec::new();
    for role in [proposer, cosigner] {
        let sync = Act::Sync { attempt, info: "5a".to_owned() };
        syncs.push(server.say(universe, id, role, sync).await.unwrap().statement.unwrap());
    }
    let shares = escrow.shares().unwrap().unwrap();
    let mut builder = TxBuilder::new(u64::from(attempt) + 1_000);
    for share in payout::net(&shares, FEE.checked_add(residue).unwrap()).unwrap() {
        let amount = if right { share.amount } else { Piconero(share.amount.0 / 2) };
        builder = builder.pay(share.address, amount);
    }
    if residue > Piconero::ZERO {
        builder = builder.pay(escrow.setup.address().unwrap(), residue);
    }
    let payout = builder.build().unwrap();
    let propose = Act::Propose {
        attempt,
        built_on: [syncs[0], syncs[1]],
        txset: "7e".to_owned(),
        tx_keys: payout.tx_keys.iter().map(|key| Hash32(*key)).collect(),
        fee: FEE,
        residue,
    };
    let proposal = server.say(universe, id, proposer, propose).await.unwrap().statement.unwrap();
    (payout, proposal)
}

/// Every notice came once to each of the three, in the order of commits, each with an id of its own.
async fn check_told(universe: &Universe, server: &Server, id: EscrowId) {
    let stored = server.store.events_after(0, 10_000).await.unwrap();
    until("all is told", async || universe.told.lock().unwrap().len() >= stored.len()).await;
    let told = universe.told.lock().unwrap();
    let seqs: Vec<i64> = told.iter().map(|(_, frame)| frame.seq).collect();
    assert_eq!(seqs, stored.iter().map(|event| event.seq).collect::<Vec<_>>());
    let mut ids: Vec<_> = told.iter().map(|(_, frame)| frame.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), told.len());
    let of = |role| {
        let user = universe.people.id(role);
        let mine = told.iter().filter(|(to, frame)| *to == user && frame.escrow_id == Some(id));
        mine.map(|(_, frame)| (frame.kind.clone(), frame.payload.clone())).collect::<Vec<_>>()
    };
    assert_eq!(of(Role::Buyer), of(Role::Seller));
    assert_eq!(of(Role::Buyer), of(Role::Arbiter));
    assert_eq!(of(Role::Buyer)[0].0, "EscrowInit");
}

#[actix::test]
async fn an_escrow_lives_from_creation_to_a_ruled_split() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = ruled(&universe, &server).await;
    let payout = signed(&universe, &server, id, true).await;
    universe.chain.broadcast(payout.tx.clone());
    let seen = async || server.read(id).await.escrow.settling().and_then(|settling| settling.seen).is_some();
    until("the payout is seen in the pool", seen).await;
    universe.chain.mine(0, 10, vec![payout.tx]);
    reaches(&server, id, Status::CompletedSplit).await;
    server.check_replay(id).await;
    check_told(&universe, &server, id).await;
    let status = server.handles.status();
    assert_eq!((status.restarted, status.loops_restarted, status.watched), (0, 0, 1));
    server.stop();
}

/// The cosigner sends it and does not say so: what it leaves with the escrow tells, in the pool or in a block.
#[actix::test]
async fn a_payout_that_is_sent_without_a_word_completes_the_escrow() {
    for in_pool in [true, false] {
        let universe = Universe::new();
        let server = universe.start().await;
        let id = ruled(&universe, &server).await;
        let (payout, _) = proposed(&universe, &server, id, true, Piconero(1_000_000)).await;
        if in_pool {
            universe.chain.broadcast(payout.tx.clone());
            let seen = async || server.read(id).await.escrow.settling().is_some_and(|it| it.seen.is_some());
            until("the payout is seen in the pool", seen).await;
        }
        universe.chain.mine(0, 10, vec![payout.tx]);
        reaches(&server, id, Status::CompletedSplit).await;
        server.check_replay(id).await;
        server.stop();
    }
}

#[actix::test]
async fn a_payout_that_pays_something_else_is_reported_and_settles_nothing() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = ruled(&universe, &server).await;
    let payout = signed(&universe, &server, id, false).await;
    universe.chain.mine(0, 20, vec![payout.tx]);
    let told = async || {
        universe.told.lock().unwrap().iter().filter(|(_, frame)| frame.kind == "PayoutMismatch").count() == 3
    };
    until("the mismatch is told", told).await;
    assert_eq!(server.status(id).await, Status::Settling);
    server.check_replay(id).await;
    server.stop();
}

#[actix::test]
async fn a_strangers_transaction_named_again_and_again_stops_the_payout_no_longer_than_once() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = ruled(&universe, &server).await;
    let strangers = TxBuilder::new(77).build().unwrap().tx;
    universe.chain.mine(0, 20, vec![strangers.clone()]);
    for attempt in 2..=4 {
        approved(&universe, &server, id, true, Some(strangers.hash)).await;
        let next = async || server.read(id).await.escrow.settling().unwrap().attempt == attempt;
        until("the next attempt", next).await;
    }
    let payout = signed(&universe, &server, id, true).await;
    universe.chain.mine(0, 20, vec![payout.tx]);
    reaches(&server, id, Status::CompletedSplit).await;
    server.check_replay(id).await;
    server.stop();
}

#[actix::test]
async fn a_deposit_follows_the_chain_through_pool_block_and_reorganisation() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = server.ready(&universe).await;
    let paid = deposit(&universe, 9).tx;
    universe.chain.broadcast(paid.clone());
    let height = async || server.read(id).await.escrow.deposits.all().first().map(|deposit| deposit.height);
    until("seen in the pool", async || height().await == Some(None)).await;
    universe.chain.mine(0, 3, vec![paid.clone()]);
    let mined = universe.chain.height() - 2;
    until("seen in a block", async || height().await == Some(Some(mined))).await;
    universe.chain.pop(3);
    universe.chain.mine(1, 4, vec![]);
    until("gone", async || height().await.is_none()).await;
    universe.chain.mine(1, 9, vec![paid]);
    assert_eq!(server.status(id).await, Status::PendingFunding);
    universe.chain.mine(1, 1, vec![]);
    reaches(&server, id, Status::Active).await;
    server.check_replay(id).await;
    server.stop();
}

/// What is in the mempool counts also where the server would have looked there an hour later only; and who can't look there
/// doesn't know whether money is on its way.
#[actix::test]
async fn an_escrow_is_deleted_only_after_a_look_at_the_mempool() {
    let mut universe = Universe::new();
    let server = universe.start().await;
    let (ready, early) = (server.ready(&universe).await, server.create(&universe).await);
    server.stop();
    universe.options.chain.poll = Duration::from_secs(3_600);
    universe.options.look_patience = Duration::from_secs(2);
    let server = universe.start().await;
    let by = universe.people.id(Role::Buyer);
    universe.chain.poolless.store(true, Relaxed);
    let refused = server.tell(ready, Command::Delete { by }).await;
    assert!(matches!(refused, Err(Refusal::Unavailable)), "{refused:?}");
    // Where nobody has an address yet, nothing can be on its way.
    server.tell(early, Command::Delete { by }).await.unwrap();
    universe.chain.poolless.store(false, Relaxed);
    universe.chain.broadcast(deposit(&universe, 5).tx);
    let refused = server.tell(ready, Command::Delete { by }).await;
    assert!(matches!(refused, Err(Refusal::Rejected(Rejected::FundsSeen))), "{refused:?}");
    server.stop();
}

#[actix::test]
async fn after_a_restart_the_escrow_is_watched_from_where_the_chain_was_left() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = server.ready(&universe).await;
    server.stop();
    universe.chain.mine(0, 5, vec![deposit(&universe, 6).tx]);
    let server = universe.start().await;
    universe.chain.mine(0, 5, vec![]);
    reaches(&server, id, Status::Active).await;
    assert_eq!(server.handles.status().watched, 1);
    let seen = |event: &Event| matches!(event, Event::DepositSeen { .. });
    assert_eq!(server.count(id, seen).await, 1);
    server.check_replay(id).await;
    server.stop();
}

#[actix::test]
async fn a_deposit_that_was_overlooked_is_found_when_the_blocks_are_looked_through_again() {
    let universe = Universe::new();
    let server = universe.start().await;
    let id = server.ready(&universe).await;
    let before = universe.chain.height();
    let is_told = async || server.store.watched_one(id).await.unwrap().unwrap().behind_from.is_none();
    until("the escrow is watched", is_told).await;
    // Whatever the reason would be.
    server.handles.world().watched.remove(id);
    universe.chain.mine(0, 12, vec![deposit(&universe, 5).tx]);
    let top = universe.chain.height();
    until("the blocks are followed", async || server.handles.tip.height() == Some(top)).await;
    assert_eq!(server.status(id).await, Status::PendingFunding);
    let nobody = EscrowId(uuid::Uuid::nil());
    assert!(matches!(server.handles.rescan(nobody, 0).await, Err(Refusal::NotFound)));
    server.handles.rescan(id, before + 1).await.unwrap();
    reaches(&server, id, Status::Active).await;
    // What is known is no news.
    let version = server.read(id).await.version;
    server.handles.rescan(id, before + 1).await.unwrap();
    // A look goes through fifty old blocks before it tells the new one.
    universe.chain.mine(0, 1, vec![]);
    until("they are looked through", async || server.handles.tip.height() == Some(top + 1)).await;
    assert_eq!(server.read(id).await.version, version);
    server.check_replay(id).await;
    server.stop();
}
