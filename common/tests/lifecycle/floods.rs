//! What is paid to an escrow only to be in the way.

use std::collections::BTreeSet;

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::deposits::{Deposits, MAX_COPIES, MAX_KEYS, OutputId, Sighting, Slot};
use aegis_common::escrow::outcome::Outcome;
use aegis_common::escrow::state::Status;
use aegis_common::escrow::statement::Act;
use aegis_common::escrow::transition::Rejected;
use aegis_common::role::Role;
use aegis_common::testing::{Sim, contract, hash, point};
use proptest::collection::vec;
use proptest::prelude::*;

use super::hostile::{FEE, released};

/// Fills a slot, but for so many places, with final outputs of one size.
fn flood(sim: &mut Sim, slot: Slot, amount: Piconero, free: usize) {
    while in_slot(sim, slot) + free < slot.room() {
        sim.fund(slot, amount);
    }
    sim.mine(u64::from(sim.escrow.contract.finality_depth));
}

/// Output keys in a slot.
fn in_slot(sim: &Sim, slot: Slot) -> usize {
    let of_slot = sim.escrow.deposits.all().iter().filter(|deposit| deposit.slot == slot);
    of_slot.map(|deposit| deposit.key).collect::<BTreeSet<_>>().len()
}

#[test]
fn the_rooms_of_all_slots_make_up_an_escrows() {
    assert_eq!(Slot::ALL.iter().map(|slot| slot.room()).sum::<usize>(), MAX_KEYS);
}

#[test]
fn small_final_payments_cannot_keep_the_payment_out() {
    let mut sim = Sim::new(contract());
    sim.ready();
    let dust = sim.escrow.contract.dust_limit;
    flood(&mut sim, Slot::Payment, dust, 0);
    let payment = sim.fund(Slot::Payment, sim.escrow.contract.amount);
    sim.mine(u64::from(sim.escrow.contract.finality_depth));
    assert!(sim.escrow.deposits.get(payment).is_some_and(|deposit| deposit.is_final));
    assert_eq!(sim.status(), Status::Active);
}

#[test]
fn a_deposit_in_many_parts_takes_no_room_from_the_payment() {
    let part = Piconero(Piconero::XMR.0 / Slot::SellerDeposit.room() as u64);
    let mut sim = Sim::new(Contract { seller_deposit: Piconero::XMR, ..contract() });
    sim.ready();
    flood(&mut sim, Slot::SellerDeposit, part, 0);
    sim.fund(Slot::Payment, sim.escrow.contract.amount);
    sim.mine(u64::from(sim.escrow.contract.finality_depth));
    assert_eq!(sim.status(), Status::Active);
}

#[test]
fn larger_outputs_take_no_payment_away_that_the_escrow_is_funded_by() {
    let mut sim = Sim::new(contract());
    sim.ready();
    let payment = sim.fund(Slot::Payment, sim.escrow.contract.amount);
    for _ in 0..=Slot::Payment.room() {
        let larger = sim.output(Slot::Payment, Piconero(2 * sim.escrow.contract.amount.0));
        // The last finds no room.
        let _ = sim.see(larger);
    }
    assert!(sim.escrow.deposits.get(payment).is_some());
    assert_eq!(in_slot(&sim, Slot::Payment), Slot::Payment.room());
    // Whoever mines them all funds the escrow in its stead.
    let mut sim = Sim::new(contract());
    sim.ready();
    for _ in 0..=Slot::Payment.room() {
        let larger = sim.output(Slot::Payment, Piconero(2 * sim.escrow.contract.amount.0));
        let _ = sim.see(Sighting { height: Some(sim.tip), ..larger });
    }
    sim.mine(u64::from(sim.escrow.contract.finality_depth));
    assert_eq!(sim.status(), Status::Active);
}

#[test]
fn outputs_that_are_not_final_yet_take_nothing_from_a_funded_escrow() {
    let mut sim = Sim::new(contract());
    sim.ready();
    let (amount, parts) = (sim.escrow.contract.amount.0, Slot::Payment.room() as u64 - 1);
    let small = sim.escrow.contract.dust_limit.0;
    sim.fund(Slot::Payment, Piconero(amount - (parts - 1) * small));
    for _ in 1..parts {
        sim.fund(Slot::Payment, Piconero(small));
    }
    sim.mine(u64::from(sim.escrow.contract.finality_depth));
    assert_eq!(sim.status(), Status::Active);
    // Together they cover what is asked for, too.
    for _ in 0..3 {
        let larger = sim.output(Slot::Payment, Piconero(amount));
        let _ = sim.see(Sighting { height: Some(sim.tip), ..larger });
        assert_eq!(sim.status(), Status::Active);
    }
    assert_eq!(in_slot(&sim, Slot::Payment), Slot::Payment.room());
}

