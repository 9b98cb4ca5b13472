//! JSON-RPC over HTTP with digest login (RFC 7616), one request at a time on one connection: the wallet binds its
//! digest nonces to the connection (Monero `contrib/epee/src/http_auth.cpp`).

use std::fmt;
use std::time::Duration;

use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::error::WalletError;
use crate::keys::Secret;

const PATH: &str = "/json_rpc";

/// How often a request is sent before the login counts as refused. A nonce is good on its own connection only, and on a
/// loaded machine that connection is often not yet free again when the answer is sent, which then goes out on another.
const LOGIN_ATTEMPTS: u32 = 10;
/// The pause before the second answer; it grows with each.
const LOGIN_PAUSE: Duration = Duration::from_millis(5);

/// User name and password of `--rpc-login`.
#[derive(Debug, Clone)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
}

/// How long a call may take and how much it may answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(super) timeout: Duration,
    pub(super) bytes: usize,
}

impl Limits {
    const fn new(seconds: u64, bytes: usize) -> Self {
        Self { timeout: Duration::from_secs(seconds), bytes }
    }

    /// Answers from memory: milliseconds.
    pub(crate) const QUICK: Self = Self::new(20, 1 << 20);
    /// Makes keys or opens files: a few seconds, up to twenty on a loaded machine.
    pub(super) const KEYS: Self = Self::new(120, 1 << 20);
    /// Asks the node about blocks: unbounded by nature, so long and repeatable.
    pub(super) const CHAIN: Self = Self::new(600, 1 << 20);
    /// Carries multisig data or a transaction set, which grows by some 7 kB of hex an input.
    pub(super) const SIGNING: Self = Self::new(300, 16 << 20);
}

/// The typed client; the calls stand in `calls.rs` and `signing.rs`. Cheap to share behind an `Arc`; calls queue up.
pub struct WalletRpc {
    client: Client,
    url: Url,
    login: Option<Login>,
    // Holds the last challenge, and admits one call at a time.
    challenge: Mutex<Option<WwwAuthenticateHeader>>,
}

impl fmt::Debug for WalletRpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WalletRpc")
    }
}

#[derive(Deserialize)]
struct Envelope {
    result: Option<Value>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    code: i64,
    message: String,
}

impl WalletRpc {
    /// A client for `http://host:port`. No connection is made yet.
    pub fn new(url: &str, login: Option<Login>) -> Result<Self, WalletError> {
        let mut url =
            Url::parse(url).map_err(|_| WalletError::BadArgument("the wallet's URL does not parse"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(WalletError::BadArgument("the wallet's URL is neither http nor https"));
        }
        url.set_path(PATH);
        let client = Client::builder()
            .no_proxy()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(1)
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(|e| WalletError::Unreachable(e.without_url().to_string()))?;
        Ok(Self { client, url, login, challenge: Mutex::new(None) })
    }

    /// One call. Waits for calls before it; the limit counts from its own start.
    pub(crate) async fn call<R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
        limits: Limits,
    ) -> Result<R, WalletError> {
        let body = json!({"jsonrpc": "2.0", "id": "0", "method": method, "params": params});
        let bytes = self.reply(PATH, method, body, limits).await?;
        // serde_json names positions and types, never content.
        let bad = |e: serde_json::Error| WalletError::BadReply { method, detail: e.to_string() };
        let envelope: Envelope = serde_json::from_slice(&bytes)
            .map_err(|_| WalletError::BadReply { method, detail: "not JSON-RPC".to_owned() })?;
        match envelope {
            Envelope { error: Some(Failure { code, message }), .. } => {
                Err(WalletError::classify(method, code, &message))
            }
            Envelope { result: Some(result), .. } => serde_json::from_value(result).map_err(bad),
            _ => Err(WalletError::BadReply { method, detail: "neither result nor error".to_owned() }),
        }
    }

    /// One of a node's calls that are no JSON-RPC, named by its path.
    pub(crate) async fn post<R: DeserializeOwned>(
        &self,
        path: &'static str,
        body: Value,
        limits: Limits,
    ) -> Result<R, WalletError> {
        let bytes = self.reply(path, path, body, limits).await?;
        serde_json::from_slice(&bytes)
            .map_err(|e| WalletError::BadReply { method: path, detail: e.to_string() })
    }

    async fn reply(
        &self,
        path: &'static str,
        method: &'static str,
        body: Value,
        limits: Limits,
    ) -> Result<Zeroizing<Vec<u8>>, WalletError> {
        let mut challenge = self.challenge.lock().await;
        let body = Zeroizing::new(body.to_string());
        let exchange = self.exchange(path, method, &body, limits.bytes, &mut challenge);
        let Ok(bytes) = timeout(limits.timeout, exchange).await else {
            // The connection went with the cancelled request, and its nonce with it.
            *challenge = None;
            return Err(WalletError::Timeout { method, seconds: limits.timeout.as_secs() });
        };
        bytes
    }

    async fn exchange(
        &self,
        path: &'static str,
        method: &'static str,
        body: &str,
        limit: usize,
        challenge: &mut Option<WwwAuthenticateHeader>,
    ) -> Result<Zeroizing<Vec<u8>>, WalletError> {
        let mut url = self.url.clone();
        url.set_path(path);
        for attempt in 0..LOGIN_ATTEMPTS {
            // The first two belong to every login.
            tokio::time::sleep(LOGIN_PAUSE * attempt.saturating_sub(1)).await;
            let answer = self.answer(path, challenge.as_mut())?;
            let request = self.client.post(url.clone()).header(CONTENT_TYPE, "application/json");
            let mut request = request.body(body.to_owned());
            if let Some(answer) = answer {
                request = request.header(AUTHORIZATION, answer);
            }
            let response = request.send().await.map_err(unreachable)?;
            match response.status() {
                StatusCode::OK => return bounded(response, method, limit).await,
                StatusCode::UNAUTHORIZED if self.login.is_some() => {
                    *challenge = Some(read_challenge(&response)?);
                    // Reading the body to its end keeps the connection, and with it the nonce.
                    bounded(response, method, 64 << 10).await?;
                }
                StatusCode::UNAUTHORIZED => return Err(WalletError::Unauthorized),
                other => {
                    return Err(WalletError::BadReply { method, detail: format!("HTTP status {other}") });
                }
            }
        }
        *challenge = None;
        Err(WalletError::Unauthorized)
    }

    fn answer(
        &self,
        path: &str,
        challenge: Option<&mut WwwAuthenticateHeader>,
    ) -> Result<Option<String>, WalletError> {
        let (Some(login), Some(challenge)) = (&self.login, challenge) else { return Ok(None) };
        let context = AuthContext::new_with_method(
            login.username.as_str(),
            login.password.expose(),
            path,
            Option::<&'static [u8]>::None,
            HttpMethod::POST,
        );
        let answer = challenge.respond(&context).map_err(|_| WalletError::Unauthorized)?;
        Ok(Some(answer.to_header_string()))
    }
}

fn unreachable(error: reqwest::Error) -> WalletError {
    WalletError::Unreachable(error.without_url().to_string())
}

fn read_challenge(response: &Response) -> Result<WwwAuthenticateHeader, WalletError> {
    let headers = response.headers().get_all(WWW_AUTHENTICATE);
    let mut challenges = headers.iter().filter_map(|value| digest_auth::parse(value.to_str().ok()?).ok());
    challenges.next().ok_or(WalletError::Unauthorized)
}

async fn bounded(
    mut response: Response,
    method: &'static str,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, WalletError> {
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if bytes.len() + chunk.len() > limit {
            return Err(WalletError::TooLarge { method, limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
