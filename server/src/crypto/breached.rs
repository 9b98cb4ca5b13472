//! Passwords that others have lost: a file of SHA-1 hashes in order, one a line and perhaps with a count behind a colon, as
//! Have I Been Pwned gives them out for download. It is searched by bisection, so its size does not matter, and no password or
//! part of its hash leaves the machine.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

/// Longer than any line: hash, colon, count, line end.
const LINE: u64 = 80;
/// Digits of a hash.
const DIGITS: usize = 40;

/// Places that are looked at when a list is opened.
const SAMPLES: u64 = 1000;

/// An open list.
pub struct Breached {
    file: File,
    length: u64,
}

impl Breached {
    /// Opens a list. One that holds no hashes, or not in order, is refused: it would refuse no password.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let list = Self { length: file.metadata()?.len(), file };
        let mut before = list.hash_at(0)?;
        for sample in 1..=SAMPLES {
            let at = list.length.saturating_sub(2).saturating_mul(sample) / SAMPLES;
            let hash = list.hash_at(list.line_before(at)?)?;
            if *hash < *before {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the hashes are not in order"));
            }
            before = hash;
        }
        Ok(list)
    }

    /// Whether a password is in the list.
    pub fn contains(&self, password: &str) -> io::Result<bool> {
        let digest = Zeroizing::new(hex::encode_upper(Sha1::digest(password.as_bytes())));
        let (mut low, mut high) = (0, self.length);
        // The first line that is not before the hash begins somewhere from `low` to `high`.
        while low < high {
            let start = self.line_before(low + (high - low) / 2)?;
            if self.hash_at(start)?.as_str() < digest.as_str() {
                low = self.line_after(start)?;
            } else {
                high = start;
            }
        }
        Ok(low < self.length && *self.hash_at(low)? == *digest)
    }

    /// Up to one line's bytes from an offset.
    fn bytes(&self, from: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(LINE.min(self.length.saturating_sub(from))).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, from)?;
        Ok(bytes)
    }

    /// Where the line begins that an offset lies in.
    fn line_before(&self, at: u64) -> io::Result<u64> {
        let from = at.saturating_sub(LINE);
        let bytes = self.bytes(from)?;
        let mut before = bytes.iter().take(usize::try_from(at - from).unwrap_or(0));
        Ok(before.rposition(|byte| *byte == b'\n').map_or(from, |end| from + end as u64 + 1))
    }

    /// Where the line after the one at `start` begins.
    fn line_after(&self, start: u64) -> io::Result<u64> {
        let end = self.bytes(start)?.iter().position(|byte| *byte == b'\n');
        Ok(end.map_or(self.length, |end| start + end as u64 + 1))
    }

    fn hash_at(&self, start: u64) -> io::Result<Zeroizing<String>> {
        let bytes = self.bytes(start)?;
        let hash = bytes.get(..DIGITS).filter(|hash| hash.iter().all(u8::is_ascii_hexdigit));
        let not_a_list =
            || io::Error::new(io::ErrorKind::InvalidData, "a line does not begin with a SHA-1 hash");
        let hash = hash.ok_or_else(not_a_list)?.to_ascii_uppercase();
        String::from_utf8(hash).map(Zeroizing::new).map_err(|_| not_a_list())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_passwords_of_the_list_are_found_wherever_they_stand() {
        let listed: Vec<String> = (0..500).map(|n| format!("stolen password {n}")).collect();
        let mut hashes: Vec<String> =
            listed.iter().map(|text| hex::encode_upper(Sha1::digest(text.as_bytes()))).collect();
        hashes.sort();
        let dir = tempfile::tempdir().unwrap();
        for (count, end) in [(":1", "\n"), (":23597311", "\r\n"), ("", "\n")] {
            let lines: Vec<String> = hashes.iter().map(|hash| format!("{hash}{count}")).collect();
            for text in [lines.join(end), lines.join(end) + end] {
                let path = dir.path().join("list");
                std::fs::write(&path, text).unwrap();
                let list = Breached::open(&path).unwrap();
                assert!(listed.iter().all(|password| list.contains(password).unwrap()));
                assert!((500..1000).all(|n| !list.contains(&format!("stolen password {n}")).unwrap()));
            }
        }
        let path = dir.path().join("other");
        let (mut upside_down, good) = (hashes.clone(), hashes.join("\n"));
        upside_down.reverse();
        for text in ["", "password1234\n", &"A".repeat(39), &upside_down.join("\n"), &format!("{good}\n\n\n")]
        {
            std::fs::write(&path, text).unwrap();
            assert!(Breached::open(&path).is_err(), "{text}");
        }
    }
}
