//! Scenarios end as their contracts say, to the piconero; and from everything the server ever saw of them, no spend
//! share can be recovered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use aegis_harness::scenario::{self, Story};
use aegis_harness::scratch::Scratch;
use aegis_harness::secrets::{EarlyKeys, Search, seen_by_server, shares};
use aegis_harness::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn scenarios_settle_exactly_and_nothing_the_server_saw_of_them_holds_a_spend_share() {
    let dir = Scratch::new().unwrap();
    let mut plan = scenario::plan(dir.path(), true);
    plan.relay = true;
    plan.settings = |settings| settings.log = "trace".to_owned();
    let world = World::start(&plan).await.unwrap();
    // All of them under `scripts/test --all`; else a ruling, a settlement and a refused signature.
    let stories: &[Story] = match std::env::var_os("AEGIS_E2E_ALL") {
        Some(_) => &Story::ALL,
        None => &[Story::DisputeSplit, Story::CosignedSplit, Story::StaleNonces],
    };
    let early = EarlyKeys::watch(&world).unwrap();
    let report = scenario::tell(&world, stories).await;
    assert!(report.is_good(), "{:?}\n{}", report.failures, world.timeline.lines().join("\n"));
    world.rest().await.unwrap();

    let shares = shares(&world, &early).await.unwrap();
    // Three parties in every escrow, each with a share, the two keys it is made of, and the key they come from.
    assert_eq!(shares.len(), stories.len() * 12);
    let evidence = seen_by_server(&world).await.unwrap();
    let bytes: usize = evidence.iter().map(|(_, piece)| piece.len()).sum();
    assert!(bytes > 1 << 20, "only {bytes} bytes of evidence were gathered");
    let search = Search::new(&shares);
    let pieces = || evidence.iter().map(|(place, piece)| (place.as_str(), piece.as_slice()));
    assert_eq!(search.in_all(pieces()), []);

    // The search is not blind: shares planted in the same evidence are found, every one.
    let mut planted = evidence.first().unwrap().1.clone();
    let middle = planted.len() / 2;
    let all: String = shares.iter().map(|share| format!(" {} ", hex::encode(share.secret))).collect();
    planted.splice(middle..middle, all.into_bytes());
    let found = search.in_piece("planted", &planted);
    // Two signers hold each key of a 2-of-3 wallet; it is reported as one's or the other's.
    for share in &shares {
        let holders = shares.iter().filter(|other| other.secret == share.secret);
        let is_found = holders.into_iter().any(|holder| found.iter().any(|f| f.share == holder.owner));
        assert!(is_found, "{} was planted and not found", share.owner);
    }
}
