//! One lane of four 64-bit limbs. Values are kept below 2^256, and 2^256 = 38.

use zeroize::Zeroize;

use crate::chain::engine::field::{Field, P, Words};

#[derive(Clone, Copy)]
pub struct Limbs(Words);

impl Zeroize for Limbs {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// `a + b·c + carry`, which fits.
#[inline(always)]
fn mac(a: u64, b: u64, c: u64, carry: u64) -> (u64, u64) {
    let wide = u128::from(a) + u128::from(b) * u128::from(c) + u128::from(carry);
    (wide as u64, (wide >> 64) as u64)
}

#[inline(always)]
fn adc(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (sum, one) = a.overflowing_add(b);
    let (sum, two) = sum.overflowing_add(u64::from(carry));
    (sum, one | two)
}

#[inline(always)]
fn sbb(a: u64, b: u64, borrow: bool) -> (u64, bool) {
    let (difference, one) = a.overflowing_sub(b);
    let (difference, two) = difference.overflowing_sub(u64::from(borrow));
    (difference, one | two)
}

/// Adds a small number; what runs over comes back as 38, and can't run over again.
#[inline(always)]
fn add_small(a: Words, small: u64) -> Words {
    let (r0, c) = a[0].overflowing_add(small);
    let (r1, c) = adc(a[1], 0, c);
    let (r2, c) = adc(a[2], 0, c);
    let (r3, c) = adc(a[3], 0, c);
    [r0 + if c { 38 } else { 0 }, r1, r2, r3]
}

/// `low + 38·high`.
#[inline(always)]
fn fold(low: Words, high: Words) -> Words {
    let (r0, c) = mac(low[0], high[0], 38, 0);
    let (r1, c) = mac(low[1], high[1], 38, c);
    let (r2, c) = mac(low[2], high[2], 38, c);
    let (r3, c) = mac(low[3], high[3], 38, c);
    add_small([r0, r1, r2, r3], c * 38)
}

#[inline(always)]
fn canonical(a: Words) -> Words {
    // Below 2^255 + 38 after the top bit has come back as 19.
    let top = a[3] >> 63;
    let a = add_small([a[0], a[1], a[2], a[3] & (u64::MAX >> 1)], top * 19);
    let (d0, b) = sbb(a[0], P[0], false);
    let (d1, b) = sbb(a[1], P[1], b);
    let (d2, b) = sbb(a[2], P[2], b);
    let (d3, b) = sbb(a[3], P[3], b);
    let keep = 0u64.wrapping_sub(u64::from(b));
    let pick = |old: u64, less: u64| (old & keep) | (less & !keep);
    [pick(a[0], d0), pick(a[1], d1), pick(a[2], d2), pick(a[3], d3)]
}

impl Field for Limbs {
    const LANES: usize = 1;
    type Loose = Self;

    #[inline(always)]
    fn splat(words: &Words) -> Self {
        Self(*words)
    }

    #[inline(always)]
    fn load(lanes: &[Words]) -> Self {
        Self(lanes[0])
    }

    #[inline(always)]
    fn store(self, lanes: &mut [Words]) {
        lanes[0] = canonical(self.0);
    }

    #[inline(always)]
    fn encode(x: Self, y: Self, out: &mut [u64], stride: usize) {
        let [y0, y1, y2, y3] = canonical(y.0);
        out[0] = y0;
        out[stride] = y1;
        out[2 * stride] = y2;
        out[3 * stride] = y3 | (canonical(x.0)[0] << 63);
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        let (r0, c) = mac(0, a[0], b[0], 0);
        let (r1, c) = mac(0, a[0], b[1], c);
        let (r2, c) = mac(0, a[0], b[2], c);
        let (r3, r4) = mac(0, a[0], b[3], c);
        let (r1, c) = mac(r1, a[1], b[0], 0);
        let (r2, c) = mac(r2, a[1], b[1], c);
        let (r3, c) = mac(r3, a[1], b[2], c);
        let (r4, r5) = mac(r4, a[1], b[3], c);
        let (r2, c) = mac(r2, a[2], b[0], 0);
        let (r3, c) = mac(r3, a[2], b[1], c);
        let (r4, c) = mac(r4, a[2], b[2], c);
        let (r5, r6) = mac(r5, a[2], b[3], c);
        let (r3, c) = mac(r3, a[3], b[0], 0);
        let (r4, c) = mac(r4, a[3], b[1], c);
        let (r5, c) = mac(r5, a[3], b[2], c);
        let (r6, r7) = mac(r6, a[3], b[3], c);
        Self(fold([r0, r1, r2, r3], [r4, r5, r6, r7]))
    }

