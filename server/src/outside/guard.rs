//! Judging where a URL leads: its text and host before anything is connected, and every address that a name turns out to have.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::OutsideError;
use super::address::is_public;
use crate::config::Allowed;

/// Bytes of a URL.
const MAX_URL: usize = 512;
/// Ports below 1024 that are called: those of the web. Others belong to services that an HTTP request could be mistaken by.
const LOW_PORTS: [u16; 2] = [80, 443];

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

/// What the operator allows beside the public internet.
#[derive(Clone)]
pub(super) struct Rules {
    nets: Vec<IpNet>,
    names: Vec<String>,
}

/// A host, as far as the way to it depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    Onion,
}

impl Rules {
    pub fn new(allowed: &[Allowed]) -> Self {
        let mut rules = Self { nets: Vec::new(), names: Vec::new() };
        for one in allowed {
            match one {
                Allowed::Net(net) => rules.nets.push(*net),
                Allowed::Name(name) => rules.names.push(name.clone()),
            }
        }
        rules
    }

    fn allows(&self, address: IpAddr) -> bool {
        is_public(address) || self.nets.iter().any(|net| net.contains(&address))
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
            let fit: Vec<_> =
                found.into_iter().filter(|address| is_named || rules.allows(*address)).collect();
            if fit.is_empty() {
                return Err(Forbidden.into());
            }
            Ok(Box::new(fit.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
