//! What people owe and by when: declining, silence, late rulings, and the server's own downtime.

use aegis_common::escrow::deposits::Slot;
use aegis_common::escrow::effect::{Effect, Notice};
use aegis_common::escrow::event::Event;
use aegis_common::escrow::outcome::Outcome;
use aegis_common::escrow::record::Entry;
use aegis_common::escrow::setup::{SetupError, Stage};
use aegis_common::escrow::state::{CalledOff, Escrow, Phase, Status};
use aegis_common::escrow::statement::{Act, Exhibit, StatementError, bounds};
use aegis_common::escrow::transition::Rejected;
use aegis_common::role::Role;
use aegis_common::testing::{Sim, contract, hash};
use aegis_common::time::SignedDuration;

fn decline() -> Act {
    Act::Decline { reason: "no time this month".to_owned() }
}

fn why(sim: &Sim) -> Option<CalledOff> {
    match sim.escrow.phase {
        Phase::Cancelled { why } => Some(why),
        _ => None,
    }
}

fn notices(effects: Vec<Effect>) -> Vec<Notice> {
    let notice = |effect| match effect {
        Effect::Notify(notice) => Some(notice),
        Effect::Watch(_) => None,
    };
    effects.into_iter().filter_map(notice).collect()
}

/// At the attestations, with those of the given roles made.
fn attesting(attested: &[Role]) -> Sim {
    let mut sim = Sim::new(contract());
    Role::ALL.into_iter().for_each(|role| drop(sim.say(role, Act::Accept {}).unwrap()));
    for round in 1..=3 {
        Role::ALL.into_iter().for_each(|role| drop(sim.say(role, sim.round(role, round)).unwrap()));
    }
    attested.iter().for_each(|role| drop(sim.say(*role, sim.attest(sim.address())).unwrap()));
    sim
}

#[test]
fn every_party_may_decline_until_it_attests_and_nothing_of_the_setup_follows() {
    for role in Role::ALL {
        let mut sim = Sim::new(contract());
        let told = notices(sim.say(role, decline()).unwrap());
        let called_off = CalledOff::Declined { by: role };
        assert!(told.contains(&Notice::EscrowCalledOff { why: called_off }), "{told:?}");
        assert_eq!((sim.status(), why(&sim)), (Status::Cancelled, Some(called_off)));
        assert_eq!(called_off.wants_arbiter(), role == Role::Arbiter);
        assert_eq!(sim.escrow.setup.stage(), Stage::Declined);
        assert_eq!((sim.escrow.wake_at(), sim.escrow.waiting_for()), (None, vec![]));
        for late in [Act::Accept {}, decline()] {
            let refused = sim.say(role.others()[0], late).unwrap_err();
            assert_eq!(refused, Rejected::WrongState(Status::Cancelled));
        }
        let mut late = attesting(&[role.others()[0]]);
        late.say(role, decline()).unwrap();
        assert_eq!(late.status(), Status::Cancelled);
        let mut later = attesting(&[role]);
        assert_eq!(later.say(role, decline()).unwrap_err(), SetupError::AlreadyDone.into());
        let mut ready = attesting(&Role::ALL);
        assert_eq!(ready.say(role, decline()).unwrap_err(), SetupError::WrongStage.into());
    }
}

