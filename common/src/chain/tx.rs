//! Transactions: prefix and RingCT base, pruned or full (Monero `src/cryptonote_basic/cryptonote_basic.h`,
//! `src/ringct/rctTypes.h`).

use super::curve::keccak;
use super::reader::{ParseError, Reader};
use crate::amount::Piconero;
use crate::hash::{Hash32, Key32};

/// Longest transaction blob (`CRYPTONOTE_MAX_TX_SIZE`).
const MAX_TX_BYTES: usize = 1_000_000;

/// The amount of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputAmount {
    /// Piconero in the open: coinbase and version 1.
    Clear(u64),
    /// RingCT types 4 to 6 (compact `ecdhInfo`).
    Hidden {
        /// The amount, masked with the shared secret.
        ecdh: [u8; 8],
        /// The Pedersen commitment it must open.
        commitment: [u8; 32],
    },
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxOutput {
    /// One-time public key, not checked to be a point.
    pub key: Key32,
    /// One byte that spares recipients most of the work; absent before hard fork 15.
    pub view_tag: Option<u8>,
    /// What it is worth.
    pub amount: OutputAmount,
}

/// The part of a transaction that matters to a watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tx {
    /// Transaction id. [`parse_tx`] takes it on trust, [`verify_tx`] checks it.
    pub hash: Hash32,
    /// 1 or 2.
    pub version: u8,
    /// Height or Unix seconds before which outputs can't be spent; 0 means none.
    pub unlock_time: u64,
    /// Whether it creates coins, at the height given.
    pub coinbase: bool,
    /// Raw `extra` field.
    pub extra: Vec<u8>,
    /// Outputs in order.
    pub outputs: Vec<TxOutput>,
    /// Fee in the open part; zero for a coinbase, and for version 1, where it is not written down.
    pub fee: Piconero,
    /// Key images of the inputs: what the transaction spends.
    pub key_images: Vec<[u8; 32]>,
}

/// A parsed transaction and where its parts end.
pub(super) struct Parsed<'a> {
    pub tx: Tx,
    /// Height in the coinbase input.
    pub coinbase_height: Option<u64>,
    prefix: &'a [u8],
    base: &'a [u8],
}

impl Parsed<'_> {
    /// The transaction id from its parts (`calculate_transaction_hash`); version 1 hashes the blob as a
    /// whole.
    fn id(&self, prunable: Option<Hash32>, rest: &[u8], blob: &[u8]) -> Hash32 {
        if self.tx.version == 1 {
            return keccak(&[blob]);
        }
        let prunable = match prunable {
            _ if self.tx.coinbase => Hash32([0; 32]),
            Some(hash) if rest.is_empty() => hash,
            _ => keccak(&[rest]),
        };
        keccak(&[&keccak(&[self.prefix]).0, &keccak(&[self.base]).0, &prunable.0])
    }
}

/// Parses a pruned or full transaction blob. The hash is taken on trust.
pub fn parse_tx(blob: &[u8], hash: Hash32) -> Result<Tx, ParseError> {
    let (parsed, rest) = parse(blob)?;
    if parsed.tx.coinbase && !rest.is_empty() {
        return Err(ParseError::Trailing);
    }
    Ok(Tx { hash, ..parsed.tx })
}

/// Parses a transaction blob and proves that it has the hash: a full blob by itself, a pruned one with the
/// hash of the part cut off. Version 1 must be full, its id covers the signatures.
pub fn verify_tx(blob: &[u8], prunable: Option<Hash32>, hash: Hash32) -> Result<Tx, ParseError> {
    let (parsed, rest) = parse(blob)?;
    if parsed.tx.coinbase && !rest.is_empty() {
        return Err(ParseError::Trailing);
    }
    if parsed.id(prunable, rest, blob) != hash {
        return Err(ParseError::HashMismatch);
    }
    Ok(Tx { hash, ..parsed.tx })
}

