//! The server, over REST and WebSocket. The only place that talks to it.

mod account;
mod error;
mod export;
mod login;
mod market;
mod page;
mod session;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aegis_common::code::Code;
use aegis_common::ids::EscrowId;
use aegis_common::wire::account::TicketResponse;
use aegis_common::wire::escrow::{
    CreateEscrowRequest, EscrowView, HistoryEntry, HistoryPage, StatementReceipt, StatementRequest,
    TranscriptPage,
};
use aegis_common::wire::event::{EventFrame, EventPage, InboxView, ReadRequest};
use aegis_common::wire::list::{EscrowCounts, EscrowItem, EscrowPage};
use aegis_common::wire::problem::Problem;
use futures_util::{Stream, StreamExt};
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use tokio_tungstenite::tungstenite::Message;

pub use self::error::ClientError;
pub use self::login::Codes;
use self::login::Known;
use self::page::Page;
use self::session::{Session, SessionStore};
use crate::keys::{KeyStore, Secret};

/// The longest answer that is read, in bytes: a page of transcripts with large transaction sets.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest problem document that is read, and the longest explanation in it that is shown.
const MAX_PROBLEM: usize = 64 * 1024;
const MAX_DETAIL: usize = 500;
/// Escrows that are looked at, newest first: a server that lists escrows without end must not take all memory.
pub const MAX_ESCROWS: usize = 10_000;
/// Entries of an escrow's history that are looked at.
const MAX_HISTORY: usize = 10_000;

/// A client of one account; logs in, and goes on with the home's session, by itself.
pub struct Client {
    http: reqwest::Client,
    base: String,
    username: String,
    known: Mutex<Known>,
    codes: Mutex<Codes>,
    store: Option<SessionStore>,
    held: tokio::sync::Mutex<Option<Session>>,
}

/// Escrows of a list.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// In the order that was asked for.
    pub escrows: Vec<EscrowItem>,
    /// Those that the server can't read.
    pub unreadable: Vec<EscrowId>,
}

impl Client {
    /// A client for an account, with the passwords it may have, likeliest first. Nothing is sent yet, and no session is kept.
    pub fn new(base: &str, username: &str, passwords: Vec<Secret>) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .user_agent(concat!("aegis/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ClientError::Unreachable(error.to_string()))?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            username: username.to_owned(),
            known: Mutex::new(Known::of(passwords)),
            codes: Mutex::default(),
            store: None,
            held: tokio::sync::Mutex::default(),
        })
    }

    /// The client of a home: its processes share one session.
    pub fn of_home(home: &Path, keys: &KeyStore) -> Result<Self, ClientError> {
        let profile = keys.profile();
        let mut client = Self::new(&profile.server_url, &profile.username, profile.passwords())?;
        client.store = Some(SessionStore::new(home, keys)?);
        Ok(client)
    }

    /// Where codes of a second factor come from.
    pub fn set_codes(&mut self, codes: Codes) {
        self.codes = Mutex::new(codes);
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/api/v1{path}", self.base))
    }

    fn known<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        // A poisoned lock only says that another task panicked; what it guards is whole.
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends with a token; again with a fresh one where it is over, and after a fresh proof where the server wants one.
    async fn call(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        self.call_by(request).await.map(|(answer, _)| answer)
    }

    /// The same, with the token that the answer was got by.
    async fn call_by(&self, request: RequestBuilder) -> Result<(Response, Secret), ClientError> {
        let mut token = self.token(None).await?;
        // What another process got meanwhile may be over as well.
        let mut renewals = 0..2;
        let mut proven = false;
        loop {
            let this =
                request.try_clone().ok_or(ClientError::Local("a request without a copy".to_owned()))?;
            match send(this.bearer_auth(token.expose())).await {
                Err(error) if error.ends_session() && renewals.next().is_some() => {
                    token = self.token(Some(&token)).await?;
                }
                Err(error) if error.code() == Some(Code::StepUpRequired) && !proven => {
                    token = self.step_up(&token).await?;
                    proven = true;
                }
                done => return Ok((done?, token)),
            }
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        json(self.call(self.request(Method::GET, path)).await?).await
    }

    /// Creates an escrow; the key makes a repeated request harmless.
    pub async fn create(&self, body: &CreateEscrowRequest, key: &str) -> Result<EscrowView, ClientError> {
        let request = self.request(Method::POST, "/escrows").header("Idempotency-Key", key).json(body);
        json(self.call(request).await?).await
    }

    /// All escrows of this account, newest first; at most [`MAX_ESCROWS`].
    pub async fn escrows(&self) -> Result<Listed, ClientError> {
        self.escrows_where(&[], MAX_ESCROWS).await
    }

    /// The first `most` escrows of this account that fit the query parameters of the list, in the order that these say.
    pub async fn escrows_where(&self, query: &[(&str, String)], most: usize) -> Result<Listed, ClientError> {
        let mut all = Listed::default();
        let mut cursor: Option<String> = None;
        loop {
            let mut url = reqwest::Url::parse(&format!("{}/api/v1/escrows", self.base))
                .map_err(|error| ClientError::Unreachable(error.to_string()))?;
            url.query_pairs_mut()
                .extend_pairs(query)
                .append_pair("limit", &(most - all.escrows.len()).clamp(1, 100).to_string())
                .extend_pairs(cursor.iter().map(|next| ("cursor", next)));
            let page: EscrowPage = json(self.call(self.http.get(url)).await?).await?;
            let more = !(page.escrows.is_empty() && page.unreadable.is_empty());
            all.escrows.extend(page.escrows);
            all.unreadable.extend(page.unreadable);
            // What a server sends beyond what was asked for is not believed to belong here.
            all.escrows.truncate(most);
            all.unreadable.truncate(MAX_ESCROWS);
            cursor = page.next;
            if cursor.is_none() || !more || all.escrows.len() >= most || all.unreadable.len() >= MAX_ESCROWS {
                return Ok(all);
            }
        }
    }

    /// How many escrows this account has.
    pub async fn escrow_counts(&self) -> Result<EscrowCounts, ClientError> {
        self.get("/escrow-counts").await
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

    /// What happened to an escrow, as the server tells it; at most [`MAX_HISTORY`] entries.
    pub async fn history(&self, id: EscrowId) -> Result<Vec<HistoryEntry>, ClientError> {
        let (mut all, mut after): (Vec<HistoryEntry>, i64) = (Vec::new(), 0);
        while all.len() < MAX_HISTORY {
            let page: HistoryPage =
                self.get(&format!("/escrows/{id}/history?after={after}&limit=100")).await?;
            all.extend(page.entries);
            // A server that leads nowhere is not followed.
            let Some(next) = page.next.filter(|next| *next > after) else { break };
            after = next;
        }
        Ok(all)
    }

    /// A page of the feed.
    pub async fn events(&self, after: i64) -> Result<EventPage, ClientError> {
        self.get(&format!("/events?after={after}&limit=100")).await
    }

    /// Up to where this account has read, on any device.
    pub async fn inbox(&self) -> Result<InboxView, ClientError> {
        self.get("/me/inbox").await
    }

    /// Marks everything up to a position as read.
    pub async fn mark_read(&self, up_to: i64) -> Result<InboxView, ClientError> {
        let request = self.request(Method::PUT, "/me/inbox/read").json(&ReadRequest { up_to });
        json(self.call(request).await?).await
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
    answered(request.send().await).await
}

async fn answered(answer: reqwest::Result<Response>) -> Result<Response, ClientError> {
    let answer = answer.map_err(|error| ClientError::Unreachable(without_url(error)))?;
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
