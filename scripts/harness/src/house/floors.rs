//! A file imports only from lower floors of its crate, or from its own module.

use std::path::Path;

use anyhow::Result;

use super::source::{self, File};

type Floors = &'static [(&'static str, u8)];

/// The crates' folders, and each module's floor. A new module is given its floor here.
const CRATES: &[(&str, Floors)] =
    &[("common/src", COMMON), ("engine/src", ENGINE), ("server/src", SERVER), ("party/src", PARTY)];

const COMMON: Floors = &[
    ("schema", 0),
    ("time", 1),
    ("code", 1),
    ("hash", 1),
    ("amount", 1),
    ("role", 1),
    ("ids", 1),
    ("username", 1),
    ("language", 1),
    ("words", 1),
    ("canonical", 2),
    ("address", 2),
    ("arbiter", 3),
    ("identity", 3),
    ("multisig", 3),
    ("chain", 3),
    ("escrow", 4),
    ("reputation", 5),
    ("wire", 6),
    ("testing", 7),
    ("lib", 8),
];

const ENGINE: Floors = &[
    ("field", 0),
    ("keccak", 0),
    ("digits", 0),
    ("lanes", 1),
    ("point", 1),
    ("ladder", 2),
    ("table", 2),
    ("sums", 3),
    ("origin", 4),
    ("run", 4),
    ("lib", 5),
];

const SERVER: Floors = &[
    // What everything stands on.
    ("clock", 0),
    ("config", 0),
    ("crypto", 1),
    ("telemetry", 1),
    // One door for each outside system.
    ("store", 2),
    ("node", 2),
    ("outside", 2),
    // What the server does; use cases never import each other.
    ("accounts", 3),
    ("arbiters", 3),
    ("chain", 3),
    ("escrows", 3),
    ("integrations", 3),
    ("market", 3),
    // Who does it.
    ("actors", 4),
    // How it is reached; sockets answer as the rest of the API does.
    ("api", 5),
    ("jobs", 5),
    ("ws", 6),
    // How it is put together.
    ("app", 7),
    ("lib", 8),
    ("main", 8),
];

const PARTY: Floors = &[
    // What everything stands on.
    ("files", 0),
    ("authority", 0),
    ("policy", 0),
    // What the participant keeps secret, and what it knows of an escrow.
    ("keys", 1),
    ("book", 1),
    // One door for each outside system.
    ("wallet", 2),
    ("client", 2),
    ("daemon", 3),
    // What is done.
    ("engine", 4),
    ("cli", 5),
    ("lib", 6),
    ("main", 7),
];

fn floor(floors: Floors, module: &str) -> Option<u8> {
    floors.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// Every upward import, with both names.
pub fn check(_root: &Path, files: &[File]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (folder, floors) in CRATES {
        for file in files {
            let Some(inside) = file.path.strip_prefix(folder).and_then(|path| path.strip_prefix('/')) else {
                continue;
            };
            if !inside.ends_with(".rs") || inside.starts_with("bin/") {
                continue;
            }
            let module = inside.split(['/', '.']).next().unwrap_or_default();
            let Some(own) = floor(floors, module) else {
                found.push(format!("{}: module {module} has no floor in floors.rs", file.path));
                continue;
            };
            let code = source::code_only(&file.text);
            let code = source::without_tests(&code);
            for import in source::imported(code, "crate") {
                // An item of the crate's root, or a module of its own, is no floor.
                let Some(other) = floor(floors, &import).filter(|_| import != module) else { continue };
                if other >= own && !source::is_test(&file.path) {
                    found.push(format!(
                        "{}: {module} (floor {own}) imports {import} (floor {other}); only lower floors may be imported",
                        file.path
                    ));
                }
            }
        }
    }
    Ok(found)
}
