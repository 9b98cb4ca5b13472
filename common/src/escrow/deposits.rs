//! What has been paid to an escrow, output by output.
//!
//! Every on-chain fact can be undone until it is final, so an output is *seen* (in the pool, or in a block that was
//! undone), *confirmed* (in a block) or *final* (in a block at least the contract's depth below the tip).

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::contract::Contract;
use crate::amount::Piconero;
use crate::hash::{Hash32, Key32};
use crate::role::Role;

/// Output keys recorded for one escrow: the [rooms](Slot::room) of all slots together.
pub const MAX_KEYS: usize = 64;

/// Outputs of one key that are recorded: those that would count again, one after the other, as blocks are undone. More than
/// that matter only where each was mined in a block of its own, and most of those blocks are undone.
pub const MAX_COPIES: usize = 8;

/// Outputs recorded for one escrow.
pub const MAX_OUTPUTS: usize = MAX_KEYS * MAX_COPIES;

/// An output by its place.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
pub struct OutputId {
    /// The transaction.
    pub tx: Hash32,
    /// The output's index in it.
    pub index: u32,
}

/// What a payment to one of the escrow's subaddresses is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Slot {
    /// (0,0): the price, from the buyer.
    Payment,
    /// (0,1): the seller's security deposit.
    SellerDeposit,
    /// (0,2): the buyer's security deposit.
    BuyerDeposit,
}

impl Slot {
    /// All slots; the position is the minor subaddress index.
    pub const ALL: [Self; 3] = [Self::Payment, Self::SellerDeposit, Self::BuyerDeposit];

    /// The slot of a minor subaddress index.
    pub fn of_subaddress(minor: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(minor).ok()?).copied()
    }

    /// Output keys recorded in this slot, so that nobody can bloat an escrow by paying to it, nor keep a payment out of one
    /// slot by paying to another. A full slot takes another only by [`Deposits::make_room`].
    pub const fn room(self) -> usize {
        match self {
            Self::Payment => 32,
            Self::SellerDeposit | Self::BuyerDeposit => 16,
        }
    }

    /// Who pays into this slot, and is given back what is not paid to somebody else. Where the contract asks the seller for no
    /// deposit only the buyer owes anything: whatever comes there was paid to the wrong subaddress.
    pub fn payer(self, contract: &Contract) -> Role {
        match self {
            Self::SellerDeposit if contract.seller_deposit > Piconero::ZERO => Role::Seller,
            Self::SellerDeposit | Self::Payment | Self::BuyerDeposit => Role::Buyer,
        }
    }

    /// What the contract asks for in this slot.
    pub fn required(self, contract: &Contract) -> Piconero {
        match self {
            Self::Payment => contract.amount,
            Self::SellerDeposit => contract.seller_deposit,
            Self::BuyerDeposit => contract.buyer_deposit,
        }
    }
}

/// Why an output is reported but not credited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// It has a non-zero unlock time, or is a miner's reward.
    Locked,
    /// It is below the contract's dust limit.
    Dust,
    /// Another output has the same key: only one of them can ever be spent (the "burning bug"). As in Monero's
    /// `src/wallet/wallet2.cpp` the largest counts, so that nobody can displace a payment by a copy of its key.
    DuplicateKey,
}

/// An output paid to the escrow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deposit {
    /// Which output.
    pub output: OutputId,
    /// Its one-time public key.
    pub key: Key32,
    /// What it is for.
    pub slot: Slot,
    /// How much, in piconero.
    pub amount: Piconero,
    /// The block it is in; none while it is in the pool only.
    pub height: Option<u64>,
    /// Whether it is at least the contract's depth below the tip, and was credited when it came there.
    pub is_final: bool,
    /// Why it is not credited, if it is not.
    pub refused: Option<Refusal>,
}

/// A sighting of an output paid to the escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sighting {
    /// Which output.
    pub output: OutputId,
    /// Its one-time public key.
    pub key: Key32,
    /// What it is for.
    pub slot: Slot,
    /// How much: the opened commitment.
    pub amount: Piconero,
    /// Whether it is time-locked or a miner's reward.
    pub locked: bool,
    /// The block it is in; none for the pool.
    pub height: Option<u64>,
}

