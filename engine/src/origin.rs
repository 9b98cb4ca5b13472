//! Output keys minus multiples of the base point: the spend keys that outputs would have been made for.

use std::sync::LazyLock;

use curve25519_dalek::constants::ED25519_BASEPOINT_COMPRESSED;
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroize;

use crate::digits::Digits;
use crate::field::Words;
use crate::lanes::portable::Limbs;
use crate::point::{Affine, Sum, decompress};
use crate::sums::{BATCH, Sums};
use crate::table::Table;
use crate::{bytes, words};

/// Widths of the base point's windows: its table is made once, 393 kB; in constant time 48 kB.
const WINDOW: usize = 8;
const CONSTANT_TIME_WINDOW: usize = 4;

/// An output's one-time key, and the secret that it may have been made with (Monero `derivation_to_scalar`).
pub struct Origin {
    /// The output's key.
    pub key: [u8; 32],
    /// The secret.
    pub secret: Scalar,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

fn base(constant_time: bool) -> &'static Table<Limbs> {
    static FAST: LazyLock<Table<Limbs>> = LazyLock::new(|| table(WINDOW));
    static CONSTANT_TIME: LazyLock<Table<Limbs>> = LazyLock::new(|| table(CONSTANT_TIME_WINDOW));
    if constant_time { &CONSTANT_TIME } else { &FAST }
}

fn table(window: usize) -> Table<Limbs> {
    let mut table = Table::new(window);
    table.fill(&decompress::<Limbs>(&[words(ED25519_BASEPOINT_COMPRESSED.as_bytes())], &mut [true]));
    table
}

/// The encoding of key − secret·G for each; none where the key is no point. Equal keys in a row are read once.
#[inline(always)]
pub fn spend_keys(origins: &[Origin], constant_time: bool) -> Vec<Option<[u8; 32]>> {
    let table = base(constant_time);
    let window = if constant_time { CONSTANT_TIME_WINDOW } else { WINDOW };
    let mut all = Vec::with_capacity(origins.len());
    let mut sums = Sums::<Limbs>::new();
    let mut last: Option<([u8; 32], Option<Affine<Limbs>>)> = None;
    for some in origins.chunks(BATCH) {
        // key − s·G is (−s)·G + key.
        let mut negated: Vec<Scalar> = some.iter().map(|origin| -origin.secret).collect();
        let digits = Digits::new(negated.iter(), window);
        let from = all.len();
        sums.clear();
        for (place, origin) in some.iter().enumerate() {
            let point = match &last {
                Some((key, point)) if *key == origin.key => *point,
                _ => affine(&words(&origin.key)),
            };
            last = Some((origin.key, point));
            sums.push(match point {
                Some(point) if constant_time => table.product_plus_in_constant_time(&point, digits.of(place)),
                Some(point) => table.product_plus(&point, digits.of(place)),
                None => Sum::zero().coordinates(),
            });
            all.push(point.map(|_| [0; 32]));
        }
        negated.zeroize();
        let encoded = sums.encode();
        for (place, found) in all[from..].iter_mut().enumerate() {
            if let Some(found) = found {
                *found = bytes(&[0, 1, 2, 3].map(|word| encoded[word * BATCH + place]));
            }
        }
    }
    all
}

#[inline(always)]
fn affine(encoding: &Words) -> Option<Affine<Limbs>> {
    let mut valid = [true];
    let point = decompress::<Limbs>(&[*encoding], &mut valid);
    valid[0].then(|| Affine::new(point.x, point.y))
}
