//! Before anything is signed that gives back what came after the payout: proof that the escrow has paid, and who has to agree.
//!
//! Nobody's word is asked for a return by itself, so it must not be a way to have the contract's money without one. What the server
//! says does not count, nor what a wallet holds for spent: it learns the key images of a multisig wallet's outputs from the other
//! signer. So the payout itself is proven: a transaction that is final on the participant's own node, that pays to the piconero what
//! an outcome asks for that the signed statements authorise, as the keys of a proposal show, and nothing else but a residue to this
//! very escrow; for outputs that were there before it, and the same ever after.
//!
//! That leaves somebody who pays all of this from its own pocket, to whom something is due by the outcome, or who owes the same to
//! the same address for another reason. So beside the proof it takes what the payout took: a policy that would have signed that
//! outcome, the person's consent, or that this participant's own wallet has signed that very transaction.

use std::collections::BTreeSet;

use aegis_common::amount::Piconero;
use aegis_common::chain::{Tx, prove_payment};
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::deposits::Received;
use aegis_common::escrow::outcome::{Authority, Outcome};
use aegis_common::escrow::payout::{self, Payments, Share};
use aegis_common::escrow::statement::Act;
use aegis_common::hash::{Hash32, Key32};
use aegis_common::role::Role;
use aegis_common::time::Timestamp;
use aegis_common::wire::escrow::PayoutView;

use super::EngineError;
use super::desk::Held;
use super::run::Engine;
use super::setup::Progress;
use crate::authority::{Authorised, authorised, funded_at_expiry};
use crate::book::Book;
use crate::policy::Policy;
use crate::wallet::Session;

/// Blocks after which an output can be spent (Monero `CRYPTONOTE_DEFAULT_TX_SPENDABLE_AGE`).
const SPENDABLE_AGE: u64 = 10;

impl Engine {
    /// Why what came late is not given back now, if it is not.
    pub(super) async fn hinders_return(
        &self,
        held: &mut Held<'_>,
        session: &mut Session<'_>,
        returning: &PayoutView,
        shares: &[Share],
    ) -> Result<Option<Progress>, EngineError> {
        let asks = |why: &str| {
            Ok(Some(Progress::Asks(format!("what came after the payout is not given back yet: {why}"))))
        };
        let paid = held.view.payout.as_ref();
        let Some((paid, seen)) = paid.and_then(|paid| Some((paid, paid.seen?))) else {
            return asks("the server names no payout");
        };
        let claimed = (seen.txid, paid.spends.clone());
        if held.book.paid.as_ref().is_some_and(|known| !is_same(known, &claimed)) {
            return asks("the server names another payout than the one that was proven");
        }
        let own =
            held.book.payouts.iter().find(|signed| signed.txid == seen.txid && !signed.spends.is_empty());
        if own.is_some_and(|signed| !is_same(&(signed.txid, signed.spends.clone()), &claimed)) {
            return asks("the server names other outputs than the payout that you signed has spent");
        }
        if claimed.1.iter().any(|key| returning.spends.contains(key)) {
            return asks("the server names outputs that the payout has spent");
        }
        let contract = &held.book.contract;
        let mined = self.daemon.mined(seen.txid).await?;
        let depth = u64::from(contract.finality_depth);
        let Some((tx, height, _)) = mined.filter(|(.., blocks)| *blocks >= depth) else {
            return asks("the payout is not final on your own node");
        };
        let spendable = height.saturating_sub(SPENDABLE_AGE) + 1;
        let holdings = self.holdings_below(held, session, Some(&claimed.1), spendable).await?;
        if holdings.counted.len() != claimed.1.len() {
            return asks("your own wallet does not see what the payout is said to have divided");
        }
        let own = session.incoming().await?.into_iter().filter(|output| output.tx_hash == tx.hash);
        let residues: Vec<Piconero> = own.map(|output| output.amount).collect();
        let (funded, _) = holdings.funded(contract, held.book.funded);
        // All that came counts here, also what is said to have come later: else a payment to oneself before the price is there
        // would be the refund of a part.
        let all = self.holdings(held, session, None).await?;
        let unfunded = !held.book.funded && funded_at_expiry(contract, &all.paid) == [false];
        let claim = Claim { tx: &tx, received: &holdings.received, residues: &residues, funded, unfunded };
        let found = paid_by(&held.book, &claim, self.clock.now());
        if found.is_empty() {
            return asks("what the server calls the payout is not what the signed statements ask for");
        }
        if !has_agreed(&held.book, returning, shares)
            && !found.iter().any(|found| may_follow(&held.book, &self.policy, found, seen.txid))
        {
            let id = held.book.contract.escrow_id;
            return asks(&format!("it waits for your consent: aegis consent {id} --give-back"));
        }
        // From now on no other is believed: a signature rests on it.
        if held.book.paid.is_none() {
            held.book.paid = Some(claimed);
            held.save()?;
        }
        Ok(None)
    }
}