/// Sums of what is final, by slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// In (0,0).
    pub payment: Piconero,
    /// In (0,1).
    pub seller_deposit: Piconero,
    /// In (0,2).
    pub buyer_deposit: Piconero,
}

/// All outputs of an escrow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposits(Vec<Deposit>);

impl Deposits {
    /// Every output, refused ones too, in order of sighting.
    pub fn all(&self) -> &[Deposit] {
        &self.0
    }

    /// The outputs that count.
    pub fn credited(&self) -> impl Iterator<Item = &Deposit> {
        self.0.iter().filter(|deposit| deposit.refused.is_none())
    }

    /// One output.
    pub fn get(&self, output: OutputId) -> Option<&Deposit> {
        self.0.iter().find(|deposit| deposit.output == output)
    }

    /// Records a sighting. `None` where it changes nothing, or finds no room.
    pub fn sight(&self, seen: &Sighting, dust: Piconero) -> Option<(Self, Deposit)> {
        let mut next = self.clone();
        if let Some(known) = next.0.iter_mut().find(|deposit| deposit.output == seen.output) {
            // The pool says nothing new about an output that has been in a block.
            if seen.height.is_none() || known.height == seen.height {
                return None;
            }
            known.height = seen.height;
            known.is_final = false;
        } else {
            match self.copies(seen.key).count() {
                0 if self.is_full(seen.slot) => return None,
                MAX_COPIES.. => return None,
                _ => {}
            }
            let refused = refusal(seen, dust);
            let Sighting { output, key, slot, amount, height, locked: _ } = *seen;
            next.0.push(Deposit { output, key, slot, amount, height, is_final: false, refused });
        }
        next.count_keys_once();
        let deposit = next.get(seen.output)?.clone();
        Some((next, deposit))
    }

    fn is_full(&self, slot: Slot) -> bool {
        let of_slot = self.0.iter().filter(|deposit| deposit.slot == slot);
        of_slot.map(|deposit| deposit.key).collect::<BTreeSet<_>>().len() >= slot.room()
    }

    /// The outputs of one key.
    fn copies(&self, key: Key32) -> impl Iterator<Item = &Deposit> {
        self.0.iter().filter(move |deposit| deposit.key == key)
    }

    /// Makes room for one more output where it ranks above what goes: what is not spent goes last, then what is credited, then what
    /// is in a block, then the largest.
    ///
    /// Of a known key one of too many copies goes: wallets see every copy, so one that takes an output's place in them must find
    /// room here. Else a key of a full slot goes. What is needed stays ([`Self::is_needed`]), so whoever wants to keep a payment
    /// out must pay more than the payment.
    pub fn make_room(
        &self,
        seen: &Sighting,
        dust: Piconero,
        may_go: impl Fn(&Deposit) -> bool,
        is_spent: impl Fn(Key32) -> bool,
    ) -> Self {
        let mut next = self.clone();
        if self.get(seen.output).is_some() || refusal(seen, dust).is_some() {
            return next;
        }
        let rank = |deposit: &Deposit| {
            let counts = (!is_spent(deposit.key), deposit.refused.is_none());
            (counts, deposit.height.is_some(), deposit.amount)
        };
        let best = |key: Key32| self.copies(key).map(rank).max();
        let own = Some(((true, true), seen.height.is_some(), seen.amount));
        if self.copies(seen.key).next().is_none() {
            if self.is_full(seen.slot) {
                let whole = |deposit: &&Deposit| self.copies(deposit.key).all(&may_go);
                let keys = self.0.iter().filter(|deposit| deposit.slot == seen.slot).filter(whole);
                let least = keys.map(|deposit| deposit.key).min_by_key(|key| best(*key));
                if let Some(least) = least.filter(|key| best(*key) < own) {
                    next.0.retain(|deposit| deposit.key != least);
                }
            }
        } else if best(seen.key) < own {
            while next.copies(seen.key).count() >= MAX_COPIES
                && let Some(least) = next.least_copy(seen)
            {
                next.0.retain(|deposit| deposit.output != least);
            }
        }
        next
    }

