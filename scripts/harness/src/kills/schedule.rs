//! Where to kill whom: drawn from a seed, spread over every kind of statement and every moment.

use std::collections::HashMap;
use std::fmt;

use aegis_common::escrow::statement::{Act, Statement};

use crate::scenario::Story;

/// Exchanges of a participant's program that are sure to come; two stories have several hundreds each.
const EXCHANGES: std::ops::Range<u64> = 10..130;

/// Whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The server.
    Server,
    /// The person whose exchange it is: its program, and the command that speaks.
    Participant {
        /// Whether its wallet server dies with it, or is left behind.
        with_wallet: bool,
    },
}

/// At which moment of an exchange. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// The request is lost.
    Before,
    /// So long after the request went to the server, which may be at work on it.
    Amid(u64),
    /// The server has answered; the answer is lost.
    After,
    /// So long after the answer has passed: most likely in the middle of other work.
    Later(u64),
}

/// In which exchange.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// That posts the n-th statement of a kind, from 0, over all escrows; see [`label`].
    Statement(String, u32),
    /// That is somebody's n-th, counted from the beginning of the stories.
    Exchange(String, u64),
}

/// One kill.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Point {
    /// In which exchange.
    pub place: Place,
    /// At which moment of it.
    pub when: When,
    /// Whom.
    pub target: Target,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target {
            Target::Server => f.write_str("the server dies ")?,
            Target::Participant { with_wallet: true } => f.write_str("program and wallet die ")?,
            Target::Participant { with_wallet: false } => {
                f.write_str("the program dies, its wallet lives on, ")?;
            }
        }
        match self.when {
            When::Before => f.write_str("before the server has ")?,
            When::Amid(millis) => write!(f, "{millis} ms into ")?,
            When::After => f.write_str("before the answer to ")?,
            When::Later(millis) => write!(f, "{millis} ms after ")?,
        }
        match &self.place {
            Place::Statement(label, nth) => write!(f, "{label} #{nth}"),
            Place::Exchange(person, nth) => write!(f, "{person}'s exchange {nth}"),
        }
    }
}

/// A statement's kind; rounds by their number.
pub fn label(statement: &Statement) -> String {
    match &statement.act {
        Act::Round { round, .. } => format!("round {round}"),
        act => act.kind().to_owned(),
    }
}

/// The kinds a story is sure to have, with their number; [`CREATE`] for its creation. None of the stories in which
/// somebody's program is stopped on purpose.
fn said(story: Story) -> Vec<(&'static str, u32)> {
    let own: &[(&str, u32)] = match story {
        Story::Release => &[("confirm", 2)],
        Story::Reorganised => &[("confirm", 1)],
        Story::DisputeSplit => &[("confirm", 1), ("dispute", 1), ("evidence", 1), ("ruling", 1)],
        Story::CosignedSplit => &[("settle", 2)],
        Story::ExpiryRefund => &[],
        Story::TraderGone | Story::ArbiterGone | Story::StaleNonces => return Vec::new(),
    };
    let all = [(CREATE, 1), ("accept", 3), ("round 1", 3), ("round 2", 3), ("round 3", 3), ("attest", 3)];
    all.into_iter().chain([("sync", 2), ("propose", 1), ("approve", 1)]).chain(own.iter().copied()).collect()
}

/// The label of the request that makes an escrow; it is no statement, and only the server is killed in it: a person who
/// gives that command again means another escrow.
pub const CREATE: &str = "create";

/// Numbers from a seed (SplitMix64, as in Java's `SplittableRandom`).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The bias of a remainder does not matter here.
        (z ^ (z >> 31)) % bound.max(1)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap_or_default();
            items.swap(last, other);
        }
    }

    fn target(&mut self, server_only: bool) -> Target {
        match if server_only { 0 } else { self.below(4) } {
            0 | 1 => Target::Server,
            2 => Target::Participant { with_wallet: false },
            _ => Target::Participant { with_wallet: true },
        }
    }
}

