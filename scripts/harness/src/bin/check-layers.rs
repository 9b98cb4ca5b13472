//! Checks the rules of the house: floors, doors, documents, migrations, and that the programs stand apart.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use aegis_harness::house;
use clap::Parser;

/// Checks the rules of the house. Quiet where all is well.
#[derive(Parser)]
struct Arguments {
    /// The tree to check.
    #[arg(default_value = ".")]
    root: PathBuf,
}

fn main() -> anyhow::Result<ExitCode> {
    let root = Arguments::parse().root;
    let mut found = house::violations(&root)?;
    if root.join("Cargo.lock").exists() {
        found.extend(house::crossings(&root)?);
    }
    let mut out = std::io::stdout().lock();
    for line in &found {
        writeln!(out, "{line}")?;
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
