//! What a participant believes: only what the signed statements, its own book and its own clock say.
#![expect(clippy::unwrap_used, reason = "a failure in a test is to be loud")]

use aegis::authority::{Authorised, authorised, funded_at_expiry, needs_consent};
use aegis::book::{AttemptBook, Book, Fault, Pending};
use aegis::policy::{Expiry, Policy};
use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::deposits::Slot;
use aegis_common::escrow::outcome::{Authority, Outcome};
use aegis_common::escrow::statement::{Act, SignedStatement, StatementError, TranscriptError};
use aegis_common::role::Role;
use aegis_common::testing::{Sim, address, contract, contract_number};
use aegis_common::time::SignedDuration;

fn active() -> Sim {
    let mut sim = Sim::new(contract());
    sim.active();
    sim
}

fn says(sim: &Sim, funded: bool) -> Option<(Outcome, Authority)> {
    let found = authorised(&sim.escrow.contract, &sim.transcript, funded, sim.now);
    found.map(|Authorised { outcome, authority }| (outcome, authority))
}

fn book(sim: &Sim, role: Role) -> Book {
    Book::new(sim.escrow.contract.clone(), sim.escrow.contract_hash, role)
}

fn entries(transcript: &[SignedStatement]) -> Vec<(i64, SignedStatement)> {
    (1..).zip(transcript.iter().cloned()).collect()
}

#[test]
fn nothing_is_authorised_before_anybody_has_spoken_or_the_contract_has_expired() {
    let mut sim = active();
    assert_eq!(says(&sim, true), None);
    sim.say(Role::Seller, Act::Confirm {}).unwrap();
    assert_eq!(says(&sim, true), None, "the seller's word does not pay the seller");
}

#[test]
fn each_word_authorises_its_outcome() {
    let mut sim = active();
    sim.say(Role::Buyer, Act::Confirm {}).unwrap();
    assert_eq!(says(&sim, true), Some((Outcome::Release, Authority::Buyer)));

    let mut sim = active();
    sim.say(Role::Seller, Act::Refund {}).unwrap();
    assert_eq!(says(&sim, true), Some((Outcome::Refund, Authority::Seller)));

    let mut sim = active();
    let split = Outcome::Split { buyer: Piconero(1), seller: Piconero(sim.escrow.contract.amount.0 - 1) };
    sim.say(Role::Buyer, Act::Settle { outcome: split }).unwrap();
    sim.say(Role::Seller, Act::Cancel {}).unwrap();
    assert_eq!(says(&sim, true), None, "different offers authorise nothing");
    sim.say(Role::Seller, Act::Settle { outcome: split }).unwrap();
    assert_eq!(says(&sim, true), Some((split, Authority::Mutual)));

    let mut sim = active();
    sim.say(Role::Buyer, Act::Dispute { reason: "broken".into() }).unwrap();
    assert_eq!(says(&sim, true), None);
    sim.say(Role::Arbiter, Act::Ruling { outcome: split, reason: "half worn".into() }).unwrap();
    assert_eq!(says(&sim, true), Some((split, Authority::Ruling)));
}

#[test]
fn a_ruling_without_a_dispute_authorises_nothing() {
    // A server and an arbiter that collude can put it into a transcript; the rules refuse it.
    let sim = active();
    let ruling = sim.sign(Role::Arbiter, Act::Ruling { outcome: Outcome::Refund, reason: "mine".into() });
    let mut transcript = sim.transcript.clone();
    transcript.push(ruling);
    assert_eq!(authorised(&sim.escrow.contract, &transcript, true, sim.now), None);
}

#[test]
fn expiry_counts_by_the_own_clock_and_never_over_a_dispute_or_a_decisive_word() {
    let mut sim = active();
    let default: Outcome = sim.escrow.contract.default_outcome.into();
    sim.now = sim.escrow.contract.expires_at.checked_sub(SignedDuration::from_millis(1)).unwrap();
    assert_eq!(says(&sim, true), None);
    sim.now = sim.escrow.contract.expires_at;
    assert_eq!(says(&sim, true), Some((default, Authority::Expiry)));
    assert_eq!(says(&sim, false), Some((Outcome::Refund, Authority::Expiry)), "never funded: all goes back");

    let mut disputed = active();
    disputed.say(Role::Seller, Act::Dispute { reason: "silent".into() }).unwrap();
    disputed.now = sim.now;
    assert_eq!(says(&disputed, true), None);

    let mut confirmed = active();
    confirmed.say(Role::Buyer, Act::Confirm {}).unwrap();
    confirmed.now = sim.now;
    assert_eq!(says(&confirmed, true), Some((Outcome::Release, Authority::Buyer)));
}

