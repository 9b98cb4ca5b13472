//! GF(2^255 − 19), several elements side by side.

use zeroize::Zeroize;

/// An element as four 64-bit words, least significant first.
pub type Words = [u64; 4];

/// The prime, 2^255 − 19.
pub const P: Words = [0xffff_ffff_ffff_ffed, u64::MAX, u64::MAX, 0x7fff_ffff_ffff_ffff];
pub const ZERO: Words = [0; 4];
pub const ONE: Words = [1, 0, 0, 0];
/// −121665/121666, the curve's constant d.
pub const D: Words =
    [0x75eb_4dca_1359_78a3, 0x0070_0a4d_4141_d8ab, 0x8cc7_4079_7779_e898, 0x5203_6cee_2b6f_fe73];
/// 2d.
pub const D2: Words =
    [0xebd6_9b94_26b2_f159, 0x00e0_149a_8283_b156, 0x198e_80f2_eef3_d130, 0x2406_d9dc_56df_fce7];
/// 1/(2d), and its negative.
pub const HALVED: [Words; 2] = [
    [0x12f0_793b_66e4_fc18, 0x05ae_eb4c_213c_aa17, 0x958b_108a_66dc_e7b3, 0x6048_3f69_0a6a_e721],
    [0xed0f_86c4_991b_03d5, 0xfa51_14b3_dec3_55e8, 0x6a74_ef75_9923_184c, 0x1fb7_c096_f595_18de],
];
/// A square root of −1: 2^((p−1)/4).
pub const ROOT: Words =
    [0xc4ee_1b27_4a0e_a0b0, 0x2f43_1806_ad2f_e478, 0x2b4d_0099_3dfb_d7a7, 0x2b83_2480_4fc1_df0b];

/// `LANES` elements that are worked on at once.
///
/// A value is *tight*, and may be multiplied, or *loose*: what a multiplication leaves before carrying, or an addition or
/// subtraction of such. Only tight values are kept.
pub trait Field: Copy + Zeroize {
    /// Elements side by side.
    const LANES: usize;
    /// Not carried yet.
    type Loose: Copy;

    /// The same element, below 2^255, in all lanes.
    fn splat(words: &Words) -> Self;
    /// One element a lane, below 2^255.
    fn load(lanes: &[Words]) -> Self;
    /// The only representatives below p.
    fn store(self, lanes: &mut [Words]);
    /// The encodings of points: y, with the lowest bit of x on top. Word w of lane l goes to `out[w * stride + l]`.
    fn encode(x: Self, y: Self, out: &mut [u64], stride: usize);

    fn mul(self, other: Self) -> Self::Loose;
    fn square(self) -> Self::Loose;
    /// 1 counts as a product.
    fn one() -> Self::Loose;
    fn tighten(loose: Self::Loose) -> Self;
    /// Of two products.
    fn add(one: Self::Loose, other: Self::Loose) -> Self::Loose;
    /// Of a sum of two products, or a product, and a product.
    fn add_to_sum(one: Self::Loose, other: Self::Loose) -> Self::Loose;
    /// Of a sum of two products, or a product, and a product.
    fn sub(one: Self::Loose, other: Self::Loose) -> Self::Loose;
    /// Of tight values.
    fn plus(self, other: Self) -> Self;
    /// Of tight values.
    fn minus(self, other: Self) -> Self;
    /// Swaps the two where asked; the same for all lanes. Takes the same time either way.
    fn swap_if(swap: bool, one: Self, other: Self) -> (Self, Self);

    /// Says that this will be read soon.
    #[inline(always)]
    fn prefetch<T>(_: &T) {}

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        Self::tighten(self.mul(other))
    }

    #[inline(always)]
    fn squared(self) -> Self {
        Self::tighten(self.square())
    }
}

#[inline(always)]
fn squarings<F: Field>(mut a: F, n: u32) -> F {
    for _ in 0..n {
        a = a.squared();
    }
    a
}

/// a^(2^250 − 1) and a^11.
#[inline(always)]
fn power_2_250_1<F: Field>(a: F) -> (F, F) {
    let a2 = a.squared();
    let a9 = squarings(a2, 2).times(a);
    let a11 = a9.times(a2);
    let p5 = a11.squared().times(a9);
    let p10 = squarings(p5, 5).times(p5);
    let p20 = squarings(p10, 10).times(p10);
    let p40 = squarings(p20, 20).times(p20);
    let p50 = squarings(p40, 10).times(p10);
    let p100 = squarings(p50, 50).times(p50);
    let p200 = squarings(p100, 100).times(p100);
    (squarings(p200, 50).times(p50), a11)
}

/// 1/a = a^(p − 2); 0 for 0.
#[inline(always)]
pub fn invert<F: Field>(a: F) -> F {
    let (p250, a11) = power_2_250_1(a);
    squarings(p250, 5).times(a11)
}

/// a^((p − 5)/8).
#[inline(always)]
pub fn power_p58<F: Field>(a: F) -> F {
    let (p250, _) = power_2_250_1(a);
    squarings(p250, 2).times(a)
}
