//! The demo's stories, told once, each to its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use aegis_harness::scenario::{self, Story};
use aegis_harness::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_story_ends_as_it_must_and_pays_everybody_to_the_piconero() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(&scenario::plan(dir.path().to_owned(), true)).await.unwrap();
    let report = scenario::tell(&world, &Story::ALL).await;
    if !report.is_good() {
        let dir = dir.keep();
        let lines = world.timeline.lines().join("\n");
        let table = scenario::table(&report.rows);
        panic!("{:?}\n{table}\n{lines}\nlogs: {}", report.failures, dir.display());
    }
    // One row at least for each story's favoured party.
    assert!(report.rows.len() >= Story::ALL.len());
}