    /// The copy that is missed least once this one is seen. Whatever blocks are undone, wallets go back to the largest copy in
    /// those that are left, and to the first of equals; so one that is in no block goes first, then one that another passes
    /// which is no higher in the chain, then the lowest but one. The lowest and what the escrow is funded by stay.
    fn least_copy(&self, seen: &Sighting) -> Option<OutputId> {
        let eligible = |copy: &Deposit| matches!(copy.refused, None | Some(Refusal::DuplicateKey));
        let place = |copy: &Deposit, at: usize| (copy.height, Reverse(copy.amount), at);
        let mined = || {
            let mined = self.copies(seen.key).enumerate();
            mined.filter(|(_, copy)| eligible(copy) && copy.height.is_some())
        };
        let lowest = mined().min_by_key(|(at, copy)| place(copy, *at)).map(|(at, _)| at);
        let is_passed = |at: usize, copy: &Deposit| {
            let mut others = mined().filter(|(other, _)| *other != at);
            seen.height.is_some_and(|height| copy.height.is_none_or(|above| height <= above))
                || !mined().any(|(mined, _)| mined == at)
                || others.any(|(at_other, other)| {
                    place(other, at_other) < place(copy, at) && other.amount >= copy.amount
                })
        };
        let stays = |at: usize, copy: &Deposit| {
            lowest == Some(at) || self.funding().any(|funding| funding.output == copy.output)
        };
        let may_go = self.copies(seen.key).enumerate().filter(|(at, copy)| !stays(*at, copy));
        let least = may_go.min_by_key(|(at, copy)| (!is_passed(*at, copy), copy.height));
        least.map(|(_, copy)| copy.output)
    }

    /// Whether what is final in its slot holds what the contract asks for, and would not without this one; or the same of what
    /// is in blocks.
    pub fn is_needed(&self, deposit: &Deposit, contract: &Contract) -> bool {
        let required = u128::from(deposit.slot.required(contract).0);
        let needs = |some: &mut dyn Iterator<Item = &Deposit>| {
            let (mut all, mut others) = (0u128, 0u128);
            for other in some.filter(|other| other.slot == deposit.slot) {
                all += u128::from(other.amount.0);
                if other.output != deposit.output {
                    others += u128::from(other.amount.0);
                }
            }
            others < required && required <= all
        };
        needs(&mut self.funding()) || needs(&mut self.credited().filter(|other| other.height.is_some()))
    }

    /// What became final: of outputs with one key the largest that did, also while a larger one, which will take its place, is
    /// not final yet. Else whoever made a payment could take back that the escrow is funded, by a copy of one of its keys.
    fn funding(&self) -> impl Iterator<Item = &Deposit> {
        let finals = || self.0.iter().enumerate().filter(|(_, deposit)| deposit.is_final);
        let counts = move |(place, deposit): &(usize, &Deposit)| {
            let rank = |place: usize, deposit: &Deposit| (deposit.amount, Reverse(place));
            !finals()
                .any(|(other, twin)| twin.key == deposit.key && rank(other, twin) > rank(*place, deposit))
        };
        finals().filter(counts).map(|(_, deposit)| deposit)
    }

    /// Sums of what the escrow is funded by, by slot; `None` where they can't be told, as with [`Self::received`].
    pub fn funded(&self) -> Option<Received> {
        Received::of(|| self.funding())
    }

    /// Of outputs with one key the largest counts, but none in the pool before one in a block; of equals the one in the lower
    /// block, as with wallet2, and the first seen.
    fn count_keys_once(&mut self) {
        let eligible = |deposit: &Deposit| matches!(deposit.refused, None | Some(Refusal::DuplicateKey));
        let rank = |deposit: &Deposit| (deposit.height.is_some(), deposit.amount, Reverse(deposit.height));
        let before = self.0.clone();
        for deposit in self.0.iter_mut().filter(|deposit| eligible(deposit)) {
            let same = before.iter().filter(|other| other.key == deposit.key && eligible(other));
            // `max_by_key` takes the last of equals; reversed, the first.
            let counts = same.rev().max_by_key(|other| rank(other)).map(|other| other.output);
            deposit.refused = (counts != Some(deposit.output)).then_some(Refusal::DuplicateKey);
        }
    }

