//! The scanner for very many keys: all pairs by the [`Engine`], shared out over threads.

use std::ops::Range;

use aegis_engine::{Engine, Job, Match, Origin, Scalars};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use super::curve::derivation_to_scalar;
use super::extra::TxKeys;
use super::scan::{Found, Scanner, found, opened};
use super::tx::Tx;
use super::watch::WatchKey;

/// Transaction keys that are worked on together: as many as the widest path has lanes.
const TOGETHER: usize = 8;
/// Tiles for each thread, so that all end at about the same time.
const TILES: usize = 4;
/// Tiles are not made of fewer view keys than about half of this: their tables would cost more than they save.
const FEWEST: usize = 512;

/// Scans with the [`Engine`] on threads of its own.
#[derive(Debug)]
pub struct BatchScanner {
    engine: Engine,
    threads: ThreadPool,
}

impl BatchScanner {
    /// On so many threads; 0 takes one for each core.
    pub fn new(engine: Engine, threads: usize) -> Result<Self, ThreadPoolBuildError> {
        let threads =
            ThreadPoolBuilder::new().num_threads(threads).thread_name(|n| format!("scan-{n}")).build()?;
        Ok(Self { engine, threads })
    }

    /// The engine it scans with.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Threads it scans on.
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// What some transaction keys and some view keys have in common.
    fn tile(&self, scan: &Scan<'_>, jobs: Range<usize>, keys: Range<usize>) -> Vec<Hit> {
        let mut hits = Vec::new();
        let sources = &scan.sources[jobs.clone()];
        self.engine.search(&scan.jobs[jobs], &scan.scalars, keys, &mut |matches| {
            self.check(scan, sources, matches, &mut hits);
        });
        hits
    }

    /// A view tag fits one in 256 by chance: which outputs were made for one of the spend keys, and hold what they claim?
    fn check(&self, scan: &Scan<'_>, sources: &[Source], matches: &[Match], hits: &mut Vec<Hit>) {
        let mut matches: Vec<(&Match, &Source, usize)> = matches
            .iter()
            .map(|hit| {
                let source = &sources[hit.job];
                (hit, source, source.first + hit.output)
            })
            .collect();
        // Equal output keys side by side.
        matches.sort_unstable_by_key(|(_, source, output)| (source.tx, *output));
        let origins: Vec<Origin> = matches
            .iter()
            .map(|(hit, source, output)| Origin {
                key: scan.txs[source.tx].outputs[*output].key.0,
                secret: derivation_to_scalar(&hit.derivation, *output as u64),
            })
            .collect();
        let made_for = self.engine.spend_keys(&origins);
        for (((hit, source, output), origin), made_for) in matches.into_iter().zip(&origins).zip(made_for) {
            let key = &scan.keys[hit.secret];
            let minor =
                made_for.and_then(|made_for| key.spend_keys().iter().position(|spend| spend.0 == made_for));
            let Some(minor) = minor else { continue };
            let tx = &scan.txs[source.tx];
            let Some(amount) = opened(&origin.secret, &tx.outputs[output].amount) else { continue };
            let place = Place { tx: source.tx, key: hit.secret, output };
            hits.push(Hit {
                place,
                order: source.order,
                found: found(key, tx, output as u32, minor as u32, amount),
            });
        }
    }
}

impl Scanner for BatchScanner {
    fn scan(&self, keys: &[WatchKey], txs: &[Tx]) -> Vec<Found> {
        let (jobs, sources): (Vec<Job>, Vec<Source>) =
            (0..).zip(txs).flat_map(|(at, tx)| asked(at, tx)).unzip();
        if jobs.is_empty() || keys.is_empty() {
            return Vec::new();
        }
        let groups = jobs.len().div_ceil(TOGETHER);
        // With few transactions the keys are shared out as well.
        let parts = (self.threads() * TILES).div_ceil(groups).clamp(1, keys.len().div_ceil(FEWEST));
        let part = keys.len().div_ceil(parts);
        let secrets: Vec<_> = keys.iter().map(WatchKey::view_secret).collect();
        let scalars = self.engine.prepare(&secrets, part);
        let scan = Scan { keys, txs, jobs: &jobs, sources: &sources, scalars };
        let tiles = (0..groups * parts).into_par_iter().flat_map_iter(|tile| {
            let (job, key) = (tile / parts * TOGETHER, tile % parts * part);
            let range = |from: usize, size: usize, all: usize| from.min(all)..(from + size).min(all);
            self.tile(&scan, range(job, TOGETHER, jobs.len()), range(key, part, keys.len()))
        });
        let mut hits: Vec<Hit> = self.threads.install(|| tiles.collect());
        // An output may be found by several transaction keys; the first that finds it counts, as everywhere.
        hits.sort_unstable_by_key(|hit| (hit.place, hit.order));
        hits.dedup_by_key(|hit| hit.place);
        hits.into_iter().map(|hit| hit.found).collect()
    }
}

/// What all tiles share.
struct Scan<'a> {
    keys: &'a [WatchKey],
    txs: &'a [Tx],
    jobs: &'a [Job],
    sources: &'a [Source],
    scalars: Scalars,
}

/// Where a job comes from.
#[derive(Debug)]
struct Source {
    tx: usize,
    /// The place of the job's first output in the transaction.
    first: usize,
    /// Main keys in their order, then additional ones.
    order: usize,
}

struct Hit {
    place: Place,
    order: usize,
    found: Found,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    tx: usize,
    key: usize,
    output: usize,
}

/// Every main key is asked about all outputs, an additional one about its own.
fn asked(at: usize, tx: &Tx) -> Vec<(Job, Source)> {
    let keys = TxKeys::parse(&tx.extra);
    let outputs: Vec<(u32, Option<u8>)> =
        (0..).zip(&tx.outputs).map(|(index, output)| (index, output.view_tag)).collect();
    let main = keys.main.iter().enumerate().map(|(order, key)| {
        (Job { key: key.0, outputs: outputs.clone() }, Source { tx: at, first: 0, order })
    });
    // Further keys than outputs belong to nothing.
    let additional = keys.additional.iter().zip(&outputs).enumerate().map(|(first, (key, output))| {
        (Job { key: key.0, outputs: vec![*output] }, Source { tx: at, first, order: usize::MAX })
    });
    main.chain(additional).collect()
}
