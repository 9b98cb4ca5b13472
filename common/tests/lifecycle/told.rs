//! Who acts is told, and what: the notices of each step of a life, word for word. Whatever else is tested of events takes them from
//! the rules; here they are written down.

use aegis_common::amount::Piconero;
use aegis_common::escrow::deposits::{Refusal, Sighting, Slot};
use aegis_common::escrow::effect::{Effect, Notice};
use aegis_common::escrow::event::Event;
use aegis_common::escrow::state::Status;
use aegis_common::escrow::statement::Act;
use aegis_common::role::Role;
use aegis_common::testing::{Sim, contract, hash};
use aegis_common::time::SignedDuration;

const FEE: Piconero = Piconero(50_000_000);

/// What is told, in order, as a person would list it.
fn told(effects: Vec<Effect>) -> Vec<String> {
    let tell = |effect| match effect {
        Effect::Notify(Notice::EscrowStatusChanged { from, to }) => Some(format!("{from} to {to}")),
        Effect::Notify(Notice::StatementPosted { role, kind, .. }) => Some(format!("{role} said {kind}")),
        Effect::Notify(Notice::DepositRefused { reason, .. }) => Some(format!("DepositRefused {reason:?}")),
        Effect::Notify(Notice::DepositSeen { height, .. }) => {
            Some(if height.is_some() { "DepositSeen in a block" } else { "DepositSeen" }.to_owned())
        }
        Effect::Notify(Notice::PayoutSeen { height, .. }) => {
            Some(if height.is_some() { "PayoutSeen in a block" } else { "PayoutSeen" }.to_owned())
        }
        Effect::Notify(notice) => Some(notice.kind().to_owned()),
        Effect::Watch(_) => None,
    };
    effects.into_iter().filter_map(tell).collect()
}

/// All of a contract's price, in the pool.
fn price(sim: &mut Sim) -> Sighting {
    let amount = sim.escrow.contract.amount;
    sim.output(Slot::Payment, amount)
}

/// The blocks that make the newest one final.
fn bury(sim: &mut Sim) -> Vec<String> {
    sim.tip += u64::from(sim.escrow.contract.finality_depth);
    told(sim.apply(Event::Tip { height: sim.tip }).unwrap())
}

#[test]
fn of_the_setup_every_word_is_told_and_that_the_address_is_ready() {
    let mut sim = Sim::new(contract());
    assert_eq!(told(sim.say(Role::Seller, Act::Accept {}).unwrap()), ["seller said accept"]);
    for role in [Role::Buyer, Role::Arbiter] {
        sim.say(role, Act::Accept {}).unwrap();
    }
    for round in 1..=3 {
        for role in Role::ALL {
            assert_eq!(told(sim.say(role, sim.round(role, round)).unwrap()), [format!("{role} said round")]);
        }
    }
    for role in [Role::Buyer, Role::Seller] {
        sim.say(role, sim.attest(sim.address())).unwrap();
    }
    let mut other = sim.clone();
    let last = told(sim.say(Role::Arbiter, sim.attest(sim.address())).unwrap());
    assert_eq!(last, ["arbiter said attest", "AddressReady"]);
    let wrong = other.attest(aegis_common::testing::address(9_001));
    let last = told(other.say(Role::Arbiter, wrong).unwrap());
    assert_eq!(last, ["arbiter said attest", "AddressMismatch"]);
}

#[test]
fn of_a_deposit_every_step_is_told_and_every_step_back() {
    let mut sim = Sim::new(contract());
    sim.ready();
    let seen = price(&mut sim);
    assert_eq!(told(sim.see(seen).unwrap()), ["DepositSeen"]);
    let mut lost = sim.clone();
    assert_eq!(told(lost.apply(Event::DepositLost { output: seen.output }).unwrap()), ["DepositReverted"]);
    sim.tip += 1;
    let mined = Sighting { height: Some(sim.tip), ..seen };
    assert_eq!(told(sim.see(mined).unwrap()), ["DepositSeen in a block"]);
    let below = sim.tip - 1;
    let mut undone = sim.clone();
    assert_eq!(told(undone.rewind(below).unwrap()), ["DepositReverted"]);
    assert_eq!(bury(&mut sim), ["TransactionConfirmed", "PENDING_FUNDING to ACTIVE"]);
    assert_eq!(told(sim.rewind(below).unwrap()), ["DepositReverted", "ACTIVE to PENDING_FUNDING"]);
    let dust = sim.output(Slot::Payment, Piconero(1));
    assert_eq!(told(sim.see(dust).unwrap()), [format!("DepositRefused {:?}", Refusal::Dust)]);
    let locked = Sighting { locked: true, ..price(&mut sim) };
    assert_eq!(told(sim.see(locked).unwrap()), [format!("DepositRefused {:?}", Refusal::Locked)]);
}

