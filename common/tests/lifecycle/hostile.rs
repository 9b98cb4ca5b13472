//! What an adversary tries, and what it must not get.

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::deposits::{MAX_KEYS, Refusal, Sighting, Slot};
use aegis_common::escrow::event::Event;
use aegis_common::escrow::outcome::Outcome;
use aegis_common::escrow::payout::Payments;
use aegis_common::escrow::settling::{RETRIES, SettlingError};
use aegis_common::escrow::state::Status;
use aegis_common::escrow::statement::Act;
use aegis_common::escrow::transition::Rejected;
use aegis_common::role::Role;
use aegis_common::testing::{Sim, contract, hash};
use aegis_common::time::SignedDuration;

pub const FEE: Piconero = Piconero(50_000_000);

pub fn released() -> Sim {
    let mut sim = Sim::new(contract());
    sim.active();
    sim.say(Role::Buyer, Act::Confirm {}).unwrap();
    sim
}

fn bump(sim: &Sim) -> Act {
    Act::Sync { attempt: sim.settling().attempt + 1, info: "5a".into() }
}

#[test]
fn when_both_signers_start_over_at_once_both_are_in_the_same_new_attempt() {
    let mut sim = released();
    for role in [Role::Seller, Role::Buyer] {
        sim.say(role, sim.sync()).unwrap();
    }
    let (one, other) = (sim.sign(Role::Seller, bump(&sim)), sim.sign(Role::Buyer, bump(&sim)));
    sim.send(one).unwrap();
    sim.send(other).unwrap();
    assert_eq!((sim.settling().attempt, sim.settling().syncs.len()), (2, 2));
    sim.pay();
    assert_eq!(sim.status(), Status::CompletedReleased);
}

#[test]
fn a_signer_who_keeps_starting_over_cannot_stretch_its_turn_or_use_up_the_others_statements() {
    let mut sim = released();
    let due = sim.escrow.wake_at();
    for _ in 0..RETRIES {
        sim.now += SignedDuration::from_secs(1);
        sim.say(Role::Buyer, bump(&sim)).unwrap();
        assert_eq!(sim.escrow.wake_at(), due, "the turn was stretched");
    }
    let refused = sim.say(Role::Buyer, bump(&sim));
    assert_eq!(refused, Err(Rejected::Settling(SettlingError::Exhausted)));
    sim.wake().unwrap();
    assert_eq!(sim.settling().signers(), (Role::Seller, Role::Arbiter));
    sim.pay();
    assert_eq!(sim.status(), Status::CompletedReleased);
}

#[test]
fn an_approval_that_names_a_strangers_transaction_does_not_freeze_the_payout() {
    let mut sim = released();
    sim.signed(hash("a stranger's"), FEE);
    assert_eq!(sim.escrow.wake_at(), None);
    let theirs = Payments { to: Vec::new(), fee: FEE };
    let seen = |height| Event::PayoutSeen { txid: hash("a stranger's"), height, payments: theirs.clone() };
    sim.apply(seen(Some(500))).unwrap();
    assert!(!sim.settling().approved);
    assert!(sim.escrow.unmined().is_empty(), "the watcher would report it for ever");
    assert_eq!(sim.apply(seen(Some(500))), Err(Rejected::AlreadyDone));
    sim.pay();
    assert_eq!(sim.status(), Status::CompletedReleased);
}

#[test]
fn approvals_that_are_never_sent_end_with_the_turn_of_who_makes_them() {
    let mut sim = released();
    let mut attempts = 0;
    while sim.settling().signers().1 == Role::Buyer {
        let txid = hash(&format!("never sent {attempts}"));
        sim.signed(txid, FEE);
        assert_eq!(sim.apply(Event::PayoutLost { txid }), Err(Rejected::Unknown), "it may still come");
        sim.now += SignedDuration::from_secs(60);
        sim.apply(Event::PayoutLost { txid }).unwrap();
        attempts += 1;
        assert!(attempts <= RETRIES + 1);
    }
    sim.pay();
    assert_eq!(sim.status(), Status::CompletedReleased);
}

