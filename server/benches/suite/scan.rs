//! The scanner: its engine beside a plain loop of curve25519-dalek in the same process, what is built on it, and a day of the
//! chain caught up in a process of its own.

use std::ops::RangeInclusive;
use std::process::Command as Process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aegis_common::address::{Address, AddressKind};
use aegis_common::amount::Piconero;
use aegis_common::chain::{
    BatchScanner, Derivation, Engine, Job, Origin, Path, Scanner, Tx, WatchKey, canonical_point, derivation,
    derivation_to_scalar, hash_to_scalar, keccak, parse_block, verify_tx, view_tag,
};
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::testing::chain::{Crafted, TestWallet, TxBuilder, craft_block};
use aegis_server::chain::{
    Config, Fact, Follower, Progress, ProgressError, Sink, SinkError, Source, WatchList,
};
use aegis_server::node::{FullBlock, NodeError, Tip};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Measured;

/// Measurements of each kind, of which the median counts.
const ROUNDS: usize = 5;
/// View keys, and transaction keys that make the work long enough to measure.
pub const SIZES: [(usize, usize); 5] = [(1, 1_024), (10, 512), (100, 64), (1_000, 16), (10_000, 16)];
/// Pairs that the plain loop takes for one measurement.
const PLAIN: usize = 1_000;
const ESCROWS: u64 = 10_000;
const CHILD: &str = "AEGIS_BENCH_DAY";
/// Monero's own measurements, from Debian's package `monero-tests`.
const MONERO: &str = "/usr/lib/monero/tests/bin/performance_tests";

/// All measurements of the scanner.
pub fn measure() -> Vec<Measured> {
    let mut all = engine();
    all.push(matches());
    all.extend(parsing());
    all.extend(block());
    all.extend(day());
    all.extend(monero());
    all
}

/// The paths that the processor has.
pub fn paths() -> impl Iterator<Item = Path> {
    Path::ALL.into_iter().filter(|path| path.is_available())
}

/// A path's name in results.
pub fn name(path: Path) -> String {
    format!("{path:?}").to_lowercase()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds that something takes.
fn seconds(work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64()
}

fn scalars(count: usize) -> Vec<Scalar> {
    (0..count as u64).map(|number| hash_to_scalar(&[b"view", &number.to_le_bytes()])).collect()
}

/// Keys of transactions with two outputs, as most have.
fn jobs(count: usize) -> Vec<Job> {
    let job = |number: u64| {
        let secret = hash_to_scalar(&[b"tx", &number.to_le_bytes()]);
        let tag = secret.as_bytes()[0];
        let key = EdwardsPoint::mul_base(&secret).compress().0;
        Job { key, outputs: vec![(0, Some(tag)), (1, Some(tag.wrapping_add(1)))] }
    };
    (0..count as u64).map(job).collect()
}

/// One product after the other; each key is decompressed once.
fn plain(jobs: &[Job], secrets: &[&Scalar]) -> usize {
    let mut found = 0;
    for job in jobs {
        let Some(point) = canonical_point(&job.key) else { continue };
        for secret in secrets {
            let shared = derivation(&point, secret);
            let fits = |(index, tag): &&(u32, Option<u8>)| *tag == Some(view_tag(&shared, u64::from(*index)));
            found += job.outputs.iter().filter(fits).count();
        }
    }
    found
}

fn engine() -> Vec<Measured> {
    let mut all = Vec::new();
    for (keys, transactions) in SIZES {
        let (scalars, jobs) = (scalars(keys), jobs(transactions));
        let secrets: Vec<&Scalar> = scalars.iter().collect();
        let few = &secrets[..keys.min(PLAIN / 4)];
        let some = &jobs[..(PLAIN / few.len()).min(transactions)];
        let engines: Vec<Engine> = paths()
            .flat_map(|path| [false, true].map(|constant_time| Engine::new(path, constant_time)))
            .collect();
        let (mut baseline, mut times) = (Vec::new(), vec![Vec::new(); engines.len()]);
        let expected = plain(some, few);
        for _ in 0..ROUNDS {
            baseline
                .push(seconds(|| assert_eq!(plain(some, few), expected)) / (some.len() * few.len()) as f64);
            for (engine, times) in engines.iter().zip(&mut times) {
                let mut found = 0;
                let took = seconds(|| found = engine.matches(&jobs, &secrets).len());
                assert!(found > 0 || keys * transactions < 2_000, "nothing was computed");
                times.push(took / (keys * transactions) as f64);
            }
            assert!(engines.iter().all(|engine| engine.matches(some, few).len() == expected));
        }
        // Pairs a second, so that the ratio says how many times as fast.
        let plain = 1.0 / median(baseline);
        for (number, (engine, times)) in engines.iter().zip(times).enumerate() {
            let mode = if number % 2 == 1 { ".constant_time" } else { "" };
            let name = format!("scan.{}{mode}.{keys}", name(engine.path()));
            all.push(Measured::new(name, 1.0 / median(times), "pairs/s", Some(plain)));
        }
    }
    all
}

/// What follows when a view tag fits: whose spend key is it?
fn matches() -> Measured {
    const OUTPUTS: u64 = 200;
    const EACH: u64 = 40;
    let asked: Vec<([u8; 32], Derivation)> = (0..OUTPUTS)
        .flat_map(|output| {
            let key =
                EdwardsPoint::mul_base(&hash_to_scalar(&[b"output", &output.to_le_bytes()])).compress().0;
            (0..EACH).map(move |n| (key, keccak(&[&output.to_le_bytes(), &n.to_le_bytes()]).0))
        })
        .collect();
    let engine = Engine::new(Path::best(), false);
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut ours = Vec::new();
        fast.push(seconds(|| {
            let origin = |(key, shared): &([u8; 32], Derivation)| Origin {
                key: *key,
                secret: derivation_to_scalar(shared, 1),
            };
            let origins: Vec<Origin> = asked.iter().map(origin).collect();
            ours = engine.spend_keys(&origins);
        }));
        let mut plain = Vec::new();
        slow.push(seconds(|| {
            let one = |(key, shared): &([u8; 32], Derivation)| {
                let secret = derivation_to_scalar(shared, 1);
                Some((canonical_point(key)? - EdwardsPoint::mul_base(&secret)).compress().0)
            };
            plain = asked.iter().map(one).collect();
        }));
        assert_eq!(ours, plain);
    }
    let rate = |times| asked.len() as f64 / median(times);
    Measured::new("scan.match", rate(fast), "matches/s", Some(rate(slow)))
}

