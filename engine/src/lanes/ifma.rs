//! Eight lanes by AVX-512 IFMA: five limbs of 51 bits, multiplied by the processor's 52-bit multiply-add.
//!
//! Tight limbs are below 2^51 + 2^17. A product's limbs are below 2^61, and of two products' sum or difference below 2^63.

use core::arch::x86_64::*;

use std::hint::black_box;

use zeroize::Zeroize;

use crate::field::{Field, P, Words};
use crate::keccak::Word;

/// Eight words. Only made and used below a function with AVX-512 F and IFMA enabled, which is entered only where the
/// processor has them.
#[derive(Clone, Copy)]
pub struct Words8(__m512i);

/// Eight elements; carried.
#[derive(Clone, Copy)]
pub struct Limbs8([Words8; 5]);

impl Zeroize for Limbs8 {
    fn zeroize(&mut self) {
        for limbs in &mut self.0 {
            limbs.0.zeroize();
        }
    }
}

/// Eight elements; not carried.
#[derive(Clone, Copy)]
pub struct Loose8([Words8; 5]);

const MASK: u64 = (1 << 51) - 1;

impl Words8 {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_sub_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_and_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_or_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn right<const N: u32>(self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_srli_epi64::<N>(self.0) })
    }

    #[inline(always)]
    fn left<const N: u32>(self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_slli_epi64::<N>(self.0) })
    }

    /// `self` and the low 52 bits of the product of the low 52 bits of both.
    #[inline(always)]
    fn low(self, a: Self, b: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_madd52lo_epu64(self.0, a.0, b.0) })
    }

    /// `self` and the high 52 bits of that product.
    #[inline(always)]
    fn high(self, a: Self, b: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_madd52hi_epu64(self.0, a.0, b.0) })
    }

    #[inline(always)]
    fn twice(self) -> Self {
        self.add(self)
    }

    /// 19 times.
    #[inline(always)]
    fn nineteen(self) -> Self {
        self.left::<4>().add(self.left::<1>()).add(self)
    }
}

