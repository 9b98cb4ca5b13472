//! The chain side against real monerod and monero-wallet-rpc.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/monero.rs"]
mod monero;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use aegis_common::address::{Address, Network};
use aegis_common::chain::{Found, PlainScanner, WatchKey, prove_payment, subaddress};
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_server::chain::{
    Config, Fact, Follower, Health, Progress, ProgressError, Sink, SinkError, WatchList,
};
use aegis_server::node::{Login, NodeConfig, NodeError, NodePool, NodeState, Place, PoolConfig, Tip};
use monero::{Daemon, LOGIN, free_port};
use serde_json::{Value, json};
use uuid::Uuid;

fn node(url: String) -> NodeConfig {
    NodeConfig { url, login: None }
}

/// Any one of them is believed.
fn pool(nodes: Vec<NodeConfig>) -> NodePool {
    let mut config = PoolConfig::new(Network::Regtest, nodes);
    (config.timeout, config.agree) = (Duration::from_secs(20), 1);
    NodePool::new(&config).unwrap()
}

#[derive(Clone, Default)]
struct Store(Arc<Mutex<(Vec<Tip>, Vec<Fact>)>>);

impl Store {
    fn facts(&self) -> Vec<Fact> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

impl Sink for Store {
    async fn deliver(&self, fact: Fact) -> Result<(), SinkError> {
        self.0.lock().unwrap().1.push(fact);
        Ok(())
    }
}

impl Progress for Store {
    async fn load(&self) -> Result<Option<Tip>, ProgressError> {
        Ok(self.0.lock().unwrap().0.last().copied())
    }
    async fn hash_at(&self, height: u64) -> Result<Option<Hash32>, ProgressError> {
        Ok(self.0.lock().unwrap().0.iter().find(|tip| tip.height == height).map(|tip| tip.hash))
    }
    async fn advance(&self, tip: Tip) -> Result<(), ProgressError> {
        self.0.lock().unwrap().0.push(tip);
        Ok(())
    }
    async fn rewind(&self, to: u64) -> Result<(), ProgressError> {
        self.0.lock().unwrap().0.retain(|tip| tip.height <= to);
        Ok(())
    }
}

async fn watch(wallet: &Daemon, number: u128) -> (WatchKey, [u8; 32], Address) {
    let primary = Address::parse(&wallet.address().await, Network::Regtest).unwrap();
    let reply = wallet.rpc("query_key", json!({"key_type": "view_key"})).await;
    let view = reply["key"].as_str().unwrap().parse::<Hash32>().unwrap().0;
    (WatchKey::new(EscrowId(Uuid::from_u128(number)), view, &primary).unwrap(), view, primary)
}

fn deposits(facts: &[Fact]) -> Vec<(Found, Option<u64>)> {
    let mut all: Vec<_> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Deposit { found, height } => Some((found.clone(), *height)),
            _ => None,
        })
        .collect();
    all.sort_by_key(|(found, _)| found.amount);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_payments_are_found_proven_mined_and_rolled_back() {
    let daemon = Daemon::monerod(false).await;
    let (payer, payee) = (Daemon::wallet(&daemon).await, Daemon::wallet(&daemon).await);
    let miner = payer.address().await;
    daemon.mine(90, &miner).await;
    let nodes = Arc::new(pool(vec![node(daemon.url())]));

    // A coinbase is found by the miner's view key, locked.
    let (miner_key, ..) = watch(&payer, 9).await;
    let block = nodes.block(50).await.unwrap();
    let found = aegis_common::chain::Scanner::scan(&PlainScanner, &[miner_key], &block.txs);
    let header = daemon.rpc("get_block_header_by_height", json!({"height": 50})).await;
    assert_eq!(found[0].amount.0, header["block_header"]["reward"].as_u64().unwrap());
    assert!(found[0].coinbase && found[0].locked && found.len() == 1);

    let (key, view, primary) = watch(&payee, 1).await;
    for _ in 0..2 {
        payee.rpc("create_address", json!({"account_index": 0})).await;
    }
    let listed = payee.rpc("get_address", json!({"account_index": 0})).await;
    let addresses: Vec<Address> =
        (0..3).map(|minor| subaddress(&primary, &view, Network::Regtest, minor).unwrap()).collect();
    for (minor, address) in addresses.iter().enumerate() {
        assert_eq!(listed["addresses"][minor]["address"].as_str().unwrap(), address.to_string());
    }

    let (list, store) = (WatchList::new(), Store::default());
    list.add(key, 90);
    let config = Config { poll: Duration::from_millis(200), ..Config::default() };
    let mut follower =
        Follower::new(nodes.clone(), store.clone(), store.clone(), Arc::new(PlainScanner), list, config);
    let started = follower.step().await.unwrap();
    assert_eq!(started.height, 90);
    store.facts();

    // One transaction to one subaddress, one to the primary address and a subaddress: additional transaction
    // keys.
    payer.rpc("refresh", json!({})).await;
    let pays: [&[(usize, u64)]; 2] =
        [&[(1, 1_234_567_890_123)], &[(0, 2_000_000_000_001), (2, 3_000_000_000_007)]];
    let mut sent = Vec::new();
    for pay in pays {
        let destinations: Vec<Value> = pay
            .iter()
            .map(|(minor, amount)| json!({"address": addresses[*minor], "amount": amount}))
            .collect();
        let reply = payer.rpc("transfer", json!({"destinations": destinations, "get_tx_key": true})).await;
        let hash: Hash32 = reply["tx_hash"].as_str().unwrap().parse().unwrap();
        let keys = hex::decode(reply["tx_key"].as_str().unwrap()).unwrap();
        let keys: Vec<[u8; 32]> = keys.chunks(32).map(|key| key.try_into().unwrap()).collect();
        sent.push((hash, keys));
    }
    assert_eq!((sent[0].1.len(), sent[1].1.len()), (1, 4));

    follower.step().await.unwrap();
    let seen = deposits(&store.facts());
    let expected = [(1, 1_234_567_890_123), (0, 2_000_000_000_001), (2, 3_000_000_000_007)];
    let summary = |seen: &[(Found, Option<u64>)]| -> Vec<(u32, u64, Option<u64>)> {
        seen.iter().map(|(found, height)| (found.subaddress, found.amount.0, *height)).collect()
    };
    assert_eq!(summary(&seen), expected.map(|(minor, amount)| (minor, amount, None)));
    assert!(seen.iter().all(|(found, _)| !found.locked && !found.coinbase));

    // The transaction keys prove each payment, to its address only.
    for (found, _) in &seen {
        let (tx, place) = nodes.find(found.tx).await.unwrap().unwrap();
        assert_eq!(place, Place::Pool);
        assert!(tx.fee.0 > 0 && !tx.key_images.is_empty());
        let keys = &sent.iter().find(|(hash, _)| *hash == found.tx).unwrap().1;
        for (minor, address) in addresses.iter().enumerate() {
            let proven = prove_payment(&tx, keys, address).contains(&(found.index, found.amount));
            assert_eq!(proven, minor == found.subaddress as usize);
        }
    }

    // A node that swaps a transaction's content is caught by the hash.
    let swaps = |method: &str, reply: &mut Value| {
        if method == "/get_transactions" {
            let blob = reply["txs"][0]["pruned_as_hex"].as_str().unwrap();
            reply["txs"][0]["pruned_as_hex"] = json!(format!("0201{}", &blob[4..]));
        }
    };
    let swapping = pool(vec![node(liar(daemon.url(), swaps).await)]);
    assert!(matches!(swapping.find(sent[0].0).await, Err(NodeError::Lie(_))));

    daemon.mine(2, &miner).await;
    let tip = follower.step().await.unwrap();
    assert_eq!(tip.height, 92);
    let mined = deposits(&store.facts());
    assert_eq!(summary(&mined), expected.map(|(minor, amount)| (minor, amount, Some(91))));
    assert_eq!(nodes.find(sent[0].0).await.unwrap().unwrap().1, Place::Block(91));

    // The chain forgets them.
    daemon.call("/pop_blocks", json!({"nblocks": 2})).await;
    daemon.rpc("flush_txpool", json!({})).await;
    follower.step().await.unwrap();
    assert!(store.facts().is_empty(), "a shorter chain contradicts nothing");
    daemon.mine(3, &miner).await;
    let tip = follower.step().await.unwrap();
    let facts = store.facts();
    assert_eq!(facts, vec![Fact::RolledBack { to: 90 }, Fact::Tip { height: 93, hash: tip.hash }]);
    assert_eq!(nodes.find(sent[0].0).await.unwrap(), None);
    assert_eq!(nodes.block(94).await, Err(NodeError::Missing));
    assert_eq!(nodes.header_hash(94).await, Err(NodeError::Missing));

    // The loop by itself, as the program runs it.
    let mut health = follower.health();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(follower.run(stopped));
    daemon.mine(1, &miner).await;
    let there = health.wait_for(|health| matches!(health, Health::Following(tip) if tip.height == 94));
    tokio::time::timeout(Duration::from_secs(10), there).await.unwrap().unwrap();
    stop.send(true).unwrap();
    assert_eq!(running.await.unwrap(), Ok(()));
}

