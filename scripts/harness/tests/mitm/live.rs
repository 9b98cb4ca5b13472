//! Lies told while all three programs set up their wallets, from the first statement on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::statement::{Act, Statement};
use aegis_harness::relay::{Action, Exchange, Hook, Moment, hook};
use aegis_harness::world::World;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::forge::signed;
use crate::mallory::Mallory;
use crate::stage::{CAST, create, has_said, page_of, ready, view, wait};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    FlippedMessage,
    OwnMessage,
    FlippedOnTheWay,
    OtherViewKey,
    EmptyReceipt,
    OtherContract,
    OtherAddress,
    Dropped,
}

impl Lie {
    const ALL: [Self; 8] = [
        Self::FlippedMessage,
        Self::OwnMessage,
        Self::FlippedOnTheWay,
        Self::OtherViewKey,
        Self::EmptyReceipt,
        Self::OtherContract,
        Self::OtherAddress,
        Self::Dropped,
    ];

    /// Who is lied to, and what that person's program must say of it.
    fn victim(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::FlippedMessage => {
                ("alice", &["the seller's statement 1 (round) does not carry its author's"])
            }
            Self::OwnMessage => ("carol", &["the seller's statement 2 (round) does not carry its author's"]),
            Self::FlippedOnTheWay => ("alice", &["(round) was not taken"]),
            Self::OtherViewKey => ("bob", &["(attest) was not taken"]),
            Self::EmptyReceipt => ("bob", &["(round) and withholds it"]),
            Self::OtherContract => ("bob", &["contract", "statement 0 (accept) was not taken"]),
            Self::OtherAddress => ("alice", &["(attest) does not carry its author's"]),
            Self::Dropped => {
                ("alice", &["(round) refers to a statement", "the seller's statement 2 (round) does not"])
            }
        }
    }

    fn is_told_to(self, name: &str) -> bool {
        self == Self::OtherAddress || self.victim().0 == name
    }

    fn tell(self, id: &str, mallory: &Mallory, moment: Moment, exchange: &Exchange) -> Action {
        if let Some(mut page) = page_of(exchange, moment, id) {
            let entries = page["entries"].as_array_mut().unwrap();
            let before = entries.clone();
            self.edit(entries, mallory);
            let is_new = *entries != before;
            return if is_new { Action::Replace(page.to_string().into_bytes()) } else { Action::Pass };
        }
        let is_view = exchange.method == "GET" && exchange.path.ends_with(&format!("/escrows/{id}"));
        if self == Self::OtherContract && is_view && moment == Moment::AfterForward {
            let mut shown = exchange.response_json().unwrap();
            shown["contract"]["amount"] = json!("2000000000000");
            let contract: Contract = serde_json::from_value(shown["contract"].clone()).unwrap();
            shown["contractHash"] = json!(contract.hash().unwrap());
            return Action::Replace(shown.to_string().into_bytes());
        }
        let posted =
            exchange.statement().filter(|_| moment == Moment::BeforeForward && exchange.path.contains(id));
        posted.map_or(Action::Pass, |said| self.intercept(&said, mallory, exchange))
    }

    fn edit(self, entries: &mut Vec<Value>, mallory: &Mallory) {
        let is = |entry: &Value, role: &str, seq: u64| {
            let said = &entry["signed"]["statement"];
            said["role"] == role && said["seq"] == seq
        };
        let of_arbiter = |entry: &Value| {
            let said = &entry["signed"]["statement"];
            said["role"] == "arbiter" && said["kind"] == "attest"
        };
        match self {
            Self::Dropped => entries.retain(|entry| !is(entry, "seller", 1)),
            Self::FlippedMessage => {
                for entry in entries.iter_mut().filter(|entry| is(entry, "seller", 1)) {
                    let message = &mut entry["signed"]["statement"]["payload"]["message"];
                    let mut text = message.as_str().unwrap().as_bytes().to_vec();
                    text[60] ^= 1;
                    *message = json!(String::from_utf8(text).unwrap());
                }
            }
            Self::OwnMessage => {
                for entry in entries.iter_mut().filter(|entry| is(entry, "seller", 2)) {
                    let said = signed(entry).statement;
                    let act = Act::Round { attempt: 1, round: 2, message: mallory.message(2) };
                    entry["signed"] = mallory.sign(Statement { act, ..said });
                }
            }
            Self::OtherAddress => {
                for entry in entries.iter_mut().filter(|entry| of_arbiter(entry)) {
                    let said = signed(entry).statement;
                    let (attempt, address) = (1, mallory.address);
                    let act = Act::Attest { attempt, address, threshold: 2, total: 3, ready: true };
                    entry["signed"] = mallory.sign(Statement { act, ..said });
                }
            }
            _ => {}
        }
    }

    fn intercept(self, said: &Statement, mallory: &Mallory, exchange: &Exchange) -> Action {
        let mut body = exchange.request_json().unwrap();
        match self {
            Self::FlippedOnTheWay if matches!(said.act, Act::Round { round: 3, .. }) => {
                let signature = &mut body["signed"]["signature"];
                let text = signature.as_str().unwrap();
                let first = if text.starts_with('0') { "1" } else { "0" };
                *signature = json!(format!("{first}{}", &text[1..]));
            }
            Self::OtherViewKey if matches!(said.act, Act::Attest { .. }) => {
                body["viewKey"] = json!(mallory.view_key)
            }
            Self::EmptyReceipt if matches!(said.act, Act::Round { round: 2, .. }) => {
                let receipt =
                    json!({"hash": said.hash().unwrap(), "version": 9, "status": "PENDING_FUNDING"});
                return Action::Answer { status: 200, body: receipt.to_string().into_bytes() };
            }
            _ => return Action::Pass,
        }
        Action::Replace(body.to_string().into_bytes())
    }
}

