//! Wallets, transactions and blocks out of thin air: right in every field a watcher reads, without proofs or
//! work.

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;

use crate::address::{Address, AddressKind, Network};
use crate::amount::Piconero;
use crate::chain::{
    Block, Derivation, ParseError, WatchKey, WatchKeyError, canonical_point, commitment, derivation,
    derivation_to_scalar, hash_to_scalar, keccak, mask_amount, parse_block, verify_tx, view_tag,
    write_varint,
};
use crate::chain::{Tx, subaddress};
use crate::hash::{Hash32, Key32};
use crate::ids::EscrowId;

/// A wallet's secret keys.
#[derive(Debug, Clone)]
pub struct TestWallet {
    /// Secret spend key.
    pub spend: Scalar,
    /// Secret view key.
    pub view: Scalar,
}

impl TestWallet {
    /// The wallet of a seed.
    pub fn new(seed: u64) -> Self {
        let key = |label: &[u8]| hash_to_scalar(&[label, &seed.to_le_bytes()]);
        Self { spend: key(b"spend"), view: key(b"view") }
    }

    /// Its primary address on regtest.
    pub fn primary(&self) -> Address {
        let key = |secret| Key32(EdwardsPoint::mul_base(secret).compress().0);
        Address::new(Network::Regtest, AddressKind::Standard, key(&self.spend), key(&self.view))
    }

    /// Subaddress (0, minor) on regtest.
    pub fn subaddress(&self, minor: u32) -> Result<Address, WatchKeyError> {
        subaddress(&self.primary(), self.view.as_bytes(), Network::Regtest, minor)
    }

    /// What the server would watch it with.
    pub fn watch(&self, escrow: EscrowId) -> Result<WatchKey, WatchKeyError> {
        WatchKey::new(escrow, self.view.to_bytes(), &self.primary())
    }
}

/// A transaction to craft.
#[derive(Debug, Clone)]
pub struct TxBuilder {
    seed: u64,
    /// Where it pays, in output order.
    pub payments: Vec<(Address, Piconero)>,
    /// Written as it is.
    pub unlock_time: u64,
    /// One transaction key an output, as for several subaddresses; otherwise one for all.
    pub additional: bool,
    /// With view tags, as since hard fork 15.
    pub view_tags: bool,
    /// Coinbase at the height, with amounts in the open.
    pub coinbase: Option<u64>,
    /// Put in front of the transaction keys in `extra`.
    pub extra_prefix: Vec<u8>,
    /// Put behind them.
    pub extra_suffix: Vec<u8>,
    /// Claim so much more than the commitments hold.
    pub lie: u64,
    /// Make all outputs with the index of the first, so that payments to one address share one key.
    pub burn: bool,
}

/// A crafted transaction.
#[derive(Debug, Clone)]
pub struct Crafted {
    /// As the parser sees it.
    pub tx: Tx,
    /// Its full blob.
    pub blob: Vec<u8>,
    /// Where the part that a pruned blob keeps ends.
    pub pruned_length: usize,
    /// Hash of the rest.
    pub prunable_hash: Hash32,
    /// Secret transaction keys: the main one, then the additional ones.
    pub tx_keys: Vec<[u8; 32]>,
    /// What each output's commitment holds: mask and amount.
    pub openings: Vec<([u8; 32], u64)>,
}

