//! Requests to one node: bounded in time, number and length of the reply.

use std::time::Duration;

use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};

use super::{Login, NodeError, PoolConfig};

/// monerod's code for a height above its top (`CORE_RPC_ERROR_CODE_TOO_BIG_HEIGHT`).
const TOO_BIG_HEIGHT: i64 = -2;

/// A nonce is good on the connection it came by only, and the HTTP client may open another one while the last
/// is still being put back (about one call in ten): then the login is simply tried again on the new one.
const LOGIN_ATTEMPTS: usize = 5;
const LOGIN_PAUSE: Duration = Duration::from_millis(5);

/// Longest text of a node's own error that is kept.
const MAX_MESSAGE: usize = 200;

pub(super) struct Http {
    client: reqwest::Client,
    base: String,
    login: Option<Login>,
    /// The challenge in use. Its nonce is bound to one connection, so the lock is held for a whole exchange.
    challenge: Mutex<Option<WwwAuthenticateHeader>>,
    /// Calls at a time.
    pub permits: Semaphore,
    /// Longest reply in bytes.
    pub max_reply: usize,
}

impl Http {
    pub fn new(base: String, login: Option<Login>, config: &PoolConfig) -> Result<Self, NodeError> {
        let client = reqwest::Client::builder()
            .timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(if login.is_some() { 1 } else { config.concurrency })
            .build()
            .map_err(|_| NodeError::Setup("TLS or the system's resolver".into()))?;
        let permits = Semaphore::new(config.concurrency.max(1));
        Ok(Self { client, base, login, challenge: Mutex::new(None), permits, max_reply: config.max_reply })
    }

    /// A JSON-RPC call.
    pub async fn rpc<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, NodeError> {
        #[derive(Deserialize)]
        struct Fault {
            code: i64,
            message: String,
        }
        #[derive(Deserialize)]
        struct Envelope<T> {
            result: Option<T>,
            error: Option<Fault>,
        }
        let body = json!({"jsonrpc": "2.0", "id": "0", "method": method, "params": params});
        let reply = self.post("/json_rpc", body.to_string().into()).await?;
        // Twice, and the first time over all but the status: no tree is built of what a node may make long.
        let head: Envelope<Status> = parse(&reply)?;
        match (head.error, head.result) {
            (Some(fault), _) if fault.code == TOO_BIG_HEIGHT => Err(NodeError::Missing),
            (Some(fault), _) => {
                let message: String = fault.message.chars().take(MAX_MESSAGE).collect();
                Err(NodeError::Rpc(format!("{} {message}", fault.code)))
            }
            (None, Some(status)) => {
                status.check()?;
                let reply: Envelope<T> = parse(&reply)?;
                reply.result.ok_or_else(|| NodeError::Malformed("neither result nor error".into()))
            }
            (None, None) => Err(NodeError::Malformed("neither result nor error".into())),
        }
    }

    /// A call outside JSON-RPC.
    pub async fn call<T: DeserializeOwned>(&self, path: &str, body: Value) -> Result<T, NodeError> {
        let reply = self.post(path, body.to_string().into()).await?;
        parse::<Status>(&reply)?.check()?;
        parse(&reply)
    }

    /// A request with a body of any kind (monerod does not look at the content type), and the bytes of the answer.
    pub async fn post(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, NodeError> {
        let _permit = self.permits.acquire().await.map_err(|error| transport(&error))?;
        let Some(login) = &self.login else {
            let response = self.send(path, &body, None).await?;
            return self.finish(response).await;
        };
        let mut challenge = self.challenge.lock().await;
        for attempt in 0..LOGIN_ATTEMPTS {
            if attempt > 1 {
                tokio::time::sleep(LOGIN_PAUSE).await;
            }
            let answer = challenge.as_mut().map(|known| respond(known, login, path, &body)).transpose()?;
            let response = self.send(path, &body, answer).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return self.finish(response).await;
            }
            *challenge = Some(read_challenge(&response)?);
            // The connection is reused only when the body was read to its end.
            self.read(response).await?;
        }
        *challenge = None;
        Err(NodeError::Login)
    }

    async fn send(
        &self,
        path: &str,
        body: &[u8],
        authorization: Option<String>,
    ) -> Result<Response, NodeError> {
        let mut request =
            self.client.post(format!("{}{path}", self.base)).header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(body.to_owned()).send().await.map_err(|error| transport(&error))
    }

    async fn finish(&self, response: Response) -> Result<Vec<u8>, NodeError> {
        match response.status() {
            StatusCode::OK => self.read(response).await,
            StatusCode::UNAUTHORIZED => Err(NodeError::Login),
            status => Err(NodeError::Transport(format!("HTTP status {}", status.as_u16()))),
        }
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, NodeError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
            if bytes.len() + chunk.len() > self.max_reply {
                return Err(NodeError::TooLarge(self.max_reply));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

fn transport(error: &(dyn std::error::Error + 'static)) -> NodeError {
    NodeError::Transport(outage(error))
}

/// What kind of outage an error is. Its own words are not kept: they name hosts, in TLS errors those of the
/// certificate.
pub(super) fn outage(error: &(dyn std::error::Error + 'static)) -> String {
    let (mut kind, mut cause) = ("the call failed", None);
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(http) = error.downcast_ref::<reqwest::Error>() {
            kind = match http {
                _ if http.is_timeout() => "timeout",
                _ if http.is_connect() => "no connection",
                _ if http.is_body() || http.is_decode() => "the reply broke off",
                _ => kind,
            };
        }
        cause = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind).or(cause);
        next = error.source();
    }
    match cause {
        Some(cause) => format!("{kind}: {cause}"),
        None => kind.to_owned(),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NodeError> {
    serde_json::from_slice(bytes).map_err(|error| NodeError::Malformed(error.to_string()))
}

/// A result counts only with the status OK: monerod answers BUSY while it synchronises.
#[derive(Deserialize)]
struct Status {
    status: Option<String>,
}

impl Status {
    fn check(self) -> Result<(), NodeError> {
        match self.status.as_deref() {
            Some("OK") => Ok(()),
            Some(status) => Err(NodeError::Rpc(status.chars().take(MAX_MESSAGE).collect())),
            None => Err(NodeError::Malformed("no status".into())),
        }
    }
}

/// monerod offers MD5 and MD5-sess in two headers (epee `http_auth.cpp`); the first that can be read is
/// taken.
fn read_challenge(response: &Response) -> Result<WwwAuthenticateHeader, NodeError> {
    let offers = response.headers().get_all(WWW_AUTHENTICATE);
    let mut offers = offers.iter().filter_map(|offer| digest_auth::parse(offer.to_str().ok()?).ok());
    offers.next().ok_or(NodeError::Login)
}

fn respond(
    challenge: &mut WwwAuthenticateHeader,
    login: &Login,
    path: &str,
    body: &[u8],
) -> Result<String, NodeError> {
    let context = AuthContext::new_with_method(
        login.username.as_str(),
        login.password.as_str(),
        path,
        Some(body),
        HttpMethod::POST,
    );
    challenge.respond(&context).map(|answer| answer.to_header_string()).map_err(|_| NodeError::Login)
}
