//! A server, or a relay before it, that says whatever it likes.
#![expect(clippy::unwrap_used, reason = "a failure in a test is to be loud")]

#[path = "support/liar.rs"]
mod liar;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use aegis::client::{Client, ClientError, MAX_ESCROWS};
use aegis::daemon::Daemon;
use aegis::engine::desk::Desk;
use aegis::engine::payout::SystemClock;
use aegis::engine::run::{Engine, Report};
use aegis::engine::terms::asked_for;
use aegis::keys::{PinSource, PublicKeys, Secret};
use aegis::policy::{Accept, Policy};
use aegis::wallet::{Login, MultisigWallet, WalletAccess};
use aegis_common::amount::Piconero;
use aegis_common::code::Code;
use aegis_common::escrow::contract::{Contract, DefaultOutcome, PlatformFee};
use aegis_common::escrow::state::Status;
use aegis_common::escrow::statement::{Act, SignedStatement};
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use aegis_common::testing::{Cast, Person, START, Sim, address, contract};
use aegis_common::time::SignedDuration;
use aegis_common::wire::escrow::{
    CreateEscrowRequest, EscrowView, StatementReceipt, StatementRequest, TranscriptEntry, TranscriptPage,
};
use aegis_common::wire::list::{EscrowItem, EscrowPage};
use aegis_common::wire::problem::Problem;
use liar::{Liar, PASSPHRASE, contract_of, home, json, token};
use uuid::Uuid;

fn client(liar: &Liar) -> Client {
    Client::new(&liar.url, "buyer", vec![Secret::new("a password")]).unwrap()
}

fn refused(status: u16, body: String) -> ClientError {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let liar = Liar::start(move |path| match path {
        "/api/v1/auth/login" => (200, token()),
        _ => (status, body.clone()),
    });
    runtime.block_on(client(&liar).escrow(EscrowId(Uuid::nil()))).unwrap_err()
}

fn problem(code: Code) -> String {
    serde_json::to_string(&Problem::new(code, "no")).unwrap()
}

#[test]
fn only_a_rule_of_the_escrow_refuses_a_statement_and_nothing_a_relay_may_say_by_itself() {
    assert!(refused(409, problem(Code::WrongState)).refuses_statement());
    assert!(refused(422, problem(Code::BadSplit)).refuses_statement());
    for (status, body) in [
        (403, "<html>blocked</html>".to_owned()),
        (404, problem(Code::NotFound)),
        (302, String::new()),
        (400, problem(Code::Malformed)),
        (500, problem(Code::WrongState)),
        (409, problem(Code::Internal)),
        (413, "too large".to_owned()),
    ] {
        assert!(!refused(status, body.clone()).refuses_statement(), "{status} {body}");
    }
}

