//! Runs of digits in arbitrary data, decoded in every way that could hold 32 bytes.

/// Runs long enough to hold 32 bytes: name of the encoding, digits.
pub fn runs(bytes: &[u8]) -> Vec<(&'static str, &[u8])> {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let is_base58 = |byte: &u8| byte.is_ascii_alphanumeric() && !b"0OIl".contains(byte);
    let mut found: Vec<_> = split(bytes, u8::is_ascii_hexdigit, 64).map(|run| ("hex", run)).collect();
    found.extend(split(bytes, is_base64, 43).map(|run| ("base64", run)));
    found.extend(split(bytes, is_base58, 43).map(|run| ("base58", run)));
    found
}

/// Every reading of a run, for every place in it where a secret may begin.
pub fn decode(name: &str, run: &[u8]) -> Vec<Vec<u8>> {
    let from = |shift: usize| run.get(shift..).unwrap_or_default();
    match name {
        "hex" => (0..2).filter_map(|shift| hex::decode(whole(from(shift), 2)).ok()).collect(),
        "base64" => (0..4).map(|shift| base64(from(shift))).collect(),
        _ => [base58_windows(run), base58_monero(run)].concat(),
    }
}

/// The digits without those of an incomplete last group.
fn whole(digits: &[u8], group: usize) -> &[u8] {
    digits.get(..digits.len() - digits.len() % group).unwrap_or_default()
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

/// The words of a text: what stands between bytes that are no letters.
pub fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty())
}
