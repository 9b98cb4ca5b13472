//! The table of the lifecycle against the machine, and the document against the table.

use std::collections::BTreeSet;

use aegis_common::amount::Piconero;
use aegis_common::escrow::deposits::{Sighting, Slot};
use aegis_common::escrow::event::Event;
use aegis_common::escrow::outcome::Outcome;
use aegis_common::escrow::statement::Act;
use aegis_common::escrow::table::{LISTED, markdown};
use aegis_common::role::Role;
use aegis_common::testing::{Sim, contract, hash};

use crate::driver::{Dice, Seen, run};
use crate::invariants::rows;

/// Rare steps, taken on purpose.
fn rare() -> Vec<Seen> {
    let mut all = Vec::new();
    let half = Piconero(Piconero::XMR.0 / 2);
    let split = Outcome::Split { buyer: half, seller: half };
    let with_deposit = || {
        let contract =
            aegis_common::escrow::contract::Contract { seller_deposit: Piconero::XMR, ..contract() };
        let mut sim = Sim::new(contract);
        sim.active();
        sim
    };
    let moved = |sim: &mut Sim, place: usize| {
        let deposit = sim.escrow.deposits.all()[place].clone();
        let (output, key, slot, amount) = (deposit.output, deposit.key, deposit.slot, deposit.amount);
        sim.see(Sighting { output, key, slot, amount, locked: false, height: Some(sim.tip) }).unwrap();
    };
    // A known output turns up in another block.
    for confirmed in [false, true] {
        for place in [0, 1] {
            let mut sim = with_deposit();
            if confirmed {
                sim.say(Role::Seller, Act::Confirm {}).unwrap();
            }
            moved(&mut sim, place);
            sim.mine(20);
            all.extend(rows(&sim));
        }
    }
    for confirmed in [false, true] {
        let mut sim = with_deposit();
        if confirmed {
            sim.say(Role::Seller, Act::Confirm {}).unwrap();
        }
        // Not deep enough any more; then the deposit alone is undone, then a stray output comes and goes.
        sim.rewind(1_010).unwrap();
        if !confirmed {
            let mut sim = sim.clone();
            sim.say(Role::Seller, Act::Refund {}).unwrap();
            all.extend(rows(&sim));
        }
        sim.rewind(1_001).unwrap();
        let height = Some(sim.tip);
        let seen = Sighting { height, ..sim.output(Slot::Payment, half) };
        sim.see(seen).unwrap();
        sim.mine(20);
        moved(&mut sim, 1);
        sim.mine(20);
        for role in Role::ALL.into_iter().filter(|role| role.is_trader()) {
            let mut sim = sim.clone();
            sim.say(role.others()[0], Act::Cancel {}).unwrap();
            sim.say(role, Act::Cancel {}).unwrap();
            all.extend(rows(&sim));
        }
        let stray = sim.output(Slot::Payment, half);
        sim.see(stray).unwrap();
        sim.apply(Event::DepositLost { output: stray.output }).unwrap();
        for role in [Role::Buyer, Role::Seller] {
            sim.say(role, Act::Settle { outcome: split }).unwrap();
        }
        sim.pay();
        moved(&mut sim, 0);
        sim.mine(20);
        returned(&mut sim);
        sim.rewind(1_001).unwrap();
        let output = sim.escrow.deposits.all()[0].output;
        sim.apply(Event::DepositLost { output }).unwrap();
        all.extend(rows(&sim));
    }
    // Settled by default in part; the money vanishes before and after the signers were asked again.
    for asked_again in [false, true] {
        let mut sim = Sim::new(contract());
        sim.ready();
        let output = sim.fund(Slot::Payment, half);
        sim.mine(20);
        while sim.escrow.settling().is_none() {
            sim.wake().unwrap();
        }
        outage(&mut sim);
        if asked_again {
            sim.wake().unwrap();
        }
        sim.rewind(900).unwrap();
        sim.apply(Event::DepositLost { output }).unwrap();
        // Dust in an expired escrow, undone and lost.
        let height = Some(sim.tip);
        let dust = Sighting { height, ..sim.output(Slot::Payment, Piconero(1)) };
        sim.see(dust).unwrap();
        sim.rewind(899).unwrap();
        sim.apply(Event::DepositLost { output: dust.output }).unwrap();
        let late = sim.output(Slot::Payment, half);
        sim.see(late).unwrap();
        sim.apply(Event::DepositLost { output: late.output }).unwrap();
        all.extend(rows(&sim));
    }
    // The answers that are awaited: of a trader, of the arbiter, of the arbiter in a dispute.
    for silent in [Role::Buyer, Role::Arbiter] {
        let mut sim = Sim::new(contract());
        silent.others().into_iter().for_each(|role| drop(sim.say(role, Act::Accept {}).unwrap()));
        outage(&mut sim);
        sim.wake().unwrap();
        all.extend(rows(&sim));
    }
    let mut sim = with_deposit();
    sim.say(Role::Buyer, Act::Dispute { reason: "nothing came".to_owned() }).unwrap();
    outage(&mut sim);
    sim.wake().unwrap();
    all.extend(rows(&sim));
    let mut sim = Sim::new(contract());
    sim.say(Role::Arbiter, Act::Decline { reason: "no time".to_owned() }).unwrap();
    all.extend(rows(&sim));
    // Late money in a deleted one.
    let mut sim = Sim::new(contract());
    sim.ready();
    sim.apply(Event::Delete { by: sim.escrow.initiator }).unwrap();
    let height = Some(sim.tip);
    let dust = Sighting { height, ..sim.output(Slot::Payment, Piconero(1)) };
    sim.see(dust).unwrap();
    sim.rewind(899).unwrap();
    sim.apply(Event::DepositLost { output: dust.output }).unwrap();
    let late = sim.output(Slot::Payment, half);
    sim.see(late).unwrap();
    all.extend(rows(&sim));
    all
}

