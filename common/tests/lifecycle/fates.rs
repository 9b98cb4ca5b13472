//! What becomes of each output, as it is told to those who paid it.

use aegis_common::amount::Piconero;
use aegis_common::escrow::deposits::{OutputId, Sighting, Slot};
use aegis_common::escrow::event::Event;
use aegis_common::escrow::fate::Fate;
use aegis_common::escrow::payout::Payee;
use aegis_common::escrow::statement::Act;
use aegis_common::role::Role;
use aegis_common::testing::{Sim, contract, hash};
use aegis_common::wire::escrow::EscrowView;

const FEE: Piconero = Piconero(50_000_000);

fn fate(sim: &Sim, output: OutputId) -> Fate {
    sim.escrow.fate(sim.escrow.deposits.get(output).unwrap())
}

/// Signs what is due, and buries it.
fn pay(sim: &mut Sim, txid: &str) {
    let txid = hash(txid);
    sim.signed(txid, FEE);
    sim.tip += 1;
    let payments = sim.payments(FEE);
    sim.apply(Event::PayoutSeen { txid, height: Some(sim.tip), payments }).unwrap();
    sim.mine(20);
}

#[test]
fn an_output_is_held_paid_out_returned_or_stays() {
    let mut sim = Sim::new(contract());
    sim.ready();
    let amount = sim.escrow.contract.amount;
    let price = sim.fund(Slot::Payment, amount);
    assert_eq!(fate(&sim, price), Fate::Awaited);
    sim.mine(20);
    assert_eq!(fate(&sim, price), Fate::Held);
    let dust = sim.fund(Slot::Payment, Piconero(1));
    let locked = Sighting { locked: true, height: Some(sim.tip), ..sim.output(Slot::Payment, amount) };
    sim.see(locked).unwrap();
    assert_eq!([fate(&sim, dust), fate(&sim, locked.output)], [Fate::Stays; 2]);
    sim.say(Role::Buyer, Act::Confirm {}).unwrap();
    pay(&mut sim, "payout");
    assert_eq!(fate(&sim, price), Fate::PaidOut);
    let late = sim.fund(Slot::Payment, amount);
    assert_eq!(fate(&sim, late), Fate::Awaited);
    sim.mine(20);
    assert_eq!(fate(&sim, late), Fate::Returning);
    pay(&mut sim, "return");
    assert_eq!([fate(&sim, price), fate(&sim, late)], [Fate::PaidOut, Fate::Returned]);
    // Less than the fee may be: it waits for more, and goes back with that.
    let little = sim.fund(Slot::Payment, sim.escrow.contract.max_network_fee);
    sim.mine(20);
    assert_eq!(fate(&sim, little), Fate::Stays);
    sim.fund(Slot::Payment, amount);
    sim.mine(20);
    assert_eq!(fate(&sim, little), Fate::Returning);
}

#[test]
fn what_is_paid_beyond_the_price_is_told_and_goes_back_with_the_payout() {
    let mut sim = Sim::new(contract());
    sim.ready();
    let amount = sim.escrow.contract.amount;
    let surplus = |sim: &Sim| EscrowView::of(&sim.escrow, 1, sim.tip).deposits[0].surplus.piconero;
    sim.fund(Slot::Payment, amount);
    sim.fund(Slot::Payment, Piconero::XMR);
    assert_eq!(surplus(&sim), Piconero::ZERO, "nothing of it is final");
    sim.mine(20);
    assert_eq!(surplus(&sim), Piconero::XMR);
    sim.say(Role::Buyer, Act::Confirm {}).unwrap();
    let shares = sim.escrow.shares().unwrap().unwrap();
    let back = shares.iter().find(|share| share.payee == Payee::Buyer).unwrap();
    assert_eq!((back.address, back.amount), (sim.escrow.contract.buyer.payout_address, Piconero::XMR));
}

/// The seller owes nothing, so nobody but the buyer can have meant it for the price.
#[test]
fn what_is_paid_to_a_subaddress_that_nothing_is_asked_for_goes_back_to_the_buyer() {
    let paid = |outcome: Act, by: Role, seller_deposit: Piconero| {
        let mut sim = Sim::new(aegis_common::escrow::contract::Contract { seller_deposit, ..contract() });
        sim.active();
        let astray = sim.fund(Slot::SellerDeposit, Piconero::XMR);
        sim.mine(20);
        let told = fate(&sim, astray);
        sim.say(by, outcome).unwrap();
        let shares = sim.escrow.shares().unwrap().unwrap();
        let due =
            |payee| Piconero::sum(shares.iter().filter(|s| s.payee == payee).map(|s| s.amount)).unwrap();
        (told, due(Payee::Buyer), due(Payee::Seller), sim)
    };
    let amount = contract().amount;
    let (told, buyer, seller, mut sim) = paid(Act::Confirm {}, Role::Buyer, Piconero::ZERO);
    assert_eq!((told, buyer), (Fate::WrongSubaddress, Piconero::XMR));
    assert!(seller <= amount);
    // After the payout as well.
    pay(&mut sim, "payout");
    sim.fund(Slot::SellerDeposit, Piconero::XMR);
    sim.mine(20);
    let [share] = &sim.escrow.shares().unwrap().unwrap()[..] else { panic!("one gets it") };
    assert_eq!((share.payee, share.amount), (Payee::Buyer, Piconero::XMR));
    // Where a deposit is asked for it is the seller's, and what is above it as well.
    let asked = Piconero(Piconero::XMR.0 / 2);
    let (told, buyer, seller, _) = paid(Act::Refund {}, Role::Seller, asked);
    assert_eq!((told, buyer), (Fate::Held, amount));
    assert_eq!(seller, Piconero(asked.0 + Piconero::XMR.0));
}

/// Paid in full, to the wrong subaddress: the escrow was never funded, and all of it goes back.
#[test]
fn a_price_that_came_to_the_wrong_subaddress_goes_back_at_expiry() {
    let mut sim = Sim::new(contract());
    sim.ready();
    sim.fund(Slot::SellerDeposit, sim.escrow.contract.amount);
    sim.mine(20);
    while sim.escrow.settling().is_none() {
        sim.wake().unwrap();
    }
    let [share] = &sim.escrow.shares().unwrap().unwrap()[..] else { panic!("one gets it") };
    assert_eq!((share.payee, share.amount), (Payee::Buyer, sim.escrow.contract.amount));
}
