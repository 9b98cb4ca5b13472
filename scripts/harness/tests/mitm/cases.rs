//! One lie to one command, many times: what is shown, what must be said, and what must remain.

use std::sync::Arc;

use aegis_common::role::Role;
use aegis_harness::relay::{Action, Exchange, Hook, Moment, hook};
use aegis_harness::world::World;
use serde_json::{Value, json};

use crate::forge::{Forged, Means, Shown, Way, forge};
use crate::mallory::Mallory;
use crate::posts::{Instead, PostWay, lying};
use crate::rng::Rng;
use crate::stage::{CAST, Logins, with_login};
use crate::terms;
use crate::victim::{Outcome, Victim};

/// How many of each round of cases lie about the contract.
const TERMS: usize = 4;
const WAYS: usize = Way::ALL.len() + TERMS + PostWay::ALL.len();

/// A book as it was at some point.
struct Base {
    name: &'static str,
    book: Option<Vec<u8>>,
    /// The statements it would be shown, as places in the truth.
    open: Vec<usize>,
    /// Whether it can know the address.
    knows: bool,
}

/// All that is lied about and with.
pub struct Table<'w> {
    pub world: &'w World,
    pub id: String,
    pub truth: Vec<Value>,
    pub other: Vec<Value>,
    pub mallory: Arc<Mallory>,
    pub address: String,
    pub logins: Arc<Logins>,
    pub seed: u64,
}

/// A person at the table.
pub struct Seat<'w> {
    table: &'w Table<'w>,
    victim: Victim<'w>,
    name: &'static str,
    bases: Vec<Base>,
}

fn serve(shown: Shown, id: &str) -> Hook {
    let path = format!("/escrows/{id}/transcript");
    hook(move |moment, exchange: &Exchange| {
        if moment != Moment::BeforeForward || !exchange.path.contains(&path) {
            return Action::Pass;
        }
        let after =
            exchange.path.split_once("after=").and_then(|(_, rest)| rest.split('&').next()?.parse().ok());
        Action::Answer { status: 200, body: shown.page(after.unwrap_or(0)) }
    })
}

impl<'w> Seat<'w> {
    /// Makes the books that are lied to, and proves that the truth is believed: each takes it, in whatever layout.
    pub async fn take(table: &'w Table<'w>, part: usize, attested: Vec<u8>) -> Self {
        let (name, role) = CAST[part];
        let victim = Victim::new(table.world, name, role, &table.id);
        let mut seat = Self { table, victim, name, bases: Vec::new() };
        let all: Vec<usize> = (0..table.truth.len()).collect();
        let attest =
            |said: &Value, own: bool| said["kind"] == "attest" && (said["role"] == role.to_string()) == own;
        let said = |at: &usize| &table.truth[*at]["signed"]["statement"];
        let own = all.iter().copied().find(|at| attest(said(at), true)).unwrap();
        // An attestation that was withheld when its turn was makes the program read everything again.
        let anew = all.iter().any(|at| *at < own && attest(said(at), false));
        let rest = if anew { all.clone() } else { all[own + 1..].to_vec() };

        let part = 6;
        seat.set(serve(Shown::of(&table.truth[..part]), &table.id));
        seat.victim.restore(None);
        let begun = seat.victim.aegis(&["verify", &table.id]).await;
        assert_eq!(begun.answer["statements"], part, "{}", begun.all);
        let partly = seat.victim.book();
        assert!(partly.is_some());
        seat.bases = vec![
            Base { name: "attested", book: Some(attested), open: rest, knows: true },
            Base { name: "fresh", book: None, open: all.clone(), knows: false },
            Base { name: "partly", book: partly, open: all[part..].to_vec(), knows: false },
        ];
        for base in &seat.bases {
            for shown in [Shown::of(&table.truth), Shown::pretty(&table.truth)] {
                seat.victim.restore(base.book.as_ref());
                seat.set(serve(shown, &table.id));
                seat.must_know(base, "the truth").await.unwrap();
            }
            seat.heal_from_lies_that_pass(base).await;
        }
        seat
    }

    /// Lies that can't be noticed at once leave nothing behind either.
    async fn heal_from_lies_that_pass(&self, base: &Base) {
        let table = self.table;
        let mut far = table.truth.clone();
        far.last_mut().unwrap()["version"] = json!(i64::MAX);
        let last_of_others = base
            .open
            .iter()
            .rev()
            .find(|at| table.truth[**at]["signed"]["statement"]["role"] != self.victim.role.to_string());
        let mut without = table.truth.clone();
        without.remove(*last_of_others.unwrap());
        for (name, entries) in [("a far position", far), ("a statement withheld", without)] {
            self.victim.restore(base.book.as_ref());
            self.set(serve(Shown::of(&entries), &table.id));
            self.victim.aegis(&["verify", &table.id]).await;
            self.honest();
            self.must_know(base, name).await.unwrap();
        }
    }

    fn set(&self, inner: Hook) {
        let relay = self.victim.person.relay.as_ref().unwrap();
        relay.set_hook(Some(with_login(&self.table.logins, self.name, inner)));
    }

    fn honest(&self) {
        self.set(hook(|_, _| Action::Pass));
    }

    /// Everything verifies, and who can know the address knows it.
    async fn must_know(&self, base: &Base, what: &str) -> Result<(), String> {
        let found = self.victim.aegis(&["verify", &self.table.id]).await;
        let address = if base.knows { json!(self.table.address) } else { Value::Null };
        if !found.ok || found.answer["address"] != address {
            return Err(format!("{} {} after {what}: {}", self.name, base.name, found.all));
        }
        if base.knows && self.victim.role == Role::Buyer {
            let due = self.victim.aegis(&["fund", &self.table.id]).await;
            if due.answer["payment"]["address"] != address {
                return Err(format!("{} can't pay after {what}: {}", self.name, due.all));
            }
        }
        Ok(())
    }

