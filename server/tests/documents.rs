//! What documents say about codes and tests is so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;

use aegis_common::code::Code;

/// Whether a file has a test function of this name, under an attribute of a test or in a property test.
fn has_test(text: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let marked = |at: usize| {
        lines.iter().take(at).rev().take(3).any(|line| {
            line.starts_with("#[") && line.split(['(', ']']).next().is_some_and(|name| name.ends_with("test"))
        })
    };
    lines.iter().enumerate().any(|(at, line)| line.contains(&head) && marked(at))
}

#[test]
fn every_code_and_every_test_in_the_table_of_bad_input_exists() {
    assert!(!has_test("fn helper() {}", "helper") && !has_test("#[test]\nfn other() {}", "helper"));
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let document = std::fs::read_to_string(root.join("docs/BAD-INPUT.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| case"));
    let (mut count, mut missing) = (0, Vec::new());
    for row in rows {
        let [_, _, _, code, test, _] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("not four columns: {row}");
        };
        let code = code.trim().trim_matches('`');
        if code != "–" && !Code::ALL.iter().any(|known| known.wire() == code) {
            missing.push(format!("there is no code {code}"));
        }
        let (file, name) = test.trim().trim_matches('`').split_once("::").unwrap();
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        if !has_test(&text, name) {
            missing.push(format!("{file} has no test {name}"));
        }
        count += 1;
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(count > 40, "{count} rows were found");
}
