//! The server, over REST and WebSocket. The only place that talks to it.

mod page;

use std::time::Duration;

use aegis_common::code::Code;
use aegis_common::ids::EscrowId;
use aegis_common::wire::account::{
    LoginRequest, LoginResponse, PayoutAddressRequest, RegisterRequest, TicketResponse, UserView,
};
use aegis_common::wire::escrow::{
    CreateEscrowRequest, EscrowPage, EscrowView, StatementReceipt, StatementRequest, TranscriptPage,
};
use aegis_common::wire::event::{EventFrame, EventPage};
use aegis_common::wire::problem::Problem;
use futures_util::{Stream, StreamExt};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite::Message;

use self::page::Page;
use crate::keys::Secret;

/// The longest answer that is read, in bytes: a page of transcripts with large transaction sets.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest problem document that is read, and the longest explanation in it that is shown.
const MAX_PROBLEM: usize = 64 * 1024;
const MAX_DETAIL: usize = 500;
/// Escrows that are looked at, newest first: a server that lists escrows without end must not take all memory.
pub const MAX_ESCROWS: usize = 10_000;

/// A request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server said why.
    #[error("{} {}", .0.title, .0.detail)]
    Problem(Box<Problem>),
    /// No answer, or not all of it: whether the request took effect is unknown, and it is sent again.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The answer is not what the server should say.
    #[error("the server's answer makes no sense: {0}")]
    BadAnswer(String),
}

impl ClientError {
    /// The server's code, if it gave one this program knows.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Problem(problem) => problem.known_code(),
            Self::Unreachable(_) | Self::BadAnswer(_) => None,
        }
    }

    /// Whether this is the refusal of a statement by the rules of the escrow. Anything else (a proxy's 403 or 404, a
    /// redirect, a login page) says nothing about whether the server has taken the statement.
    pub fn refuses_statement(&self) -> bool {
        let by_rule = |code: Code| {
            matches!(code.status(), 403 | 409 | 413 | 422)
                && !matches!(code, Code::Forbidden | Code::StaleVersion | Code::IdempotencyConflict)
        };
        match self {
            Self::Problem(problem) => {
                problem.known_code().is_some_and(|code| code.status() == problem.status && by_rule(code))
            }
            Self::Unreachable(_) | Self::BadAnswer(_) => false,
        }
    }

    /// Whether the same request may succeed later: it was not refused for what it says.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Problem(problem) => {
                matches!(problem.status, 401 | 408 | 425 | 429 | 500..=599)
            }
            Self::Unreachable(_) | Self::BadAnswer(_) => true,
        }
    }
}

/// A logged-in client; logs in again by itself when its token has expired.
pub struct Client {
    http: reqwest::Client,
    base: String,
    username: String,
    password: Secret,
    token: Mutex<Option<String>>,
}

