//! Payout arithmetic over random contracts, deposits and outcomes.

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::{Contract, PlatformFee, bounds};
use aegis_common::escrow::deposits::Received;
use aegis_common::escrow::outcome::{Authority, Outcome};
use aegis_common::escrow::payout::{Payee, Payments, PayoutError, Share, check, net, shares};
use aegis_common::testing::{address, contract};
use proptest::prelude::*;

use crate::cases;

fn amounts() -> impl Strategy<Value = u64> {
    prop_oneof![
        bounds::MIN_AMOUNT.0..=bounds::MAX_AMOUNT.0,
        bounds::MIN_AMOUNT.0..=2 * bounds::MIN_AMOUNT.0,
        Just(bounds::MAX_AMOUNT.0),
    ]
}

fn authorities() -> impl Strategy<Value = Authority> {
    prop_oneof![
        Just(Authority::Buyer),
        Just(Authority::Seller),
        Just(Authority::Mutual),
        Just(Authority::Ruling),
        Just(Authority::Expiry),
    ]
}

prop_compose! {
    /// A contract, what came, how it ends, and the shares.
    fn settled()(
        amount in amounts(),
        deposits in (0..=bounds::MAX_AMOUNT.0, 0..=bounds::MAX_AMOUNT.0),
        surplus in prop_oneof![Just(0), 0..=bounds::MAX_AMOUNT.0],
        fees in (0..=bounds::FEE_BPS, 0..=bounds::FEE_BPS),
        (same_address, with_platform, asks_seller) in any::<(bool, bool, bool)>(),
        authority in authorities(),
        way in 0..3u8,
        part in any::<u64>(),
    ) -> (Contract, Received, Outcome, Authority) {
        let mut contract = Contract {
            amount: Piconero(amount),
            seller_deposit: Piconero(if asks_seller { deposits.1 } else { 0 }),
            arbiter_fee_bps: fees.0,
            platform_fee: with_platform.then(|| PlatformFee { bps: fees.1, address: address(2_000) }),
            max_network_fee: Piconero(amount / 2),
            max_residue: Piconero(amount / 2),
            ..contract()
        };
        if same_address {
            contract.arbiter.payout_address = contract.seller.payout_address;
        }
        let buyer = 1 + part % (amount - 1);
        let outcome = match way {
            0 => Outcome::Release,
            1 => Outcome::Refund,
            _ => Outcome::Split { buyer: Piconero(buyer), seller: Piconero(amount - buyer) },
        };
        let received = Received {
            payment: Piconero(amount + surplus),
            buyer_deposit: Piconero(deposits.0),
            seller_deposit: Piconero(deposits.1),
        };
        (contract, received, outcome, authority)
    }
}

