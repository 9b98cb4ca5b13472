//! Blocks, with their hash computed from the bytes (Monero
//! `src/cryptonote_basic/cryptonote_format_utils.cpp`, `src/crypto/tree-hash.c`).

use super::curve::keccak;
use super::reader::{ParseError, Reader, write_varint};
use super::tx::{Tx, read_coinbase};
use crate::hash::Hash32;

/// A block without the content of its transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Height as the coinbase states it.
    pub height: u64,
    /// Its hash, computed from the bytes: it binds `prev`, the coinbase and every transaction hash.
    pub hash: Hash32,
    /// Hash of the block before.
    pub prev: Hash32,
    /// Unix seconds as the miner claims them.
    pub timestamp: u64,
    /// The coinbase, with its true hash.
    pub miner_tx: Tx,
    /// The other transactions, in order.
    pub tx_hashes: Vec<Hash32>,
}

/// Parses a block blob as `get_block` gives it. Proof of work is not checked.
pub fn parse_block(blob: &[u8]) -> Result<Block, ParseError> {
    let mut reader = Reader::new(blob);
    reader.varint()?; // major version
    reader.varint()?; // minor version
    let timestamp = reader.varint()?;
    let prev = Hash32(reader.array()?);
    reader.take(4)?; // nonce
    let header = blob.get(..blob.len() - reader.rest().len()).unwrap_or_default();
    let (miner_tx, height) = read_coinbase(&mut reader)?;
    let mut leaves = vec![miner_tx.hash];
    for _ in 0..reader.count(32)? {
        leaves.push(Hash32(reader.array()?));
    }
    if !reader.is_empty() {
        return Err(ParseError::Trailing);
    }
    let mut hashing = header.to_vec();
    hashing.extend(tree_hash(&leaves).0);
    write_varint(&mut hashing, leaves.len() as u64);
    let mut length = Vec::new();
    write_varint(&mut length, hashing.len() as u64);
    let hash = keccak(&[&length, &hashing]);
    let tx_hashes = leaves.split_off(1);
    Ok(Block { height, hash, prev, timestamp, miner_tx, tx_hashes })
}

/// Monero's Merkle root: leaves are folded to a power of two first, the left ones untouched. No leaves give
/// zeros.
fn tree_hash(leaves: &[Hash32]) -> Hash32 {
    let pair = |two: &[Hash32]| match two {
        [left, right] => keccak(&[&left.0, &right.0]),
        [one] => *one,
        _ => Hash32([0; 32]),
    };
    if leaves.len() <= 2 {
        return pair(leaves);
    }
    let width = leaves.len().next_power_of_two() / 2;
    let untouched = 2 * width - leaves.len();
    let (left, right) = leaves.split_at(untouched);
    let mut row: Vec<Hash32> = left.iter().copied().chain(right.chunks(2).map(pair)).collect();
    while row.len() > 1 {
        row = row.chunks(2).map(pair).collect();
    }
    row.first().copied().unwrap_or(Hash32([0; 32]))
}
