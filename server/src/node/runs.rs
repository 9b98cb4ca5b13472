//! Many blocks in one call: `get_blocks_by_height.bin`, in epee's binary format. A block takes one round trip
//! instead of two or more, and half the bytes of hexadecimal.

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aegis_common::chain::{parse_block, verify_tx};
use monero_epee::{Epee, EpeeError, HEADER, Type, VERSION};
use tokio::time::Instant;

use super::client::Node;
use super::{FullBlock, NodeError};

/// Blocks that are asked for at once at first, and at most: twenty megabytes on the main network. What is in memory is
/// bounded by the length of a reply in any case.
pub(super) const FIRST_RUN: usize = 4;
const MAX_RUN: usize = 128;
/// A reply that takes less asks for longer ones, and one that takes more for shorter ones: a call must end well before
/// its time is over, over a slow link as well.
const QUICK: Duration = Duration::from_millis(700);
const SLOW: Duration = Duration::from_secs(3);
/// No transaction is shorter: one input of ring size one, one output.
const MIN_TX: usize = 60;

/// One block of a reply, not yet looked at.
#[derive(Default)]
struct Raw<'a> {
    block: &'a [u8],
    txs: Vec<&'a [u8]>,
}

impl Node {
    /// Blocks of a range with every transaction, from the first on: at least one.
    pub async fn blocks(&self, range: RangeInclusive<u64>) -> Result<Vec<FullBlock>, NodeError> {
        let (first, last) = range.into_inner();
        let most = self.run.load(Relaxed);
        let count = usize::try_from(last.saturating_sub(first).saturating_add(1)).unwrap_or(most).min(most);
        let begun = Instant::now();
        let downloaded = self.download(first, count).await;
        let next = match (&downloaded, begun.elapsed()) {
            (Ok(_), took) if took < QUICK && count == most => (most * 2).min(MAX_RUN),
            (Ok(_), took) if took < SLOW => most,
            _ => (count / 2).max(1),
        };
        self.run.store(next, Relaxed);
        match downloaded {
            Ok(blocks) if !blocks.is_empty() => Ok(blocks),
            Err(error @ (NodeError::Lie(_) | NodeError::Parse(_))) => Err(error),
            // A pruned node, a proxy that lets only JSON through, a block longer than a reply, a chain that is shorter
            // now: what the node says then is what counts.
            _ => Ok(vec![self.block(first).await?]),
        }
    }

    async fn download(&self, first: u64, count: usize) -> Result<Vec<FullBlock>, NodeError> {
        let reply = self.http.post("/get_blocks_by_height.bin", request(first, count)).await?;
        // Milliseconds of hashing: not on the threads that serve requests.
        let check = tokio::task::spawn_blocking(move || check(&reply, first, count));
        check.await.map_err(|error| NodeError::Malformed(error.to_string()))?
    }
}

/// `{"heights": [first, first + 1, ..]}`; lengths are `n << 2` with the width of the number in the low bits.
fn request(first: u64, count: usize) -> Vec<u8> {
    const HEIGHTS: &[u8] = b"\x07heights";
    /// Bit of a type that makes it an array.
    const ARRAY: u8 = 0x80;
    /// Numbers of four bytes.
    const FOUR: u32 = 2;
    let length = (u32::try_from(count).unwrap_or(u32::MAX >> 2) << 2 | FOUR).to_le_bytes();
    let mut bytes =
        [&HEADER[..], &[VERSION, 1 << 2], HEIGHTS, &[Type::Uint64 as u8 | ARRAY], &length].concat();
    bytes.extend((first..).take(count).flat_map(u64::to_le_bytes));
    bytes
}

