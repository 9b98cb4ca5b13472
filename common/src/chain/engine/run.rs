//! The loop: for each group of transaction keys their multiples, for each view key a sum, for each output a tag.

use std::marker::PhantomData;
use std::ops::Range;

use super::digits::Plan;
use super::field::{Field, ONE, Words, ZERO};
use super::keccak::{LABEL, Word, first_word, tail};
use super::ladder::Ladder;
use super::point::{Point, Sum, decompress};
use super::sums::{BATCH, Sums};
use super::table::Table;
use super::{Match, Scalars, bytes};

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
                sums.push(&multiples.product(scalars.digits.of(scalar)));
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
    fn product(&self, digits: &[i16]) -> Sum<F> {
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
    matches: Vec<Match>,
    found: &'a mut dyn FnMut(&[Match]),
}

impl<'a, W> Tags<'a, W> {
    /// Hands over matches from time to time, so that no flood of outputs fills the memory.
    fn new(found: &'a mut dyn FnMut(&[Match])) -> Self {
        Self { lanes: PhantomData, matches: Vec::new(), found }
    }

    fn hand_over(&mut self) {
        if !self.matches.is_empty() {
            (self.found)(&self.matches);
            self.matches.clear();
        }
    }
}

impl<W: Word> Tags<'_, W> {
    /// Takes encodings: word w of element e at `words[w * stride + e]`, where e is the view key's place in the batch times the
    /// lanes, plus the lane.
    #[inline(always)]
    fn compare(&mut self, group: &Group<'_>, scalars: Range<usize>, words: &[u64], stride: usize) {
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
            if self.matches.len() >= MANY {
                self.hand_over();
            }
        }
    }
}
