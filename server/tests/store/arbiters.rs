//! Arbiters: who is chosen, who is heard, whose place is vacant.

use std::collections::BTreeMap;

use aegis_common::arbiter::{Bar, Choice};
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::time::{SignedDuration, Timestamp};
use aegis_server::store::{Assigned, CommitError, NewEvent, Note, Offer, Role, Sought, Store, StoreError};
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::rows::{next, now, opening, user};

async fn somebody(store: &Store, role: Role) -> UserId {
    let row = user(&Uuid::now_v7().to_string(), role);
    let id = row.id;
    store.insert_user(row).await.unwrap();
    id
}

/// Makes arbiters, and gives them with everybody else who is one.
async fn pool(store: &Store, count: usize) -> (Vec<UserId>, Vec<UserId>) {
    let others = store.arbiters(None, 10_000).await.unwrap().into_iter().map(|row| row.user.id).collect();
    let mut ours = Vec::new();
    for _ in 0..count {
        ours.push(somebody(store, Role::Arbiter).await);
    }
    (ours, others)
}

fn sought(traders: [UserId; 2], others: &[UserId]) -> Sought {
    Sought {
        escrow: EscrowId(Uuid::now_v7()),
        at: now(),
        traders,
        named: None,
        replaces: None,
        declined: others.to_vec(),
        silent_before: now() - SignedDuration::from_hours(24),
        capacity: 1_000,
        most_unfunded: 1_000,
    }
}

fn who(assigned: &Assigned) -> UserId {
    match assigned {
        Assigned::To { arbiter, .. } => arbiter.id,
        other => panic!("{other:?}"),
    }
}

pub async fn arbiters(store: &Store) {
    many_at_once(store).await;
    conflicts(store).await;
    neighbours(store).await;
    room(store).await;
    places(store).await;
    silence(store).await;
    outages(store).await;
}

/// Among equals the load never differs by more than one, however many are assigned at once, and each choice can be made again.
async fn many_at_once(store: &Store) {
    let (ours, others) = pool(store, 7).await;
    let traders = [somebody(store, Role::User).await, somebody(store, Role::User).await];
    let all: Vec<Sought> = (0..100).map(|_| sought(traders, &others)).collect();
    let outcomes = join_all(all.iter().map(|one| store.assign(one.clone()))).await;
    let mut load: BTreeMap<UserId, u32> = ours.iter().map(|id| (*id, 0)).collect();
    for (one, outcome) in all.iter().zip(outcomes) {
        let chosen = who(&outcome.unwrap());
        *load.get_mut(&chosen).unwrap() += 1;
        let row = store.assignment(one.escrow).await.unwrap().unwrap();
        let choice: Choice = serde_json::from_str(&row.choice).unwrap();
        assert_eq!(choice.chosen().unwrap().user_id, chosen);
        assert_eq!((row.arbiter_id, row.replaces), (chosen, None));
        assert!(choice.considered >= 7);
    }
    let counts: Vec<u32> = load.values().copied().collect();
    assert!(counts.iter().all(|count| [14, 15].contains(count)), "{counts:?}");
    // Those whose escrows were never made stop counting, and are forgotten.
    let later = Sought { at: now() + SignedDuration::from_mins(6), ..sought(traders, &others) };
    store.assign(later.clone()).await.unwrap();
    let choice = store.assignment(later.escrow).await.unwrap().unwrap().choice;
    let choice: Choice = serde_json::from_str(&choice).unwrap();
    assert_eq!(choice.chosen().unwrap().open, 0);
    let before = now() + SignedDuration::from_secs(1);
    assert_eq!(store.purge_assignments((now(), before), 10_000).await.unwrap(), 100);
    assert_eq!(store.assignment(all[0].escrow).await.unwrap(), None);
}

