//! One node: its calls, and the checks that make its answers usable.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use aegis_common::address::Network;
use aegis_common::chain::{Block, ParseError, Tx, parse_block, verify_tx};
use aegis_common::hash::Hash32;
use futures_util::stream::{self, StreamExt};
use monero_rpc::{DaemonJsonRpcClient, GetBlockHeaderSelector, RpcClientBuilder};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::breaker::Breaker;
use super::http::{Http, outage};
use super::runs::FIRST_RUN;
use super::{NodeConfig, NodeError, NodeStatus, Place, PoolConfig, Tip};

/// Most transactions a restricted node hands out at once (`RESTRICTED_TRANSACTIONS_COUNT`).
pub(super) const CHUNK: usize = 100;

/// Calls that are made side by side for one question: latency is hidden, and what is in memory stays a few replies.
pub(super) const AT_ONCE: usize = 4;

/// What is known about the node apart from its breaker.
#[derive(Debug, Default)]
struct Knowledge {
    tip: Option<Tip>,
    /// The last tip that was verified, so that it is not fetched at every poll.
    verified: Option<Tip>,
    disagreement: Option<String>,
}

pub(super) struct Node {
    /// Position in the configured list, from 1. Nodes are named by it: a URL may be an onion service's.
    number: usize,
    network: Network,
    set_aside: std::time::Duration,
    pub(super) http: Http,
    /// The `monero-rpc` crate, for the calls it has. It does not bound replies, so only a node on this machine is asked by it;
    /// and it can't log in reliably (nonces are bound to connections).
    basics: Option<DaemonJsonRpcClient>,
    breaker: Mutex<Breaker>,
    network_seen: AtomicBool,
    knowledge: Mutex<Knowledge>,
    /// How many blocks are asked for at once.
    pub(super) run_length: AtomicUsize,
}