#[test]
fn an_older_payout_in_the_pool_is_not_undone_by_the_loss_of_a_newer_one() {
    let mut sim = released();
    let (old, new) = (hash("old"), hash("new"));
    sim.signed(old, FEE);
    let payments = sim.payments(FEE);
    sim.now += SignedDuration::from_secs(60);
    sim.apply(Event::PayoutLost { txid: old }).unwrap();
    sim.signed(new, FEE);
    sim.apply(Event::PayoutSeen { txid: old, height: None, payments }).unwrap();
    sim.now += SignedDuration::from_secs(60);
    assert_eq!(sim.apply(Event::PayoutLost { txid: new }), Err(Rejected::Unknown));
    sim.apply(Event::PayoutLost { txid: old }).unwrap();
    sim.pay();
}

#[test]
fn a_clock_that_was_set_back_does_not_keep_a_lost_payout_alive() {
    let mut sim = released();
    sim.now += SignedDuration::from_hours(24 * 365);
    sim.signed(hash("lost"), FEE);
    sim.now = aegis_common::testing::START;
    sim.apply(Event::PayoutLost { txid: hash("lost") }).unwrap();
}

#[test]
fn money_that_comes_while_the_payout_is_signed_does_not_make_it_wrong() {
    let mut sim = released();
    sim.signed(hash("payout"), FEE);
    let payments = sim.payments(FEE);
    sim.fund(Slot::SellerDeposit, Piconero(1_000_000_000));
    sim.mine(20);
    sim.tip += 1;
    let height = Some(sim.tip);
    sim.apply(Event::PayoutSeen { txid: hash("payout"), height, payments }).unwrap();
    assert_eq!(sim.settling().mismatch, None);
    sim.mine(10);
    assert_eq!(sim.status(), Status::CompletedReleased);
    assert!(sim.escrow.shares().unwrap().unwrap().iter().all(|share| share.amount < Piconero::XMR));
}

#[test]
fn a_deposit_that_is_on_its_way_when_the_outcome_stands_is_waited_for_and_a_later_one_is_not() {
    let mut sim = Sim::new(Contract { seller_deposit: Piconero::XMR, ..contract() });
    sim.ready();
    sim.fund(Slot::Payment, Piconero::XMR);
    sim.mine(9);
    sim.fund(Slot::SellerDeposit, Piconero::XMR);
    sim.mine(1);
    assert_eq!(sim.status(), Status::BuyerFunded);
    sim.say(Role::Seller, Act::Refund {}).unwrap();
    assert!(!sim.escrow.payable());
    assert_eq!(sim.escrow.wake_at(), None, "nobody is late while nobody can sign");
    let later = sim.output(Slot::Payment, Piconero::XMR);
    sim.see(later).unwrap();
    sim.now += SignedDuration::from_hours(5);
    sim.mine(10);
    assert!(sim.escrow.payable());
    assert_eq!(sim.settling().attempt_since, sim.now);
    let shares = sim.escrow.shares().unwrap().unwrap();
    assert!(shares.iter().all(|share| share.amount == Piconero::XMR) && shares.len() == 2);
}

#[test]
fn an_attempt_that_rests_on_a_deposit_the_chain_took_back_starts_over() {
    let mut sim = released();
    for role in [Role::Seller, Role::Buyer] {
        sim.say(role, sim.sync()).unwrap();
    }
    // The block still stands, but it is not deep enough any more.
    let to = sim.tip - 2;
    sim.rewind(to).unwrap();
    assert!(!sim.escrow.payable());
    assert!(sim.settling().syncs.is_empty());
    let refused = sim.say(Role::Seller, sim.sync());
    assert_eq!(refused, Err(Rejected::Settling(SettlingError::NotPayable)));
    sim.mine(2);
    sim.pay();
    assert_eq!(sim.status(), Status::CompletedReleased);
}