impl Word for Words8 {
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(word: u64) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_set1_epi64(word.cast_signed()) })
    }

    #[inline(always)]
    fn load(words: &[u64]) -> Self {
        let words = &words[..8];
        // SAFETY: see the type; eight words are there, and the load needs no alignment.
        Self(unsafe { _mm512_loadu_si512(words.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, words: &mut [u64]) {
        let words = &mut words[..8];
        // SAFETY: see the type; eight words are there, and the store needs no alignment.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_xor_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn xor5([a, b, c, d, e]: [Self; 5]) -> Self {
        // SAFETY: see the type. 0x96 is the table of a ^ b ^ c.
        unsafe {
            let abc = _mm512_ternarylogic_epi64::<0x96>(a.0, b.0, c.0);
            Self(_mm512_ternarylogic_epi64::<0x96>(abc, d.0, e.0))
        }
    }

    #[inline(always)]
    fn chi(self, b: Self, c: Self) -> Self {
        // SAFETY: see the type. 0xd2 is the table of a ^ (!b & c).
        Self(unsafe { _mm512_ternarylogic_epi64::<0xd2>(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn rotate<const LEFT: u32>(self) -> Self {
        // SAFETY: see the type. The count is a constant.
        Self(unsafe { _mm512_rolv_epi64(self.0, _mm512_set1_epi64(i64::from(LEFT))) })
    }
}

/// Low and high column sums of a product. The high ones weigh 2^52, twice their column.
#[inline(always)]
fn fold(low: [Words8; 10], high: [Words8; 10]) -> Loose8 {
    let mut column = low;
    for at in 0..10 {
        column[at] = low[at].add(high[at].twice());
    }
    let [c0, c1, c2, c3, c4, c5, c6, c7, c8, c9] = column;
    Loose8([
        c0.add(c5.nineteen()),
        c1.add(c6.nineteen()),
        c2.add(c7.nineteen()),
        c3.add(c8.nineteen()),
        c4.add(c9.nineteen()),
    ])
}

/// Limbs below 2^51, but for the lowest, which may be a little above.
#[inline(always)]
fn carried([x0, x1, x2, x3, x4]: [Words8; 5]) -> [Words8; 5] {
    let mask = Words8::splat(MASK);
    let x1 = x1.add(x0.right::<51>());
    let x2 = x2.add(x1.right::<51>());
    let x3 = x3.add(x2.right::<51>());
    let x4 = x4.add(x3.right::<51>());
    let x0 = x0.and(mask).add(x4.right::<51>().nineteen());
    [x0, x1.and(mask), x2.and(mask), x3.and(mask), x4.and(mask)]
}

impl Limbs8 {
    /// The only representatives below p.
    #[inline(always)]
    fn canonical(self) -> [Words8; 5] {
        let mask = Words8::splat(MASK);
        // Twice: the first may leave x0 just above 2^51.
        let [x0, x1, x2, x3, x4] = carried(carried(self.0));
        // 1 where x + 19 reaches 2^255, so x reaches p.
        let q = x0.add(Words8::splat(19)).right::<51>();
        let q = x1.add(q).right::<51>();
        let q = x2.add(q).right::<51>();
        let q = x3.add(q).right::<51>();
        let q = x4.add(q).right::<51>();
        let x0 = x0.add(q.nineteen());
        let x1 = x1.add(x0.right::<51>());
        let x2 = x2.add(x1.right::<51>());
        let x3 = x3.add(x2.right::<51>());
        let x4 = x4.add(x3.right::<51>());
        [x0.and(mask), x1.and(mask), x2.and(mask), x3.and(mask), x4.and(mask)]
    }
}

/// Five limbs as four words.
#[inline(always)]
fn packed([l0, l1, l2, l3, l4]: [Words8; 5]) -> [Words8; 4] {
    [
        l0.or(l1.left::<51>()),
        l1.right::<13>().or(l2.left::<38>()),
        l2.right::<26>().or(l3.left::<25>()),
        l3.right::<39>().or(l4.left::<12>()),
    ]
}

/// Four words as five limbs.
#[inline(always)]
fn unpacked([w0, w1, w2, w3]: [Words8; 4]) -> [Words8; 5] {
    let mask = Words8::splat(MASK);
    [
        w0.and(mask),
        w0.right::<51>().or(w1.left::<13>()).and(mask),
        w1.right::<38>().or(w2.left::<26>()).and(mask),
        w2.right::<25>().or(w3.left::<39>()).and(mask),
        w3.right::<12>(),
    ]
}

impl Field for Limbs8 {
    const LANES: usize = 8;
    type Loose = Loose8;

    #[inline(always)]
    fn splat(words: &Words) -> Self {
        Self(unpacked([0, 1, 2, 3].map(|at| Words8::splat(words[at]))))
    }

    #[inline(always)]
    fn load(lanes: &[Words]) -> Self {
        let mut words = [[0; 8]; 4];
        for (lane, value) in lanes[..8].iter().enumerate() {
            for at in 0..4 {
                words[at][lane] = value[at];
            }
        }
        Self(unpacked([0, 1, 2, 3].map(|at| Words8::load(&words[at]))))
    }

    #[inline(always)]
    fn store(self, lanes: &mut [Words]) {
        let mut words = [[0; 8]; 4];
        for (at, packed) in packed(self.canonical()).into_iter().enumerate() {
            packed.store(&mut words[at]);
        }
        for (lane, value) in lanes[..8].iter_mut().enumerate() {
            for at in 0..4 {
                value[at] = words[at][lane];
            }
        }
    }

    #[inline(always)]
    fn encode(x: Self, y: Self, out: &mut [u64], stride: usize) {
        let [w0, w1, w2, w3] = packed(y.canonical());
        let sign = x.canonical()[0].left::<63>();
        w0.store(out);
        w1.store(&mut out[stride..]);
        w2.store(&mut out[2 * stride..]);
        w3.or(sign).store(&mut out[3 * stride..]);
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Loose8 {
        let (a, b) = (self.0, other.0);
        let zero = Words8::splat(0);
        let (mut low, mut high) = ([zero; 10], [zero; 10]);
        for i in 0..5 {
            for j in 0..5 {
                low[i + j] = low[i + j].low(a[i], b[j]);
                high[i + j + 1] = high[i + j + 1].high(a[i], b[j]);
            }
        }
        fold(low, high)
    }

    #[inline(always)]
    fn square(self) -> Loose8 {
        let a = self.0;
        let zero = Words8::splat(0);
        let (mut low, mut high) = ([zero; 10], [zero; 10]);
        for i in 0..5 {
            for j in i + 1..5 {
                low[i + j] = low[i + j].low(a[i], a[j]);
                high[i + j + 1] = high[i + j + 1].high(a[i], a[j]);
            }
        }
        for at in 0..10 {
            (low[at], high[at]) = (low[at].twice(), high[at].twice());
        }
        for i in 0..5 {
            low[2 * i] = low[2 * i].low(a[i], a[i]);
            high[2 * i + 1] = high[2 * i + 1].high(a[i], a[i]);
        }
        fold(low, high)
    }

    #[inline(always)]
    fn one() -> Loose8 {
        let (one, zero) = (Words8::splat(1), Words8::splat(0));
        Loose8([one, zero, zero, zero, zero])
    }

    #[inline(always)]
    fn tighten(Loose8([x0, x1, x2, x3, x4]): Loose8) -> Self {
        let mask = Words8::splat(MASK);
        Self([
            // The carry is below 2^13.
            x0.and(mask).low(x4.right::<51>(), Words8::splat(19)),
            x1.and(mask).add(x0.right::<51>()),
            x2.and(mask).add(x1.right::<51>()),
            x3.and(mask).add(x2.right::<51>()),
            x4.and(mask).add(x3.right::<51>()),
        ])
    }

    #[inline(always)]
    fn add(Loose8(a): Loose8, Loose8(b): Loose8) -> Loose8 {
        Loose8([a[0].add(b[0]), a[1].add(b[1]), a[2].add(b[2]), a[3].add(b[3]), a[4].add(b[4])])
    }

    #[inline(always)]
    fn sub(Loose8(a): Loose8, Loose8(b): Loose8) -> Loose8 {
        // 2^10 · p, whose limbs exceed those of what is taken away.
        let (first, other) = (Words8::splat((MASK - 18) << 10), Words8::splat(MASK << 10));
        Loose8([
            a[0].add(first).sub(b[0]),
            a[1].add(other).sub(b[1]),
            a[2].add(other).sub(b[2]),
            a[3].add(other).sub(b[3]),
            a[4].add(other).sub(b[4]),
        ])
    }

    #[inline(always)]
    fn add_to_sum(sum: Loose8, product: Loose8) -> Loose8 {
        Self::add(sum, product)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self::tighten(Self::add(Loose8(self.0), Loose8(other.0)))
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self::tighten(Self::sub(Loose8(self.0), Loose8(other.0)))
    }

    #[inline(always)]
    fn swap_if(swap: bool, Self(a): Self, Self(b): Self) -> (Self, Self) {
        // The compiler must not make a branch of it.
        let mask = black_box(0u8.wrapping_sub(u8::from(swap)));
        let blend = |one: Words8, other: Words8| {
            // SAFETY: see the type.
            Words8(unsafe { _mm512_mask_blend_epi64(mask, one.0, other.0) })
        };
        let (mut one, mut other) = (a, b);
        for at in 0..5 {
            (one[at], other[at]) = (blend(a[at], b[at]), blend(b[at], a[at]));
        }
        (Self(one), Self(other))
    }

    #[inline(always)]
    fn prefetch<T>(value: &T) {
        let start = std::ptr::from_ref(value).cast::<i8>();
        for line in (0..size_of::<T>()).step_by(64) {
            // SAFETY: a prefetch reads nothing and never faults; the address is inside the value.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(line)) }
        }
    }
}

const _: () = assert!(P[3] == u64::MAX >> 1);
