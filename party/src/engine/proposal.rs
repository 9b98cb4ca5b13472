//! A transaction, as the own wallet reads it, against the contract: what a signer must know before it signs.

use aegis_common::address::{Address, AddressKind};
use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::payout::{self, Payments, Share};

use super::EngineError;
use crate::book::Fault;
use crate::wallet::{Described, Recipient};

/// Ring size since the hard fork of August 2022; a smaller ring would mark the payout.
const RING_SIZE: u64 = 16;

/// What a transaction is held against.
pub(super) struct Terms<'a> {
    pub contract: &'a Contract,
    /// Who is due what, before costs.
    pub shares: &'a [Share],
    /// What the escrow's final deposits add up to.
    pub total: Piconero,
    /// The escrow's own address.
    pub escrow: Address,
}

/// What a payout costs its payees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    pub fee: Piconero,
    pub residue: Piconero,
}

impl Terms<'_> {
    /// Exact recipients and amounts, fee and residue in band, no more spent than the final deposits, change only to the
    /// escrow itself, nothing locked; and that what the wallet describes is what the recipients' wallets will find.
    ///
    /// Two things a description does not show (Monero `src/wallet/wallet_rpc_server.cpp`, `describe_transfer`; `src/multisig/
    /// multisig_tx_builder_ringct.cpp`). Only where there is change does the wallet insist that the change address is the
    /// escrow's own; without, a payee put in its place gets an output derived with the escrow's view key, which the payee
    /// never finds. So there is always change. And outputs to one pair of keys are shown as one, also where one of them is
    /// marked as paying a subaddress and the other not, which again is not found. Each such pair adds an output and its
    /// transaction key, so the number of keys must be the one that Monero's rule gives for the recipients shown. That
    /// `tx_keys` are the transaction's is for the caller to compare with its own wallet once it has signed.
    pub fn check(&self, described: &[Described], tx_keys: usize) -> Result<Cost, EngineError> {
        let wrong = |why: &str| EngineError::Fault(Fault::Payout(format!("the proposed payout {why}")));
        let [described] = described else { return Err(wrong("is not one transaction")) };
        if described.unlock_time != 0 {
            return Err(wrong("locks the recipients' money"));
        }
        if described.ring_size < RING_SIZE || !described.payment_id.trim_matches('0').is_empty() {
            return Err(wrong("has an unusual ring size or a payment id"));
        }
        if described.change_amount == Piconero::ZERO || described.change_address != Some(self.escrow) {
            return Err(wrong("has no change to the escrow itself"));
        }
        if described.dummy_outputs > 0 || tx_keys != keys_of(&described.recipients) {
            return Err(wrong("has outputs that are not shown"));
        }
        if described.amount_in > self.total {
            return Err(wrong("spends more than the escrow's final deposits"));
        }
        let recipients = described.recipients.iter();
        let to = recipients.map(|recipient| (recipient.address, recipient.amount)).collect();
        let fee = described.fee;
        let residue = payout::check(self.contract, self.shares, &Payments { to, fee })?;
        Ok(Cost { fee, residue })
    }
}

/// How many secret keys a transaction to these recipients, with change, has: its own, and one for each output where a
/// subaddress is paid beside another address (Monero `src/cryptonote_core/cryptonote_tx_utils.cpp`, `classify_addresses`).
fn keys_of(recipients: &[Recipient]) -> usize {
    let subaddresses = recipients.iter().filter(|to| to.address.kind == AddressKind::Subaddress).count();
    let others = usize::from(subaddresses < recipients.len());
    let outputs = recipients.len() + 1;
    if subaddresses > 0 && subaddresses + others > 1 { 1 + outputs } else { 1 }
}

#[cfg(test)]
mod tests {
    use aegis_common::escrow::payout::Payee;
    use aegis_common::testing::{address, contract};

    use super::*;

    const FEE: Piconero = Piconero(50_000_000);

    fn split() -> (Contract, Vec<Share>) {
        let contract = contract();
        let half = Piconero(contract.amount.0 / 2);
        let share = |payee, address| Share { payee, address, amount: half };
        let shares = vec![
            share(Payee::Buyer, contract.buyer.payout_address),
            share(Payee::Seller, contract.seller.payout_address),
        ];
        (contract, shares)
    }