/// Whether two claims name one transaction, and that it divided the same.
fn is_same(one: &(Hash32, Vec<Key32>), other: &(Hash32, Vec<Key32>)) -> bool {
    let set = |keys: &[Key32]| keys.iter().copied().collect::<BTreeSet<_>>();
    one.0 == other.0 && set(&one.1) == set(&other.1)
}

/// Whether the person agreed to just this: what goes back, to whom, how much.
fn has_agreed(book: &Book, returning: &PayoutView, shares: &[Share]) -> bool {
    let agreed = book.give_back.as_ref();
    agreed.is_some_and(|agreed| agreed.spends == returning.spends && agreed.shares == shares)
}

/// What a transaction would be the payout of.
struct Claim<'a> {
    tx: &'a Tx,
    /// What came in, by slot.
    received: &'a Received,
    /// Its outputs to the escrow, as the own wallet finds them.
    residues: &'a [Piconero],
    /// What may be said of whether the price was there in time, by what was there before the transaction.
    funded: &'a [bool],
    /// Whether it surely was not, by all that ever came.
    unfunded: bool,
}

/// The authorised outcomes that a transaction pays to the piconero, by the keys of any proposal, and nothing beside but one residue.
fn paid_by(book: &Book, claim: &Claim<'_>, now: Timestamp) -> Vec<Authorised> {
    let Claim { tx, received, residues, funded, unfunded } = claim;
    let contract = &book.contract;
    let [residue] = residues else { return Vec::new() };
    let stands = funded.iter().filter_map(|funded| authorised(contract, &book.transcript, *funded, now));
    // The refund of a part is one only where the price surely was not there.
    let counts = |found: &Authorised| {
        let in_part = (found.outcome, found.authority) == (Outcome::Refund, Authority::Expiry);
        received.payment >= contract.amount || (in_part && *unfunded && **funded == [false])
    };
    let outcomes: Vec<Authorised> = stands.filter(counts).collect();
    let keys = book.transcript.iter().filter_map(|signed| match &signed.statement.act {
        Act::Propose { tx_keys, .. } => Some(tx_keys.iter().map(|key| key.0).collect::<Vec<_>>()),
        _ => None,
    });
    let payments: Vec<Payments> = keys.map(|keys| proven(contract, tx, &keys)).collect();
    let pays = |payments: &Payments, Authorised { outcome, authority }: &Authorised| {
        let shares = payout::shares(contract, received, *outcome, *authority);
        let left = shares.and_then(|shares| payout::check(contract, &shares, payments));
        // A small output that was not needed is left, and is in no transaction.
        tx.outputs.len() == payments.to.len() + 1 && left.is_ok_and(|left| *residue <= left)
    };
    outcomes.into_iter().filter(|found| payments.iter().any(|payments| pays(payments, found))).collect()
}

/// Whether what came after a payout by this outcome may be given back without asking.
fn may_follow(book: &Book, policy: &Policy, found: &Authorised, txid: Hash32) -> bool {
    let Authorised { outcome, authority } = *found;
    let is_other = book.outcome.is_some_and(|signed| signed != outcome);
    let has_signed = book.payouts.iter().any(|signed| signed.txid == txid);
    !is_other && (has_signed || book.is_covered(policy, outcome, authority))
}

