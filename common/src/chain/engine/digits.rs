//! Scalars as signed digits.

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroize;

/// Bits of the scalars that are written down: min(a, ℓ − a) is below 2^252.
const BITS: usize = 252;

/// Digits of many scalars in base 2^w, each from −2^(w−1) to 2^(w−1), least significant first.
pub struct Digits {
    window: usize,
    rows: usize,
    digits: Vec<i16>,
}

impl Drop for Digits {
    fn drop(&mut self) {
        self.digits.zeroize();
    }
}

/// Windows of a width.
pub const fn rows(window: usize) -> usize {
    BITS.div_ceil(window)
}

impl Digits {
    /// Writes the scalars down; takes the same time for all of them.
    pub fn new<'a>(scalars: impl ExactSizeIterator<Item = &'a Scalar>, window: usize) -> Self {
        let rows = rows(window);
        let mut digits = Vec::with_capacity(scalars.len() * rows);
        for scalar in scalars {
            recode(scalar, window, rows, &mut digits);
        }
        Self { window, rows, digits }
    }

    pub fn window(&self) -> usize {
        self.window
    }

    pub fn len(&self) -> usize {
        self.digits.len() / self.rows
    }

    /// One scalar's digits.
    #[inline(always)]
    pub fn of(&self, scalar: usize) -> &[i16] {
        &self.digits[scalar * self.rows..][..self.rows]
    }
}

fn recode(scalar: &Scalar, window: usize, rows: usize, digits: &mut Vec<i16>) {
    // 2a mod ℓ is odd exactly where a > ℓ/2: then ℓ − a is written, and every digit negated.
    let high = (scalar + scalar).as_bytes()[0] & 1;
    let choice = subtle::Choice::from(high);
    let mut small = <Scalar as subtle::ConditionallySelectable>::conditional_select(scalar, &-scalar, choice);
    let mut words = [0u64; 5];
    for (word, bytes) in words.iter_mut().zip(small.as_bytes().chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    let sign = 1 - 2 * i16::from(high);
    let half = 1i16 << (window - 1);
    let mut carry = 0;
    for row in 0..rows {
        let bit = row * window;
        let (at, shift) = (bit / 64, bit % 64);
        let wide = u128::from(words[at]) | u128::from(words[at + 1]) << 64;
        let raw = ((wide >> shift) as u64 & ((1 << window) - 1)) as i16 + carry;
        // One where the digit is above half, by the sign of the difference.
        carry = ((half - raw) >> 15) & 1;
        digits.push(sign * (raw - (carry << window)));
    }
    words.zeroize();
    small.zeroize();
}

/// The cheapest width for so many keys, by multiplications a pair: `rows` additions of 7, and the table's 11 an entry divided
/// by the keys.
pub fn best_window(keys: usize) -> usize {
    let cost = |window: &usize| {
        let entries = rows(*window) << (window - 1);
        rows(*window) * 7 + entries * 11 / keys.max(1)
    };
    (2..=9).min_by_key(cost).unwrap_or(4)
}
