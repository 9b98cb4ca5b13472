//! Canonical JSON (RFC 8785): one byte string per value, so that hashes and signatures agree everywhere.

use serde::Serialize;

use crate::hash::Hash32;

/// A value has no canonical form. Aegis' own types always have one: they hold no floating-point numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value has no canonical JSON form")]
pub struct NotCanonical;

/// The canonical bytes of a value.
pub fn to_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, NotCanonical> {
    serde_json_canonicalizer::to_vec(value).map_err(|_| NotCanonical)
}

/// SHA-256 of the canonical bytes.
pub fn hash<T: Serialize>(value: &T) -> Result<Hash32, NotCanonical> {
    to_bytes(value).map(|bytes| Hash32::sha256(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sorted_and_no_space_is_left() {
        let value = serde_json::json!({"b": [1, "ä"], "a": null});
        assert_eq!(to_bytes(&value).unwrap(), r#"{"a":null,"b":[1,"ä"]}"#.as_bytes());
    }
}