/// What a transaction pays to addresses of the contract, by some keys.
fn proven(contract: &Contract, tx: &Tx, keys: &[[u8; 32]]) -> Payments {
    let parties = Role::ALL.map(|role| contract.party(role).payout_address);
    let mut to = Vec::new();
    for address in parties.into_iter().chain(contract.platform_fee.as_ref().map(|fee| fee.address)) {
        // Who has the same address as another is paid once.
        if to.iter().all(|(known, _)| *known != address) {
            to.extend(prove_payment(tx, keys, &address).into_iter().map(|(_, amount)| (address, amount)));
        }
    }
    Payments { to, fee: tx.fee }
}

/// The contract with the most that a return may cost: a few times what it should. The contract's own bounds were made for the price;
/// they would eat up what is small, and again with each return.
pub(super) fn bounded(contract: &Contract, estimate: Piconero) -> Contract {
    let most = Piconero(estimate.0.saturating_mul(4));
    Contract {
        max_network_fee: contract.max_network_fee.min(most),
        max_residue: contract.max_residue.min(most),
        ..contract.clone()
    }
}

#[cfg(test)]
mod tests {
    use aegis_common::address::Address;
    use aegis_common::escrow::deposits::Slot;
    use aegis_common::testing::chain::TxBuilder;
    use aegis_common::testing::{Sim, address, contract};

    use super::*;
    use crate::policy::{Expiry, Sign};

    /// What crafted transactions pay, and leave with the escrow.
    const FEE: Piconero = Piconero(30_000_000);
    const RESIDUE: Piconero = Piconero(1_000_000);

    /// A funded escrow that somebody ended.
    fn ended(role: Role, act: Act) -> (Sim, Received) {
        let mut sim = Sim::new(contract());
        sim.active();
        sim.say(role, act).unwrap();
        let received = sim.escrow.received().unwrap();
        (sim, received)
    }

    /// What is paid where the residue is left.
    fn due(sim: &Sim) -> Vec<(Address, Piconero)> {
        let shares = sim.escrow.shares().unwrap().unwrap();
        let net = payout::net(&shares, FEE.checked_add(RESIDUE).unwrap()).unwrap();
        net.iter().map(|share| (share.address, share.amount)).collect()
    }

    /// A transaction that pays these, and its keys.
    fn transaction(to: &[(Address, Piconero)]) -> (Tx, Vec<Hash32>) {
        let pay = |builder: TxBuilder, (to, amount): &(Address, Piconero)| builder.pay(*to, *amount);
        let crafted = to.iter().fold(TxBuilder::new(7), pay).pay(address(9_000), RESIDUE).build().unwrap();
        assert_eq!(crafted.tx.fee, FEE);
        (crafted.tx, crafted.tx_keys.iter().map(|key| Hash32(*key)).collect())
    }

    /// A book that knows of a proposal with these keys.
    fn book(mut sim: Sim, keys: Vec<Hash32>) -> Book {
        let (proposer, cosigner) = sim.settling().signers();
        for role in [proposer, cosigner] {
            sim.say(role, sim.sync()).unwrap();
        }
        let mut act = sim.propose(FEE);
        if let Act::Propose { tx_keys, .. } = &mut act {
            *tx_keys = keys;
        }
        sim.say(proposer, act).unwrap();
        let mut book = Book::new(sim.escrow.contract.clone(), sim.escrow.contract_hash, Role::Arbiter);
        let entries: Vec<_> = (1..).zip(sim.transcript.iter().cloned()).collect();
        book.absorb(&entries).unwrap();
        book
    }

    fn counts(book: &Book, tx: &Tx, received: &Received, residues: &[Piconero]) -> bool {
        let claim = Claim { tx, received, residues, funded: &[true], unfunded: false };
        !paid_by(book, &claim, book.contract.expires_at).is_empty()
    }

