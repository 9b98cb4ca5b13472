//! Measures what the server promises about speed, each beside a plain baseline on the same machine, and
//! writes `target/bench/results.json`: a list of `{name, value, unit, baseline, ratio}`. What concerns the scanner's engine is
//! drawn as well, in the terminal and as `target/bench/scan.png`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, reason = "results are for a person to read")]

#[path = "suite/actors.rs"]
mod actors;
#[path = "suite/commit.rs"]
mod commit;
#[path = "suite/lists.rs"]
mod lists;
#[path = "suite/login.rs"]
mod login;
#[path = "../tests/support/monero.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod monero;
#[path = "suite/node.rs"]
mod node;
#[path = "../tests/support/people.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod people;
#[path = "suite/plot.rs"]
mod plot;
#[path = "../tests/support/postgres.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod postgres;
#[path = "../tests/support/ring.rs"]
mod ring;
#[path = "../tests/support/rows.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod rows;
#[path = "suite/scan.rs"]
mod scan;
#[path = "../tests/support/seed.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod seed;
#[path = "../tests/support/still.rs"]
mod still;

use std::path::Path;

/// One measurement.
#[derive(serde::Serialize)]
pub struct Measured {
    name: String,
    value: f64,
    unit: &'static str,
    /// The same work done plainly; `None` where there is no plain way.
    baseline: Option<f64>,
    /// Value by baseline.
    ratio: Option<f64>,
}

impl Measured {
    /// A measurement beside its baseline.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str, baseline: Option<f64>) -> Self {
        Self { name: name.into(), value, unit, baseline, ratio: baseline.map(|baseline| value / baseline) }
    }
}

fn main() {
    if actors::is_child() {
        return actors::child();
    }
    if scan::is_child() {
        return scan::child();
    }
    let only = std::env::args().nth(1).filter(|name| !name.starts_with('-'));
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match only.as_deref() {
        Some("login") => return table(&runtime().block_on(login::measure())),
        Some("lists") => return table(&runtime().block_on(lists::measure())),
        Some("commit") => return table(&runtime().block_on(commit::measure())),
        _ => {}
    }
    let mut results = scan::measure();
    let runtime = runtime();
    results.extend(runtime.block_on(node::measure()));
    results.extend(runtime.block_on(commit::measure()));
    results.extend(runtime.block_on(actors::measure()));
    results.extend(runtime.block_on(login::measure()));
    results.extend(runtime.block_on(lists::measure()));
    table(&results);
    plot::terminal(&results);
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("results.json"), serde_json::to_string_pretty(&results).unwrap()).unwrap();
    plot::picture(&results, &dir.join("scan.png"));
}

fn table(results: &[Measured]) {
    println!("{:<32} {:>14} {:<16} {:>14} {:>8}", "name", "value", "unit", "baseline", "ratio");
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    for Measured { name, value, unit, baseline, ratio } in results {
        println!("{name:<32} {value:>14.2} {unit:<16} {:>14} {:>8}", number(*baseline), number(*ratio));
    }
}
