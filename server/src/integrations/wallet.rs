//! A person's own monero-wallet-rpc: how it is reached, and reading it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aegis_common::ids::UserId;
use aegis_common::wire::wallet::{WalletCallAnswer, WalletCallRequest, WalletRequest, WalletView, bounds};
use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Actor, IntegrationError, Integrations, calls, refuse, uses_tor};
use crate::outside::{Answer, Call, OutsideError};

const PATH: &str = "/json_rpc";
/// How long all of a call may take: a wallet that is asked while it scans answers late.
const WITHIN: Duration = Duration::from_secs(15);
/// Calls of one person at once, and seconds between two more.
const CALLS: (u32, i64) = (10, 1);
/// A nonce is good on the connection it came by only, and the next attempt may get another connection.
const LOGIN_ATTEMPTS: usize = 5;
const LOGIN_PAUSE: Duration = Duration::from_millis(5);
/// Longest text of a wallet's own error that is passed on.
const MAX_MESSAGE: usize = 200;

/// How a wallet is reached, as it is sealed.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Connection {
    url: String,
    username: String,
    password: String,
}

/// One call of each person at a time: a login is bound to one connection, and a second call would take another.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<UserId, Arc<AsyncMutex<()>>>>>);

impl Turns {
    async fn of(&self, user: UserId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever has or awaits a turn has a handle as well.
            all.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(all.entry(user).or_default())
        };
        lock.lock_owned().await
    }
}

impl Integrations {
    /// Connects a person's wallet, in the place of another. It is not called yet.
    pub async fn connect_wallet(
        &self,
        actor: &Actor,
        request: WalletRequest,
    ) -> Result<WalletView, IntegrationError> {
        let WalletRequest { url, username, password } = request;
        let password = Zeroizing::new(password);
        let fits = |text: &str| text.len() <= bounds::LOGIN && !text.chars().any(char::is_control);
        if !fits(&username) || username.contains([':', '"', '\\']) {
            return refuse(
                "username",
                "must have at most 128 bytes, without colons, quotation marks and backslashes",
            );
        }
        if !fits(&password) {
            return refuse("password", "must have at most 128 bytes");
        }
        let url = self.judged(actor.user, &url).await?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return refuse("url", "must end with the host or the port");
        }
        let url = url.as_str().trim_end_matches('/').to_owned();
        let connection =
            Connection { url: url.clone(), username: username.clone(), password: password.to_string() };
        let failed = |error: serde_json::Error| IntegrationError::Failed(error.to_string());
        let sealed = Zeroizing::new(serde_json::to_vec(&connection).map_err(failed)?);
        let note = self.act(actor, "walletConnected", json!({}));
        let connected_at = note.at;
        self.store.set_wallet(actor.user, sealed, note).await?;
        Ok(WalletView { url, username, connected_at })
    }

    /// How a person's wallet is reached.
    pub async fn wallet(&self, user: UserId) -> Result<WalletView, IntegrationError> {
        let (bytes, connected_at) = self.store.wallet(user).await?.ok_or(IntegrationError::NoWallet)?;
        let connection = read(user, &bytes)?;
        Ok(WalletView { url: connection.url.clone(), username: connection.username.clone(), connected_at })
    }

    /// Forgets it.
    pub async fn disconnect_wallet(&self, actor: &Actor) -> Result<(), IntegrationError> {
        let note = self.act(actor, "walletDisconnected", json!({}));
        let deleted = self.store.delete_wallet(actor.user, note).await?;
        if deleted { Ok(()) } else { Err(IntegrationError::NoWallet) }
    }

    /// Passes a call on that only reads.
    pub async fn call_wallet(
        &self,
        user: UserId,
        request: WalletCallRequest,
    ) -> Result<WalletCallAnswer, IntegrationError> {
        let params = calls::check(&request.method, request.params).map_err(IntegrationError::Call)?;
        self.charge(b"wallet\0", user, CALLS).await?;
        let (bytes, _) = self.store.wallet(user).await?.ok_or(IntegrationError::NoWallet)?;
        let connection = read(user, &bytes)?;
        let by_tor = uses_tor(&self.store, user).await?;
        let body = json!({ "jsonrpc": "2.0", "id": "0", "method": request.method, "params": params });
        let _turn =
            tokio::time::timeout(WITHIN, self.turns.of(user)).await.map_err(|_| IntegrationError::Busy)?;
        let _slot = self.calls.try_acquire().map_err(|_| IntegrationError::Busy)?;
        let exchange = self.exchange(&connection, by_tor, body.to_string().into_bytes());
        let late = |_| IntegrationError::Wallet(OutsideError::Timeout);
        let answer = tokio::time::timeout(WITHIN, exchange).await.map_err(late)??;
        result(&answer)
    }

    async fn exchange(
        &self,
        connection: &Connection,
        by_tor: bool,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, IntegrationError> {
        let mut login = None;
        for attempt in 0..LOGIN_ATTEMPTS {
            if attempt > 1 {
                tokio::time::sleep(LOGIN_PAUSE).await;
            }
            let answer = self.post(connection, by_tor, login.take(), body.clone()).await?;
            match answer.status() {
                200 => return answer.whole(bounds::ANSWER).await.map_err(IntegrationError::Wallet),
                401 if !connection.username.is_empty() => {}
                401 => return Err(IntegrationError::WalletLogin),
                _ => {
                    return Err(IntegrationError::WalletAnswer(
                        "The wallet answers with another HTTP status than 200.",
                    ));
                }
            }
            let challenge = answer.challenges().iter().find_map(|offer| digest_auth::parse(offer).ok());
            // The connection is used again only when the body was read to its end.
            answer.whole(bounds::ANSWER).await.map_err(IntegrationError::Wallet)?;
            login = Some(respond(challenge.ok_or(IntegrationError::WalletLogin)?, connection, &body)?);
        }
        Err(IntegrationError::WalletLogin)
    }

    async fn post(
        &self,
        connection: &Connection,
        by_tor: bool,
        login: Option<HeaderValue>,
        body: Vec<u8>,
    ) -> Result<Answer, IntegrationError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(login) = login {
            headers.insert(AUTHORIZATION, login);
        }
        let url = format!("{}{PATH}", connection.url);
        let call = Call { url: &url, by_tor, headers, body, within: WITHIN };
        self.door.post(call).await.map_err(IntegrationError::Wallet)
    }
}

