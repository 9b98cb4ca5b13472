//! Every path against Monero's vectors and plain curve25519-dalek.

#![allow(clippy::unwrap_used, reason = "tests")]

use aegis_common::chain::{canonical_point, derivation, hash_to_scalar, view_tag};
use aegis_common::hash::Hash32;
use aegis_engine::{Derivation, Engine, Job, Match, Origin, Path, Plan};
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use proptest::prelude::*;

/// View keys whose sums share an inversion.
const BATCH: usize = 128;

const VECTORS: &str = include_str!("../../common/tests/vectors/monero-crypto.txt");

fn scalar(seed: u64) -> Scalar {
    hash_to_scalar(&[b"scalar", &seed.to_le_bytes()])
}

fn point(seed: u64) -> EdwardsPoint {
    EdwardsPoint::mul_base(&hash_to_scalar(&[b"point", &seed.to_le_bytes()]))
}

fn engines() -> impl Iterator<Item = Engine> {
    let available = Path::ALL.into_iter().filter(|path| path.is_available());
    available.flat_map(|path| [false, true].map(|constant_time| Engine::new(path, constant_time)))
}

fn expected(keys: &[[u8; 32]], secrets: &[&Scalar]) -> Vec<Option<Derivation>> {
    let of = |key: &[u8; 32]| {
        let point = canonical_point(key);
        secrets.iter().map(move |secret| point.map(|point| derivation(&point, secret))).collect::<Vec<_>>()
    };
    keys.iter().flat_map(of).collect()
}

/// Scalars and keys that nobody would draw.
fn odd() -> (Vec<Scalar>, Vec<[u8; 32]>) {
    let small = [0u64, 1, 2, 3, 8, 255, 256].map(Scalar::from);
    // (ℓ − 1)/2 and (ℓ + 1)/2.
    let half = Scalar::from(2u8).invert();
    let mut scalars: Vec<Scalar> = small.into_iter().flat_map(|s| [s, -s]).collect();
    scalars.extend([half, half - Scalar::ONE, -half]);
    let mut keys: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|torsion| torsion.compress().0).collect();
    keys.extend(EIGHT_TORSION.iter().map(|torsion| (point(1) + torsion).compress().0));
    // y from p on, −0, no point at all.
    for last in 0xe8..=0xff {
        let mut key = [0xff; 32];
        (key[0], key[31]) = (last, 0x7f);
        keys.push(key);
        key[31] = 0xff;
        keys.push(key);
    }
    for (first, top) in [(1, 0x80), (2, 0), (2, 0x80), (7, 0)] {
        let mut key = [0; 32];
        (key[0], key[31]) = (first, top);
        keys.push(key);
    }
    (scalars, keys)
}

#[test]
fn moneros_own_vectors_hold_on_every_path() {
    let bytes = |text: &str| text.parse::<Hash32>().unwrap().0;
    let mut lines = 0;
    for line in VECTORS.lines().filter(|line| line.starts_with("generate_key_derivation")) {
        let fields: Vec<&str> = line.split(' ').collect();
        let secret = Scalar::from_bytes_mod_order(bytes(fields[2]));
        let wanted = fields.get(4).map(|text| bytes(text));
        for engine in engines() {
            assert_eq!(engine.derivations(&[bytes(fields[1])], &[&secret]), [wanted], "{engine:?} {line}");
        }
        lines += 1;
    }
    assert!(lines > 200, "{lines}");
}

#[test]
fn odd_keys_and_scalars_give_what_dalek_gives_with_every_window() {
    let (scalars, mut keys) = odd();
    keys.push(point(2).compress().0);
    let secrets: Vec<&Scalar> = scalars.iter().collect();
    let wanted = expected(&keys, &secrets);
    assert!(wanted.iter().any(Option::is_none));
    for engine in engines() {
        for (window, ladder) in (2..=9).flat_map(|window| [(window, false), (window, true)]) {
            let plan = Plan { window, ladder, constant_time: engine.is_constant_time() };
            assert_eq!(engine.derivations_by(&keys, &secrets, plan), wanted, "{engine:?} {plan:?}");
        }
    }
}

