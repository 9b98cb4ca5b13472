//! How long a page of a list takes among a million escrows: every documented filter in every order, for a trader with 50,000
//! of them, an arbiter with more than 20,000 and an ordinary trader. Measured at the store: with its queue, and with the
//! snapshots, which are as long as those of escrows that were paid out; without HTTP.

use std::time::{Duration, Instant};

use aegis_common::ids::UserId;
use aegis_server::store::{DatabaseUrl, ListFilter, ListOrder, Store};

use crate::Measured;
use crate::postgres::Postgres;
use crate::rows::{open, sqlite};
use crate::seed::{ORDERS, Size, documented, fill};

const SIZE: Size = Size { escrows: 1_000_000, traders: 5_000, arbiters: 50, heavy_every: 20, whole: true };
/// Rows of a page, as by default, and one to know whether there are more.
const LIMIT: usize = 51;
/// Pages of each list.
const PAGES: usize = 10;
/// Times each list is walked.
const TURNS: usize = 3;

/// The slowest of everybody's pages, list by list; printed as a table, and summed up.
pub async fn measure() -> Vec<Measured> {
    let dir = tempfile::tempdir().unwrap();
    let server = Postgres::start();
    let mut results = Vec::new();
    for (name, url) in [("sqlite", sqlite(dir.path())), ("postgres", server.database("lists"))] {
        let store = open(&url);
        results.extend(one(name, &url, &store).await);
    }
    results
}

async fn one(name: &str, url: &DatabaseUrl, store: &Store) -> Vec<Measured> {
    let begin = Instant::now();
    tokio::task::block_in_place(|| fill(url, SIZE));
    println!("{name}: {} escrows in {:.0} s", SIZE.escrows, begin.elapsed().as_secs_f64());
    println!("{:<9} {:<8} {:<22} {:>9} {:>9} {:>9}", "database", "who", "list", "p50 ms", "p99 ms", "max ms");
    let mut worst = Duration::ZERO;
    let mut all = Vec::new();
    let people = [("heavy", SIZE.heavy()), ("arbiter", SIZE.arbiter(0)), ("trader", SIZE.trader())];
    for (who, user) in people {
        for (list, filter) in documented(SIZE) {
            let mut took = Vec::new();
            for order in ORDERS {
                took.extend(walked(store, user, &filter, order).await);
            }
            worst = worst.max(report(name, who, list, &mut took));
            all.extend(took);
        }
        let mut took = Vec::new();
        for _ in 0..100 {
            let begin = Instant::now();
            store.list_counts(user).await.unwrap();
            took.push(begin.elapsed());
        }
        worst = worst.max(report(name, who, "counts", &mut took));
    }
    all.sort_unstable();
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    vec![
        Measured::new(format!("lists.{name}.p50"), millis(rank(&all, 50)), "ms", None),
        Measured::new(format!("lists.{name}.p99"), millis(rank(&all, 99)), "ms", None),
        Measured::new(format!("lists.{name}.worst_list_p99"), millis(worst), "ms", None),
    ]
}

async fn walked(store: &Store, user: UserId, filter: &ListFilter, order: ListOrder) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..TURNS {
        let mut after = None;
        for _ in 0..PAGES {
            let begin = Instant::now();
            let page = store.list(user, filter.clone(), order, after, LIMIT).await.unwrap();
            took.push(begin.elapsed());
            if page.len() < LIMIT {
                break;
            }
            after = page.last().map(|row| row.at);
        }
    }
    took
}

fn rank(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

/// Prints a row; gives its p99.
fn report(name: &str, who: &str, list: &str, took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    let millis = |percent| rank(took, percent).as_secs_f64() * 1000.0;
    let (p50, p99, max) = (millis(50), millis(99), millis(100));
    println!("{name:<9} {who:<8} {list:<22} {p50:>9.2} {p99:>9.2} {max:>9.2}");
    rank(took, 99)
}