    /// Tells one lie. Gives its name, and what went wrong.
    pub async fn case(&self, case: usize) -> (String, Result<(), String>) {
        let mut rng = Rng::of(self.table.seed, case as u64);
        let base = rng.pick(&self.bases).unwrap();
        let way = case % WAYS;
        if let Some(post) = (way.checked_sub(Way::ALL.len() + TERMS)).map(|at| PostWay::ALL[at]) {
            return (format!("{post:?}"), self.post(post, case, &mut rng).await);
        }
        self.victim.restore(base.book.as_ref());
        let (name, names, hook) =
            if way < Way::ALL.len() { self.forged(way, base, &mut rng) } else { self.terms(case) };
        self.set(hook);
        let verb = if self.victim.role != Role::Arbiter && rng.below(2) == 0 { "fund" } else { "verify" };
        let outcome = self.victim.aegis(&[verb, &self.table.id]).await;
        let judged = match judge(&outcome, &names) {
            Err(why) => Err(format!("{why}: aegis {verb}: {}\nexpected one of {names:?}", outcome.all)),
            Ok(()) if self.victim.book() == base.book => Ok(()),
            // Something was kept: it must not be in the way of the truth.
            Ok(()) => {
                self.honest();
                self.must_know(base, "the lie").await
            }
        };
        (name, judged.map_err(|why| format!("{} {}: {why}", self.name, base.name)))
    }

    fn forged(&self, way: usize, base: &Base, rng: &mut Rng) -> (String, Vec<String>, Hook) {
        let table = self.table;
        let means = Means { truth: &table.truth, other: &table.other, mallory: &table.mallory };
        // A way that finds nothing to change in what this book is shown gives way to the next.
        let mut ways = (0..Way::ALL.len()).map(|more| Way::ALL[(way + more) % Way::ALL.len()]);
        let found = ways.find_map(|way| Some((way, forge(&means, way, &base.open, rng)?)));
        let (way, Forged { shown, names }) = found.unwrap();
        (format!("{way:?}"), names, serve(shown, &table.id))
    }

    fn terms(&self, case: usize) -> (String, Vec<String>, Hook) {
        let path = format!("/escrows/{}", self.table.id);
        let (mallory, seed) = (Arc::clone(&self.table.mallory), self.table.seed);
        let lie = hook(move |moment, exchange| {
            if moment != Moment::AfterForward || !exchange.path.ends_with(&path) {
                return Action::Pass;
            }
            let mut view = exchange.response_json().unwrap();
            terms::mutate(&mut view, &mallory, &mut Rng::of(seed, case as u64));
            Action::Replace(view.to_string().into_bytes())
        });
        ("Contract".to_owned(), vec!["contract".to_owned()], lie)
    }

    async fn post(&self, way: PostWay, case: usize, rng: &mut Rng) -> Result<(), String> {
        let table = self.table;
        let base = &self.bases[0];
        self.victim.restore(base.book.as_ref());
        let own = |entries: &[Value]| {
            let is_own =
                |entry: &&Value| entry["signed"]["statement"]["role"] == self.victim.role.to_string();
            let all: Vec<_> = entries.iter().filter(is_own).cloned().collect();
            all
        };
        let (here, elsewhere) = (own(&table.truth), own(&table.other));
        let instead = Instead {
            here: rng.pick(&here).unwrap()["signed"].clone(),
            elsewhere: rng.pick(&elsewhere).unwrap()["signed"].clone(),
            author: table.truth.iter().find(|entry| !here.contains(entry)).unwrap()["signed"]["statement"]["author"]
                .clone(),
            nibble: rng.below(512),
        };
        let (lie, posted) = lying(way, instead, Arc::clone(&table.mallory));
        self.set(lie);
        // The two traders' offers are never the same, so nothing is ever settled.
        let parts = 2 * (case as u64 + 1) + u64::from(self.victim.role == Role::Buyer);
        let xmr = |piconero: u64| format!("0.{piconero:012}");
        let (buyer, seller) = (xmr(parts), xmr(1_000_000_000_000 - parts));
        let outcome = self.victim.aegis(&["settle", &table.id, "--buyer", &buyer, "--seller", &seller]).await;
        let names = posted.lock().unwrap().clone();
        if outcome.ok || !names.iter().any(|name| outcome.message.contains(name)) {
            return Err(format!("{} posts {names:?}, {way:?}: {}", self.name, outcome.all));
        }
        self.honest();
        self.must_know(base, "a lie about a post").await
    }
}

/// A fault, the wrong statement's name, and not a word on standard output.
fn judge(outcome: &Outcome, names: &[String]) -> Result<(), &'static str> {
    if outcome.ok || !outcome.answer.is_null() {
        Err("the lie is believed")
    } else if outcome.code != "fault" {
        Err("it is not called a fault")
    } else if !names.iter().any(|name| outcome.message.contains(name)) {
        Err("the wrong statement is not named")
    } else {
        Ok(())
    }
}

/// Which seat takes a case: all three in turn, and only traders post.
pub fn seat_of(case: usize) -> usize {
    let turn = case / WAYS;
    if case % WAYS >= Way::ALL.len() + TERMS { (case + turn) % 2 } else { (case + turn) % 3 }
}