/// Blocks out of a reply, every hash computed again; those from the first on that can't be read, or lacks transactions, are
/// left out, unless it is the first of all.
fn check(reply: &[u8], first: u64, count: usize) -> Result<Vec<FullBlock>, NodeError> {
    let malformed = |error: EpeeError| NodeError::Malformed(format!("{error:?}"));
    let mut blocks: Vec<FullBlock> = Vec::new();
    for (height, raw) in (first..).zip(read(reply, count).map_err(malformed)?) {
        match block(height, &raw) {
            Ok(Some(block)) => {
                if blocks.last().is_some_and(|below| below.hash != block.prev) {
                    return Err(NodeError::Lie(format!("block {height} does not link to the one below")));
                }
                blocks.push(block);
            }
            Err(error) if blocks.is_empty() => return Err(error),
            Ok(None) | Err(_) => break,
        }
    }
    Ok(blocks)
}

/// One block; none where transactions are missing.
fn block(height: u64, raw: &Raw<'_>) -> Result<Option<FullBlock>, NodeError> {
    let block = parse_block(raw.block)?;
    if block.height != height {
        return Err(NodeError::Lie(format!("block {} was given for {height}", block.height)));
    }
    if block.tx_hashes.len() != raw.txs.len() {
        return Ok(None);
    }
    let mut txs = vec![block.miner_tx];
    for (blob, hash) in raw.txs.iter().zip(&block.tx_hashes) {
        txs.push(verify_tx(blob, None, *hash)?);
    }
    Ok(Some(FullBlock { height, hash: block.hash, prev: block.prev, txs }))
}

/// The reply's `blocks`, at most so many; none where its `status` is not OK.
fn read(reply: &[u8], count: usize) -> Result<Vec<Raw<'_>>, EpeeError> {
    let (mut blocks, mut is_ok) = (Vec::new(), false);
    let mut room = reply.len() / MIN_TX;
    let mut epee = Epee::new(reply)?;
    let mut fields = epee.entry()?.fields()?;
    while let Some(field) = fields.next() {
        let (name, value) = field?;
        match name.consume() {
            b"status" => is_ok = value.to_str()?.consume() == b"OK",
            b"blocks" => {
                let mut items = value.iterate()?;
                while let Some(item) = items.next() {
                    if blocks.len() == count {
                        return Err(EpeeError::TypeError);
                    }
                    let mut raw = Raw::default();
                    let mut parts = item?.fields()?;
                    while let Some(part) = parts.next() {
                        let (name, value) = part?;
                        match name.consume() {
                            b"block" => raw.block = value.to_str()?.consume(),
                            // Of pruned blocks they are objects, and left out.
                            b"txs" if value.kind() == Type::String => {
                                room = room.checked_sub(value.len()).ok_or(EpeeError::TypeError)?;
                                let mut blobs = value.iterate()?;
                                while let Some(blob) = blobs.next() {
                                    raw.txs.push(blob?.to_str()?.consume());
                                }
                            }
                            _ => {}
                        }
                    }
                    blocks.push(raw);
                }
            }
            _ => {}
        }
    }
    Ok(if is_ok { blocks } else { Vec::new() })
}