/// A transaction as a node gave it: its place, and the content or why it can't be read.
pub(super) type Fetched = (Hash32, Place, Result<Tx, ParseError>);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// `number` is the position in the configured list, from 1.
    pub fn new(number: usize, node: &NodeConfig, config: &PoolConfig) -> Result<Self, NodeError> {
        let url = reqwest::Url::parse(&node.url).map_err(|_| NodeError::Url(number, "not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(NodeError::Url(number, "must be http://host:port or https://host:port"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NodeError::Url(number, "the login does not belong inside the URL"));
        }
        if url.path() != "/" || url.query().is_some() {
            return Err(NodeError::Url(number, "must have no path"));
        }
        let base = url.as_str().trim_end_matches('/').to_owned();
        let is_here = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        let basics = if is_here && node.login.is_none() {
            let client = RpcClientBuilder::new().timeout(config.timeout).build(base.clone());
            Some(client.map_err(|_| NodeError::Setup("the RPC client".into()))?.daemon())
        } else {
            None
        };
        Ok(Self {
            number,
            http: Http::new(base, node.login.clone(), config)?,
            network: config.network,
            set_aside: config.set_aside,
            basics,
            breaker: Mutex::new(Breaker::new(config.failures, config.back_off)),
            network_seen: AtomicBool::new(false),
            knowledge: Mutex::default(),
            run_length: AtomicUsize::new(FIRST_RUN),
        })
    }

    pub fn permit(&self) -> bool {
        lock(&self.breaker).permit(Instant::now())
    }

    /// Books the outcome of a call with the breaker.
    pub fn judge<T>(&self, outcome: Result<T, NodeError>) -> Result<T, NodeError> {
        let mut breaker = lock(&self.breaker);
        match &outcome {
            Ok(_) | Err(NodeError::Missing | NodeError::Unreadable) => breaker.succeed(),
            // Others are silent or disagree: that says nothing of this one.
            Err(NodeError::Divided) => {}
            Err(error @ (NodeError::Lie(_) | NodeError::WrongNetwork(_) | NodeError::Parse(_))) => {
                tracing::warn!(node = self.number, %error, "node set aside");
                self.network_seen.store(false, Ordering::Relaxed);
                breaker.set_aside(Instant::now(), self.set_aside, error.to_string());
            }
            Err(error) => {
                if breaker.fail(Instant::now(), error.to_string()) {
                    tracing::warn!(node = self.number, %error, "node down");
                    self.network_seen.store(false, Ordering::Relaxed);
                }
            }
        }
        outcome
    }

    pub fn status(&self) -> NodeStatus {
        let (state, reason) = lock(&self.breaker).state();
        let knowledge = lock(&self.knowledge);
        let disagreement = knowledge.disagreement.clone();
        NodeStatus { number: self.number, state, reason, tip: knowledge.tip, disagreement }
    }

    pub fn note_disagreement(&self, note: Option<String>) {
        let mut knowledge = lock(&self.knowledge);
        if let Some(note) = note.as_ref().filter(|_| knowledge.disagreement.is_none()) {
            tracing::warn!(node = self.number, %note, "a node disagrees with the one that is followed");
        }
        knowledge.disagreement = note;
    }

    /// Makes sure, once after each outage, that the node is of our network.
    pub async fn ensure_network(&self) -> Result<(), NodeError> {
        if self.network_seen.load(Ordering::Relaxed) { Ok(()) } else { self.tip().await.map(|_| ()) }
    }

    /// The tip as the node announces it.
    pub async fn tip(&self) -> Result<Tip, NodeError> {
        #[derive(Deserialize)]
        struct Info {
            height: u64,
            nettype: String,
            top_block_hash: String,
            #[serde(default = "yes")]
            synchronized: bool,
        }
        let info: Info = self.http.call("/get_info", json!({})).await?;
        let network = match info.nettype.as_str() {
            "mainnet" => Some(Network::Mainnet),
            "stagenet" => Some(Network::Stagenet),
            "testnet" => Some(Network::Testnet),
            "fakechain" => Some(Network::Regtest),
            _ => None,
        };
        if network != Some(self.network) {
            return Err(NodeError::WrongNetwork(info.nettype.chars().take(20).collect()));
        }
        // While it reads the blocks it missed, its top is of the past. A private chain may have no peer to learn from.
        if !info.synchronized && self.network != Network::Regtest {
            return Err(NodeError::Transport("it is still synchronising".into()));
        }
        let height =
            info.height.checked_sub(1).ok_or(NodeError::Malformed("a chain without blocks".into()))?;
        let tip = Tip { height, hash: hash(&info.top_block_hash)? };
        self.network_seen.store(true, Ordering::Relaxed);
        lock(&self.knowledge).tip = Some(tip);
        Ok(tip)
    }

    /// Checks that the announced tip is delivered and links to the block below it. A tip that changed
    /// meanwhile is looked at once more.
    pub async fn verify_tip(&self, announced: Tip) -> Result<Tip, NodeError> {
        let mut tip = announced;
        for _ in 0..2 {
            if lock(&self.knowledge).verified == Some(tip) {
                return Ok(tip);
            }
            let lie = match self.links(tip).await {
                Ok(true) => {
                    lock(&self.knowledge).verified = Some(tip);
                    return Ok(tip);
                }
                Ok(false) => format!("block {} does not link to the one below", tip.height),
                Err(NodeError::Missing) => {
                    format!("it announces block {} and does not deliver it", tip.height)
                }
                Err(NodeError::Parse(error)) => format!("its block {} can't be read: {error}", tip.height),
                Err(NodeError::Lie(lie)) => lie,
                Err(error) => return Err(error),
            };
            let again = self.tip().await?;
            if again == tip {
                return Err(NodeError::Lie(lie));
            }
            tip = again;
        }
        Err(NodeError::Transport("its tip keeps changing".into()))
    }

    async fn links(&self, tip: Tip) -> Result<bool, NodeError> {
        let block = self.block_only(tip.height).await?;
        if block.hash != tip.hash {
            return Err(NodeError::Lie(format!("block {} has another hash than announced", tip.height)));
        }
        Ok(match tip.height.checked_sub(1) {
            Some(below) => self.header_hash(below).await? == block.prev,
            None => block.prev == Hash32([0; 32]),
        })
    }

    /// Hash of the block at a height, as the node's header states it.
    pub async fn header_hash(&self, height: u64) -> Result<Hash32, NodeError> {
        let (found, at) = match &self.basics {
            Some(basics) => {
                let permit = self.http.permits.acquire().await;
                let _permit = permit.map_err(|error| NodeError::Transport(error.to_string()))?;
                match basics.get_block_header(GetBlockHeaderSelector::Height(height)).await {
                    Ok(header) => (Hash32(header.hash.0), header.height),
                    // The crate's error has no code to tell a height too high from an outage.
                    Err(error) => match basics.get_block_count().await {
                        Ok(count) if count.get() <= height => return Err(NodeError::Missing),
                        _ => return Err(NodeError::Transport(outage(error.as_ref()))),
                    },
                }
            }
            None => {
                #[derive(Deserialize)]
                struct Header {
                    height: u64,
                    hash: String,
                }
                #[derive(Deserialize)]
                struct Reply {
                    block_header: Header,
                }
                let params = json!({ "height": height });
                let reply: Reply = self.http.rpc("get_block_header_by_height", params).await?;
                (hash(&reply.block_header.hash)?, reply.block_header.height)
            }
        };
        if at == height {
            Ok(found)
        } else {
            Err(NodeError::Lie(format!("it gives header {at} for {height}")))
        }
    }

    /// A block without its transactions; hash and height are verified against the node's own header.
    pub async fn block_only(&self, height: u64) -> Result<Block, NodeError> {
        self.block_and_length(height).await.map(|(block, _)| block)
    }

    /// The same, and its length in bytes.
    pub(super) async fn block_and_length(&self, height: u64) -> Result<(Block, usize), NodeError> {
        #[derive(Deserialize)]
        struct Header {
            hash: String,
        }
        #[derive(Deserialize)]
        struct Reply {
            blob: String,
            block_header: Header,
        }
        let reply: Reply = self.http.rpc("get_block", json!({ "height": height })).await?;
        let blob = unhex(&reply.blob)?;
        let block = parse_block(&blob)?;
        if block.hash != hash(&reply.block_header.hash)? {
            return Err(NodeError::Lie(format!("block {height} does not have the hash of its header")));
        }
        if block.height != height {
            return Err(NodeError::Lie(format!("block {} was given for {height}", block.height)));
        }
        Ok((block, blob.len()))
    }

    /// Whether the tip that it announced last is at least so high.
    pub(super) fn has_announced(&self, height: u64) -> bool {
        lock(&self.knowledge).tip.is_some_and(|tip| height <= tip.height)
    }

    /// Hashes of the mempool, at most so many.
    pub async fn pool_hashes(&self, most: usize) -> Result<Vec<Hash32>, NodeError> {
        #[derive(Deserialize)]
        struct Reply {
            #[serde(default)]
            tx_hashes: Vec<String>,
        }
        let reply: Reply = self.http.call("/get_transaction_pool_hashes", json!({})).await?;
        if reply.tx_hashes.len() > most {
            tracing::warn!(count = reply.tx_hashes.len(), most, "mempool is larger than what is watched");
        }
        reply.tx_hashes.iter().take(most).map(|text| hash(text)).collect()
    }

    /// Transactions by hash, in the order asked for; those the node misses are left out. Every one that
    /// parses has its hash. Together they are no longer than one reply may be.
    pub async fn transactions(&self, hashes: &[Hash32]) -> Result<Vec<Fetched>, NodeError> {
        let mut all = Vec::with_capacity(hashes.len());
        let mut room = self.http.max_reply;
        // Nothing is waited for between them: a call that is not gone on with may hold what another one needs.
        let asked: Vec<_> = hashes.chunks(CHUNK).map(|chunk| self.verified(chunk)).collect();
        let mut asked = stream::iter(asked).buffered(AT_ONCE);
        while let Some(some) = asked.next().await {
            let (some, bytes) = some?;
            room = room.checked_sub(bytes).ok_or(NodeError::TooLarge(self.http.max_reply))?;
            all.extend(some);
        }
        Ok(all)
    }

    /// As many as one call gives, and how many bytes they were.
    async fn verified(&self, hashes: &[Hash32]) -> Result<(Vec<Fetched>, usize), NodeError> {
        let (mut all, mut bytes) = (Vec::with_capacity(hashes.len()), 0);
        for entry in self.fetch(hashes, true).await? {
            bytes += entry.blob.len();
            let (hash, place) = (entry.hash, entry.place);
            // The id of version 1 covers the signatures, which pruning cuts off.
            let tx = if entry.blob.first() == Some(&1) {
                let Some(full) = self.fetch(&[hash], false).await?.pop() else { continue };
                bytes += full.blob.len();
                match full.blob.is_empty() {
                    // A pruned node has no more of it.
                    true => Err(ParseError::RetiredRct(0)),
                    false => verify_tx(&full.blob, None, hash),
                }
            } else {
                verify_tx(&entry.blob, entry.prunable, hash)
            };
            match tx {
                Err(ParseError::HashMismatch) => {
                    return Err(NodeError::Lie("a transaction does not have the hash asked for".into()));
                }
                tx => all.push((hash, place, tx)),
            }
        }
        Ok((all, bytes))
    }

    async fn fetch(&self, hashes: &[Hash32], prune: bool) -> Result<Vec<Entry>, NodeError> {
        #[derive(Deserialize)]
        struct Item {
            tx_hash: String,
            #[serde(default)]
            as_hex: String,
            #[serde(default)]
            pruned_as_hex: String,
            #[serde(default)]
            prunable_hash: String,
            #[serde(default)]
            block_height: u64,
            in_pool: bool,
        }
        #[derive(Deserialize)]
        struct Reply {
            #[serde(default)]
            txs: Vec<Item>,
        }
        let body = json!({ "txs_hashes": hashes, "prune": prune });
        let reply: Reply = self.http.call("/get_transactions", body).await?;
        let mut entries = Vec::new();
        // monerod keeps the order, mempool transactions included; what it misses is left out.
        let mut asked = hashes.iter();
        for item in reply.txs {
            let hash = hash(&item.tx_hash)?;
            if !asked.any(|other| *other == hash) {
                return Err(NodeError::Malformed(
                    "transactions that were not asked for, or in disorder".into(),
                ));
            }
            let blob = unhex(if prune { &item.pruned_as_hex } else { &item.as_hex })?;
            let prunable = item.prunable_hash.parse().ok();
            let place = if item.in_pool { Place::Pool } else { Place::Block(item.block_height) };
            entries.push(Entry { hash, blob, prunable, place });
        }
        Ok(entries)
    }

    /// Where a transaction is, and the hash of its block, which must contain it.
    pub async fn find(&self, wanted: Hash32) -> Result<(Tx, Place, Option<Hash32>), NodeError> {
        let (_, place, tx) = self.transactions(&[wanted]).await?.pop().ok_or(NodeError::Missing)?;
        let tx = tx.map_err(|error| match error {
            ParseError::RetiredRct(_) => NodeError::Unreadable,
            other => other.into(),
        })?;
        let mut within = None;
        if let Place::Block(height) = place {
            let block = self.block_only(height).await?;
            if block.miner_tx.hash != wanted && !block.tx_hashes.contains(&wanted) {
                return Err(NodeError::Transport(
                    "the transaction is not in the block it is said to be in".into(),
                ));
            }
            within = Some(block.hash);
        }
        Ok((tx, place, within))
    }
}

struct Entry {
    hash: Hash32,
    blob: Vec<u8>,
    prunable: Option<Hash32>,
    place: Place,
}

fn yes() -> bool {
    true
}

fn hash(text: &str) -> Result<Hash32, NodeError> {
    text.parse().map_err(|_| NodeError::Malformed("not a hash".into()))
}

fn unhex(text: &str) -> Result<Vec<u8>, NodeError> {
    hex::decode(text).map_err(|_| NodeError::Malformed("not hexadecimal".into()))
}
