//! The loop: for each group of transaction keys a table, for each view key a sum, for each output a tag.

use std::marker::PhantomData;
use std::ops::Range;

use super::digits::Digits;
use super::field::{Field, ONE, Words, ZERO};
use super::keccak::{LABEL, Word, first_word, tail};
use super::point::{Point, Sum, decompress};
use super::table::{Table, batch_invert};
use super::{Match, bytes};
use crate::chain::curve::Derivation;

/// Sums that share an inversion.
const BATCH: usize = 128;

/// Transaction keys, and for each the outputs that are asked about; none where only products are wanted.
pub struct Jobs<'a> {
    pub keys: &'a [Words],
    pub outputs: &'a [&'a [(u32, Option<u8>)]],
}

/// Takes encodings: word w of element e at `words[w * stride + e]`, where e is the view key's place in the batch times the
/// lanes, plus the lane.
pub trait Sink {
    fn take(&mut self, group: &Group<'_>, scalars: Range<usize>, words: &[u64], stride: usize);
}

/// Jobs side by side.
pub struct Group<'a> {
    /// The place of the first among all jobs.
    pub first: usize,
    /// The outputs of each.
    pub outputs: &'a [&'a [(u32, Option<u8>)]],
    /// Whether its key is a point; one for each lane, false where there is no job.
    pub valid: &'a [bool],
}

/// All products of jobs and scalars.
#[inline(always)]
pub fn multiply<F: Field>(jobs: &Jobs<'_>, digits: &Digits, constant_time: bool, sink: &mut impl Sink) {
    let mut table = Table::<F>::new(digits.window());
    let mut buffers = Buffers::<F>::new();
    for (number, some) in jobs.keys.chunks(F::LANES).enumerate() {
        let mut keys = [ZERO; 8];
        // A lane without a job computes with the identity.
        let mut valid = [false; 8];
        for (lane, key) in keys[..F::LANES].iter_mut().enumerate() {
            *key = some.get(lane).copied().unwrap_or(ONE);
            valid[lane] = lane < some.len();
        }
        let mut points = [true; 8];
        let point = decompress::<F>(&keys[..F::LANES], &mut points[..F::LANES]);
        for (valid, is_point) in valid.iter_mut().zip(points) {
            *valid &= is_point;
        }
        if !valid.contains(&true) {
            continue;
        }
        let first = number * F::LANES;
        let outputs = jobs.outputs.get(first..).unwrap_or_default();
        let outputs = &outputs[..outputs.len().min(F::LANES)];
        let group = Group { first, outputs, valid: &valid[..F::LANES] };
        table.fill(&eightfold(&point));
        let mut from = 0;
        while from < digits.len() {
            let to = (from + BATCH).min(digits.len());
            buffers.clear();
            for scalar in from..to {
                let [x, y, z] = product(&table, digits.of(scalar), constant_time).coordinates();
                buffers.push(x, y, z);
            }
            buffers.encode();
            sink.take(&group, from..to, &buffers.words, BATCH * F::LANES);
            from = to;
        }
    }
}

#[inline(always)]
fn eightfold<F: Field>(point: &Point<F>) -> Point<F> {
    point.double().double().double()
}

#[inline(always)]
fn product<F: Field>(table: &Table<F>, digits: &[i16], constant_time: bool) -> Sum<F> {
    let mut sum = Sum::zero();
    if constant_time {
        for (row, digit) in digits.iter().enumerate() {
            sum = sum.add(&table.entry_in_constant_time(row, *digit), *digit < 0);
        }
        return sum;
    }
    for (row, digit) in digits.iter().enumerate() {
        if let Some(next) = digits.get(row + 1).filter(|next| **next != 0) {
            F::prefetch(table.entry(row + 1, *next));
        }
        if *digit != 0 {
            sum = sum.add(table.entry(row, *digit), *digit < 0);
        }
    }
    sum
}

struct Buffers<F> {
    points: Vec<(F, F)>,
    z: Vec<F>,
    products: Vec<F>,
    words: Vec<u64>,
}