fn read(user: UserId, bytes: &[u8]) -> Result<Connection, IntegrationError> {
    serde_json::from_slice(bytes).map_err(|_| IntegrationError::Inconsistent(user))
}

/// The answer to a digest challenge. monero-wallet-rpc knows no other login.
fn respond(
    mut challenge: WwwAuthenticateHeader,
    connection: &Connection,
    body: &[u8],
) -> Result<HeaderValue, IntegrationError> {
    let (username, password) = (connection.username.as_str(), connection.password.as_str());
    let context = AuthContext::new_with_method(username, password, PATH, Some(body), HttpMethod::POST);
    let answer = challenge.respond(&context).map_err(|_| IntegrationError::WalletLogin)?;
    let mut value =
        HeaderValue::try_from(answer.to_header_string()).map_err(|_| IntegrationError::WalletLogin)?;
    value.set_sensitive(true);
    Ok(value)
}

fn result(answer: &[u8]) -> Result<WalletCallAnswer, IntegrationError> {
    #[derive(Deserialize)]
    struct Fault {
        message: String,
    }
    #[derive(Deserialize)]
    struct Envelope {
        result: Option<Value>,
        error: Option<Fault>,
    }
    let no_answer = IntegrationError::WalletAnswer("The wallet's answer is no JSON-RPC.");
    match serde_json::from_slice(answer) {
        Ok(Envelope { error: Some(fault), .. }) => {
            let plain = fault.message.chars().filter(|c| !c.is_control());
            Err(IntegrationError::WalletRefused(plain.take(MAX_MESSAGE).collect()))
        }
        Ok(Envelope { result: Some(result), .. }) => Ok(WalletCallAnswer { result }),
        _ => Err(no_answer),
    }
}