/// That many different points in those stories: four fifths at statements, every kind in its turn, and the rest at any
/// exchange. Fewer only where the stories have not as many.
pub fn schedule(seed: u64, kills: usize, stories: &[Story]) -> Vec<Point> {
    let mut draw = Draw(seed);
    let mut counts: HashMap<&str, u32> = HashMap::new();
    for (label, count) in stories.iter().flat_map(|story| said(*story)) {
        *counts.entry(label).or_default() += count;
    }
    let mut kinds: Vec<(&str, Vec<Point>)> = Vec::new();
    let mut counts: Vec<(&str, u32)> = counts.into_iter().collect();
    // The order of a hash map is no seed's.
    counts.sort_unstable();
    for (label, count) in counts {
        let mut points = Vec::new();
        for nth in 0..count {
            let moments = [
                When::Before,
                When::Amid(draw.below(12)),
                When::After,
                When::Later(50 * (1 + draw.below(50))),
            ];
            for when in moments {
                let target = draw.target(label == CREATE || matches!(when, When::Amid(_)));
                points.push(Point { place: Place::Statement(label.to_owned(), nth), when, target });
            }
        }
        draw.shuffle(&mut points);
        kinds.push((label, points));
    }
    draw.shuffle(&mut kinds);
    let mut points = Vec::new();
    while points.len() < kills - kills / 5 && kinds.iter().any(|(_, left)| !left.is_empty()) {
        for (_, left) in &mut kinds {
            points.extend(left.pop().filter(|_| points.len() < kills - kills / 5));
        }
    }
    let mut people: Vec<&str> = stories
        .iter()
        .map(|story| story.deal())
        .flat_map(|deal| [deal.buyer, deal.seller, deal.arbiter])
        .collect();
    people.sort_unstable();
    people.dedup();
    for _ in points.len()..kills {
        let who = usize::try_from(draw.below(people.len() as u64)).unwrap_or_default();
        let Some(person) = people.get(who) else { break };
        let nth = EXCHANGES.start + draw.below(EXCHANGES.end - EXCHANGES.start);
        let when = match draw.below(3) {
            0 => When::Before,
            1 => When::After,
            _ => When::Later(20 * (1 + draw.below(100))),
        };
        let place = Place::Exchange((*person).to_owned(), nth);
        points.push(Point { place, when, target: draw.target(false) });
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORIES: [Story; 3] = [Story::Release, Story::DisputeSplit, Story::CosignedSplit];

    #[test]
    fn a_seed_gives_the_same_points_again_and_another_gives_others() {
        let first = schedule(7, 50, &STORIES);
        assert_eq!(first, schedule(7, 50, &STORIES));
        assert_ne!(first, schedule(8, 50, &STORIES));
        assert_eq!(first.len(), 50);
    }

    #[test]
    fn a_sample_as_small_as_the_kinds_meets_every_kind() {
        let points = schedule(1, 20, &STORIES);
        for kind in ["accept", "round 1", "round 2", "round 3", "attest", "confirm", "dispute", "settle"]
            .into_iter()
            .chain(["ruling", "sync", "propose", "approve", CREATE])
        {
            let met = |point: &Point| matches!(&point.place, Place::Statement(label, _) if label == kind);
            assert!(points.iter().any(met), "{kind}");
        }
    }

    #[test]
    fn server_and_participants_die_at_every_moment() {
        let points = schedule(3, 50, &STORIES);
        let count = |wanted: fn(&Point) -> bool| points.iter().filter(|point| wanted(point)).count();
        assert!(count(|point| point.target == Target::Server) >= 15);
        assert!(count(|point| point.target != Target::Server) >= 12);
        assert!(count(|point| point.when == When::Before) >= 4);
        assert!(count(|point| point.when == When::After) >= 4);
        assert!(count(|point| matches!(point.when, When::Amid(_))) >= 4);
        assert!(count(|point| matches!(point.when, When::Later(_))) >= 4);
    }
}
