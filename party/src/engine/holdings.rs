//! What the participant's own wallet says of an escrow's money, against which the server's word is held.

use std::collections::BTreeSet;

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::deposits::{Received, Slot, final_at};
use aegis_common::escrow::payout::PayoutError;
use aegis_common::hash::{Hash32, Key32};
use aegis_common::role::Role;
use aegis_common::time::Timestamp;

use super::EngineError;
use super::desk::Held;
use super::run::Engine;
use super::setup::Progress;
use crate::authority::funded_at_expiry;
use crate::book::Fault;
use crate::wallet::{IncomingTransfer, Session, WalletName};

/// One part in so many of what the contract asks for is notable.
const NOTABLE: u128 = 64;

/// What this participant's own wallet holds for an escrow.
pub(super) struct Holdings {
    /// Sums of the outputs that are asked about.
    pub(super) received: Received,
    /// Those outputs, by their numbers on the chain.
    pub(super) counted: BTreeSet<u64>,
    /// Every output that the contract counts, with the times of their blocks.
    pub(super) paid: Vec<(Slot, Piconero, Timestamp)>,
    /// Every output that the wallet has, also what is not final or can't be spent yet.
    pub(super) seen: Vec<Seen>,
}

/// An output that the wallet has.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Its number on the chain.
    index: u64,
    /// Its transaction.
    tx: Hash32,
    pub(super) key: Key32,
    slot: Slot,
    amount: Piconero,
    /// Whether the contract counts it.
    counts: bool,
    /// Whether it will once it is final.
    ripens: bool,
    /// Whether it is asked about.
    named: bool,
}

/// Whether the buyer's part is there.
fn is_funded(contract: &Contract, received: &Received) -> bool {
    received.payment >= contract.amount && received.buyer_deposit >= contract.buyer_deposit
}

/// Whether so much is less than a notable part of a sum.
pub(super) fn is_small(part: u64, of: Piconero) -> bool {
    u128::from(part) * NOTABLE < u128::from(of.0)
}

impl Seen {
    /// Whether it will be final, and is not yet.
    pub(super) fn is_ripening(&self) -> bool {
        self.ripens && !self.counts
    }
}

fn sum<'a>(outputs: impl Iterator<Item = &'a Seen>) -> u128 {
    outputs.map(|output| u128::from(output.amount.0)).sum()
}

impl Holdings {
    /// Whether what is to be divided holds in each slot what the contract asks for, or all there is of it. What is beyond that a
    /// server may leave out, so that nobody can stop a payout by paying the escrow; what is left out stays with the escrow.
    pub(super) fn suffice(&self, contract: &Contract) -> bool {
        self.covered(contract, |slot| self.received.of_slot(slot))
    }

    /// Where something that the contract asks for would be left out, in words.
    pub(super) fn short(&self, contract: &Contract) -> String {
        let short = |slot: &Slot| self.received.of_slot(*slot) < self.own(*slot).min(slot.required(contract));
        let name = |slot: Slot| match slot {
            Slot::Payment => "payment",
            Slot::SellerDeposit => "seller's deposit",
            Slot::BuyerDeposit => "buyer's deposit",
        };
        Slot::ALL.into_iter().filter(short).map(name).collect::<Vec<_>>().join(", ")
    }

    /// What may be said of whether the buyer's part was paid in full at expiry, and whether it came too late by the wallet's
    /// times alone. A copy of an output's key changes those: where all is there, whoever `saw` it final in time believes that,
    /// and for everybody else both answers hold.
    pub(super) fn funded(&self, contract: &Contract, saw: bool) -> (&'static [bool], bool) {
        match funded_at_expiry(contract, &self.paid) {
            [false] if self.covers_the_buyers_part(contract) => match saw {
                true => (&[true], false),
                false => (&[true, false], true),
            },
            said => (said, false),
        }
    }

    /// Whether the own wallet sees the buyer's part, whenever it was paid, and also while a copy that took an output's place is
    /// not final.
    fn covers_the_buyers_part(&self, contract: &Contract) -> bool {
        let there = |slot| {
            let seen = self.seen.iter().filter(|output| output.slot == slot);
            Piconero::sum(seen.map(|output| output.amount)).unwrap_or(Piconero(u64::MAX))
        };
        [Slot::Payment, Slot::BuyerDeposit].into_iter().all(|slot| there(slot) >= slot.required(contract))
    }