#[test]
fn an_arbiter_who_does_not_answer_is_let_go_and_a_trader_is_only_told_of() {
    // All three are silent: nobody waits for the arbiter yet.
    let mut sim = Sim::new(contract());
    let since = sim.now;
    let told = notices(sim.wake().unwrap());
    assert_eq!(sim.now.duration_since(since), SignedDuration::from_hours(72));
    assert_eq!(told, [Notice::AnswerOverdue { waiting_for: Role::ALL.to_vec(), since }]);
    assert_eq!(sim.status(), Status::PendingFunding);
    // Once both traders have answered, the arbiter has its own time.
    for role in [Role::Buyer, Role::Seller] {
        sim.now += SignedDuration::from_hours(1);
        sim.say(role, Act::Accept {}).unwrap();
    }
    let since = sim.now;
    let told = notices(sim.wake().unwrap());
    assert_eq!(sim.now.duration_since(since), SignedDuration::from_hours(72));
    let overdue = Notice::AnswerOverdue { waiting_for: vec![Role::Arbiter], since };
    let called_off = Notice::EscrowCalledOff { why: CalledOff::ArbiterSilent };
    assert!(told.contains(&overdue) && told.contains(&called_off), "{told:?}");
    assert_eq!(why(&sim), Some(CalledOff::ArbiterSilent));
    // The buyer alone is.
    let mut sim = Sim::new(contract());
    let since = sim.now;
    for role in [Role::Seller, Role::Arbiter] {
        sim.now += SignedDuration::from_hours(1);
        sim.say(role, Act::Accept {}).unwrap();
    }
    let waiting_for = vec![Role::Buyer];
    assert_eq!(notices(sim.wake().unwrap()), [Notice::AnswerOverdue { waiting_for, since }]);
    assert_eq!(sim.now.duration_since(since), SignedDuration::from_hours(72));
    assert_eq!(sim.status(), Status::PendingFunding);
    // Nothing more is due before the contract's own warning; a late answer is as good as any.
    assert_eq!(sim.escrow.wake_at(), Some(sim.escrow.contract.expires_at - SignedDuration::from_hours(24)));
    sim.say(Role::Buyer, Act::Accept {}).unwrap();
    // The next stage has its own time.
    assert_eq!(sim.escrow.wake_at(), Some(sim.now + SignedDuration::from_hours(72)));
}

#[test]
fn a_late_ruling_is_told_again_and_again_and_moves_no_money() {
    let mut sim = Sim::new(contract());
    sim.active();
    assert_eq!(sim.escrow.awaited, None);
    sim.say(Role::Buyer, Act::Dispute { reason: "nothing came".to_owned() }).unwrap();
    let since = sim.now;
    for week in 1..=3 {
        let waiting_for = vec![Role::Arbiter];
        assert_eq!(notices(sim.wake().unwrap()), [Notice::AnswerOverdue { waiting_for, since }]);
        assert_eq!(sim.now.duration_since(since), SignedDuration::from_hours(7 * 24 * week));
        assert_eq!(sim.status(), Status::Disputed);
    }
}

#[test]
fn answers_are_put_off_by_the_downtime_and_expiry_is_not() {
    let mut sim = Sim::new(contract());
    let (due, expiry) = (sim.escrow.wake_at().unwrap(), sim.escrow.contract.expires_at);
    sim.now += SignedDuration::from_hours(30);
    sim.apply(Event::Outage { seconds: 3_600 }).unwrap();
    assert_eq!(sim.escrow.wake_at(), Some(due + SignedDuration::from_hours(1)));
    // It is the sum since the question: told again it changes nothing, and a larger one adds the difference.
    assert_eq!(sim.apply(Event::Outage { seconds: 3_600 }), Err(Rejected::NotDue));
    sim.apply(Event::Outage { seconds: 5_400 }).unwrap();
    assert_eq!(sim.escrow.wake_at(), Some(due + SignedDuration::from_mins(90)));
    // Never more than the time since the question.
    sim.apply(Event::Outage { seconds: u32::MAX }).unwrap();
    assert_eq!(sim.escrow.wake_at(), Some(due + SignedDuration::from_hours(30)));
    assert_eq!(sim.escrow.contract.expires_at, expiry);
    // So is the turn of a pair of signers; the next pair has its own.
    let mut sim = Sim::new(contract());
    sim.active();
    sim.say(Role::Seller, Act::Refund {}).unwrap();
    let due = sim.escrow.wake_at().unwrap();
    sim.now += SignedDuration::from_secs(40);
    sim.apply(Event::Outage { seconds: 30 }).unwrap();
    assert_eq!(sim.escrow.wake_at(), Some(due + SignedDuration::from_secs(30)));
    assert_eq!(sim.apply(Event::Outage { seconds: 30 }), Err(Rejected::NotDue));
    sim.apply(Event::Outage { seconds: u32::MAX }).unwrap();
    assert_eq!(sim.escrow.wake_at(), Some(due + SignedDuration::from_secs(40)));
    sim.wake().unwrap();
    let turn = SignedDuration::from_secs(i64::from(sim.escrow.contract.cosign_seconds));
    assert_eq!(sim.escrow.wake_at(), Some(sim.now + turn));
    // Nobody is asked anything: nothing can be put off.
    let mut sim = Sim::new(contract());
    sim.active();
    sim.now += SignedDuration::from_hours(30);
    assert_eq!(sim.apply(Event::Outage { seconds: 60 }), Err(Rejected::NotDue));
    assert_eq!(sim.escrow.wake_at(), Some(expiry - SignedDuration::from_hours(24)));
}

