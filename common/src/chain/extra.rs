//! Transaction keys out of `extra`, read as wallet2 reads them (Monero `src/cryptonote_basic/tx_extra.h`,
//! `parse_tx_extra`): fields in order until one is malformed; what came before it counts, what comes after
//! does not.

use super::reader::{ParseError, Reader};
use crate::hash::Key32;

/// Most main transaction keys that are tried: as many as the 1060 bytes of `extra` that nodes relay can hold.
/// Without a bound a miner could make every watcher multiply tens of thousands of points.
pub const MAX_TX_KEYS: usize = 32;

/// Longest nonce field (`TX_EXTRA_NONCE_MAX_COUNT`) and longest padding.
const MAX_FIELD: usize = 255;

/// The keys a sender published, not checked to be points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TxKeys {
    /// Main keys, each tried for every output; equal ones once.
    pub main: Vec<Key32>,
    /// One key an output, from the first such field; only looked at where there is a main key, as in wallet2.
    pub additional: Vec<Key32>,
}

impl TxKeys {
    /// Reads as much of `extra` as is well-formed.
    pub fn parse(extra: &[u8]) -> Self {
        let mut keys = Self::default();
        let mut additional = None;
        let mut reader = Reader::new(extra);
        while !reader.is_empty() {
            match field(&mut reader) {
                Ok(Field::Key(key)) => {
                    if keys.main.len() < MAX_TX_KEYS && !keys.main.contains(&key) {
                        keys.main.push(key);
                    }
                }
                Ok(Field::Additional(list)) => additional = additional.or(Some(list)),
                Ok(Field::Other) => {}
                Err(_) => break,
            }
        }
        if !keys.main.is_empty() {
            keys.additional = additional.unwrap_or_default();
        }
        keys
    }
}

enum Field {
    Key(Key32),
    Additional(Vec<Key32>),
    Other,
}

fn field(reader: &mut Reader<'_>) -> Result<Field, ParseError> {
    match reader.byte()? {
        // Padding: zeros to the very end.
        0x00 => {
            let rest = reader.take(reader.rest().len())?;
            let zeros = rest.len() < MAX_FIELD && rest.iter().all(|byte| *byte == 0);
            zeros.then_some(Field::Other).ok_or(ParseError::TooLong)
        }
        0x01 => Ok(Field::Key(Key32(reader.array()?))),
        0x02 => match reader.count(1)? {
            length if length <= MAX_FIELD => reader.take(length).map(|_| Field::Other),
            _ => Err(ParseError::TooLong),
        },
        // Merge mining: a string that holds a depth and a Merkle root.
        0x03 => {
            let length = reader.count(1)?;
            let mut inner = Reader::new(reader.take(length)?);
            inner.varint()?;
            inner.take(32)?;
            if inner.is_empty() { Ok(Field::Other) } else { Err(ParseError::Trailing) }
        }
        0x04 => {
            let mut list = Vec::new();
            for _ in 0..reader.count(32)? {
                list.push(Key32(reader.array()?));
            }
            Ok(Field::Additional(list))
        }
        // "Mysterious Minergate".
        0xde => {
            let length = reader.count(1)?;
            reader.take(length).map(|_| Field::Other)
        }
        other => Err(ParseError::Output(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Vec<u8> {
        [vec![1], vec![byte; 32]].concat()
    }

    #[test]
    fn what_was_parsed_before_a_malformed_tail_counts() {
        let extra = [key(7), vec![2, 9, 1], vec![0x77, 1, 2]].concat();
        let keys = TxKeys::parse(&extra);
        assert_eq!(keys.main, vec![Key32([7; 32])]);
        // A key behind the malformed field does not.
        let extra = [key(7), vec![0x77], key(8)].concat();
        assert_eq!(TxKeys::parse(&extra).main, vec![Key32([7; 32])]);
    }

    #[test]
    fn several_keys_a_nonce_and_merge_mining_are_read_in_any_order() {
        let merge = [vec![3, 33, 1], vec![9; 32]].concat();
        let additional = [vec![4, 2], vec![5; 32], vec![6; 32]].concat();
        let extra = [merge, key(1), vec![2, 3, 0, 0, 0], additional, key(2), key(1), vec![0, 0, 0]].concat();
        let keys = TxKeys::parse(&extra);
        assert_eq!(keys.main, vec![Key32([1; 32]), Key32([2; 32])]);
        assert_eq!(keys.additional, vec![Key32([5; 32]), Key32([6; 32])]);
    }

    #[test]
    fn additional_keys_without_a_main_key_and_an_endless_list_of_keys_are_bounded() {
        let lonely = [vec![4, 1], vec![5; 32]].concat();
        assert_eq!(TxKeys::parse(&lonely), TxKeys::default());
        let many: Vec<u8> = (0..200).flat_map(key).collect();
        assert_eq!(TxKeys::parse(&many).main.len(), MAX_TX_KEYS);
        let promise = [key(1), vec![4, 0xff, 0xff, 0xff, 0x7f]].concat();
        assert_eq!(TxKeys::parse(&promise).additional, vec![]);
    }
}
