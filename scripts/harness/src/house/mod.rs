//! The rules of the house, checked: floors and doors, documents that name real paths, migrations in step.
//!
//! Run by `scripts/check-layers`.

mod documents;
mod doors;
mod floors;
mod source;
mod tables;

use std::path::Path;

use anyhow::Result;

/// Everything that is wrong in a tree, one line each, sorted.
pub fn violations(root: &Path) -> Result<Vec<String>> {
    let files = source::tracked(root)?;
    let mut found = Vec::new();
    for check in [floors::check, doors::check, documents::check, tables::check] {
        found.extend(check(root, &files)?);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The crates that depend on each other although they stand side by side, as `cargo tree` tells it.
pub fn crossings(root: &Path) -> Result<Vec<String>> {
    doors::crossings(root)
}

#[cfg(test)]
mod tests;