#[test]
fn each_of_the_three_can_be_heard_while_the_money_lies_there_and_nothing_moves() {
    let says = |text: &str, files| Act::Evidence { text: text.to_owned(), files };
    let mut sim = Sim::new(contract());
    sim.ready();
    assert!(matches!(sim.say(Role::Buyer, says("early", Vec::new())), Err(Rejected::WrongState(_))));
    sim.fund(Slot::Payment, sim.escrow.contract.amount);
    sim.mine(20);
    let exhibit = Exhibit { name: "receipt.pdf".to_owned(), bytes: 9, sha256: hash("receipt") };
    sim.say(Role::Seller, says("it was sent", vec![exhibit.clone()])).unwrap();
    sim.say(Role::Buyer, Act::Dispute { reason: "nothing came".to_owned() }).unwrap();
    for role in Role::ALL {
        let before = sim.escrow.clone();
        sim.say(role, says("heard", Vec::new())).unwrap();
        let after = Escrow { chains: before.chains.clone(), ..sim.escrow.clone() };
        assert_eq!(after, before, "more than its author's chain has changed");
    }
    let bad = [
        says(" ", Vec::new()),
        says(&"x".repeat(bounds::REASON + 1), Vec::new()),
        says("many", vec![exhibit.clone(); bounds::EXHIBITS + 1]),
        says("unnamed", vec![Exhibit { name: String::new(), ..exhibit.clone() }]),
        says("a path", vec![Exhibit { name: "/etc/passwd".to_owned(), ..exhibit.clone() }]),
        says("a line", vec![Exhibit { name: "a\nb".to_owned(), ..exhibit.clone() }]),
        says("long", vec![Exhibit { name: "x".repeat(bounds::FILE_NAME + 1), ..exhibit.clone() }]),
        says("large", vec![Exhibit { bytes: bounds::FILE_BYTES + 1, ..exhibit.clone() }]),
        says("endless", vec![Exhibit { bytes: u64::MAX, ..exhibit.clone() }]),
    ];
    for act in bad {
        let refused = sim.say(Role::Buyer, act.clone());
        let out = matches!(&refused, Err(Rejected::Statement { error: StatementError::OutOfBounds, .. }));
        assert!(out, "{act:?}: {refused:?}");
    }
    // What was signed reads the same from the journal.
    let largest = Exhibit { bytes: bounds::FILE_BYTES, ..exhibit };
    sim.say(Role::Buyer, says("all of it", vec![largest])).unwrap();
    for (event, at) in &sim.journal {
        let entry = Entry { event: event.clone(), at: *at };
        assert_eq!(Entry::parse(&entry.to_text().unwrap()).unwrap(), entry);
    }
    // Whoever says too much can still sign.
    while sim.escrow.chains.of(Role::Seller).hashes.len() < bounds::WITH_EVIDENCE {
        sim.say(Role::Seller, says("and another thing", Vec::new())).unwrap();
    }
    let refused = sim.say(Role::Seller, says("and another thing", Vec::new()));
    assert!(matches!(refused, Err(Rejected::Statement { error: StatementError::TooMany, .. })));
    sim.say(Role::Arbiter, Act::Ruling { outcome: Outcome::Release, reason: "it was sent".to_owned() })
        .unwrap();
    assert!(matches!(sim.say(Role::Buyer, says("late", Vec::new())), Err(Rejected::WrongState(_))));
    sim.pay();
    assert_eq!(sim.status(), Status::CompletedReleased);
}
