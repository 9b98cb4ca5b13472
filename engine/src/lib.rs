#![doc = include_str!("../README.md")]

mod digits;
mod field;
mod keccak;
mod ladder;
mod lanes;
mod origin;
mod point;
mod run;
mod sums;
mod table;

use std::ops::Range;

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroize;

use digits::Digits;
pub use digits::Plan;
use field::{Field, Words};
use keccak::Word;
use lanes::portable::Limbs;
pub use origin::Origin;
use run::{Jobs, search};

/// An encoded derivation `8·a·R`, the secret shared by sender and recipient.
pub type Derivation = [u8; 32];

/// How products are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// 64-bit limbs, one lane; everywhere.
    Portable,
    /// The same, with four hashes at once.
    Avx2,
    /// Eight lanes of AVX-512 IFMA.
    Ifma,
}

impl Path {
    /// Every path, the slowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Ifma];

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Avx2 => lanes::has_avx2(),
            Self::Ifma => lanes::has_ifma(),
        }
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|path| path.is_available()).unwrap_or(Self::Portable)
    }
}

/// A transaction key and the outputs that may have been made with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The key's encoding.
    pub key: [u8; 32],
    /// Number and view tag of each output; those without a tag always match.
    pub outputs: Vec<(u32, Option<u8>)>,
}

/// An output whose view tag fits a view key: one in 256 of those that are not its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// The job's place.
    pub job: usize,
    /// The output's place in the job.
    pub output: usize,
    /// The view key's place.
    pub secret: usize,
    /// The shared secret; wiped when dropped.
    pub derivation: Derivation,
}

impl Drop for Match {
    fn drop(&mut self) {
        self.derivation.zeroize();
    }
}

/// View keys as the engine wants them; wiped when dropped.
pub struct Scalars {
    digits: Digits,
    plan: Plan,
}

/// The engine on one path.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    path: Path,
    constant_time: bool,
}

impl Engine {
    /// Takes a path; the portable one where the processor does not have it.
    pub fn new(path: Path, constant_time: bool) -> Self {
        Self { path: if path.is_available() { path } else { Path::Portable }, constant_time }
    }

    /// The path taken.
    pub fn path(&self) -> Path {
        self.path
    }

    /// Whether time and memory accesses are the same for all view keys.
    pub fn is_constant_time(&self) -> bool {
        self.constant_time
    }

    /// Writes view keys down, for searches through so many of them at a time.
    pub fn prepare(&self, secrets: &[&Scalar], at_a_time: usize) -> Scalars {
        prepare(secrets, self.plan(at_a_time))
    }

    /// Finds all matches of some of the view keys, in no particular order, and hands them over a few thousand at a time.
    pub fn search(
        &self,
        jobs: &[Job],
        scalars: &Scalars,
        range: Range<usize>,
        found: &mut dyn FnMut(&[Match]),
    ) {
        let keys: Vec<Words> = jobs.iter().map(|job| words(&job.key)).collect();
        let outputs: Vec<&[(u32, Option<u8>)]> = jobs.iter().map(|job| job.outputs.as_slice()).collect();
        let jobs = Jobs { keys: &keys, outputs: &outputs };
        let range = range.start..range.end.min(scalars.digits.len());
        self.run(Search { jobs, scalars, range, found });
    }

    /// All matches of all view keys, in no particular order.
    pub fn matches(&self, jobs: &[Job], secrets: &[&Scalar]) -> Vec<Match> {
        let mut all = Vec::new();
        let scalars = self.prepare(secrets, secrets.len());
        self.search(jobs, &scalars, 0..secrets.len(), &mut |found| all.extend_from_slice(found));
        all
    }

    /// The shared secrets of every key with every view key, key by key; none for keys that are no points.
    pub fn derivations(&self, keys: &[[u8; 32]], secrets: &[&Scalar]) -> Vec<Option<Derivation>> {
        self.derivations_by(keys, secrets, self.plan(secrets.len()))
    }

    fn plan(&self, products: usize) -> Plan {
        // An entry takes 11 multiplications. Eight lanes of it have to be written, and are found outside the nearest caches:
        // measured, that makes it 16.
        let entry = if self.path == Path::Ifma { 16 } else { 11 };
        Plan::best(products, entry, self.constant_time)
    }

    /// The same by a plan of the caller's, where the engine would have taken the cheapest.
    pub fn derivations_by(
        &self,
        keys: &[[u8; 32]],
        secrets: &[&Scalar],
        plan: Plan,
    ) -> Vec<Option<Derivation>> {
        let mut all = vec![None; keys.len() * secrets.len()];
        // An output without a tag always matches.
        let jobs: Vec<Job> = keys.iter().map(|key| Job { key: *key, outputs: vec![(0, None)] }).collect();
        self.search(&jobs, &prepare(secrets, plan), 0..secrets.len(), &mut |found| {
            for Match { job, secret, derivation, .. } in found {
                all[job * secrets.len() + secret] = Some(*derivation);
            }
        });
        all
    }

    /// The spend keys that outputs would have been made for: key − secret·G, encoded; none for keys that are no points. Costs
    /// least where equal keys stand side by side.
    pub fn spend_keys(&self, origins: &[Origin]) -> Vec<Option<[u8; 32]>> {
        let mut found = Vec::new();
        self.run(SpendKeys { origins, constant_time: self.constant_time, found: &mut found });
        found
    }

    fn run(&self, task: impl Task) {
        match self.path {
            Path::Portable => task.run::<Limbs, u64>(),
            Path::Avx2 => lanes::with_avx2(task),
            Path::Ifma => lanes::with_ifma(task),
        }
    }
}

fn prepare(secrets: &[&Scalar], plan: Plan) -> Scalars {
    Scalars { digits: Digits::new(secrets.iter().copied(), plan.window), plan }
}

fn words(bytes: &[u8; 32]) -> Words {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

fn bytes(words: &Words) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    bytes
}

/// What is done on whatever lanes.
trait Task {
    fn run<F: Field, W: Word>(self);
}

struct Search<'a> {
    jobs: Jobs<'a>,
    scalars: &'a Scalars,
    range: Range<usize>,
    found: &'a mut dyn FnMut(&[Match]),
}

impl Task for Search<'_> {
    #[inline(always)]
    fn run<F: Field, W: Word>(self) {
        search::<F, W>(&self.jobs, self.scalars, self.range, self.found);
    }
}

struct SpendKeys<'a> {
    origins: &'a [Origin],
    constant_time: bool,
    found: &'a mut Vec<Option<[u8; 32]>>,
}

impl Task for SpendKeys<'_> {
    /// One lane on every path: the digits differ from one to the next.
    #[inline(always)]
    fn run<F: Field, W: Word>(self) {
        *self.found = origin::spend_keys(self.origins, self.constant_time);
    }
}
