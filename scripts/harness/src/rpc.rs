//! JSON over HTTP to monerod and monero-wallet-rpc.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use digest_auth::{AuthContext, HttpMethod};
use reqwest::{Client, Response, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// Mining a hundred blocks or scanning them on a busy machine takes a while.
const LIMIT: Duration = Duration::from_secs(180);

/// An answer with an error of the program itself.
#[derive(Debug, thiserror::Error)]
#[error("{method}: {message} ({code})")]
pub struct RpcError {
    /// What was asked.
    pub method: String,
    /// Monero's error code, e.g. -35 for stale signing data.
    pub code: i64,
    /// Its message.
    pub message: String,
}

#[derive(Deserialize)]
struct Envelope {
    result: Option<Value>,
    error: Option<ErrorBody>,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: i64,
    message: String,
}

/// One program's RPC. Calls go one at a time: digest nonces belong to a connection.
pub struct Rpc {
    base: String,
    login: Option<(String, String)>,
    client: Client,
    gate: Mutex<()>,
}

impl Rpc {
    /// The RPC at a port of loopback, with its digest login where it asks for one.
    pub fn new(port: u16, login: Option<(String, String)>) -> Result<Self> {
        let client = Client::builder().no_proxy().timeout(LIMIT).pool_max_idle_per_host(1).build()?;
        Ok(Self { base: format!("http://127.0.0.1:{port}"), login, client, gate: Mutex::new(()) })
    }

    async fn post(&self, path: &str, body: &Value, authorization: Option<String>) -> Result<Response> {
        let mut request = self.client.post(format!("{}{path}", self.base)).json(body);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        Ok(request.send().await?)
    }

    /// A call of a plain endpoint, e.g. `/pop_blocks`.
    pub async fn raw<T: DeserializeOwned>(&self, path: &str, body: Value) -> Result<T> {
        let _one_at_a_time = self.gate.lock().await;
        let mut response = self.post(path, &body, None).await?;
        // A nonce belongs to a connection, and another connection may carry the answer: refused calls were not made.
        for tries in 0..10 {
            if response.status() != StatusCode::UNAUTHORIZED {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10 * tries)).await;
            let (name, password) = self.login.as_ref().ok_or_else(|| anyhow!("{path}: a login is needed"))?;
            let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
            let challenge = challenges
                .iter()
                .filter_map(|value| value.to_str().ok())
                .find(|text| text.contains("algorithm=MD5,") || text.ends_with("algorithm=MD5"))
                .or_else(|| challenges.iter().find_map(|value| value.to_str().ok()))
                .context("a login is asked for without a challenge")?;
            let mut prompt = digest_auth::parse(challenge)?;
            let context = AuthContext::new_with_method(name, password, path, None::<&[u8]>, HttpMethod::POST);
            let answer = prompt.respond(&context)?.to_header_string();
            response.bytes().await?;
            response = self.post(path, &body, Some(answer)).await?;
        }
        let status = response.status();
        if !status.is_success() {
            bail!("{path}: HTTP {status}");
        }
        Ok(response.json().await?)
    }

    /// A JSON-RPC call.
    pub async fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T> {
        let body = json!({"jsonrpc": "2.0", "id": "0", "method": method, "params": params});
        let envelope: Envelope =
            self.raw("/json_rpc", body).await.with_context(|| format!("calling {method}"))?;
        match (envelope.result, envelope.error) {
            (Some(result), None) => {
                serde_json::from_value(result).with_context(|| format!("reading the answer to {method}"))
            }
            (_, Some(error)) => {
                Err(RpcError { method: method.to_owned(), code: error.code, message: error.message }.into())
            }
            (None, None) => bail!("{method}: an answer without a result"),
        }
    }
}
