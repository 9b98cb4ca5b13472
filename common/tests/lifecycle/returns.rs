//! What comes after the payout goes back to who paid it.

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::deposits::{Received, Slot};
use aegis_common::escrow::effect::{Effect, Notice};
use aegis_common::escrow::event::Event;
use aegis_common::escrow::payout::Payee;
use aegis_common::escrow::returns::{MAX_RETURNS, Returned, Returns};
use aegis_common::escrow::state::{Phase, Status};
use aegis_common::escrow::statement::Act;
use aegis_common::escrow::transition::Rejected;
use aegis_common::role::Role;
use aegis_common::testing::{Sim, contract, hash};

use crate::invariants;

const FEE: Piconero = Piconero(50_000_000);

fn returns(sim: &Sim) -> &Returns {
    match &sim.escrow.phase {
        Phase::Completed { returns, .. } => returns,
        phase => panic!("{phase:?}"),
    }
}

fn completed() -> Sim {
    let deposits = Contract { buyer_deposit: Piconero::XMR, seller_deposit: Piconero::XMR, ..contract() };
    let mut sim = Sim::new(deposits);
    sim.active();
    sim.say(Role::Buyer, Act::Confirm {}).unwrap();
    sim.pay();
    assert_eq!(sim.status(), Status::CompletedReleased);
    sim
}

/// Signs, broadcasts and buries a return; gives what the last block led to.
fn give_back(sim: &mut Sim, number: usize) -> Vec<Effect> {
    let txid = hash(&format!("return {number}"));
    sim.signed(txid, FEE);
    let payments = sim.payments(FEE);
    sim.tip += 1;
    sim.apply(Event::PayoutSeen { txid, height: Some(sim.tip), payments }).unwrap();
    sim.tip += u64::from(sim.escrow.contract.finality_depth);
    sim.apply(Event::Tip { height: sim.tip }).unwrap()
}

fn shares(sim: &Sim) -> Vec<(Payee, Piconero)> {
    sim.escrow.shares().unwrap().unwrap().iter().map(|share| (share.payee, share.amount)).collect()
}

#[test]
fn each_slot_goes_back_whole_and_the_escrow_stays_completed() {
    let mut sim = completed();
    let attempt = match &sim.escrow.phase {
        Phase::Completed { settled, .. } => settled.attempt,
        _ => unreachable!(),
    };
    assert_eq!((sim.escrow.settling(), sim.escrow.wake_at()), (None, None));
    sim.fund(Slot::Payment, Piconero(5 * Piconero::XMR.0));
    sim.fund(Slot::BuyerDeposit, Piconero::XMR);
    sim.fund(Slot::SellerDeposit, Piconero(2 * Piconero::XMR.0));
    assert_eq!(sim.escrow.settling(), None, "it is not final");
    sim.mine(20);
    assert_eq!((sim.settling().attempt, sim.settling().late), (attempt + 1, true));
    // More than the price, and nobody earns by it.
    let whole =
        [(Payee::Buyer, Piconero(6 * Piconero::XMR.0)), (Payee::Seller, Piconero(2 * Piconero::XMR.0))];
    assert_eq!(shares(&sim), whole);
    let stall = sim.escrow.stalls(sim.now, sim.now);
    assert_eq!(stall.len(), 1, "{stall:?}");
    let effects = give_back(&mut sim, 1);
    let told = Effect::Notify(Notice::LatePaymentReturned { txid: hash("return 1") });
    assert_eq!(effects, [told]);
    assert_eq!(sim.status(), Status::CompletedReleased);
    assert_eq!(sim.escrow.settling(), None);
    let [Returned { txid, paid, .. }] = &returns(&sim).done[..] else { panic!() };
    assert_eq!((*txid, paid.spends.len(), returns(&sim).attempts), (hash("return 1"), 3, attempt + 1));
    assert_eq!(paid.received.total(), Some(Piconero(8 * Piconero::XMR.0)));
    // The payout's own shares are shown as they were.
    assert_eq!(shares(&sim)[0].0, Payee::Buyer);
    // The next goes on from there, and what has gone back is not divided again.
    sim.fund(Slot::SellerDeposit, Piconero::XMR);
    sim.mine(20);
    assert_eq!(sim.settling().attempt, attempt + 2);
    assert_eq!(shares(&sim), [(Payee::Seller, Piconero::XMR)]);
    give_back(&mut sim, 2);
    assert_eq!(returns(&sim).done.len(), 2);
    invariants::check_history(&sim);
}

