//! For whom an escrow waits, step by step through its life.

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::deposits::Slot;
use aegis_common::escrow::statement::Act;
use aegis_common::role::Role;
use aegis_common::testing::{Sim, contract, hash};

fn waits(sim: &Sim) -> Vec<Role> {
    Role::ALL.into_iter().filter(|role| sim.escrow.waits_for(*role)).collect()
}

#[test]
fn an_escrow_waits_for_whoever_has_to_act() {
    let deposit = Piconero(200_000_000_000);
    let mut sim = Sim::new(Contract { buyer_deposit: deposit, seller_deposit: deposit, ..contract() });
    assert_eq!(waits(&sim), Role::ALL);
    sim.say(Role::Seller, Act::Accept {}).unwrap();
    assert_eq!(waits(&sim), [Role::Buyer, Role::Arbiter]);
    let mut sim = Sim::new(sim.escrow.contract);
    sim.ready();
    assert_eq!(waits(&sim), [Role::Buyer, Role::Seller]);
    for slot in [Slot::Payment, Slot::BuyerDeposit] {
        sim.fund(slot, slot.required(&sim.escrow.contract));
    }
    assert_eq!(waits(&sim), [Role::Seller], "what is on its way is not asked for again");
    sim.fund(Slot::SellerDeposit, deposit);
    assert_eq!(waits(&sim), [], "only blocks are missing");
    sim.mine(100);
    assert_eq!(waits(&sim), [Role::Seller]);
    sim.say(Role::Seller, Act::Confirm {}).unwrap();
    assert_eq!(waits(&sim), [Role::Buyer]);
    let mut disputed = sim.clone();
    disputed.say(Role::Buyer, Act::Dispute { reason: "broken".to_owned() }).unwrap();
    assert_eq!(waits(&disputed), [Role::Arbiter]);

    sim.say(Role::Buyer, Act::Confirm {}).unwrap();
    let (proposer, cosigner) = sim.settling().signers();
    assert_eq!(waits(&sim), [Role::Buyer, Role::Seller], "both signers");
    sim.say(cosigner, sim.sync()).unwrap();
    assert_eq!(waits(&sim), [proposer]);
    sim.say(proposer, sim.sync()).unwrap();
    assert_eq!(waits(&sim), [proposer]);
    sim.say(proposer, sim.propose(Piconero(50_000_000))).unwrap();
    assert_eq!(waits(&sim), [cosigner]);
    sim.say(cosigner, sim.approve(hash("payout"))).unwrap();
    assert_eq!(waits(&sim), [], "it is on its way");
}
