//! A real node with thousands of real transactions: how fast its blocks come, and are followed to the deposits in them.

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

    let begun = Instant::now();
    let (mut next, mut count) = (first, 0);
    while next <= tip.height {
        for block in nodes.blocks(next..=tip.height).await.unwrap() {
            count += block.txs.len() as u64 - 1;
            next += 1;
        }
    }
    let binary = begun.elapsed().as_secs_f64();
    assert_eq!(count, TRANSACTIONS);
    let begun = Instant::now();
    let mut plain = Vec::new();
    for height in first..=tip.height {
        plain.push(nodes.block(height).await.unwrap());
    }
    let json = begun.elapsed().as_secs_f64();
    let keys: Vec<WatchKey> = (0..ESCROWS)
        .map(|n| TestWallet::new(n).watch(EscrowId(Uuid::from_u128(n.into()))).unwrap())
        .collect();
    let begun = Instant::now();
    let expected: usize = plain.iter().map(|block| PlainScanner.scan(&keys, &block.txs).len()).sum();
    let plain = json + begun.elapsed().as_secs_f64();
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
        Measured::new("node.fetch", rate(binary), "transactions/s", Some(rate(json))),
        Measured::new("node.follow", rate(followed), "transactions/s", Some(rate(plain))),
    ]
}