#[test]
fn a_larger_copy_of_a_key_does_not_take_back_that_the_escrow_is_funded() {
    let mut sim = Sim::new(contract());
    sim.ready();
    let (amount, small) = (sim.escrow.contract.amount.0, sim.escrow.contract.dust_limit.0);
    sim.fund(Slot::Payment, Piconero(amount - small));
    let part = sim.output(Slot::Payment, Piconero(small));
    sim.see(Sighting { height: Some(sim.tip), ..part }).unwrap();
    let depth = u64::from(sim.escrow.contract.finality_depth);
    sim.mine(depth);
    assert_eq!(sim.status(), Status::Active);
    let twin =
        Sighting { key: part.key, height: Some(sim.tip), ..sim.output(Slot::Payment, Piconero(small + 1)) };
    sim.see(twin).unwrap();
    assert_eq!(sim.status(), Status::Active, "one of the two can be spent, whichever");
    let mut expired = sim.clone();
    while expired.escrow.settling().is_none() {
        expired.wake().unwrap();
    }
    assert_eq!(
        expired.settling().outcome,
        Outcome::Release,
        "the default, and not as if nothing had been paid"
    );
    assert!(!expired.escrow.payable(), "the wallets hold the larger one, and have to wait for it");
    expired.mine(depth);
    assert!(expired.escrow.payable());
    // Should it vanish, nothing has changed.
    sim.rewind(sim.tip - 1).unwrap();
    assert_eq!(sim.status(), Status::Active);
}

#[test]
fn of_two_equal_outputs_of_one_key_the_one_that_was_mined_first_counts() {
    let mut sim = Sim::new(contract());
    sim.ready();
    let first = sim.output(Slot::Payment, Piconero::XMR);
    sim.see(first).unwrap();
    let copy =
        Sighting { key: first.key, height: Some(sim.tip + 1), ..sim.output(Slot::Payment, Piconero::XMR) };
    sim.see(copy).unwrap();
    sim.mine(1 + u64::from(sim.escrow.contract.finality_depth));
    assert_eq!(sim.status(), Status::Active);
    sim.see(Sighting { height: Some(sim.tip), ..first }).unwrap();
    assert!(sim.escrow.deposits.get(copy.output).is_some_and(|deposit| deposit.refused.is_none()));
    assert_eq!(sim.escrow.deposits.received().unwrap().payment, Piconero::XMR);
}

#[test]
fn what_is_in_the_pool_takes_the_place_of_nothing_that_is_mined() {
    let mut sim = Sim::new(contract());
    sim.ready();
    // A part of the payment: alone it funds nothing.
    let part = sim.fund(Slot::Payment, Piconero(sim.escrow.contract.amount.0 / 2));
    for _ in 0..=Slot::Payment.room() {
        let larger = sim.output(Slot::Payment, sim.escrow.contract.amount);
        let _ = sim.see(larger);
    }
    assert!(sim.escrow.deposits.get(part).is_some());
    // In a block it takes the place of one that is not.
    let rest = sim.fund(Slot::Payment, Piconero(sim.escrow.contract.amount.0 / 2));
    assert!(sim.escrow.deposits.get(rest).is_some() && sim.escrow.deposits.get(part).is_some());
}

#[test]
fn dust_cannot_hide_a_payment_from_the_server_once_an_outcome_stands_either() {
    let mut sim = released();
    while in_slot(&sim, Slot::SellerDeposit) < Slot::SellerDeposit.room() {
        let dust = sim.output(Slot::SellerDeposit, Piconero(1));
        sim.see(dust).unwrap();
    }
    let counts = sim.output(Slot::SellerDeposit, sim.escrow.contract.dust_limit);
    sim.see(counts).unwrap();
    assert!(sim.escrow.deposits.get(counts.output).is_some_and(|deposit| deposit.refused.is_none()));
    assert_eq!(in_slot(&sim, Slot::SellerDeposit), Slot::SellerDeposit.room());
}

#[test]
fn a_key_that_makes_room_takes_its_copies_along() {
    let mut sim = released();
    let dust = sim.escrow.contract.dust_limit;
    let first = sim.output(Slot::SellerDeposit, dust);
    sim.see(first).unwrap();
    let copy = Sighting { key: first.key, ..sim.output(Slot::SellerDeposit, dust) };
    sim.see(copy).unwrap();
    flood(&mut sim, Slot::SellerDeposit, dust, 0);
    let same = sim.output(Slot::SellerDeposit, dust);
    assert_eq!(sim.see(same), Err(Rejected::AlreadyDone), "no more than what is there");
    let counts = sim.output(Slot::SellerDeposit, Piconero(dust.0 + 1));
    sim.see(counts).unwrap();
    assert!(sim.escrow.deposits.get(counts.output).is_some());
    assert!(
        sim.escrow.deposits.all().iter().all(|deposit| deposit.key != first.key),
        "no copy takes its place"
    );
}

