//! What must hold at the end, found out from what is stored, what the chain holds and what people saw; by other means than
//! those the server went by, where there are any.

use std::collections::{BTreeMap, HashMap, HashSet};

use aegis_common::amount::Piconero;
use aegis_common::arbiter::{Bar, Choice};
use aegis_common::escrow::contract::{Contract, DefaultOutcome};
use aegis_common::escrow::effect::Effect;
use aegis_common::escrow::event::Event;
use aegis_common::escrow::outcome::{Authority, Outcome};
use aegis_common::escrow::record::Beginning;
use aegis_common::escrow::state::{CalledOff, Escrow, Phase, Status};
use aegis_common::escrow::statement::Act;
use aegis_common::escrow::transition;
use aegis_common::hash::Key32;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::reputation::{Ending, Tally};
use aegis_common::role::Role;
use aegis_common::time::{Clock, SignedDuration, Timestamp};

use diesel::sql_types::{BigInt, Binary};
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection};

use super::player::FEE;
use super::{Live, Month, SILENT, Sent, recompute};
use crate::store::DatabaseUrl;

/// For so long after the choice an escrow that is not made yet counts as one of its arbiter's.
const BEING_MADE: SignedDuration = SignedDuration::from_mins(5);
/// Later than this after its time a deadline counts as late.
const LATE: SignedDuration = SignedDuration::from_secs(1);

/// What the journals tell.
#[derive(Default)]
struct Found {
    by_status: BTreeMap<&'static str, usize>,
    /// What each party of an escrow must have been told, in order.
    notices: HashMap<EscrowId, Vec<&'static str>>,
    /// From when to when an arbiter had which open case.
    cases: Vec<(UserId, Timestamp, Option<Timestamp>)>,
    endings: Vec<Ending>,
    /// Everybody in an escrow.
    parties: BTreeMap<EscrowId, [UserId; 3]>,
    statements: usize,
    timers: usize,
    outages: usize,
    /// What came after the payout and went back.
    returned: usize,
    deleted: usize,
    replaced: Vec<EscrowId>,
    /// Called off for want of an arbiter, long before expiry.
    vacant: Vec<EscrowId>,
}

pub async fn all(month: &Month, live: &Live) {
    let mut found = Found::default();
    let ids: Vec<EscrowId> = month.trades.iter().flat_map(|trade| trade.borrow().ids.clone()).collect();
    assert!(month.trades.iter().all(|trade| !trade.borrow().ids.is_empty()), "every trade came to an escrow");
    for id in &ids {
        one(month, live, *id, &mut found).await;
    }
    let events = told(month, live, &found).await;
    let assigned = assignments(month, live, &ids, &found).await;
    for person in &month.people {
        let user = person.party.user_id;
        let stored = live.server.store.tally(user).await.unwrap();
        assert_eq!(stored, Tally::of(user, &found.endings), "the reputation of {user}");
    }
    let again = recompute::all(month, live, &found.parties).await;
    eprintln!(
        "{} escrows, {:?}; {} returned late payments, {} statements, {} refused attacks, {} deadlines, {} put off, {} events to {} people, \
         {} handed over again after {} crashes, {assigned} assignments computed again, {again} of them and reputations by a script, \
         {} deleted, {} places taken",
        ids.len(),
        found.by_status,
        found.returned,
        found.statements,
        month.refused.borrow(),
        found.timers,
        found.outages,
        events,
        month.people.len(),
        month.passed.lock().unwrap().again,
        month.down.len(),
        found.deleted,
        found.replaced.len(),
    );
    // Nothing of the above may have passed because there was nothing to look at.
    for status in [
        Status::CompletedReleased,
        Status::CompletedRefunded,
        Status::CompletedSplit,
        Status::Expired,
        Status::Cancelled,
    ] {
        assert!(found.by_status.contains_key(status.wire()), "no escrow came to {status}");
    }
    let ruled = found.endings.iter().any(|ending| ending.authority == Authority::Ruling);
    let expired = found.endings.iter().any(|ending| ending.authority == Authority::Expiry);
    assert!(ruled && expired && !found.replaced.is_empty() && !month.down.is_empty());
    assert!(found.deleted > 0, "nothing was deleted");
    assert!(*month.refused.borrow() > 0 && found.outages > 0 && found.returned > 0);
}

