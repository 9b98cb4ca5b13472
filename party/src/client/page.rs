//! A page of the transcript, read entry by entry, so that one that can't be read is named.

use std::fmt;

use aegis_common::escrow::statement::StatementRef;
use aegis_common::role::Role;
use aegis_common::wire::escrow::TranscriptEntry;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde_json::Value;

/// Longest kind that is repeated to the person; the longest known has seven letters.
const MAX_KIND: usize = 16;

#[derive(serde::Deserialize)]
pub(super) struct Page {
    pub(super) entries: Entries,
    pub(super) next: Option<i64>,
}

pub(super) struct Entries(pub(super) Vec<TranscriptEntry>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("signed statements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Entries, A::Error> {
        let mut entries: Vec<TranscriptEntry> = Vec::new();
        loop {
            let next = from.next_element::<Value>().map_err(|error| {
                let before = entries.last().map(|entry| StatementRef::from(&entry.signed.statement));
                let after = before.map_or_else(|| "the first".to_owned(), |before| format!("after {before}"));
                A::Error::custom(format!("entry {}, {after}, is not a statement: {error}", entries.len() + 1))
            })?;
            let Some(value) = next else { return Ok(Entries(entries)) };
            let name = named(&value);
            entries.push(serde_json::from_value(value).map_err(|error| {
                A::Error::custom(format!("entry {}, {name}, is not a statement: {error}", entries.len() + 1))
            })?);
        }
    }
}

/// What an entry that is no statement says of itself, as far as it can be read.
fn named(entry: &Value) -> String {
    let text = |field| entry.pointer(&format!("/signed/statement/{field}")).and_then(Value::as_str);
    let role = text("role").and_then(|role| Role::ALL.into_iter().find(|known| known.to_string() == role));
    let role = role.map_or_else(|| "somebody".to_owned(), |role| format!("the {role}"));
    let seq = entry.pointer("/signed/statement/seq").and_then(Value::as_u64);
    let seq = seq.map_or_else(|| "?".to_owned(), |seq| seq.to_string());
    let plain = |kind: &&str| kind.len() <= MAX_KIND && kind.bytes().all(|b| b.is_ascii_alphabetic());
    let kind = text("kind").filter(plain).unwrap_or("?");
    format!("{role}'s statement {seq} ({kind})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        serde_json::from_str::<Page>(text).err().unwrap().to_string()
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_named_by_what_it_says_of_itself() {
        let bad = r#"{"signed":{"statement":{"role":"seller","seq":3,"kind":"round"}}}"#;
        let said = refused(&format!(r#"{{"entries":[{bad}],"next":null}}"#));
        assert!(said.contains("entry 1, the seller's statement 3 (round), is not a statement"), "{said}");
        let said = refused(r#"{"entries":[{"signed":{"statement":{"role":"\u001b","kind":"x y"}}}]}"#);
        assert!(said.contains("entry 1, somebody's statement ? (?), is not"), "{said}");
    }

    #[test]
    fn broken_json_is_named_by_its_place() {
        assert!(refused(r#"{"entries":[{"signed" "#).contains("entry 1, the first, is not a statement"));
    }
}