#[test]
fn a_copy_that_takes_an_outputs_place_in_wallets_finds_room_in_a_full_slot() {
    let mut sim = Sim::new(contract());
    sim.ready();
    let depth = u64::from(sim.escrow.contract.finality_depth);
    // Every part is needed, so that none makes room for another.
    let part = Piconero(sim.escrow.contract.amount.0 / Slot::Payment.room() as u64);
    assert_eq!(part.0 * Slot::Payment.room() as u64, sim.escrow.contract.amount.0);
    flood(&mut sim, Slot::Payment, part, 0);
    assert_eq!(sim.status(), Status::Active);
    let first = sim.escrow.deposits.all()[0].clone();
    let copy_of_first = |sim: &mut Sim, more: u64| {
        let larger = sim.output(Slot::Payment, Piconero(part.0 + more));
        Sighting { key: first.key, height: Some(sim.tip), ..larger }
    };
    let copy = copy_of_first(&mut sim, 1);
    sim.see(copy).unwrap();
    assert_eq!(sim.status(), Status::Active);
    sim.say(Role::Seller, Act::Refund {}).unwrap();
    assert!(!sim.escrow.payable(), "the wallets hold the copy, and have to wait for it");
    sim.mine(depth);
    assert!(sim.escrow.payable());
    assert_eq!(sim.escrow.deposits.received().unwrap().payment.0, sim.escrow.contract.amount.0 + 1);
    // However many come, the first, the one that is final and the largest stay; one that wallets pass over is not kept.
    for more in 2..50 {
        let copy = copy_of_first(&mut sim, more);
        sim.see(copy).unwrap();
        let copies: Vec<_> =
            sim.escrow.deposits.all().iter().filter(|deposit| deposit.key == first.key).collect();
        assert!(copies.len() <= MAX_COPIES);
        assert!(copies.iter().any(|deposit| deposit.output == first.output));
        assert!(copies.iter().any(|deposit| deposit.is_final && deposit.amount.0 == part.0 + 1));
        assert!(copies.iter().any(|deposit| deposit.output == copy.output && deposit.refused.is_none()));
    }
    let smaller = copy_of_first(&mut sim, 0);
    assert_eq!(sim.see(smaller), Err(Rejected::AlreadyDone));
}

#[test]
fn a_copy_of_the_sellers_deposit_does_not_leave_it_out_of_the_refund() {
    let mut sim = Sim::new(Contract { seller_deposit: Piconero::XMR, ..contract() });
    sim.ready();
    sim.fund(Slot::Payment, sim.escrow.contract.amount);
    let deposit = sim.output(Slot::SellerDeposit, Piconero::XMR);
    sim.see(Sighting { height: Some(sim.tip), ..deposit }).unwrap();
    let depth = u64::from(sim.escrow.contract.finality_depth);
    sim.mine(depth);
    sim.say(Role::Seller, Act::Refund {}).unwrap();
    assert!(sim.escrow.payable());
    let dear = sim.output(Slot::SellerDeposit, Piconero(Piconero::XMR.0 + 1));
    sim.see(Sighting { key: deposit.key, height: Some(sim.tip), ..dear }).unwrap();
    assert!(!sim.escrow.payable(), "the seller's part would stay behind");
    sim.mine(depth);
    assert!(sim.escrow.payable());
    assert_eq!(sim.escrow.deposits.received().unwrap().seller_deposit.0, Piconero::XMR.0 + 1);
}

#[test]
fn copies_of_dust_hold_up_no_payout_also_where_the_dust_was_waited_for() {
    let mut sim = Sim::new(contract());
    sim.ready();
    sim.fund(Slot::Payment, sim.escrow.contract.amount);
    let depth = u64::from(sim.escrow.contract.finality_depth);
    sim.mine(depth);
    let small = sim.output(Slot::Payment, sim.escrow.contract.dust_limit);
    sim.see(Sighting { height: Some(sim.tip), ..small }).unwrap();
    sim.say(Role::Seller, Act::Refund {}).unwrap();
    assert_eq!(sim.settling().awaited, [small.output]);
    assert!(!sim.escrow.payable());
    sim.mine(depth);
    assert!(sim.escrow.payable());
    for more in 1..20 {
        let copy = sim.output(Slot::Payment, Piconero(small.amount.0 + more));
        sim.see(Sighting { key: small.key, height: Some(sim.tip), ..copy }).unwrap();
        assert!(sim.escrow.payable());
    }
}

/// Copies of one key, and which of them a wallet holds: of the mined ones the largest, and of equals the first (Monero
/// `src/wallet/wallet2.cpp`).
struct Copies {
    tip: u64,
    deposits: Deposits,
    mined: Vec<Sighting>,
    count: u32,
}

