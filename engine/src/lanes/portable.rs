//! One lane of four 64-bit limbs: any value below 2^256, where 2^256 = 38. Products are below 2^255 + 2^11, which spares their
//! sums and differences half of the carries.

use std::hint::black_box;

use zeroize::Zeroize;

use crate::field::{Field, ONE, P, Words};

#[derive(Clone, Copy)]
pub struct Limbs(Words);

impl Zeroize for Limbs {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// Low and high word of a product.
#[inline(always)]
fn wide(a: u64, b: u64) -> (u64, u64) {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64, (wide >> 64) as u64)
}

/// `a + b·c + carry`, which fits.
#[inline(always)]
fn mac(a: u64, b: u64, c: u64, carry: u64) -> (u64, u64) {
    let wide = u128::from(a) + u128::from(b) * u128::from(c) + u128::from(carry);
    (wide as u64, (wide >> 64) as u64)
}

/// Four words times one. Products first, then one chain of carries: that is what processors do best.
#[inline(always)]
fn row(a: Words, b: u64) -> [u64; 5] {
    let ((r0, h0), (l1, h1)) = (wide(a[0], b), wide(a[1], b));
    let ((l2, h2), (l3, h3)) = (wide(a[2], b), wide(a[3], b));
    let (r1, c) = l1.carrying_add(h0, false);
    let (r2, c) = l2.carrying_add(h1, c);
    let (r3, c) = l3.carrying_add(h2, c);
    [r0, r1, r2, r3, h3.wrapping_add(u64::from(c))]
}

#[inline(always)]
fn sum(a: Words, b: Words) -> (Words, bool) {
    let (r0, c) = a[0].carrying_add(b[0], false);
    let (r1, c) = a[1].carrying_add(b[1], c);
    let (r2, c) = a[2].carrying_add(b[2], c);
    let (r3, c) = a[3].carrying_add(b[3], c);
    ([r0, r1, r2, r3], c)
}

#[inline(always)]
fn difference(a: Words, b: Words) -> (Words, bool) {
    let (r0, c) = a[0].borrowing_sub(b[0], false);
    let (r1, c) = a[1].borrowing_sub(b[1], c);
    let (r2, c) = a[2].borrowing_sub(b[2], c);
    let (r3, c) = a[3].borrowing_sub(b[3], c);
    ([r0, r1, r2, r3], c)
}

/// What a bit that ran over, or was borrowed, is worth.
#[inline(always)]
fn wrapped(carry: bool) -> Words {
    [if carry { 38 } else { 0 }, 0, 0, 0]
}

/// `low + 38·high`, below 2^255 + 2^11: bits from 255 on come back as 19, and there are at most 77 of them.
#[inline(always)]
fn fold(low: Words, high: Words) -> Words {
    let [h0, h1, h2, h3, top] = row(high, 38);
    let ([r0, r1, r2, r3], c) = sum(low, [h0, h1, h2, h3]);
    let top = (top + u64::from(c)) << 1 | r3 >> 63;
    let (folded, _) = sum([r0, r1, r2, r3 & (u64::MAX >> 1)], [top * 19, 0, 0, 0]);
    folded
}

#[inline(always)]
fn canonical(a: Words) -> Words {
    // Below 2^255 + 19 after the top bit has come back as 19.
    let top = a[3] >> 63;
    let (a, _) = sum([a[0], a[1], a[2], a[3] & (u64::MAX >> 1)], [top * 19, 0, 0, 0]);
    let (less, borrowed) = difference(a, P);
    let keep = 0u64.wrapping_sub(u64::from(borrowed));
    let pick = |old: u64, less: u64| (old & keep) | (less & !keep);
    [pick(a[0], less[0]), pick(a[1], less[1]), pick(a[2], less[2]), pick(a[3], less[3])]
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
        let [r0, x1, x2, x3, x4] = row(a, b[0]);
        let [y0, y1, y2, y3, y4] = row(a, b[1]);
        let ([r1, x2, x3, x4], c) = sum([x1, x2, x3, x4], [y0, y1, y2, y3]);
        let x5 = y4.wrapping_add(u64::from(c));
        let [y0, y1, y2, y3, y4] = row(a, b[2]);
        let ([r2, x3, x4, x5], c) = sum([x2, x3, x4, x5], [y0, y1, y2, y3]);
        let x6 = y4.wrapping_add(u64::from(c));
        let [y0, y1, y2, y3, y4] = row(a, b[3]);
        let ([r3, r4, r5, r6], c) = sum([x3, x4, x5, x6], [y0, y1, y2, y3]);
        let r7 = y4.wrapping_add(u64::from(c));
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
        let high = |square: u128| (square >> 64) as u64;
        let low = [s0 as u64, high(s0), s1 as u64, high(s1)];
        let ([r0, r1, r2, r3], c) = sum([0, r1, r2, r3], low);
        let (upper, _) = sum([r4, r5, r6, r7], [s2 as u64, high(s2), s3 as u64, high(s3)]);
        let ([r4, r5, r6, r7], _) = sum(upper, [u64::from(c), 0, 0, 0]);
        Self(fold([r0, r1, r2, r3], [r4, r5, r6, r7]))
    }

    #[inline(always)]
    fn one() -> Self {
        Self(ONE)
    }

    #[inline(always)]
    fn tighten(loose: Self) -> Self {
        loose
    }

    #[inline(always)]
    fn add(Self(a): Self, Self(b): Self) -> Self {
        let ([r0, r1, r2, r3], c) = sum(a, b);
        // Of two products less than 2^12 is left where it ran over.
        Self([r0.wrapping_add(wrapped(c)[0]), r1, r2, r3])
    }

    #[inline(always)]
    fn add_to_sum(Self(a): Self, Self(b): Self) -> Self {
        let (r, c) = sum(a, b);
        // Of a product and anything no more than 2^255 + 2^11 is left where it ran over.
        Self(sum(r, wrapped(c)).0)
    }

    #[inline(always)]
    fn sub(Self(a): Self, Self(b): Self) -> Self {
        let (r, c) = difference(a, b);
        // Where a product was larger, at least 2^255 − 2^11 is left.
        Self(difference(r, wrapped(c)).0)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        let (r, c) = sum(self.0, other.0);
        let ([r0, r1, r2, r3], c) = sum(r, wrapped(c));
        // Then r0 is below 38.
        Self([r0.wrapping_add(wrapped(c)[0]), r1, r2, r3])
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        let (r, c) = difference(self.0, other.0);
        let ([r0, r1, r2, r3], c) = difference(r, wrapped(c));
        // Then r0 is at least 2^64 − 38.
        Self([r0.wrapping_sub(wrapped(c)[0]), r1, r2, r3])
    }

    #[inline(always)]
    fn swap_if(swap: bool, Self(a): Self, Self(b): Self) -> (Self, Self) {
        // The compiler must not make a branch of it.
        let mask = black_box(0u64.wrapping_sub(u64::from(swap)));
        let d = [(a[0] ^ b[0]) & mask, (a[1] ^ b[1]) & mask, (a[2] ^ b[2]) & mask, (a[3] ^ b[3]) & mask];
        let apply = |e: Words| Self([e[0] ^ d[0], e[1] ^ d[1], e[2] ^ d[2], e[3] ^ d[3]]);
        (apply(a), apply(b))
    }
}
