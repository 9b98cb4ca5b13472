//! Two real nodes that fork: what one chain paid, the other spends elsewhere. The escrow follows the longer one, and is never
//! payable on what is not final.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/escrow.rs"]
mod escrow;
#[path = "support/monero.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod monero;
#[path = "support/people.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod people;
#[path = "support/still.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod still;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aegis_common::address::Network;
use aegis_common::amount::Piconero;
use aegis_common::chain::Tx;
use aegis_common::escrow::state::Status;
use aegis_common::hash::Hash32;
use aegis_common::testing::chain::TestWallet;
use aegis_server::actors::message::Command;
use aegis_server::actors::{Answer, Finder};
use aegis_server::chain::Source;
use aegis_server::node::{FullBlock, NodeConfig, NodeError, NodePool, Place, PoolConfig, Tip};
use escrow::Server;
use monero::Daemon;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// The finality of the contract.
const FINAL: usize = 10;

/// Two nodes, looked at when the test says so.
struct Gated {
    pool: NodePool,
    looks: Semaphore,
    allowed: AtomicUsize,
    begun: AtomicUsize,
}

impl Gated {
    /// One look at the chain, from its beginning to its end.
    async fn look(&self) {
        let allowed = self.allowed.fetch_add(1, Ordering::SeqCst) + 1;
        self.looks.add_permits(1);
        // The one after it has begun, and waits: this one has ended.
        while self.begun.load(Ordering::SeqCst) <= allowed {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Source for Gated {
    async fn tip(&self) -> Result<Tip, NodeError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.looks.acquire().await.unwrap().forget();
        self.pool.tip().await
    }
    async fn header_hash(&self, height: u64) -> Result<Hash32, NodeError> {
        self.pool.header_hash(height).await
    }
    async fn blocks(&self, range: RangeInclusive<u64>) -> Result<Vec<FullBlock>, NodeError> {
        self.pool.blocks(range).await
    }
    async fn pool(&self) -> Result<Vec<Arc<Tx>>, NodeError> {
        self.pool.pool().await
    }
    async fn news(&self) {
        std::future::pending().await
    }
}

impl Finder for Gated {
    fn find(&self, tx: Hash32) -> Answer<'_, Option<(Tx, Place)>> {
        Finder::find(&self.pool, tx)
    }
    fn header_hash(&self, height: u64) -> Answer<'_, Hash32> {
        Finder::header_hash(&self.pool, height)
    }
}

/// A node and a wallet of the payer there.
struct Side {
    node: Daemon,
    wallet: Daemon,
}

impl Side {
    async fn height(&self) -> u64 {
        self.node.rpc("get_block_count", json!({})).await["count"].as_u64().unwrap()
    }

    async fn transaction(&self, hash: &str) -> Value {
        let ask = json!({ "txs_hashes": [hash], "decode_as_json": true });
        self.node.call("/get_transactions", ask).await["txs"][0].clone()
    }

    /// Pays an escrow, and tells which outputs of the payer's it spends.
    async fn pay(&self, to: &str) -> Vec<String> {
        self.wallet.rpc("refresh", json!({})).await;
        let to = json!([{ "address": to, "amount": Piconero::XMR.0 }]);
        let sent = self.wallet.rpc("transfer", json!({ "destinations": to })).await;
        let transaction = self.transaction(sent["tx_hash"].as_str().unwrap()).await;
        let content: Value = serde_json::from_str(transaction["as_json"].as_str().unwrap()).unwrap();
        let image = |input: &Value| input["key"]["k_image"].as_str().unwrap().to_owned();
        content["vin"].as_array().unwrap().iter().map(image).collect()
    }

    /// Spends these outputs for the payer's own good, all of them: the other wallet takes them for spent, too.
    async fn spend(&self, key_images: &[String], to: &str) {
        self.wallet.rpc("refresh", json!({})).await;
        for key_image in key_images {
            self.wallet.rpc("sweep_single", json!({ "key_image": key_image, "address": to })).await;
        }
    }

    /// Takes another node's chain from a height on in place of its own.
    async fn follow(&self, other: &Self, from: u64) {
        let ours = self.height().await;
        if ours > from {
            self.node.call("/pop_blocks", json!({ "nblocks": ours - from })).await;
        }
        self.node.rpc("flush_txpool", json!({})).await;
        for height in from..other.height().await {
            let block = other.node.rpc("get_block", json!({ "height": height })).await;
            for hash in block["tx_hashes"].as_array().into_iter().flatten() {
                let blob = other.transaction(hash.as_str().unwrap()).await["as_hex"].clone();
                let sent = json!({ "tx_as_hex": blob, "do_not_relay": true });
                let answer = self.node.call("/send_raw_transaction", sent).await;
                assert_eq!(answer["status"], "OK", "{answer}");
            }
            self.node.rpc("submit_block", json!([block["blob"]])).await;
        }
        assert_eq!(self.height().await, other.height().await);
    }
}

