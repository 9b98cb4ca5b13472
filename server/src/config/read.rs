//! Reading single values: each function takes the text and says what is wrong with it, never the text itself.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aegis_common::address::{Address, Network};
use aegis_common::amount::Piconero;
use aegis_common::chain;
use ipnet::IpNet;
pub use reqwest::Url;
use url::Host;
use zeroize::Zeroizing;

use super::{ConfigError, LogFormat, Registration};

/// Stands for the data directory in paths.
const DATA: &str = "{data}";
/// More nodes than anybody fails over to.
const MAX_NODES: usize = 16;
/// More exceptions than anybody keeps in mind.
const MAX_ALLOWED: usize = 64;

pub fn between<T: FromStr + PartialOrd + Display>(low: T, high: T) -> impl FnOnce(&str) -> Result<T, String> {
    move |text| match text.parse::<T>() {
        Ok(value) if low <= value && value <= high => Ok(value),
        _ => Err(format!("must be a whole number from {low} to {high}")),
    }
}

pub fn piconero(low: u64, high: u64) -> impl FnOnce(&str) -> Result<Piconero, String> {
    move |text| between(low, high)(text).map(Piconero).map_err(|why| format!("{why}, in piconero"))
}

pub fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

pub fn path(given: &str) -> Result<PathBuf, String> {
    text(given).map(PathBuf::from)
}

pub fn maybe_path(given: &str) -> Result<Option<PathBuf>, String> {
    Ok(Some(PathBuf::from(given)).filter(|_| !given.is_empty()))
}

pub fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an IP address and a port, e.g. 127.0.0.1:8470".to_owned())
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Hours before expiry.
pub fn warnings(text: &str) -> Result<[u32; 2], String> {
    let hours: Option<Vec<u32>> = list(text).map(|item| between(1, 720)(item).ok()).collect();
    match hours.as_deref() {
        Some([first, second]) if first > second => Ok([*first, *second]),
        _ => Err("must be two whole numbers from 1 to 720, the greater first, e.g. 24,1".to_owned()),
    }
}

pub fn ips(text: &str) -> Result<Vec<IpAddr>, String> {
    list(text).map(str::parse).collect::<Result<_, _>>().map_err(|_| "must be IP addresses".to_owned())
}

pub fn urls(text: &str) -> Result<Vec<Url>, String> {
    let urls: Option<Vec<Url>> = list(text)
        .map(|item| Url::parse(item).ok().filter(|url| ["http", "https"].contains(&url.scheme())))
        .collect();
    match urls {
        Some(urls) if (1..=MAX_NODES).contains(&urls.len()) => Ok(urls),
        _ => Err(format!("must be 1 to {MAX_NODES} http:// or https:// URLs")),
    }
}

pub fn url(text: &str) -> Result<Option<Url>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
    let url = url.filter(|url| url.username().is_empty() && url.password().is_none());
    url.map(Some).ok_or_else(|| "must be an http:// or https:// URL without a login".to_owned())
}

/// Something that may be called although it is not on the public internet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// All of a network's addresses.
    Net(IpNet),
    /// A host, whatever addresses it has; in lower case.
    Name(String),
}

pub fn allowed(text: &str) -> Result<Vec<Allowed>, String> {
    let one = |item: &str| {
        let net = item.parse().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
        if let Ok(net) = net {
            return Some(Allowed::Net(net));
        }
        // Looked at as the host of a URL will be: a number that is no address is no name either.
        match Host::parse(item) {
            Ok(Host::Domain(name)) if !name.ends_with('.') => Some(Allowed::Name(name)),
            _ => None,
        }
    };
    match list(text).map(one).collect::<Option<Vec<_>>>() {
        Some(all) if all.len() <= MAX_ALLOWED => Ok(all),
        _ => Err(format!("must be at most {MAX_ALLOWED} addresses, networks or names of hosts")),
    }
}

