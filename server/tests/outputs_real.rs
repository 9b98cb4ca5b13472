//! Crafted transactions on a real chain: what the scanner finds, on every path, is what a real wallet with the same keys says
//! it received.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/monero.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod monero;
#[path = "support/ring.rs"]
mod ring;

use std::collections::BTreeSet;
use std::ops::Range;

use aegis_common::address::{Address, Network};
use aegis_common::amount::Piconero;
use aegis_common::chain::{BatchScanner, Engine, Found, Path, PlainScanner, Scanner, WatchKey, subaddress};
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::testing::chain::{TestWallet, TxBuilder};
use aegis_server::node::{NodeConfig, NodePool, PoolConfig};
use monero::Daemon;
use ring::Payer;
use serde_json::{Value, json};
use uuid::Uuid;

/// A miner's outputs can be spent after so many blocks (Monero `CRYPTONOTE_MINED_MONEY_UNLOCK_WINDOW`).
const UNLOCK: u64 = 60;

/// An output as both sides name it: its key, its transaction, amount and minor index, and whether it can be spent one day that
/// is near.
type Received = (String, String, u64, u64, bool);

/// A wallet, and what a server would watch it with.
struct Watched {
    wallet: Daemon,
    primary: Address,
    view: [u8; 32],
    key: WatchKey,
}

impl Watched {
    async fn new(node: &Daemon) -> Self {
        let wallet = Daemon::wallet(node).await;
        let primary = Address::parse(&wallet.address().await, Network::Regtest).unwrap();
        let view = wallet.rpc("query_key", json!({"key_type": "view_key"})).await;
        let view = view["key"].as_str().unwrap().parse::<Hash32>().unwrap().0;
        let key = WatchKey::new(EscrowId(Uuid::from_u128(1)), view, &primary).unwrap();
        Self { wallet, primary, view, key }
    }

    fn minor(&self, minor: u32) -> Address {
        subaddress(&self.primary, &self.view, Network::Regtest, minor).unwrap()
    }

    /// What the wallet received.
    async fn received(&self) -> BTreeSet<Received> {
        self.wallet.rpc("refresh", json!({"start_height": 0})).await;
        let listed = self.wallet.rpc("incoming_transfers", json!({"transfer_type": "all"})).await;
        let of = |output: &Value| {
            let text = |name: &str| output[name].as_str().unwrap().to_owned();
            let minor = output["subaddr_index"]["minor"].as_u64().unwrap();
            let unlocked = output["unlocked"].as_bool().unwrap();
            (text("pubkey"), text("tx_hash"), output["amount"].as_u64().unwrap(), minor, unlocked)
        };
        listed["transfers"].as_array().into_iter().flatten().map(of).collect()
    }

    /// Fails unless every scanner finds in these blocks what the wallet received; gives the amounts.
    async fn compare(&self, node: &Daemon, heights: Range<u64>) -> BTreeSet<u64> {
        let nodes = vec![NodeConfig { url: node.url(), login: None }];
        let pool = NodePool::new(&PoolConfig::new(Network::Regtest, nodes)).unwrap();
        let mut txs = Vec::new();
        for height in heights {
            txs.extend(pool.block(height).await.unwrap().txs);
        }
        let (theirs, keys) = (self.received().await, [self.key.clone()]);
        assert_eq!(ours(PlainScanner.scan(&keys, &txs)), theirs);
        for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
            let scanner = BatchScanner::new(Engine::new(path, false), 1).unwrap();
            assert_eq!(ours(scanner.scan(&keys, &txs)), theirs, "{path:?}");
        }
        theirs.iter().map(|(_, _, amount, ..)| *amount).collect()
    }
}

/// Outputs of one key count once, the largest, as an escrow counts them. A reward is said to be locked, as it is at first.
fn ours(found: Vec<Found>) -> BTreeSet<Received> {
    let counts = |one: &&Found| !found.iter().any(|other| other.key == one.key && other.amount > one.amount);
    let name = |found: &Found| {
        let (key, tx) = (found.key.to_string(), found.tx.to_string());
        (key, tx, found.amount.0, u64::from(found.subaddress), !found.locked || found.coinbase)
    };
    found.iter().filter(counts).map(name).collect()
}

fn pay(seed: u64, to: &[(Address, u64)]) -> TxBuilder {
    to.iter().fold(TxBuilder::new(seed), |builder, (to, amount)| builder.pay(*to, Piconero(*amount)))
}

fn check(amounts: &BTreeSet<u64>, paid: &[u64], not: &[u64]) {
    // That nothing was found everywhere would be the same, too.
    assert!(paid.iter().all(|amount| amounts.contains(amount)), "{amounts:?}");
    assert!(!not.iter().any(|amount| amounts.contains(amount)), "{amounts:?}");
}

/// A chain whose miners write whatever they like.
struct Miner {
    daemon: Daemon,
}

