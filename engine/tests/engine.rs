//! The engine against curve25519-dalek, one product at a time: as many pairs as `AEGIS_ENGINE_CASES` says.

#![allow(clippy::unwrap_used, reason = "tests")]

use aegis_common::chain::{canonical_point, derivation, keccak};
use aegis_engine::{Derivation, Engine, Path};
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use rayon::prelude::*;

/// Keys, scalars, and how many scalars are multiplied at once: every way of multiplying gets its turn.
const SHAPES: [(u64, u64, usize); 16] = [
    (200, 250, 250),
    (200, 250, 100),
    (200, 250, 30),
    (200, 250, 10),
    (38, 1_300, 1_300),
    (62, 800, 800),
    (200, 250, 250),
    (200, 250, 1),
    (200, 250, 100),
    (200, 250, 50),
    (38, 1_300, 1_300),
    (62, 800, 800),
    (200, 250, 2),
    (200, 250, 5),
    (200, 250, 30),
    (200, 250, 3),
];

fn bytes(label: &[u8], block: u64, number: u64) -> [u8; 32] {
    keccak(&[label, &block.to_le_bytes(), &number.to_le_bytes()]).0
}

/// Half are points of the subgroup, as senders publish them; the others are what nobody should publish.
fn key(block: u64, number: u64) -> [u8; 32] {
    let random = bytes(b"key", block, number);
    let point = EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order(random));
    let torsion = EIGHT_TORSION[usize::from(random[1] % 8)];
    match random[0] % 8 {
        0..4 => point.compress().0,
        4 => (point + torsion).compress().0,
        // A random encoding: half are points, of the whole curve.
        5 => random,
        // Next to the prime, with either sign.
        6 => {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (random[1] | 0xc0, 0x7f | random[2] & 0x80);
            key
        }
        // y near 0, and the points of small order.
        _ if random[2].is_multiple_of(2) => torsion.compress().0,
        _ => {
            let mut key = [0; 32];
            (key[0], key[31]) = (random[1], random[3] & 0x80);
            key
        }
    }
}

/// Half are random; the others have digits that carry, that are zero, or lie next to 0, l/2 and l.
fn scalar(block: u64, number: u64) -> Scalar {
    let random = bytes(b"scalar", block, number);
    let small = Scalar::from(u64::from(random[1]));
    match random[0] % 8 {
        0..4 => Scalar::from_bytes_mod_order(random),
        4 => small,
        5 => -small,
        6 => Scalar::from(2u8).invert() + small - Scalar::from(128u8),
        _ => {
            // Long runs of equal bits.
            let mut runs = [0u8; 32];
            for (byte, choice) in runs.iter_mut().zip(bytes(b"runs", block, number)) {
                *byte = [0x00, 0xff, 0x80, 0x7f, 0x88, 0x77, 0x01, 0xfe][usize::from(choice % 8)];
            }
            Scalar::from_bytes_mod_order(runs)
        }
    }
}

#[test]
fn all_paths_agree_byte_for_byte_with_one_product_at_a_time() {
    let cases: u64 = std::env::var("AEGIS_ENGINE_CASES").map_or(100_000, |cases| cases.parse().unwrap());
    // A block has at least so many pairs.
    let blocks = cases.div_ceil(38 * 1_300);
    let (keys, points) = (0..blocks)
        .into_par_iter()
        .map(|block| check(block, SHAPES[block as usize % SHAPES.len()]))
        .reduce(|| (0, 0), |one, other| (one.0 + other.0, one.1 + other.1));
    assert!(points > keys / 2, "{points} of {keys}");
}

/// One block of pairs; gives how many keys there were, and how many were points.
fn check(block: u64, (keys, scalars, many): (u64, u64, usize)) -> (usize, usize) {
    let keys: Vec<[u8; 32]> = (0..keys).map(|number| key(block, number)).collect();
    let scalars: Vec<Scalar> = (0..scalars).map(|number| scalar(block, number)).collect();
    let mut points = 0;
    let expected: Vec<Option<Derivation>> = keys
        .iter()
        .flat_map(|key| {
            let point = canonical_point(key);
            points += usize::from(point.is_some());
            scalars
                .iter()
                .map(move |scalar| point.map(|point| derivation(&point, scalar)))
                .collect::<Vec<_>>()
        })
        .collect();
    for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
        for constant_time in [false, true] {
            let engine = Engine::new(path, constant_time);
            for (number, some) in scalars.chunks(many).enumerate() {
                let secrets: Vec<&Scalar> = some.iter().collect();
                let found = engine.derivations(&keys, &secrets);
                for (key, found) in found.chunks(some.len()).enumerate() {
                    let from = key * scalars.len() + number * many;
                    assert_eq!(
                        found,
                        &expected[from..][..some.len()],
                        "{engine:?}, block {block}, key {key}"
                    );
                }
            }
        }
    }
    (keys.len(), points)
}
