//! Real monerod and monero-wallet-rpc on a private regtest chain; both are killed on drop.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use digest_auth::{AuthContext, HttpMethod};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The login both programs are started with where they have one.
pub const LOGIN: (&str, &str) = ("aegis", "test-only");

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program with an RPC port.
pub struct Daemon {
    child: Child,
    url: String,
    login: bool,
    client: reqwest::Client,
    _dir: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    async fn start(program: &str, login: bool, arguments: impl FnOnce(&str, u16) -> Vec<String>) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let mut command = Command::new(program);
        command.args(arguments(dir.path().to_str().unwrap(), port));
        if login {
            command.arg(format!("--rpc-login={}:{}", LOGIN.0, LOGIN.1));
        }
        let child =
            command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = child.spawn().unwrap();
        let client = reqwest::Client::builder().pool_max_idle_per_host(1).timeout(Duration::from_secs(120));
        let url = format!("http://127.0.0.1:{port}");
        let daemon = Self { child, url, login, client: client.build().unwrap(), _dir: dir };
        for _ in 0..300 {
            if daemon.try_post("/json_rpc", &json!({"method": "get_version"})).await.is_some() {
                return daemon;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{program} does not answer");
    }

    /// A node with its own empty chain.
    pub async fn monerod(login: bool) -> Self {
        let flags = "--regtest --offline --fixed-difficulty=1 --rpc-bind-ip=127.0.0.1 --no-zmq --no-igd --hide-my-port \
                     --non-interactive --disable-rpc-ban --max-concurrency=1 --log-level=0";
        Self::start("monerod", login, |dir, port| {
            let own = [
                format!("--data-dir={dir}"),
                format!("--rpc-bind-port={port}"),
                format!("--p2p-bind-port={}", free_port()),
            ];
            flags.split_whitespace().map(String::from).chain(own).collect()
        })
        .await
    }

    /// Wallets that talk to a node without a login.
    pub async fn wallet(node: &Self) -> Self {
        let wallet = Self::start("monero-wallet-rpc", true, |dir, port| {
            vec![
                format!("--wallet-dir={dir}"),
                format!("--rpc-bind-port={port}"),
                format!("--daemon-address={}", node.url.trim_start_matches("http://")),
                "--trusted-daemon".into(),
                "--log-level=0".into(),
            ]
        })
        .await;
        wallet.rpc("create_wallet", json!({"filename": "w", "password": "", "language": "English"})).await;
        wallet
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    async fn try_post(&self, path: &str, body: &Value) -> Option<Value> {
        let url = format!("{}{path}", self.url);
        let mut request = self.client.post(&url).json(body);
        if self.login {
            let refused = self.client.post(&url).json(body).send().await.ok()?;
            let challenge = refused.headers().get("www-authenticate")?.to_str().ok()?.to_owned();
            refused.bytes().await.ok()?;
            let text = body.to_string();
            let context =
                AuthContext::new_with_method(LOGIN.0, LOGIN.1, path, Some(text.as_bytes()), HttpMethod::POST);
            let answer = digest_auth::parse(&challenge).ok()?.respond(&context).ok()?;
            request = request.header("authorization", answer.to_header_string());
        }
        let reply = request.send().await.ok()?;
        if reply.status().is_success() { reply.json().await.ok() } else { None }
    }

    /// A call outside JSON-RPC.
    pub async fn call(&self, path: &str, body: Value) -> Value {
        self.try_post(path, &body).await.unwrap()
    }

    /// A JSON-RPC call that must succeed.
    pub async fn rpc(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": "0", "method": method, "params": params});
        let reply = self.call("/json_rpc", body).await;
        assert!(reply.get("error").is_none(), "{method}: {reply}");
        reply["result"].clone()
    }

    /// Mines blocks to an address.
    pub async fn mine(&self, blocks: u64, to: &str) {
        self.rpc("generateblocks", json!({"amount_of_blocks": blocks, "wallet_address": to})).await;
    }

    /// The wallet's primary address.
    pub async fn address(&self) -> String {
        let reply = self.rpc("get_address", json!({"account_index": 0})).await;
        reply["address"].as_str().unwrap().to_owned()
    }
}
