//! Payout arithmetic, exact to the piconero.
//!
//! *Shares* divide everything that was received: the amount by the outcome, less the arbiter's and the platform's fee;
//! deposits and surplus back to who paid them; what comes after the payout goes back whole. They add up to what was
//! received. A payout *costs* its network fee and the *residue*, what is left with the escrow (change, or an output too
//! small to be needed); every share bears its part of the cost in proportion.

use serde::{Deserialize, Serialize};

use super::contract::Contract;
use super::deposits::{Received, Slot};
use super::outcome::{Authority, Outcome};
use crate::address::Address;
use crate::amount::Piconero;
use crate::code::Code;
use crate::role::Role;

/// Who is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Payee {
    /// The buyer.
    Buyer,
    /// The seller.
    Seller,
    /// The arbiter, its fee.
    Arbiter,
    /// The operator, its fee.
    Platform,
}

/// One payee's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Share {
    /// Who.
    pub payee: Payee,
    /// Where: an address of the contract.
    pub address: Address,
    /// How much, in piconero.
    pub amount: Piconero,
}

/// What a transaction pays, as a wallet describes it or as its keys prove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payments {
    /// Address and amount of every output but those to the escrow's own address.
    pub to: Vec<(Address, Piconero)>,
    /// Network fee.
    pub fee: Piconero,
}

/// A payout that must not be signed, or can't be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayoutError {
    /// The deposits do not support the outcome, or their sum is beyond 64 bits.
    #[error("the deposits do not support this outcome")]
    NotPayable,
    /// A split does not add up.
    #[error("the parts of a split must be above zero and add up to the amount")]
    BadSplit,
    /// The deposits do not cover the cost.
    #[error("the deposits do not cover the network fee")]
    NothingToPay,
    /// The fee or the residue is above the contract's band.
    #[error("the network fee or the residue is above what the contract allows")]
    FeeOutOfBand,
    /// Recipients or amounts differ.
    #[error("recipients or amounts are not those of the contract and the outcome")]
    WrongPayments,
}

impl PayoutError {
    /// The code shown to clients.
    pub fn code(self) -> Code {
        match self {
            Self::NotPayable => Code::NotPayable,
            Self::BadSplit => Code::BadSplit,
            Self::NothingToPay => Code::NothingToPay,
            Self::FeeOutOfBand => Code::FeeOutOfBand,
            Self::WrongPayments => Code::WrongPayout,
        }
    }
}

/// Divides what was received. Shares of nothing are left out; payees with the same address share a line.
pub fn shares(
    contract: &Contract,
    received: &Received,
    outcome: Outcome,
    authority: Authority,
) -> Result<Vec<Share>, PayoutError> {
    let amount = contract.amount;
    let (to_buyer, to_seller) = outcome.parts(amount).ok_or(PayoutError::BadSplit)?;
    let (mut buyer, mut seller) = securities(contract, received)?;
    let (mut arbiter, mut platform) = (Piconero::ZERO, Piconero::ZERO);
    let add = |to: &mut Piconero, what: Piconero| -> Result<(), PayoutError> {
        *to = to.checked_add(what).ok_or(PayoutError::NotPayable)?;
        Ok(())
    };
    match received.payment.checked_sub(amount) {
        // Never fully paid: it goes back whole, and nobody has earned a fee.
        None if outcome == Outcome::Refund => add(&mut buyer, received.payment)?,
        None => return Err(PayoutError::NotPayable),
        Some(surplus) => {
            if authority.pays_arbiter() {
                arbiter = amount.bps(contract.arbiter_fee_bps);
            }
            // The arbiter's fee falls on both sides in proportion to their parts; the platform's on the seller's.
            let from_seller = arbiter.ratio(to_seller.0, amount.0).ok_or(PayoutError::NotPayable)?;
            let from_buyer = arbiter.checked_sub(from_seller).ok_or(PayoutError::NotPayable)?;
            platform = to_seller.bps(contract.platform_fee.as_ref().map_or(0, |fee| fee.bps));
            let seller_net = to_seller.checked_sub(from_seller).and_then(|left| left.checked_sub(platform));
            add(&mut seller, seller_net.ok_or(PayoutError::NotPayable)?)?;
            add(&mut buyer, to_buyer.checked_sub(from_buyer).ok_or(PayoutError::NotPayable)?)?;
            add(&mut buyer, surplus)?;
        }
    }
    let platform_address = contract.platform_fee.as_ref().map(|fee| fee.address);
    lines([
        (Payee::Buyer, Some(contract.buyer.payout_address), buyer),
        (Payee::Seller, Some(contract.seller.payout_address), seller),
        (Payee::Arbiter, Some(contract.arbiter.payout_address), arbiter),
        (Payee::Platform, platform_address, platform),
    ])
}

