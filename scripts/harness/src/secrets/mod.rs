//! Searches everything the server ever saw for anything that could spend.
//!
//! A spend share is a scalar s. Bytes give it away when, read as a number of either byte order, they are s or -s modulo
//! the group's order l (2^252 + …; RFC 8032): exactly then w·G is the public share or its negative. A 32-byte window can
//! hold only sixteen such numbers, so searching for these patterns is the same as multiplying every window by G, and
//! takes seconds where that would take hours. The search looks at the data as it is and at every run of digits in it,
//! decoded.
//!
//! Searched for are the shares, the keys that a share is made of, and the keys that those are derived from. Not searched for
//! are the nonces of signatures: the wallet gives them to nobody, and what is exported of them is their public form.

mod decode;
mod early;
mod evidence;
mod shares;

use std::collections::{HashMap, HashSet};

use curve25519_dalek::scalar::Scalar;

pub use early::EarlyKeys;
pub use evidence::{seen_by_server, shares};
pub use shares::{Share, from_multisig_seed, mnemonic, of_plain_wallet, of_wallet};

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
    // Whether a window may begin with these two bytes: most data is passed over without a look-up.
    begins: Vec<bool>,
    decimals: Vec<(usize, Vec<u8>)>,
    mnemonics: Vec<(usize, Vec<Vec<u8>>)>,
}

/// What one search has found and decoded so far. Traffic repeats itself; each run of digits is decoded once.
#[derive(Default)]
struct Progress {
    found: Vec<Finding>,
    decoded: HashSet<Vec<u8>>,
}

impl Search {
    /// Prepares the search.
    pub fn new(shares: &[Share]) -> Self {
        let mut search = Self {
            names: Vec::new(),
            windows: HashMap::new(),
            begins: vec![false; 1 << 16],
            decimals: Vec::new(),
            mnemonics: Vec::new(),
        };
        for (index, share) in shares.iter().enumerate() {
            search.names.push(share.owner.clone());
            let scalar = Scalar::from_bytes_mod_order(share.secret);
            for start in [scalar.to_bytes(), (-scalar).to_bytes()] {
                let mut next = Some(start);
                while let Some(number) = next {
                    search.insert(index, number);
                    next = add(&number, &ORDER);
                }
            }
            if let Some(words) = &share.words {
                let words = decode::words(words.as_bytes()).map(<[u8]>::to_vec);
                search.mnemonics.push((index, words.collect()));
            }
        }
        search
    }

    fn insert(&mut self, share: usize, number: [u8; 32]) {
        let mut backwards = number;
        backwards.reverse();
        for (writing, reversed) in [(number, false), (backwards, true)] {
            if let Some(begins) = self.begins.get_mut(begin(&writing)) {
                *begins = true;
            }
            self.windows.insert(writing, Pattern { share, reversed });
            self.decimals.push((share, decimal(&writing).into_bytes()));
        }
    }

    fn report(&self, share: usize, encoding: String, place: String, progress: &mut Progress) {
        let share = self.names.get(share).cloned().unwrap_or_default();
        progress.found.push(Finding { share, encoding, place });
    }

    fn look(&self, bytes: &[u8], encoding: &str, place: &str, progress: &mut Progress) {
        for (at, window) in bytes.windows(32).enumerate() {
            if !self.begins.get(begin(window)).is_some_and(|begins| *begins) {
                continue;
            }
            if let Some(pattern) = self.windows.get(window) {
                let order = if pattern.reversed { ", reversed" } else { "" };
                self.report(
                    pattern.share,
                    format!("{encoding}{order}"),
                    format!("{place}, byte {at}"),
                    progress,
                );
            }
        }
        for digits in bytes.split(|byte| !byte.is_ascii_digit()).filter(|run| run.len() >= SHORT_DECIMAL) {
            for (share, text) in self.decimals.iter().filter(|(_, text)| text.len() >= SHORT_DECIMAL) {
                if digits.windows(text.len()).any(|window| window == text) {
                    self.report(*share, format!("decimal in {encoding}"), place.to_owned(), progress);
                }
            }
        }
        // Words may be in any case, and whatever is no letter may stand between them.
        let words: Vec<&[u8]> = decode::words(bytes).collect();
        for (share, mnemonic) in &self.mnemonics {
            let same = |window: &[&[u8]]| {
                window.iter().zip(mnemonic).all(|(word, wanted)| word.eq_ignore_ascii_case(wanted))
            };
            if !mnemonic.is_empty() && words.windows(mnemonic.len()).any(same) {
                self.report(*share, format!("mnemonic words in {encoding}"), place.to_owned(), progress);
            }
        }
    }

    fn at_depth(&self, place: &str, encoding: &str, bytes: &[u8], depth: u8, progress: &mut Progress) {
        self.look(bytes, encoding, place, progress);
        if depth == 0 {
            return;
        }
        for (name, run) in decode::runs(bytes) {
            if !progress.decoded.insert([name.as_bytes(), run].concat()) {
                continue;
            }
            let inner = if encoding == "raw" { name.to_owned() } else { format!("{name} in {encoding}") };
            for decoded in decode::decode(name, run) {
                self.at_depth(place, &inner, &decoded, depth - 1, progress);
            }
        }
    }

    /// Every share found in named pieces of data, in any writing, up to two encodings deep (hex inside base64 and the like).
    pub fn in_all<'a>(&self, pieces: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<Finding> {
        let mut progress = Progress::default();
        for (place, piece) in pieces {
            self.at_depth(place, "raw", piece, 2, &mut progress);
        }
        progress.found
    }

    /// Every share found in one piece of data.
    pub fn in_piece(&self, place: &str, piece: &[u8]) -> Vec<Finding> {
        self.in_all([(place, piece)])
    }
}

/// A share has 75 to 78 decimal digits; one so small that it has fewer than this does not occur.
const SHORT_DECIMAL: usize = 60;

/// A window's first two bytes as a number.
fn begin(window: &[u8]) -> usize {
    match window {
        [first, second, ..] => usize::from(*first) << 8 | usize::from(*second),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