/// Two nodes with one chain, and the payer's wallet at each.
async fn sides() -> [Side; 2] {
    let (one, other) = (Daemon::monerod(false).await, Daemon::monerod(false).await);
    let wallet = Daemon::wallet(&one).await;
    let words = wallet.rpc("query_key", json!({ "key_type": "mnemonic" })).await["key"].clone();
    let again = Daemon::bare_wallet(&other).await;
    let restore = json!({ "filename": "w", "password": "", "seed": words, "restore_height": 0 });
    again.rpc("restore_deterministic_wallet", restore).await;
    let sides = [Side { node: one, wallet }, Side { node: other, wallet: again }];
    let miner = sides[0].wallet.address().await;
    assert_eq!(sides[1].wallet.address().await, miner);
    sides[0].node.mine(100, &miner).await;
    sides[1].follow(&sides[0], 1).await;
    sides
}

#[actix::test]
async fn the_escrow_follows_the_longer_of_two_chains_with_conflicting_spends_and_is_payable_only_when_final()
{
    let depths: Vec<usize> = match std::env::var_os("AEGIS_REORGANISATIONS_ALL") {
        Some(_) => (1..=30).collect(),
        None => vec![1, 9, 10, 30],
    };
    let sides = sides().await;
    let miner = sides[0].wallet.address().await;
    let nodes = sides.iter().map(|side| NodeConfig { url: side.node.url(), login: None }).collect();
    let mut config = PoolConfig::new(Network::Regtest, nodes);
    config.timeout = Duration::from_secs(20);
    let nodes = Gated {
        pool: NodePool::new(&config).unwrap(),
        looks: Semaphore::new(1),
        allowed: AtomicUsize::new(1),
        begun: AtomicUsize::new(0),
    };
    let (nodes, dir) = (Arc::new(nodes), tempfile::tempdir().unwrap());
    let server = Server::begin(Arc::clone(&nodes), dir.path()).await;
    let shared = TestWallet::new(1);
    let address = shared.primary().to_string();
    for (role, act) in people::setup(&shared) {
        server.say(role, act, Some(shared.view.to_bytes())).await;
    }
    // How deep the only deposit is, in blocks; nothing without one, zero in the mempool. Payable only as is final.
    let confirmations = async || {
        let escrow = server.tell(Command::Read).await.escrow;
        let tip = server.handles.tip.height().unwrap();
        let deposits: Vec<_> = escrow.deposits.credited().collect();
        assert!(deposits.len() <= 1, "{deposits:?}");
        let deep = deposits.first().map(|one| one.height.map_or(0, |height| tip + 1 - height) as usize);
        let payable = deep.is_some_and(|deep| deep >= FINAL);
        assert_eq!(escrow.status() == Status::Active, payable, "{:?} at {deep:?}", escrow.status());
        deep
    };
    nodes.look().await;
    assert_eq!(confirmations().await, None);
    for (round, depth) in depths.into_iter().enumerate() {
        // They take turns in being the chain that pays.
        let (pays, robs) = (&sides[round % 2], &sides[(round + 1) % 2]);
        let fork = pays.height().await;
        let outputs = pays.pay(&address).await;
        robs.spend(&outputs, &miner).await;
        pays.node.mine(depth as u64, &miner).await;
        nodes.look().await;
        assert_eq!(confirmations().await, Some(depth));
        // The other chain is as long: nothing changes for that.
        robs.node.mine(depth as u64, &miner).await;
        nodes.look().await;
        assert_eq!(confirmations().await, Some(depth));
        robs.node.mine(1, &miner).await;
        for look in 1.. {
            nodes.look().await;
            if confirmations().await.unwrap_or(0) == 0 {
                break;
            }
            assert!(
                look < 2,
                "after {look} looks at a fork {depth} deep the escrow is still on the chain that lost"
            );
        }
        // It is in no block. That it is on no node either is found out beside the looks.
        while confirmations().await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let followed = nodes.pool.tip().await.unwrap();
        assert_eq!(server.handles.tip.height(), Some(followed.height));
        assert_eq!(followed.height + 1, robs.height().await);
        pays.follow(robs, fork).await;
    }
    sides[0].pay(&address).await;
    sides[0].node.mine(FINAL as u64 - 1, &miner).await;
    nodes.look().await;
    assert_eq!(confirmations().await, Some(FINAL - 1));
    sides[0].node.mine(1, &miner).await;
    nodes.look().await;
    assert_eq!(confirmations().await, Some(FINAL));
    server.handles.stop();
}