/// Addresses of people that nobody watches.
fn strangers() -> Vec<Address> {
    (0..64).map(|n| TestWallet::new(1_000_000 + n).primary()).collect()
}

/// A transaction as they are on the chain: most have two outputs, some up to sixteen, a few pay several subaddresses. One in a
/// thousand pays a watched escrow as well.
fn transaction(seed: u64, strangers: &[Address]) -> TxBuilder {
    let draw =
        |label: &[u8]| u64::from_le_bytes(keccak(&[label, &seed.to_le_bytes()]).0[..8].try_into().unwrap());
    let mut builder = TxBuilder::new(seed);
    let outputs = if draw(b"many").is_multiple_of(8) { 3 + draw(b"outputs") % 14 } else { 2 };
    builder.additional = draw(b"additional").is_multiple_of(20);
    for output in 0..outputs {
        let to = strangers[((draw(b"to") + output) % strangers.len() as u64) as usize];
        builder = builder.pay(to, Piconero(1 + output));
    }
    if seed % 1_000 == 7 {
        let payee = TestWallet::new(draw(b"payee") % ESCROWS).primary();
        assert_eq!(payee.kind, AddressKind::Standard);
        builder.payments[1] = (payee, Piconero(5));
        builder.additional = true;
    }
    builder
}

fn watch_keys() -> Vec<WatchKey> {
    (0..ESCROWS).map(|n| TestWallet::new(n).watch(EscrowId(Uuid::from_u128(n.into()))).unwrap()).collect()
}

fn parsing() -> Vec<Measured> {
    let strangers = strangers();
    let crafted: Vec<_> = (0..500).map(|seed| transaction(seed, &strangers).build().unwrap()).collect();
    let hashes: Vec<Hash32> = crafted.iter().map(|crafted| crafted.tx.hash).collect();
    let (blob, block) = craft_block(7, Hash32([3; 32]), 0, &hashes).unwrap();
    let (mut txs, mut blocks) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        txs.push(seconds(|| {
            for crafted in &crafted {
                let pruned = &crafted.blob[..crafted.pruned_length];
                verify_tx(pruned, Some(crafted.prunable_hash), crafted.tx.hash).unwrap();
            }
        }));
        blocks
            .push(seconds(|| (0..20).for_each(|_| assert_eq!(parse_block(&blob).unwrap().hash, block.hash))));
    }
    vec![
        Measured::new("parse.transaction", crafted.len() as f64 / median(txs), "transactions/s", None),
        Measured::new("parse.block_of_500", 20.0 / median(blocks), "blocks/s", None),
    ]
}

/// A block of 100 transactions and 10,000 escrows, on one core, from bytes to deposits.
fn block() -> Vec<Measured> {
    let (strangers, keys) = (strangers(), watch_keys());
    // One that pays an escrow is among them.
    let crafted: Vec<_> = (0..100).map(|seed| transaction(seed, &strangers).build().unwrap()).collect();
    let one = |path: Path| {
        let scanner = BatchScanner::new(Engine::new(path, false), 1).unwrap();
        let round = |_| {
            seconds(|| {
                let parse = |crafted: &Crafted| verify_tx(&crafted.blob, None, crafted.tx.hash).unwrap();
                let txs: Vec<Tx> = crafted.iter().map(parse).collect();
                assert_eq!(scanner.scan(&keys, &txs).len(), 1);
            })
        };
        let took = median((0..ROUNDS).map(round).collect());
        Measured::new(format!("scan.block.{}", name(path)), took, "s", None)
    };
    paths().map(one).collect()
}

/// What the child measured.
#[derive(Serialize, Deserialize)]
struct Day {
    seconds: f64,
    peak: f64,
}

