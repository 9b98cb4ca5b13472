//! Killed anywhere, server and participants go on where they were: same outcomes, one payout, nothing lost.
//!
//! `AEGIS_KILL_SEED` repeats a run's plan. The long runs, a hundred kills and more, belong to `scripts/test --all`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use aegis_harness::kills::{Killer, Place, Target, nothing_lost, schedule};
use aegis_harness::scenario::{self, Story};
use aegis_harness::scratch::Scratch;
use aegis_harness::world::World;

const BACK: Duration = Duration::from_secs(5);
const MANY: [Story; 5] =
    [Story::Release, Story::DisputeSplit, Story::CosignedSplit, Story::Reorganised, Story::ExpiryRefund];

fn seed() -> u64 {
    match std::env::var("AEGIS_KILL_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => 20_140_418,
    }
}

/// Tells the stories while `kills` planned kills happen, and looks for what got lost.
async fn told_under_fire(seed: u64, kills: usize, stories: &[Story]) {
    let points = schedule(seed, kills, stories);
    assert_eq!(points.len(), kills, "the stories have too few points");
    let dir = Scratch::new().unwrap();
    let mut plan = scenario::plan(dir.path(), true);
    plan.relay = true;
    let world = Arc::new(World::start(&plan).await.unwrap());
    let killer = Killer::set(&world, points).unwrap();
    let report = scenario::tell(&world, stories).await;
    let tally = killer.tally().await;
    let facts = if report.is_good() { Some(nothing_lost(&world, &report).await) } else { None };

    let count =
        |wanted: &dyn Fn(&Target) -> bool| tally.done.iter().filter(|point| wanted(&point.target)).count();
    let servers = count(&|target| *target == Target::Server);
    let orphans = count(&|target| *target == Target::Participant { with_wallet: false });
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for point in &tally.done {
        let place = match &point.place {
            Place::Statement(label, _) => label.clone(),
            Place::Exchange(..) => "any exchange".to_owned(),
        };
        *places.entry(place).or_default() += 1;
    }
    let back = tally.backs.iter().max().copied().unwrap_or_default();
    let figures = format!(
        "seed {seed}: {} kills, {servers} of the server, {} of programs ({orphans} leave a wallet server behind); at {places:?}\n\
         the server was back after {:.2} s at most, {:.2} s on average; {:?}; {:.1} minutes",
        tally.done.len(),
        tally.done.len() - servers,
        back.as_secs_f64(),
        tally.backs.iter().sum::<Duration>().as_secs_f64() / tally.backs.len().max(1) as f64,
        facts.as_ref().map(|facts| facts.as_ref().ok()),
        world.timeline.elapsed().as_secs_f64() / 60.0,
    );
    writeln!(std::io::stdout().lock(), "{figures}").unwrap();
    let good =
        matches!(facts, Some(Ok(_))) && tally.errors.is_empty() && tally.done.len() == kills && back < BACK;
    if !good {
        let lines = world.timeline.lines().join("\n");
        let table = scenario::table(&report.rows);
        let (left, errors) = (tally.left, tally.errors);
        let why = facts.map(|facts| facts.err().map(|error| format!("{error:#}")));
        panic!(
            "{figures}\nstories: {:?}\nkills: {errors:?}\nnever came: {left:?}\nlost: {why:?}\n{table}\n{lines}",
            report.failures,
        );
    }
    assert!(!tally.backs.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_a_sample_of_points_every_story_ends_as_it_must_and_nothing_is_lost() {
    told_under_fire(seed(), 15, &[Story::DisputeSplit, Story::CosignedSplit]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "seven minutes; scripts/test --all"]
async fn killed_at_fifty_points_every_story_ends_as_it_must_and_nothing_is_lost() {
    told_under_fire(seed().wrapping_add(1), 52, &MANY).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "seven minutes; scripts/test --all"]
async fn killed_at_fifty_other_points_every_story_ends_as_it_must_and_nothing_is_lost() {
    told_under_fire(seed().wrapping_add(2), 52, &MANY).await;
}
