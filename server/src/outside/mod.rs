//! The one door to addresses that users supply.
//!
//! ```text
//!  URL ──► judged as it is parsed ──► direct ──► every address of its name judged at each connection ──► sockets
//!                                └──► Tor's SOCKS proxy (.onion, or the user's choice), which resolves the name
//! ```
//! Nothing is followed: a redirect is an answer like any other. Proxies of the environment are not used. Of an answer no more is read
//! than was asked for, and of its headers nothing leaves this module but the challenge of a login.

mod address;
mod guard;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Proxy, Response};
use url::Url;

pub use self::address::is_public;
use self::guard::{Forbidden, Guard, Rules, Way};
pub use self::guard::{Lookup, System};
use crate::config::Outside;

/// A connection that does not come about within this is no connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(10);

/// Why something was not called, or gave no answer. Says nothing about what is inside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutsideError {
    /// The URL is none that is called.
    #[error("{0}")]
    Url(&'static str),
    /// The host is not on the public internet.
    #[error("leads to an address that is not on the public internet")]
    Address,
    /// It is to be called over Tor, and there is no Tor.
    #[error("needs Tor, which this server does not have")]
    TorOff,
    /// No answer in time.
    #[error("gave no answer in time")]
    Timeout,
    /// No connection.
    #[error("can't be connected to")]
    Connection,
    /// No TLS, or a certificate that nobody trusts.
    #[error("can't be trusted: TLS failed")]
    Tls,
    /// The answer broke off, or was no HTTP.
    #[error("broke off")]
    Broken,
    /// The answer is longer than it may be.
    #[error("gave more than {0} bytes")]
    TooLong(usize),
}

impl OutsideError {
    /// A short name for logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Url(_) | Self::Address => "address",
            Self::TorOff => "torOff",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Tls => "tls",
            Self::Broken => "broken",
            Self::TooLong(_) => "tooLong",
        }
    }
}

/// A POST request to an address that a user supplied.
pub struct Call<'a> {
    /// Where to; judged anew.
    pub url: &'a str,
    /// Whether its user wants everything to go over Tor.
    pub by_tor: bool,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
    /// How long all of it may take, the answer's body included.
    pub within: Duration,
}

/// The beginning of an answer; its body is still to be read.
pub struct Answer(Response);

impl Answer {
    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// Challenges of a login, where it asks for one.
    pub fn challenges(&self) -> Vec<String> {
        let all = self.0.headers().get_all(WWW_AUTHENTICATE).iter();
        all.filter_map(|challenge| challenge.to_str().ok().map(str::to_owned)).collect()
    }

    /// The body. [`OutsideError::TooLong`] as soon as it has more bytes.
    pub async fn whole(mut self, most: usize) -> Result<Vec<u8>, OutsideError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.0.chunk().await.map_err(|error| failed(&error))? {
            if bytes.len() + chunk.len() > most {
                return Err(OutsideError::TooLong(most));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// What comes of the body, up to so many bytes; the rest is not waited for.
    pub async fn beginning(mut self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Ok(Some(chunk)) = self.0.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() >= most {
                break;
            }
        }
        bytes.truncate(most);
        bytes
    }
}

/// The door; clones share its connections.
#[derive(Clone)]
pub struct Door {
    rules: Rules,
    direct: Client,
    tor: Option<Client>,
}

impl Door {
    /// As configured.
    pub fn new(config: &Outside, lookup: Arc<dyn Lookup>) -> Result<Self, reqwest::Error> {
        let rules = Rules::new(config);
        let guard = Guard { rules: rules.clone(), lookup };
        let direct = builder().no_proxy().dns_resolver(guard).build()?;
        // Names are resolved by the proxy; the resolver of this client is asked for the proxy's own at most.
        let tor = config.tor_proxy.as_ref().map(|proxy| builder().proxy(Proxy::all(proxy.as_str())?).build());
        Ok(Self { rules, direct, tor: tor.transpose()? })
    }

    /// What would be called, as far as the URL's text tells.
    pub fn judge(&self, url: &str, by_tor: bool) -> Result<Url, OutsideError> {
        self.way(url, by_tor).map(|(url, _)| url)
    }

    fn way(&self, url: &str, by_tor: bool) -> Result<(Url, &Client), OutsideError> {
        let (url, way) = self.rules.judge(url)?;
        let client = if by_tor || way == Way::Onion { self.tor.as_ref() } else { Some(&self.direct) };
        Ok((url, client.ok_or(OutsideError::TorOff)?))
    }

    /// Sends a POST request, once.
    pub async fn post(&self, call: Call<'_>) -> Result<Answer, OutsideError> {
        let (url, client) = self.way(call.url, call.by_tor)?;
        let request = client.post(url).headers(call.headers).body(call.body).timeout(call.within);
        request.send().await.map(Answer).map_err(|error| failed(&error))
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1)
        .user_agent(concat!("Aegis/", env!("CARGO_PKG_VERSION")))
}

/// What kind of failure an error is. Its own words are not kept: they name hosts.
fn failed(error: &reqwest::Error) -> OutsideError {
    let (mut kind, mut next) = (OutsideError::Broken, Some(error as &(dyn Error + 'static)));
    if error.is_timeout() {
        kind = OutsideError::Timeout;
    } else if error.is_connect() {
        kind = OutsideError::Connection;
    }
    while let Some(cause) = next {
        if cause.is::<Forbidden>() {
            return OutsideError::Address;
        }
        let io = cause.downcast_ref::<io::Error>();
        // How tokio-rustls passes on what rustls says.
        if error.is_connect() && io.is_some_and(|io| io.kind() == io::ErrorKind::InvalidData) {
            kind = OutsideError::Tls;
        }
        // What an `io::Error` was made of is not its source, which is that one's.
        let inner = io.and_then(io::Error::get_ref).map(|inner| inner as &(dyn Error + 'static));
        next = inner.or_else(|| cause.source());
    }
    kind
}
