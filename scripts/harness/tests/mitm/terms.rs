//! Mutations of what the server says of an escrow: its contract.

use aegis_common::escrow::contract::Contract;
use aegis_common::role::Role;
use serde_json::{Value, json};

use crate::mallory::Mallory;
use crate::rng::Rng;

/// Changes the contract in a view, with or without the hash that goes with it.
pub fn mutate(view: &mut Value, mallory: &Mallory, rng: &mut Rng) {
    let before = view["contract"].clone();
    while view["contract"] == before {
        change(&mut view["contract"], mallory, rng);
    }
    let read: Option<Contract> = serde_json::from_value(view["contract"].clone()).ok();
    if rng.below(2) == 0
        && let Some(hash) = read.and_then(|contract| contract.hash().ok())
    {
        view["contractHash"] = json!(hash);
    }
}

fn change(contract: &mut Value, mallory: &Mallory, rng: &mut Rng) {
    let party = Role::ALL[rng.below(3)].to_string();
    let other = Role::ALL[rng.below(3)].to_string();
    match rng.below(12) {
        0 => contract[&party]["signingKey"] = json!(mallory.public()),
        1 => contract[&party]["identityKey"] = json!(mallory.public()),
        2 => contract[&party]["payoutAddress"] = json!(mallory.address),
        3 => contract["amount"] = json!((1 + rng.below(1 << 40)).to_string()),
        4 => contract["network"] = json!(["mainnet", "stagenet", "testnet"][rng.below(3)]),
        5 => contract[&party]["username"] = json!("mallory"),
        6 => contract[&party] = contract[&other].clone(),
        7 => contract["platformFee"]["address"] = json!(mallory.address),
        8 => contract["arbiterFeeBps"] = json!(rng.below(2_500)),
        9 => contract["defaultOutcome"] = json!("refund"),
        10 => contract["title"] = json!("a cheaper thing"),
        _ => contract["finalityDepth"] = json!(11 + rng.below(80)),
    }
}
