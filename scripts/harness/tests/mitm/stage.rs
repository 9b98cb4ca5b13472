//! Real escrows of real wallets to lie about.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aegis_common::escrow::setup::Stage;
use aegis_common::escrow::state::Status;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::wire::escrow::EscrowView;
use aegis_harness::relay::{Action, Exchange, Hook, Moment, hook};
use aegis_harness::world::{Plan, World};
use serde_json::Value;

/// Who plays which part.
pub const CAST: [(&str, Role); 3] = [("alice", Role::Buyer), ("bob", Role::Seller), ("carol", Role::Arbiter)];
const LIMIT: Duration = Duration::from_secs(420);

/// A world with a relay beside everybody.
pub async fn world(dir: std::path::PathBuf) -> World {
    let plan = Plan {
        dir,
        people: vec!["alice", "bob", "carol"],
        arbiters: vec!["carol"],
        block_time: Duration::from_millis(1500),
        settings: |settings| {
            let many = |name: &str| (name.to_owned(), "10000".to_owned());
            settings.more =
                vec![many("AEGIS_RATE_LOGINS_PER_MINUTE"), many("AEGIS_RATE_CREDENTIALS_PER_MINUTE")];
        },
        relay: true,
        quiet: true,
    };
    World::start(&plan).await.unwrap()
}

/// The buyer makes an escrow.
pub async fn create(world: &World, title: &str) -> String {
    let arguments = ["create", "--as", "buyer", "--with", "bob", "--arbiter", "carol", "--title", title];
    let terms = ["--amount", "1", "--default", "release", "--expires", "12h"];
    let made = world.person("alice").unwrap().program.cmd(&[&arguments[..], &terms[..]].concat()).await;
    made.unwrap()["id"].as_str().unwrap().to_owned()
}

/// The escrow as the server shows it to the buyer, without a relay between.
pub async fn view(world: &World, id: &str) -> EscrowView {
    let id: EscrowId = id.parse().unwrap();
    world.person("alice").unwrap().eyes.escrow(id).await.unwrap()
}

/// The whole transcript, without a relay between.
pub async fn transcript(world: &World, id: &str) -> Vec<Value> {
    let eyes = &world.person("alice").unwrap().eyes;
    let page: Value = eyes.get(&format!("/escrows/{id}/transcript?after=0&limit=50")).await.unwrap();
    assert!(page["next"].is_null(), "more than one page");
    page["entries"].as_array().unwrap().clone()
}

/// Waits until every one of these is so.
pub async fn wait(world: &World, what: &str, mut so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !so().await {
        world.must_run().unwrap();
        let late = begun.elapsed() > LIMIT;
        assert!(!late, "waited for {what}\n{}", world.timeline.lines().join("\n"));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Waits for the address of each of these escrows.
pub async fn ready(world: &World, ids: &[&str]) {
    wait(world, "the setups", async || {
        for id in ids {
            let stage = view(world, id).await.setup.stage;
            assert_ne!(stage, Stage::Stopped, "{id} is stopped");
            if stage != Stage::Ready {
                return false;
            }
        }
        true
    })
    .await;
}

/// Waits for the deposits.
pub async fn active(world: &World, id: &str) {
    wait(world, "the deposit", async || view(world, id).await.status == Status::Active).await;
}

/// Whether the person's program has said this of the escrow.
pub fn has_said(world: &World, name: &str, id: &str, event: &str, texts: &[&str]) -> bool {
    world.person(name).unwrap().program.lines().unwrap().iter().any(|line| {
        let text = line["text"].as_str().unwrap_or_default();
        line["escrow"] == id && line["event"] == event && texts.iter().any(|wanted| text.contains(wanted))
    })
}

/// The entries of a page of this escrow's transcript, if that is what the server answers here.
pub fn page_of(exchange: &Exchange, moment: Moment, id: &str) -> Option<Value> {
    let is_page = moment == Moment::AfterForward
        && exchange.status == 200
        && exchange.path.contains(&format!("/escrows/{id}/transcript"));
    is_page.then(|| exchange.response_json().ok()).flatten()
}

/// A relay that withholds the others' attestations of an escrow.
pub fn withhold_attestations(id: &str, role: Role) -> Hook {
    let (id, own) = (id.to_owned(), role.to_string());
    hook(move |moment, exchange| {
        let Some(mut page) = page_of(exchange, moment, &id) else { return Action::Pass };
        let entries = page["entries"].as_array_mut().unwrap();
        entries.retain(|entry| {
            let said = &entry["signed"]["statement"];
            said["kind"] != "attest" || said["role"] == own.as_str()
        });
        Action::Replace(page.to_string().into_bytes())
    })
}

/// What a login was answered, by the person's name. The relay repeats it: five hundred logins prove nothing more.
#[derive(Default)]
pub struct Logins(Mutex<BTreeMap<String, Vec<u8>>>);

/// The same relay, answering logins by itself.
pub fn with_login(logins: &Arc<Logins>, name: &str, inner: Hook) -> Hook {
    let (logins, name) = (Arc::clone(logins), name.to_owned());
    Arc::new(move |moment, exchange| {
        if !exchange.path.ends_with("/auth/login") {
            return inner(moment, exchange);
        }
        let mut known = logins.0.lock().unwrap();
        let action = match (moment, known.get(&name)) {
            (Moment::BeforeForward, Some(body)) => Action::Answer { status: 200, body: body.clone() },
            (Moment::AfterForward, _) if exchange.status == 200 => {
                known.insert(name.clone(), exchange.response_body);
                Action::Pass
            }
            _ => Action::Pass,
        };
        Box::pin(async move { action })
    })
}
