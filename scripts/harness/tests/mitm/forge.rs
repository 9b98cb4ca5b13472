//! Mutations of a transcript: what is shown instead of the truth, and which statements may be named for it.

use aegis_common::escrow::statement::{Act, SignedStatement, Statement};
use aegis_common::wire::escrow::TranscriptEntry;
use serde_json::{Value, json};

use crate::mallory::Mallory;
use crate::rng::Rng;

/// The ways to lie about a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    FlipBit,
    FlipPayloadBit,
    FlipSignatureBit,
    FlipRawByte,
    ChangeNumber,
    SwapAuthors,
    SwapPlaces,
    SwapSignatures,
    OwnMessage,
    OwnMessageOldSignature,
    SignAgain,
    CopyOther,
    ReplayEscrow,
    ReplayEscrowPatched,
    ReplayRound,
    ReplayStatement,
    OtherThreshold,
    OtherAddress,
    OtherAddressSigned,
    Drop,
    Duplicate,
    DuplicateLater,
    Reorder,
    TruncateAndAdd,
    VersionBack,
    ForgetSeen,
    CutPrev,
    RemoveField,
}

impl Way {
    pub const ALL: [Self; 28] = [
        Self::FlipBit,
        Self::OwnMessage,
        Self::ReplayEscrow,
        Self::OtherThreshold,
        Self::SwapAuthors,
        Self::FlipPayloadBit,
        Self::FlipSignatureBit,
        Self::FlipRawByte,
        Self::ChangeNumber,
        Self::SwapPlaces,
        Self::SwapSignatures,
        Self::OwnMessageOldSignature,
        Self::SignAgain,
        Self::CopyOther,
        Self::ReplayEscrowPatched,
        Self::ReplayRound,
        Self::ReplayStatement,
        Self::OtherAddress,
        Self::OtherAddressSigned,
        Self::Drop,
        Self::Duplicate,
        Self::DuplicateLater,
        Self::Reorder,
        Self::TruncateAndAdd,
        Self::VersionBack,
        Self::ForgetSeen,
        Self::CutPrev,
        Self::RemoveField,
    ];
}

/// A transcript as it is shown: versions and entries as text.
#[derive(Debug, Clone)]
pub struct Shown(Vec<(i64, String)>);

impl Shown {
    pub fn of(entries: &[Value]) -> Self {
        Self(entries.iter().map(|entry| (version(entry), entry.to_string())).collect())
    }

    /// The same with other white space and the fields in another order.
    pub fn pretty(entries: &[Value]) -> Self {
        // A JSON value keeps its fields by name, the server by their order in its own types.
        let pretty = |entry: &Value| serde_json::to_string_pretty(entry).unwrap();
        Self(entries.iter().map(|entry| (version(entry), pretty(entry))).collect())
    }

    /// The page after a position.
    pub fn page(&self, after: i64) -> Vec<u8> {
        let entries = self.0.iter().filter(|(version, _)| *version > after).map(|(_, text)| text.as_str());
        format!("{{\"entries\":[{}],\"next\":null}}", entries.collect::<Vec<_>>().join(",")).into_bytes()
    }

    fn is_same(&self, truth: &[Value]) -> bool {
        let read = |text: &str| {
            serde_json::from_str::<TranscriptEntry>(text).ok().map(|entry| (entry.version, entry.signed))
        };
        let same = |(text, known): (&String, &Value)| {
            let shown = read(text);
            shown.is_some() && shown == read(&known.to_string())
        };
        self.0.len() == truth.len() && self.0.iter().map(|(_, text)| text).zip(truth).all(same)
    }
}

pub fn version(entry: &Value) -> i64 {
    entry["version"].as_i64().unwrap()
}

pub fn signed(entry: &Value) -> SignedStatement {
    serde_json::from_value(entry["signed"].clone()).unwrap()
}

fn statement(entry: &Value) -> Statement {
    signed(entry).statement
}

/// How the program names an entry.
pub fn name(entry: &Value) -> String {
    let said = &entry["signed"]["statement"];
    format!(
        "the {}'s statement {} ({})",
        said["role"].as_str().unwrap_or("?"),
        said["seq"],
        said["kind"].as_str().unwrap_or("?")
    )
}

/// A lie, told the same way whenever it is asked for.
pub struct Forged {
    pub shown: Shown,
    /// One of these texts must be in the program's words.
    pub names: Vec<String>,
}

/// What there is to lie with.
pub struct Means<'a> {
    /// The truth.
    pub truth: &'a [Value],
    /// The transcript of another escrow of the same people.
    pub other: &'a [Value],
    pub mallory: &'a Mallory,
}

