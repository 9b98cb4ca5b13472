//! The tables as Diesel sees them are those that both sets of migrations make.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::source::{self, File};

type Tables = BTreeMap<String, BTreeSet<String>>;

const SCHEMA: &str = "server/src/store/schema.rs";

/// Differences between `schema.rs` and the migrations, and between the names of the two sets.
pub fn check(_root: &Path, files: &[File]) -> Result<Vec<String>> {
    let Some(schema) = files.iter().find(|file| file.path == SCHEMA) else { return Ok(Vec::new()) };
    let wanted = of_schema(&source::code_only(&schema.text));
    let mut found = Vec::new();
    if wanted.is_empty() {
        found.push(format!("{SCHEMA}: no tables were found"));
    }
    let mut names: Vec<BTreeSet<&str>> = Vec::new();
    for database in ["sqlite", "postgres"] {
        let folder = format!("migrations/{database}/");
        let ups: Vec<&File> = files
            .iter()
            .filter(|file| file.path.starts_with(&folder) && file.path.ends_with("/up.sql"))
            .collect();
        names.push(ups.iter().filter_map(|file| file.path.split('/').nth(2)).collect());
        let mut made = Tables::new();
        for file in ups {
            for problem in apply(&file.text, &mut made) {
                found.push(format!("{}: {problem}", file.path));
            }
        }
        found.extend(differences(&wanted, &made).into_iter().map(|problem| format!("{folder}: {problem}")));
    }
    if let [one, other] = names.as_slice() {
        let single = one.symmetric_difference(other);
        found.extend(single.map(|name| format!("migrations: {name} exists for one database only")));
    }
    Ok(found)
}

fn differences(wanted: &Tables, made: &Tables) -> Vec<String> {
    let none = BTreeSet::new();
    let mut found = Vec::new();
    let tables: BTreeSet<&String> = wanted.keys().chain(made.keys()).collect();
    for table in tables {
        let (want, have) = (wanted.get(table).unwrap_or(&none), made.get(table).unwrap_or(&none));
        found.extend(want.difference(have).map(|column| format!("{table}.{column} is in schema.rs only")));
        found.extend(have.difference(want).map(|column| format!("{table}.{column} is not in schema.rs")));
    }
    found
}

/// `table! { name (key) { column -> Type, … } }`
fn of_schema(code: &str) -> Tables {
    let mut tables = Tables::new();
    for block in code.split("table!").skip(1) {
        let mut parts = block.splitn(3, '{');
        let (Some(_), Some(head), Some(body)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let name =
            head.trim().split(|c: char| !c.is_alphanumeric() && c != '_').find(|word| !word.is_empty());
        let body = body.split('}').next().unwrap_or_default();
        let columns = body.lines().filter_map(|line| Some(line.split_once("->")?.0.trim().to_owned()));
        if let Some(name) = name {
            tables.insert(name.to_owned(), columns.collect());
        }
    }
    tables
}

/// Applies a migration to the tables as far as columns are concerned; what it can't follow is reported.
fn apply(sql: &str, tables: &mut Tables) -> Vec<String> {
    let mut problems = Vec::new();
    let bare: String =
        sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    for statement in bare.split(';') {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let upper: Vec<String> = words.iter().map(|word| word.to_uppercase()).collect();
        let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
        match upper.as_slice() {
            ["CREATE", "TABLE", ..] => match created(statement) {
                Some((name, columns)) => {
                    tables.insert(name, columns);
                }
                None => problems.push(format!("can't read: {}", words.join(" "))),
            },
            ["DROP", "TABLE", .., _] => {
                tables.remove(&identifier(words.last().copied().unwrap_or_default()));
            }
            ["ALTER", "TABLE", _, "ADD", "COLUMN", ..] => {
                let (table, column) = (identifier(words[2]), words.get(5).copied().unwrap_or_default());
                tables.entry(table).or_default().insert(identifier(column));
            }
            ["ALTER", "TABLE", _, "DROP", "COLUMN", ..] => {
                let (table, column) = (identifier(words[2]), words.get(5).copied().unwrap_or_default());
                tables.entry(table).or_default().remove(&identifier(column));
            }
            ["ALTER", "TABLE", _, "RENAME", "TO", ..] => {
                if let Some(columns) = tables.remove(&identifier(words[2])) {
                    tables.insert(identifier(words.get(5).copied().unwrap_or_default()), columns);
                }
            }
            ["ALTER", "TABLE", _, "RENAME", ..] => {
                problems.push(format!("teach tables.rs to follow: {}", words.join(" ")));
            }
            _ => {}
        }
    }
    problems
}

fn identifier(word: &str) -> String {
    word.trim_matches(['"', '`', '(', ',']).split('(').next().unwrap_or_default().to_lowercase()
}

fn created(statement: &str) -> Option<(String, BTreeSet<String>)> {
    let (head, body) = statement.split_once('(')?;
    let body = body.rsplit_once(')')?.0;
    let name = identifier(head.split_whitespace().last()?);
    let mut columns = BTreeSet::new();
    let (mut depth, mut start) = (0i32, 0);
    let ends = body.char_indices().chain([(body.len(), ',')]);
    for (at, c) in ends {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                let item = body.get(start..at).unwrap_or_default().trim();
                let first = item.split_whitespace().next().unwrap_or_default();
                let constraint = ["PRIMARY", "UNIQUE", "CHECK", "CHECK(", "FOREIGN", "CONSTRAINT", "EXCLUDE"];
                let word = first.split('(').next().unwrap_or_default().to_uppercase();
                if !first.is_empty() && !constraint.contains(&word.as_str()) {
                    columns.insert(identifier(first));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    Some((name, columns))
}
