//! Judging where a URL leads: its text and host before anything is connected, and every address that a name turns out to have.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::OutsideError;
use super::address::is_public;
use crate::config::{Allowed, Outside};

/// Bytes of a URL.
const MAX_URL: usize = 512;
/// Ports below 1024 that are called: those of the web. Others belong to services that an HTTP request could be mistaken by.
const LOW_PORTS: [u16; 2] = [80, 443];

/// A port that is named and never sent to.
const DISCARD: u16 = 9;

/// Asks for the addresses of a name. A test gives its own answers.
pub trait Lookup: Send + Sync {
    /// All addresses.
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver.
pub struct System;

impl Lookup for System {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// What the operator allows beside the public internet, and what of that is not called.
#[derive(Clone)]
pub(super) struct Rules {
    nets: Vec<IpNet>,
    names: Vec<String>,
    denied_nets: Vec<IpNet>,
    denied_names: Vec<String>,
    /// Whether an address is one of this machine's.
    is_own: fn(IpAddr) -> bool,
}

/// Whether an address is one of this machine's: then what is sent to it would be sent from it. Nothing is sent.
fn is_own(address: IpAddr) -> bool {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, DISCARD))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address)
}

/// A host, as far as the way to it depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    Onion,
}

impl Rules {
    pub fn new(config: &Outside) -> Self {
        let ((nets, names), (denied_nets, denied_names)) = (parts(&config.allow), parts(&config.deny));
        Self { nets, names, denied_nets, denied_names, is_own }
    }

    fn denies(&self, address: IpAddr) -> bool {
        self.denied_nets.iter().any(|net| net.contains(&address))
    }

    fn allows(&self, address: IpAddr) -> bool {
        let is_named = self.nets.iter().any(|net| net.contains(&address));
        !self.denies(address) && (is_named || is_public(address) && !(self.is_own)(address))
    }

    /// Whether an address of a name may be called.
    fn may(&self, is_named: bool, address: IpAddr) -> bool {
        if is_named { !self.denies(address) } else { self.allows(address) }
    }

    /// The URL, if it may be called as far as its text tells. What counts is what the parser made of it, since that is what is
    /// called: it knows all ways to write an address.
    pub fn judge(&self, text: &str) -> Result<(Url, Way), OutsideError> {
        if text.len() > MAX_URL {
            return Err(OutsideError::Url("must have at most 512 bytes"));
        }
        let url = Url::parse(text).map_err(|_| OutsideError::Url("must be an absolute URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(OutsideError::Url("must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OutsideError::Url("must not have a login in it"));
        }
        let port = url.port_or_known_default().unwrap_or(0);
        if port < 1024 && !LOW_PORTS.contains(&port) {
            return Err(OutsideError::Url("must have port 80, 443 or one from 1024 on"));
        }
        let way = match url.host() {
            Some(Host::Ipv4(address)) if self.allows(address.into()) => Way::Direct,
            Some(Host::Ipv6(address)) if self.allows(address.into()) => Way::Direct,
            Some(Host::Domain(name)) => self.judge_name(name)?,
            _ => return Err(OutsideError::Address),
        };
        Ok((url, way))
    }

    fn judge_name(&self, name: &str) -> Result<Way, OutsideError> {
        if name.ends_with('.') {
            return Err(OutsideError::Url("must have a host that does not end with a dot"));
        }
        if self.denied_names.iter().any(|denied| denied == name) {
            return Err(OutsideError::Address);
        }
        if name.ends_with(".onion") {
            return Ok(Way::Onion);
        }
        // RFC 6761: loopback, whatever a resolver says.
        let is_local = name == "localhost" || name.ends_with(".localhost");
        if is_local && !self.names.iter().any(|allowed| allowed == name) {
            return Err(OutsideError::Address);
        }
        Ok(Way::Direct)
    }
}

/// A name has no address that may be called.
#[derive(Debug, thiserror::Error)]
#[error("an address is not allowed")]
pub(super) struct Forbidden;

/// The resolver of the HTTP client: what it does not hand over is not connected to, however often a name changes its addresses.
pub(super) struct Guard {
    pub rules: Rules,
    pub lookup: Arc<dyn Lookup>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_ascii_lowercase();
        let is_named = self.rules.names.contains(&name);
        let (rules, lookup) = (self.rules.clone(), self.lookup.lookup(name));
        Box::pin(async move {
            let found = lookup.await?;
            let fit: Vec<_> = found.into_iter().filter(|address| rules.may(is_named, *address)).collect();
            if fit.is_empty() {
                return Err(Forbidden.into());
            }
            Ok(Box::new(fit.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// Networks and names of a list.
fn parts(all: &[Allowed]) -> (Vec<IpNet>, Vec<String>) {
    let (mut nets, mut names) = (Vec::new(), Vec::new());
    for one in all {
        match one {
            Allowed::Net(net) => nets.push(*net),
            Allowed::Name(name) => names.push(name.clone()),
        }
    }
    (nets, names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn rules(settings: &[(&str, &str)]) -> Rules {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Rules::new(&Config::from_env(settings).unwrap().outside)
    }

    #[test]
    fn this_machines_own_addresses_are_inside_though_they_are_public() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(!is_own("192.0.2.1".parse().unwrap()));
        let own = Rules { is_own: |address| address == IpAddr::from([8, 8, 8, 8]), ..rules(&[]) };
        assert_eq!(own.judge("http://8.8.8.8:8080/").unwrap_err(), OutsideError::Address);
        assert!(own.judge("http://8.8.4.4:8080/").is_ok() && !own.may(false, [8, 8, 8, 8].into()));
        let named = Rules { nets: vec!["8.8.8.8/32".parse().unwrap()], ..own };
        assert!(named.judge("http://8.8.8.8:8080/").is_ok(), "the operator has said so");
    }

    #[test]
    fn what_the_operator_denies_is_not_called_whatever_else_is_said() {
        let denying = rules(&[
            ("AEGIS_OUTSIDE_DENY", "8.8.8.0/24, bad.example"),
            ("AEGIS_OUTSIDE_ALLOW", "8.8.8.8, inner.example"),
        ]);
        for url in ["http://8.8.8.8/", "http://8.8.8.9/", "http://bad.example/"] {
            assert_eq!(denying.judge(url).unwrap_err(), OutsideError::Address, "{url}");
        }
        assert!(denying.judge("http://8.8.4.4/").is_ok());
        assert!(denying.may(true, [10, 0, 0, 1].into()) && !denying.may(true, [8, 8, 8, 7].into()));
    }
}
