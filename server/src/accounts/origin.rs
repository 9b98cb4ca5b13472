//! Where a request comes from, and how much of that is kept.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aegis_common::hash::Hash32;

/// Where a request comes from: the peer, what a trusted proxy says, or nowhere: the server's own machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin(pub Option<IpAddr>);

impl Origin {
    /// A person at the server's machine.
    pub const MACHINE: Self = Self(None);

    /// What limits count: one address, but of IPv6 a /64, which is what one customer has at least.
    pub fn counted(self) -> Option<IpAddr> {
        self.masked(32, 64)
    }

    /// What is kept and shown: enough to recognise a place, not a person.
    pub fn network(self) -> Option<String> {
        let address = self.masked(24, 48)?;
        Some(format!("{address}/{}", if address.is_ipv4() { 24 } else { 48 }))
    }

    /// What a login that waits for its second factor is bound to.
    pub fn binding(self) -> String {
        let address = self.0.map(|address| address.to_canonical().to_string()).unwrap_or_default();
        Hash32::sha256(address.as_bytes()).to_string()
    }

    fn masked(self, v4: u32, v6: u32) -> Option<IpAddr> {
        Some(match self.0?.to_canonical() {
            IpAddr::V4(address) => {
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (32 - v4))))
            }
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - v6))))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_one_ipv6_network_are_counted_together_and_only_the_place_is_kept() {
        let from = |ip: &str| Origin(Some(ip.parse().unwrap()));
        assert_eq!(from("2001:db8::1").counted(), from("2001:db8::2").counted());
        assert_ne!(from("2001:db8::1").counted(), from("2001:db8:0:1::1").counted());
        assert_eq!(from("::ffff:192.0.2.7").counted(), from("192.0.2.7").counted());
        assert_ne!(from("192.0.2.7").counted(), from("192.0.2.8").counted());
        assert_eq!(from("192.0.2.7").network().unwrap(), "192.0.2.0/24");
        assert_eq!(from("2001:db8:1:2::7").network().unwrap(), "2001:db8:1::/48");
        assert_eq!(Origin::MACHINE.network(), None);
        assert_ne!(from("192.0.2.7").binding(), from("192.0.2.8").binding());
    }
}
