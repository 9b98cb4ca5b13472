//! Whether the outputs that the server names are those to be divided now, by what the own wallet has: else another payment could
//! be paid out like the first, or in its place.

use std::collections::BTreeSet;

use aegis_common::amount::Piconero;
use aegis_common::escrow::deposits::Slot;
use aegis_common::hash::Key32;
use aegis_common::wire::escrow::{OutputView, PayoutView, SlotView};

use super::holdings::{Holdings, Seen, is_small};
use crate::book::Book;

/// Why something is not signed yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// A person has to decide, or time to pass.
    Asks(String),
    /// The next attempt divides more.
    Anew,
    /// So much lies beside what goes back: a person has to decide.
    Beside(Piconero),
}

/// Why what the server names is not signed for yet, if it is not. `deposits` is what the server says has come in.
pub(super) fn hindrance(
    book: &Book,
    deposits: &[SlotView],
    view: &PayoutView,
    holdings: &Holdings,
) -> Option<Hindrance> {
    let contract = &book.contract;
    let (suffices, first) = (holdings.suffice(contract), holdings.came_first(contract));
    let beside = Beside { deposits, holdings, could: |key: &Key32| book.could_spend(view, key) };
    let whole = beside.is_small(contract.amount, |_| false);
    if suffices && first && whole {
        return None;
    }
    // More has become final since this attempt began: the next one divides it, once the server knows of it too.
    let is_known = if suffices {
        first && beside.may_be_divided(contract.amount)
    } else {
        let known = |slot: Slot| {
            let known = deposits.iter().find(|known| known.slot == slot);
            known.map_or(Piconero::ZERO, |known| known.final_amount.piconero)
        };
        holdings.covered(contract, known)
    };
    if is_known && !view.syncs.is_empty() {
        return Some(Hindrance::Anew);
    }
    if suffices && first && beside.ripens(contract.amount, !view.syncs.is_empty()) {
        return Some(Hindrance::Asks(RIPENS.to_owned()));
    }
    let left = if suffices && first { beside.sum(|_| false) } else { holdings.left() };
    let agreed = book.leave_behind;
    // What the person agreed to leave behind for a smaller reason, or before there was so much of it, is not agreed to here.
    let near = is_small(left.0.abs_diff(agreed.0), contract.amount);
    if agreed > Piconero::ZERO && (near || first && whole && left <= agreed) {
        return None;
    }
    let mut why = format!("the payout would not divide {} XMR that your wallet sees", left.xmr());
    if !suffices {
        why += &format!(" ({} is short)", holdings.short(contract));
    }
    if !first {
        why += ", and that came first and funded the escrow: it may be paid out already, and then this pays once more";
    }
    if !whole {
        why += ", and that could be spent in place of what is divided, which is then paid out once more";
    }
    why += &format!(
        ". Ask the server's operator to have the blocks looked through again. Only if you know better: aegis consent {} \
         --leave-behind {}",
        contract.escrow_id,
        left.xmr()
    );
    Some(Hindrance::Asks(why))
}

const RIPENS: &str = "something was paid that is not final yet: it is to be divided as well";

/// The same of a return of so much, where the proven payout and others have `spent` some outputs.
pub(super) fn hindrance_to_return(
    book: &Book,
    deposits: &[SlotView],
    view: &PayoutView,
    holdings: &Holdings,
    (given, spent): (Piconero, &BTreeSet<Key32>),
) -> Option<Hindrance> {
    let could = |key: &Key32| book.could_spend(view, key) && !spent.contains(key);
    let beside = Beside { deposits, holdings, could };
    if beside.is_small(given, |_| false) {
        return None;
    }
    if beside.may_be_divided(given) && !view.syncs.is_empty() {
        return Some(Hindrance::Anew);
    }
    if beside.ripens(given, !view.syncs.is_empty()) {
        return Some(Hindrance::Asks(RIPENS.to_owned()));
    }
    let sum = beside.sum(|_| false);
    let agreed =
        book.give_back.as_ref().filter(|agreed| agreed.spends == view.spends && agreed.shares == view.shares);
    if agreed.is_some_and(|agreed| {
        agreed.beside > Piconero::ZERO && is_small(sum.0.abs_diff(agreed.beside.0), given)
    }) {
        return None;
    }
    Some(Hindrance::Beside(sum))
}