/// Lies about one of the entries that `open` allows. `None` where this way does not apply to any of them.
pub fn forge(means: &Means<'_>, way: Way, open: &[usize], rng: &mut Rng) -> Option<Forged> {
    // Some choices change nothing, e.g. a hex digit's case, or find nothing to change.
    (0..60).find_map(|_| {
        let at = *rng.pick(open)?;
        let mut entries = means.truth.to_vec();
        let mut names = lie(means, way, (at, open), &mut entries, rng)?;
        let mut shown = Shown::of(&entries);
        if way == Way::FlipRawByte {
            raw(&mut shown.0[at].1, rng)?;
        }
        if way == Way::VersionBack {
            // Shown where its true version puts it: only the number lies.
            shown.0[at].0 = version(&means.truth[at]);
        }
        if shown.is_same(means.truth) {
            return None;
        }
        names.extend([name(&means.truth[at])]);
        names.extend(entries.get(at).map(name));
        // What can't be read any more is named by its place on the page: of the rest, or of the whole.
        let skipped = open.first()?;
        names.extend([at + 1, at + 1 - skipped].map(|place| format!("entry {place}, ")));
        Some(Forged { shown, names })
    })
}

fn raw(text: &mut String, rng: &mut Rng) -> Option<()> {
    let begin = text.find("\"signed\":{")? + "\"signed\":{".len();
    let end = text.rfind("},\"version\"")?;
    let place = begin + rng.below(end - begin);
    let mut bytes = std::mem::take(text).into_bytes();
    bytes[place] ^= 1 << rng.below(7);
    *text = String::from_utf8(bytes).ok()?;
    Some(())
}

