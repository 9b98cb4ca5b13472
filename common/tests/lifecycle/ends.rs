//! Whatever has happened, two honest parties and a chain that goes on bring an escrow to its end.

use aegis_common::amount::Piconero;
use aegis_common::escrow::deposits::Sighting;
use aegis_common::escrow::event::Event;
use aegis_common::escrow::outcome::Outcome;
use aegis_common::escrow::state::{PaidIn, Phase};
use aegis_common::escrow::statement::Act;
use aegis_common::role::Role;
use aegis_common::testing::{Sim, hash};
use aegis_common::time::SignedDuration;
use proptest::prelude::*;

use crate::{cases, driver};

const FEE: Piconero = Piconero(50_000_000);

/// Everything in the pool is mined and becomes final.
fn chain_goes_on(sim: &mut Sim) {
    let unmined: Vec<_> = sim.escrow.deposits.all().iter().filter(|d| d.height.is_none()).cloned().collect();
    for deposit in unmined {
        sim.tip += 1;
        let (output, key, slot, amount) = (deposit.output, deposit.key, deposit.slot, deposit.amount);
        sim.see(Sighting { output, key, slot, amount, locked: false, height: Some(sim.tip) }).unwrap();
    }
    let depth = sim.escrow.contract.finality_depth;
    sim.mine(u64::from(depth));
}

fn sign(sim: &mut Sim, step: u32) {
    let (proposer, cosigner) = sim.settling().signers();
    if sim.settling().proposal.is_none() {
        for role in [proposer, cosigner] {
            if sim.settling().sync_of(role).is_none() {
                sim.say(role, sim.sync()).unwrap();
            }
        }
        sim.say(proposer, sim.propose(FEE)).unwrap();
    }
    let fee = sim.settling().proposal.as_ref().unwrap().fee;
    let (txid, payments) = (hash(&format!("the end {step}")), sim.payments(fee));
    sim.say(cosigner, sim.approve(txid)).unwrap();
    sim.tip += 1;
    sim.apply(Event::PayoutSeen { txid, height: Some(sim.tip), payments }).unwrap();
}

/// One step of the two who are left. False where there is nothing to pay with.
fn go_on(sim: &mut Sim, absent: Role, step: u32) -> bool {
    chain_goes_on(sim);
    let settling = match &sim.escrow.phase {
        Phase::Open { .. } => {
            sim.wake().unwrap();
            return true;
        }
        Phase::Disputed { .. } if absent == Role::Arbiter => {
            for role in [Role::Buyer, Role::Seller] {
                // An offer that stood already may have ended it.
                if sim.escrow.settling().is_none() {
                    sim.say(role, Act::Cancel {}).unwrap();
                }
            }
            return true;
        }
        Phase::Disputed { .. } => {
            sim.say(Role::Arbiter, Act::Ruling { outcome: Outcome::Refund, reason: "so be it".into() })
                .unwrap();
            return true;
        }
        _ => match sim.escrow.settling() {
            Some(settling) => settling.clone(),
            None => return true,
        },
    };
    let received = sim.escrow.received().unwrap().total().unwrap();
    let payment_gone = !settling.partial && !settling.late && sim.escrow.paid_in() == PaidIn::Nothing;
    if settling.approved {
        // What was approved never shows up again.
        sim.now += SignedDuration::from_secs(60);
        for approval in &settling.approvals {
            let _ = sim.apply(Event::PayoutLost { txid: approval.txid });
        }
    } else if payment_gone || received <= FEE {
        return false;
    } else if !sim.escrow.payable() || <[Role; 2]>::from(settling.signers()).contains(&absent) {
        sim.wake().unwrap();
    } else {
        sign(sim, step);
    }
    true
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn two_honest_parties_bring_every_escrow_to_its_end(
        seed: u64,
        steps in prop::collection::vec(any::<u64>(), 0..120),
        absent in prop::sample::select(Role::ALL.to_vec()),
    ) {
        let (mut sim, _) = driver::lead(seed, &steps);
        let mut step = 0;
        while (!sim.status().is_over() || sim.escrow.settling().is_some()) && go_on(&mut sim, absent, step) {
            step += 1;
            prop_assert!(step < 40, "stuck: {:?}", sim.escrow.phase);
        }
    }
}