/// Replays one escrow.
async fn one(month: &Month, live: &Live, id: EscrowId, found: &mut Found) {
    let row = live.server.store.escrow(id).await.unwrap().unwrap();
    let stored: Escrow = serde_json::from_str(&row.snapshot).unwrap();
    let journal = live.server.journal(id).await;
    let mut escrow = Beginning::of(&stored).created().unwrap();
    let arbiter = stored.contract.arbiter.user_id;
    let mut notices = vec!["EscrowInit", "EscrowAssigned"];
    let (mut said, mut open_since) = (Vec::new(), Some(escrow.created_at));
    for entry in &journal {
        on_time(month, &escrow, entry.at, &format!("{id}, {}", entry.event.name()));
        let (next, effects) = transition::apply(&escrow, &entry.event, entry.at).unwrap();
        notices.extend(effects.iter().filter_map(|effect| match effect {
            Effect::Notify(notice) => Some(notice.kind()),
            Effect::Watch(_) => None,
        }));
        match &entry.event {
            Event::Statement { signed } => said.push((signed.statement.role, signed.statement.act.clone())),
            Event::Timer { .. } => found.timers += 1,
            Event::Outage { .. } => found.outages += 1,
            _ => {}
        }
        match (escrow.status().is_over(), next.status().is_over()) {
            (false, true) => {
                found.cases.extend(open_since.take().map(|from| (arbiter, from, Some(entry.at))))
            }
            // Money that came late.
            (true, false) => open_since = Some(entry.at),
            _ => {}
        }
        if !matches!(escrow.phase, Phase::Completed { .. }) {
            found.endings.extend(Ending::of(&next, entry.at));
        }
        escrow = next;
    }
    on_time(month, &escrow, month.universe.clock.now(), &format!("{id}, the end"));
    assert_eq!(escrow, stored, "the journal of {id} tells another story");
    assert_eq!(row.status, escrow.status().wire());
    let last = journal.last().map_or(escrow.created_at, |entry| entry.at);
    ends_as_agreed(month, &escrow, &said, last);
    if let Phase::Completed { returns, .. } = &escrow.phase {
        found.returned += returns.done.len();
    }
    let contract = &escrow.contract;
    found.cases.extend(open_since.map(|from| (arbiter, from, None)));
    found.parties.insert(id, Role::ALL.map(|role| contract.party(role).user_id));
    found.notices.insert(id, notices);
    found.statements += said.len();
    found.replaced.extend(escrow.replaces);
    let in_time = last + SignedDuration::from_hours(3) < contract.expires_at;
    if matches!(escrow.phase, Phase::Cancelled { why } if why.wants_arbiter()) && in_time {
        found.vacant.push(id);
    }
    let is_deleted = matches!(escrow.phase, Phase::Cancelled { why: CalledOff::Deleted });
    found.deleted += usize::from(is_deleted);
    *found.by_status.entry(escrow.status().wire()).or_default() += 1;
}

/// Whatever was due before a moment must have been dealt with in that moment at the latest: a second after its time, or after
/// the server came back.
fn on_time(month: &Month, escrow: &Escrow, next: Timestamp, what: &str) {
    let mut due = escrow.wake_at();
    // The contract's own word, not what the machine makes of it.
    if matches!(escrow.phase, Phase::Open { .. }) {
        let expiry = escrow.contract.expires_at;
        due = Some(due.map_or(expiry, |due| due.min(expiry)));
    }
    let Some(due) = due else { return };
    let back = month.down.iter().find(|(from, to)| (*from < due) && (due <= *to)).map_or(due, |(_, to)| *to);
    assert!(next <= back + LATE, "{what}: {due} was dealt with at {next}");
}

