//! What a sender proves with the transaction's secret keys (Monero `wallet2::check_tx_key_helper`).

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;

use super::curve::{canonical_point, derivation, derivation_to_scalar, one_time_key};
use super::extra::TxKeys;
use super::scan::opened;
use super::tx::Tx;
use crate::address::Address;
use crate::amount::Piconero;
use crate::hash::Key32;

/// Outputs that provably pay `to`, with the amounts their commitments hold.
///
/// `tx_keys` are the main secret key and, where the transaction has them, one more for each output, as
/// wallet-RPC concatenates them in `tx_key`. Beyond wallet2, the published key must be the one the secret
/// belongs to: otherwise the recipient's wallet would never see the output. Keys that are no canonical
/// scalars prove nothing.
pub fn prove_payment(tx: &Tx, tx_keys: &[[u8; 32]], to: &Address) -> Vec<(u32, Piconero)> {
    let (Some(spend), Some(view)) = (canonical_point(&to.spend.0), canonical_point(&to.view.0)) else {
        return Vec::new();
    };
    let published = TxKeys::parse(&tx.extra);
    let secrets: Vec<Option<Scalar>> =
        tx_keys.iter().map(|key| Scalar::from_canonical_bytes(*key).into()).collect();
    // To an ordinary address a sender publishes r·G, to a subaddress r·(its spend key).
    let matches = |secret: &Scalar, key: &Key32| {
        [EdwardsPoint::mul_base(secret), spend * secret].iter().any(|point| point.compress().0 == key.0)
    };
    let main = secrets.first().copied().flatten();
    let main = main.filter(|secret| published.main.iter().any(|key| matches(secret, key)));

    let mut paid = Vec::new();
    for (index, output) in (0u32..).zip(&tx.outputs) {
        let own = secrets.get(index as usize + 1).copied().flatten();
        let own = own.filter(|secret| {
            published.additional.get(index as usize).is_some_and(|key| matches(secret, key))
        });
        let amount = main.iter().chain(&own).find_map(|secret| {
            let shared = derivation(&view, secret);
            let secret = derivation_to_scalar(&shared, u64::from(index));
            if one_time_key(&secret, &spend) != output.key {
                return None;
            }
            opened(&secret, &output.amount)
        });
        paid.extend(amount.map(|amount| (index, amount)));
    }
    paid
}