    #[inline(always)]
    fn square(self) -> Self {
        let a = self.0;
        // The products of different limbs, once.
        let (r1, c) = mac(0, a[0], a[1], 0);
        let (r2, c) = mac(0, a[0], a[2], c);
        let (r3, r4) = mac(0, a[0], a[3], c);
        let (r3, c) = mac(r3, a[1], a[2], 0);
        let (r4, r5) = mac(r4, a[1], a[3], c);
        let (r5, r6) = mac(r5, a[2], a[3], 0);
        // Twice, and the squares.
        let r7 = r6 >> 63;
        let r6 = (r6 << 1) | (r5 >> 63);
        let r5 = (r5 << 1) | (r4 >> 63);
        let r4 = (r4 << 1) | (r3 >> 63);
        let r3 = (r3 << 1) | (r2 >> 63);
        let r2 = (r2 << 1) | (r1 >> 63);
        let r1 = r1 << 1;
        let wide = |limb: u64| u128::from(limb) * u128::from(limb);
        let (s0, s1, s2, s3) = (wide(a[0]), wide(a[1]), wide(a[2]), wide(a[3]));
        let r0 = s0 as u64;
        let (r1, c) = adc(r1, (s0 >> 64) as u64, false);
        let (r2, c) = adc(r2, s1 as u64, c);
        let (r3, c) = adc(r3, (s1 >> 64) as u64, c);
        let (r4, c) = adc(r4, s2 as u64, c);
        let (r5, c) = adc(r5, (s2 >> 64) as u64, c);
        let (r6, c) = adc(r6, s3 as u64, c);
        let (r7, _) = adc(r7, (s3 >> 64) as u64, c);
        Self(fold([r0, r1, r2, r3], [r4, r5, r6, r7]))
    }

    #[inline(always)]
    fn loosen(self) -> Self {
        self
    }

    #[inline(always)]
    fn tighten(loose: Self) -> Self {
        loose
    }

    #[inline(always)]
    fn add(Self(a): Self, Self(b): Self) -> Self {
        let (r0, c) = a[0].overflowing_add(b[0]);
        let (r1, c) = adc(a[1], b[1], c);
        let (r2, c) = adc(a[2], b[2], c);
        let (r3, c) = adc(a[3], b[3], c);
        Self(add_small([r0, r1, r2, r3], if c { 38 } else { 0 }))
    }

    #[inline(always)]
    fn sub(Self(a): Self, Self(b): Self) -> Self {
        let (r0, c) = a[0].overflowing_sub(b[0]);
        let (r1, c) = sbb(a[1], b[1], c);
        let (r2, c) = sbb(a[2], b[2], c);
        let (r3, c) = sbb(a[3], b[3], c);
        let (r0, c) = r0.overflowing_sub(if c { 38 } else { 0 });
        let (r1, c) = sbb(r1, 0, c);
        let (r2, c) = sbb(r2, 0, c);
        let (r3, c) = sbb(r3, 0, c);
        // Then r0 is at least 2^64 − 38.
        Self([r0 - if c { 38 } else { 0 }, r1, r2, r3])
    }

    #[inline(always)]
    fn swap_if(swap: bool, Self(a): Self, Self(b): Self) -> (Self, Self) {
        let mask = 0u64.wrapping_sub(u64::from(swap));
        let d = [(a[0] ^ b[0]) & mask, (a[1] ^ b[1]) & mask, (a[2] ^ b[2]) & mask, (a[3] ^ b[3]) & mask];
        let apply = |e: Words| Self([e[0] ^ d[0], e[1] ^ d[1], e[2] ^ d[2], e[3] ^ d[3]]);
        (apply(a), apply(b))
    }
}
