//! What every payee was due, and what the chain says it received.
//!
//! Nothing here is taken from the server but two things that are then checked against the chain: which transaction the
//! payout is, and what it returned to the escrow's own address.

use std::fmt::Write;

use aegis_common::address::Address;
use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::deposits::Received;
use aegis_common::escrow::payout::{self, Payee};
use aegis_common::escrow::state::Status;
use aegis_common::ids::EscrowId;
use anyhow::{Context, Result, ensure};

use super::Story;
use crate::world::World;

/// One payee of one story.
#[derive(Debug, Clone)]
pub struct Row {
    /// The story's name.
    pub story: &'static str,
    /// How it ended.
    pub status: Status,
    /// Who, and as what.
    pub payee: String,
    /// What was due.
    pub expected: Piconero,
    /// What the chain says.
    pub received: Piconero,
}

impl Row {
    /// Not one piconero too much or too little.
    pub fn is_exact(&self) -> bool {
        self.expected == self.received
    }
}

/// Compares what the payees received in the payout with the contract's arithmetic.
pub async fn verify(world: &World, story: Story, id: EscrowId) -> Result<Vec<Row>> {
    let deal = story.deal();
    let view = world.person(deal.buyer)?.eyes.escrow(id).await?;
    check_contract(world, story, &view.contract)?;
    ensure!(view.contract.hash()? == view.contract_hash, "the contract's hash is not its own");
    let claimed = view.payout.as_ref().context("there was no payout")?;
    let txid = claimed.seen.context("the payout was not seen on the chain")?.txid;
    let residue = claimed.proposal.as_ref().context("the payout has no proposal")?.residue;
    let on_chain = world.chain.transaction(txid).await?.context("the payout is not on the chain")?;
    ensure!(on_chain.height.is_some(), "the payout is in no block");

    let contract = &view.contract;
    let fee = Piconero(on_chain.fee);
    ensure!(fee <= contract.max_network_fee, "the network fee is above the contract's");
    ensure!(residue <= contract.max_residue, "the residue is above the contract's");
    let paid_in = Received {
        payment: deal.amount,
        buyer_deposit: deal.buyer_deposit,
        seller_deposit: deal.seller_deposit,
    };
    let ending = story.ending();
    let shares = payout::shares(contract, &paid_in, ending.outcome, ending.authority)?;
    let cost = fee.checked_add(residue).context("fee and residue overflow")?;
    let due = payout::net(&shares, cost)?;

    let incoming = world.funds.received().await?;
    let received = |payee: u32| {
        let parts = incoming.iter().filter(|one| one.txid == txid && one.subaddress == payee);
        Piconero::sum(parts.map(|one| one.amount)).context("more than there is")
    };
    let mut rows = Vec::new();
    for (name, address, payee) in payees(world, story)? {
        let expected = due.iter().find(|share| share.address == address);
        let row = Row {
            story: story.name(),
            status: view.status,
            payee: expected.map_or(name.clone(), |share| format!("{name} ({})", part(share.payee))),
            expected: expected.map(|share| share.amount).unwrap_or_default(),
            received: received(payee)?,
        };
        if expected.is_some() || row.received > Piconero::ZERO {
            rows.push(row);
        }
    }
    ensure!(rows.len() >= due.len(), "a payee of the contract is none of this world");
    check_total(&rows, &paid_in, cost)?;
    Ok(rows)
}

/// What went in came out: to the payees, to the miner, and back to the escrow's own address.
fn check_total(rows: &[Row], paid_in: &Received, cost: Piconero) -> Result<()> {
    let out = Piconero::sum(rows.iter().map(|row| row.received)).and_then(|sum| sum.checked_add(cost));
    let parts = [paid_in.payment, paid_in.buyer_deposit, paid_in.seller_deposit];
    ensure!(out == Piconero::sum(parts), "what was paid out and what it cost is not what was paid in");
    Ok(())
}

fn part(payee: Payee) -> &'static str {
    match payee {
        Payee::Buyer => "buyer",
        Payee::Seller => "seller",
        Payee::Arbiter => "arbiter's fee",
        Payee::Platform => "platform's fee",
    }
}

/// Everybody the payout could pay: name, address, number among the payees.
fn payees(world: &World, story: Story) -> Result<Vec<(String, Address, u32)>> {
    let deal = story.deal();
    let mut all = Vec::new();
    for name in [deal.buyer, deal.seller, deal.arbiter] {
        let person = world.person(name)?;
        all.push((name.to_owned(), person.payout, person.payee));
    }
    all.push(("operator".to_owned(), world.platform.0, world.platform.1));
    Ok(all)
}

/// The contract is the story's deal; otherwise its arithmetic proves nothing.
fn check_contract(world: &World, story: Story, contract: &Contract) -> Result<()> {
    let deal = story.deal();
    let amounts = (contract.amount, contract.buyer_deposit, contract.seller_deposit);
    ensure!(
        amounts == (deal.amount, deal.buyer_deposit, deal.seller_deposit)
            && contract.default_outcome == deal.default,
        "the contract is not what was agreed"
    );
    for (party, name) in
        [(&contract.buyer, deal.buyer), (&contract.seller, deal.seller), (&contract.arbiter, deal.arbiter)]
    {
        ensure!(
            party.username == name && party.payout_address == world.person(name)?.payout,
            "the contract names another party or pays another address than {name}'s"
        );
    }
    let platform = contract.platform_fee.as_ref().context("the contract has no platform fee")?;
    ensure!(platform.address == world.platform.0, "the contract pays the platform's fee elsewhere");
    ensure!(platform.bps == 100 && contract.arbiter_fee_bps == 150, "the contract has other fees");
    Ok(())
}

/// The rows for people to read.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<18} {:<20} {:<24} {:>18} {:>18} {:>10}\n",
        "scenario", "status", "payee", "expected XMR", "received XMR", "difference"
    );
    for row in rows {
        let difference = i128::from(row.received.0) - i128::from(row.expected.0);
        let (expected, received) = (row.expected.xmr(), row.received.xmr());
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{:<18} {:<20} {:<24} {expected:>18} {received:>18} {difference:>10}",
            row.story,
            row.status.wire(),
            row.payee
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(expected: u64, received: u64) -> Row {
        Row {
            story: "release",
            status: Status::CompletedReleased,
            payee: "bob".to_owned(),
            expected: Piconero(expected),
            received: Piconero(received),
        }
    }

    #[test]
    fn one_piconero_too_little_is_seen_and_shown() {
        assert!(row(5, 5).is_exact() && !row(5, 4).is_exact());
        assert!(table(&[row(5, 4)]).contains("        -1\n"));
    }

    #[test]
    fn money_that_went_elsewhere_is_noticed() {
        let paid_in = Received { payment: Piconero(10), ..Received::default() };
        assert!(check_total(&[row(7, 7)], &paid_in, Piconero(3)).is_ok());
        assert!(check_total(&[row(7, 7)], &paid_in, Piconero(2)).is_err());
    }
}