/// What could be spent in place of what the server names.
struct Beside<'a, F> {
    /// What the server says has come in.
    deposits: &'a [SlotView],
    holdings: &'a Holdings,
    could: F,
}

impl<F: Fn(&Key32) -> bool> Beside<'_, F> {
    fn sum(&self, without: impl Fn(&Seen) -> bool) -> Piconero {
        self.holdings.beside(|seen| (self.could)(&seen.key) && !without(seen))
    }

    /// Whether it is too little to replace a notable part of so much.
    fn is_small(&self, of: Piconero, without: impl Fn(&Seen) -> bool) -> bool {
        is_small(self.sum(without).0, of)
    }

    fn is_listed(&self, key: &Key32, is: impl Fn(&OutputView) -> bool) -> bool {
        let mut outputs = self.deposits.iter().flat_map(|slot| &slot.outputs);
        outputs.any(|known| known.key == *key && known.refused.is_none() && is(known))
    }

    /// Whether the next attempt divides so much of it that the rest is small.
    fn may_be_divided(&self, of: Piconero) -> bool {
        self.is_small(of, |seen| self.is_listed(&seen.key, |known| known.is_final))
    }

    /// The same once all is final, also to the server. What is that already is divided by the next attempt, if this one has begun.
    fn ripens(&self, of: Piconero, has_begun: bool) -> bool {
        let will = |known: &OutputView| has_begun || !known.is_final;
        self.is_small(of, |seen| seen.is_ripening() || self.is_listed(&seen.key, will))
    }
}

#[cfg(test)]
mod tests {
    use aegis_common::escrow::contract::Contract;
    use aegis_common::escrow::statement::Act;
    use aegis_common::role::Role;
    use aegis_common::testing::{Sim, contract};
    use aegis_common::wire::escrow::EscrowView;

    use super::super::holdings::tests::{holding, seen};
    use super::*;
    use crate::book::GiveBack;

    /// An escrow that was paid twice, the second time after the buyer's word and before anybody has signed; as the buyer sees it.
    fn paid_twice(synced: bool) -> (Book, EscrowView, [Key32; 2]) {
        let mut sim = Sim::new(Contract { description: String::new(), ..contract() });
        sim.active();
        sim.say(Role::Buyer, Act::Confirm {}).unwrap();
        if synced {
            sim.say(Role::Seller, sim.sync()).unwrap();
        }
        sim.fund(Slot::Payment, sim.escrow.contract.amount);
        sim.mine(20);
        let keys = [0, 1].map(|number: usize| sim.escrow.deposits.all()[number].key);
        let book = Book::new(sim.escrow.contract.clone(), sim.escrow.contract_hash, Role::Buyer);
        (book, EscrowView::of(&sim.escrow, 1, sim.tip), keys)
    }