async fn conflicts(store: &Store) {
    let (ours, others) = pool(store, 2).await;
    let [ann, bob] = [somebody(store, Role::User).await, somebody(store, Role::User).await];
    // The first trades with Bob; the second arbitrates for them both.
    let trade = opening([bob, ours[0], ours[1]]);
    store.commit(trade.clone()).await.unwrap();
    assert_eq!(who(&store.assign(sought([ann, bob], &others)).await.unwrap()), ours[1]);
    let named = |id| Sought { named: Some(id), ..sought([bob, ann], &[]) };
    assert_eq!(store.assign(named(ours[0])).await.unwrap(), Assigned::Barred(Some(Bar::Conflict)));
    assert_eq!(store.assign(named(ann)).await.unwrap(), Assigned::Barred(None));
    // With others it may.
    let strangers = [somebody(store, Role::User).await, ann];
    assert_eq!(who(&store.assign(sought(strangers, &others)).await.unwrap()), ours[0]);
    // And once that is over.
    let mut over = next(&trade);
    over.escrow.status = "COMPLETED_RELEASED".to_owned();
    store.commit(over).await.unwrap();
    assert_eq!(who(&store.assign(named(ours[0])).await.unwrap()), ours[0]);
    // Who says so takes on nothing, or no more than it says.
    let offer = |accepting, capacity| Offer {
        about: "Fair.".to_owned(),
        languages: vec!["en".to_owned(), "pt-BR".to_owned()],
        fee_bps: Some(250),
        capacity,
        accepting,
    };
    let note = || Note {
        user: None,
        at: now(),
        kind: "tried",
        network: None,
        detail: json!({}),
        tell: false,
        under: None,
    };
    store.set_offer(ours[0], offer(false, None), note()).await.unwrap();
    assert_eq!(store.assign(named(ours[0])).await.unwrap(), Assigned::Barred(Some(Bar::NotAccepting)));
    store.set_offer(ours[0], offer(true, Some(0)), note()).await.unwrap();
    assert_eq!(store.assign(named(ours[0])).await.unwrap(), Assigned::Barred(Some(Bar::Full)));
    store.set_offer(ours[0], offer(true, Some(100)), note()).await.unwrap();
    let Assigned::To { fee_bps, .. } = store.assign(named(ours[0])).await.unwrap() else { panic!() };
    assert_eq!(fee_bps, Some(250));
    let rows = store.arbiters(None, 10_000).await.unwrap();
    let row = rows.into_iter().find(|row| row.user.id == ours[0]).unwrap();
    assert_eq!((row.offer, row.assigned_at), (offer(true, Some(100)), Some(now())));
    let nobody = Sought { declined: [others, ours].concat(), ..sought([ann, bob], &[]) };
    assert_eq!(store.assign(nobody).await.unwrap(), Assigned::Nobody);
}

/// Who trades with whom counts from the choice on, and nobody trades with the arbiter of an escrow of theirs.
async fn neighbours(store: &Store) {
    let (ours, others) = pool(store, 2).await;
    let [ann, bob] = [somebody(store, Role::User).await, somebody(store, Role::User).await];
    let named = |id, traders| Sought { named: Some(id), ..sought(traders, &[]) };
    // The first arbiter is about to trade with Bob, under the second.
    assert_eq!(who(&store.assign(named(ours[1], [ours[0], bob])).await.unwrap()), ours[1]);
    assert_eq!(
        store.assign(named(ours[0], [ann, bob])).await.unwrap(),
        Assigned::Barred(Some(Bar::Conflict))
    );
    // Whoever is about to arbitrate for Bob, or does, trades with neither him nor, in an escrow of his, with anybody else of it.
    for traders in [[bob, ours[1]], [ours[1], ours[0]]] {
        assert_eq!(store.assign(sought(traders, &others)).await.unwrap(), Assigned::Conflict);
    }
    let cat = somebody(store, Role::User).await;
    let case = opening([cat, ann, ours[0]]);
    store.commit(case.clone()).await.unwrap();
    for traders in [[cat, ours[0]], [ours[0], cat], [ann, ours[0]]] {
        assert_eq!(store.assign(sought(traders, &others)).await.unwrap(), Assigned::Conflict);
    }
    // One who is let go may take a trader's part in the escrow that takes the place.
    let edited = Sought { replaces: Some(case.escrow.id), ..named(ours[1], [cat, ours[0]]) };
    assert_eq!(who(&store.assign(edited).await.unwrap()), ours[1]);
    let mut over = next(&case);
    over.escrow.status = "CANCELLED".to_owned();
    store.commit(over).await.unwrap();
    assert_eq!(who(&store.assign(named(ours[1], [ann, ours[0]])).await.unwrap()), ours[1]);
}