impl<F: Field> Buffers<F> {
    fn new() -> Self {
        let [points, z, products] = [BATCH; 3];
        Self {
            points: Vec::with_capacity(points),
            z: Vec::with_capacity(z),
            products: Vec::with_capacity(products),
            words: vec![0; 4 * BATCH * F::LANES],
        }
    }

    #[inline(always)]
    fn clear(&mut self) {
        self.points.clear();
        self.z.clear();
    }

    #[inline(always)]
    fn push(&mut self, x: F, y: F, z: F) {
        self.points.push((x, y));
        self.z.push(z);
    }

    #[inline(always)]
    fn encode(&mut self) {
        batch_invert(&mut self.z, &mut self.products);
        for (at, ((x, y), inverse)) in self.points.iter().zip(&self.z).enumerate() {
            F::encode(
                x.times(*inverse),
                y.times(*inverse),
                &mut self.words[at * F::LANES..],
                BATCH * F::LANES,
            );
        }
    }
}

/// Compares view tags.
pub struct Tags<'a, W> {
    lanes: PhantomData<W>,
    matches: &'a mut Vec<Match>,
}

impl<'a, W> Tags<'a, W> {
    /// Appends matches to a list.
    pub fn new(matches: &'a mut Vec<Match>) -> Self {
        Self { lanes: PhantomData, matches }
    }
}

impl<W: Word> Sink for Tags<'_, W> {
    #[inline(always)]
    fn take(&mut self, group: &Group<'_>, scalars: Range<usize>, words: &[u64], stride: usize) {
        let lanes = group.valid.len();
        let most = group.outputs.iter().map(|outputs| outputs.len()).max().unwrap_or(0);
        let elements = scalars.len() * lanes;
        for output in 0..most {
            // What an element is asked: by its lane.
            let (mut tails, mut tags, mut asked) = ([0; 8], [0; 8], [0u8; 8]);
            for at in 0..W::LANES {
                let lane = at % lanes;
                let outputs = group.outputs.get(lane).filter(|_| group.valid[lane]);
                let wanted = outputs.and_then(|outputs| outputs.get(output));
                if let Some((index, tag)) = wanted {
                    tails[at] = tail(*index);
                    tags[at] = u64::from(tag.unwrap_or(0));
                    asked[at] = if tag.is_some() { 1 } else { 2 };
                }
            }
            let tail = W::load(&tails[..W::LANES]);
            let mut from = 0;
            while from < elements {
                // Past the last element the buffer holds what was there before: hashed for nothing, and not looked at.
                let word = |at: usize| W::load(&words[at * stride + from..]);
                let hash = first_word([W::splat(LABEL), word(0), word(1), word(2), word(3), tail]);
                let mut first = [0; 8];
                hash.store(&mut first[..W::LANES]);
                for at in 0..W::LANES.min(elements - from) {
                    let is_match = asked[at] == 2 || (asked[at] == 1 && first[at] & 0xff == tags[at]);
                    if is_match {
                        let element = from + at;
                        self.matches.push(Match {
                            job: group.first + element % lanes,
                            output,
                            secret: scalars.start + element / lanes,
                            derivation: bytes(&[0, 1, 2, 3].map(|at| words[at * stride + element])),
                        });
                    }
                }
                from += W::LANES;
            }
        }
    }
}

/// Keeps every derivation.
pub struct All {
    /// Key by key.
    pub derivations: Vec<Option<Derivation>>,
    /// View keys.
    pub scalars: usize,
}

impl Sink for All {
    fn take(&mut self, group: &Group<'_>, scalars: Range<usize>, words: &[u64], stride: usize) {
        let lanes = group.valid.len();
        for (at, scalar) in scalars.enumerate() {
            for lane in (0..lanes).filter(|lane| group.valid[*lane]) {
                let element = at * lanes + lane;
                let derivation = [0, 1, 2, 3].map(|at| words[at * stride + element]);
                self.derivations[(group.first + lane) * self.scalars + scalar] = Some(bytes(&derivation));
            }
        }
    }
}