    /// Whether the outputs that are asked about are those by which the escrow was funded, in each slot. What came later can't take
    /// their place: they may have been paid out already, and then it would be done twice.
    ///
    /// Of the outputs up to the one with which there was what the contract asks for, those that are named hold that as well. And
    /// what is not named does not hold it where a notable part of it came before: a copy of a key changes the order, but costs more
    /// than what it moves.
    pub(super) fn came_first(&self, contract: &Contract) -> bool {
        Slot::ALL.into_iter().all(|slot| {
            let required = u128::from(slot.required(contract).0);
            let mut of_slot: Vec<&Seen> = self.seen.iter().filter(|output| output.slot == slot).collect();
            of_slot.sort_unstable_by_key(|output| output.index);
            let (mut all, mut named, mut reached) = (0, 0, None);
            for output in of_slot.iter().filter(|output| output.counts) {
                let amount = u128::from(output.amount.0);
                let before = all;
                all += amount;
                if output.named {
                    named += amount;
                    reached = reached.or((named >= required).then_some(output.index));
                }
                // It was all there, and what is named was not.
                if before < required && all >= required && named < required {
                    return false;
                }
            }
            let left = || of_slot.iter().copied().filter(|output| !output.named);
            let is_earlier = |output: &&Seen| reached.is_some_and(|reached| output.index < reached);
            let earlier = sum(left().filter(is_earlier));
            let residue = u128::from(contract.max_residue.0);
            required == 0 || earlier * NOTABLE < required || sum(left()) + residue < required
        })
    }

    /// The outputs that are asked about, with what they hold.
    pub(super) fn named(&self) -> Vec<(Key32, Piconero)> {
        let named = self.seen.iter().filter(|output| output.named && output.counts);
        named.map(|output| (output.key, output.amount)).collect()
    }

    /// Whether two transactions can't both be mined, one that divides what is asked about now and one that divided what was
    /// `signed` for: they have outputs in common that hold more than both may leave with the escrow. Or all of them are in common:
    /// then both together can't pay more than those hold. What was signed for and is not there any more can't be spent either.
    pub(super) fn excludes(&self, signed: &[(Key32, Piconero)], contract: &Contract) -> bool {
        let there = |key: &Key32| self.seen.iter().any(|output| output.key == *key);
        let named = |key: &Key32| self.seen.iter().any(|output| output.key == *key && output.named);
        let common = signed.iter().filter(|(key, _)| named(key)).map(|(_, amount)| u128::from(amount.0));
        common.sum::<u128>() > 2 * u128::from(contract.max_residue.0)
            || signed.iter().filter(|(key, _)| there(key)).all(|(key, _)| named(key))
    }

    /// How much is not named, of the outputs that could be spent in place of those that are.
    ///
    /// A wallet tells of a transaction set how much it spends and not what (Monero `describe_transfer`, before 0.18.4), and keeping
    /// it from spending an output (`freeze`) binds the sets that it builds itself; for others, where it does, by key images that
    /// another signer can make up. So a proposer could spend another output of the same size than the one that is divided, and
    /// have that paid out again. Signing data signs for all that the wallet had, final or not, and for nothing that came later.
    pub(super) fn beside(&self, could: impl Fn(&Seen) -> bool) -> Piconero {
        let beside = sum(self.seen.iter().filter(|seen| !seen.named && could(seen)));
        Piconero(u64::try_from(beside).unwrap_or(u64::MAX))
    }

    /// What must not be forgotten: outputs that count and hold more than a payout may leave, with their transactions.
    fn weighty(&self, contract: &Contract) -> impl Iterator<Item = (Key32, Hash32)> {
        let weighty = self.seen.iter().filter(|seen| seen.counts && seen.amount > contract.max_residue);
        weighty.map(|seen| (seen.key, seen.tx))
    }

    fn own(&self, slot: Slot) -> Piconero {
        let paid = self.paid.iter().filter(|(known, ..)| *known == slot);
        Piconero::sum(paid.map(|(_, amount, _)| *amount)).unwrap_or(Piconero(u64::MAX))
    }

    /// What the own wallet sees, of whatever kind, and the payout does not divide.
    pub(super) fn left(&self) -> Piconero {
        let left = sum(self.seen.iter().filter(|seen| !seen.named));
        Piconero(u64::try_from(left).unwrap_or(u64::MAX))
    }