impl TxBuilder {
    /// An ordinary transaction; the seed makes it unique.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            payments: Vec::new(),
            unlock_time: 0,
            additional: false,
            view_tags: true,
            coinbase: None,
            extra_prefix: Vec::new(),
            extra_suffix: Vec::new(),
            lie: 0,
            burn: false,
        }
    }

    /// Adds an output.
    pub fn pay(mut self, to: Address, amount: Piconero) -> Self {
        self.payments.push((to, amount));
        self
    }

    /// A secret transaction key: number 0 is the main one.
    fn secret(&self, number: u64) -> Scalar {
        hash_to_scalar(&[b"tx key", &self.seed.to_le_bytes(), &number.to_le_bytes()])
    }

    /// The public key a sender publishes for a secret: depends on the kind of address paid.
    fn publish(secret: &Scalar, to: Option<&Address>) -> [u8; 32] {
        let point = match to {
            Some(to) if to.kind == AddressKind::Subaddress => {
                canonical_point(&to.spend.0).map(|spend| spend * secret)
            }
            _ => None,
        };
        point.unwrap_or_else(|| EdwardsPoint::mul_base(secret)).compress().0
    }

    fn extra(&self) -> Vec<u8> {
        let mut extra = self.extra_prefix.clone();
        extra.push(1);
        let single = self.payments.first().map(|(to, _)| to).filter(|_| !self.additional);
        extra.extend(Self::publish(&self.secret(0), single));
        if self.additional {
            extra.push(4);
            write_varint(&mut extra, self.payments.len() as u64);
            for (number, (to, _)) in (1..).zip(&self.payments) {
                extra.extend(Self::publish(&self.secret(number), Some(to)));
            }
        }
        extra.extend(&self.extra_suffix);
        extra
    }

    /// The secret shared with the payee of one output, and the output's index inside it.
    fn shared(&self, index: u64, to: &Address) -> (Derivation, u64) {
        let secret = self.secret(if self.additional { index + 1 } else { 0 });
        let view = canonical_point(&to.view.0);
        let shared = view.map(|view| derivation(&view, &secret)).unwrap_or_default();
        (shared, if self.burn { 0 } else { index })
    }

    /// Writes the transaction and reads it back with the parser.
    pub fn build(&self) -> Result<Crafted, ParseError> {
        let mut blob = vec![2];
        write_varint(&mut blob, self.unlock_time);
        blob.push(1);
        match self.coinbase {
            Some(height) => {
                blob.push(0xff);
                write_varint(&mut blob, height);
            }
            None => {
                blob.extend([2, 0, 2, 1, 1]);
                blob.extend(keccak(&[b"image", &self.seed.to_le_bytes()]).0);
            }
        }
        write_varint(&mut blob, self.payments.len() as u64);
        let (mut ecdh, mut commitments, mut openings) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (to, amount)) in (0u64..).zip(&self.payments) {
            let (shared, at) = self.shared(index, to);
            let secret = derivation_to_scalar(&shared, at);
            write_varint(&mut blob, if self.coinbase.is_some() { amount.0 } else { 0 });
            blob.push(if self.view_tags { 3 } else { 2 });
            let spend = canonical_point(&to.spend.0).unwrap_or_default();
            blob.extend((EdwardsPoint::mul_base(&secret) + spend).compress().0);
            if self.view_tags {
                blob.push(view_tag(&shared, at));
            }
            let mask = hash_to_scalar(&[b"commitment_mask", secret.as_bytes()]);
            ecdh.extend(mask_amount(&secret, amount.0.wrapping_add(self.lie).to_le_bytes()));
            commitments.extend(commitment(&mask, amount.0).unwrap_or_default());
            openings.push((mask.to_bytes(), amount.0));
        }
        let extra = self.extra();
        write_varint(&mut blob, extra.len() as u64);
        blob.extend(&extra);
        let base = blob.len();
        let (mut prunable, mut prunable_hash) = (Vec::new(), Hash32([0; 32]));
        if self.coinbase.is_some() {
            blob.push(0);
        } else {
            blob.push(6);
            write_varint(&mut blob, 30_000_000);
            blob.extend(ecdh);
            blob.extend(commitments);
            prunable = b"proofs and signatures".to_vec();
            prunable_hash = keccak(&[&prunable]);
        }
        let pruned_length = blob.len();
        let (prefix, rct) = blob.split_at(base);
        let hash = keccak(&[&keccak(&[prefix]).0, &keccak(&[rct]).0, &prunable_hash.0]);
        blob.extend(prunable);
        let tx = verify_tx(&blob, None, hash)?;
        let count = if self.additional { self.payments.len() as u64 + 1 } else { 1 };
        let tx_keys = (0..count).map(|number| self.secret(number).to_bytes()).collect();
        Ok(Crafted { tx, blob, pruned_length, prunable_hash, tx_keys, openings })
    }
}

/// A block on top of another; the nonce tells competing blocks apart. The coinbase pays nobody known.
pub fn craft_block(
    height: u64,
    prev: Hash32,
    nonce: u32,
    txs: &[Hash32],
) -> Result<(Vec<u8>, Block), ParseError> {
    let mut coinbase = TxBuilder::new(height);
    coinbase.coinbase = Some(height);
    let coinbase = coinbase.pay(TestWallet::new(u64::MAX).primary(), Piconero::XMR).build()?;
    let mut blob = vec![16, 16];
    write_varint(&mut blob, 1_700_000_000 + height);
    blob.extend(prev.0);
    blob.extend(nonce.to_le_bytes());
    blob.extend(&coinbase.blob);
    write_varint(&mut blob, txs.len() as u64);
    for hash in txs {
        blob.extend(hash.0);
    }
    let block = parse_block(&blob)?;
    Ok((blob, block))
}
