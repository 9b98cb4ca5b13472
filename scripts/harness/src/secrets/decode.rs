//! Runs of digits in arbitrary data, decoded in every way that could hold 32 bytes.

/// Decoded runs: name of the encoding, bytes.
pub fn runs(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut found = Vec::new();
    for run in split(bytes, u8::is_ascii_hexdigit, 64) {
        for shift in 0..2 {
            let digits = run.get(shift..).unwrap_or_default();
            let even = digits.get(..digits.len() & !1).unwrap_or_default();
            if let Ok(decoded) = hex::decode(even) {
                found.push(("hex", decoded));
            }
        }
    }
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    for run in split(bytes, is_base64, 43) {
        // A secret may begin at any of four places in a group; one of the shifts meets its alignment.
        found.extend((0..4).map(|shift| ("base64", base64(run.get(shift..).unwrap_or_default()))));
    }
    let is_base58 = |byte: &u8| byte.is_ascii_alphanumeric() && !b"0OIl".contains(byte);
    for run in split(bytes, is_base58, 43) {
        found.extend(base58_windows(run).into_iter().map(|decoded| ("base58", decoded)));
        found.extend(base58_monero(run).into_iter().map(|decoded| ("Monero's base58", decoded)));
    }
    found
}

fn split<'a>(
    bytes: &'a [u8],
    belongs: impl Fn(&u8) -> bool + 'a,
    least: usize,
) -> impl Iterator<Item = &'a [u8]> {
    bytes.split(move |byte| !belongs(byte)).filter(move |run| run.len() >= least)
}

/// Base64 of either alphabet, without padding; what is left of the last group is dropped.
fn base64(digits: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut buffer, mut bits) = (0u32, 0);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            _ => 63,
        };
        buffer = (buffer << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            decoded.push((buffer >> bits) as u8);
            buffer &= (1 << bits) - 1;
        }
    }
    decoded
}

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

fn base58_value(digits: &[u8]) -> Option<Vec<u8>> {
    // Big-endian number of 40 bytes at most: 32 of a key, a version before and a checksum after it.
    let mut number = [0u8; 40];
    for digit in digits {
        let mut carry = u32::try_from(BASE58.iter().position(|known| known == digit)?).ok()?;
        for byte in number.iter_mut().rev() {
            let value = u32::from(*byte) * 58 + carry;
            *byte = (value & 0xff) as u8;
            carry = value >> 8;
        }
        if carry > 0 {
            return None;
        }
    }
    Some(number.to_vec())
}

/// Bitcoin's base58 of 32 bytes has 43 or 44 digits, with version and checksum up to 53. A number can't be read from the
/// middle of a longer one, so whole runs and their parts of these lengths are tried; runs of kilobytes are hex or base64
/// of something else, and are covered there.
fn base58_windows(run: &[u8]) -> Vec<Vec<u8>> {
    if run.len() > 200 {
        return Vec::new();
    }
    let lengths = [43, 44, 50, 51, 52, 53];
    lengths.into_iter().flat_map(|length| run.windows(length)).filter_map(base58_value).collect()
}

/// Monero's base58 writes blocks of 8 bytes as 11 digits, so a secret may begin at any of eleven places.
fn base58_monero(run: &[u8]) -> Vec<Vec<u8>> {
    let shifts = 0..11.min(run.len());
    let decoded = shifts.map(|shift| {
        let blocks = run.get(shift..).unwrap_or_default().chunks_exact(11);
        blocks.flat_map(|block| {
            base58_value(block).map_or([0; 8].to_vec(), |n| n.get(32..).unwrap_or_default().to_vec())
        })
    });
    decoded.map(Iterator::collect).collect()
}

/// Whether `bytes` contains `text`.
pub fn contains(bytes: &[u8], text: &[u8]) -> bool {
    let Some(first) = text.first() else { return false };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = rest.get(at..).unwrap_or_default();
        if rest.starts_with(text) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

/// Whether the words of `text` stand in `bytes` one after another, whatever is between them, in any case.
pub fn contains_words(bytes: &[u8], text: &[u8]) -> bool {
    let words = |bytes: &[u8]| -> Vec<Vec<u8>> {
        bytes
            .split(|byte| !byte.is_ascii_alphabetic())
            .filter(|word| !word.is_empty())
            .map(<[u8]>::to_ascii_lowercase)
            .collect()
    };
    let wanted = words(text);
    !wanted.is_empty() && words(bytes).windows(wanted.len()).any(|window| window == wanted)
}