    /// Whether these sums hold in each slot what the contract asks for, or all that the own wallet sees.
    pub(super) fn covered(&self, contract: &Contract, there: impl Fn(Slot) -> Piconero) -> bool {
        Slot::ALL.into_iter().all(|slot| there(slot) >= self.own(slot).min(slot.required(contract)))
    }
}

impl Engine {
    /// What the own wallet has received and may spend, counted as the contract counts; of `named` outputs only, where they
    /// are named.
    pub(super) async fn holdings(
        &self,
        held: &Held<'_>,
        session: &mut Session<'_>,
        named: Option<&[Key32]>,
    ) -> Result<Holdings, EngineError> {
        self.holdings_below(held, session, named, u64::MAX).await
    }

    /// The same as it was below a height.
    pub(super) async fn holdings_below(
        &self,
        held: &Held<'_>,
        session: &mut Session<'_>,
        named: Option<&[Key32]>,
        height: u64,
    ) -> Result<Holdings, EngineError> {
        session.refresh().await?;
        // The wallet's height is one above the newest block's.
        let tip = session.height().await?.saturating_sub(1);
        let contract = &held.book.contract;
        let counts = |output: &IncomingTransfer| {
            output.unlocked
                && output.amount >= contract.dust_limit
                && tip >= final_at(output.block_height, contract.finality_depth)
        };
        let mut incoming = session.incoming().await?;
        incoming.retain(|output| output.block_height < height);
        let paid_at = session.paid_at().await?;
        let slot_of = |output: &IncomingTransfer| Slot::of_subaddress(output.subaddr_index.minor);
        let is_named = |output: &IncomingTransfer| named.is_none_or(|named| named.contains(&output.pubkey));
        let view = |output: &IncomingTransfer| {
            Some(Seen {
                index: output.global_index,
                tx: output.tx_hash,
                key: output.pubkey,
                slot: slot_of(output)?,
                amount: output.amount,
                // No ordinary payment: a miner's reward, or one that was locked, which the server does not credit either.
                counts: counts(output) && paid_at.contains_key(&output.tx_hash),
                ripens: output.amount >= contract.dust_limit && paid_at.contains_key(&output.tx_hash),
                named: is_named(output),
            })
        };
        let seen = incoming.iter().filter_map(view).collect();
        let (mut received, mut counted, mut paid) = (Received::default(), BTreeSet::new(), Vec::new());
        for output in incoming.iter().filter(|output| counts(output)) {
            let Some(slot) = slot_of(output) else { continue };
            let Some(at) = paid_at.get(&output.tx_hash) else { continue };
            // A time that can't be read is never early enough.
            let at = i64::try_from(*at).ok().and_then(|at| Timestamp::from_second(at).ok());
            paid.push((slot, output.amount, at.unwrap_or(Timestamp::MAX)));
            if !is_named(output) {
                continue;
            }
            let sum = match slot {
                Slot::Payment => &mut received.payment,
                Slot::SellerDeposit => &mut received.seller_deposit,
                Slot::BuyerDeposit => &mut received.buyer_deposit,
            };
            *sum = sum.checked_add(output.amount).ok_or(PayoutError::NotPayable)?;
            counted.insert(output.global_index);
        }
        Ok(Holdings { received, counted, paid, seen })
    }

    /// Whether the wallet has lost sight of money that it saw before and that lies on the chain. Imported signing data can make it
    /// (Monero `wallet2::import_multisig`, which reads the chain anew from an output that was replaced): what came first would then
    /// seem to be what came later.
    pub(super) async fn has_forgotten(
        &self,
        held: &mut Held<'_>,
        holdings: &Holdings,
    ) -> Result<bool, EngineError> {
        let there = |key: &Key32| holdings.seen.iter().any(|seen| seen.key == *key);
        for (key, tx) in held.book.known.iter().filter(|(key, _)| !there(key)) {
            let mined = self.daemon.mined(*tx).await?;
            if mined.is_some_and(|(tx, ..)| tx.outputs.iter().any(|output| output.key == *key)) {
                return Ok(true);
            }
        }
        let before = held.book.known.len();
        held.book.known.extend(holdings.weighty(&held.book.contract));
        if held.book.known.len() > before {
            held.save()?;
        }
        Ok(false)
    }

