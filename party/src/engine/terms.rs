//! What a contract says: for a person to read before it is accepted, and compared with what was asked for.

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::{Contract, DefaultOutcome};
use aegis_common::escrow::outcome::{Authority, Outcome};
use aegis_common::escrow::payout::Share;
use aegis_common::role::Role;
use aegis_common::wire::escrow::CreateEscrowRequest;

use crate::book::Fault;
use crate::keys::PinCheck;

/// Whether the contract that the server made is the one that was asked for. What the request left to the server (fees,
/// an arbiter that was not named) is for the person to read.
pub fn asked_for(request: &CreateEscrowRequest, contract: &Contract, role: Role) -> Result<(), Fault> {
    let other = if role == Role::Buyer { Role::Seller } else { Role::Buyer };
    let is_named = |role: Role, name: &str| contract.party(role).username.eq_ignore_ascii_case(name);
    let answers = [
        ("your part", role == request.role),
        ("the other trader", is_named(other, &request.counterparty)),
        ("the arbiter", request.arbiter.as_deref().is_none_or(|name| is_named(Role::Arbiter, name))),
        ("the title", contract.title == request.title),
        ("the description", contract.description == request.description),
        ("the amount", contract.amount == request.amount),
        ("the buyer's deposit", contract.buyer_deposit == request.buyer_deposit),
        ("the seller's deposit", contract.seller_deposit == request.seller_deposit),
        ("what happens at expiry", contract.default_outcome == request.default_outcome),
        ("the expiry", contract.expires_at == request.expires_at),
        ("finality", request.finality_depth.is_none_or(|depth| depth == contract.finality_depth)),
        ("the signers' time", request.cosign_seconds.is_none_or(|time| time == contract.cosign_seconds)),
    ];
    match answers.into_iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(Fault::Contract(format!("is not what you asked for: {what} differs"))),
        None => Ok(()),
    }
}

/// How an escrow ends and by whose word, in words.
pub fn outcome(outcome: Outcome, authority: Authority) -> String {
    let ends = match outcome {
        Outcome::Release => "the seller is paid".to_owned(),
        Outcome::Refund => "the buyer is paid back".to_owned(),
        Outcome::Split { buyer, seller } => {
            format!("the buyer gets {} XMR and the seller {} XMR", buyer.xmr(), seller.xmr())
        }
    };
    let word = match authority {
        Authority::Buyer => "the buyer's word",
        Authority::Seller => "the seller's word",
        Authority::Mutual => "agreement of both traders",
        Authority::Ruling => "the arbiter's ruling",
        Authority::Expiry => "the contract's default at expiry",
    };
    format!("{ends}, by {word}")
}

/// A payout in words, before fees: what each address gets.
pub fn payout(contract: &Contract, ends: Outcome, authority: Authority, shares: &[Share]) -> String {
    [outcome(ends, authority)].into_iter().chain(lines(contract, shares)).collect::<Vec<_>>().join("\n")
}

/// The return of what came after the payout, in words.
pub fn returned(contract: &Contract, shares: &[Share]) -> String {
    let what = "what came after the payout goes back to who paid it".to_owned();
    [what].into_iter().chain(lines(contract, shares)).collect::<Vec<_>>().join("\n")
}

fn lines(contract: &Contract, shares: &[Share]) -> Vec<String> {
    let name = |share: &Share| {
        let role = Role::ALL.into_iter().find(|role| contract.party(*role).payout_address == share.address);
        role.map_or_else(|| "platform".to_owned(), |role| role.to_string())
    };
    let lines = shares.iter().map(|share| {
        format!(
            "{:<9} {} XMR, less a part of the costs, to {}",
            name(share),
            share.amount.xmr(),
            share.address
        )
    });
    lines.collect()
}

/// The terms in words, with how far the others' keys are known.
pub fn text(contract: &Contract, role: Role, peers: &[(String, PinCheck)]) -> String {
    let percent = |bps: u16| format!("{}.{:02} %", bps / 100, bps % 100);
    let xmr = |amount: Piconero| format!("{} XMR", amount.xmr());
    let known = |name: &str| match peers.iter().find(|(peer, _)| peer == name) {
        Some((_, PinCheck::Same(_))) => "keys known",
        Some((_, PinCheck::Unknown)) => "keys NOT known",
        Some((_, PinCheck::Changed(_))) => "keys CHANGED",
        None => "you",
    };
    let party = |role: Role| {
        let party = contract.party(role);
        (
            role.to_string(),
            format!("{} ({}), paid at {}", party.username, known(&party.username), party.payout_address),
        )
    };
    let at_expiry = match contract.default_outcome {
        DefaultOutcome::Release => "the seller is paid",
        DefaultOutcome::Refund => "the buyer is paid back",
    };
    let platform = contract.platform_fee.as_ref();
    let platform =
        platform.map_or("none".to_owned(), |fee| format!("{} to {}", percent(fee.bps), fee.address));
    let line = |name: &str, value: String| (name.to_owned(), value);
    let lines = [
        line("you are", role.to_string()),
        line("title", contract.title.clone()),
        line("description", contract.description.clone()),
        party(Role::Buyer),
        party(Role::Seller),
        party(Role::Arbiter),
        line("amount", xmr(contract.amount)),
        line(
            "deposits",
            format!("buyer {}, seller {}", xmr(contract.buyer_deposit), xmr(contract.seller_deposit)),
        ),
        line("at expiry", format!("{at_expiry}, unless somebody disputes before {}", contract.expires_at)),
        line("arbiter fee", format!("{}, after a ruling or at expiry", percent(contract.arbiter_fee_bps))),
        line("platform fee", platform),
        line(
            "payout costs",
            format!(
                "at most {}, and {} left behind",
                xmr(contract.max_network_fee),
                xmr(contract.max_residue)
            ),
        ),
        line("finality", format!("{} confirmations", contract.finality_depth)),
        line(
            "signers",
            format!("each pair has {} seconds before the next one's turn", contract.cosign_seconds),
        ),
    ];
    lines.map(|(name, value)| format!("{name:<13} {value}")).join("\n")
}
