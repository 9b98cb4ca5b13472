//! Whether the outputs that the server names are those to be divided now, by what the own wallet has: else another payment could
//! be paid out like the first, or in its place.

use aegis_common::amount::Piconero;
use aegis_common::escrow::deposits::Slot;
use aegis_common::hash::Key32;
use aegis_common::wire::escrow::{PayoutView, SlotView};

use super::holdings::{Holdings, is_small};
use crate::book::Book;

/// Why a payout is not signed for now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// A person has to decide, or time to pass.
    Asks(String),
    /// The next attempt divides more.
    Anew,
}

/// Why what the server names is not signed for now, if it is not. `deposits` is what the server says has come in.
pub(super) fn hindrance(
    book: &Book,
    deposits: &[SlotView],
    view: &PayoutView,
    holdings: &Holdings,
) -> Option<Hindrance> {
    let contract = &book.contract;
    let (suffices, first) = (holdings.suffice(contract), holdings.came_first(contract));
    // What this wallet builds it chooses itself.
    let exported = if book.role == view.proposer { 0 } else { book.exported(view.attempt) };
    let whole = holdings.is_whole(contract.amount, exported, |_| false);
    if suffices && first && whole {
        return None;
    }
    // More has become final since this attempt began: the next one divides it, once the server knows of it too.
    let is_known = if suffices {
        let outputs = || deposits.iter().flat_map(|slot| &slot.outputs);
        let server_has = |key: &Key32| {
            outputs().any(|known| known.key == *key && known.is_final && known.refused.is_none())
        };
        first && holdings.is_whole(contract.amount, exported, server_has)
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
    if suffices && first && holdings.is_whole_when_ripe(contract.amount, exported) {
        let why = "something was paid that is not final yet: it is to be divided as well";
        return Some(Hindrance::Asks(why.to_owned()));
    }
    let (left, agreed) = (holdings.left(), book.leave_behind);
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

#[cfg(test)]
mod tests {
    use aegis_common::escrow::contract::Contract;
    use aegis_common::escrow::statement::Act;
    use aegis_common::role::Role;
    use aegis_common::testing::{Sim, contract};
    use aegis_common::wire::escrow::EscrowView;

    use super::super::holdings::tests::{holding, seen};
    use super::*;

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
        (book.sync, book.exported) = (Some((payout.attempt, String::new())), Some(2));
        assert_eq!(of(&book, &[], &both(true, &[first])), None);
        book.exported = Some(3);
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
        assert!(matches!(asks, Some(Hindrance::Asks(_))), "{asks:?}");
    }
}
