//! A lathe is bought by a listing; the buyer's home is lost in the middle of the payout and restored from a backup made before the
//! word that released the money; and then the buyer pays once more, and the server lies about it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]
#![allow(dead_code, reason = "the stage has more on it")]

#[path = "mitm/stage.rs"]
mod stage;

use std::collections::BTreeSet;
use std::path::Path;

use aegis_common::address::Address;
use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::deposits::Received;
use aegis_common::escrow::outcome::{Authority, Outcome};
use aegis_common::escrow::payout;
use aegis_common::escrow::state::Status;
use aegis_harness::participant::Participant;
use aegis_harness::relay::{Action, Hook, Moment, hook};
use aegis_harness::scratch::Scratch;
use aegis_harness::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_restored_from_an_older_backup_signs_afresh_and_the_payout_is_made_once() {
    let dir = Scratch::new().unwrap();
    let world = stage::world(dir.path()).await;
    let id = order(&world).await;
    stage::ready(&world, &[&id]).await;
    let alice = &world.person("alice").unwrap().program;
    let due = alice.cmd(&["fund", &id]).await.unwrap();
    let address = due["payment"]["address"].as_str().unwrap().parse().unwrap();
    let price = due["payment"]["amount"].as_str().unwrap().parse().unwrap();
    world.funds.pay(&[(address, price)]).await.unwrap();
    stage::active(&world, &id).await;
    let backup = dir.path().join("backup");
    alice.cmd(&["backup", "--to", &backup.display().to_string()]).await.unwrap();

    // The seller is away, so that the buyer's signing data waits in the transcript.
    world.person("bob").unwrap().program.stop().await.unwrap();
    alice.cmd(&["confirm", &id]).await.unwrap();
    stage::wait(&world, "the buyer's signing data", async || {
        let said = stage::transcript(&world, &id).await;
        said.iter().any(|entry| {
            let statement = &entry["signed"]["statement"];
            statement["kind"] == "sync" && statement["role"] == "buyer"
        })
    })
    .await;
    alice.stop().await.unwrap();
    let policy = std::fs::read(alice.home().join("policy.toml")).unwrap();
    std::fs::rename(alice.home(), dir.path().join("lost")).unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(&backup).arg(alice.home()).status().unwrap();
    assert!(copied.success());
    std::fs::write(alice.home().join("policy.toml"), policy).unwrap();
    let checked = alice.cmd(&["restore-check", &id, "--daemon", alice.daemon()]).await.unwrap();
    assert_eq!(checked["restores"], true);

    alice.start().unwrap();
    world.person("bob").unwrap().program.start().unwrap();
    let ended = async || stage::view(&world, &id).await.status == Status::CompletedReleased;
    stage::wait(&world, "the payout", ended).await;
    let paid = world.funds.received().await.unwrap();
    let by: BTreeSet<_> = paid.iter().map(|incoming| incoming.txid).collect();
    assert_eq!(by.len(), 1, "paid once: {paid:?}");
    let orders =
        world.person("bob").unwrap().program.cmd(&["orders", "--status", "completed"]).await.unwrap();
    assert_eq!(orders["orders"][0]["escrowId"], id.as_str(), "{orders}");
    paid_twice(&world, &id, address).await;
    taken_along(alice, &id, &dir.path()).await;
    world.rest().await.unwrap();
}

/// An order of a listing, in place of a form.
async fn order(world: &World) -> String {
    let [alice, bob] = ["alice", "bob"].map(|name| &world.person(name).unwrap().program);
    let offer =
        ["listing", "add", "--title", "a lathe", "--price", "1", "--stock", "1", "--arbiter", "carol"];
    let terms = ["--default", "release", "--expires-days", "1"];
    let listing = bob.cmd(&[&offer[..], &terms[..]].concat()).await.unwrap();
    let listing = listing["id"].as_str().unwrap().to_owned();
    let made = alice.cmd(&["order", &listing]).await.unwrap();
    let shown = bob.cmd(&["listing", "show", &listing]).await.unwrap();
    assert_eq!(shown["stock"], 0, "the last piece is held: {shown}");
    made["escrowId"].as_str().unwrap().to_owned()
}

