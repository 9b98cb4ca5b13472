//! The files of a tree, and Rust source without its tests and comments.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// A file of the tree.
#[derive(Debug, Clone)]
pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Its text; what is no text counts as empty.
    pub text: String,
}

/// What git tracks or would track; everything below the root where there is no repository.
pub fn tracked(root: &Path) -> Result<Vec<File>> {
    let listed = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output();
    let mut paths = Vec::new();
    match listed {
        Ok(output) if output.status.success() && root.join(".git").exists() => {
            paths.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned));
        }
        _ => walk(root, root, &mut paths)?,
    }
    paths.sort();
    let read = |path: String| -> Option<File> {
        let bytes = std::fs::read(root.join(&path)).ok()?;
        Some(File { path, text: String::from_utf8(bytes).unwrap_or_default() })
    };
    // A tracked file that was just deleted is none.
    Ok(paths.into_iter().filter_map(read).collect())
}

fn walk(root: &Path, folder: &Path, into: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path: PathBuf = entry?.path();
        if path.is_dir() {
            walk(root, &path, into)?;
        } else {
            into.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// Rust source with comments and the contents of strings blanked, line by line as before.
pub fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = string_length(rest) {
            length
        } else {
            code.push(next);
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
            continue;
        };
        let (blanked, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        code.extend(blanked.chars().filter(|c| *c == '\n'));
        code.push(' ');
        rest = after;
    }
    code
}

/// The length of the string or character literal the text begins with.
fn string_length(text: &str) -> Option<usize> {
    let raw = text.strip_prefix('b').unwrap_or(text);
    if let Some(after) = raw.strip_prefix('r') {
        let hashes = after.len() - after.trim_start_matches('#').len();
        let body = after.get(hashes..)?.strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let close = body.find(&end)?;
        return Some(text.len() - body.len() + close + end.len());
    }
    if ["'\"'", "'\\\"'", "'\\''", "'/'"].iter().any(|literal| text.starts_with(literal)) {
        return Some(if text.starts_with("'\\") { 4 } else { 3 });
    }
    let body = text.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 2),
            _ => {}
        }
    }
    Some(text.len())
}

/// Code before the file's test module.
pub fn without_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod ").and_then(|at| code.get(..at)).unwrap_or(code)
}

/// Whether a file holds tests or measurements only.
pub fn is_test(path: &str) -> bool {
    path.contains("/tests/")
        || path.contains("/benches/")
        || path.ends_with("/tests.rs")
        || path.ends_with("_test.rs")
}

/// Every place where a path of a crate is named after `prefix::`: the first segments, also inside braces.
pub fn imported(code: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    let needle = format!("{prefix}::");
    for (at, _) in code.match_indices(&needle) {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let after = code.get(at + needle.len()..).unwrap_or_default();
        match after.strip_prefix('{') {
            None => found.extend(word(after)),
            Some(list) => {
                let mut depth = 1;
                let mut start = 0;
                for (position, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => {}
                        _ => continue,
                    }
                    let ends_item = (c == ',' && depth == 1) || depth == 0;
                    if ends_item {
                        found.extend(word(list.get(start..position).unwrap_or_default().trim()));
                        start = position + 1;
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    found
}

fn word(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).filter(|word| !word.is_empty()).map(str::to_owned)
}