    /// The own wallet confirms, once and in time, that the escrow is funded. A seller delivers then, or is warned; and whoever
    /// saw it needs not believe later what a copy of an output's key makes of the wallet's times.
    pub(super) async fn step_funding(&self, held: &mut Held<'_>) -> Result<Progress, EngineError> {
        let book = &held.book;
        let in_time = self.clock.now() < book.contract.expires_at;
        if book.funded || !in_time || !held.view.status.is_funded() {
            return Ok(Progress::Nothing);
        }
        let name = WalletName::of(book.contract.escrow_id, book.setup().rounds().attempt());
        let mut session = self.wallet.session(&name).await?;
        let holdings = self.holdings(held, &mut session, None).await?;
        if !is_funded(&held.book.contract, &holdings.received) {
            if held.book.role != Role::Seller {
                return Ok(Progress::Nothing);
            }
            let why = "the server calls the escrow funded, but your own wallet does not see the money: do not deliver";
            return Err(Fault::Payout(why.to_owned()).into());
        }
        held.book.funded = true;
        held.book.known.extend(holdings.weighty(&held.book.contract));
        held.save()?;
        Ok(Progress::Did("your own wallet sees the buyer's payment; it is final".to_owned()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aegis_common::testing::contract;

    use super::*;

    #[test]
    fn the_buyers_part_is_there_when_both_payment_and_deposit_are() {
        let contract = Contract { buyer_deposit: Piconero::XMR, ..contract() };
        let whole = Received {
            payment: contract.amount,
            buyer_deposit: contract.buyer_deposit,
            seller_deposit: Piconero::ZERO,
        };
        assert!(is_funded(&contract, &whole));
        assert!(!is_funded(&contract, &Received { payment: Piconero(contract.amount.0 - 1), ..whole }));
        assert!(!is_funded(&contract, &Received { buyer_deposit: Piconero::ZERO, ..whole }));
    }
    #[test]
    fn what_is_named_must_hold_what_the_contract_asks_for_or_all_there_is() {
        let contract = Contract { buyer_deposit: Piconero::XMR, ..contract() };
        let amount = contract.amount;
        let at = Timestamp::MIN;
        let paid = vec![
            (Slot::Payment, amount, at),
            (Slot::BuyerDeposit, Piconero::XMR, at),
            (Slot::Payment, Piconero(700_000_000), at),
        ];
        let whole = Received { payment: amount, buyer_deposit: Piconero::XMR, ..Received::default() };
        let of = |received, counted: &[u64]| Holdings {
            received,
            counted: counted.iter().copied().collect(),
            paid: paid.clone(),
            seen: paid
                .iter()
                .zip(1..)
                .map(|((slot, amount, _), n)| Seen {
                    slot: *slot,
                    ..output(n, amount.0, counted.contains(&n))
                })
                .collect(),
        };
        assert!(
            of(whole, &[1, 2]).suffice(&contract),
            "a payment that the server does not name stops nobody"
        );
        let without = Received { buyer_deposit: Piconero::ZERO, ..whole };
        assert!(!of(without, &[1]).suffice(&contract), "a deposit is left out");
        assert_eq!(of(without, &[1]).left(), Piconero(Piconero::XMR.0 + 700_000_000));
        assert_eq!(of(whole, &[1, 2]).left(), Piconero(700_000_000));
        assert!(of(without, &[1]).covers_the_buyers_part(&contract), "whatever is named");
        let ripening = Holdings { paid: Vec::new(), ..of(without, &[]) };
        assert!(ripening.covers_the_buyers_part(&contract), "whatever is final");
        let gone = Holdings { seen: vec![output(1, amount.0, true)], ..of(whole, &[1, 2]) };
        assert!(!gone.covers_the_buyers_part(&contract));
        // Mined at the beginning of time, and by a copy of a key at its end.
        assert_eq!(of(whole, &[1, 2]).funded(&contract, false), (&[true][..], false));
        let mut late = of(whole, &[1, 2]);
        late.paid[0].2 = Timestamp::MAX;
        assert_eq!(late.funded(&contract, true), (&[true][..], false), "it was seen final in time");
        assert_eq!(late.funded(&contract, false), (&[true, false][..], true), "the person decides");
        late.seen = vec![output(1, amount.0, true)];
        assert_eq!(late.funded(&contract, true), (&[false][..], false), "it is not all there");
        let less = Received { payment: Piconero(amount.0 - 1), ..whole };
        assert!(!of(less, &[1, 2]).suffice(&contract));
        let many: Vec<u64> = (0..1_000).collect();
        assert!(!of(without, &many).suffice(&contract), "however many outputs are named");
    }

    /// An ordinary payment in a block of its own.
    pub fn seen(index: u64, key: Key32, amount: Piconero, counts: bool, named: bool) -> Seen {
        let (tx, slot) = (Hash32(key.0), Slot::Payment);
        Seen { index, tx, key, slot, amount, counts, ripens: true, named }
    }

    fn output(index: u64, amount: u64, named: bool) -> Seen {
        seen(index, Key32([index as u8; 32]), Piconero(amount), true, named)
    }

    /// A wallet that has these.
    pub fn holding(seen: impl IntoIterator<Item = Seen>) -> Holdings {
        let seen: Vec<Seen> = seen.into_iter().collect();
        let paid = |named: bool| seen.iter().filter(move |seen| seen.counts && (seen.named || !named));
        let sum = Piconero::sum(paid(true).map(|seen| seen.amount)).unwrap();
        Holdings {
            received: Received { payment: sum, ..Received::default() },
            counted: paid(true).map(|seen| seen.index).collect(),
            paid: paid(false).map(|seen| (seen.slot, seen.amount, Timestamp::MIN)).collect(),
            seen: seen.clone(),
        }
    }

    #[test]
    fn what_came_later_does_not_take_the_place_of_what_funded_the_escrow() {
        let contract = contract();
        let price = contract.amount.0;
        let first = |named: &[u64], outputs: &[(u64, u64)]| {
            let seen = outputs.iter().map(|(index, amount)| output(*index, *amount, named.contains(index)));
            holding(seen).came_first(&contract)
        };
        // Paid twice: the first may be paid out already. In whatever order the wallet tells of them.
        let twice = [(9, price), (4, price)];
        assert!(first(&[4], &twice) && first(&[4, 9], &twice));
        assert!(!first(&[9], &twice));
        // In parts, with the last of which it was all there; what came before beside is nobody's business.
        let parts = [(1, 5), (2, price / 2), (3, price - price / 2), (4, price)];
        assert!(first(&[2, 3], &parts));
        assert!(!first(&[2, 4], &parts) && !first(&[4], &parts));
        // Never all there: then all of it must be named, which is another rule.
        assert!(first(&[], &[(1, price - 1)]));
        // A larger copy of the small part of a payment takes that to the end, or out of what counts.
        let (small, copied) = (1_000_000_000, 7);
        let copy = |counts| {
            let moved = Seen { counts, ..output(copied, small + 1, false) };
            holding(vec![output(2, price - small, false), output(3, price, true), moved])
        };
        assert!(!copy(true).came_first(&contract) && !copy(false).came_first(&contract));
    }

    #[test]
    fn of_two_transactions_that_are_signed_for_one_outcome_one_at_most_is_mined() {
        let contract = contract();
        let (price, residue) = (contract.amount.0, contract.max_residue.0);
        let signed = |outputs: &[(u64, u64)]| {
            outputs
                .iter()
                .map(|(index, amount)| (Key32([*index as u8; 32]), Piconero(*amount)))
                .collect::<Vec<_>>()
        };
        let excludes = |named: &[(u64, u64)], left: &[(u64, u64)], before: &[(u64, u64)]| {
            let of = |outputs: &[(u64, u64)], named| {
                outputs.iter().map(|(index, amount)| output(*index, *amount, named)).collect::<Vec<_>>()
            };
            holding([of(named, true), of(left, false)].concat()).excludes(&signed(before), &contract)
        };
        let (paid, again, dust) = ((1, price), (2, price), (3, residue));
        assert!(excludes(&[paid], &[], &[paid]) && excludes(&[paid, again], &[], &[paid]));
        assert!(!excludes(&[again], &[paid], &[paid]));
        // Both may leave the dust with the escrow; and copies of it, which the server does not wait for, hold up nothing.
        assert!(!excludes(&[again, dust], &[paid], &[paid, dust]));
        assert!(excludes(&[paid], &[(3, residue + 1)], &[paid, dust]));
        // The chain took it back.
        assert!(excludes(&[again], &[], &[paid]));
        // However little: the same again.
        assert!(excludes(&[dust], &[], &[dust]));
    }
}
