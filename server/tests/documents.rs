//! What documents say about codes and tests is so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;

use aegis_common::code::Code;
use aegis_server::crypto::password::OBVIOUS;

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

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name)).unwrap()
}

/// Whether a document's `file::test` exists.
fn exists(named: &str) -> bool {
    let (file, name) = named.trim().trim_matches('`').split_once("::").unwrap_or_default();
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    has_test(&std::fs::read_to_string(root.join(file)).unwrap_or_default(), name)
}

/// ASVS 5.0.0: how many requirements of levels 1 and 2 each chapter has.
const CHAPTERS: [(&str, usize); 5] = [("6", 35), ("7", 18), ("8", 7), ("9", 7), ("11", 14)];

#[test]
fn every_requirement_of_the_checklist_is_answered_by_a_test_that_exists_or_a_reason() {
    let text = document("docs/SECURITY.md");
    let rows = text
        .split("## ASVS")
        .nth(1)
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| id"));
    let (mut ids, mut missing) = (Vec::new(), Vec::new());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let [id, level, _, how, test] = cells[..] else { panic!("not five columns: {row}") };
        assert!(["1", "2"].contains(&level), "{row}");
        let excused = how.starts_with("does not apply: ") && test.starts_with('–');
        if !excused && !exists(test) {
            missing.push(format!("{id}: there is no test {test}"));
        }
        ids.push(id.to_owned());
    }
    assert!(missing.is_empty(), "{missing:#?}");
    for (chapter, count) in CHAPTERS {
        let of = ids.iter().filter(|id| id.split('.').next() == Some(chapter)).count();
        assert_eq!(of, count, "chapter {chapter}");
    }
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len());
}

#[test]
fn the_words_that_no_password_may_be_made_of_are_those_of_the_code() {
    let text = document("docs/SECURITY.md").replace('\n', " ");
    let listed = text.split("To zxcvbn these are known, beside the account's name: ").nth(1).unwrap();
    let listed: Vec<&str> =
        listed.split(". ").next().unwrap().split(", ").map(|word| word.trim_matches('`')).collect();
    assert_eq!(listed, OBVIOUS);
}

#[test]
fn the_inventory_of_cryptography_names_every_library() {
    let text = document("docs/SECURITY.md");
    let inventory = text.split("## Cryptography").nth(1).unwrap().split("\n## ").next().unwrap();
    let libraries = [
        "aes-gcm",
        "argon2",
        "curve25519-dalek",
        "digest_auth",
        "ed25519-dalek",
        "getrandom",
        "hmac",
        "jsonwebtoken",
        "ml-kem",
        "reqwest",
        "sha1",
        "sha2",
        "sha3",
        "totp-rs",
        "webauthn-rs",
        "x25519-dalek",
    ];
    for library in libraries {
        assert!(inventory.contains(&format!("`{library}`")), "{library}");
    }
    // And no other that the programs stand on.
    let known = ["subtle", "zeroize", "zxcvbn", "rand_core"];
    for manifest in ["common/Cargo.toml", "server/Cargo.toml", "party/Cargo.toml"] {
        let text = document(manifest);
        let normal = text.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
        for name in normal.lines().filter_map(|line| line.split(['.', ' ']).next()) {
            let marks = [
                "sha", "aes", "argon", "dalek", "kem", "crypt", "rand", "totp", "auth", "jwt", "digest",
                "hmac", "zeroize",
            ];
            let is_crypto = marks.iter().any(|mark| name.contains(mark));
            assert!(!is_crypto || libraries.contains(&name) || known.contains(&name), "{manifest}: {name}");
        }
    }
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