#[test]
fn what_the_fee_could_eat_stays_until_more_has_come() {
    let mut sim = completed();
    let most = sim.escrow.contract.max_network_fee;
    sim.fund(Slot::Payment, most);
    sim.mine(20);
    assert_eq!(sim.escrow.settling(), None);
    sim.fund(Slot::Payment, sim.escrow.contract.dust_limit);
    sim.mine(20);
    assert_eq!(sim.escrow.received().unwrap().payment, Piconero(most.0 + sim.escrow.contract.dust_limit.0));
    assert!(sim.escrow.payable());
}

#[test]
fn what_came_while_the_payout_was_signed_goes_back_after_it_and_its_residue_does_not() {
    let mut sim = Sim::new(contract());
    sim.active();
    sim.say(Role::Buyer, Act::Confirm {}).unwrap();
    let (txid, fee) = (hash("payout"), FEE);
    sim.signed(txid, fee);
    let payments = sim.payments(fee);
    // Too late for what was signed, and final before it.
    sim.fund(Slot::Payment, Piconero::XMR);
    sim.mine(20);
    sim.tip += 1;
    sim.apply(Event::PayoutSeen { txid, height: Some(sim.tip), payments }).unwrap();
    sim.tip += 20;
    sim.apply(Event::Tip { height: sim.tip }).unwrap();
    assert_eq!(shares(&sim), [(Payee::Buyer, Piconero::XMR)]);
    give_back(&mut sim, 1);
    for paid in [txid, hash("return 1")] {
        let mut residue = sim.output(Slot::Payment, Piconero::XMR);
        residue.output.tx = paid;
        assert_eq!(sim.see(residue), Err(Rejected::AlreadyDone));
    }
}

/// The transaction that the chain takes may be one of an attempt that was given up, and spends what that one counted.
#[test]
fn what_an_earlier_attempt_paid_out_is_told_from_what_a_later_one_would_have() {
    let mut sim = Sim::new(contract());
    sim.active();
    sim.say(Role::Buyer, Act::Confirm {}).unwrap();
    let (early, payments) = (hash("early"), sim.payments(FEE));
    sim.signed(early, FEE);
    sim.now += aegis_common::time::SignedDuration::from_secs(61);
    sim.apply(Event::PayoutLost { txid: early }).unwrap();
    let more = sim.fund(Slot::Payment, Piconero::XMR);
    sim.mine(20);
    sim.signed(hash("later"), FEE);
    assert_eq!(sim.settling().spends.len(), 2);
    sim.tip += 1;
    sim.apply(Event::PayoutSeen { txid: early, height: Some(sim.tip), payments }).unwrap();
    sim.tip += 20;
    sim.apply(Event::Tip { height: sim.tip }).unwrap();
    assert_eq!(sim.status(), Status::CompletedReleased);
    let key = sim.escrow.deposits.get(more).unwrap().key;
    assert_eq!(sim.escrow.final_keys(), [key]);
    assert_eq!(sim.escrow.received(), Some(Received { payment: Piconero::XMR, ..Received::default() }));
    assert!(sim.settling().late);
}

#[test]
fn a_return_that_pays_a_stranger_is_void_and_is_signed_anew() {
    let mut sim = completed();
    sim.fund(Slot::SellerDeposit, Piconero::XMR);
    sim.mine(20);
    sim.signed(hash("wrong"), FEE);
    let mut payments = sim.payments(FEE);
    payments.to[0].0 = sim.escrow.contract.buyer.payout_address;
    let effects = sim.apply(Event::PayoutSeen { txid: hash("wrong"), height: None, payments }).unwrap();
    assert_eq!(effects[0], Effect::Notify(Notice::PayoutMismatch { txid: hash("wrong") }));
    assert_eq!(sim.status(), Status::CompletedReleased);
    give_back(&mut sim, 1);
}