/// 30,000 transactions in 720 blocks, caught up by the follower for 10,000 escrows. It makes the transactions meanwhile, and
/// reads none of their bytes: that is measured by itself.
fn day() -> Vec<Measured> {
    let child = Process::new(std::env::current_exe().unwrap()).env(CHILD, "1").output().unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let Day { seconds, peak } = serde_json::from_slice(&child.stdout).unwrap();
    vec![
        Measured::new("scan.day", seconds, "s", None),
        Measured::new("scan.day.peak", peak / 1_048_576.0, "MiB", None),
    ]
}

pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// The process that is measured.
pub fn child() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("{}", serde_json::to_string(&runtime.block_on(catch_up())).unwrap());
}

const FIRST: u64 = 1_000;
const BLOCKS: u64 = 720;
const TRANSACTIONS: u64 = 30_000;

fn hash_of(height: u64) -> Hash32 {
    keccak(&[b"block", &height.to_le_bytes()])
}

/// A chain that is made as it is read.
struct Made(Vec<Address>);

impl Source for Made {
    async fn tip(&self) -> Result<Tip, NodeError> {
        Ok(Tip { height: FIRST + BLOCKS, hash: hash_of(FIRST + BLOCKS) })
    }
    async fn header_hash(&self, height: u64) -> Result<Hash32, NodeError> {
        Ok(hash_of(height))
    }
    async fn blocks(&self, range: RangeInclusive<u64>) -> Result<Vec<FullBlock>, NodeError> {
        let height = *range.start();
        let of = |block: u64| (block - FIRST) * TRANSACTIONS / BLOCKS;
        let seeds = of(height - 1)..of(height);
        let txs = seeds.map(|seed| transaction(seed, &self.0).build().unwrap().tx).collect();
        Ok(vec![FullBlock { height, hash: hash_of(height), prev: hash_of(height - 1), txs }])
    }
    async fn pool(&self) -> Result<Vec<Arc<Tx>>, NodeError> {
        Ok(Vec::new())
    }
    async fn news(&self) {
        std::future::pending().await
    }
}

/// Counts deposits.
#[derive(Clone, Default)]
pub struct Counted(pub Arc<AtomicUsize>);

impl Sink for Counted {
    async fn deliver(&self, fact: Fact) -> Result<(), SinkError> {
        if matches!(fact, Fact::Deposit { .. }) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// How far it is, in memory.
#[derive(Clone)]
pub struct At(Arc<Mutex<Tip>>);

impl At {
    /// As if all blocks up to this one had been followed.
    pub fn new(tip: Tip) -> Self {
        Self(Arc::new(Mutex::new(tip)))
    }
}

impl Progress for At {
    async fn load(&self) -> Result<Option<Tip>, ProgressError> {
        Ok(Some(*self.0.lock().unwrap()))
    }
    async fn hash_at(&self, _: u64) -> Result<Option<Hash32>, ProgressError> {
        Ok(None)
    }
    async fn advance(&self, tip: Tip) -> Result<(), ProgressError> {
        *self.0.lock().unwrap() = tip;
        Ok(())
    }
    async fn rewind(&self, _: u64) -> Result<(), ProgressError> {
        Ok(())
    }
}

async fn catch_up() -> Day {
    let list = WatchList::new();
    list.add_all(watch_keys());
    let scanner = Arc::new(BatchScanner::new(Engine::new(Path::best(), false), 0).unwrap());
    let (found, config) = (Counted::default(), Config { poll: Duration::from_secs(1), ..Config::default() });
    let source = Arc::new(Made(strangers()));
    let at = At::new(Tip { height: FIRST, hash: hash_of(FIRST) });
    let mut follower = Follower::new(source, at, found.clone(), scanner, list, config);
    let begin = Instant::now();
    let tip = follower.step().await.unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    assert_eq!(tip.height, FIRST + BLOCKS);
    // Every thousandth transaction pays one.
    assert_eq!(found.0.load(Ordering::SeqCst) as u64, TRANSACTIONS / 1_000);
    // Peak resident memory of this process (proc(5): `VmHWM` in kibibytes).
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    Day { seconds, peak: peak * 1024.0 }
}

/// Monero's own figures for one derivation and for one output, where its programs are installed.
fn monero() -> Vec<Measured> {
    let calls = |test: &str| -> f64 {
        // It leaves a log where it runs.
        let dir = tempfile::tempdir().unwrap();
        let output = Process::new(MONERO).args(["--filter", test]).current_dir(dir.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line =
            text.lines().find(|line| line.contains(&format!("{test} ("))).unwrap_or_else(|| panic!("{text}"));
        let micros = line.rsplit(": ").next().unwrap().split(' ').next().unwrap();
        1e6 / micros.parse::<f64>().unwrap()
    };
    if !std::path::Path::new(MONERO).exists() {
        return Vec::new();
    }
    vec![
        Measured::new("monero.derivation", calls("test_generate_key_derivation"), "calls/s", None),
        Measured::new("monero.is_out_to_acc", calls("test_is_out_to_acc"), "calls/s", None),
    ]
}
