//! The loop: for each group of transaction keys their multiples, for each view key a sum, for each output a tag.

use std::marker::PhantomData;
use std::ops::Range;

use zeroize::Zeroize;

use crate::digits::Plan;
use crate::field::{Field, ONE, Words, ZERO};
use crate::keccak::{LABEL, Word, first_word, tail};
use crate::ladder::Ladder;
use crate::point::{Point, decompress};
use crate::sums::{BATCH, Sums};
use crate::table::Table;
use crate::{Match, Scalars, bytes};

/// Matches that are handed over at once, about.
const MANY: usize = 4096;

/// Transaction keys, and for each the outputs that are asked about.
pub struct Jobs<'a> {
    pub keys: &'a [Words],
    pub outputs: &'a [&'a [(u32, Option<u8>)]],
}

/// Jobs side by side.
struct Group<'a> {
    /// The place of the first among all jobs.
    first: usize,
    /// The outputs of each.
    outputs: &'a [&'a [(u32, Option<u8>)]],
    /// Whether its key is a point; one for each lane, false where there is no job.
    valid: &'a [bool],
}

/// Finds the outputs whose view tags fit the products of jobs and some of the scalars.
#[inline(always)]
pub fn search<F: Field, W: Word>(
    jobs: &Jobs<'_>,
    scalars: &Scalars,
    range: Range<usize>,
    found: &mut dyn FnMut(&[Match]),
) {
    let mut tags = Tags::<W>::new(found);
    let mut multiples = Multiples::<F>::new(scalars.plan);
    let mut sums = Sums::<F>::new();
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
        multiples.fill(&point.double().double().double());
        let mut from = range.start;
        while from < range.end {
            let to = (from + BATCH).min(range.end);
            sums.clear();
            for scalar in from..to {
                sums.push(multiples.product(scalars.digits.of(scalar)));
            }
            tags.compare(&group, from..to, sums.encode(), BATCH * F::LANES);
            from = to;
        }
    }
    tags.hand_over();
}

/// What products are made of, by plan.
struct Multiples<F> {
    plan: Plan,
    table: Option<Table<F>>,
    ladder: Ladder<F>,
}

impl<F: Field> Multiples<F> {
    fn new(plan: Plan) -> Self {
        let table = (!plan.ladder).then(|| Table::new(plan.window));
        Self { plan, table, ladder: Ladder::new(plan) }
    }

    #[inline(always)]
    fn fill(&mut self, point: &Point<F>) {
        match &mut self.table {
            Some(table) => table.fill(point),
            None => self.ladder.fill(point),
        }
    }

    #[inline(always)]
    fn product(&self, digits: &[i16]) -> [F; 3] {
        match (&self.table, self.plan.constant_time) {
            (Some(table), false) => table.product(digits),
            (Some(table), true) => table.product_in_constant_time(digits),
            (None, false) => self.ladder.product(digits),
            (None, true) => self.ladder.product_in_constant_time(digits),
        }
    }
}

/// Compares view tags.
struct Tags<'a, W> {
    lanes: PhantomData<W>,
    /// The encodings of one lane side by side: word by word, view key after view key.
    own: [[u64; BATCH]; 4],
    matches: Vec<Match>,
    found: &'a mut dyn FnMut(&[Match]),
}

impl<W> Drop for Tags<'_, W> {
    fn drop(&mut self) {
        self.own.zeroize();
    }
}

impl<'a, W: Word> Tags<'a, W> {
    /// Hands over matches from time to time, so that no flood of outputs fills the memory.
    fn new(found: &'a mut dyn FnMut(&[Match])) -> Self {
        // Never grows: what it had to leave behind could not be wiped.
        let matches = Vec::with_capacity(MANY + BATCH);
        Self { lanes: PhantomData, own: [[0; BATCH]; 4], matches, found }
    }

    fn hand_over(&mut self) {
        if !self.matches.is_empty() {
            (self.found)(&self.matches);
            self.matches.clear();
        }
    }

    /// Takes encodings: word w of element e at `words[w * stride + e]`, where e is the view key's place in the batch times the
    /// lanes, plus the lane.
    #[inline(always)]
    fn compare(&mut self, group: &Group<'_>, scalars: Range<usize>, words: &[u64], stride: usize) {
        let lanes = group.valid.len();
        for (lane, outputs) in group.outputs.iter().enumerate().filter(|(lane, _)| group.valid[*lane]) {
            for (own, words) in self.own.iter_mut().zip(words.chunks_exact(stride)) {
                for (own, element) in own.iter_mut().zip(words[lane..].iter().step_by(lanes)) {
                    *own = *element;
                }
            }
            for (output, (index, tag)) in outputs.iter().enumerate() {
                let (label, tail) = (W::splat(LABEL), W::splat(tail(*index)));
                let [w0, w1, w2, w3] = &self.own;
                for from in (0..scalars.len()).step_by(W::LANES) {
                    // Past the last element is what was there before: hashed for nothing, and not looked at.
                    let (w0, w1) = (W::load(&w0[from..]), W::load(&w1[from..]));
                    let (w2, w3) = (W::load(&w2[from..]), W::load(&w3[from..]));
                    let mut hashes = [0; 8];
                    first_word([label, w0, w1, w2, w3, tail]).store(&mut hashes[..W::LANES]);
                    for (at, hash) in (from..scalars.len()).zip(&hashes[..W::LANES]) {
                        if tag.is_none_or(|tag| u64::from(tag) == hash & 0xff) {
                            self.matches.push(Match {
                                job: group.first + lane,
                                output,
                                secret: scalars.start + at,
                                derivation: bytes(&[
                                    self.own[0][at],
                                    self.own[1][at],
                                    self.own[2][at],
                                    self.own[3][at],
                                ]),
                            });
                        }
                    }
                }
                if self.matches.len() >= MANY {
                    self.hand_over();
                }
            }
        }
    }
}