/// No server runs for a minute in which somebody is asked for something.
fn outage(sim: &mut Sim) {
    sim.now += aegis_common::time::SignedDuration::from_secs(60);
    sim.apply(Event::Outage { seconds: 60 }).unwrap();
}

/// Money comes after the payout and goes back: signed by those who are asked second, lost once, seen, final.
fn returned(sim: &mut Sim) {
    let fee = Piconero(50_000_000);
    sim.fund(Slot::Payment, Piconero::XMR);
    sim.mine(20);
    outage(sim);
    sim.wake().unwrap();
    sim.signed(hash("lost"), fee);
    sim.now += aegis_common::time::SignedDuration::from_secs(61);
    sim.apply(Event::PayoutLost { txid: hash("lost") }).unwrap();
    sim.signed(hash("return"), fee);
    let payments = sim.payments(fee);
    sim.tip += 1;
    let height = Some(sim.tip);
    sim.apply(Event::PayoutSeen { txid: hash("return"), height, payments }).unwrap();
    sim.mine(20);
}

#[test]
fn every_listed_step_is_taken_by_some_run_and_no_other() {
    let mut seen: BTreeSet<Seen> = rare().into_iter().collect();
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let steps: Vec<u64> = (0..140).map(|_| dice.roll(u64::MAX)).collect();
        seen.extend(run(seed, &steps));
    }
    let listed: BTreeSet<Seen> =
        LISTED.iter().filter_map(|row| row.from.map(|from| (from, row.event, row.to))).collect();
    let text = |rows: Vec<&Seen>| rows.iter().map(|(f, e, t)| format!("\n{f} {e} {t}")).collect::<String>();
    let unlisted = text(seen.difference(&listed).collect());
    let untaken = text(listed.difference(&seen).collect());
    assert!(unlisted.is_empty() && untaken.is_empty(), "unlisted:{unlisted}\nnever taken:{untaken}");
    assert_eq!(listed.len() + 1, LISTED.len(), "a step is listed twice");
}

#[test]
fn every_listed_event_exists() {
    for row in LISTED.iter().filter(|row| row.from.is_some()) {
        assert!(Event::NAMES.contains(&row.event), "{}", row.event);
        assert!(!row.meaning.is_empty());
    }
}

#[test]
fn the_document_of_the_lifecycle_is_printed_from_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/LIFECYCLE.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, markdown()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == markdown(), "docs/LIFECYCLE.md is stale; run with UPDATE_DOCS=1");
}