#[test]
fn expiry_is_announced_a_day_and_an_hour_before_and_then_told() {
    let mut sim = Sim::new(contract());
    sim.active();
    let expiry = sim.escrow.contract.expires_at;
    for hours in [24, 1] {
        assert_eq!(told(sim.wake().unwrap()), ["ExpiryWarning"]);
        assert_eq!(expiry.duration_since(sim.now), SignedDuration::from_hours(hours));
    }
    let last = told(sim.wake().unwrap());
    assert_eq!(sim.now, expiry);
    assert_eq!(last, ["ACTIVE to TIMELOCK_DEFAULT_TRIGGERED", "SignersAsked"]);
    // Who paid nothing is told as well.
    let mut unpaid = Sim::new(contract());
    unpaid.ready();
    let told: Vec<Vec<String>> = (0..3).map(|_| told(unpaid.wake().unwrap())).collect();
    assert_eq!(told, [vec!["ExpiryWarning"], vec!["ExpiryWarning"], vec!["PENDING_FUNDING to EXPIRED"]]);
}

#[test]
fn of_a_payout_every_step_is_told_and_every_step_back() {
    let mut sim = Sim::new(contract());
    sim.active();
    let confirmed = told(sim.say(Role::Buyer, Act::Confirm {}).unwrap());
    assert_eq!(confirmed, ["buyer said confirm", "ACTIVE to SETTLING", "SignersAsked"]);
    let txid = hash("payout");
    sim.signed(txid, FEE);
    let seen = |sim: &Sim, height| Event::PayoutSeen { txid, height, payments: sim.payments(FEE) };
    let mut wrong = sim.clone();
    let mut less = sim.payments(FEE);
    less.to[0].1 = Piconero(less.to[0].1.0 / 2);
    let less = Event::PayoutSeen { txid, height: Some(sim.tip), payments: less };
    assert_eq!(told(wrong.apply(less).unwrap()), ["PayoutMismatch", "SignersAsked"]);
    assert_eq!(told(sim.apply(seen(&sim, None)).unwrap()), ["PayoutSeen"]);
    let mut lost = sim.clone();
    lost.now += SignedDuration::from_hours(1);
    assert_eq!(told(lost.apply(Event::PayoutLost { txid }).unwrap()), ["PayoutLost", "SignersAsked"]);
    sim.tip += 1;
    assert_eq!(told(sim.apply(seen(&sim, Some(sim.tip))).unwrap()), ["PayoutSeen in a block"]);
    assert_eq!(bury(&mut sim), ["SETTLING to COMPLETED_RELEASED"]);
    // What comes after that goes back.
    let late = price(&mut sim);
    assert_eq!(told(sim.see(late).unwrap()), ["DepositSeen"]);
    sim.tip += 1;
    sim.see(Sighting { height: Some(sim.tip), ..late }).unwrap();
    assert_eq!(bury(&mut sim), ["TransactionConfirmed", "SignersAsked"]);
    let txid = hash("return");
    sim.signed(txid, FEE);
    sim.tip += 1;
    let payments = sim.payments(FEE);
    let returned = Event::PayoutSeen { txid, height: Some(sim.tip), payments };
    assert_eq!(told(sim.apply(returned).unwrap()), ["PayoutSeen in a block"]);
    assert_eq!(bury(&mut sim), ["LatePaymentReturned"]);
    assert_eq!(sim.status(), Status::CompletedReleased);
}

#[test]
fn of_a_dispute_every_step_is_told() {
    let mut sim = Sim::new(contract());
    sim.active();
    let reason = || "it has one wheel".to_owned();
    let disputed = told(sim.say(Role::Buyer, Act::Dispute { reason: reason() }).unwrap());
    assert_eq!(disputed, ["buyer said dispute", "ACTIVE to DISPUTED"]);
    assert_eq!(told(sim.wake().unwrap()), ["AnswerOverdue"]);
    let outcome = aegis_common::escrow::outcome::Outcome::Refund;
    let ruled = told(sim.say(Role::Arbiter, Act::Ruling { outcome, reason: reason() }).unwrap());
    assert_eq!(ruled, ["arbiter said ruling", "DISPUTED to SETTLING", "SignersAsked"]);
}

#[test]
fn that_an_escrow_is_called_off_is_told_with_who_did_it() {
    let mut sim = Sim::new(contract());
    let mut deleted = sim.clone();
    let by = sim.escrow.initiator;
    assert_eq!(
        told(deleted.apply(Event::Delete { by }).unwrap()),
        ["PENDING_FUNDING to CANCELLED", "EscrowCalledOff"]
    );
    let decline = Act::Decline { reason: "no time".to_owned() };
    assert_eq!(
        told(sim.say(Role::Arbiter, decline).unwrap()),
        ["arbiter said decline", "PENDING_FUNDING to CANCELLED", "EscrowCalledOff"]
    );
}