#[test]
fn returns_are_bounded_for_each_trader() {
    let mut sim = completed();
    for number in 0..=MAX_RETURNS {
        sim.fund(Slot::Payment, Piconero::XMR);
        sim.mine(20);
        match sim.escrow.settling() {
            Some(_) => drop(give_back(&mut sim, number)),
            None => assert_eq!(number, MAX_RETURNS),
        }
    }
    assert_eq!(returns(&sim).done.len(), MAX_RETURNS);
    // Whoever pays itself again and again takes nothing from the other.
    sim.fund(Slot::SellerDeposit, Piconero::XMR);
    sim.mine(20);
    assert_eq!(shares(&sim), [(Payee::Seller, Piconero::XMR)]);
}

#[test]
fn a_return_of_what_the_chain_took_back_is_given_up_and_its_numbers_are_not_used_again() {
    let mut sim = completed();
    sim.fund(Slot::Payment, Piconero::XMR);
    sim.mine(20);
    let attempt = sim.settling().attempt;
    sim.say(sim.settling().signers().0, sim.sync()).unwrap();
    sim.rewind(sim.tip - 20).unwrap();
    assert_eq!(sim.escrow.settling(), None);
    sim.fund(Slot::SellerDeposit, Piconero::XMR);
    sim.mine(20);
    assert!(sim.settling().attempt > attempt);
    invariants::check_history(&sim);
}

/// The parts of the price fill its room, and then small ones do: neither keeps out what is larger.
#[test]
fn what_is_spent_and_what_is_small_make_room_for_what_comes_late() {
    let mut sim = Sim::new(contract());
    sim.ready();
    let room = Slot::Payment.room();
    let part = Piconero(sim.escrow.contract.amount.0 / room as u64 + 1);
    (0..room).for_each(|_| _ = sim.fund(Slot::Payment, part));
    sim.mine(20);
    sim.say(Role::Buyer, Act::Confirm {}).unwrap();
    sim.pay();
    let dust = sim.escrow.contract.dust_limit;
    (0..room).for_each(|_| _ = sim.fund(Slot::Payment, dust));
    sim.mine(20);
    assert_eq!(sim.escrow.settling(), None);
    sim.fund(Slot::Payment, Piconero::XMR);
    sim.mine(20);
    assert_eq!(sim.escrow.received().unwrap().payment.0, Piconero::XMR.0 + (room as u64 - 1) * dust.0);
    give_back(&mut sim, 1);
}

/// It went the right way, and nobody said so: the residue that it leaves with the escrow tells.
#[test]
fn a_return_that_is_sent_without_a_word_is_looked_up() {
    let mut sim = completed();
    sim.fund(Slot::Payment, Piconero::XMR);
    sim.mine(20);
    let (proposer, cosigner) = sim.settling().signers();
    [proposer, cosigner].into_iter().for_each(|role| drop(sim.say(role, sim.sync()).unwrap()));
    sim.say(proposer, sim.propose(FEE)).unwrap();
    assert_eq!(sim.escrow.unmined(), []);
    let txid = hash("silent");
    sim.tip += 1;
    let mut residue = sim.output(Slot::Payment, Piconero(1_000_000_000));
    (residue.output.tx, residue.height) = (txid, Some(sim.tip));
    sim.see(residue).unwrap();
    assert_eq!(sim.escrow.unmined(), [txid]);
    let payments = sim.payments(FEE);
    sim.apply(Event::PayoutSeen { txid, height: Some(sim.tip), payments }).unwrap();
    assert_eq!(sim.escrow.unmined(), []);
    sim.tip += 20;
    sim.apply(Event::Tip { height: sim.tip }).unwrap();
    assert_eq!((returns(&sim).done.len(), sim.escrow.received()), (1, Some(Received::default())));
}