/// Holds the end against the contract, what was said and what the chain holds.
fn ends_as_agreed(month: &Month, escrow: &Escrow, said: &[(Role, Act)], last: Timestamp) {
    let contract = &escrow.contract;
    let id = contract.escrow_id;
    let all_sent = month.sent.borrow();
    let sent = all_sent.get(&(id, false));
    let has = |role: Role, is: &dyn Fn(&Act) -> bool| said.iter().any(|(by, act)| *by == role && is(act));
    let (settled, txid, returns) = match &escrow.phase {
        Phase::Completed { settled, txid, returns, .. } => (settled, *txid, returns),
        Phase::Expired => {
            assert!(escrow.deposits.all().is_empty() && sent.is_none() && last >= contract.expires_at);
            return;
        }
        Phase::Cancelled { why } => {
            assert!(escrow.deposits.all().is_empty() && sent.is_none());
            match why {
                CalledOff::Declined { by } => assert!(has(*by, &|act| matches!(act, Act::Decline { .. }))),
                CalledOff::ArbiterSilent => {
                    assert!(last >= escrow.created_at + SignedDuration::from_hours(12));
                }
                CalledOff::Deleted => {}
            }
            return;
        }
        phase => panic!("{id} ended as {phase:?}"),
    };
    let Sent { txid: on_chain, to } = sent.unwrap();
    assert_eq!(*on_chain, txid, "{id}: the payout that counts is the one on the chain");
    let funded = !settled.partial;
    let offers = |role: Role, outcome: Outcome| {
        has(role, &|act| matches!(act, Act::Settle { outcome: offered } if *offered == outcome))
    };
    let agreed = match settled.authority {
        Authority::Buyer => {
            settled.outcome == Outcome::Release && has(Role::Buyer, &|act| matches!(act, Act::Confirm {}))
        }
        Authority::Seller => {
            settled.outcome == Outcome::Refund && has(Role::Seller, &|act| matches!(act, Act::Refund {}))
        }
        Authority::Mutual => offers(Role::Buyer, settled.outcome) && offers(Role::Seller, settled.outcome),
        Authority::Ruling => {
            has(
                Role::Arbiter,
                &|act| matches!(act, Act::Ruling { outcome, .. } if *outcome == settled.outcome),
            ) && said.iter().any(|(role, act)| role.is_trader() && matches!(act, Act::Dispute { .. }))
        }
        Authority::Expiry => {
            let default = match contract.default_outcome {
                DefaultOutcome::Release => Outcome::Release,
                DefaultOutcome::Refund => Outcome::Refund,
            };
            settled.outcome == if funded { default } else { Outcome::Refund } && last >= contract.expires_at
        }
    };
    assert!(agreed, "{id}: {:?} by {:?}", settled.outcome, settled.authority);
    let came = |keys: &[Key32]| {
        let of = escrow.deposits.all().iter().filter(|deposit| keys.contains(&deposit.key));
        Piconero::sum(of.map(|deposit| deposit.amount)).unwrap()
    };
    let spent = &settled.paid.as_ref().unwrap().spends;
    let received = came(spent);
    let mut rest = escrow.deposits.all().len() - spent.len();
    for returned in &returns.done {
        let Sent { txid, to } = &all_sent[&(id, true)];
        let back = Piconero(came(&returned.paid.spends).0 - FEE.0);
        assert_eq!((*txid, &to[..]), (returned.txid, &[(contract.buyer.payout_address, back)][..]), "{id}");
        rest -= returned.paid.spends.len();
    }
    assert_eq!((rest, escrow.settling()), (0, None), "{id}: all that came is paid out or went back");
    let paid = Piconero::sum(to.iter().map(|(_, amount)| *amount)).unwrap();
    assert_eq!(paid.0 + FEE.0, received.0, "{id}: all of it");
    let gross = gross(contract, received.0, settled.outcome, settled.authority);
    for (person, due) in [&contract.buyer, &contract.seller, &contract.arbiter].into_iter().zip(gross) {
        let got = to.iter().find(|(address, _)| *address == person.payout_address);
        let got = got.map_or(0, |(_, amount)| amount.0);
        assert!(got <= due && due - got <= FEE.0, "{id}: {} got {got} of {due}", person.username);
    }
}