fn sum(shares: &[Share]) -> u64 {
    shares.iter().map(|share| share.amount.0).sum()
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn nothing_is_lost_nothing_is_made_and_only_addresses_of_the_contract_are_paid(
        (contract, received, outcome, authority) in settled(),
        fee in any::<u64>(),
        residue in 0..=1_000u64,
    ) {
        let shares = shares(&contract, &received, outcome, authority).unwrap();
        prop_assert_eq!(sum(&shares), received.total().unwrap().0);
        let fee = fee % contract.max_network_fee.0;
        let net = net(&shares, Piconero(fee + residue)).unwrap();
        prop_assert_eq!(sum(&net) + fee + residue, received.total().unwrap().0);
        let known = [
            contract.buyer.payout_address,
            contract.seller.payout_address,
            contract.arbiter.payout_address,
            address(2_000),
        ];
        prop_assert!(net.iter().all(|share| known.contains(&share.address) && share.amount > Piconero::ZERO));
    }

    #[test]
    fn a_payout_is_accepted_only_to_the_piconero(
        (contract, received, outcome, authority) in settled(),
        fee in any::<u64>(),
        line in any::<prop::sample::Index>(),
    ) {
        let shares = shares(&contract, &received, outcome, authority).unwrap();
        let fee = Piconero(1 + fee % (contract.max_network_fee.0 - 1));
        let due = net(&shares, fee).unwrap();
        let to: Vec<_> = due.iter().map(|share| (share.address, share.amount)).collect();
        let right = Payments { to, fee };
        prop_assert_eq!(check(&contract, &shares, &right), Ok(Piconero::ZERO));
        let mut wrong = Vec::new();
        let mut change = |edit: &dyn Fn(&mut Payments)| {
            let mut payments = right.clone();
            edit(&mut payments);
            wrong.push(payments);
        };
        let at = line.index(right.to.len());
        change(&|p| p.to[at].1.0 += 1);
        change(&|p| p.to[at].0 = address(77));
        change(&|p| p.to.retain(|line| line.0 != right.to[at].0));
        change(&|p| p.to.push((address(77), Piconero(1))));
        change(&|p| p.fee = contract.max_network_fee.checked_add(Piconero(1)).unwrap());
        change(&|p| p.fee.0 += 1);
        if right.to.len() > 1 {
            let other = (at + 1) % right.to.len();
            if right.to[at].1 != right.to[other].1 {
                change(&|p| {
                    let kept = p.to[at].0;
                    p.to[at].0 = p.to[other].0;
                    p.to[other].0 = kept;
                });
            }
            change(&|p| { p.to[at].1.0 += 1; p.to[other].1.0 -= 1 });
        }
        // One piconero less to a payee is right only where it is that payee's part of a residue of one.
        let mut less = right.clone();
        less.to[at].1.0 -= 1;
        let due = net(&shares, Piconero(fee.0 + 1)).unwrap();
        let exact = due.len() == less.to.len() && due.iter().all(|s| less.to.contains(&(s.address, s.amount)));
        prop_assert_eq!(check(&contract, &shares, &less).ok(), exact.then_some(Piconero(1)));
        for payments in wrong {
            prop_assert!(check(&contract, &shares, &payments).is_err(), "{:?}", payments);
        }
        // One payee's money in two outputs is the same payment.
        let mut parted = right.clone();
        if parted.to[at].1 > Piconero(1) {
            parted.to[at].1.0 -= 1;
            parted.to.push((parted.to[at].0, Piconero(1)));
            prop_assert_eq!(check(&contract, &shares, &parted), Ok(Piconero::ZERO));
        }
    }

    #[test]
    fn fees_are_rounded_down_and_fall_where_they_are_earned(
        (mut contract, received, outcome, authority) in settled(),
    ) {
        contract.arbiter.payout_address = address(1_030);
        let shares = shares(&contract, &received, outcome, authority).unwrap();
        let paid = |payee| shares.iter().filter(|s| s.payee == payee).map(|s| s.amount.0).sum::<u64>();
        let bps = |of: u64, bps: u16| (u128::from(of) * u128::from(bps) / 10_000) as u64;
        let arbiter = if authority.pays_arbiter() { bps(contract.amount.0, contract.arbiter_fee_bps) } else { 0 };
        let (_, to_seller) = outcome.parts(contract.amount).unwrap();
        let platform = contract.platform_fee.as_ref().map_or(0, |fee| bps(to_seller.0, fee.bps));
        prop_assert_eq!(paid(Payee::Arbiter), arbiter);
        prop_assert_eq!(paid(Payee::Platform), platform);
        // Deposits and surplus are never touched by a fee. What came to the seller's subaddress without being asked for is the buyer's.
        let surplus = received.payment.0 - contract.amount.0;
        let (mut to_buyer, mut to_seller) = (received.buyer_deposit.0 + surplus, 0);
        let of_seller = if contract.seller_deposit.0 > 0 { &mut to_seller } else { &mut to_buyer };
        *of_seller += received.seller_deposit.0;
        prop_assert!(paid(Payee::Seller) >= to_seller && paid(Payee::Buyer) >= to_buyer);
    }

    #[test]
    fn what_came_in_part_goes_back_whole_and_can_only_be_refunded(
        (contract, mut received, outcome, authority) in settled(),
        part in any::<u64>(),
    ) {
        received.payment = Piconero(part % contract.amount.0);
        let result = shares(&contract, &received, outcome, authority);
        if outcome == Outcome::Refund {
            let shares = result.unwrap();
            prop_assert_eq!(sum(&shares), received.total().unwrap().0);
            prop_assert!(shares.iter().all(|share| matches!(share.payee, Payee::Buyer | Payee::Seller)));
        } else {
            prop_assert_eq!(result, Err(PayoutError::NotPayable));
        }
    }

    #[test]
    fn a_cost_is_borne_in_proportion_to_a_few_piconero(
        amounts in prop::collection::vec(1..=bounds::MAX_AMOUNT.0, 1..4),
        cost in 0..=bounds::MAX_AMOUNT.0,
    ) {
        let shares: Vec<_> = amounts
            .iter()
            .zip([Payee::Buyer, Payee::Seller, Payee::Arbiter])
            .map(|(amount, payee)| Share { payee, address: address(*amount), amount: Piconero(*amount) })
            .collect();
        let total = sum(&shares);
        match net(&shares, Piconero(cost)) {
            Ok(net) => {
                prop_assert_eq!(sum(&net), total - cost);
                for share in &shares {
                    let kept = net.iter().find(|other| other.payee == share.payee).map_or(0, |s| s.amount.0);
                    let bears = u128::from(share.amount.0) * u128::from(cost) / u128::from(total);
                    prop_assert!((u128::from(share.amount.0 - kept)).abs_diff(bears) <= 3);
                }
            }
            Err(error) => {
                prop_assert_eq!(error, PayoutError::NothingToPay);
                prop_assert!(total <= cost + 3);
            }
        }
    }
}