    #[test]
    fn only_what_the_signed_statements_ask_for_counts_as_the_payout() {
        let (sim, received) = ended(Role::Buyer, Act::Confirm {});
        let right = due(&sim);
        let (tx, keys) = transaction(&right);
        assert!(counts(&book(sim.clone(), keys.clone()), &tx, &received, &[RESIDUE]));
        // Nobody can see what it pays; the words ask for something else; it has nothing to do with this escrow, or too much.
        assert!(!counts(&book(sim.clone(), vec![Hash32([7; 32])]), &tx, &received, &[RESIDUE]));
        assert!(!counts(
            &book(ended(Role::Seller, Act::Refund {}).0, keys.clone()),
            &tx,
            &received,
            &[RESIDUE]
        ));
        for residues in [&[][..], &[RESIDUE, RESIDUE], &[Piconero::XMR]] {
            assert!(!counts(&book(sim.clone(), keys.clone()), &tx, &received, residues), "{residues:?}");
        }
        type Edit = fn(&mut Vec<(Address, Piconero)>);
        let wrong: [Edit; 4] = [
            |to| to[0].1 = Piconero(to[0].1.0 - 1_000_000_000),
            |to| to[0].1 = Piconero(to[0].1.0 / 2),
            |to| to[0].0 = address(77),
            // All is right, and another escrow is to believe it too.
            |to| to.push((address(78), RESIDUE)),
        ];
        for edit in wrong {
            let mut to = right.clone();
            edit(&mut to);
            let (tx, keys) = transaction(&to);
            assert!(!counts(&book(sim.clone(), keys), &tx, &received, &[RESIDUE]), "{to:?}");
        }
    }

    /// A server may name a part of the money as all there was; and nobody has said a word.
    #[test]
    fn the_refund_of_a_part_counts_only_where_the_price_was_surely_not_there() {
        let mut sim = Sim::new(contract());
        sim.ready();
        let part = Piconero(sim.escrow.contract.amount.0 / 2);
        sim.fund(Slot::Payment, part);
        sim.mine(20);
        while sim.escrow.settling().is_none() {
            sim.wake().unwrap();
        }
        let received = sim.escrow.received().unwrap();
        let (tx, keys) = transaction(&due(&sim));
        let book = book(sim, keys);
        let found = |funded, unfunded| {
            let claim = Claim { tx: &tx, received: &received, residues: &[RESIDUE], funded, unfunded };
            paid_by(&book, &claim, book.contract.expires_at)
        };
        assert_eq!(found(&[false], true).len(), 1);
        assert!(found(&[true, false], true).is_empty() && found(&[true], true).is_empty());
        assert!(found(&[false], false).is_empty(), "the price came after this, and in time");
    }

    #[test]
    fn what_follows_a_payout_is_signed_by_who_signed_it_or_would_have() {
        let (sim, _) = ended(Role::Buyer, Act::Confirm {});
        let mut book = book(sim, vec![Hash32([9; 32])]);
        let [released, default] = [Authority::Buyer, Authority::Expiry]
            .map(|authority| Authorised { outcome: Outcome::Release, authority });
        let (txid, signs) = (Hash32([1; 32]), |sign, expiry| Policy { sign, expiry, ..Policy::default() });
        let asks = signs(Sign::Ask, Expiry::Ask);
        assert!(!may_follow(&book, &asks, &released, txid));
        assert!(may_follow(&book, &signs(Sign::Authorised, Expiry::Ask), &released, txid));
        assert!(!may_follow(&book, &signs(Sign::Authorised, Expiry::Ask), &default, txid), "nobody spoke");
        book.payouts.push(crate::book::SignedPayout {
            attempt: 1,
            proposal: Hash32([2; 32]),
            txid,
            txset: String::new(),
            spends: Vec::new(),
        });
        assert!(may_follow(&book, &asks, &released, txid));
        assert!(!may_follow(&book, &asks, &released, Hash32([3; 32])));
        book.outcome = Some(Outcome::Refund);
        assert!(!may_follow(&book, &asks, &released, txid), "another outcome was signed");
    }

    #[test]
    fn a_return_costs_a_few_times_what_it_should_at_most() {
        let contract = contract();
        let narrow = bounded(&contract, FEE);
        assert_eq!(narrow.max_network_fee, Piconero(4 * FEE.0));
        assert_eq!(bounded(&contract, contract.max_network_fee), contract);
    }
}