#[test]
fn dust_cannot_keep_a_payment_out() {
    let mut sim = Sim::new(Contract { dust_limit: Piconero::ZERO, ..contract() });
    sim.ready();
    for slot in Slot::ALL {
        for amount in 1..=slot.room() as u64 {
            sim.fund(slot, Piconero(amount));
        }
    }
    sim.mine(20);
    let more = sim.output(Slot::SellerDeposit, Piconero(1));
    assert_eq!(sim.see(more), Err(Rejected::AlreadyDone), "no more of the same");
    sim.fund(Slot::Payment, Piconero::XMR);
    sim.mine(10);
    assert_eq!(sim.escrow.deposits.all().len(), MAX_KEYS);
    assert_eq!(sim.status(), Status::Active);
}

#[test]
fn locked_and_dust_deposits_are_shown_with_the_reason_and_not_credited() {
    let mut sim = Sim::new(Contract { dust_limit: Piconero(1_000), ..contract() });
    sim.ready();
    let locked = Sighting { locked: true, ..sim.output(Slot::Payment, Piconero::XMR) };
    let dust = sim.output(Slot::Payment, Piconero(999));
    for (seen, refusal) in [(locked, Refusal::Locked), (dust, Refusal::Dust)] {
        sim.see(Sighting { height: Some(sim.tip), ..seen }).unwrap();
        let kept = sim.escrow.deposits.get(seen.output).unwrap();
        assert_eq!((kept.refused, kept.amount), (Some(refusal), seen.amount));
    }
    sim.mine(100);
    assert_eq!(sim.status(), Status::PendingFunding);
    assert_eq!(sim.escrow.deposits.credited().count(), 0);
    // The payment itself still counts, and whole.
    sim.fund(Slot::Payment, Piconero::XMR);
    sim.mine(10);
    assert_eq!(sim.status(), Status::Active);
}

#[test]
fn a_smaller_copy_of_a_payments_key_does_not_displace_it() {
    let mut sim = Sim::new(contract());
    sim.ready();
    let payment = sim.output(Slot::Payment, Piconero::XMR);
    // Whoever holds the view key can copy a key out of the pool and be mined first.
    let copy = Sighting {
        key: payment.key,
        height: Some(sim.tip),
        ..sim.output(Slot::Payment, Piconero(1_000_000_000))
    };
    sim.see(copy).unwrap();
    sim.see(payment).unwrap();
    sim.tip += 1;
    sim.see(Sighting { height: Some(sim.tip), ..payment }).unwrap();
    sim.mine(10);
    assert_eq!(sim.status(), Status::Active);
    assert_eq!(sim.escrow.deposits.get(copy.output).unwrap().refused, Some(Refusal::DuplicateKey));
}

#[test]
fn money_that_was_on_its_way_when_the_escrow_was_deleted_or_expired_goes_back() {
    for deleted in [true, false] {
        let mut sim = Sim::new(contract());
        sim.ready();
        if deleted {
            sim.apply(Event::Delete { by: sim.escrow.initiator }).unwrap();
        } else {
            while sim.status() == Status::PendingFunding {
                sim.wake().unwrap();
            }
            assert_eq!(sim.status(), Status::Expired);
        }
        sim.fund(Slot::Payment, Piconero::XMR);
        assert_eq!(sim.status(), Status::TimelockDefaultTriggered);
        sim.mine(10);
        sim.pay();
        assert_eq!(sim.status(), Status::CompletedRefunded);
    }
}

#[test]
fn two_who_want_to_pay_can_always_do_so_without_the_third() {
    for absent in Role::ALL {
        let mut sim = Sim::new(contract());
        sim.active();
        sim.say(Role::Buyer, Act::Dispute { reason: "broken".into() }).unwrap();
        sim.say(Role::Arbiter, Act::Ruling { outcome: Outcome::Release, reason: "not broken".into() })
            .unwrap();
        let mut turns = 0;
        while <[Role; 2]>::from(sim.settling().signers()).contains(&absent) {
            sim.wake().unwrap();
            turns += 1;
            assert!(turns < 3);
        }
        sim.pay();
        assert_eq!(sim.status(), Status::CompletedReleased);
    }
}