impl Client {
    /// A client for an account. Nothing is sent yet.
    pub fn new(base: &str, username: &str, password: Secret) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ClientError::Unreachable(error.to_string()))?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { http, base, username: username.to_owned(), password, token: Mutex::new(None) })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/api/v1{path}", self.base))
    }

    async fn login(&self) -> Result<String, ClientError> {
        let body =
            LoginRequest { username: self.username.clone(), password: self.password.expose().to_owned() };
        let answer = send(self.request(Method::POST, "/auth/login").json(&body)).await?;
        Ok(json::<LoginResponse>(answer).await?.token)
    }

    /// Sends with a token; once more with a fresh one where it is refused.
    async fn call(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let again = request.try_clone();
        let mut token = self.token.lock().await;
        let held = match token.clone() {
            Some(held) => held,
            None => token.insert(self.login().await?).clone(),
        };
        drop(token);
        let first = send(request.bearer_auth(held)).await;
        let expired = matches!(&first, Err(ClientError::Problem(p)) if p.status == StatusCode::UNAUTHORIZED);
        let Some(again) = again.filter(|_| expired) else { return first };
        let fresh = self.login().await?;
        *self.token.lock().await = Some(fresh.clone());
        send(again.bearer_auth(fresh)).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        json(self.call(self.request(Method::GET, path)).await?).await
    }

    /// Makes the account.
    pub async fn register(&self, request: &RegisterRequest) -> Result<UserView, ClientError> {
        json(send(self.request(Method::POST, "/auth/register").json(request)).await?).await
    }

    /// The own account.
    pub async fn me(&self) -> Result<UserView, ClientError> {
        self.get("/me").await
    }

    /// Where contracts made from now on pay this account.
    pub async fn set_payout_address(&self, request: &PayoutAddressRequest) -> Result<(), ClientError> {
        self.call(self.request(Method::PUT, "/me/payout-address").json(request)).await.map(drop)
    }

    /// Creates an escrow; the key makes a repeated request harmless.
    pub async fn create(&self, body: &CreateEscrowRequest, key: &str) -> Result<EscrowView, ClientError> {
        let request = self.request(Method::POST, "/escrows").header("Idempotency-Key", key).json(body);
        json(self.call(request).await?).await
    }

    /// All escrows of this account, newest first; at most [`MAX_ESCROWS`].
    pub async fn escrows(&self) -> Result<Vec<EscrowView>, ClientError> {
        let mut all: Vec<EscrowView> = Vec::new();
        let mut path = "/escrows?limit=100".to_owned();
        loop {
            let page: EscrowPage = self.get(&path).await?;
            let more = !page.escrows.is_empty() && all.len() + page.escrows.len() < MAX_ESCROWS;
            all.extend(page.escrows);
            match page.next {
                Some(before) if more => path = format!("/escrows?limit=100&before={before}"),
                _ => return Ok(all),
            }
        }
    }

    /// One escrow.
    pub async fn escrow(&self, id: EscrowId) -> Result<EscrowView, ClientError> {
        self.get(&format!("/escrows/{id}")).await
    }

    /// Deletes an escrow before money has come.
    pub async fn delete(&self, id: EscrowId) -> Result<(), ClientError> {
        self.call(self.request(Method::DELETE, &format!("/escrows/{id}"))).await.map(drop)
    }

    /// Posts a statement; harmless to repeat.
    pub async fn post(&self, id: EscrowId, body: &StatementRequest) -> Result<StatementReceipt, ClientError> {
        let request = self.request(Method::POST, &format!("/escrows/{id}/statements")).json(body);
        json(self.call(request).await?).await
    }

    /// A page of the transcript after a version.
    pub async fn transcript(&self, id: EscrowId, after: i64) -> Result<TranscriptPage, ClientError> {
        let page: Page = self.get(&format!("/escrows/{id}/transcript?after={after}&limit=50")).await?;
        Ok(TranscriptPage { entries: page.entries.0, next: page.next })
    }

    /// A page of the feed.
    pub async fn events(&self, after: i64) -> Result<EventPage, ClientError> {
        self.get(&format!("/events?after={after}&limit=100")).await
    }

    /// Live events after a position, over a WebSocket. The stream ends when the connection does; resume with the last `seq`.
    pub async fn live(
        &self,
        after: i64,
    ) -> Result<impl Stream<Item = EventFrame> + Unpin + use<>, ClientError> {
        let ticket: TicketResponse = json(self.call(self.request(Method::POST, "/ws/ticket")).await?).await?;
        let ws = match self.base.split_once("://") {
            Some(("https", rest)) => format!("wss://{rest}"),
            Some((_, rest)) => format!("ws://{rest}"),
            None => return Err(ClientError::Unreachable("the server's address has no scheme".to_owned())),
        };
        let url = format!("{ws}/api/v1/ws?ticket={}&after={after}", ticket.ticket);
        let (socket, _) = tokio_tungstenite::connect_async(url)
            .await
            .map_err(|error| ClientError::Unreachable(error.to_string()))?;
        // Pings are answered by the library while the stream is polled.
        Ok(Box::pin(socket.take_while(|message| std::future::ready(message.is_ok())).filter_map(
            |message| async move {
                match message {
                    Ok(Message::Text(text)) => serde_json::from_str(&text).ok(),
                    _ => None,
                }
            },
        )))
    }
}

async fn send(request: RequestBuilder) -> Result<Response, ClientError> {
    let answer = request.send().await.map_err(|error| ClientError::Unreachable(without_url(error)))?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status().as_u16();
    let problem: Problem = serde_json::from_slice(&body(answer, MAX_PROBLEM).await?)
        .unwrap_or_else(|_| Problem::new(Code::Internal, format!("HTTP {status}")));
    let [title, detail] = [problem.title, problem.detail].map(|text| text.chars().take(MAX_DETAIL).collect());
    // The status is that of the answer, whatever the document claims.
    Err(ClientError::Problem(Box::new(Problem { status, title, detail, ..problem })))
}

/// The error without the address it went to: a ticket may stand in it.
fn without_url(error: reqwest::Error) -> String {
    error.without_url().to_string()
}

async fn body(mut answer: Response, limit: usize) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    while let Some(chunk) =
        answer.chunk().await.map_err(|error| ClientError::Unreachable(without_url(error)))?
    {
        if bytes.len() + chunk.len() > limit {
            return Err(ClientError::BadAnswer(format!("more than {limit} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn json<T: DeserializeOwned>(answer: Response) -> Result<T, ClientError> {
    serde_json::from_slice(&body(answer, MAX_ANSWER).await?)
        .map_err(|error| ClientError::BadAnswer(error.to_string()))
}