struct Told {
    lie: Lie,
    id: String,
    count: AtomicU64,
}

fn liar(name: &'static str, all: &Arc<Vec<Told>>, mallory: &Arc<Mallory>, honest: &Arc<AtomicBool>) -> Hook {
    let (all, mallory, honest) = (Arc::clone(all), Arc::clone(mallory), Arc::clone(honest));
    hook(move |moment, exchange| {
        let told = all.iter().find(|told| exchange.path.contains(&told.id) && told.lie.is_told_to(name));
        let Some(told) = told.filter(|_| !honest.load(Ordering::SeqCst)) else { return Action::Pass };
        let action = told.lie.tell(&told.id, &mallory, moment, exchange);
        if action != Action::Pass {
            told.count.fetch_add(1, Ordering::SeqCst);
        }
        action
    })
}

/// One escrow for each lie. Nobody shows an address while it is told; afterwards every setup completes.
pub async fn tell(world: &World, mallory: &Arc<Mallory>) {
    // The programs wait until the lies are in place: an honest relay would have carried the first statements.
    world.rest().await.unwrap();
    let mut all = Vec::new();
    for lie in Lie::ALL {
        let id = create(world, &format!("{lie:?}")).await;
        all.push(Told { lie, id, count: AtomicU64::new(0) });
    }
    let (all, honest) = (Arc::new(all), Arc::new(AtomicBool::new(false)));
    for (name, _) in CAST {
        let person = world.person(name).unwrap();
        person.relay.as_ref().unwrap().set_hook(Some(liar(name, &all, mallory, &honest)));
        person.program.start().unwrap();
    }
    let mut left: Vec<&Told> = all.iter().collect();
    wait(world, "every lie to be named", async || {
        let before = left.len();
        left.retain(|told| {
            let (victim, words) = told.lie.victim();
            !has_said(world, victim, &told.id, "error", words)
        });
        if left.len() < before {
            let open: Vec<_> = left.iter().map(|told| told.lie).collect();
            println!("mitm: {} live lies are named, not yet {open:?}", Lie::ALL.len() - left.len());
        }
        left.is_empty()
    })
    .await;
    // Everybody asks for every address; the three of them at a time.
    let asking = CAST.map(async |(name, _)| {
        let verb = if name == "carol" { "verify" } else { "fund" };
        for told in all.iter() {
            let answer = world.person(name).unwrap().program.cmd_once(&[verb, &told.id]).await;
            let shown = answer.is_ok_and(|answer| has_address(&answer));
            assert!(!shown, "{name} shows an address while {:?} is told", told.lie);
        }
    });
    join_all(asking).await;
    assert!(all.iter().all(|told| told.count.load(Ordering::SeqCst) > 0), "a lie was never told");
    honest.store(true, Ordering::SeqCst);
    let ids: Vec<&str> = all.iter().map(|told| told.id.as_str()).collect();
    ready(world, &ids).await;
    let asking = CAST.map(async |(name, _)| {
        for told in all.iter() {
            let address = view(world, &told.id).await.setup.address.unwrap().to_string();
            let program = &world.person(name).unwrap().program;
            wait(world, "the address after the lie", async || {
                let answer = program.cmd(&["verify", &told.id]).await.unwrap();
                assert!(answer["address"].is_null() || answer["address"] == address.as_str());
                answer["address"] == address.as_str()
            })
            .await;
        }
    });
    join_all(asking).await;
    println!("mitm: {} lies were told live, named, and healed", all.len());
}

/// Whether an answer has an address anywhere. (They are 95 letters and digits, longer than anything else in an answer.)
fn has_address(answer: &Value) -> bool {
    answer.to_string().split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word.len() >= 95)
}
