//! Fixed-size byte strings that travel as lower-case hex: hashes, public keys and signatures.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// A text that should have been hex of a known length was not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} bytes as hexadecimal digits")]
pub struct HexError {
    /// The length in bytes that was asked for.
    pub expected: usize,
}

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        crate::schema::as_string!($name, "hexadecimal digits");

        impl $name {
            /// Length in bytes; the wire form has twice as many hex digits.
            pub const LEN: usize = $len;

            /// The bytes themselves.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = HexError;
            fn from_str(text: &str) -> Result<Self, HexError> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| HexError { expected: $len })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

hex_bytes!(
    /// A 32-byte hash or transaction id.
    Hash32,
    32
);
hex_bytes!(
    /// A 32-byte public key: Ed25519 (signing, Monero spend and view) or X25519 (identity).
    Key32,
    32
);
hex_bytes!(
    /// An Ed25519 signature.
    Signature,
    64
);

impl Hash32 {
    /// SHA-256 of the bytes.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_of_another_length_is_refused() {
        assert!("ab".parse::<Hash32>().is_err());
        assert!("zz".repeat(32).parse::<Hash32>().is_err());
        assert_eq!("AB".repeat(32).parse::<Hash32>(), Ok(Hash32([0xab; 32])));
    }
}
