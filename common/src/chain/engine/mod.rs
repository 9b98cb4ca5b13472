//! All shared secrets 8·a·R of many transaction keys R and many view keys a, and which outputs' view tags fit them.
//!
//! Several transaction keys lie side by side, one in each lane of a vector; the view keys pass through one after the other, so
//! that all lanes do the same with different numbers. For each group of transaction keys a table of their multiples is made, and
//! a product is then nothing but additions from it. Results share their inversions and go straight into the lanes of the hash.
//!
//! ```text
//! run      groups, batches, tags
//!   table    multiples of points            digits   scalars as signed digits
//!     point    additions                      keccak   hashes side by side
//!       field    what a lane can do
//!         lanes    portable · avx2 · ifma: the only place with code that the compiler can't check
//! ```
//!
//! A transaction key is multiplied by 8 first: then it has no torsion, its multiples depend on the scalar modulo ℓ only, and
//! min(a, ℓ − a) may be taken. The result is the same as Monero's 8·(a·R) (`crypto::generate_key_derivation`). Encodings that
//! are no point, or not the only one of theirs, give nothing.
//!
//! Unless constant time is asked for, the time and the memory accesses depend on the view keys: who shares the processor's
//! caches may learn what an escrow receives, never how to spend it.

mod digits;
mod field;
mod keccak;
mod lanes;
mod point;
mod run;
mod table;
#[cfg(test)]
mod tests;

use curve25519_dalek::scalar::Scalar;

use super::curve::Derivation;
use digits::{Digits, best_window};
use field::{Field, Words};
use keccak::Word;
use lanes::portable::Limbs;
use run::{All, Jobs, Tags, multiply};

/// Width of the windows in constant time: eight entries are read for each digit.
const CONSTANT_TIME_WINDOW: usize = 4;

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
    /// The shared secret.
    pub derivation: Derivation,
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

    /// All matches, in no particular order.
    pub fn matches(&self, jobs: &[Job], secrets: &[&Scalar]) -> Vec<Match> {
        let mut matches = Vec::new();
        let keys: Vec<Words> = jobs.iter().map(|job| words(&job.key)).collect();
        let outputs: Vec<&[(u32, Option<u8>)]> = jobs.iter().map(|job| job.outputs.as_slice()).collect();
        self.run(Search { jobs: Jobs { keys: &keys, outputs: &outputs }, matches: &mut matches }, secrets);
        matches
    }

    /// The shared secrets of every key with every view key, key by key; none for keys that are no points.
    pub fn derivations(&self, keys: &[[u8; 32]], secrets: &[&Scalar]) -> Vec<Option<Derivation>> {
        let mut all = All { derivations: vec![None; keys.len() * secrets.len()], scalars: secrets.len() };
        let keys: Vec<Words> = keys.iter().map(words).collect();
        self.run(Collect { jobs: Jobs { keys: &keys, outputs: &[] }, all: &mut all }, secrets);
        all.derivations
    }

    fn run(&self, task: impl Task, secrets: &[&Scalar]) {
        let window = match self.constant_time {
            true => CONSTANT_TIME_WINDOW,
            false => best_window(secrets.len()),
        };
        self.run_with(task, secrets, window);
    }

    fn run_with(&self, task: impl Task, secrets: &[&Scalar], window: usize) {
        let digits = Digits::new(secrets.iter().copied(), window);
        let chosen = Chosen { task, digits: &digits, constant_time: self.constant_time };
        match self.path {
            Path::Portable => chosen.run::<Limbs, u64>(),
            Path::Avx2 => lanes::with_avx2(chosen),
            Path::Ifma => lanes::with_ifma(chosen),
        }
    }
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

/// What is done with the products, on whatever lanes.
trait Task {
    fn run<F: Field, W: Word>(self, digits: &Digits, constant_time: bool);
}

/// A task that is ready for lanes.
struct Chosen<'a, T> {
    task: T,
    digits: &'a Digits,
    constant_time: bool,
}

impl<T: Task> Chosen<'_, T> {
    #[inline(always)]
    fn run<F: Field, W: Word>(self) {
        self.task.run::<F, W>(self.digits, self.constant_time);
    }
}

struct Search<'a> {
    jobs: Jobs<'a>,
    matches: &'a mut Vec<Match>,
}

impl Task for Search<'_> {
    #[inline(always)]
    fn run<F: Field, W: Word>(self, digits: &Digits, constant_time: bool) {
        multiply::<F>(&self.jobs, digits, constant_time, &mut Tags::<W>::new(self.matches));
    }
}

struct Collect<'a> {
    jobs: Jobs<'a>,
    all: &'a mut All,
}

impl Task for Collect<'_> {
    #[inline(always)]
    fn run<F: Field, W: Word>(self, digits: &Digits, constant_time: bool) {
        multiply::<F>(&self.jobs, digits, constant_time, self.all);
    }
}