/// What comes after the payout goes back. The arbiter signs it with the buyer: its wallet had no part in the payout and learns only
/// now what is spent.
async fn paid_twice(world: &World, id: &str, address: Address) {
    world.person("bob").unwrap().program.stop().await.unwrap();
    let again = Piconero(1_250_000_000_001);
    let price = stage::view(world, id).await.contract.amount;
    let lie = |sum, first| {
        for name in ["alice", "carol"] {
            let hook = payout_once_more(id, sum, first);
            world.person(name).unwrap().relay.as_ref().unwrap().set_hook(Some(hook));
        }
    };
    lie(again, false);
    let proposals = async || {
        let said = stage::transcript(world, id).await;
        said.iter().filter(|entry| entry["signed"]["statement"]["kind"] == "propose").count()
    };
    let before = proposals().await;
    world.funds.pay(&[(address, again)]).await.unwrap();
    // The buyer signed the payout; the arbiter had no part in it, and would sign whatever the traders' words authorise.
    stage::wait(world, "the lie to be named by both", async || {
        let named = |name, event, text| stage::has_said(world, name, id, event, &[text]);
        named("alice", "error", "leaves out what was signed for before")
            && named("carol", "asks", "that came first and funded the escrow")
    })
    .await;
    // A proposer could spend the second in place of the first, which would be there to be paid out again.
    lie(price, true);
    stage::wait(world, "the other lie to be named by both", async || {
        let named = |name, text| stage::has_said(world, name, id, "asks", &[text]);
        named("alice", "you have signed for this money")
            && named("carol", "be spent in place of what is divided")
    })
    .await;
    assert_eq!(proposals().await, before, "nobody proposed to pay it out");
    for name in ["alice", "carol"] {
        world.person(name).unwrap().relay.as_ref().unwrap().set_hook(None);
    }
    stage::wait(world, "what was paid twice to come back", async || {
        !stage::view(world, id).await.returned.is_empty()
    })
    .await;
    let view = stage::view(world, id).await;
    assert_eq!((view.status, view.returning.is_none()), (Status::CompletedReleased, true));
    let [returned] = &view.returned[..] else { panic!("{:?}", view.returned) };
    assert_eq!(returned.paid.received.total(), Some(again));
    let payee = world.person("alice").unwrap().payee;
    let received = world.funds.received().await.unwrap();
    let back: Vec<_> = received.iter().filter(|incoming| incoming.txid == returned.txid).collect();
    let [back] = &back[..] else { panic!("{received:?}") };
    assert_eq!(back.subaddress, payee, "it goes to the buyer");
    let fee = world.chain.transaction(returned.txid).await.unwrap().unwrap().fee;
    let residue = again.0 - fee - back.amount.0;
    assert!(residue <= view.contract.max_residue.0, "{residue} stayed with the escrow");
    let said = stage::transcript(world, id).await;
    let approved = said.iter().rev().find(|entry| entry["signed"]["statement"]["kind"] == "approve").unwrap();
    assert_eq!(approved["signed"]["statement"]["role"], "arbiter");
}

/// A server that never saw the payout: it has the second payment paid to the seller like the first, or says nothing of the second.
fn payout_once_more(id: &str, sum: Piconero, first: bool) -> Hook {
    let end = format!("/escrows/{id}");
    hook(move |moment, exchange| {
        let is_view =
            moment == Moment::AfterForward && exchange.method == "GET" && exchange.path.ends_with(&end);
        let Some(mut view) = is_view.then(|| exchange.response_json().ok()).flatten() else {
            return Action::Pass;
        };
        let mut lie = view["returning"].take();
        if lie.is_null() {
            return Action::Pass;
        }
        let contract: Contract = serde_json::from_value(view["contract"].clone()).unwrap();
        let received = Received { payment: sum, ..Received::default() };
        let shares = payout::shares(&contract, &received, Outcome::Release, Authority::Buyer).unwrap();
        lie["shares"] = serde_json::to_value(shares).unwrap();
        if first {
            lie["spends"] = view["payout"]["spends"].clone();
        }
        for field in ["outcome", "authority"] {
            lie[field] = view["payout"][field].clone();
        }
        view["payout"] = lie;
        view["status"] = serde_json::to_value(Status::Settling).unwrap();
        Action::Replace(view.to_string().into_bytes())
    })
}

/// What one takes along is verified offline, and counted again by a program that shares nothing with the server.
async fn taken_along(alice: &Participant, id: &str, dir: &Path) {
    let export = dir.join("export");
    alice.cmd(&["export", "--to", &export.display().to_string()]).await.unwrap();
    let file = export.join(format!("escrows/{id}.json"));
    let verified = alice.cmd(&["verify", &file.display().to_string()]).await.unwrap();
    assert_eq!(verified["status"], "COMPLETED_RELEASED");
    assert_eq!(verified["returned"].as_array().unwrap().len(), 1, "{verified}");
    let case = alice.cmd(&["case", id]).await.unwrap();
    assert!(case["buyer"].to_string().contains("says that all is well"), "{case}");
    let recompute = async || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recompute");
        tokio::process::Command::new(script).arg(&export).output().await.unwrap()
    };
    let counted = recompute().await;
    assert!(counted.status.success(), "{counted:?}");
    assert!(String::from_utf8_lossy(&counted.stdout).contains("'released': 1"), "{counted:?}");

    let text = std::fs::read_to_string(&file).unwrap();
    let lies = [
        ("\"title\": \"a lathe\"", "\"title\": \"a crane\""),
        ("\"COMPLETED_RELEASED\"", "\"COMPLETED_REFUNDED\""),
    ];
    for (truth, lie) in lies {
        assert!(text.contains(truth));
        std::fs::write(&file, text.replace(truth, lie)).unwrap();
        let refused = alice.cmd(&["verify", &file.display().to_string()]).await;
        assert!(refused.is_err(), "{lie} is believed: {refused:?}");
    }
    assert!(!recompute().await.status.success(), "the last lie shows in the sums too");
}