/// What buyer, seller and arbiter are due before the network fee.
fn gross(contract: &Contract, received: u64, outcome: Outcome, authority: Authority) -> [u64; 3] {
    let amount = contract.amount.0;
    if received < amount {
        return [received, 0, 0];
    }
    let fee = if matches!(authority, Authority::Ruling | Authority::Expiry) {
        amount * u64::from(contract.arbiter_fee_bps) / 10_000
    } else {
        0
    };
    let of_seller = match outcome {
        Outcome::Release => amount,
        Outcome::Refund => 0,
        Outcome::Split { seller, .. } => seller.0,
    };
    let sellers_fee = (u128::from(fee) * u128::from(of_seller) / u128::from(amount)) as u64;
    [received - of_seller - (fee - sellers_fee), of_seller - sellers_fee, fee]
}

/// Every notice that follows from a journal is stored once for each party, in its order; every socket and every reader of a
/// feed got exactly what is stored, once, in its order.
async fn told(month: &Month, live: &Live, found: &Found) -> usize {
    let store = &live.server.store;
    let mut of_user: HashMap<UserId, Vec<i64>> = HashMap::new();
    let mut of_escrow: HashMap<(EscrowId, UserId), Vec<String>> = HashMap::new();
    let mut replaced: HashSet<(EscrowId, UserId)> = HashSet::new();
    let (mut ids, mut after, mut count) = (HashSet::new(), 0, 0);
    loop {
        let page = store.events_after(after, 1_000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.seq;
        for event in page {
            count += 1;
            assert!(ids.insert(event.event_id), "an id is given once");
            of_user.entry(event.user_id).or_default().push(event.seq);
            let key = (event.escrow_id.unwrap(), event.user_id);
            match event.kind.as_str() {
                "EscrowReplaced" => assert!(replaced.insert(key), "told once"),
                // Of an arbiter and not of the journal.
                "ArbiterSilent" => {}
                _ => of_escrow.entry(key).or_default().push(event.kind),
            }
        }
    }
    let mut parties = 0;
    for (id, notices) in &found.notices {
        for user in found.parties[id] {
            assert_eq!(of_escrow[&(*id, user)], *notices, "{id}");
            parties += 1;
        }
    }
    assert_eq!(of_escrow.len(), parties, "nobody else is told anything");
    for old in &found.replaced {
        let [buyer, seller, _] = found.parties[old];
        assert!(replaced.contains(&(*old, buyer)) && replaced.contains(&(*old, seller)));
    }
    assert_eq!(replaced.len(), 2 * found.replaced.len());
    super::until("all is handed over", async || store.outbox_cursor("sessions").await.unwrap() == after)
        .await;
    let passed = month.passed.lock().unwrap();
    // A crash repeats no more than what was handed over since the last note of how far it came.
    assert!(passed.again <= month.down.len() * 256);
    for (user, seqs) in &of_user {
        assert_eq!(passed.of.get(user), Some(seqs), "the sockets of {user}");
        assert_eq!(month.feeds.get(user), Some(seqs), "the feed of {user}");
    }
    assert_eq!(passed.of.len(), of_user.len());
    count
}

/// Every choice of an arbiter can be made again from what was recorded; what was recorded is what the journals and the signs of
/// life say; and the chosen one was among the least busy.
async fn assignments(month: &Month, live: &Live, ids: &[EscrowId], found: &Found) -> usize {
    let mut successors = HashMap::new();
    let mut bars: BTreeMap<String, usize> = BTreeMap::new();
    let unmade = unmade(month);
    for id in ids {
        let row = live.server.store.assignment(*id).await.unwrap().unwrap();
        let choice: Choice = serde_json::from_str(&row.choice).unwrap();
        let chosen = choice.chosen().unwrap();
        assert_eq!(chosen.user_id, row.arbiter_id);
        assert_eq!(row.arbiter_id, found.parties[id][2]);
        let free: Vec<_> = choice.candidates.iter().filter(|one| choice.bar(one).is_none()).collect();
        assert!(free.iter().all(|one| chosen.open <= one.open), "somebody else had less to do");
        assert_eq!(choice.candidates.len(), if choice.named { 1 } else { month.size.arbiters });
        // In the moment of a crash a choice may have been made for an escrow that was not.
        if !month.down.iter().any(|(from, _)| *from == row.at) {
            for candidate in &choice.candidates {
                let (least, most) = load(found, candidate.user_id, row.at);
                let perhaps = unmade.iter().filter(|(arbiter, at)| {
                    *arbiter == candidate.user_id && *at <= row.at && row.at.duration_since(*at) <= BEING_MADE
                });
                let most = most + perhaps.count();
                let open = candidate.open as usize;
                assert!((least..=most).contains(&open), "{open} is not from {least} to {most} at {}", row.at);
            }
        }
        for candidate in &choice.candidates {
            let heard = month.heard.get(&candidate.user_id).into_iter().flatten();
            let seen = heard.copied().filter(|heard| *heard <= row.at).max().unwrap_or(month.began);
            assert_eq!(candidate.seen_at, seen, "{} was heard last", candidate.username);
            let is_silent = unheard(month, seen, row.at) > SILENT;
            assert_eq!(candidate.seen_at < choice.silent_before, is_silent, "{}", candidate.username);
        }
        for bar in choice.candidates.iter().filter_map(|one| choice.bar(one)) {
            *bars.entry(format!("{bar:?}")).or_default() += 1;
        }
        if let Some(old) = row.replaces {
            assert!(successors.insert(old, *id).is_none(), "a place is taken once");
            assert_ne!(found.parties[&old][2], row.arbiter_id, "another arbiter");
        }
    }
    for id in &found.vacant {
        assert!(successors.contains_key(id), "nothing took the place of {id}");
    }
    eprintln!("arbiters who could not be had: {bars:?}");
    for bar in [Bar::Party, Bar::Conflict, Bar::Declined, Bar::Silent] {
        assert!(bars.contains_key(&format!("{bar:?}")), "{bar:?} never came up");
    }
    ids.len()
}

/// Choices of arbiters for escrows that were never made, because of a crash or a refusal: who was chosen, and when.
fn unmade(month: &Month) -> Vec<(UserId, Timestamp)> {
    let DatabaseUrl::Sqlite(path) = month.universe.url() else { panic!("SQLite") };
    let mut raw = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    let unmade =
        "SELECT arbiter_id AS arbiter, at FROM assignments WHERE escrow_id NOT IN (SELECT id FROM escrows)";
    let unmade: Vec<Unmade> = diesel::sql_query(unmade).load(&mut raw).unwrap();
    let choice = |Unmade { arbiter, at }: Unmade| {
        let arbiter = UserId(uuid::Uuid::from_slice(&arbiter).unwrap());
        (arbiter, Timestamp::from_millisecond(at).unwrap())
    };
    unmade.into_iter().map(choice).collect()
}

#[derive(QueryableByName)]
struct Unmade {
    #[diesel(sql_type = Binary)]
    arbiter: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    at: i64,
}

/// How long nothing was heard, of the time in which a server ran.
fn unheard(month: &Month, since: Timestamp, at: Timestamp) -> SignedDuration {
    let down = month.down.iter().map(|(from, to)| (*to).min(at).duration_since((*from).max(since)));
    let down = down.filter(SignedDuration::is_positive).fold(SignedDuration::ZERO, |sum, one| sum + one);
    at.duration_since(since) - down
}

/// How many cases an arbiter had at a moment; what happened in that very moment may have come before or after.
fn load(found: &Found, arbiter: UserId, at: Timestamp) -> (usize, usize) {
    let cases = found.cases.iter().filter(|(of, ..)| *of == arbiter);
    cases.fold((0, 0), |(least, most), (_, from, to)| {
        let surely = *from < at && to.is_none_or(|to| to > at);
        let perhaps = *from <= at && to.is_none_or(|to| to >= at);
        (least + usize::from(surely), most + usize::from(perhaps))
    })
}
