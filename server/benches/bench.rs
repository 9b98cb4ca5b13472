//! Measures what the server promises about speed, each beside a plain baseline on the same machine, and
//! writes `target/bench/results.json`: a list of `{name, value, unit, baseline, ratio}`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, reason = "results are for a person to read")]

#[path = "suite/commit.rs"]
mod commit;
#[path = "../tests/support/postgres.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod postgres;
#[path = "../tests/support/rows.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod rows;

use std::path::Path;

/// One measurement.
#[derive(serde::Serialize)]
pub struct Measured {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// The same work done plainly; `None` where there is no plain way.
    baseline: Option<f64>,
    /// Value by baseline.
    ratio: Option<f64>,
}

impl Measured {
    /// A measurement beside its baseline.
    pub fn new(name: &'static str, value: f64, unit: &'static str, baseline: Option<f64>) -> Self {
        Self { name, value, unit, baseline, ratio: baseline.map(|baseline| value / baseline) }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let results = runtime.block_on(commit::measure());
    let json = serde_json::to_string_pretty(&results).unwrap();
    println!("{json}");
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("results.json"), json).unwrap();
}
