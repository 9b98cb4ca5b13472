//! A private chain: monerod on regtest, killed when dropped.

#![allow(dead_code, reason = "each test file uses a part")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aegis::keys::Secret;
use aegis::wallet::{FeeRate, Priority, ProcessOptions, WalletProcess};
use aegis_common::address::{Address, Network};
use serde_json::{Value, json};
use tempfile::TempDir;

pub struct Monerod {
    child: Child,
    pub address: String,
    http: reqwest::Client,
    _dir: TempDir,
}

impl Drop for Monerod {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Monerod {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (rpc, p2p) = (port().to_string(), port().to_string());
        let child = Command::new("monerod")
            .args(["--regtest", "--offline", "--fixed-difficulty", "1", "--data-dir"])
            .arg(dir.path())
            .args(["--rpc-bind-ip", "127.0.0.1", "--rpc-bind-port", &rpc, "--p2p-bind-port", &p2p])
            .args(["--no-zmq", "--no-igd", "--hide-my-port", "--non-interactive", "--disable-rpc-ban"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let node = Self { child, address: format!("127.0.0.1:{rpc}"), http, _dir: dir };
        let started = Instant::now();
        while node.try_call("get_info", json!({})).await.is_none() {
            assert!(started.elapsed() < Duration::from_secs(60), "monerod does not answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        node
    }

    async fn try_call(&self, method: &str, params: Value) -> Option<Value> {
        let body = json!({"jsonrpc": "2.0", "id": "0", "method": method, "params": params});
        let reply =
            self.http.post(format!("http://{}/json_rpc", self.address)).json(&body).send().await.ok()?;
        let reply: Value = reply.json().await.ok()?;
        reply.get("result").cloned()
    }

    pub async fn mine(&self, blocks: u64, to: &Address) {
        let params = json!({"amount_of_blocks": blocks, "wallet_address": to});
        self.try_call("generateblocks", params).await.unwrap();
    }

    pub async fn fee_rate(&self, priority: Priority) -> FeeRate {
        let reply = self.try_call("get_fee_estimate", json!({"grace_blocks": 10})).await.unwrap();
        let per_byte = reply["fees"][priority.index()].as_u64().unwrap();
        FeeRate { per_byte, mask: reply["quantization_mask"].as_u64().unwrap() }
    }
}

pub fn options(node: &Monerod, folder: &Path) -> ProcessOptions {
    ProcessOptions {
        program: "monero-wallet-rpc".into(),
        folder: folder.to_owned(),
        daemon: node.address.clone(),
        daemon_login: None,
        network: Network::Regtest,
    }
}

/// An ordinary wallet with coins to give.
pub async fn faucet(node: &Monerod, folder: &Path) -> (WalletProcess, Address) {
    let process = WalletProcess::start(options(node, folder)).await.unwrap();
    process.rpc().create_wallet("faucet", &Secret::new("x")).await.unwrap();
    let address = process.rpc().get_address().await.unwrap();
    node.mine(80, &address).await;
    process.rpc().refresh().await.unwrap();
    (process, address)
}
