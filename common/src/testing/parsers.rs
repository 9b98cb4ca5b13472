//! What must hold for whatever bytes the parsers of the chain are given. The fuzzer's targets and the tests call these.

use std::ops::Not;

use crate::chain::{MAX_TX_KEYS, ParseError, TxKeys, parse_block, parse_tx, verify_tx};
use crate::hash::Hash32;

/// `extra`: bounded, and nothing is found that does not stand there.
///
/// # Panics
/// Where that does not hold; the same is true of the others.
pub fn extra(bytes: &[u8]) {
    let keys = TxKeys::parse(bytes);
    assert!(keys.main.len() <= MAX_TX_KEYS);
    assert!(32 * (keys.main.len() + keys.additional.len()) <= bytes.len());
    for key in keys.main.iter().chain(&keys.additional) {
        assert!(bytes.windows(32).any(|part| part == key.0));
    }
}

/// A transaction: bounded by its bytes, and bound to its hash.
pub fn transaction(bytes: &[u8]) {
    let any = Hash32([7; 32]);
    let Ok(tx) = parse_tx(bytes, any) else {
        return assert!(verify_tx(bytes, None, any).is_err());
    };
    assert!(33 * (tx.outputs.len() + tx.key_images.len()) + tx.extra.len() <= bytes.len());
    assert_eq!(tx.hash, any);
    assert_eq!(verify_tx(bytes, None, any), Err(ParseError::HashMismatch));
    extra(&tx.extra);
}

/// A block: bounded by its bytes, and every byte of it counts for its hash.
pub fn block(bytes: &[u8]) {
    let Ok(block) = parse_block(bytes) else { return };
    assert!(32 * (block.tx_hashes.len() + 1) <= bytes.len());
    assert!(block.miner_tx.coinbase && block.miner_tx.key_images.is_empty());
    for at in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
        let mut other = bytes.to_vec();
        if let Some(byte) = other.get_mut(at) {
            *byte ^= 1;
        }
        assert!(
            parse_block(&other).is_ok_and(|other| other.hash == block.hash).not(),
            "byte {at} is not in the hash"
        );
    }
    extra(&block.miner_tx.extra);
}
