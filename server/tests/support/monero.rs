//! Real monerod and monero-wallet-rpc on a private regtest chain; both are killed on drop.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use digest_auth::{AuthContext, HttpMethod};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The login both programs are started with where they have one.
pub const LOGIN: (&str, &str) = ("aegis", "test-only");

/// For one call: mining or scanning a hundred blocks takes a minute on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(300);

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program with an RPC port.
pub struct Daemon {
    child: Child,
    port: u16,
    login: bool,
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
        let mut daemon = Self { child, port, login, _dir: dir };
        let (begun, ask) = (Instant::now(), json!({"jsonrpc": "2.0", "id": "0", "method": "get_version"}));
        loop {
            let Err(why) = daemon.try_post("/json_rpc", &ask).await else { return daemon };
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("{program} ended at its start with {status}; {why}");
            }
            assert!(begun.elapsed() < PATIENCE, "{program} does not answer: {why}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A node with its own empty chain.
    pub async fn monerod(login: bool) -> Self {
        Self::node(login, vec!["--no-zmq".into()]).await
    }

    /// The same with notices of what is new, and where they come from.
    pub async fn publishing() -> (Self, String) {
        let address = format!("127.0.0.1:{}", free_port());
        let zmq = vec![format!("--zmq-pub=tcp://{address}"), format!("--zmq-rpc-bind-port={}", free_port())];
        (Self::node(false, zmq).await, address)
    }

    async fn node(login: bool, more: Vec<String>) -> Self {
        let flags = "--regtest --offline --fixed-difficulty=1 --rpc-bind-ip=127.0.0.1 --no-igd --hide-my-port \
                     --non-interactive --disable-rpc-ban --max-concurrency=1 --log-level=0";
        Self::start("monerod", login, |dir, port| {
            let own = [
                format!("--data-dir={dir}"),
                format!("--rpc-bind-port={port}"),
                format!("--p2p-bind-port={}", free_port()),
            ];
            flags.split_whitespace().map(String::from).chain(own).chain(more).collect()
        })
        .await
    }

    /// A wallet at a node without a login.
    pub async fn wallet(node: &Self) -> Self {
        let wallet = Self::bare_wallet(node).await;
        wallet.rpc("create_wallet", json!({"filename": "w", "password": "", "language": "English"})).await;
        wallet
    }

    /// The same without a wallet in it.
    pub async fn bare_wallet(node: &Self) -> Self {
        Self::start("monero-wallet-rpc", true, |dir, port| {
            vec![
                format!("--wallet-dir={dir}"),
                format!("--rpc-bind-port={port}"),
                format!("--daemon-address={}", node.url().trim_start_matches("http://")),
                "--trusted-daemon".into(),
                "--log-level=0".into(),
            ]
        })
        .await
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// One call over one connection of its own: a digest nonce is good on the connection it came by only, and a pooling
    /// client may open another for the answer (about one call in ten, more on a busy machine).
    async fn try_post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let exchange = async {
            let mut stream =
                TcpStream::connect(("127.0.0.1", self.port)).await.map_err(told("connecting"))?;
            let mut reply = exchange(&mut stream, path, body, None).await?;
            if self.login && reply.status == 401 {
                let answer = respond(&reply.head, path, &body.to_string())?;
                reply = exchange(&mut stream, path, body, Some(&answer)).await?;
            }
            match reply.status {
                200 => serde_json::from_slice(&reply.body).map_err(told("the reply is no JSON")),
                status => Err(format!("HTTP status {status}: {}", reply.head)),
            }
        };
        let within = tokio::time::timeout(PATIENCE, exchange).await;
        within.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
    }

    /// A call outside JSON-RPC.
    pub async fn call(&self, path: &str, body: Value) -> Value {
        self.try_post(path, &body).await.unwrap_or_else(|why| panic!("{path} {body}: {why}"))
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

fn told<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// One HTTP/1.1 exchange on a connection that stays open. Both programs always give a length.
async fn exchange(
    stream: &mut TcpStream,
    path: &str,
    body: &Value,
    authorization: Option<&str>,
) -> Result<Reply, String> {
    let body = body.to_string();
    let login = authorization.map_or(String::new(), |answer| format!("Authorization: {answer}\r\n"));
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         {login}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.map_err(told("sending"))?;
    let (mut bytes, mut head_end) = (Vec::new(), None);
    loop {
        if let Some(end) = head_end.or_else(|| bytes.windows(4).position(|four| four == b"\r\n\r\n")) {
            head_end = Some(end);
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = header(&head, "content-length").next().ok_or("a reply without a length")?;
            let length: usize = length.parse().map_err(told("length"))?;
            if bytes.len() >= end + 4 + length {
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                let status = status.ok_or("a reply without a status")?;
                return Ok(Reply { status, head, body: bytes[end + 4..end + 4 + length].to_vec() });
            }
        }
        if stream.read_buf(&mut bytes).await.map_err(told("reading"))? == 0 {
            return Err(format!("the connection ended after {} bytes", bytes.len()));
        }
    }
}

fn header<'a>(head: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = head.lines().filter_map(|line| line.split_once(':'));
    named.filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn respond(head: &str, path: &str, body: &str) -> Result<String, String> {
    let challenge = header(head, "www-authenticate").next().ok_or("401 without a challenge")?;
    let context =
        AuthContext::new_with_method(LOGIN.0, LOGIN.1, path, Some(body.as_bytes()), HttpMethod::POST);
    let answer = digest_auth::parse(challenge).and_then(|mut challenge| challenge.respond(&context));
    Ok(answer.map_err(told("the challenge can't be answered"))?.to_header_string())
}
