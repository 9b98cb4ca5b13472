//! Every outside system has one door, the programs stay apart, and nothing unfinished is left lying about.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::source::{self, File};

/// Crate, where it may be named, and what for.
const DOORS: &[(&str, &[&str], &str)] = &[
    ("diesel", &["server/src/store/"], "the database"),
    ("diesel_migrations", &["server/src/store/"], "the database"),
    ("r2d2", &["server/src/store/"], "the database"),
    ("actix_web_actors", &["server/src/ws/", "server/src/ws.rs"], "sockets"),
    ("monero_rpc", &["server/src/node/"], "monerod"),
    (
        "digest_auth",
        &[
            "party/src/wallet/",
            "server/src/node/",
            "server/src/integrations/wallet.rs",
            "scripts/harness/src/rpc.rs",
        ],
        "Monero's RPC",
    ),
];

/// Calls that only `party/src/wallet` may make: those that sign, or make what signing needs.
const WALLET_CALLS: &[&str] = &[
    "prepare_multisig",
    "make_multisig",
    "exchange_multisig_keys",
    "export_multisig_info",
    "import_multisig_info",
    "sign_multisig",
    "submit_multisig",
];

/// Words that mark something unfinished, cut in two so that this file does not hold them.
const UNFINISHED: &[(&str, &str)] =
    &[("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("unimple", "mented!("), ("to", "do!("), ("for n", "ow,")];

/// Doors, lint configuration, unfinished words.
pub fn check(_root: &Path, files: &[File]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in files {
        // One that is a workspace of its own has nothing to inherit from.
        let is_member = file.path.contains('/') && !file.text.contains("\n[workspace]");
        if file.path.ends_with("Cargo.toml") && is_member && !inherits_lints(&file.text) {
            found.push(format!(
                "{}: does not take the workspace's lints ([lints] workspace = true)",
                file.path
            ));
        }
        if file.path.ends_with(".rs") {
            rust(file, &mut found);
        }
        let is_source = [".rs", ".sql", ".sh", ".toml"].iter().any(|end| file.path.ends_with(end));
        if is_source || file.path.starts_with("scripts/") {
            for (number, line) in file.text.lines().enumerate() {
                for word in UNFINISHED.iter().map(|(one, two)| format!("{one}{two}")) {
                    if line.contains(&word) {
                        found.push(format!("{}:{}: says {word:?}", file.path, number + 1));
                    }
                }
            }
        }
    }
    Ok(found)
}

fn inherits_lints(manifest: &str) -> bool {
    let section = manifest.split("[lints]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section.lines().any(|line| line.split_whitespace().collect::<String>() == "workspace=true")
}

fn rust(file: &File, found: &mut Vec<String>) {
    let code = source::code_only(&file.text);
    for (name, allowed, what) in DOORS {
        let open = allowed.iter().any(|door| file.path.starts_with(door)) || source::is_test(&file.path);
        if !open && source::imported(&code, name).iter().any(|_| true) {
            found.push(format!("{}: names {name}; {what} has one door: {}", file.path, allowed.join(", ")));
        }
    }
    // Calls are strings, so the text itself is searched.
    let in_product = file.path.starts_with("party/src/") || file.path.starts_with("server/src/");
    if in_product && !file.path.starts_with("party/src/wallet/") {
        let called = WALLET_CALLS.iter().filter(|call| file.text.contains(&format!("\"{call}\"")));
        found.extend(called.map(|call| format!("{}: calls {call}; only party/src/wallet may", file.path)));
    }
    if file.path.starts_with("server/src/")
        && file.path != "server/src/lib.rs"
        && !source::is_test(&file.path)
    {
        let outside_tests = source::without_tests(&code);
        let lenient = ["unwrap_used", "expect_used", "clippy::panic"].iter().any(|lint| {
            outside_tests.contains(&format!("allow({lint}"))
                || outside_tests.contains(&format!("allow(clippy::{lint}"))
        });
        if lenient {
            found.push(format!("{}: allows panics outside of tests", file.path));
        }
    }
}

/// Whether one program's crate has come to depend on the other's, or the harness on either, or the server on code that signs
/// Monero transactions, which its tests may.
pub fn crossings(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (from, edges, never) in [
        ("aegis", "all", ["aegis-server", "aegis-harness"]),
        ("aegis-server", "all", ["aegis", "aegis-harness"]),
        ("aegis-server", "normal", ["monero-oxide", "monero-clsag"]),
        ("aegis-common", "all", ["aegis", "aegis-server"]),
        ("aegis-engine", "all", ["aegis", "aegis-server"]),
        ("aegis-harness", "all", ["aegis", "aegis-server"]),
    ] {
        let mut tree = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        tree.current_dir(root).args(["tree", "--offline", "--prefix", "none", "--edges", edges, "-p", from]);
        let output = tree.output().context("can't run cargo tree")?;
        if !output.status.success() {
            bail!("cargo tree -p {from}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        let bad = never.into_iter().filter(|name| names.contains(name));
        found.extend(bad.map(|name| format!("{from} depends on {name}; they must stand apart")));
    }
    Ok(found)
}