#[cfg(test)]
mod tests {
    use aegis_common::amount::Piconero;
    use aegis_common::hash::Hash32;
    use aegis_common::testing::chain::{TestWallet, TxBuilder, craft_block};
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8]) -> Vec<u8> {
        [&((bytes.len() as u32) << 2 | 2).to_le_bytes(), bytes].concat()
    }

    fn field(name: &[u8], kind: u8, value: Vec<u8>) -> Vec<u8> {
        [&[name.len() as u8], name, &[kind], &value].concat()
    }

    /// A reply as monerod writes it: two transactions in each block.
    fn reply(first: u64, count: u64, status: &[u8]) -> Vec<u8> {
        let mut prev = Hash32([3; 32]);
        let mut blocks = vec![(count as u8) << 2];
        for height in first..first + count {
            let pay =
                |seed| TxBuilder::new(seed).pay(TestWallet::new(1).primary(), Piconero(5)).build().unwrap();
            let txs = [pay(2 * height), pay(2 * height + 1)];
            let (blob, block) = craft_block(height, prev, 0, &txs.each_ref().map(|tx| tx.tx.hash)).unwrap();
            prev = block.hash;
            blocks.push(2 << 2);
            blocks.extend(field(b"block", 10, text(&blob)));
            let blobs = txs.iter().flat_map(|tx| text(&tx.blob));
            blocks.extend(field(b"txs", 0x8a, [2 << 2].into_iter().chain(blobs).collect()));
        }
        let fields = [
            field(b"blocks", 0x8c, blocks),
            field(b"credits", 5, vec![0; 8]),
            field(b"status", 10, text(status)),
            field(b"untrusted", 11, vec![0]),
        ];
        [&HEADER[..], &[VERSION, 4 << 2], &fields.concat()].concat()
    }

    #[test]
    fn blocks_are_read_with_their_transactions_and_nothing_without_an_ok() {
        let blocks = check(&reply(5, 3, b"OK"), 5, 3).unwrap();
        assert_eq!(
            blocks.iter().map(|block| (block.height, block.txs.len())).collect::<Vec<_>>(),
            [(5, 3), (6, 3), (7, 3)]
        );
        assert!(blocks[1].prev == blocks[0].hash && blocks[2].prev == blocks[1].hash);
        assert_eq!(check(&reply(5, 3, b"BUSY"), 5, 3), Ok(Vec::new()));
        assert!(matches!(check(&reply(5, 3, b"OK"), 6, 3), Err(NodeError::Lie(_))));
        // More than was asked for, and what is no reply.
        assert!(matches!(check(&reply(5, 3, b"OK"), 5, 2), Err(NodeError::Malformed(_))));
        assert!(matches!(check(b"{\"status\": \"OK\"}", 5, 3), Err(NodeError::Malformed(_))));
    }

    #[test]
    fn a_block_that_lacks_transactions_or_has_others_ends_the_run_and_as_the_first_is_refused() {
        let whole = reply(5, 3, b"OK");
        let name = whole.windows(4).rposition(|part| part == b"\x03txs").unwrap();
        let mut renamed = whole.clone();
        renamed[name + 1] = b'x';
        assert_eq!(check(&renamed, 5, 3).unwrap().len(), 2);
        let mut damaged = whole;
        damaged[name + 60] ^= 1;
        assert_eq!(check(&damaged, 5, 3).unwrap().len(), 2);
        let mut first = reply(5, 1, b"OK");
        let name = first.windows(4).rposition(|part| part == b"\x03txs").unwrap();
        first[name + 60] ^= 1;
        assert!(matches!(check(&first, 5, 1), Err(NodeError::Parse(_))));
    }

    #[test]
    fn a_promise_of_more_than_there_is_takes_no_memory() {
        let huge = (u64::MAX >> 3) << 2 | 3;
        for kind in [0x8c, 0x8a] {
            let promise = field(b"blocks", kind, huge.to_le_bytes().to_vec());
            let reply = [&HEADER[..], &[VERSION, 1 << 2], &promise].concat();
            assert!(check(&reply, 5, 3).is_err());
        }
        // Empty strings take a byte each: more of them than there can be transactions.
        const MANY: usize = 1 << 16;
        let many = [&((MANY as u32) << 2 | 2).to_le_bytes()[..], &[0; MANY]].concat();
        let block = [&[1 << 2, 1 << 2][..], &field(b"txs", 0x8a, many)].concat();
        let reply = [&HEADER[..], &[VERSION, 1 << 2], &field(b"blocks", 0x8c, block)].concat();
        assert!(matches!(check(&reply, 5, 3), Err(NodeError::Malformed(_))));
    }

    proptest! {
        /// Whatever a node says, what comes out is bound to hashes.
        #[test]
        fn damaged_replies_never_panic_and_never_change_a_block(
            at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<bool>(),
        ) {
            let whole = reply(5, 3, b"OK");
            let mut damaged = whole.clone();
            let at = at.index(damaged.len());
            if cut { damaged.truncate(at) } else { damaged[at] ^= flip }
            let right = check(&whole, 5, 3).unwrap();
            for block in check(&damaged, 5, 3).unwrap_or_default() {
                let same = right.iter().find(|other| other.hash == block.hash);
                prop_assert!(same.is_none_or(|same| *same == block));
            }
        }
    }
}