#[test]
fn matches_are_the_outputs_whose_tags_fit_and_those_without_a_tag() {
    let keys: Vec<_> = (0..11).map(|seed| point(seed).compress().0).collect();
    let scalars: Vec<Scalar> = (0..150).map(scalar).collect();
    let secrets: Vec<&Scalar> = scalars.iter().collect();
    // Two-byte indices, different numbers of outputs, one key that is no point.
    let outputs = |at: usize| -> Vec<(u32, Option<u8>)> {
        let tagged = (0..at as u32 % 4).map(|index| (index * 100, Some((index * 71) as u8)));
        tagged.chain((at == 5).then_some((300, None))).collect()
    };
    let mut jobs: Vec<Job> =
        keys.iter().enumerate().map(|(at, key)| Job { key: *key, outputs: outputs(at) }).collect();
    jobs.insert(3, Job { key: [0xff; 32], outputs: vec![(0, None)] });
    let mut wanted = Vec::new();
    for (job, Job { key, outputs }) in jobs.iter().enumerate() {
        let Some(point) = canonical_point(key) else { continue };
        for (output, (index, tag)) in outputs.iter().enumerate() {
            for (secret, scalar) in scalars.iter().enumerate() {
                let derivation = derivation(&point, scalar);
                if tag.is_none_or(|tag| tag == view_tag(&derivation, u64::from(*index))) {
                    wanted.push(Match { job, output, secret, derivation });
                }
            }
        }
    }
    assert!(wanted.len() > 150);
    for engine in engines() {
        let mut found = engine.matches(&jobs, &secrets);
        found.sort();
        assert_eq!(found, wanted, "{engine:?}");
    }
}

#[test]
fn spend_keys_are_output_keys_minus_multiples_of_the_base_point() {
    let (scalars, mut keys) = odd();
    keys.extend((0..3).map(|seed| point(seed).compress().0));
    let pairs: Vec<_> =
        keys.iter().flat_map(|key| scalars.iter().map(move |secret| (*key, *secret))).collect();
    let wanted: Vec<_> = pairs
        .iter()
        .map(|(key, secret)| Some((canonical_point(key)? - EdwardsPoint::mul_base(secret)).compress().0))
        .collect();
    let origins: Vec<Origin> = pairs.into_iter().map(|(key, secret)| Origin { key, secret }).collect();
    assert!(origins.len() > 3 * BATCH && wanted.contains(&None));
    for engine in engines() {
        assert_eq!(engine.spend_keys(&origins), wanted, "{engine:?}");
    }
}

#[test]
fn the_cheapest_plan_is_a_ladder_for_few_view_keys_and_ever_wider_tables_for_more() {
    let plan = |products| Plan::best(products, 11, false);
    assert!([0, 1, 2, 3].into_iter().all(|products| plan(products).ladder));
    let windows = [10, 100, 1_000, 10_000].map(|products| (plan(products).ladder, plan(products).window));
    assert_eq!(windows, [(false, 3), (false, 6), (false, 8), (false, 9)]);
    let dear = [10, 100, 1_000, 10_000].map(|products| Plan::best(products, 16, false).window);
    assert_eq!(dear, [3, 5, 7, 9]);
    assert!(Plan::best(10_000, 16, true).constant_time);
}

#[test]
fn a_flood_of_matches_is_handed_over_in_parts() {
    let outputs = (0..500).map(|index| (index, None)).collect();
    let jobs = [Job { key: point(1).compress().0, outputs }];
    let scalars: Vec<Scalar> = (0..100).map(scalar).collect();
    let secrets: Vec<&Scalar> = scalars.iter().collect();
    for engine in engines() {
        let (mut most, mut total) = (0, 0);
        let prepared = engine.prepare(&secrets, secrets.len());
        engine.search(&jobs, &prepared, 0..100, &mut |found| {
            (most, total) = (most.max(found.len()), total + found.len());
        });
        assert_eq!(total, 50_000);
        assert!(most < 6_000, "{most}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn whatever_the_bytes_every_path_agrees_with_dalek(
        keys in prop::collection::vec(any::<[u8; 32]>(), 1..12),
        scalars in prop::collection::vec(any::<[u8; 32]>(), 1..12),
    ) {
        let scalars: Vec<Scalar> = scalars.into_iter().map(Scalar::from_bytes_mod_order).collect();
        let secrets: Vec<&Scalar> = scalars.iter().collect();
        let wanted = expected(&keys, &secrets);
        for engine in engines() {
            prop_assert_eq!(engine.derivations(&keys, &secrets), wanted.clone());
        }
    }
}