fn parse(blob: &[u8]) -> Result<(Parsed<'_>, &[u8]), ParseError> {
    if blob.len() > MAX_TX_BYTES {
        return Err(ParseError::TooLong);
    }
    let mut reader = Reader::new(blob);
    let parsed = parse_from(&mut reader)?;
    Ok((parsed, reader.rest()))
}

/// Reads a coinbase from a block blob, with its true hash.
pub(super) fn read_coinbase<'a>(reader: &mut Reader<'a>) -> Result<(Tx, u64), ParseError> {
    let blob = reader.rest();
    let mut parsed = parse_from(reader)?;
    let height = parsed.coinbase_height.ok_or(ParseError::NoCoinbase)?;
    let used = blob.get(..blob.len() - reader.rest().len()).unwrap_or_default();
    parsed.tx.hash = parsed.id(None, &[], used);
    Ok((parsed.tx, height))
}

fn parse_from<'a>(reader: &mut Reader<'a>) -> Result<Parsed<'a>, ParseError> {
    let start = reader.rest();
    let version = match reader.varint()? {
        version @ (1 | 2) => version as u8,
        other => return Err(ParseError::Version(other)),
    };
    let unlock_time = reader.varint()?;

    let mut key_images = Vec::new();
    let mut coinbase_height = None;
    let inputs = reader.count(2)?;
    for _ in 0..inputs {
        match reader.byte()? {
            0xff if inputs == 1 => coinbase_height = Some(reader.varint()?),
            0x02 => {
                reader.varint()?;
                for _ in 0..reader.count(1)? {
                    reader.varint()?;
                }
                key_images.push(reader.array()?);
            }
            other => return Err(ParseError::Input(other)),
        }
    }

    let mut outputs = Vec::new();
    for _ in 0..reader.count(34)? {
        let amount = OutputAmount::Clear(reader.varint()?);
        let tagged = match reader.byte()? {
            0x02 => false,
            0x03 => true,
            other => return Err(ParseError::Output(other)),
        };
        let key = Key32(reader.array()?);
        let view_tag = if tagged { Some(reader.byte()?) } else { None };
        outputs.push(TxOutput { key, view_tag, amount });
    }
    let length = reader.count(1)?;
    let extra = reader.take(length)?.to_vec();
    let prefix = start.get(..start.len() - reader.rest().len()).unwrap_or_default();

    let coinbase = coinbase_height.is_some();
    let base_start = reader.rest();
    let mut fee = Piconero::ZERO;
    if version == 2 {
        fee = read_rct_base(reader, coinbase, &mut outputs)?;
    }
    let base = base_start.get(..base_start.len() - reader.rest().len()).unwrap_or_default();

    let hash = Hash32([0; 32]);
    let tx = Tx { hash, version, unlock_time, coinbase, extra, outputs, fee, key_images };
    Ok(Parsed { tx, coinbase_height, prefix, base })
}

/// `rctSigBase::serialize_rctsig_base`.
fn read_rct_base(
    reader: &mut Reader<'_>,
    coinbase: bool,
    outputs: &mut [TxOutput],
) -> Result<Piconero, ParseError> {
    match (reader.byte()?, coinbase) {
        (0, true) => return Ok(Piconero::ZERO),
        (0, false) | (_, true) => return Err(ParseError::MixedAmounts),
        (kind @ 1..=3, _) => return Err(ParseError::RetiredRct(kind)),
        // Bulletproof2, CLSAG, BulletproofPlus: one base layout.
        (4..=6, _) => {}
        (kind, _) => return Err(ParseError::UnknownRct(kind)),
    }
    let fee = Piconero(reader.varint()?);
    let mut masked = Vec::new();
    for _ in 0..outputs.len() {
        masked.push(reader.array::<8>()?);
    }
    for (output, ecdh) in outputs.iter_mut().zip(masked) {
        if output.amount != OutputAmount::Clear(0) {
            return Err(ParseError::MixedAmounts);
        }
        output.amount = OutputAmount::Hidden { ecdh, commitment: reader.array()? };
    }
    Ok(fee)
}