impl Miner {
    async fn height(&self) -> u64 {
        self.daemon.rpc("get_block_count", json!({})).await["count"].as_u64().unwrap()
    }

    /// Mines a block whose coinbase is this, after `change` had its way with the bytes.
    async fn mine(&self, mut coinbase: TxBuilder, anybody: &Address, change: impl FnOnce(&mut Vec<u8>)) {
        let height = self.height().await;
        let ask = json!({"wallet_address": anybody.to_string(), "reserve_size": 1});
        let template = self.daemon.rpc("get_block_template", ask).await;
        // A block's reward must be claimed whole: the rest goes to anybody.
        let paid: u64 = coinbase.payments.iter().map(|(_, amount)| amount.0).sum();
        let rest = template["expected_reward"].as_u64().unwrap() - paid;
        coinbase = coinbase.pay(*anybody, Piconero(rest));
        coinbase.coinbase = Some(height);
        coinbase.unlock_time = height + UNLOCK;
        let mut tx = coinbase.build().unwrap().blob;
        change(&mut tx);
        let template = hex::decode(template["blocktemplate_blob"].as_str().unwrap()).unwrap();
        // Two versions, time, previous hash and nonce; then the coinbase, then no other transaction.
        let versions_and_time = 2 + template[2..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let mut block = template[..versions_and_time + 32 + 4].to_vec();
        block.extend(tx);
        block.push(0);
        let sent = self.daemon.rpc("submit_block", json!([hex::encode(block)])).await;
        assert_eq!(sent["status"], "OK");
        assert_eq!(self.height().await, height + 1);
    }
}

/// A field of `extra` with a transaction key.
fn key(key: [u8; 32]) -> Vec<u8> {
    [&[1], &key[..]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_miner_writes_is_found_exactly_where_a_real_wallet_finds_it() {
    let miner = Miner { daemon: Daemon::monerod(false).await };
    let watched = Watched::new(&miner.daemon).await;
    let (primary, minor) = (watched.primary, |number| watched.minor(number));
    let stranger = TestWallet::new(99).primary();
    let same = |_: &mut Vec<u8>| {};
    let before = miner.height().await;

    // Once, twice, beside a stranger, sixteen times.
    miner.mine(pay(1, &[(primary, 11)]), &stranger, same).await;
    miner.mine(pay(2, &[(primary, 21), (stranger, 22), (primary, 23)]), &stranger, same).await;
    let mut sixteen = pay(3, &(0..16).map(|n| (minor(n % 3), 300 + u64::from(n))).collect::<Vec<_>>());
    sixteen.additional = true;
    miner.mine(sixteen, &stranger, same).await;
    // Subaddresses without keys of their own, and with; the main key is of the first.
    miner.mine(pay(4, &[(minor(1), 41)]), &stranger, same).await;
    miner.mine(pay(5, &[(minor(2), 51), (primary, 52), (minor(1), 53)]), &stranger, same).await;
    let mut own = pay(6, &[(minor(2), 61), (primary, 62)]);
    own.additional = true;
    miner.mine(own, &stranger, same).await;
    // A tag that is somebody else's.
    let foreign = pay(7, &[(primary, 71)]);
    let output = foreign.build().unwrap().tx.outputs[0].key.0;
    let change = |tx: &mut Vec<u8>| {
        let at = tx.windows(32).position(|some| some == output).unwrap();
        tx[at + 32] ^= 0xff;
    };
    miner.mine(foreign, &stranger, change).await;
    // One key for outputs of several transactions: larger, smaller, the largest.
    for amount in [82, 81, 83] {
        miner.mine(pay(8, &[(primary, amount)]), &stranger, same).await;
    }
    // One key twice in one transaction.
    let mut burn = pay(9, &[(primary, 91), (primary, 92)]);
    burn.burn = true;
    miner.mine(burn, &stranger, same).await;
    // Extra: other keys before, no points, the identity; nonces; what can't be parsed before or behind the key.
    let mut identity = [0; 32];
    identity[0] = 1;
    let several = [key(stranger.view.0), key([0xff; 32]), key(identity)].concat();
    let before_key = |seed: u64, amount: u64, prefix: Vec<u8>| {
        let mut builder = pay(seed, &[(primary, amount)]);
        builder.extra_prefix = prefix;
        builder
    };
    miner.mine(before_key(10, 101, several), &stranger, same).await;
    let nonce = [vec![2, 9, 1], vec![7; 8]].concat();
    miner.mine(before_key(11, 111, nonce), &stranger, same).await;
    miner.mine(before_key(12, 121, vec![0x77, 1, 2]), &stranger, same).await;
    let merge = [vec![3, 33, 1], vec![9; 32]].concat();
    miner.mine(before_key(13, 131, merge), &stranger, same).await;
    let mut tail = pay(14, &[(primary, 141)]);
    tail.extra_suffix = vec![0x77, 1, 2];
    miner.mine(tail, &stranger, same).await;
    let mut padded = pay(15, &[(primary, 151)]);
    padded.extra_suffix = vec![0; 20];
    miner.mine(padded, &stranger, same).await;
    // Keys of outputs: fewer than outputs, and more.
    for (seed, count) in [(16, 1u8), (17, 5)] {
        let mut list = pay(seed, &[(primary, seed * 10), (primary, seed * 10 + 1)]);
        list.extra_suffix = [vec![4, count], vec![primary.view.0; usize::from(count)].concat()].concat();
        miner.mine(list, &stranger, same).await;
    }
    // Nothing at all, and next to nothing.
    miner.mine(pay(18, &[(primary, 0), (primary, 1)]), &stranger, same).await;
    let after = miner.height().await;
    miner.daemon.mine(UNLOCK, &stranger.to_string()).await;

    let amounts = watched.compare(&miner.daemon, before..after).await;
    let paid = [11, 21, 23, 300, 315, 41, 51, 61, 62, 83, 91, 101, 111, 131, 141, 151];
    check(&amounts, &paid, &[22, 71, 81, 82, 92, 121]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_sender_writes_is_found_exactly_where_a_real_wallet_finds_it() {
    let node = Daemon::monerod(false).await;
    let watched = Watched::new(&node).await;
    let (primary, minor) = (watched.primary, |number| watched.minor(number));
    let stranger = TestWallet::new(99).primary();
    let mut payer = Payer::new(&node, 24).await;
    let height = async || node.rpc("get_block_count", json!({})).await["count"].as_u64().unwrap();
    let before = height().await;
    let same = |_: usize, tag: u8| tag;

    // Once, twice, beside a stranger, to subaddresses without keys of their own and with, as many as fit.
    payer.send(&node, pay(1, &[(primary, 11)]), same).await;
    payer.send(&node, pay(2, &[(primary, 21), (stranger, 22), (primary, 23)]), same).await;
    payer.send(&node, pay(3, &[(minor(1), 31)]), same).await;
    payer.send(&node, pay(4, &[(minor(2), 41), (primary, 42)]), same).await;
    let mut own = pay(5, &[(minor(2), 51), (primary, 52), (minor(1), 53)]);
    own.additional = true;
    payer.send(&node, own, same).await;
    let mut many = pay(6, &(0..15).map(|n| (minor(n % 3), 600 + u64::from(n))).collect::<Vec<_>>());
    many.additional = true;
    payer.send(&node, many, same).await;
    // The first output's tag is somebody else's.
    payer.send(&node, pay(7, &[(primary, 71), (primary, 72)]), |at, tag| tag ^ u8::from(at == 0)).await;
    // More is written than the commitment holds.
    let mut lie = pay(8, &[(primary, 81)]);
    lie.lie = 1;
    payer.send(&node, lie, same).await;
    // Locked for a year.
    let mut locked = pay(9, &[(primary, 91)]);
    locked.unlock_time = 300_000;
    payer.send(&node, locked, same).await;
    // One key twice in one transaction.
    let mut burn = pay(10, &[(primary, 101), (primary, 102)]);
    burn.burn = true;
    payer.send(&node, burn, same).await;
    // Payment ids, other keys, what can't be parsed.
    let mut extras =
        [[vec![2, 9, 1], vec![7; 8]].concat(), vec![2, 3, 0, 0, 0], [vec![4, 1], vec![5; 32]].concat()];
    for (seed, suffix) in (11..).zip(&mut extras) {
        let mut more = pay(seed, &[(primary, seed * 10)]);
        more.extra_suffix = std::mem::take(suffix);
        payer.send(&node, more, same).await;
    }
    let mut several = pay(14, &[(primary, 141)]);
    several.extra_prefix = [key(stranger.view.0), key([0xff; 32])].concat();
    payer.send(&node, several, same).await;
    let mut hidden = pay(15, &[(primary, 151)]);
    hidden.extra_prefix = vec![0x77, 1, 2];
    payer.send(&node, hidden, same).await;
    // One key in several transactions, block after block: larger, smaller, the largest.
    for amount in [162, 161, 163] {
        payer.send(&node, pay(16, &[(primary, amount)]), same).await;
        node.mine(1, &stranger.to_string()).await;
    }
    node.mine(10, &stranger.to_string()).await;

    let amounts = watched.compare(&node, before..height().await).await;
    let paid = [11, 21, 23, 31, 41, 51, 52, 53, 600, 614, 72, 91, 110, 120, 141, 163];
    // The main key is made for the first output's subaddress: nobody else can tell what is theirs.
    check(&amounts, &paid, &[22, 42, 71, 81, 82, 102, 151, 161, 162]);
    let locked: Vec<_> = watched.received().await.into_iter().filter(|(.., unlocked)| !unlocked).collect();
    assert_eq!(locked.iter().map(|(_, _, amount, ..)| *amount).collect::<Vec<_>>(), [91]);
}
