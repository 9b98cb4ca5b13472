//! A cursor over untrusted bytes: nothing is allocated on the word of a length field.

/// Why bytes are not a transaction or block this program can judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The bytes end early, or a length field promises more than there is.
    #[error("the bytes end before the structure does")]
    Truncated,
    /// Bytes are left over.
    #[error("bytes are left over behind the structure")]
    Trailing,
    /// A blob is longer than consensus allows.
    #[error("longer than consensus allows")]
    TooLong,
    /// A variable-length integer is not in its only canonical form or exceeds 64 bits.
    #[error("an integer is not canonically encoded")]
    Varint,
    /// A transaction version other than 1 and 2.
    #[error("unknown transaction version {0}")]
    Version(u64),
    /// An input of a kind consensus does not allow, or a coinbase input among others.
    #[error("unknown kind of input {0:#04x}")]
    Input(u8),
    /// An output of a kind consensus does not allow.
    #[error("unknown kind of output {0:#04x}")]
    Output(u8),
    /// RingCT types 1 to 3: consensus has refused new ones since 2019, a follower that starts at today's tip
    /// meets none.
    #[error("RingCT type {0} is retired and not supported")]
    RetiredRct(u8),
    /// A RingCT type this program does not know: most likely a network upgrade it was not updated for.
    #[error("unknown RingCT type {0}")]
    UnknownRct(u8),
    /// A RingCT transaction with a visible amount, or a coinbase with hidden ones.
    #[error("visible and hidden amounts are mixed")]
    MixedAmounts,
    /// A block whose first transaction is no coinbase.
    #[error("the block's first transaction is no coinbase")]
    NoCoinbase,
    /// The bytes hash to something else than they were said to.
    #[error("the bytes do not have the hash they were announced with")]
    HashMismatch,
}

/// Reads from the front of a slice.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self, n: usize) -> Result<&'a [u8], ParseError> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(ParseError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(ParseError::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    pub fn byte(&mut self) -> Result<u8, ParseError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Little-endian base 128; one spelling per number (Monero `src/common/varint.h`).
    pub fn varint(&mut self) -> Result<u64, ParseError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            // The tenth byte has room for one bit; a zero byte behind others would be a second spelling.
            if (shift == 63 && byte > 1) || (shift > 0 && byte == 0) {
                return Err(ParseError::Varint);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ParseError::Varint)
    }

    /// A count of things of at least `least` bytes each; more than the remaining bytes can hold is refused at
    /// once.
    pub fn count(&mut self, least: usize) -> Result<usize, ParseError> {
        let count = usize::try_from(self.varint()?).map_err(|_| ParseError::Truncated)?;
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.0.len() => Ok(count),
            _ => Err(ParseError::Truncated),
        }
    }
}

/// Appends the canonical encoding of a number.
pub(crate) fn write_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_number_has_exactly_one_spelling(value: u64) {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            prop_assert_eq!(Reader::new(&bytes).varint(), Ok(value));
            let last = bytes.len() - 1;
            bytes[last] |= 0x80;
            bytes.push(0);
            prop_assert_eq!(Reader::new(&bytes).varint(), Err(ParseError::Varint));
        }
    }

    #[test]
    fn a_number_past_64_bits_and_a_promise_past_the_end_are_refused() {
        let mut bytes = vec![0xff; 9];
        bytes.push(2);
        assert_eq!(Reader::new(&bytes).varint(), Err(ParseError::Varint));
        assert_eq!(Reader::new(&[0x80]).varint(), Err(ParseError::Truncated));
        assert_eq!(Reader::new(&[2, 0, 0]).count(2), Err(ParseError::Truncated));
        assert_eq!(Reader::new(&[2, 0, 0]).count(1), Ok(2));
    }
}