    /// Forgets an output that is in neither pool nor chain any more. Only unconfirmed ones can be lost.
    pub fn lose(&self, output: OutputId) -> Option<(Self, Deposit)> {
        let place = self.0.iter().position(|d| d.output == output && d.height.is_none())?;
        let mut next = self.clone();
        let lost = next.0.remove(place);
        next.count_keys_once();
        Some((next, lost))
    }

    /// These without the outputs of a transaction, and those.
    pub fn without(&self, tx: Hash32) -> (Self, Vec<Deposit>) {
        let (gone, rest): (Vec<_>, Vec<_>) =
            self.0.iter().cloned().partition(|deposit| deposit.output.tx == tx);
        let mut next = Self(rest);
        next.count_keys_once();
        (next, gone)
    }

    /// Undoes all blocks above a height; gives the outputs that were in them. What lies below is final only while it
    /// is deep enough below the new tip.
    pub fn roll_back(&self, to: u64, depth: u32) -> (Self, Vec<Deposit>) {
        let mut next = self.clone();
        let mut undone = Vec::new();
        for deposit in &mut next.0 {
            let Some(height) = deposit.height else { continue };
            deposit.is_final &= to >= final_at(height, depth);
            if height > to {
                deposit.height = None;
                undone.push(deposit.clone());
            }
        }
        next.count_keys_once();
        (next, undone)
    }

    /// Marks as final what is deep enough below the tip; gives what became final.
    pub fn finalize(&self, tip: u64, depth: u32) -> (Self, Vec<Deposit>) {
        let mut next = self.clone();
        let mut done = Vec::new();
        for deposit in next.0.iter_mut().filter(|d| d.refused.is_none() && !d.is_final) {
            if deposit.height.is_some_and(|height| tip >= final_at(height, depth)) {
                deposit.is_final = true;
                done.push(deposit.clone());
            }
        }
        (next, done)
    }

    /// The height at which the next output becomes final.
    pub fn next_final(&self, depth: u32) -> Option<u64> {
        let waiting = self.credited().filter(|deposit| !deposit.is_final);
        waiting.filter_map(|deposit| deposit.height).map(|height| final_at(height, depth)).min()
    }

    /// The one-time keys of what is final.
    pub fn final_keys(&self) -> Vec<Key32> {
        self.credited().filter(|deposit| deposit.is_final).map(|deposit| deposit.key).collect()
    }

    /// What is final, by slot. The contract's bounds and [`MAX_OUTPUTS`] keep the sums far below 2^64 for honest
    /// amounts; `None` where they are not.
    pub fn received(&self) -> Option<Received> {
        Received::of(|| self.credited().filter(|deposit| deposit.is_final))
    }
}

/// Why an output is not credited, by itself.
fn refusal(seen: &Sighting, dust: Piconero) -> Option<Refusal> {
    if seen.locked { Some(Refusal::Locked) } else { (seen.amount < dust).then_some(Refusal::Dust) }
}

impl Received {
    pub(super) fn of<'a, I: Iterator<Item = &'a Deposit>>(some: impl Fn() -> I) -> Option<Self> {
        let sum = |slot| {
            let of_slot = some().filter(move |deposit| deposit.slot == slot);
            Piconero::sum(of_slot.map(|deposit| deposit.amount))
        };
        Some(Self {
            payment: sum(Slot::Payment)?,
            seller_deposit: sum(Slot::SellerDeposit)?,
            buyer_deposit: sum(Slot::BuyerDeposit)?,
        })
    }

    /// What is final in a slot.
    pub fn of_slot(&self, slot: Slot) -> Piconero {
        match slot {
            Slot::Payment => self.payment,
            Slot::SellerDeposit => self.seller_deposit,
            Slot::BuyerDeposit => self.buyer_deposit,
        }
    }

    /// Everything together.
    pub fn total(&self) -> Option<Piconero> {
        Piconero::sum([self.payment, self.seller_deposit, self.buyer_deposit])
    }
}

/// A transaction in block `height` has `tip - height + 1` confirmations; it is final at `depth` of them.
pub fn final_at(height: u64, depth: u32) -> u64 {
    height.saturating_add(u64::from(depth)).saturating_sub(1)
}