/// Names are resolved by the proxy (`socks5h`): what is asked for over Tor must not be asked for beside it.
pub fn tor_proxy(text: &str) -> Result<Option<Url>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "socks5h" && url.port().is_some());
    let url = url.filter(|url| url.has_host() && ["", "/"].contains(&url.path()));
    url.map(Some).ok_or_else(|| "must be socks5h://HOST:PORT".to_owned())
}

/// Origins (RFC 6454): a scheme, a host and perhaps a port, and nothing else.
pub fn origins(text: &str) -> Result<Vec<String>, String> {
    let is_origin = |item: &str| Url::parse(item).is_ok_and(|url| url.origin().ascii_serialization() == item);
    let all: Vec<String> = list(text).map(str::to_owned).collect();
    if all.len() <= MAX_NODES && all.iter().all(|item| is_origin(item)) {
        return Ok(all);
    }
    Err(format!("must be at most {MAX_NODES} of https://HOST or https://HOST:PORT"))
}

/// A text that is wiped after use; may be empty.
pub fn secret(text: &str) -> Result<Zeroizing<String>, String> {
    Ok(Zeroizing::new(text.to_owned()))
}

pub fn registration(text: &str) -> Result<Registration, String> {
    match text {
        "open" => Ok(Registration::Open),
        "invite" => Ok(Registration::Invite),
        "closed" => Ok(Registration::Closed),
        _ => Err("must be open, invite or closed".to_owned()),
    }
}

/// Addresses of ZeroMQ publishers, without the scheme.
pub fn publishers(text: &str) -> Result<Vec<String>, String> {
    let address = |item: &str| {
        let address = item.strip_prefix("tcp://")?;
        let (host, port) = address.rsplit_once(':')?;
        let is_good = !host.is_empty() && !address.contains('/') && port.parse::<u16>().is_ok();
        is_good.then(|| address.to_owned())
    };
    match list(text).map(address).collect::<Option<Vec<_>>>() {
        Some(all) if all.len() <= MAX_NODES => Ok(all),
        _ => Err(format!("must be at most {MAX_NODES} of tcp://HOST:PORT")),
    }
}

pub fn network(text: &str) -> Result<Network, String> {
    let all = [Network::Mainnet, Network::Stagenet, Network::Testnet, Network::Regtest];
    let found = all.into_iter().find(|network| network.to_string() == text);
    found.ok_or_else(|| "must be regtest, stagenet, testnet or mainnet".to_owned())
}

pub fn address(text: &str) -> Result<Option<Address>, String> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| "is no Monero address".into()) }
}

/// `None` is the fastest that the processor has. One that it does not have would silently be another.
pub fn scan_path(text: &str) -> Result<Option<chain::Path>, String> {
    let path = match text {
        "auto" => return Ok(None),
        "portable" => chain::Path::Portable,
        "avx2" => chain::Path::Avx2,
        "ifma" => chain::Path::Ifma,
        _ => return Err("must be auto, portable, avx2 or ifma".to_owned()),
    };
    if path.is_available() { Ok(Some(path)) } else { Err("is nothing that this processor has".to_owned()) }
}

pub fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("must be yes or no".to_owned()),
    }
}

pub fn flag_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".to_owned()),
    }
}

/// Puts the data directory into a text.
pub fn plain(text: &str, data: &Path) -> Result<String, ConfigError> {
    if !text.contains(DATA) {
        return Ok(text.to_owned());
    }
    let why = "must be valid UTF-8".to_owned();
    let data = data.to_str().ok_or(ConfigError::Setting { key: "AEGIS_DATA_DIR", why })?;
    Ok(text.replace(DATA, data))
}

/// Puts the data directory into a path.
pub fn files(path: &Path, data: &Path) -> Result<PathBuf, ConfigError> {
    path.to_str().map_or_else(|| Ok(path.to_owned()), |text| plain(text, data).map(PathBuf::from))
}