#[test]
fn signers_whom_nobody_answers_are_asked_ever_more_rarely() {
    let mut sim = Sim::new(Contract { cosign_seconds: 5, ..contract() });
    sim.active();
    sim.say(Role::Buyer, Act::Confirm {}).unwrap();
    let begin = sim.now;
    for _ in 0..60 {
        sim.wake().unwrap();
    }
    assert!(sim.now.duration_since(begin) > SignedDuration::from_hours(24 * 30));
}

#[test]
fn an_approved_payout_admits_no_second_transaction_until_it_is_gone() {
    let mut sim = released();
    sim.signed(hash("first"), FEE);
    for (role, act) in [
        (Role::Seller, bump(&sim)),
        (Role::Seller, sim.propose(FEE)),
        (Role::Buyer, sim.approve(hash("second"))),
    ] {
        assert!(sim.say(role, act).is_err());
    }
    assert_eq!(sim.apply(Event::Timer { due: None }), Err(Rejected::NotDue));
}

#[test]
fn a_proposal_that_its_cosigner_sends_without_a_word_still_completes_the_escrow() {
    let mut sim = released();
    for role in [Role::Seller, Role::Buyer] {
        sim.say(role, sim.sync()).unwrap();
    }
    sim.say(Role::Seller, sim.propose(FEE)).unwrap();
    let payments = sim.payments(FEE);
    sim.wake().unwrap();
    let seen = |payments| Event::PayoutSeen { txid: hash("silent"), height: Some(2_000), payments };
    let mut wrong = payments.clone();
    wrong.to[0].1.0 -= 1_000;
    assert_eq!(sim.apply(seen(wrong)), Err(Rejected::Unknown));
    sim.apply(seen(payments)).unwrap();
    sim.tip = 2_000;
    sim.mine(10);
    assert_eq!(sim.status(), Status::CompletedReleased);
}

#[test]
fn who_has_attested_cannot_take_the_address_from_those_who_saw_it_ready() {
    let mut sim = Sim::new(contract());
    for role in Role::ALL {
        sim.say(role, Act::Accept {}).unwrap();
    }
    for round in 1..=3 {
        for role in Role::ALL {
            sim.say(role, sim.round(role, round)).unwrap();
        }
    }
    sim.say(Role::Arbiter, sim.attest(sim.address())).unwrap();
    let restart = Act::Restart { attempt: 2, reason: "a wallet was lost".to_owned() };
    assert!(sim.say(Role::Arbiter, restart.clone()).is_err());
    sim.say(Role::Seller, restart).unwrap();
}

#[test]
fn an_approval_that_comes_after_its_turn_counts_and_stops_nobody() {
    let mut sim = released();
    for role in [Role::Seller, Role::Buyer] {
        sim.say(role, sim.sync()).unwrap();
    }
    sim.say(Role::Seller, sim.propose(FEE)).unwrap();
    let (approve, payments) = (sim.approve(hash("late")), sim.payments(FEE));
    sim.wake().unwrap();
    let attempt = sim.settling().attempt;
    assert!(sim.say(Role::Arbiter, approve.clone()).is_err(), "it is not its proposal to complete");
    sim.say(Role::Buyer, approve.clone()).unwrap();
    assert!(sim.say(Role::Buyer, approve).is_err(), "one transaction a proposal");
    assert_eq!((sim.settling().attempt, sim.settling().approved), (attempt, false));
    assert_eq!(sim.escrow.unmined(), [hash("late")], "it is looked for");
    // The next pair signs meanwhile; the chain takes the first.
    sim.signed(hash("second"), FEE);
    assert_eq!(sim.escrow.unmined().len(), 2);
    sim.apply(Event::PayoutSeen { txid: hash("late"), height: Some(2_000), payments }).unwrap();
    sim.tip = 2_000;
    sim.mine(10);
    assert_eq!(sim.status(), Status::CompletedReleased);
}
