//! Names of accounts. They stand in contracts, in pins and on terminals, so they are short and plain.

/// Characters in a username.
pub const LENGTH: std::ops::RangeInclusive<usize> = 3..=32;

/// Whether a text can be a username: letters, digits, `_` and `-`.
pub fn is_username(text: &str) -> bool {
    LENGTH.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
