//! Keccak-f[1600] over lanes of 64-bit words: `LANES` hashes at once, of at most 135 bytes each (FIPS 202 §3; with the padding
//! of the first submission, as Monero's `cn_fast_hash`).

/// `LANES` words side by side.
pub trait Word: Copy {
    const LANES: usize;

    fn splat(word: u64) -> Self;
    fn load(words: &[u64]) -> Self;
    fn store(self, words: &mut [u64]);
    fn xor(self, other: Self) -> Self;
    fn xor5(words: [Self; 5]) -> Self;
    /// `self ^ (!b & c)`
    fn chi(self, b: Self, c: Self) -> Self;
    fn rotate<const LEFT: u32>(self) -> Self;
}

const ROUNDS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// The first word of the hash of a message that stands, padded, in the first words of the state; the rest is zero but for the
/// padding's last bit. Of the last round only that word is computed.
#[inline(always)]
pub fn first_word<W: Word>(message: [W; 6]) -> W {
    let zero = W::splat(0);
    let mut a = [zero; 25];
    a[..6].copy_from_slice(&message);
    a[16] = W::splat(1 << 63);
    let (last, rounds) = (ROUNDS[23], &ROUNDS[..23]);
    for round in rounds {
        // θ
        let c = |x: usize| W::xor5([a[x], a[x + 5], a[x + 10], a[x + 15], a[x + 20]]);
        let (c0, c1, c2, c3, c4) = (c(0), c(1), c(2), c(3), c(4));
        let d0 = c4.xor(c1.rotate::<1>());
        let d1 = c0.xor(c2.rotate::<1>());
        let d2 = c1.xor(c3.rotate::<1>());
        let d3 = c2.xor(c4.rotate::<1>());
        let d4 = c3.xor(c0.rotate::<1>());
        // ρ and π
        let b0 = a[0].xor(d0);
        let b1 = a[6].xor(d1).rotate::<44>();
        let b2 = a[12].xor(d2).rotate::<43>();
        let b3 = a[18].xor(d3).rotate::<21>();
        let b4 = a[24].xor(d4).rotate::<14>();
        let b5 = a[3].xor(d3).rotate::<28>();
        let b6 = a[9].xor(d4).rotate::<20>();
        let b7 = a[10].xor(d0).rotate::<3>();
        let b8 = a[16].xor(d1).rotate::<45>();
        let b9 = a[22].xor(d2).rotate::<61>();
        let b10 = a[1].xor(d1).rotate::<1>();
        let b11 = a[7].xor(d2).rotate::<6>();
        let b12 = a[13].xor(d3).rotate::<25>();
        let b13 = a[19].xor(d4).rotate::<8>();
        let b14 = a[20].xor(d0).rotate::<18>();
        let b15 = a[4].xor(d4).rotate::<27>();
        let b16 = a[5].xor(d0).rotate::<36>();
        let b17 = a[11].xor(d1).rotate::<10>();
        let b18 = a[17].xor(d2).rotate::<15>();
        let b19 = a[23].xor(d3).rotate::<56>();
        let b20 = a[2].xor(d2).rotate::<62>();
        let b21 = a[8].xor(d3).rotate::<55>();
        let b22 = a[14].xor(d4).rotate::<39>();
        let b23 = a[15].xor(d0).rotate::<41>();
        let b24 = a[21].xor(d1).rotate::<2>();
        // χ and ι
        a = [
            b0.chi(b1, b2).xor(W::splat(*round)),
            b1.chi(b2, b3),
            b2.chi(b3, b4),
            b3.chi(b4, b0),
            b4.chi(b0, b1),
            b5.chi(b6, b7),
            b6.chi(b7, b8),
            b7.chi(b8, b9),
            b8.chi(b9, b5),
            b9.chi(b5, b6),
            b10.chi(b11, b12),
            b11.chi(b12, b13),
            b12.chi(b13, b14),
            b13.chi(b14, b10),
            b14.chi(b10, b11),
            b15.chi(b16, b17),
            b16.chi(b17, b18),
            b17.chi(b18, b19),
            b18.chi(b19, b15),
            b19.chi(b15, b16),
            b20.chi(b21, b22),
            b21.chi(b22, b23),
            b22.chi(b23, b24),
            b23.chi(b24, b20),
            b24.chi(b20, b21),
        ];
    }
    let c = |x: usize| W::xor5([a[x], a[x + 5], a[x + 10], a[x + 15], a[x + 20]]);
    let (c0, c1, c2, c3, c4) = (c(0), c(1), c(2), c(3), c(4));
    let b0 = a[0].xor(c4).xor(c1.rotate::<1>());
    let b1 = a[6].xor(c0).xor(c2.rotate::<1>()).rotate::<44>();
    let b2 = a[12].xor(c1).xor(c3.rotate::<1>()).rotate::<43>();
    b0.chi(b1, b2).xor(W::splat(last))
}

/// The words behind `"view_tag"` and the derivation: an output's index as a varint, and the padding's first bit.
pub fn tail(index: u32) -> u64 {
    let (mut word, mut shift, mut rest) = (0u64, 0, index);
    while rest >= 0x80 {
        word |= u64::from(rest & 0x7f | 0x80) << shift;
        (shift, rest) = (shift + 8, rest >> 7);
    }
    word | u64::from(rest) << shift | 1 << (shift + 8)
}

/// `"view_tag"`
pub const LABEL: u64 = u64::from_le_bytes(*b"view_tag");
