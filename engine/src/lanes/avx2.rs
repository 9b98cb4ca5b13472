//! Four words by AVX2; the field stays in 64-bit limbs, which the wide multiplier serves better.

use core::arch::x86_64::*;

use crate::keccak::Word;

/// Only made and used below a function with AVX2 enabled, which is entered only where the processor has it.
#[derive(Clone, Copy)]
pub struct Words4(__m256i);

impl Word for Words4 {
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(word: u64) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm256_set1_epi64x(word.cast_signed()) })
    }

    #[inline(always)]
    fn load(words: &[u64]) -> Self {
        let words = &words[..4];
        // SAFETY: see the type; four words are there, and the load needs no alignment.
        Self(unsafe { _mm256_loadu_si256(words.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, words: &mut [u64]) {
        let words = &mut words[..4];
        // SAFETY: see the type; four words are there, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn xor5([a, b, c, d, e]: [Self; 5]) -> Self {
        a.xor(b).xor(c.xor(d)).xor(e)
    }

    #[inline(always)]
    fn chi(self, b: Self, c: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm256_xor_si256(self.0, _mm256_andnot_si256(b.0, c.0)) })
    }

    #[inline(always)]
    fn rotate<const LEFT: u32>(self) -> Self {
        // SAFETY: see the type. The counts are constants.
        unsafe {
            let left = _mm256_sll_epi64(self.0, _mm_cvtsi64_si128(i64::from(LEFT)));
            let right = _mm256_srl_epi64(self.0, _mm_cvtsi64_si128(64 - i64::from(LEFT)));
            Self(_mm256_or_si256(left, right))
        }
    }
}