    fn terms<'a>((contract, shares): &'a (Contract, Vec<Share>)) -> Terms<'a> {
        let total = Piconero::sum(shares.iter().map(|share| share.amount)).unwrap();
        Terms { contract, shares, total, escrow: address(900) }
    }

    /// What an honest proposer builds: everything is spent, a residue comes back.
    fn honest(terms: &Terms<'_>, residue: u64) -> Described {
        let cost = Piconero(FEE.0 + residue);
        let due = payout::net(terms.shares, cost).unwrap();
        let to = due.iter().map(|share| Recipient { address: share.address, amount: share.amount });
        Described {
            amount_in: terms.total,
            amount_out: Piconero(terms.total.0 - FEE.0),
            recipients: to.collect(),
            change_amount: Piconero(residue),
            change_address: Some(terms.escrow),
            fee: FEE,
            ring_size: 16,
            unlock_time: 0,
            dummy_outputs: 0,
            payment_id: String::new(),
            extra: String::new(),
        }
    }

    #[test]
    fn an_honest_payout_passes_also_when_a_small_output_was_not_needed() {
        let of = split();
        let terms = terms(&of);
        for residue in [1, terms.contract.max_residue.0] {
            let cost = Cost { fee: FEE, residue: Piconero(residue) };
            assert_eq!(terms.check(&[honest(&terms, residue)], 1).unwrap(), cost);
        }
        // The output stays where it is instead of coming back as change.
        let mut left = honest(&terms, 900);
        left.amount_in.0 -= 899;
        left.change_amount.0 -= 899;
        assert_eq!(terms.check(&[left], 1).unwrap().residue, Piconero(900));
    }

    #[test]
    fn the_number_of_keys_is_moneros() {
        let to = |kind| {
            let mut recipient = Recipient { address: address(5), amount: Piconero(1) };
            recipient.address.kind = kind;
            recipient
        };
        let (plain, sub) = (to(AddressKind::Standard), to(AddressKind::Subaddress));
        for (recipients, keys) in [
            (vec![plain], 1),
            (vec![sub], 1),
            (vec![plain, plain], 1),
            (vec![plain, sub], 4),
            (vec![sub, sub], 4),
            (vec![plain, sub, sub], 5),
        ] {
            assert_eq!(keys_of(&recipients), keys, "{recipients:?}");
        }
    }

    /// Each edit is one thing that a hostile proposer gains by, or that harms a payee.
    #[test]
    fn a_hostile_proposal_is_refused_whatever_it_changes() {
        let of = split();
        let terms = terms(&of);
        let edits: [fn(&mut Described); 18] = [
            |tx| tx.recipients[0].address = address(77),
            |tx| tx.recipients[0].amount.0 += 1,
            |tx| tx.recipients[1].amount.0 -= 1_000,
            |tx| {
                tx.recipients[0].amount.0 += 1;
                tx.recipients[1].amount.0 -= 1;
            },
            |tx| tx.recipients.truncate(1),
            |tx| tx.recipients.clear(),
            |tx| tx.recipients.push(Recipient { address: address(77), amount: Piconero(1) }),
            |tx| tx.recipients.push(Recipient { address: address(77), amount: Piconero(u64::MAX) }),
            |tx| tx.recipients[0].address.kind = AddressKind::Integrated([7; 8]),
            |tx| tx.change_address = Some(address(77)),
            |tx| tx.change_address = None,
            |tx| tx.change_amount = Piconero::ZERO,
            |tx| tx.dummy_outputs = 1,
            |tx| tx.fee.0 += 1_000_000_000_000,
            |tx| tx.unlock_time = 1,
            |tx| tx.ring_size = 11,
            |tx| tx.payment_id = "0123456789abcdef".to_owned(),
            |tx| tx.amount_in.0 += 1,
        ];
        for (number, edit) in edits.iter().enumerate() {
            let mut described = honest(&terms, 1_000);
            edit(&mut described);
            assert!(terms.check(&[described], 1).is_err(), "edit {number}");
        }
        let residue = terms.contract.max_residue.0 + 1;
        assert!(terms.check(&[honest(&terms, residue)], 1).is_err(), "too much is left behind");
        assert!(terms.check(&[], 1).is_err());
        let twice = [honest(&terms, 1), honest(&terms, 1)];
        assert!(terms.check(&twice, 1).is_err(), "two transactions in one set");
        assert!(terms.check(&[honest(&terms, 1)], 4).is_err(), "more outputs than are shown");
    }
}
