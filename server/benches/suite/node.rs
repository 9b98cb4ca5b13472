//! A real node with thousands of real transactions: how fast its blocks come, and are followed to the deposits in them.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use aegis_common::address::Network;
use aegis_common::amount::Piconero;
use aegis_common::chain::{BatchScanner, Engine, Path, PlainScanner, Scanner, WatchKey};
use aegis_common::ids::EscrowId;
use aegis_common::testing::chain::{TestWallet, TxBuilder};
use aegis_server::chain::{Config, Follower, Source, WatchList};
use aegis_server::node::{NodeConfig, NodePool, PoolConfig, Tip};
use uuid::Uuid;

use crate::Measured;
use crate::monero::Daemon;
use crate::ring::Payer;
use crate::scan::{At, Counted};

const TRANSACTIONS: u64 = 2_000;
/// As many as a block of the usual size holds.
const EACH: u64 = 100;
/// Watched escrows; every tenth transaction pays one.
const ESCROWS: u64 = 100;

/// All of it. The blocks before those with the transactions hold nothing but rewards, and are read as well.
pub async fn measure() -> Vec<Measured> {
    let node = Daemon::monerod(false).await;
    let mut payer = Payer::new(&node, TRANSACTIONS).await;
    let nobody = TestWallet::new(u64::MAX).primary();
    for seed in 0..TRANSACTIONS {
        let to = if seed % 10 == 0 { TestWallet::new(seed % ESCROWS).primary() } else { nobody };
        payer.send(&node, TxBuilder::new(seed).pay(to, Piconero(seed + 1)), |_, tag| tag).await;
        if seed % EACH == EACH - 1 {
            node.mine(1, &nobody.to_string()).await;
        }
    }
    let nodes = PoolConfig::new(Network::Regtest, vec![NodeConfig { url: node.url(), login: None }]);
    let nodes = Arc::new(NodePool::new(&nodes).unwrap());
    let tip = nodes.tip().await.unwrap();
    let first = tip.height - TRANSACTIONS / EACH + 1;

    let http = reqwest::Client::new();
    // Each way once before it counts: then all find the blocks in memory and a connection open.
    let (mut fetched, mut by_range, mut by_height, mut plain) = (0.0, 0.0, 0.0, (0.0, Vec::new()));
    for _ in 0..2 {
        let begun = Instant::now();
        let (mut next, mut count) = (first, 0);
        while next <= tip.height {
            for block in nodes.blocks(next..=tip.height).await.unwrap() {
                count += block.txs.len() as u64 - 1;
                next += 1;
            }
        }
        fetched = begun.elapsed().as_secs_f64();
        assert_eq!(count, TRANSACTIONS);
        by_range = binary(&http, &node, "/get_blocks.bin", epee_range(first)).await;
        by_height = binary(&http, &node, "/get_blocks_by_height.bin", epee_heights(first..=tip.height)).await;
        let begun = Instant::now();
        let mut blocks = Vec::new();
        for height in first..=tip.height {
            blocks.push(nodes.block(height).await.unwrap());
        }
        plain = (begun.elapsed().as_secs_f64(), blocks);
    }
    let (one_by_one, plain) = plain;
    let keys: Vec<WatchKey> = (0..ESCROWS)
        .map(|n| TestWallet::new(n).watch(EscrowId(Uuid::from_u128(n.into()))).unwrap())
        .collect();
    let begun = Instant::now();
    let expected: usize = plain.iter().map(|block| PlainScanner.scan(&keys, &block.txs).len()).sum();
    let plain = one_by_one + begun.elapsed().as_secs_f64();
    assert_eq!(expected as u64, TRANSACTIONS / 10);

    let list = WatchList::new();
    list.add_all(keys);
    let scanner = Arc::new(BatchScanner::new(Engine::new(Path::best(), false), 0).unwrap());
    let hash = Source::header_hash(&*nodes, first - 1).await.unwrap();
    let (at, found) = (At::new(Tip { height: first - 1, hash }), Counted::default());
    let mut follower = Follower::new(nodes, at, found.clone(), scanner, list, Config::default());
    let begun = Instant::now();
    assert_eq!(follower.step().await.unwrap(), tip);
    let followed = begun.elapsed().as_secs_f64();
    assert_eq!(found.0.load(Ordering::SeqCst), expected);

    let rate = |seconds: f64| TRANSACTIONS as f64 / seconds;
    vec![
        Measured::new("node.fetch", rate(fetched), "transactions/s", Some(rate(one_by_one))),
        Measured::new("node.fetch.range_binary", rate(by_range), "transactions/s", Some(rate(one_by_one))),
        Measured::new("node.fetch.height_binary", rate(by_height), "transactions/s", Some(rate(one_by_one))),
        Measured::new("node.follow", rate(followed), "transactions/s", Some(rate(plain))),
    ]
}

/// Seconds until a binary reply is there with all transactions whole, neither read nor verified: what a follower that used it
/// could reach at best.
async fn binary(http: &reqwest::Client, node: &Daemon, path: &str, body: Vec<u8>) -> f64 {
    let begun = Instant::now();
    let reply = http.post(format!("{}{path}", node.url())).body(body).send().await.unwrap();
    let reply = reply.bytes().await.unwrap();
    let took = begun.elapsed().as_secs_f64();
    // A real transaction takes more than a kilobyte.
    assert!(reply.len() as u64 > TRANSACTIONS * 1_000, "{path}: {} bytes", reply.len());
    took
}

/// Signature and version of Monero's portable storage (`contrib/epee/include/storages/portable_storage_base.h`).
const EPEE: [u8; 9] = [1, 0x11, 1, 1, 1, 1, 2, 1, 1];
/// An unsigned number of 64 bits, and the bit that makes an array of it.
const UINT64: u8 = 5;
const ARRAY: u8 = 0x80;

/// `{"start_height": first}`
fn epee_range(first: u64) -> Vec<u8> {
    [&EPEE[..], &[1 << 2], b"\x0cstart_height", &[UINT64], &first.to_le_bytes()].concat()
}

/// `{"heights": [first, …]}`; a length is `n << 2` with its own width in the low bits.
fn epee_heights(heights: RangeInclusive<u64>) -> Vec<u8> {
    let count = u32::try_from(heights.clone().count()).unwrap();
    let head = [&EPEE[..], &[1 << 2], b"\x07heights", &[UINT64 | ARRAY], &(count << 2 | 2).to_le_bytes()];
    [head.concat(), heights.flat_map(u64::to_le_bytes).collect()].concat()
}