#[test]
fn a_problem_is_cut_to_a_length_that_a_person_reads() {
    let long = Problem::new(Code::WrongState, "x".repeat(50_000));
    assert!(refused(409, serde_json::to_string(&long).unwrap()).to_string().len() < 2_000);
    assert!(matches!(refused(409, "x".repeat(100_000)), ClientError::BadAnswer(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_end_takes_no_memory_without_end() {
    let sim = Sim::new(contract());
    let item = EscrowItem::of(&sim.escrow, 1, 1_000, Role::Buyer, sim.now);
    let page =
        EscrowPage { escrows: vec![item; 500], unreadable: Vec::new(), next: Some("cursor".to_owned()) };
    let page = serde_json::to_string(&page).unwrap();
    let liar = Liar::start(move |path| match path {
        "/api/v1/auth/login" => (200, token()),
        _ => (200, page.clone()),
    });
    let listed = client(&liar).escrows().await.unwrap();
    assert_eq!(listed.escrows.len(), MAX_ESCROWS);
    let empty = Liar::start(|path| match path {
        "/api/v1/auth/login" => (200, token()),
        _ => (200, r#"{"escrows":[],"next":"cursor"}"#.to_owned()),
    });
    assert!(client(&empty).escrows().await.unwrap().escrows.is_empty());
    let id = sim.escrow.contract.escrow_id;
    let page =
        EscrowPage { escrows: Vec::new(), unreadable: vec![id; 50_000], next: Some("cursor".to_owned()) };
    let page = serde_json::to_string(&page).unwrap();
    let unreadable = Liar::start(move |path| match path {
        "/api/v1/auth/login" => (200, token()),
        _ => (200, page.clone()),
    });
    assert_eq!(client(&unreadable).escrows().await.unwrap().unreadable.len(), MAX_ESCROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_the_server_ends_the_running_program() {
    for (status, body) in [(404, problem(Code::NotFound)), (403, String::new()), (200, "[".repeat(10_000))] {
        let liar = Liar::start(move |path| match path {
            "/api/v1/auth/login" => (200, token()),
            // Wallet-RPC 1.25.
            "/json_rpc" => (200, r#"{"result":{"version":65561}}"#.to_owned()),
            _ => (status, body.clone()),
        });
        let (_folder, home) = home(&liar.url);
        let login = Login { username: "u".to_owned(), password: Secret::new("p") };
        let access = WalletAccess::Given { url: liar.url.clone(), login };
        let wallet = MultisigWallet::start(access, Secret::new("w"), &home.join("nonces")).await.unwrap();
        let engine = Engine {
            desk: Desk::open(&home, PASSPHRASE).unwrap(),
            wallet,
            daemon: Daemon::new(&liar.url, None).unwrap(),
            policy: Policy::default(),
            clock: Box::new(SystemClock),
            poll: Duration::from_millis(50),
        };
        let told = Mutex::new(Vec::new());
        let tell = |report: &Report| told.lock().unwrap().push(report.clone());
        let ended = tokio::time::timeout(Duration::from_secs(2), engine.run(false, &tell)).await;
        assert!(ended.is_err(), "the program ended on HTTP {status}");
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 1, "said once, not at every poll: {told:?}");
        assert_eq!((told[0].event, told[0].escrow), ("error", None));
    }
}

#[test]
fn keys_taken_at_first_use_never_replace_keys_that_were_compared_meanwhile() {
    let (_folder, home) = home("http://127.0.0.1:1");
    let cast = Cast::default();
    let keys = |person: &Person| PublicKeys {
        identity_key: person.party.identity_key,
        signing_key: person.party.signing_key,
    };
    let (true_keys, false_keys) = (keys(&cast.seller), keys(&cast.arbiter));
    // The running program read the key store before the person added the pin with another command.
    let running = Desk::open(&home, PASSPHRASE).unwrap();
    Desk::open(&home, PASSPHRASE).unwrap().pin("bob", true_keys, PinSource::Compared).unwrap();
    assert!(running.pin("bob", false_keys, PinSource::FirstUse).is_err());
    running.pin("bob", true_keys, PinSource::FirstUse).unwrap();
    let known = Desk::open(&home, PASSPHRASE).unwrap().keys(|keys| keys.pin("bob").copied()).unwrap();
    assert_eq!((known.keys, known.how), (true_keys, PinSource::Compared));
}

#[test]
fn a_contract_that_is_not_what_was_asked_for_is_found_out_field_by_field() {
    let made = contract();
    let request = CreateEscrowRequest {
        title: made.title.clone(),
        description: made.description.clone(),
        role: Role::Buyer,
        counterparty: made.seller.username.clone(),
        arbiter: Some(made.arbiter.username.clone()),
        amount: made.amount,
        buyer_deposit: made.buyer_deposit,
        seller_deposit: made.seller_deposit,
        default_outcome: made.default_outcome,
        expires_at: made.expires_at,
        finality_depth: Some(made.finality_depth),
        cosign_seconds: Some(made.cosign_seconds),
        replaces: None,
    };
    asked_for(&request, &made, Role::Buyer).unwrap();
    let late = made.expires_at.checked_add(SignedDuration::from_hours(1)).unwrap();
    let outcome = match made.default_outcome {
        DefaultOutcome::Release => DefaultOutcome::Refund,
        DefaultOutcome::Refund => DefaultOutcome::Release,
    };
    let swapped = Contract { seller: made.arbiter.clone(), arbiter: made.seller.clone(), ..made.clone() };
    for (what, other, role) in [
        ("part", made.clone(), Role::Seller),
        ("trader", swapped, Role::Buyer),
        ("title", Contract { title: "a ring".into(), ..made.clone() }, Role::Buyer),
        ("description", Contract { description: "of glass".into(), ..made.clone() }, Role::Buyer),
        ("amount", Contract { amount: Piconero(made.amount.0 + 1), ..made.clone() }, Role::Buyer),
        ("deposit", Contract { buyer_deposit: Piconero::XMR, ..made.clone() }, Role::Buyer),
        ("deposit", Contract { seller_deposit: Piconero::XMR, ..made.clone() }, Role::Buyer),
        ("expiry", Contract { default_outcome: outcome, ..made.clone() }, Role::Buyer),
        ("expiry", Contract { expires_at: late, ..made.clone() }, Role::Buyer),
        ("finality", Contract { finality_depth: made.finality_depth + 1, ..made.clone() }, Role::Buyer),
        ("time", Contract { cosign_seconds: made.cosign_seconds + 1, ..made.clone() }, Role::Buyer),
    ] {
        let found = asked_for(&request, &other, role).unwrap_err().to_string();
        assert!(found.contains(what), "{what}: {found}");
    }
}

#[test]
fn fees_that_the_server_set_high_are_not_accepted_without_asking() {
    let policy = Policy { accept: Accept::Any, ..Policy::default() };
    assert!(policy.covers(&contract()));
    assert!(!policy.covers(&Contract { arbiter_fee_bps: 2_500, ..contract() }));
    let dear = PlatformFee { bps: 2_500, address: address(5) };
    assert!(!policy.covers(&Contract { platform_fee: Some(dear), ..contract() }));
    let half = Piconero(contract().amount.0 / 2);
    assert!(!policy.covers(&Contract { max_network_fee: half, max_residue: half, ..contract() }));
}

/// A server that keeps one place in the buyer's chain for one statement, and dies before it can acknowledge the first.
fn forgetful(contract: &Arc<OnceLock<Contract>>, taken: &Arc<Mutex<Vec<TranscriptEntry>>>) -> Liar {
    let (contract, taken) = (Arc::clone(contract), Arc::clone(taken));
    Liar::reading(move |target, body| {
        let escrow = Sim::new(contract.get()?.clone()).escrow;
        let mut taken = taken.lock().unwrap();
        if target.ends_with("/auth/login") {
            return Some((200, token()));
        }
        if target.ends_with("/statements") {
            let request: StatementRequest = serde_json::from_slice(body).unwrap();
            let hash = request.signed.statement.hash().unwrap();
            let place = request.signed.statement.seq as usize;
            let known = taken.get(place).map(|entry| entry.signed.statement.hash().unwrap());
            let version = place as i64 + 2;
            return match known {
                Some(known) if known != hash => Some((409, problem(Code::Fork))),
                Some(_) => json(StatementReceipt { hash, version, status: escrow.status() }),
                None => {
                    taken.push(TranscriptEntry { version, at: START, signed: request.signed });
                    let receipt = json(StatementReceipt { hash, version, status: escrow.status() });
                    receipt.filter(|_| place > 0)
                }
            };
        }
        if let Some((_, query)) = target.split_once("/transcript?after=") {
            let after: i64 = query.split('&').next()?.parse().unwrap();
            let entries = taken.iter().filter(|entry| entry.version > after).cloned().collect();
            return json(TranscriptPage { entries, next: None });
        }
        let mut view = EscrowView::of(&escrow, taken.len() as i64 + 1, 1_000);
        view.status = Status::Active;
        json(view)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_answer_was_lost_is_sent_again_and_the_next_one_follows_it() {
    let (terms, taken) = (Arc::default(), Arc::default());
    let liar = forgetful(&terms, &taken);
    let (_folder, home) = home(&liar.url);
    let desk = Desk::open(&home, PASSPHRASE).unwrap();
    let contract = contract_of(&desk);
    let id = contract.escrow_id;
    terms.set(contract).unwrap();

    assert!(desk.hold(id).await.unwrap().say(Act::Accept {}, None).await.is_err());
    let mut held = desk.hold(id).await.unwrap();
    held.say(Act::Dispute { reason: "late".to_owned() }, None).await.unwrap();
    let places: Vec<u32> = taken.lock().unwrap().iter().map(|entry| entry.signed.statement.seq).collect();
    assert_eq!(places, [0, 1]);
    assert!(held.said(&Act::Dispute { reason: "late".to_owned() }).await.unwrap().is_some());
    assert!(held.said(&Act::Confirm {}).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_is_signed_behind_what_waits_while_the_server_is_away_and_sent_when_it_is_back() {
    let (terms, taken) = (Arc::default(), Arc::default());
    let liar = forgetful(&terms, &taken);
    let (_folder, home) = home(&liar.url);
    let desk = Desk::open(&home, PASSPHRASE).unwrap();
    let contract = contract_of(&desk);
    let id = contract.escrow_id;
    terms.set(contract).unwrap();
    let dispute = |reason: &str| Act::Dispute { reason: reason.to_owned() };

    assert!(desk.sign_aside(id, dispute("late")).await.is_err(), "of an escrow that is not known here");
    // The answer is lost: the acceptance waits. The dispute follows it.
    assert!(desk.hold(id).await.unwrap().say(Act::Accept {}, None).await.is_err());
    desk.sign_aside(id, dispute("late")).await.unwrap();
    let book = desk.stored(id).unwrap().unwrap();
    let kept = book.aside.clone().unwrap();
    let accepted = book.pending.as_ref().unwrap().signed.statement.hash().unwrap();
    assert_eq!((kept.statement.seq, kept.statement.prev), (1, Some(accepted)));
    assert!(book.decisions().contains(&&kept), "aegis tell prints it");
    desk.sign_aside(id, dispute("late")).await.unwrap();
    assert!(desk.sign_aside(id, dispute("broken")).await.is_err(), "one waits at a time");
    assert_eq!(taken.lock().unwrap().len(), 1, "nothing was sent");

    let held = desk.hold(id).await.unwrap();
    assert!(held.book.pending.is_none() && held.book.aside.is_none());
    assert_eq!(taken.lock().unwrap().last().unwrap().signed, kept, "what was signed is what was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_that_was_refused_is_said_again_byte_for_byte_and_waits_until_it_is_taken() {
    let terms: Arc<OnceLock<Contract>> = Arc::default();
    let posted: Arc<Mutex<Vec<SignedStatement>>> = Arc::default();
    let taken: Arc<Mutex<Vec<TranscriptEntry>>> = Arc::default();
    let (shown, received, transcript) = (Arc::clone(&terms), Arc::clone(&posted), Arc::clone(&taken));
    let (unfunded, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (early, lost) = (Arc::clone(&unfunded), Arc::clone(&busy));
    let liar = Liar::reading(move |target, body| {
        let escrow = Sim::new(shown.get()?.clone()).escrow;
        let mut taken = transcript.lock().unwrap();
        let version = taken.len() as i64 + 1;
        if target.ends_with("/auth/login") {
            return Some((200, token()));
        }
        if target.ends_with("/statements") {
            let request: StatementRequest = serde_json::from_slice(body).unwrap();
            if !matches!(request.signed.statement.act, Act::Accept {}) {
                received.lock().unwrap().push(request.signed);
                if lost.load(Ordering::SeqCst) {
                    return Some((503, problem(Code::Busy)));
                }
                return Some((409, problem(Code::WrongState)));
            }
            let hash = request.signed.statement.hash().unwrap();
            taken.push(TranscriptEntry { version: version + 1, at: START, signed: request.signed });
            return json(StatementReceipt { hash, version: version + 1, status: escrow.status() });
        }
        if let Some((_, query)) = target.split_once("/transcript?after=") {
            let after: i64 = query.split('&').next()?.parse().unwrap();
            let entries = taken.iter().filter(|entry| entry.version > after).cloned().collect();
            return json(TranscriptPage { entries, next: None });
        }
        let mut view = EscrowView::of(&escrow, version, 1_000);
        view.status = if early.load(Ordering::SeqCst) { Status::PendingFunding } else { Status::Active };
        json(view)
    });
    let (_folder, home) = home(&liar.url);
    let desk = Desk::open(&home, PASSPHRASE).unwrap();
    let contract = contract_of(&desk);
    let id = contract.escrow_id;
    terms.set(contract.clone()).unwrap();
    let dispute = Act::Dispute { reason: "late".to_owned() };

    let mut held = desk.hold(id).await.unwrap();
    held.say(Act::Accept {}, None).await.unwrap();
    held.say(dispute.clone(), None).await.unwrap_err();
    drop(held);
    let book = desk.stored(id).unwrap().unwrap();
    let refused = (*book.decisions().last().unwrap()).clone();
    assert!(book.pending.is_none() && book.aside.is_none());
    // The seller speaks: what is signed afresh from now on says that it was seen.
    let mut sim = Sim::new(contract);
    sim.send(taken.lock().unwrap()[0].signed.clone()).unwrap();
    let signed = sim.sign(Role::Seller, Act::Accept {});
    taken.lock().unwrap().push(TranscriptEntry { version: 3, at: START, signed });
    drop(desk.hold(id).await.unwrap());
    assert_eq!(desk.stored(id).unwrap().unwrap().transcript.len(), 2, "the seller was heard");
    desk.sign_aside(id, dispute.clone()).await.unwrap();
    assert_eq!(desk.stored(id).unwrap().unwrap().aside.as_ref(), Some(&refused));
    // Before its time it is not even sent.
    unfunded.store(true, Ordering::SeqCst);
    assert_eq!(desk.hold(id).await.unwrap().book.aside.as_ref(), Some(&refused));
    assert_eq!(posted.lock().unwrap().len(), 1);
    unfunded.store(false, Ordering::SeqCst);
    for times in [2, 3] {
        // Too early again: nothing fails, and it goes on waiting.
        let held = desk.hold(id).await.unwrap();
        assert_eq!(held.book.aside.as_ref(), Some(&refused));
        assert_eq!(*posted.lock().unwrap(), vec![refused.clone(); times]);
    }
    // A server that was too busy changes nothing, either.
    busy.store(true, Ordering::SeqCst);
    assert!(desk.hold(id).await.is_err());
    let other = Act::Dispute { reason: "broken".to_owned() };
    assert!(desk.sign_aside(id, other.clone()).await.is_err(), "one waits at a time");
    busy.store(false, Ordering::SeqCst);
    let held = desk.hold(id).await.unwrap();
    assert_eq!(held.book.aside.as_ref(), Some(&refused));
    assert_eq!(*posted.lock().unwrap(), vec![refused.clone(); 5]);
    drop(held);
    let said = desk.hold(id).await.unwrap().say(other, None).await.unwrap_err();
    assert!(said.to_string().contains("another dispute"), "{said}");
    // Said by the person meanwhile it is the same statement still, not a second one for its place.
    desk.hold(id).await.unwrap().say(dispute, None).await.unwrap_err();
    assert_eq!(*posted.lock().unwrap(), vec![refused; 8]);
}