/// A node that forwards to a real one and changes what it says.
async fn liar(real: String, change: impl Fn(&str, &mut Value) + Clone + Send + 'static) -> String {
    let server = HttpServer::new(move || {
        let (real, change) = (real.clone(), change.clone());
        App::new().default_service(web::to(move |request: actix_web::HttpRequest, body: web::Bytes| {
            let url = format!("{real}{}", request.path());
            let asked: Value = serde_json::from_slice(&body).unwrap();
            let (path, change) = (request.path().to_owned(), change.clone());
            async move {
                let method = asked["method"].as_str().unwrap_or(&path);
                let reply = reqwest::Client::new().post(url).body(body.to_vec()).send().await.unwrap();
                let mut reply: Value = reply.json().await.unwrap();
                change(method, &mut reply);
                HttpResponse::Ok().json(reply)
            }
        }))
    });
    let server = server.workers(1).bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", server.addrs()[0]);
    tokio::spawn(server.disable_signals().run());
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_foreign_and_lying_nodes_are_set_aside_with_a_reason_and_an_honest_one_with_a_login_serves() {
    let (open, locked) = (Daemon::monerod(false).await, Daemon::monerod(true).await);
    let miner = aegis_common::testing::chain::TestWallet::new(1).primary().to_string();
    open.mine(5, &miner).await;
    locked.mine(7, &miner).await;

    let announces_more = |method: &str, reply: &mut Value| {
        if method == "/get_info" {
            reply["height"] = json!(reply["height"].as_u64().unwrap() + 10);
        }
    };
    let damages_blocks = |method: &str, reply: &mut Value| {
        if method == "/get_info" {
            reply["height"] = json!(9);
        } else if method == "get_block" {
            reply["result"]["block_header"]["hash"] = json!("11".repeat(32));
        }
    };
    let another_network = |method: &str, reply: &mut Value| {
        if method == "/get_info" {
            reply["nettype"] = json!("mainnet");
        }
    };
    let unlinked = |method: &str, reply: &mut Value| match method {
        "/get_info" => {}
        "get_block_header_by_height" => {
            reply["result"]["block_header"]["hash"] = json!("22".repeat(32));
        }
        _ => {}
    };
    let login = Login { username: LOGIN.0.into(), password: LOGIN.1.to_owned().into() };
    let wrong = Login { username: LOGIN.0.into(), password: "wrong".to_owned().into() };
    let nodes = pool(vec![
        node(format!("http://127.0.0.1:{}", free_port())),
        node(liar(open.url(), announces_more).await),
        node(liar(open.url(), damages_blocks).await),
        node(liar(open.url(), another_network).await),
        node(open.url()),
        NodeConfig { url: locked.url(), login: Some(login) },
        NodeConfig { url: locked.url(), login: Some(wrong) },
    ]);
    let tip = nodes.tip().await.unwrap();
    assert_eq!(tip.height, 7);
    let block = nodes.block(7).await.unwrap();
    assert_eq!((block.hash, block.txs.len()), (tip.hash, 1));
    assert_eq!(nodes.header_hash(6).await.unwrap(), block.prev);
    assert!(nodes.pool().await.unwrap().is_empty());
    let status = nodes.status();
    let states: Vec<NodeState> = status.iter().map(|node| node.state).collect();
    use NodeState::{Failing, SetAside, Up};
    assert_eq!(states, [Failing, SetAside, SetAside, SetAside, Up, Up, Failing], "{status:#?}");
    let reason = |at: usize| status[at].reason.clone().unwrap();
    assert!(reason(1).contains("does not deliver"), "{}", reason(1));
    assert!(reason(3).contains("mainnet"), "{}", reason(3));
    assert!(reason(6).contains("login"), "{}", reason(6));
    assert!(status[4].disagreement.as_ref().is_some_and(|note| note.contains("another block at 5")));
    for _ in 0..4 {
        nodes.tip().await.unwrap();
    }
    assert_eq!(nodes.status()[0].state, NodeState::Down);

    let alone = pool(vec![node(liar(open.url(), unlinked).await)]);
    assert!(matches!(alone.tip().await, Err(NodeError::Lie(reason)) if reason.contains("does not link")));
    assert_eq!(alone.tip().await, Err(NodeError::NoneUsable));

    // A run of blocks ends before one that is not right.
    let third = |method: &str, reply: &mut Value| {
        if method == "get_block" && reply["result"]["block_header"]["height"] == json!(3) {
            reply["result"]["block_header"]["hash"] = json!("11".repeat(32));
        }
    };
    let wrong = pool(vec![node(liar(open.url(), third).await)]);
    assert_eq!(wrong.blocks(1..=5).await.unwrap().len(), 2);
    assert!(matches!(wrong.blocks(3..=5).await, Err(NodeError::Lie(_))));

    // The followed node dies: another takes over.
    let two = pool(vec![node(open.url()), node(format!("http://127.0.0.1:{}", free_port()))]);
    assert_eq!(two.tip().await.unwrap().height, 5);
    drop(open);
    assert!(two.tip().await.is_err());
    drop(locked);
    assert!(nodes.tip().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_longer_chain_that_does_not_contain_the_one_followed_is_not_believed() {
    let (honest, other) = (Daemon::monerod(false).await, Daemon::monerod(false).await);
    let miner = aegis_common::testing::chain::TestWallet::new(1).primary().to_string();
    let mut config = PoolConfig::new(Network::Regtest, vec![node(honest.url()), node(other.url())]);
    (config.max_reorg, config.set_aside) = (3, Duration::from_millis(1));
    let nodes = NodePool::new(&config).unwrap();
    honest.mine(5, &miner).await;
    assert_eq!(nodes.tip().await.unwrap().height, 5);
    let behind = nodes.status()[1].clone();
    assert_eq!(
        (behind.state, behind.reason.unwrap().contains("5 blocks behind")),
        (NodeState::SetAside, true)
    );
    honest.mine(4, &miner).await;
    assert_eq!(nodes.tip().await.unwrap().height, 9);
    other.mine(20, &miner).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(nodes.tip().await.unwrap().height, 9);
    let forked = nodes.status()[1].clone();
    assert_eq!(forked.state, NodeState::SetAside);
    assert!(forked.reason.unwrap().contains("differs from the one followed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_survives_many_calls_at_once() {
    let daemon = Daemon::monerod(true).await;
    let login = Login { username: LOGIN.0.into(), password: LOGIN.1.to_owned().into() };
    let nodes = pool(vec![NodeConfig { url: daemon.url(), login: Some(login) }]);
    let calls = (0..200).map(|_| nodes.header_hash(0));
    for reply in futures_util::future::join_all(calls).await {
        reply.unwrap();
    }
}

#[tokio::test]
async fn a_reply_without_end_and_a_silent_node_are_bounded() {
    let real = Daemon::monerod(false).await;
    let long = liar(real.url(), |_, reply| reply["padding"] = json!("x".repeat(3 << 20))).await;
    let mut config = PoolConfig::new(Network::Regtest, vec![node(long)]);
    config.max_reply = 1 << 20;
    assert_eq!(NodePool::new(&config).unwrap().tip().await, Err(NodeError::TooLarge(1 << 20)));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    config.nodes = vec![node(format!("http://{}", silent.local_addr().unwrap()))];
    config.timeout = Duration::from_millis(300);
    let error = NodePool::new(&config).unwrap().tip().await.unwrap_err();
    assert!(matches!(error, NodeError::Transport(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_still_believed_long_after_a_reorganisation() {
    let daemon = Daemon::monerod(false).await;
    let [one, other] =
        [1, 2].map(|number| aegis_common::testing::chain::TestWallet::new(number).primary().to_string());
    let mut config = PoolConfig::new(Network::Regtest, vec![node(daemon.url())]);
    config.max_reorg = 3;
    let nodes = NodePool::new(&config).unwrap();
    daemon.mine(5, &one).await;
    assert_eq!(nodes.tip().await.unwrap().height, 5);
    daemon.call("/pop_blocks", json!({"nblocks": 2})).await;
    daemon.mine(4, &other).await;
    for height in 7..20 {
        assert_eq!(nodes.tip().await.unwrap().height, height);
        daemon.mine(1, &other).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_nodes_one_that_is_ahead_alone_is_not_followed() {
    let (alone, honest) = (Daemon::monerod(false).await, Daemon::monerod(false).await);
    let [one, other] =
        [1, 2].map(|number| aegis_common::testing::chain::TestWallet::new(number).primary().to_string());
    honest.mine(5, &one).await;
    alone.mine(7, &other).await;
    let mirror = liar(honest.url(), |_, _| {}).await;
    let mut config =
        PoolConfig::new(Network::Regtest, vec![node(alone.url()), node(honest.url()), node(mirror)]);
    config.max_reorg = 3;
    let nodes = NodePool::new(&config).unwrap();
    assert_eq!(nodes.tip().await.unwrap().height, 5);
    let status = nodes.status();
    assert_eq!(status[0].state, NodeState::Up);
    assert_eq!(status[0].disagreement.as_deref(), Some("too few nodes have its block 7"));
    assert_eq!((&status[1].disagreement, &status[2].disagreement), (&None, &None));
    // What it says of a block counts no more.
    let agreed = honest.rpc("get_block_header_by_height", json!({"height": 4})).await;
    assert_eq!(
        nodes.header_hash(4).await.unwrap().to_string(),
        agreed["block_header"]["hash"].as_str().unwrap()
    );
    assert_eq!(nodes.header_hash(7).await, Err(NodeError::Missing));
    alone.mine(10, &other).await;
    assert_eq!(nodes.tip().await.unwrap().height, 5);
    let ahead = nodes.status()[0].clone();
    assert_eq!(ahead.state, NodeState::SetAside);
    assert_eq!(ahead.reason.as_deref(), Some("not believed: it announces block 17, others are at 5"));

    // Nor do its blocks, though it says the others' tip and is asked first.
    let own = alone.rpc("get_block", json!({"height": 2})).await;
    let served = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&served);
    let two_faced = move |method: &str, reply: &mut Value| {
        if method == "get_block" && reply["result"]["block_header"]["height"] == json!(2) {
            reply["result"] = own.clone();
            asked.fetch_add(1, Ordering::SeqCst);
        }
    };
    let two_faced = liar(honest.url(), two_faced).await;
    config.nodes = vec![node(two_faced), node(honest.url()), node(honest.url())];
    let nodes = NodePool::new(&config).unwrap();
    assert_eq!(nodes.tip().await.unwrap().height, 5);
    let agreed = honest.rpc("get_block_header_by_height", json!({"height": 2})).await;
    for range in [2..=2, 2..=3, 2..=5] {
        let run = nodes.blocks(range).await.unwrap();
        assert_eq!(run[0].hash.to_string(), agreed["block_header"]["hash"].as_str().unwrap());
    }
    let first = nodes.status()[0].clone();
    assert_eq!(first.state, NodeState::SetAside);
    assert_eq!(first.reason.as_deref(), Some("not believed: it has another block 2 than the others"));
    nodes.tip().await.unwrap();
    nodes.blocks(2..=2).await.unwrap();
    assert_eq!(served.load(Ordering::SeqCst), 1, "it is not asked first again");

    // Of three that differ or are down none is believed, however long its chain.
    let third = Daemon::monerod(false).await;
    third.mine(17, &one).await;
    for third in [third.url(), format!("http://127.0.0.1:{}", free_port())] {
        config.nodes = vec![node(alone.url()), node(honest.url()), node(third)];
        assert_eq!(NodePool::new(&config).unwrap().tip().await, Err(NodeError::Divided));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_blocks_is_the_same_as_its_blocks_one_by_one_and_ends_before_what_is_wrong() {
    let daemon = Daemon::monerod(false).await;
    let payer = Daemon::wallet(&daemon).await;
    let miner = payer.address().await;
    daemon.mine(80, &miner).await;
    for _ in 0..3 {
        payer.rpc("refresh", json!({})).await;
        let to = json!([{ "address": miner, "amount": 1_000_000_000_000_u64 }]);
        payer.rpc("transfer", json!({ "destinations": to })).await;
    }
    daemon.mine(1, &miner).await;
    let nodes = pool(vec![node(daemon.url())]);
    let (mut next, mut longest) = (1, 0);
    while next <= 81 {
        let run = nodes.blocks(next..=81).await.unwrap();
        longest = longest.max(run.len());
        for block in run {
            assert_eq!(block, nodes.block(next).await.unwrap());
            next += 1;
        }
    }
    assert!(longest > 4, "{longest}");
    assert_eq!(nodes.block(81).await.unwrap().txs.len(), 4);
    assert_eq!(nodes.blocks(81..=90).await.unwrap().len(), 1);
    assert_eq!(nodes.blocks(82..=90).await, Err(NodeError::Missing));

    // A transaction that is held back takes no block with it but its own; whoever alters one is believed nothing.
    let holds_back = |method: &str, reply: &mut Value| {
        if method == "/get_transactions" {
            reply["txs"].as_array_mut().unwrap().pop();
        }
    };
    let alters = |method: &str, reply: &mut Value| {
        if method == "/get_transactions" {
            let blob = reply["txs"][1]["pruned_as_hex"].as_str().unwrap().to_owned();
            let middle = blob.len() / 2;
            let other = if &blob[middle..=middle] == "0" { "1" } else { "0" };
            reply["txs"][1]["pruned_as_hex"] = json!([&blob[..middle], other, &blob[middle + 1..]].concat());
        }
    };
    let silent = pool(vec![node(liar(daemon.url(), holds_back).await)]);
    assert_eq!(silent.blocks(79..=81).await.unwrap().len(), 2);
    let error = silent.blocks(81..=81).await.unwrap_err();
    assert!(matches!(&error, NodeError::Transport(why) if why.contains("without all")), "{error}");
    let forger = pool(vec![node(liar(daemon.url(), alters).await)]);
    let error = forger.blocks(79..=81).await.unwrap_err();
    assert!(matches!(error, NodeError::Lie(_) | NodeError::Parse(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_is_seen_by_its_notice_long_before_the_next_poll() {
    let (daemon, publisher) = Daemon::publishing().await;
    let miner = aegis_common::testing::chain::TestWallet::new(1).primary().to_string();
    daemon.mine(1, &miner).await;
    let mut config = PoolConfig::new(Network::Regtest, vec![node(daemon.url())]);
    // One that is not there, and one that is.
    config.notices = vec![format!("127.0.0.1:{}", free_port()), publisher];
    let nodes = Arc::new(NodePool::new(&config).unwrap());
    let listening = Arc::clone(&nodes);
    tokio::spawn(async move { listening.listen().await });
    let config = Config { poll: Duration::from_secs(3_600), ..Config::default() };
    let (list, store) = (WatchList::new(), Store::default());
    let scanner = Arc::new(PlainScanner);
    let follower = Follower::new(nodes, store.clone(), store, scanner, list, config);
    let mut health = follower.health();
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(follower.run(stopped));
    let mut reaches = async |height: u64| {
        let is_there = |health: &Health| matches!(health, Health::Following(tip) if tip.height >= height);
        let outcome = tokio::time::timeout(Duration::from_secs(120), health.wait_for(is_there))
            .await
            .map(|seen| seen.map(drop));
        outcome.unwrap_or_else(|_| panic!("not at {height} but {:?}", *health.borrow())).unwrap();
    };
    reaches(1).await;
    for height in 2..=4 {
        daemon.mine(1, &miner).await;
        reaches(height).await;
    }
}
