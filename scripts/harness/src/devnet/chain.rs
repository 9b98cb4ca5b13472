//! monerod in regtest mode: blocks on demand, reorganisations on demand.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aegis_common::hash::Hash32;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::net;
use crate::process::{Process, RunDir};
use crate::rpc::Rpc;

/// It answers after 2 to 4 s; a busy machine takes longer.
const START_LIMIT: Duration = Duration::from_secs(90);

#[derive(Deserialize)]
struct Count {
    count: u64,
}

#[derive(Deserialize)]
struct Generated {
    height: u64,
}

#[derive(Deserialize)]
struct Transactions {
    #[serde(default)]
    txs: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(default)]
    tx_hashes: Vec<Hash32>,
}

#[derive(Deserialize)]
struct Sent {
    status: String,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct Transaction {
    tx_hash: Hash32,
    as_hex: String,
    #[serde(default)]
    as_json: String,
    in_pool: bool,
    /// Only of one in the pool.
    #[serde(default)]
    relayed: bool,
    #[serde(default)]
    block_height: u64,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    rct_signatures: Signatures,
}

#[derive(Deserialize, Default)]
struct Signatures {
    #[serde(rename = "txnFee", default)]
    fee: u64,
}

/// A transaction as the chain has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnChain {
    /// Its network fee in piconero.
    pub fee: u64,
    /// Its block; none while it is in the pool.
    pub height: Option<u64>,
}

/// A private chain.
pub struct Chain {
    process: std::sync::Mutex<Option<Process>>,
    rpc: Rpc,
    port: u16,
    zmq: u16,
    // Held while blocks are made or undone, so that a reorganisation is one step for everybody else.
    gate: Mutex<()>,
}

impl Chain {
    /// Starts monerod with its data in the run directory. A chain that is there already goes on.
    pub async fn start(run: &RunDir) -> Result<Arc<Self>> {
        let data = run.folder("chain")?;
        // Another program may take a port between the probe and monerod's bind.
        for _ in 0..3 {
            let (port, p2p, zmq) = (net::free_port()?, net::free_port()?, net::free_port()?);
            let mut command = Command::new("monerod");
            command.args(["--regtest", "--offline", "--fixed-difficulty", "1", "--no-igd", "--hide-my-port"]);
            command.args(["--non-interactive", "--disable-rpc-ban", "--disable-dns-checkpoints"]);
            command.args(["--check-updates", "disabled", "--p2p-bind-ip", "127.0.0.1", "--log-level", "0"]);
            // A dozen wallets and a server share it.
            command.args(["--rpc-max-connections-per-private-ip", "200", "--rpc-max-connections", "400"]);
            command.arg("--data-dir").arg(&data).arg("--log-file").arg(run.log("monerod-own"));
            command.args(["--rpc-bind-port", &port.to_string(), "--p2p-bind-port", &p2p.to_string()]);
            command.args(["--zmq-rpc-bind-port", &zmq.to_string()]);
            let mut process = run.spawn("monerod", &mut command)?;
            let rpc = Rpc::new(port, None)?;
            let answers = net::until("monerod", START_LIMIT, Duration::from_millis(200), async || {
                if process.ended()?.is_some() {
                    return Ok(Some(false));
                }
                Ok(rpc.call::<Count>("get_block_count", json!({})).await.ok().map(|_| true))
            });
            if answers.await? {
                let process = std::sync::Mutex::new(Some(process));
                return Ok(Arc::new(Self { process, rpc, port, zmq, gate: Mutex::new(()) }));
            }
        }
        bail!("monerod does not start; see {}", run.log("monerod").display())
    }

    /// A chain that another process has started.
    pub fn attach(port: u16, zmq: u16) -> Result<Arc<Self>> {
        let rpc = Rpc::new(port, None)?;
        Ok(Arc::new(Self { process: std::sync::Mutex::new(None), rpc, port, zmq, gate: Mutex::new(()) }))
    }

    /// Its RPC port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its ZMQ port on loopback.
    pub fn zmq_port(&self) -> u16 {
        self.zmq
    }

