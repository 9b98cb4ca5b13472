//! Scalars as signed digits.

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroize;

/// Bits of the scalars that are written down: min(a, ℓ − a) is below 2^252.
const BITS: usize = 252;

/// Width of the windows in constant time: eight entries are read for each digit.
const CONSTANT_TIME_WINDOW: usize = 4;

/// Digits of many scalars in base 2^w, each from −2^(w−1) to 2^(w−1), least significant first.
pub struct Digits {
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
        Self { rows, digits }
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

/// How products are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Bits of a digit, 2 to 9.
    pub window: usize,
    /// Doublings between additions of few multiples, instead of a table of all windows.
    pub ladder: bool,
    /// Whether time and memory accesses are the same for all scalars.
    pub constant_time: bool,
}

impl Plan {
    /// The cheapest for so many products of one point, where an entry of a table costs so many multiplications.
    pub fn best(products: usize, entry: usize, constant_time: bool) -> Self {
        let windows = if constant_time { CONSTANT_TIME_WINDOW..=CONSTANT_TIME_WINDOW } else { 2..=9 };
        let plans =
            windows.flat_map(|window| [false, true].map(|ladder| Self { window, ladder, constant_time }));
        let fallback = Self { window: CONSTANT_TIME_WINDOW, ladder: true, constant_time };
        plans.min_by_key(|plan| plan.multiplications(products.max(1), entry)).unwrap_or(fallback)
    }

    /// Field multiplications for so many products, roughly. In a table an addition takes 7 and a row 18 beside its entries; on
    /// a ladder a doubling takes 7, an addition 8 and a multiple 9.
    fn multiplications(&self, products: usize, entry: usize) -> usize {
        let (rows, half) = (rows(self.window), 1 << (self.window - 1));
        match self.ladder {
            false => products * rows * 7 + rows * (half * entry + 18),
            true => products * (BITS * 7 + rows * 8) + half * 9,
        }
    }
}
