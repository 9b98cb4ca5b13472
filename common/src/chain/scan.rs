//! Finding what pays a watched escrow (Monero `wallet2::process_new_transaction`, `is_out_to_acc_precomp`).

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;

use super::curve::{Derivation, canonical_point, derivation, derivation_to_scalar, open_amount, view_tag};
use super::extra::TxKeys;
use super::tx::{OutputAmount, Tx, TxOutput};
use super::watch::WatchKey;
use crate::amount::Piconero;
use crate::hash::{Hash32, Key32};
use crate::ids::EscrowId;

/// An output that belongs to a watched escrow and holds the amount it claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The escrow.
    pub escrow: EscrowId,
    /// The transaction.
    pub tx: Hash32,
    /// Position among the transaction's outputs.
    pub index: u32,
    /// One-time key. Outputs of several transactions with one key can be spent once only (the burning bug):
    /// the caller keeps the keys and counts each once. Within a transaction a key is found once by itself:
    /// the index is hashed into it, so a copy elsewhere is no match.
    pub key: Key32,
    /// Minor index of the subaddress, 0 to 2.
    pub subaddress: u32,
    /// What the commitment was proven to hold; never zero.
    pub amount: Piconero,
    /// Not spendable after the usual ten blocks: an unlock time, or a coinbase.
    pub locked: bool,
    /// Newly mined coins.
    pub coinbase: bool,
}

/// Looks through transactions for outputs of any of the keys. The order of the result is unspecified.
///
/// A transaction key that is no canonical point is skipped. wallet2 goes on with the identity as derivation
/// there; anybody can compute that, so an output built on it belongs to nobody in particular and no honest
/// sender makes one.
pub trait Scanner: Send + Sync {
    /// Pure computation, in the order of `keys × transaction keys` scalar multiplications.
    fn scan(&self, keys: &[WatchKey], txs: &[Tx]) -> Vec<Found>;
}

/// One scalar multiplication a pair: the reference that faster scanners are tested against.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainScanner;

impl Scanner for PlainScanner {
    fn scan(&self, keys: &[WatchKey], txs: &[Tx]) -> Vec<Found> {
        let mut all = Vec::new();
        for tx in txs {
            let points = Points::of(tx);
            for key in keys {
                scan_one(key, tx, &points, &mut all);
            }
        }
        all
    }
}

/// A transaction's keys, decompressed once for all watched escrows.
struct Points {
    main: Vec<EdwardsPoint>,
    additional: Vec<Option<EdwardsPoint>>,
}

impl Points {
    fn of(tx: &Tx) -> Self {
        let keys = TxKeys::parse(&tx.extra);
        let main = keys.main.iter().filter_map(|key| canonical_point(&key.0)).collect();
        // Further keys than outputs belong to nothing.
        let additional = keys.additional.iter().take(tx.outputs.len());
        Self { main, additional: additional.map(|key| canonical_point(&key.0)).collect() }
    }
}

fn scan_one(key: &WatchKey, tx: &Tx, points: &Points, all: &mut Vec<Found>) {
    let main: Vec<Derivation> =
        points.main.iter().map(|point| derivation(point, key.view_secret())).collect();
    for (index, output) in (0u32..).zip(&tx.outputs) {
        let own = points.additional.get(index as usize).copied().flatten();
        let own = own.map(|point| derivation(&point, key.view_secret()));
        let hit = main.iter().chain(&own).find_map(|shared| receive(key, shared, index, output));
        let Some((subaddress, amount)) = hit else { continue };
        all.push(found(key, tx, index, subaddress, amount));
    }
}

pub(super) fn found(key: &WatchKey, tx: &Tx, index: u32, subaddress: u32, amount: Piconero) -> Found {
    Found {
        escrow: key.escrow(),
        tx: tx.hash,
        index,
        key: tx.outputs[index as usize].key,
        subaddress,
        amount,
        locked: tx.coinbase || tx.unlock_time != 0,
        coinbase: tx.coinbase,
    }
}

/// The subaddress and amount, if the output was made for the key with this derivation.
fn receive(key: &WatchKey, shared: &Derivation, index: u32, output: &TxOutput) -> Option<(u32, Piconero)> {
    if output.view_tag.is_some_and(|tag| tag != view_tag(shared, u64::from(index))) {
        return None;
    }
    let secret = derivation_to_scalar(shared, u64::from(index));
    // Encodings are compared, not points times eight: an output key with torsion leaves a candidate with
    // torsion, and is no match.
    let candidate = canonical_point(&output.key.0)? - EdwardsPoint::mul_base(&secret);
    let candidate = Key32(candidate.compress().0);
    let minor = key.spend_keys().iter().position(|spend| *spend == candidate)?;
    Some((minor as u32, opened(&secret, &output.amount)?))
}

/// The amount an output provably holds, unless that is nothing.
pub(super) fn opened(secret: &Scalar, amount: &OutputAmount) -> Option<Piconero> {
    let amount = match amount {
        OutputAmount::Clear(amount) => *amount,
        OutputAmount::Hidden { ecdh, commitment } => open_amount(secret, *ecdh, commitment)?,
    };
    (amount != 0).then_some(Piconero(amount))
}