    /// `host:port`, as wallets want it.
    pub fn daemon(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its RPC, for everything else.
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    /// Lets monerod run when this value is dropped.
    pub fn keep(&self) {
        if let Ok(mut process) = self.process.lock()
            && let Some(process) = process.as_mut()
        {
            process.keep();
        }
    }

    /// Height of the newest block; the first block has height 0.
    pub async fn height(&self) -> Result<u64> {
        let count: Count = self.rpc.call("get_block_count", json!({})).await?;
        count.count.checked_sub(1).context("monerod has no block")
    }

    async fn generate(&self, blocks: u64, to: &str) -> Result<u64> {
        // Some fifty blocks a second; small steps keep every call short.
        let mut height = None;
        let mut left = blocks;
        while left > 0 {
            let step = left.min(25);
            let params = json!({"amount_of_blocks": step, "wallet_address": to});
            height = Some(self.rpc.call::<Generated>("generateblocks", params).await?.height);
            left -= step;
        }
        match height {
            Some(height) => Ok(height),
            None => self.height().await,
        }
    }

    /// Makes blocks whose rewards go to an address; gives the new height.
    pub async fn mine(&self, blocks: u64, to: &str) -> Result<u64> {
        let _gate = self.gate.lock().await;
        self.generate(blocks, to).await
    }

    /// Undoes the newest blocks; their transactions return to the pool. Gives the new height.
    pub async fn pop_blocks(&self, blocks: u64) -> Result<u64> {
        let _gate = self.gate.lock().await;
        self.pop(blocks).await
    }

    async fn pop(&self, blocks: u64) -> Result<u64> {
        let _: Value = self.rpc.raw("/pop_blocks", json!({"nblocks": blocks})).await?;
        self.height().await
    }

    /// A reorganisation in one step: undoes `depth` blocks, forgets the given transactions, and makes `depth + 1` other
    /// blocks. Every other transaction of the undone blocks is mined again. Gives the new height.
    pub async fn reorganise(&self, depth: u64, forget: &[Hash32], to: &str) -> Result<u64> {
        let _gate = self.gate.lock().await;
        self.replace(depth, forget, to).await
    }

    /// monerod returns undone transactions to its pool, but judges them at the lower height, where a ring member can be too
    /// young, and then never tries them again while that block stands (`tx_memory_pool::is_transaction_ready_to_go`).
    /// So they are taken out and sent again at the old height.
    async fn replace(&self, depth: u64, forget: &[Hash32], to: &str) -> Result<u64> {
        let tip = self.height().await?;
        let mut undone = Vec::new();
        for height in tip.saturating_sub(depth) + 1..=tip {
            let block: Block = self.rpc.call("get_block", json!({"height": height})).await?;
            undone.extend(block.tx_hashes);
        }
        let mut kept = Vec::new();
        if !undone.is_empty() {
            let found: Transactions =
                self.rpc.raw("/get_transactions", json!({"txs_hashes": undone})).await?;
            kept.extend(found.txs.into_iter().filter(|tx| !forget.contains(&tx.tx_hash)));
        }
        self.pop(depth).await?;
        if !undone.is_empty() {
            let _: Value = self.rpc.call("flush_txpool", json!({"txids": undone})).await?;
        }
        self.generate(depth, to).await?;
        for tx in &kept {
            let sent: Sent = self.rpc.raw("/send_raw_transaction", json!({"tx_as_hex": tx.as_hex})).await?;
            ensure!(
                sent.status == "OK",
                "{} is refused after the reorganisation: {}",
                tx.tx_hash,
                sent.reason
            );
        }
        self.sent_on(kept.into_iter().map(|tx| tx.tx_hash).collect()).await?;
        self.generate(1, to).await
    }

    /// Waits until monerod has sent transactions on. Before that, a moment after it took them, it does not mine them
    /// (`tx_memory_pool::fill_block_template` passes over those that are only known here).
    async fn sent_on(&self, txids: Vec<Hash32>) -> Result<()> {
        for _ in 0..300 {
            let found: Transactions = self.rpc.raw("/get_transactions", json!({"txs_hashes": txids})).await?;
            if found.txs.iter().all(|tx| !tx.in_pool || tx.relayed) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("monerod has not sent on what was sent again")
    }

    /// A reorganisation that undoes the block of one transaction and forgets it. Gives the number of blocks undone.
    pub async fn undo(&self, txid: Hash32, to: &str) -> Result<u64> {
        let _gate = self.gate.lock().await;
        let found = self.transaction(txid).await?.and_then(|tx| tx.height);
        let height = found.context("the transaction to be undone is in no block")?;
        let depth = (self.height().await? + 1).saturating_sub(height);
        self.replace(depth, &[txid], to).await?;
        Ok(depth)
    }

    /// A transaction in chain or pool, `None` where it is in neither.
    pub async fn transaction(&self, txid: Hash32) -> Result<Option<OnChain>> {
        let body = json!({"txs_hashes": [txid.to_string()], "decode_as_json": true});
        let found: Transactions = self.rpc.raw("/get_transactions", body).await?;
        let Some(tx) = found.txs.first() else { return Ok(None) };
        let body: Body = serde_json::from_str(&tx.as_json).context("monerod's rendering of a transaction")?;
        let height = (!tx.in_pool).then_some(tx.block_height);
        Ok(Some(OnChain { fee: body.rct_signatures.fee, height }))
    }
}