/// Divides what came after the payout: it goes back whole to the trader whose part it would have been to pay, and nobody earns by it.
pub fn returned(contract: &Contract, late: &Received) -> Result<Vec<Share>, PayoutError> {
    let (buyer, seller) = securities(contract, late)?;
    let buyer = buyer.checked_add(late.payment).ok_or(PayoutError::NotPayable)?;
    lines([
        (Payee::Buyer, Some(contract.buyer.payout_address), buyer),
        (Payee::Seller, Some(contract.seller.payout_address), seller),
    ])
}

/// What goes back of the security deposits, to the buyer and to the seller. A subaddress for which the contract asks nothing is the
/// wrong one, and what came there the buyer's; see [`Slot::payer`].
fn securities(contract: &Contract, received: &Received) -> Result<(Piconero, Piconero), PayoutError> {
    let Received { payment: _, seller_deposit, buyer_deposit } = *received;
    if Slot::SellerDeposit.payer(contract) == Role::Seller {
        return Ok((buyer_deposit, seller_deposit));
    }
    let both = buyer_deposit.checked_add(seller_deposit);
    Ok((both.ok_or(PayoutError::NotPayable)?, Piconero::ZERO))
}

/// One line for each address that is due something.
fn lines<const N: usize>(due: [(Payee, Option<Address>, Piconero); N]) -> Result<Vec<Share>, PayoutError> {
    let mut lines: Vec<Share> = Vec::with_capacity(N);
    for (payee, address, amount) in due {
        let Some(address) = address.filter(|_| amount > Piconero::ZERO) else { continue };
        match lines.iter_mut().find(|line| line.address == address) {
            Some(line) => {
                line.amount = line.amount.checked_add(amount).ok_or(PayoutError::NotPayable)?;
            }
            None => lines.push(Share { payee, address, amount }),
        }
    }
    Ok(lines)
}

/// What each payee receives when the payout costs `cost`: each share bears `cost * share / total` rounded down, the
/// largest (the first of equals) what rounding leaves. Shares that vanish are left out.
pub fn net(shares: &[Share], cost: Piconero) -> Result<Vec<Share>, PayoutError> {
    let total = Piconero::sum(shares.iter().map(|share| share.amount)).ok_or(PayoutError::NotPayable)?;
    if total <= cost {
        return Err(PayoutError::NothingToPay);
    }
    let mut left = cost;
    let mut paid = shares.to_vec();
    for share in &mut paid {
        let part = share.amount.ratio(cost.0, total.0).ok_or(PayoutError::NotPayable)?;
        share.amount = share.amount.checked_sub(part).ok_or(PayoutError::NotPayable)?;
        left = left.checked_sub(part).ok_or(PayoutError::NotPayable)?;
    }
    // `max_by_key` takes the last of equals; reversed, the first.
    if let Some(largest) = paid.iter_mut().rev().max_by_key(|share| share.amount) {
        largest.amount = largest.amount.checked_sub(left).ok_or(PayoutError::NothingToPay)?;
    }
    paid.retain(|share| share.amount > Piconero::ZERO);
    Ok(paid)
}

/// Checks that a transaction pays exactly the net shares, for a cost inside the contract's band. Gives the residue:
/// what the shares add up to, less what is paid and the fee.
pub fn check(contract: &Contract, shares: &[Share], payments: &Payments) -> Result<Piconero, PayoutError> {
    let total = Piconero::sum(shares.iter().map(|share| share.amount)).ok_or(PayoutError::NotPayable)?;
    let given = Piconero::sum(payments.to.iter().map(|(_, amount)| *amount));
    let given = given.ok_or(PayoutError::WrongPayments)?;
    let cost = total.checked_sub(given).ok_or(PayoutError::WrongPayments)?;
    let residue = cost.checked_sub(payments.fee).ok_or(PayoutError::WrongPayments)?;
    if payments.fee > contract.max_network_fee || residue > contract.max_residue {
        return Err(PayoutError::FeeOutOfBand);
    }
    let due = net(shares, cost)?;
    let mut paid: Vec<(Address, Piconero)> = Vec::new();
    for (address, amount) in &payments.to {
        match paid.iter_mut().find(|(known, _)| known == address) {
            Some((_, sum)) => *sum = sum.checked_add(*amount).ok_or(PayoutError::WrongPayments)?,
            None => paid.push((*address, *amount)),
        }
    }
    let exact =
        paid.len() == due.len() && due.iter().all(|share| paid.contains(&(share.address, share.amount)));
    if exact { Ok(residue) } else { Err(PayoutError::WrongPayments) }
}