/// Nobody fills arbiters up with escrows that are never paid for.
async fn room(store: &Store) {
    let (ours, others) = pool(store, 1).await;
    let [ann, bob] = [somebody(store, Role::User).await, somebody(store, Role::User).await];
    let asked = || Sought { most_unfunded: 2, ..sought([ann, bob], &others) };
    let begun = opening([ann, bob, ours[0]]);
    store.commit(begun.clone()).await.unwrap();
    // The second is being made.
    assert_eq!(who(&store.assign(asked()).await.unwrap()), ours[0]);
    assert_eq!(store.assign(asked()).await.unwrap(), Assigned::TooMany);
    // It counts for who begins, not for the other.
    let other = Sought { traders: [bob, ann], ..asked() };
    assert_eq!(who(&store.assign(other).await.unwrap()), ours[0]);
    // What takes the place of another is not one more.
    let edited = Sought { replaces: Some(begun.escrow.id), ..asked() };
    assert_eq!(who(&store.assign(edited).await.unwrap()), ours[0]);
    // What is paid for does not count, and what was never made stops counting.
    let mut paid = next(&begun);
    paid.escrow.status = "ACTIVE".to_owned();
    store.commit(paid).await.unwrap();
    let later = || Sought { at: now() + SignedDuration::from_mins(6), ..asked() };
    assert_eq!(who(&store.assign(later()).await.unwrap()), ours[0]);
    // What takes the place of one that was deleted is one more again, unless its arbiter would not have it.
    let mut gone = opening([ann, bob, ours[0]]);
    gone.escrow.status = "CANCELLED".to_owned();
    store.commit(gone.clone()).await.unwrap();
    let again = || Sought { replaces: Some(gone.escrow.id), most_unfunded: 1, ..later() };
    assert_eq!(store.assign(again()).await.unwrap(), Assigned::TooMany);
    store.want_arbiter(gone.escrow.id, now()).await.unwrap();
    assert_eq!(who(&store.assign(again()).await.unwrap()), ours[0]);
    store.close_vacancy(gone.escrow.id, Vec::new(), now()).await.unwrap();
}

/// Whatever is tried again, an escrow's place is taken once.
async fn places(store: &Store) {
    let (ours, others) = pool(store, 2).await;
    let traders = [somebody(store, Role::User).await, somebody(store, Role::User).await];
    let old = opening([traders[0], traders[1], ours[0]]);
    store.commit(old.clone()).await.unwrap();
    let place = |at| Sought { replaces: Some(old.escrow.id), at, ..sought(traders, &others) };
    let first = store.assign(place(now())).await.unwrap();
    let Assigned::To { escrow, .. } = &first else { panic!("{first:?}") };
    // Again while the escrow is being made: the same, unless another arbiter is named.
    assert_eq!(store.assign(place(now())).await.unwrap(), first);
    let other = ours.iter().find(|id| **id != who(&first)).copied();
    let named = Sought { named: other, ..place(now()) };
    assert_eq!(store.assign(named.clone()).await, Err(StoreError::Busy));
    // With another trader, or when its arbiter can't be had any more, it is chosen anew, and the one before can't be made.
    let stranger = somebody(store, Role::User).await;
    let moved = Sought { traders: [traders[0], stranger], ..place(now()) };
    let Assigned::To { escrow: anew, .. } = store.assign(moved.clone()).await.unwrap() else { panic!() };
    assert_eq!(anew, moved.escrow);
    assert_eq!(store.assignment(*escrow).await.unwrap(), None);
    let declining = Sought { declined: [others.clone(), vec![who(&first)]].concat(), ..place(now()) };
    let second = store.assign(declining.clone()).await.unwrap();
    assert_eq!(Some(who(&second)), other);
    let full = Sought { capacity: 0, ..declining };
    assert_eq!(store.assign(full).await.unwrap(), Assigned::Nobody);
    let first = store.assign(Sought { named: Some(who(&first)), ..place(now()) }).await.unwrap();
    let Assigned::To { escrow, .. } = &first else { panic!("{first:?}") };
    // It was never made: another may be, and only that one.
    let later = now() + SignedDuration::from_mins(6);
    let second = store.assign(Sought { at: later, ..named }).await.unwrap();
    let Assigned::To { escrow: made, .. } = &second else { panic!("{second:?}") };
    assert_ne!(made, escrow);
    assert_eq!(store.assignment(*escrow).await.unwrap(), None);
    assert_eq!(store.successor(old.escrow.id).await.unwrap(), Some(*made));
    let mut successor = opening([traders[0], traders[1], who(&second)]);
    (successor.journal, successor.events, successor.replaces) = (None, Vec::new(), Some(old.escrow.id));
    // Not the one to whom the place was given before.
    successor.escrow.id = *escrow;
    assert_eq!(store.commit(successor.clone()).await, Err(CommitError::Undone));
    successor.escrow.id = *made;
    store.commit(successor).await.unwrap();
    for at in [later, later + SignedDuration::from_hours(99)] {
        assert_eq!(store.assign(place(at)).await.unwrap(), Assigned::Taken(*made));
    }
    // Vacancies: wanted until they are filled, and each at its time.
    store.want_arbiter(old.escrow.id, now()).await.unwrap();
    store.want_arbiter(old.escrow.id, later).await.unwrap();
    assert!(store.vacancies(now(), 10).await.unwrap().is_empty());
    assert_eq!(store.vacancies(later, 10).await.unwrap(), [old.escrow.id]);
    store.close_vacancy(old.escrow.id, Vec::new(), later).await.unwrap();
    assert!(store.vacancies(later, 10).await.unwrap().is_empty());
}

