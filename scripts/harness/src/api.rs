//! The server as a plain HTTP client sees it: views and events, for watching only.

use std::time::{Duration, Instant};

use aegis_common::ids::EscrowId;
use aegis_common::wire::account::LoginAnswer;
use aegis_common::wire::escrow::EscrowView;
use aegis_common::wire::event::{EventFrame, EventPage};
use anyhow::{Result, bail};
use reqwest::{Client, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Mutex;

/// How long a server may be away before looking at it is an error.
const AWAY_LIMIT: Duration = Duration::from_secs(30);

/// One person's eyes on the server.
pub struct Eyes {
    base: String,
    username: String,
    password: String,
    client: Client,
    token: Mutex<Option<String>>,
}

impl Eyes {
    /// Eyes of an account. Logs in when first used, and again when the token has expired.
    pub fn new(server: &str, username: &str, password: &str) -> Result<Self> {
        Ok(Self {
            base: format!("{server}/api/v1"),
            username: username.to_owned(),
            password: password.to_owned(),
            client: Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?,
            token: Mutex::new(None),
        })
    }

    async fn token(&self, fresh: bool) -> Result<String> {
        let mut token = self.token.lock().await;
        if let Some(known) = token.as_ref().filter(|_| !fresh) {
            return Ok(known.clone());
        }
        let body = json!({"username": self.username, "password": self.password});
        let response = self.client.post(format!("{}/auth/login", self.base)).json(&body).send().await?;
        if !response.status().is_success() {
            bail!("logging in as {}: HTTP {}", self.username, response.status());
        }
        let LoginAnswer::LoggedIn(session) = response.json().await? else {
            bail!("{} has a second factor", self.username);
        };
        *token = Some(session.token.clone());
        Ok(session.token)
    }

    /// Any GET below `/api/v1`. A server that is away is asked again for half a minute.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let begun = Instant::now();
        loop {
            match self.get_once(path).await {
                Err(error) if error.is::<reqwest::Error>() && begun.elapsed() < AWAY_LIMIT => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                answer => return answer,
            }
        }
    }

    /// Any GET below `/api/v1`, asked once.
    pub async fn get_once<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let mut fresh = false;
        loop {
            let request = self.client.get(format!("{}{path}", self.base));
            let response = request.bearer_auth(self.token(fresh).await?).send().await?;
            match response.status() {
                StatusCode::UNAUTHORIZED if !fresh => fresh = true,
                status if status.is_success() => return Ok(response.json().await?),
                status => bail!("GET {path} as {}: HTTP {status}", self.username),
            }
        }
    }

    /// An escrow.
    pub async fn escrow(&self, id: EscrowId) -> Result<EscrowView> {
        self.get(&format!("/escrows/{id}")).await
    }

    /// The events after a position of the feed, and the next position.
    pub async fn events(&self, after: i64) -> Result<(Vec<EventFrame>, i64)> {
        let page: EventPage = self.get(&format!("/events?after={after}")).await?;
        Ok((page.events, page.next))
    }
}
