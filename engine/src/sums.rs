//! Sums whose inversions are shared.

use zeroize::Zeroize;

use crate::field::Field;
use crate::table::batch_invert;

/// Sums that share an inversion.
pub const BATCH: usize = 128;

/// Up to `BATCH` sums of each lane, and their encodings; wiped when dropped, since they are shared secrets. Copies in registers
/// and on the stack can't be.
pub struct Sums<F: Field> {
    x: Vec<F>,
    y: Vec<F>,
    z: Vec<F>,
    products: Vec<F>,
    words: Vec<u64>,
}

impl<F: Field> Drop for Sums<F> {
    fn drop(&mut self) {
        for values in [&mut self.x, &mut self.y, &mut self.z, &mut self.products] {
            values.zeroize();
        }
        self.words.zeroize();
    }
}

impl<F: Field> Sums<F> {
    pub fn new() -> Self {
        let [x, y, z, products] = [(); 4].map(|()| Vec::with_capacity(BATCH));
        Self { x, y, z, products, words: vec![0; 4 * BATCH * F::LANES] }
    }

    #[inline(always)]
    pub fn clear(&mut self) {
        self.x.clear();
        self.y.clear();
        self.z.clear();
    }

    /// Takes X, Y and Z.
    #[inline(always)]
    pub fn push(&mut self, [x, y, z]: [F; 3]) {
        self.x.push(x);
        self.y.push(y);
        self.z.push(z);
    }

    /// The encodings: word w of lane l of sum s is at `words[w * BATCH * LANES + s * LANES + l]`.
    #[inline(always)]
    pub fn encode(&mut self) -> &[u64] {
        let stride = BATCH * F::LANES;
        batch_invert(&mut self.z, &mut self.products);
        for (at, ((x, y), inverse)) in self.x.iter().zip(&self.y).zip(&self.z).enumerate() {
            F::encode(x.times(*inverse), y.times(*inverse), &mut self.words[at * F::LANES..], stride);
        }
        &self.words
    }
}