/// Each silence is told once, to everybody with money at stake.
async fn silence(store: &Store) {
    let (ours, others) = pool(store, 1).await;
    let arbiter = ours[0];
    let traders = [somebody(store, Role::User).await, somebody(store, Role::User).await];
    let mut funded = opening([traders[0], traders[1], arbiter]);
    funded.escrow.status = "ACTIVE".to_owned();
    store.commit(funded.clone()).await.unwrap();
    store.commit(opening([traders[0], traders[1], arbiter])).await.unwrap();
    let heard = now() + SignedDuration::from_hours(1);
    store.heard(arbiter, heard).await.unwrap();
    // A sign of life from before changes nothing.
    store.heard(arbiter, now()).await.unwrap();
    let silent = async |before: Timestamp| -> Vec<Timestamp> {
        let found = store.silent_arbiters(before, None, 10_000).await.unwrap();
        found.into_iter().filter(|(id, _)| *id == arbiter).map(|(_, at)| at).collect()
    };
    assert!(silent(heard).await.is_empty());
    let after = heard + SignedDuration::from_secs(1);
    assert_eq!(silent(after).await, [heard]);
    let strict = Sought { silent_before: after, ..sought(traders, &others) };
    assert_eq!(store.assign(strict.clone()).await.unwrap(), Assigned::Nobody);
    let named = Sought { named: Some(arbiter), ..strict };
    assert_eq!(who(&store.assign(named).await.unwrap()), arbiter);
    let found = store.unattended(arbiter, None, 10).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].escrow, found[0].parties), (funded.escrow.id, [traders[0], traders[1], arbiter]));
    let event = NewEvent {
        event_id: Uuid::now_v7(),
        user_id: traders[0],
        escrow_id: Some(funded.escrow.id),
        kind: "ArbiterSilent".to_owned(),
        payload: "{}".to_owned(),
    };
    for _ in 0..2 {
        store.tell_once(vec![event.clone()], now()).await.unwrap();
    }
    let told = store.events_of(traders[0], 0, 100).await.unwrap();
    assert_eq!(told.iter().filter(|told| told.kind == "ArbiterSilent").count(), 1);
    store.heard(arbiter, after).await.unwrap();
    assert_eq!(silent(after + SignedDuration::from_secs(1)).await, [after]);
    // The queue of disputes, by what is due first.
    let mut due = Vec::new();
    for hours in [3, 1, 2] {
        let mut disputed = opening([traders[0], traders[1], arbiter]);
        disputed.escrow.status = "DISPUTED".to_owned();
        disputed.escrow.wake_at = Some(now() + SignedDuration::from_hours(24 * 900 + hours));
        store.commit(disputed.clone()).await.unwrap();
        due.push(disputed.escrow);
    }
    due.sort_by_key(|row| row.wake_at);
    let first = store.disputes(Some(arbiter), None, 2).await.unwrap();
    assert_eq!(first, due[..2]);
    let after = (first[1].wake_at.unwrap(), first[1].id);
    assert_eq!(store.disputes(Some(arbiter), Some(after), 2).await.unwrap(), due[2..]);
    assert!(store.disputes(Some(traders[0]), None, 2).await.unwrap().is_empty());
    assert!(store.disputes(None, None, 10_000).await.unwrap().len() >= 3);
    let row = store.arbiters(None, 10_000).await.unwrap().into_iter().find(|row| row.user.id == arbiter);
    let row = row.unwrap();
    assert_eq!((row.open, row.disputed), (5, 3));
    let by_name = store.arbiter_by_name(&row.user.username.to_uppercase()).await.unwrap();
    assert_eq!(by_name, Some(row));
}

async fn outages(store: &Store) {
    let at = |seconds| now() + SignedDuration::from_secs(seconds);
    let gap = Some(SignedDuration::from_secs(60));
    store.beat(at(0), gap).await.unwrap();
    store.beat(at(60), gap).await.unwrap();
    // A server that runs may be late; a clock may go back.
    store.beat(at(500), None).await.unwrap();
    store.beat(at(100), gap).await.unwrap();
    assert!(store.outages(now(), 10).await.unwrap().is_empty());
    store.beat(at(561), gap).await.unwrap();
    store.beat(at(1_000), gap).await.unwrap();
    let known = store.outages(now(), 10).await.unwrap();
    assert_eq!(known, [(at(561), at(1_000)), (at(500), at(561))]);
    assert_eq!(store.outages(at(561), 10).await.unwrap(), known[..1]);
}
