//! What holds after every accepted event, whatever led to it.

use aegis_common::escrow::deadline::Due;
use aegis_common::escrow::deposits::{MAX_OUTPUTS, Refusal, final_at};
use aegis_common::escrow::event::Event;
use aegis_common::escrow::outcome::Outcome;
use aegis_common::escrow::state::{Escrow, Phase};
use aegis_common::escrow::statement::verify_transcript;
use aegis_common::escrow::transition::{Rejected, apply};
use aegis_common::testing::Sim;

use crate::driver::{Seen, json};

/// The rows that a simulation's journal went through.
pub fn rows(sim: &Sim) -> Vec<Seen> {
    let mut escrow = sim.created.clone();
    let mut rows = Vec::new();
    for (event, now) in &sim.journal {
        let next = apply(&escrow, event, *now).unwrap().0;
        rows.push((escrow.status(), event.name(), next.status()));
        escrow = next;
    }
    rows
}

pub fn check(sim: &Sim, outcome: &mut Option<Outcome>) {
    one_outcome(&sim.escrow, outcome);
    finality(sim);
    wake_ups(sim);
    chain_watch(sim);
    paid_once(&sim.escrow);
    bounds(&sim.escrow);
}

fn one_outcome(escrow: &Escrow, outcome: &mut Option<Outcome>) {
    if let Phase::Settling(settling) | Phase::Completed { settled: settling, .. } = &escrow.phase {
        assert_eq!(*outcome.get_or_insert(settling.outcome), settling.outcome, "the outcome changed");
    }
}

/// Whatever counts as final is deep enough below the present tip, and a payable state rests on nothing else.
fn finality(sim: &Sim) {
    let escrow = &sim.escrow;
    for deposit in escrow.deposits.all().iter().filter(|deposit| deposit.is_final) {
        let height = deposit.height.unwrap();
        assert!(sim.tip >= final_at(height, escrow.contract.finality_depth), "{deposit:?} at {}", sim.tip);
        assert!(matches!(deposit.refused, None | Some(Refusal::DuplicateKey)));
    }
    if escrow.payable() && !sim.settling().approved {
        let received = escrow.received().unwrap();
        let basis = sim.settling().basis.unwrap_or(received);
        assert!(
            basis.payment <= received.payment
                && basis.buyer_deposit <= received.buyer_deposit
                && basis.seller_deposit <= received.seller_deposit,
            "an attempt rests on what is not final"
        );
        assert!(escrow.shares().unwrap().is_ok());
    }
}

/// A deadline that is announced is accepted when it comes, and then moves on.
fn wake_ups(sim: &Sim) {
    if let Some(due) = sim.escrow.wake_at() {
        let at = due.max(sim.now);
        let due_then = sim.escrow.due(at);
        let next = apply(&sim.escrow, &Event::Timer { due: due_then }, at).unwrap().0;
        assert_eq!(apply(&sim.escrow, &Event::Timer { due: None }, at).unwrap().0, next);
        for other in [Due::Expiry, Due::Warning, Due::Answer, Due::Turn] {
            let told = Some(other);
            let applied = apply(&sim.escrow, &Event::Timer { due: told }, at);
            assert_eq!(applied.is_ok(), told == due_then, "{applied:?}");
        }
        assert!(next.wake_at().is_none_or(|later| later > at), "the timer would run in circles");
        if due > sim.created.created_at {
            let early = due - aegis_common::time::SignedDuration::from_millis(1);
            assert_eq!(apply(&sim.escrow, &Event::Timer { due: None }, early), Err(Rejected::NotDue));
        }
    }
    if let Some(height) = sim.escrow.wake_height() {
        let next = apply(&sim.escrow, &Event::Tip { height }, sim.now).unwrap().0;
        assert!(next.wake_height().is_none_or(|later| later > height), "the tip would run in circles");
    }
}

/// What the chain watcher is told to look for is what the escrow can hear about.
fn chain_watch(sim: &Sim) {
    let escrow = &sim.escrow;
    if let Some(top) = escrow.highest_block() {
        let undo = |to| apply(escrow, &Event::RolledBack { to }, sim.now);
        assert!(undo(top - 1).is_ok(), "undoing block {top} concerns it");
        assert_eq!(undo(top), Err(Rejected::NotDue));
    }
    for txid in escrow.unmined() {
        let deposit = escrow.deposits.all().iter().find(|deposit| deposit.output.tx == txid);
        match deposit {
            Some(deposit) if deposit.height.is_some() => assert!(escrow.may_be_sent(txid)),
            Some(deposit) => {
                assert!(apply(escrow, &Event::DepositLost { output: deposit.output }, sim.now).is_ok());
            }
            None => assert!(sim.settling().approval(txid).is_some()),
        }
    }
}

/// No output is paid out twice: what the payout and each return spend, and what is being signed for, have nothing in common.
fn paid_once(escrow: &Escrow) {
    let Phase::Completed { settled, returns, .. } = &escrow.phase else { return };
    let done = returns.done.iter().flat_map(|returned| &returned.paid.spends);
    let under_way = returns.under_way.iter().flat_map(|settling| &settling.spends);
    let all: Vec<_> =
        settled.paid.iter().flat_map(|paid| &paid.spends).chain(done).chain(under_way).collect();
    let distinct: std::collections::BTreeSet<_> = all.iter().map(|key| key.0).collect();
    assert_eq!(distinct.len(), all.len(), "{returns:?}");
    assert!(settled.paid.is_some());
}

fn bounds(escrow: &Escrow) {
    assert!(escrow.deposits.all().len() <= MAX_OUTPUTS);
    assert!(escrow.offers.len() <= 2);
    if let Some(settling) = escrow.settling() {
        assert!(settling.awaited.len() <= 2 * MAX_OUTPUTS);
        assert!(settling.syncs.len() <= 2);
    }
}

/// The journal gives the snapshot, byte for byte; the snapshot survives its JSON; the transcript verifies.
pub fn check_history(sim: &Sim) {
    let mut escrow = sim.created.clone();
    for (event, now) in &sim.journal {
        let stored: Event = serde_json::from_slice(&serde_json::to_vec(event).unwrap()).unwrap();
        assert_eq!(&stored, event);
        escrow = apply(&escrow, &stored, *now).unwrap().0;
    }
    let bytes = json(&sim.escrow);
    assert_eq!(json(&escrow), bytes);
    let read: Escrow = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(read, sim.escrow);
    let chains = verify_transcript(&escrow.contract, escrow.contract_hash, &sim.transcript).unwrap();
    assert_eq!(chains, escrow.chains);
}