#[test]
fn money_that_comes_after_expiry_funds_nothing_and_what_comes_at_the_last_minute_leaves_both_open() {
    let contract = Contract { buyer_deposit: Piconero::XMR, ..contract() };
    let at = |minutes: i64| contract.expires_at.checked_add(SignedDuration::from_mins(minutes)).unwrap();
    let all = |slot: Slot, minutes| (slot, slot.required(&contract), at(minutes));
    let deposit = all(Slot::BuyerDeposit, -600);
    let part = Piconero(contract.amount.0 - 1);
    let early = (Slot::Payment, part, at(-600));
    let found = |paid: &[_]| funded_at_expiry(&contract, paid).to_vec();
    assert_eq!(found(&[deposit, all(Slot::Payment, -600)]), [true]);
    assert_eq!(found(&[deposit, early]), [false]);
    assert_eq!(found(&[deposit, early, (Slot::Payment, Piconero(1), at(1))]), [false], "topped up later");
    assert_eq!(found(&[deposit, early, (Slot::Payment, Piconero(1), at(-1))]), [true, false]);
    assert_eq!(found(&[all(Slot::Payment, -600)]), [false], "the buyer's deposit is missing");
}

#[test]
fn a_signature_needs_the_persons_word_unless_it_was_given_or_only_gains() {
    use Authority::{Buyer, Expiry, Mutual, Ruling, Seller};
    for (role, authority, needed) in [
        (Role::Buyer, Buyer, false),
        (Role::Seller, Buyer, false),
        (Role::Arbiter, Buyer, true),
        (Role::Buyer, Seller, false),
        (Role::Arbiter, Mutual, true),
        (Role::Seller, Mutual, false),
        (Role::Arbiter, Ruling, false),
        (Role::Buyer, Ruling, true),
        (Role::Seller, Expiry, true),
        (Role::Arbiter, Expiry, true),
    ] {
        assert_eq!(needs_consent(role, authority), needed, "{role} by {authority:?}");
    }
}

#[test]
fn a_transcript_is_taken_whole_or_not_at_all_and_the_wrong_statement_is_named() {
    let sim = active();
    let mut damaged = entries(&sim.transcript);
    let at = damaged.len() - 1;
    damaged[at].1.signature.0[0] ^= 1;
    let mut book = book(&sim, Role::Buyer);
    let Err(Fault::Statement(TranscriptError { statement, error })) = book.absorb(&damaged) else {
        unreachable!("a damaged signature was taken");
    };
    assert_eq!(error, StatementError::BadSignature);
    assert_eq!((statement.role, statement.kind.as_str()), (Role::Arbiter, "attest"));
    assert!(book.transcript.is_empty() && book.cursor == 0);
    book.absorb(&entries(&sim.transcript)).unwrap();
    assert_eq!(book.transcript, sim.transcript);
}

#[test]
fn statements_of_another_escrow_hidden_ones_and_old_positions_are_found_out() {
    let sim = active();
    let mut other = Sim::new(contract_number(2));
    other.active();
    let mut mine = book(&sim, Role::Seller);
    let Err(Fault::Statement(found)) = mine.absorb(&entries(&other.transcript)) else {
        unreachable!("a replay from another escrow was taken");
    };
    assert_eq!(found.error, StatementError::WrongEscrow);

    // The server hides one statement: the next that has seen it gives that away.
    let mut hidden = sim.transcript.clone();
    hidden.remove(0);
    assert!(matches!(mine.absorb(&entries(&hidden)), Err(Fault::Statement(_))));

    mine.absorb(&entries(&sim.transcript)).unwrap();
    assert_eq!(
        mine.absorb(&entries(&sim.transcript[..1])),
        Err(Fault::OutOfOrder((&sim.transcript[0].statement).into()))
    );
}

