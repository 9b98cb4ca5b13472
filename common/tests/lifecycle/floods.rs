//! What is paid to an escrow only to be in the way.

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::deposits::{MAX_OUTPUTS, Sighting, Slot};
use aegis_common::escrow::statement::Act;
use aegis_common::escrow::transition::Rejected;
use aegis_common::role::Role;
use aegis_common::testing::{Sim, contract, hash};

use super::hostile::{FEE, released};

#[test]
fn dust_cannot_hide_a_payment_from_the_server_once_an_outcome_stands_either() {
    let mut sim = released();
    while sim.escrow.deposits.all().len() < MAX_OUTPUTS {
        let dust = sim.output(Slot::SellerDeposit, Piconero(1));
        sim.see(dust).unwrap();
    }
    let counts = sim.output(Slot::SellerDeposit, sim.escrow.contract.dust_limit);
    sim.see(counts).unwrap();
    assert!(sim.escrow.deposits.get(counts.output).is_some_and(|deposit| deposit.refused.is_none()));
    assert_eq!(sim.escrow.deposits.all().len(), MAX_OUTPUTS);
}

#[test]
fn a_full_list_lets_a_copy_of_a_key_go_and_takes_none_for_something_that_counts() {
    let mut sim = released();
    let dust = sim.escrow.contract.dust_limit;
    let first = sim.output(Slot::SellerDeposit, dust);
    sim.see(first).unwrap();
    let copy = Sighting { key: first.key, ..sim.output(Slot::SellerDeposit, dust) };
    sim.see(copy).unwrap();
    while sim.escrow.deposits.all().len() < MAX_OUTPUTS {
        sim.fund(Slot::SellerDeposit, dust);
    }
    sim.mine(u64::from(sim.escrow.contract.finality_depth));
    let another = Sighting { key: first.key, ..sim.output(Slot::SellerDeposit, dust) };
    assert_eq!(sim.see(another), Err(Rejected::AlreadyDone), "it would count for nothing");
    let counts = sim.output(Slot::SellerDeposit, dust);
    sim.see(counts).unwrap();
    assert!(sim.escrow.deposits.get(counts.output).is_some());
    assert!(sim.escrow.deposits.get(copy.output).is_none(), "the copy made room");
}

#[test]
fn small_payments_cannot_keep_a_deposit_out_of_a_disputed_escrow() {
    let mut sim = Sim::new(Contract { seller_deposit: Piconero::XMR, ..contract() });
    sim.ready();
    sim.fund(Slot::Payment, Piconero::XMR);
    let dust = sim.escrow.contract.dust_limit;
    while sim.escrow.deposits.all().len() < MAX_OUTPUTS {
        sim.fund(Slot::Payment, dust);
    }
    sim.mine(u64::from(sim.escrow.contract.finality_depth));
    sim.say(Role::Buyer, Act::Dispute { reason: "late".into() }).unwrap();
    let deposit = sim.fund(Slot::SellerDeposit, Piconero::XMR);
    assert!(sim.escrow.deposits.get(deposit).is_some());
}

#[test]
fn a_larger_output_takes_the_place_of_nothing_that_the_payout_waits_for() {
    let mut sim = Sim::new(Contract { seller_deposit: Piconero::XMR, ..contract() });
    sim.ready();
    sim.fund(Slot::Payment, Piconero::XMR);
    let dust = sim.escrow.contract.dust_limit;
    while sim.escrow.deposits.all().len() < MAX_OUTPUTS - 1 {
        sim.fund(Slot::Payment, dust);
    }
    sim.mine(u64::from(sim.escrow.contract.finality_depth));
    // The seller's deposit is on its way when the buyer is paid back.
    let deposit = sim.fund(Slot::SellerDeposit, Piconero::XMR);
    sim.say(Role::Seller, Act::Refund {}).unwrap();
    assert_eq!(sim.settling().awaited, [deposit]);
    let larger = sim.output(Slot::Payment, Piconero(2 * Piconero::XMR.0));
    assert_eq!(sim.see(larger), Err(Rejected::AlreadyDone));
    assert!(sim.escrow.deposits.get(deposit).is_some());
}

#[test]
fn many_larger_outputs_take_no_final_payment_from_a_dispute() {
    let mut sim = Sim::new(contract());
    sim.active();
    let payment = sim.escrow.deposits.all()[0].output;
    sim.say(Role::Buyer, Act::Dispute { reason: "late".into() }).unwrap();
    for _ in 0..=MAX_OUTPUTS {
        let larger = sim.output(Slot::Payment, Piconero(2 * Piconero::XMR.0));
        // The last finds no room.
        let _ = sim.see(larger);
    }
    assert!(sim.escrow.deposits.get(payment).is_some_and(|deposit| deposit.is_final));
}

#[test]
fn an_approval_that_names_a_deposit_does_not_hide_it() {
    let mut sim = released();
    for role in [Role::Seller, Role::Buyer] {
        sim.say(role, sim.sync()).unwrap();
    }
    sim.say(Role::Seller, sim.propose(FEE)).unwrap();
    let payment = sim.output(Slot::SellerDeposit, Piconero::XMR);
    sim.say(Role::Buyer, sim.approve(payment.output.tx)).unwrap();
    sim.see(payment).unwrap();
    let mined = Sighting { height: Some(sim.tip + 1), ..payment };
    sim.see(mined).unwrap();
    sim.mine(11);
    assert!(sim.escrow.deposits.get(payment.output).is_some_and(|deposit| deposit.is_final));
}

#[test]
fn what_a_payout_returns_to_the_escrow_is_no_deposit() {
    for before_proof in [false, true] {
        let mut sim = released();
        let before = sim.escrow.deposits.all().len();
        let txid = hash("payout");
        let mut residue = sim.output(Slot::Payment, Piconero(162_000_000));
        residue.output.tx = txid;
        if before_proof {
            sim.see(residue).unwrap();
        }
        assert_eq!(sim.pay(), txid);
        assert_eq!(sim.see(residue), Err(Rejected::AlreadyDone));
        assert_eq!(sim.escrow.deposits.all().len(), before);
    }
}
