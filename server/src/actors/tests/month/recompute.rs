//! What people take along, counted again by a program that shares nothing with the server.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use aegis_common::arbiter::Choice;
use aegis_common::escrow::record::{Beginning, Record};
use aegis_common::escrow::state::Escrow;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::wire::account::Reputation;
use aegis_common::wire::arbiter::AssignmentView;
use aegis_common::wire::escrow::EscrowView;
use serde_json::{Value, json};

use super::{Live, Month};

/// Traders with the most escrows, and as many of the arbiters.
const PEOPLE: usize = 6;

/// Exports what some people have, in the form of `aegis export`, and has it counted again; how many escrows those were.
pub async fn all(month: &Month, live: &Live, parties: &BTreeMap<EscrowId, [UserId; 3]>) -> usize {
    let mut of: BTreeMap<UserId, Vec<EscrowId>> = BTreeMap::new();
    for (id, parties) in parties {
        parties.iter().for_each(|user| of.entry(*user).or_default().push(*id));
    }
    let mut numbers: Vec<usize> = (0..month.size.users).collect();
    numbers.sort_by_key(|number| std::cmp::Reverse(of[&month.people[*number].party.user_id].len()));
    numbers.truncate(PEOPLE);
    numbers.extend((month.size.users..month.people.len()).take(PEOPLE));
    let (mut escrows, mut sums) = (0, BTreeMap::<String, u64>::new());
    for number in numbers {
        let dir = tempfile::tempdir().unwrap();
        let party = &month.people[number].party;
        let tally = live.server.store.tally(party.user_id).await.unwrap();
        let reputation = serde_json::to_value(Reputation::of(&tally, month.began)).unwrap();
        for (name, count) in reputation.as_object().unwrap() {
            *sums.entry(name.clone()).or_default() += count.as_u64().unwrap_or_default();
        }
        let account = json!({"id": party.user_id, "username": party.username, "reputation": reputation});
        write(&dir.path().join("account.json"), &account);
        std::fs::create_dir(dir.path().join("escrows")).unwrap();
        for id in &of[&party.user_id] {
            write(&dir.path().join(format!("escrows/{id}.json")), &exported(month, live, *id).await);
        }
        escrows += of[&party.user_id].len();
        assert_eq!(recompute(dir.path()), Ok(of[&party.user_id].len()), "{}", party.username);
        lies(dir.path(), &account, of[&party.user_id][0]);
    }
    for name in ["released", "refunded", "split", "disputed", "won", "lost", "arbitrated", "ruled"] {
        assert!(sums[name] > 0, "nothing was {name}");
    }
    escrows
}

async fn exported(month: &Month, live: &Live, id: EscrowId) -> Value {
    let row = live.server.store.escrow(id).await.unwrap().unwrap();
    let escrow: Escrow = serde_json::from_str(&row.snapshot).unwrap();
    let made = live.server.store.assignment(id).await.unwrap().unwrap();
    let choice: Choice = serde_json::from_str(&made.choice).unwrap();
    let (arbiter, replaces) = (made.arbiter_id, made.replaces);
    let record = Record { beginning: Beginning::of(&escrow), journal: live.server.journal(id).await };
    json!({
        "record": record,
        "assignment": AssignmentView { escrow_id: id, arbiter, replaces, choice: choice.shown() },
        "view": EscrowView::of(&escrow, row.version, month.universe.chain.height()),
    })
}

/// One more escrow that was released, and an arbiter who was not the one to be chosen.
fn lies(dir: &Path, account: &Value, id: EscrowId) {
    let mut lie = account.clone();
    lie["reputation"]["released"] = json!(account["reputation"]["released"].as_u64().unwrap() + 1);
    write(&dir.join("account.json"), &lie);
    assert!(recompute(dir).is_err(), "a reputation is believed");
    write(&dir.join("account.json"), account);
    let path = dir.join(format!("escrows/{id}.json"));
    let mut escrow: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    escrow["record"]["beginning"]["contract"]["arbiter"]["userId"] = json!(UserId(uuid::Uuid::nil()));
    write(&path, &escrow);
    assert!(recompute(dir).is_err(), "an arbiter is believed");
}

/// How many assignments the script computed again, or what it says against them.
fn recompute(dir: &Path) -> Result<usize, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/recompute");
    let ran = Command::new(script).arg(dir).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let assignments = said.split(' ').next().and_then(|count| count.parse().ok());
    assignments
        .filter(|_| ran.status.success())
        .ok_or_else(|| String::from_utf8_lossy(&ran.stderr).into_owned())
}

fn write(path: &Path, document: &Value) {
    std::fs::write(path, serde_json::to_vec(document).unwrap()).unwrap();
}