#[test]
fn what_was_withheld_once_is_learnt_by_reading_anew_and_nothing_known_may_vanish() {
    let sim = active();
    let all = entries(&sim.transcript);
    let (one, last) = (all.len() - 2, all.len() - 1);
    let mut mine = book(&sim, Role::Buyer);
    // The seller's attestation is left out; the arbiter's, made without knowing it, passes.
    let said = &sim.transcript[last].statement;
    let knows = said.seen.of(sim.transcript[one].statement.role);
    if knows != sim.transcript[one].statement.hash().ok() {
        mine.absorb(&[&all[..one], &all[last..]].concat()).unwrap();
    } else {
        mine.absorb(&all[..one]).unwrap();
    }
    let mut anew = mine.anew();
    anew.absorb(&all).unwrap();
    mine.adopt(anew).unwrap();
    assert_eq!(mine.transcript, sim.transcript);

    let mut short = mine.anew();
    short.absorb(&all[..last]).unwrap();
    assert_eq!(mine.adopt(short), Err(Fault::Vanished((&sim.transcript[last].statement).into())));
    assert_eq!(mine.transcript, sim.transcript);
}

#[test]
fn a_statement_in_ones_own_name_that_one_never_made_is_a_fork() {
    let sim = active();
    let mut mine = book(&sim, Role::Buyer);
    mine.absorb(&entries(&sim.transcript)).unwrap();
    let made = sim.sign(Role::Buyer, Act::Confirm {});
    let shown = sim.sign(Role::Buyer, Act::Cancel {});
    mine.pending = Some(Pending { signed: made, view_key: None, waits: false });
    let Err(Fault::Statement(found)) = mine.absorb(&[(99, shown)]) else {
        unreachable!("a foreign statement in one's own name was taken");
    };
    assert_eq!(found.error, StatementError::Fork);
}

#[test]
fn what_the_rules_refuse_is_refused_even_if_the_server_let_it_through() {
    let mut sim = Sim::new(contract());
    sim.say(Role::Buyer, Act::Accept {}).unwrap();
    // A second acceptance, properly signed and chained.
    let again = sim.sign(Role::Buyer, Act::Accept {});
    let mut transcript = sim.transcript.clone();
    transcript.push(again);
    let found = book(&sim, Role::Seller).absorb(&entries(&transcript));
    assert!(matches!(found, Err(Fault::Rules { .. })), "{found:?}");
}

#[test]
fn an_address_is_shown_only_when_three_attest_it_and_the_own_wallet_has_it() {
    let sim = active();
    let own = [sim.address(), address(1), address(2)];
    let mut mine = book(&sim, Role::Buyer);
    mine.attempts.insert(1, AttemptBook { addresses: Some(own), ..AttemptBook::default() });
    let last = sim.transcript.len() - 1;
    mine.absorb(&entries(&sim.transcript)[..last]).unwrap();
    assert_eq!(mine.addresses(), None, "two of three attest");
    mine.absorb(&entries(&sim.transcript)[last..]).unwrap();
    assert_eq!(mine.addresses(), Some(own));

    mine.attempts.insert(
        1,
        AttemptBook { addresses: Some([address(7), address(1), address(2)]), ..AttemptBook::default() },
    );
    assert_eq!(mine.addresses(), None, "the others attest another address than the own wallet has");
    mine.attempts.clear();
    assert_eq!(mine.addresses(), None, "the own wallet has none");
}

#[test]
fn a_book_survives_its_sealing() {
    let sim = active();
    let mut mine = book(&sim, Role::Arbiter);
    mine.absorb(&entries(&sim.transcript)).unwrap();
    let bytes = serde_json::to_vec(&mine).unwrap();
    let back: Book = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(serde_json::to_vec(&back).unwrap(), bytes);
    assert_eq!(back.chains(), mine.chains());
}