/// Changes the entries. Gives further names, or `None` where there is nothing to change.
fn lie(
    means: &Means<'_>,
    way: Way,
    (at, open): (usize, &[usize]),
    entries: &mut Vec<Value>,
    rng: &mut Rng,
) -> Option<Vec<String>> {
    let said = statement(&entries[at]);
    let mallory = means.mallory;
    let of_author = |entries: &[Value], from: usize| -> Vec<usize> {
        (from..entries.len()).filter(|i| *i != at && statement(&entries[*i]).role == said.role).collect()
    };
    let mut names = Vec::new();
    match way {
        Way::FlipBit => flip(&mut entries[at]["signed"], "", rng)?,
        Way::FlipPayloadBit => flip(&mut entries[at]["signed"]["statement"], "payload", rng)?,
        Way::FlipSignatureBit => flip(&mut entries[at]["signed"], "signature", rng)?,
        Way::FlipRawByte => {}
        Way::ChangeNumber => change_number(&mut entries[at]["signed"]["statement"], rng)?,
        Way::SwapAuthors => {
            let others: Vec<_> =
                (0..entries.len()).filter(|i| statement(&entries[*i]).role != said.role).collect();
            let other = *rng.pick(&others)?;
            for field in ["author", "role"] {
                let (one, two) = (
                    entries[at]["signed"]["statement"][field].take(),
                    entries[other]["signed"]["statement"][field].take(),
                );
                entries[at]["signed"]["statement"][field] = two;
                entries[other]["signed"]["statement"][field] = one;
            }
            names.extend([name(&means.truth[other]), name(&entries[other])]);
        }
        Way::SwapPlaces | Way::SwapSignatures => {
            let candidates = match way {
                Way::SwapPlaces => of_author(entries, 0),
                _ => (0..entries.len()).filter(|i| *i != at).collect(),
            };
            let other = *rng.pick(&candidates)?;
            let pointer = if way == Way::SwapPlaces { "/signed" } else { "/signed/signature" };
            let one = entries[at].pointer(pointer)?.clone();
            let two = std::mem::replace(entries[other].pointer_mut(pointer)?, one);
            *entries[at].pointer_mut(pointer)? = two;
            names.extend([name(&means.truth[other]), name(&entries[other])]);
        }
        Way::OwnMessage | Way::OwnMessageOldSignature | Way::CopyOther | Way::ReplayRound => {
            let Act::Round { attempt, round, message } = said.act.clone() else { return None };
            let earlier = |want: &dyn Fn(&Statement, u8) -> bool| {
                means.truth.iter().map(statement).find_map(|other| match &other.act {
                    Act::Round { round: theirs, message, .. } if want(&other, *theirs) => {
                        Some(message.clone())
                    }
                    _ => None,
                })
            };
            let message = match way {
                Way::CopyOther => earlier(&|other, theirs| other.role != said.role && theirs == round)?,
                Way::ReplayRound => earlier(&|other, theirs| other.role == said.role && theirs < round)?,
                _ if mallory.message(round) != message => mallory.message(round),
                _ => return None,
            };
            let act = Act::Round { attempt, round, message };
            let own = mallory.sign(Statement { act, ..said });
            if way == Way::OwnMessage || way == Way::CopyOther {
                entries[at]["signed"] = own;
            } else {
                entries[at]["signed"]["statement"] = own["statement"].clone();
            }
        }
        Way::SignAgain => entries[at]["signed"] = mallory.sign(said),
        Way::ReplayEscrow | Way::ReplayEscrowPatched => {
            let like = |entry: &&Value| {
                let other = statement(entry);
                way == Way::ReplayEscrow || (other.role, other.act.kind()) == (said.role, said.act.kind())
            };
            let candidates: Vec<_> = means.other.iter().filter(like).collect();
            entries[at]["signed"] = rng.pick(&candidates)?["signed"].clone();
            if way == Way::ReplayEscrowPatched {
                for field in ["escrowId", "contractHash", "seq", "prev", "seen"] {
                    let right = means.truth[at]["signed"]["statement"][field].clone();
                    entries[at]["signed"]["statement"][field] = right;
                }
            }
        }
        Way::ReplayStatement => {
            let before: Vec<_> = of_author(entries, 0).into_iter().filter(|i| *i < at).collect();
            entries[at]["signed"] = entries[*rng.pick(&before)?]["signed"].clone();
        }
        Way::OtherThreshold | Way::OtherAddress | Way::OtherAddressSigned => {
            let Act::Attest { attempt, address, threshold, total, ready } = said.act.clone() else {
                return None;
            };
            let act = match way {
                Way::OtherThreshold => match rng.below(4) {
                    0 => {
                        Act::Attest { attempt, address, threshold: 1 + 2 * rng.below(2) as u8, total, ready }
                    }
                    1 => {
                        Act::Attest { attempt, address, threshold, total: 2 + 2 * rng.below(2) as u8, ready }
                    }
                    2 => Act::Attest { attempt, address, threshold: rng.below(256) as u8, total: 0, ready },
                    _ => Act::Attest { attempt, address, threshold, total, ready: false },
                },
                _ => Act::Attest { attempt, address: mallory.address, threshold, total, ready },
            };
            let own = mallory.sign(Statement { act, ..said });
            match way == Way::OtherAddressSigned || (way == Way::OtherThreshold && rng.below(2) == 0) {
                true => entries[at]["signed"] = own,
                false => entries[at]["signed"]["statement"] = own["statement"].clone(),
            }
        }
        Way::Drop => {
            let hash = said.hash().ok();
            let later = entries.iter().skip(at + 1).map(statement);
            let mut later = later.filter(|other| other.role == said.role || other.seen.of(said.role) == hash);
            later.next()?;
            names.extend(entries.iter().skip(at + 1).map(name));
            entries.remove(at);
        }
        Way::Duplicate => entries.insert(at, entries[at].clone()),
        Way::DuplicateLater => {
            let mut again = entries[at].clone();
            again["version"] = json!(version(entries.last()?) + 1);
            entries.push(again);
        }
        Way::Reorder => {
            let other = *rng.pick(open)?;
            if other == at {
                return None;
            }
            let (from, to) = (at.min(other), at.max(other));
            names.extend(entries.iter().take(to + 1).skip(from).map(name));
            entries.swap(at, other);
        }
        Way::TruncateAndAdd => {
            let last = entries.last()?.clone();
            entries.truncate(at);
            let mut added = means.truth[at].clone();
            added["version"] = last["version"].clone();
            added["signed"] = mallory.sign(Statement { act: statement(rng.pick(means.truth)?).act, ..said });
            names.push(name(&added));
            entries.push(added);
        }
        Way::VersionBack => {
            let before = version(entries.get(at.checked_sub(1)?)?);
            entries[at]["version"] = json!(before - rng.below(3) as i64);
        }
        Way::ForgetSeen => {
            let seen = entries[at]["signed"]["statement"]["seen"].as_object_mut()?;
            let known: Vec<_> = seen.keys().cloned().collect();
            seen.remove(rng.pick(&known)?);
        }
        Way::CutPrev => entries[at]["signed"]["statement"]["prev"] = Value::Null,
        Way::RemoveField => {
            let object = entries[at]["signed"]["statement"].as_object_mut()?;
            let known: Vec<_> = object.keys().cloned().collect();
            object.remove(rng.pick(&known)?);
        }
    }
    Some(names)
}

/// Flips a bit of a string somewhere below `value` whose path contains `part`.
fn flip(value: &mut Value, part: &str, rng: &mut Rng) -> Option<()> {
    let mut places = Vec::new();
    strings(value, String::new(), &mut places);
    places.retain(|place| place.contains(part));
    let place = rng.pick(&places)?;
    let text = value.pointer_mut(place)?;
    let mut bytes = text.as_str()?.as_bytes().to_vec();
    let at = rng.below(bytes.len());
    *bytes.get_mut(at)? ^= 1 << rng.below(7);
    *text = json!(String::from_utf8(bytes).ok()?);
    Some(())
}

fn strings(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(path),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| strings(value, format!("{path}/{name}"), found))
        }
        _ => {}
    }
}

fn change_number(said: &mut Value, rng: &mut Rng) -> Option<()> {
    let all = ["/seq", "/payload/attempt", "/payload/round", "/payload/threshold", "/payload/total"];
    let there: Vec<_> = all.into_iter().filter(|place| said.pointer(place).is_some()).collect();
    let number = said.pointer_mut(rng.pick(&there)?)?;
    let by = 1 + rng.below(3) as i64;
    *number = json!(number.as_i64()? + if rng.below(2) == 0 { by } else { -by });
    Some(())
}