impl Copies {
    fn new() -> Self {
        Self { tip: 100, deposits: Deposits::default(), mined: Vec::new(), count: 0 }
    }

    fn mine(&mut self, amount: u64, in_new_block: bool) {
        self.tip += u64::from(in_new_block);
        self.count += 1;
        let seen = Sighting {
            output: OutputId { tx: hash("copies"), index: self.count },
            key: point(7),
            slot: Slot::Payment,
            amount: Piconero(amount),
            locked: false,
            height: Some(self.tip),
        };
        self.mined.push(seen);
        let room = self.deposits.make_room(&seen, Piconero::ZERO, |_| true, |_| false);
        if let Some((next, _)) = room.sight(&seen, Piconero::ZERO) {
            self.deposits = next;
        }
        self.check();
    }

    fn undo(&mut self, depth: u64) {
        self.tip -= depth;
        self.mined.retain(|seen| seen.height <= Some(self.tip));
        let (next, undone) = self.deposits.roll_back(self.tip, 10);
        self.deposits = undone.iter().fold(next, |left, gone| left.lose(gone.output).unwrap().0);
        self.check();
    }

    fn check(&mut self) {
        self.deposits = self.deposits.finalize(self.tip, 10).0;
        let held = self.mined.iter().rev().max_by_key(|seen| seen.amount).map(|seen| seen.output);
        assert_eq!(self.deposits.credited().next().map(|deposit| deposit.output), held);
        assert!(self.deposits.all().len() <= MAX_COPIES);
    }
}

proptest! {
    /// One less than are kept, so that each of them may be the one that counts.
    #[test]
    fn after_any_copies_and_reorganisations_the_one_counts_that_wallets_hold(
        steps in vec(prop_oneof![4 => (1u64..MAX_COPIES as u64).prop_map(Ok), 1 => (1u64..=4).prop_map(Err)], 1..60),
        in_new_block in vec(any::<bool>(), 60),
    ) {
        let mut copies = Copies::new();
        for (step, in_new_block) in steps.into_iter().zip(in_new_block) {
            match step {
                Ok(amount) => copies.mine(amount, in_new_block),
                Err(depth) => copies.undo(depth),
            }
        }
    }

    #[test]
    fn after_ever_larger_copies_the_last_five_blocks_may_be_undone(
        in_new_block in vec(any::<bool>(), 1..100), depth in 1u64..=5,
    ) {
        let mut copies = Copies::new();
        for (amount, in_new_block) in (1..).zip(in_new_block) {
            copies.mine(amount, in_new_block);
        }
        copies.undo(depth);
    }
}

#[test]
fn small_payments_cannot_keep_a_deposit_out_of_a_disputed_escrow() {
    let mut sim = Sim::new(Contract { seller_deposit: Piconero::XMR, ..contract() });
    sim.ready();
    sim.fund(Slot::Payment, Piconero::XMR);
    let dust = sim.escrow.contract.dust_limit;
    flood(&mut sim, Slot::SellerDeposit, dust, 0);
    sim.say(Role::Buyer, Act::Dispute { reason: "late".into() }).unwrap();
    let deposit = sim.fund(Slot::SellerDeposit, Piconero::XMR);
    assert!(sim.escrow.deposits.get(deposit).is_some());
}

#[test]
fn a_larger_output_takes_the_place_of_nothing_that_the_payout_waits_for() {
    let mut sim = Sim::new(Contract { seller_deposit: Piconero::XMR, ..contract() });
    sim.ready();
    sim.fund(Slot::Payment, Piconero::XMR);
    sim.mine(u64::from(sim.escrow.contract.finality_depth));
    let dust = sim.escrow.contract.dust_limit;
    flood(&mut sim, Slot::SellerDeposit, dust, 1);
    // The seller's deposit is on its way when the buyer is paid back.
    let deposit = sim.fund(Slot::SellerDeposit, Piconero::XMR);
    sim.say(Role::Seller, Act::Refund {}).unwrap();
    assert_eq!(sim.settling().awaited, [deposit]);
    let larger = sim.output(Slot::SellerDeposit, Piconero(2 * Piconero::XMR.0));
    assert_eq!(sim.see(larger), Err(Rejected::AlreadyDone));
    assert!(sim.escrow.deposits.get(deposit).is_some());
}

#[test]
fn many_larger_outputs_take_no_final_payment_from_a_dispute() {
    let mut sim = Sim::new(contract());
    sim.active();
    let payment = sim.escrow.deposits.all()[0].output;
    sim.say(Role::Buyer, Act::Dispute { reason: "late".into() }).unwrap();
    for _ in 0..=Slot::Payment.room() {
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