    #[test]
    fn what_came_meanwhile_is_divided_too_waited_for_or_asked_about() {
        let (mut book, view, [first, second]) = paid_twice(true);
        let price = book.contract.amount;
        let payout = view.payout.clone().unwrap();
        assert_eq!((payout.spends.clone(), payout.cosigner), (vec![first], Role::Buyer));
        let both = |counts, named: &[Key32]| {
            holding(
                [(1, first, true), (2, second, counts)]
                    .map(|(index, key, counts)| seen(index, key, price, counts, named.contains(&key))),
            )
        };
        let of = |book: &Book, deposits: &[SlotView], holdings: &Holdings| {
            hindrance(book, deposits, &payout, holdings)
        };
        assert_eq!(of(&book, &view.deposits, &both(true, &[first, second])), None);
        assert_eq!(of(&book, &view.deposits, &both(true, &[first])), Some(Hindrance::Anew));
        let waits = of(&book, &[], &both(false, &[first]));
        assert!(matches!(&waits, Some(Hindrance::Asks(why)) if why.contains("not final yet")), "{waits:?}");
        // A server that says nothing of it.
        let asks = |answer: Option<Hindrance>, text: &str| {
            assert!(matches!(&answer, Some(Hindrance::Asks(why)) if why.contains(text)), "{answer:?}");
        };
        asks(of(&book, &[], &both(true, &[first])), "could be spent in place of what is divided");
        asks(of(&book, &[], &both(true, &[second])), "came first and funded the escrow");
        // Exported before it came: it can't be signed for.
        (book.sync, book.exported) = (Some((payout.attempt, String::new())), Some(BTreeSet::from([first])));
        assert_eq!(of(&book, &[], &both(true, &[first])), None);
        book.exported = Some(BTreeSet::from([first, second]));
        asks(of(&book, &[], &both(true, &[first])), "could be spent in place of what is divided");
        // The person knows better; and agreed to this sum.
        book.leave_behind = Piconero(price.0 / 2);
        asks(of(&book, &[], &both(true, &[first])), "could be spent in place of what is divided");
        book.leave_behind = price;
        assert_eq!(of(&book, &[], &both(true, &[first])), None);
        book.leave_behind = Piconero::ZERO;
        // Whoever builds the transaction chooses what it spends.
        book.role = payout.proposer;
        assert_eq!(of(&book, &[], &both(true, &[first])), None);
        asks(of(&book, &[], &both(true, &[second])), "came first and funded the escrow");
    }

    #[test]
    fn what_lies_beside_a_return_is_given_back_too_waited_for_or_asked_about() {
        let (mut book, view, [first, second]) = paid_twice(true);
        let price = book.contract.amount;
        // What is checked of a return is only what it spends, and who signs it.
        let returning = view.payout.clone().unwrap();
        let both = |counts| {
            holding(
                [(1, first, true), (2, second, counts)]
                    .map(|(index, key, counts)| seen(index, key, price, counts, key == first)),
            )
        };
        let nothing = BTreeSet::new();
        let of = |book: &Book, deposits: &[SlotView], holdings: &Holdings, spent: &BTreeSet<Key32>| {
            hindrance_to_return(book, deposits, &returning, holdings, (price, spent))
        };
        assert_eq!(of(&book, &[], &both(true), &BTreeSet::from([second])), None, "the payout has spent it");
        assert_eq!(of(&book, &view.deposits, &both(true), &nothing), Some(Hindrance::Anew));
        assert_eq!(of(&book, &[], &both(false), &nothing), Some(Hindrance::Asks(RIPENS.to_owned())));
        assert_eq!(of(&book, &[], &both(true), &nothing), Some(Hindrance::Beside(price)));
        // Consent to what was not told of this does not cover it.
        let (spends, shares) = (returning.spends.clone(), returning.shares.clone());
        book.give_back = Some(GiveBack { spends, shares, beside: Piconero::ZERO });
        assert_eq!(of(&book, &[], &both(true), &nothing), Some(Hindrance::Beside(price)));
        book.give_back = book.give_back.map(|agreed| GiveBack { beside: price, ..agreed });
        assert_eq!(of(&book, &[], &both(true), &nothing), None);
    }

    #[test]
    fn before_anybody_has_signed_the_present_attempt_may_yet_divide_it() {
        let (book, view, [first, second]) = paid_twice(false);
        let payout = view.payout.clone().unwrap();
        assert_eq!(payout.spends, [first, second]);
        let price = book.contract.amount;
        let both = holding(
            [(1, first), (2, second)].map(|(index, key)| seen(index, key, price, true, key == first)),
        );
        // A server that names the first only has nothing to begin anew from.
        let asks = hindrance(&book, &view.deposits, &payout, &both);
        assert!(
            matches!(&asks, Some(Hindrance::Asks(why)) if why.contains("could be spent in place")),
            "{asks:?}"
        );
    }
}