#[test]
fn a_dispute_is_heard_past_a_server_that_hides_it_and_nothing_else_is() {
    let mut sim = active();
    let mut arbiter = book(&sim, Role::Arbiter);
    arbiter.absorb(&entries(&sim.transcript)).unwrap();
    let mut buyer = book(&sim, Role::Buyer);
    let shown = sim.transcript.clone();
    sim.say(Role::Buyer, Act::Dispute { reason: "empty box".into() }).unwrap();
    buyer.absorb(&entries(&sim.transcript)).unwrap();
    let told: Vec<SignedStatement> = buyer.decisions().into_iter().cloned().collect();
    assert_eq!(told.len(), 1, "only what a person decides");
    arbiter.consent = Some((Outcome::Release, Authority::Expiry));
    assert!(arbiter.consents(Outcome::Release, Authority::Expiry));
    assert!(!arbiter.consents(Outcome::Release, Authority::Ruling), "by another word it is another question");
    assert!(!arbiter.consents(Outcome::Refund, Authority::Expiry));
    assert!(arbiter.hear(&told[0]).unwrap());
    assert_eq!(arbiter.consent, None, "it was given without knowing");
    assert!(!arbiter.hear(&told[0]).unwrap(), "once");
    assert!(shown.iter().all(|other| !arbiter.hear(other).unwrap()), "other words are not for this");
    let mut forged = told[0].clone();
    forged.statement.act = Act::Dispute { reason: "full box".into() };
    assert!(matches!(arbiter.hear(&forged), Err(Fault::Statement(_))));
    let mut elsewhere = told[0].clone();
    elsewhere.statement.escrow_id = contract_number(9).escrow_id;
    assert!(matches!(arbiter.hear(&elsewhere), Err(Fault::Statement(_))));
}

#[test]
fn signing_data_is_given_nine_times_a_turn() {
    let sim = active();
    let mut book = book(&sim, Role::Buyer);
    let turn = SignedDuration::from_secs(i64::from(book.contract.cosign_seconds));
    for start in [sim.now, sim.now + turn] {
        for _ in 0..9 {
            assert!(book.may_sync(Role::Seller, start));
            book.note_sync(Role::Seller, start);
        }
        assert!(!book.may_sync(Role::Seller, start + turn / 2));
        assert!(book.may_sync(Role::Arbiter, start), "a hostile signer uses up only its own");
    }
}

#[test]
fn a_policy_signs_by_expiry_nothing_but_the_default_and_only_while_nothing_speaks_against_it() {
    let sim = active();
    let policy = Policy { expiry: Expiry::Sign, ..Policy::default() };
    let default = Outcome::from(sim.escrow.contract.default_outcome);
    let other = if default == Outcome::Refund { Outcome::Release } else { Outcome::Refund };
    let signs = |book: &Book, outcome| book.is_covered(&policy, outcome, Authority::Expiry);
    let mut buyer = book(&sim, Role::Buyer);
    assert!(signs(&buyer, default));
    assert!(!signs(&buyer, other), "copies of keys change when a wallet says that it was paid");
    let doubts = buyer.doubts(other, Authority::Expiry);
    buyer.funded = true;
    assert!(!signs(&buyer, other) && signs(&buyer, default));
    assert_ne!(buyer.doubts(other, Authority::Expiry), doubts, "the person learns what the wallet saw");
    assert!(!buyer.is_covered(&policy, default, Authority::Ruling), "that is another line of the policy");
    assert!(!buyer.is_covered(&Policy::default(), default, Authority::Expiry));

    // The money is there, and the wallet's times say that it came too late.
    let mut late = book(&sim, Role::Arbiter);
    assert_eq!(default, Outcome::Release);
    late.consent = Some((default, Authority::Expiry));
    assert!(late.note_late() && late.consent.is_none(), "it was given without knowing");
    assert!(!signs(&late, default) && !late.doubts(default, Authority::Expiry).is_empty());
    late.consent = Some((default, Authority::Expiry));
    assert!(!late.note_late() && late.consent.is_some(), "the person has read it");

    // The own dispute, wherever it is.
    let dispute = sim.sign(Role::Buyer, Act::Dispute { reason: "it has one wheel".to_owned() });
    buyer.aside = Some(dispute.clone());
    assert!(!signs(&buyer, default));
    buyer.aside = None;
    assert!(signs(&buyer, default));
    buyer.pending = Some(Pending { signed: dispute.clone(), view_key: None, waits: false });
    assert!(!signs(&buyer, default));
    buyer.refuse();
    assert!(buyer.pending.is_none() && !signs(&buyer, default));
    // Somebody else's, that was heard.
    let mut arbiter = book(&sim, Role::Arbiter);
    assert!(signs(&arbiter, default));
    assert!(arbiter.hear(&dispute).unwrap());
    assert!(!signs(&arbiter, default));
}
