//! Searches everything the server ever saw for anything that could spend.
//!
//! A spend share is a scalar s. Bytes give it away when, read as a number of either byte order, they are s or -s modulo
//! the group's order l (2^252 + …; RFC 8032): exactly then w·G is the public share or its negative. A 32-byte window can
//! hold only sixteen such numbers, so searching for these patterns is the same as multiplying every window by G, and
//! takes seconds where that would take hours. The search looks at the data as it is and at every run of digits in it,
//! decoded.

mod decode;
mod shares;

use std::collections::HashMap;

use curve25519_dalek::scalar::Scalar;

pub use shares::{Share, from_multisig_seed, mnemonic, of_wallet};

/// l in little-endian bytes.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// A secret that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose share it is.
    pub share: String,
    /// How it was written, e.g. `hex, reversed`.
    pub encoding: String,
    /// Where: the name of the piece and the position in it.
    pub place: String,
}

/// Adds two numbers of 32 little-endian bytes; `None` where the sum needs more.
fn add(one: &[u8; 32], other: &[u8; 32]) -> Option<[u8; 32]> {
    let mut sum = [0; 32];
    let mut carry = 0;
    for ((to, a), b) in sum.iter_mut().zip(one).zip(other) {
        let digit = u16::from(*a) + u16::from(*b) + carry;
        *to = (digit & 0xff) as u8;
        carry = digit >> 8;
    }
    (carry == 0).then_some(sum)
}

/// A number of 32 little-endian bytes in decimal digits.
fn decimal(bytes: &[u8; 32]) -> String {
    let mut digits = vec![0u8];
    for byte in bytes.iter().rev() {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let value = u32::from(*digit) * 256 + carry;
            *digit = (value % 10) as u8;
            carry = value / 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

struct Pattern {
    share: usize,
    reversed: bool,
}

/// A search for a set of shares.
pub struct Search {
    names: Vec<String>,
    // By every 32-byte writing of each share.
    windows: HashMap<[u8; 32], Pattern>,
    // Share, name of the writing, the writing.
    texts: Vec<(usize, &'static str, Vec<u8>)>,
}

impl Search {
    /// Prepares the search.
    pub fn new(shares: &[Share]) -> Self {
        let mut search = Self { names: Vec::new(), windows: HashMap::new(), texts: Vec::new() };
        for (index, share) in shares.iter().enumerate() {
            search.names.push(share.owner.clone());
            let scalar = Scalar::from_bytes_mod_order(share.secret);
            for start in [scalar.to_bytes(), (-scalar).to_bytes()] {
                let mut next = Some(start);
                while let Some(number) = next {
                    let mut reversed = number;
                    reversed.reverse();
                    search.windows.insert(number, Pattern { share: index, reversed: false });
                    search.windows.insert(reversed, Pattern { share: index, reversed: true });
                    search.texts.push((index, "decimal", decimal(&number).into_bytes()));
                    search.texts.push((index, "decimal, big-endian", decimal(&reversed).into_bytes()));
                    next = add(&number, &ORDER);
                }
            }
            if let Some(words) = &share.words {
                search.texts.push((index, "mnemonic words", words.clone().into_bytes()));
            }
        }
        search
    }

    fn look(&self, bytes: &[u8], encoding: &str, place: &str, found: &mut Vec<Finding>) {
        for (at, window) in bytes.windows(32).enumerate() {
            let Ok(window) = <[u8; 32]>::try_from(window) else { continue };
            if let Some(pattern) = self.windows.get(&window) {
                let order = if pattern.reversed { ", reversed" } else { "" };
                found.push(Finding {
                    share: self.names.get(pattern.share).cloned().unwrap_or_default(),
                    encoding: format!("{encoding}{order}"),
                    place: format!("{place}, byte {at}"),
                });
            }
        }
    }

    /// Every share found in a piece of data, in any writing, up to two encodings deep (hex inside base64 and the like).
    pub fn in_piece(&self, place: &str, piece: &[u8]) -> Vec<Finding> {
        let mut found = Vec::new();
        self.at_depth(place, "raw", piece, 2, &mut found);
        found
    }

    fn at_depth(&self, place: &str, encoding: &str, bytes: &[u8], depth: u8, found: &mut Vec<Finding>) {
        self.look(bytes, encoding, place, found);
        self.look_for_texts(bytes, encoding, place, found);
        if depth == 0 {
            return;
        }
        for (name, decoded) in decode::runs(bytes) {
            let inner = if encoding == "raw" { name.to_owned() } else { format!("{name} in {encoding}") };
            self.at_depth(place, &inner, &decoded, depth - 1, found);
        }
    }

    fn look_for_texts(&self, bytes: &[u8], encoding: &str, place: &str, found: &mut Vec<Finding>) {
        for (share, name, text) in &self.texts {
            // Words may be separated by anything that is no letter; numbers may be written with zeros in front.
            let hit = if *name == "mnemonic words" {
                decode::contains_words(bytes, text)
            } else {
                text.len() > 60 && decode::contains(bytes, text)
            };
            if hit {
                found.push(Finding {
                    share: self.names.get(*share).cloned().unwrap_or_default(),
                    encoding: format!("{name} in {encoding}"),
                    place: place.to_owned(),
                });
            }
        }
    }

    /// Every share found in named pieces of data.
    pub fn in_all<'a>(&self, pieces: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<Finding> {
        pieces.into_iter().flat_map(|(place, piece)| self.in_piece(place, piece)).collect()
    }
}

#[cfg(test)]
mod tests;
