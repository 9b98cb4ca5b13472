//! Monero addresses: base58 with a network tag, two public keys and a Keccak checksum
//! (Monero `src/cryptonote_basic/cryptonote_basic_impl.cpp`, tags in `src/cryptonote_config.h`).

use std::fmt;
use std::str::FromStr;

use curve25519_dalek::edwards::CompressedEdwardsY;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha3::{Digest, Keccak256};

use crate::hash::Key32;

/// The chain an escrow lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The real one.
    Mainnet,
    /// Real rules, worthless coins.
    Stagenet,
    /// Rules under development, worthless coins.
    Testnet,
    /// A private chain; it uses mainnet's address format.
    Regtest,
}

impl Network {
    /// Address tags: standard, integrated, subaddress.
    fn tags(self) -> [u8; 3] {
        match self {
            Self::Mainnet | Self::Regtest => [18, 19, 42],
            Self::Testnet => [53, 54, 63],
            Self::Stagenet => [24, 25, 36],
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mainnet => "mainnet",
            Self::Stagenet => "stagenet",
            Self::Testnet => "testnet",
            Self::Regtest => "regtest",
        })
    }
}

/// What an address asks of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressKind {
    /// A wallet's primary address.
    Standard,
    /// A primary address with an 8-byte payment id.
    Integrated([u8; 8]),
    /// A subaddress.
    Subaddress,
}

/// A text is not an address that can be paid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Base58 or checksum is wrong: most likely a typing or copying mistake.
    #[error("not a Monero address: its encoding or checksum is wrong")]
    Malformed,
    /// The address is of another network.
    #[error("the address does not belong to {expected}")]
    ForeignNetwork {
        /// The network that was expected.
        expected: Network,
    },
    /// One of its keys is no point on the curve.
    #[error("the address holds an invalid public key")]
    InvalidKey,
}

/// A checked Monero address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    tag: u8,
    /// What it asks of a sender.
    pub kind: AddressKind,
    /// Public spend key.
    pub spend: Key32,
    /// Public view key.
    pub view: Key32,
}

impl Address {
    /// An address from its keys.
    pub fn new(network: Network, kind: AddressKind, spend: Key32, view: Key32) -> Self {
        let [standard, integrated, subaddress] = network.tags();
        let tag = match kind {
            AddressKind::Standard => standard,
            AddressKind::Integrated(_) => integrated,
            AddressKind::Subaddress => subaddress,
        };
        Self { tag, kind, spend, view }
    }

    /// Parses an address and checks that it belongs to the network.
    pub fn parse(text: &str, network: Network) -> Result<Self, AddressError> {
        let address: Self = text.parse()?;
        address.require(network)?;
        Ok(address)
    }

    /// Checks that the address belongs to the network.
    pub fn require(&self, network: Network) -> Result<(), AddressError> {
        if network.tags().contains(&self.tag) {
            Ok(())
        } else {
            Err(AddressError::ForeignNetwork { expected: network })
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // Longest address: integrated, 106 characters. The bound keeps hostile input cheap.
        if text.len() > 106 {
            return Err(AddressError::Malformed);
        }
        let bytes = base58_monero::decode(text).map_err(|_| AddressError::Malformed)?;
        // Not `decode_check`: it panics on fewer than four bytes.
        let (body, checksum) = bytes.split_last_chunk::<4>().ok_or(AddressError::Malformed)?;
        if Keccak256::digest(body)[..4] != checksum[..] {
            return Err(AddressError::Malformed);
        }
        let (&tag, rest) = body.split_first().ok_or(AddressError::Malformed)?;
        let networks = [Network::Mainnet, Network::Testnet, Network::Stagenet];
        let position = networks
            .iter()
            .find_map(|network| network.tags().iter().position(|t| *t == tag))
            .ok_or(AddressError::Malformed)?;
        let key = |range: std::ops::Range<usize>| -> Result<Key32, AddressError> {
            let bytes = rest.get(range).and_then(|slice| slice.try_into().ok());
            let key = Key32(bytes.ok_or(AddressError::Malformed)?);
            let point = CompressedEdwardsY(key.0).decompress();
            // A non-canonical encoding would give one address two spellings.
            match point.map(|point| point.compress().0 == key.0) {
                Some(true) => Ok(key),
                _ => Err(AddressError::InvalidKey),
            }
        };
        let kind = match (position, rest.len()) {
            (0, 64) => AddressKind::Standard,
            (2, 64) => AddressKind::Subaddress,
            (1, 72) => {
                let id = rest.get(64..).and_then(|slice| slice.try_into().ok());
                AddressKind::Integrated(id.ok_or(AddressError::Malformed)?)
            }
            _ => return Err(AddressError::Malformed),
        };
        Ok(Self { tag, kind, spend: key(0..32)?, view: key(32..64)? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.tag];
        bytes.extend(self.spend.0);
        bytes.extend(self.view.0);
        if let AddressKind::Integrated(id) = self.kind {
            bytes.extend(id);
        }
        f.write_str(&base58_monero::encode_check(&bytes).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

crate::schema::as_string!(Address, "a Monero address in base58");

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The Monero project's donation address, printed in its README.
    const DONATION: &str =
        "888tNkZrPN6JsEgekjMnABU4TBzc2Dt29EPAvkRxbANsAnjyPbb3iQ1YBRk1UXcdRsiKc9dhwMVgN5S9cQUiyoogDavup3H";

    #[test]
    fn a_known_address_survives_a_round_trip_and_only_its_own_network() {
        let address = Address::parse(DONATION, Network::Mainnet).unwrap();
        assert_eq!(address.kind, AddressKind::Subaddress);
        assert_eq!(address.to_string(), DONATION);
        assert!(Address::parse(DONATION, Network::Regtest).is_ok());
        for foreign in [Network::Stagenet, Network::Testnet] {
            assert_eq!(
                Address::parse(DONATION, foreign),
                Err(AddressError::ForeignNetwork { expected: foreign })
            );
        }
    }

    #[test]
    fn every_single_character_error_is_caught() {
        for at in 0..DONATION.len() {
            let mut damaged = DONATION.to_owned();
            let other = if &DONATION[at..=at] == "2" { "3" } else { "2" };
            damaged.replace_range(at..=at, other);
            assert!(damaged.parse::<Address>().is_err(), "position {at}");
        }
        assert!("".parse::<Address>().is_err());
        assert!("8".repeat(5000).parse::<Address>().is_err());
    }
}
