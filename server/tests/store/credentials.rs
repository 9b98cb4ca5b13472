//! Credentials: what works once, what is counted, what is sealed.

use std::sync::Arc;

use aegis_common::hash::{Hash32, Signature};
use aegis_common::identity::KeyKind;
use aegis_common::ids::{InvitationId, SessionId, UserId};
use aegis_common::time::{SignedDuration, Timestamp};
use aegis_server::crypto::{Keyring, SealError};
use aegis_server::store::{
    BackupRow, Budget, ChallengeRow, DatabaseUrl, InvitationRow, NextToken, Note, Opening, PrekeyRow,
    Registered, Role, Rotation, SessionRow, Store, StoreError, StoreOptions, TokenKeyRow, Under,
};
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::rows::{keyring, now, user};
use crate::tamper;

const MANY: u8 = 100;

fn note(user: UserId) -> Note {
    let detail = json!({});
    Note { user: Some(user), at: now(), kind: "tried", network: None, detail, tell: true, under: None }
}

async fn somebody(store: &Store) -> UserId {
    let row = user(&Uuid::now_v7().to_string(), Role::User);
    let id = row.id;
    store.insert_user(row).await.unwrap();
    id
}

fn session(of: UserId, is_key: bool, secret: u8) -> SessionRow {
    SessionRow {
        id: SessionId(Uuid::now_v7()),
        user: of,
        is_key,
        name: "a device".to_owned(),
        scopes: String::new(),
        secret_hash: Hash32([secret; 32]),
        family_hash: Hash32([77; 32]),
        network: "192.0.2.0/24".to_owned(),
        created_at: now(),
        used_at: Some(now()),
        expires_at: now() + SignedDuration::from_hours(24),
        strong: false,
    }
}

fn next(sent: u8, next: u8) -> NextToken {
    NextToken {
        family: Hash32([77; 32]),
        sent: Hash32([sent; 32]),
        next: Hash32([next; 32]),
        at: now(),
        idle: SignedDuration::from_hours(24),
        longest: SignedDuration::from_hours(48),
        network: "198.51.100.0/24".to_owned(),
    }
}

/// How many of a hundred that try at once succeed.
async fn winners<F: Future<Output = Result<bool, StoreError>>>(tries: impl Fn(u8) -> F) -> usize {
    let outcomes = join_all((0..MANY).map(tries)).await;
    outcomes.into_iter().filter(|outcome| *outcome.as_ref().unwrap()).count()
}

pub async fn credentials(url: &DatabaseUrl, store: &Store) {
    once(store).await;
    sessions(store).await;
    standing(store).await;
    counted(store).await;
    registered(store).await;
    sealed(url, store).await;
}

async fn once(store: &Store) {
    let ann = somebody(store).await;
    let codes: Vec<Hash32> = (0..3).map(|n| Hash32([100 + n; 32])).collect();
    store.replace_backup_codes(ann, codes.clone(), note(ann)).await.unwrap();
    assert_eq!(winners(|_| store.take_backup_code(ann, codes[0], note(ann))).await, 1);
    let bob = somebody(store).await;
    assert!(!store.take_backup_code(bob, codes[1], note(bob)).await.unwrap(), "somebody else's");
    assert_eq!(store.factors(ann).await.unwrap().backup_codes, 2);

    let secret = Zeroizing::new(vec![7; 20]);
    assert!(store.set_totp(ann, secret.clone(), now()).await.unwrap());
    assert!(!store.take_totp_step(ann, 5).await.unwrap(), "it is not confirmed");
    let waiting = store.totp(ann).await.unwrap().unwrap().sealed;
    assert!(
        !store.confirm_totp(ann, vec![0; 53], 5, codes.clone(), note(ann)).await.unwrap(),
        "another secret"
    );
    assert!(store.confirm_totp(ann, waiting.clone(), 5, codes.clone(), note(ann)).await.unwrap());
    assert!(!store.confirm_totp(ann, waiting, 6, codes.clone(), note(ann)).await.unwrap());
    assert!(!store.set_totp(ann, secret, now()).await.unwrap(), "one is confirmed");
    assert_eq!(winners(|_| store.take_totp_step(ann, 6)).await, 1);
    for used in [4, 5, 6] {
        assert!(!store.take_totp_step(ann, used).await.unwrap(), "{used}");
    }
    assert!(store.factors(ann).await.unwrap().is_needed());
    store.remove_totp(ann, note(ann)).await.unwrap();
    assert_eq!(store.factors(ann).await.unwrap(), Default::default(), "the codes go with the last factor");

    let challenge = ChallengeRow {
        id: Hash32([1; 32]),
        user: ann,
        origin: "here".to_owned(),
        tries_left: 5,
        name: "a device".to_owned(),
        state: Some("{}".to_owned()),
        expires_at: now() + SignedDuration::from_mins(5),
    };
    store.begin(challenge.clone(), None).await.unwrap();
    let tried = |origin: &str, at| store.try_challenge(challenge.id, origin.to_owned(), at);
    assert_eq!(tried("elsewhere", now()).await.unwrap(), None);
    assert_eq!(tried("here", challenge.expires_at).await.unwrap(), None);
    assert_eq!(winners(async |_| Ok(tried("here", now()).await?.is_some())).await, 5);
    assert_eq!(winners(|_| store.end_challenge(challenge.id)).await, 1);

    let signature = Hash32([2; 32]);
    let reset = async |n: u8| {
        let hash = format!("$argon2id${n}");
        Ok(store.reset_password(ann, hash, signature, now(), note(ann)).await?.is_some())
    };
    assert_eq!(winners(reset).await, 1);
    let stored = store.user(ann).await.unwrap().unwrap().password_hash;
    let change = async |n: u8| {
        let hash = format!("$argon2id$changed{n}");
        Ok(store.set_password(ann, stored.clone(), hash, None, note(ann)).await?.is_some())
    };
    assert_eq!(winners(change).await, 1, "each saw the same old hash");
}

async fn sessions(store: &Store) {
    let ann = somebody(store).await;
    let first = session(ann, false, 1);
    store.insert_session(first.clone(), None, 3, note(ann)).await.unwrap();
    let (stored, role) = store.session(first.id).await.unwrap().unwrap();
    assert_eq!((stored, role), (first.clone(), Role::User));
    // Who knows its name only can't end it.
    let guess = NextToken { family: Hash32([78; 32]), ..next(2, 3) };
    assert_eq!(store.rotate_session(first.id, guess, note(ann)).await.unwrap(), Rotation::Gone);
    // A hundred refresh with the same token: one goes on, the next finds a token that was used and ends the session.
    let outcomes =
        join_all((0..MANY).map(|n| store.rotate_session(first.id, next(1, 100 + n), note(ann)))).await;
    let outcomes: Vec<Rotation> = outcomes.into_iter().map(Result::unwrap).collect();
    let count = |is: fn(&Rotation) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    assert_eq!(count(|outcome| matches!(outcome, Rotation::Done(_))), 1);
    assert_eq!(count(|outcome| matches!(outcome, Rotation::Reused(_))), 1);
    assert_eq!(store.session(first.id).await.unwrap(), None);
    let told = store.events_of(ann, 0, 1000).await.unwrap();
    assert!(told.iter().all(|event| event.kind == "AccountNotice"));
    // In order it goes on, moves, and never beyond its longest time.
    let second = session(ann, false, 1);
    store.insert_session(second.clone(), None, 3, note(ann)).await.unwrap();
    let later = |hours| NextToken { at: now() + SignedDuration::from_hours(hours), ..next(1, 1) };
    for (hours, until) in [(20, 44), (40, 48)] {
        let Rotation::Done(row) = store.rotate_session(second.id, later(hours), note(ann)).await.unwrap()
        else {
            panic!("it does not go on")
        };
        assert_eq!(row.expires_at, now() + SignedDuration::from_hours(until));
        assert_eq!(row.network, "198.51.100.0/24");
    }
    assert_eq!(store.rotate_session(second.id, later(48), note(ann)).await.unwrap(), Rotation::Gone);
    // Of logins the least recently used goes, of keys none.
    let mut ids = vec![second.id];
    for minutes in 1..=3 {
        let used_at = Some(now() + SignedDuration::from_hours(50) + SignedDuration::from_mins(minutes));
        let row = SessionRow { used_at, ..session(ann, false, 9) };
        ids.push(row.id);
        let ended = store.insert_session(row, None, 3, note(ann)).await.unwrap().unwrap();
        assert_eq!(ended, if minutes == 3 { vec![ids[0]] } else { Vec::new() });
    }
    let key = session(ann, true, 5);
    assert!(store.insert_session(key.clone(), None, 1, note(ann)).await.unwrap().is_some());
    assert!(store.insert_session(session(ann, true, 6), None, 1, note(ann)).await.unwrap().is_none());
    assert_eq!(store.rotate_session(key.id, next(5, 6), note(ann)).await.unwrap(), Rotation::Gone);
    assert!(!store.end_session(ann, key.id, false, note(ann)).await.unwrap(), "a key is no login");
    let bob = somebody(store).await;
    assert!(!store.end_session(bob, ids[1], false, note(bob)).await.unwrap(), "somebody else's");
    let ended = store.end_logins(ann, Some(ids[3]), note(ann)).await.unwrap();
    assert_eq!(ended.len(), 2);
    assert_eq!(store.sessions_of(ann, false).await.unwrap().len(), 1);
    assert_eq!(store.sessions_of(ann, true).await.unwrap(), std::slice::from_ref(&key));
    let ended = store.set_disabled(ann, true, note(ann)).await.unwrap();
    assert_eq!(ended.len(), 2);
    assert!(store.is_disabled(ann).await.unwrap());
    store.set_disabled(ann, false, note(ann)).await.unwrap();
    assert!(!store.is_disabled(ann).await.unwrap());
}

/// What is checked before a change is checked again in the transaction that makes it.
async fn standing(store: &Store) {
    let ann = somebody(store).await;
    let hash = store.user(ann).await.unwrap().unwrap().password_hash;
    let opening = |hash: &str, strong| Some(Opening { password_hash: hash.to_owned(), strong });
    let open = |opening| store.insert_session(session(ann, false, 1), opening, 9, note(ann));
    assert!(open(opening(&hash, false)).await.unwrap().is_some());
    assert_eq!(
        open(opening("$another", false)).await,
        Err(StoreError::SessionOver),
        "the password was changed"
    );
    store.set_disabled(ann, true, note(ann)).await.unwrap();
    assert_eq!(open(opening(&hash, true)).await, Err(StoreError::SessionOver), "the account was disabled");
    store.set_disabled(ann, false, note(ann)).await.unwrap();
    store.set_totp(ann, Zeroizing::new(vec![7; 20]), now()).await.unwrap();
    let waiting = store.totp(ann).await.unwrap().unwrap().sealed;
    store.confirm_totp(ann, waiting, 5, vec![Hash32([41; 32])], note(ann)).await.unwrap();
    assert_eq!(open(opening(&hash, false)).await, Err(StoreError::SessionOver), "a factor was set up");
    assert!(open(opening(&hash, true)).await.unwrap().is_some());
    store.remove_totp(ann, note(ann)).await.unwrap();

    let login = session(ann, false, 1);
    store.insert_session(login.clone(), None, 9, note(ann)).await.unwrap();
    let under = |role| Note { under: Some(Under { session: login.id, role }), ..note(ann) };
    store.set_role(ann, Role::Admin, under(Some(Role::User))).await.unwrap();
    let lines = store.audit_of(ann, None, 100).await.unwrap().len();
    let refused = store.set_payout_address(ann, "elsewhere".to_owned(), under(Some(Role::User))).await;
    assert_eq!(refused, Err(StoreError::SessionOver), "the role was changed");
    store.end_session(ann, login.id, false, note(ann)).await.unwrap();
    let refused = store.insert_session(session(ann, true, 1), None, 9, under(None)).await;
    assert_eq!(refused, Err(StoreError::SessionOver), "the session was ended");
    let row = store.user(ann).await.unwrap().unwrap();
    assert_eq!(row.payout_address, "888t");
    assert!(store.sessions_of(ann, true).await.unwrap().is_empty());
    assert_eq!(store.audit_of(ann, None, 100).await.unwrap().len(), lines + 1, "only the end is told");

    // A login that waits for its second factor is over with the password it began with.
    let challenge = ChallengeRow {
        id: Hash32([42; 32]),
        user: ann,
        origin: String::new(),
        tries_left: 5,
        name: String::new(),
        state: None,
        expires_at: now() + SignedDuration::from_mins(5),
    };
    store.begin(challenge.clone(), opening(&hash, true)).await.unwrap();
    store.set_password(ann, hash.clone(), "$new".to_owned(), None, note(ann)).await.unwrap();
    assert!(!store.end_challenge(challenge.id).await.unwrap());
    assert_eq!(store.begin(challenge, opening(&hash, true)).await, Err(StoreError::SessionOver));
}

async fn counted(store: &Store) {
    let (one, other) = (Hash32([21; 32]), Hash32([22; 32]));
    let budget = |key, tries| Budget::per_minute(key, tries);
    let spent = async |_| Ok(store.spend(vec![budget(one, 10)], now()).await?.is_none());
    assert_eq!(winners(spent).await, 10);
    // Of several budgets all are spent, or none.
    let both = || vec![budget(one, 10), budget(other, 2)];
    assert_eq!(store.spend(both(), now()).await.unwrap(), Some(now() + SignedDuration::from_secs(6)));
    for expected in [true, true, false] {
        let outcome = store.spend(vec![budget(other, 2)], now()).await.unwrap();
        assert_eq!(outcome.is_none(), expected);
    }
    // A clock that was a day ahead for a while keeps nobody out for a day.
    let ahead = now() + SignedDuration::from_hours(24);
    assert_eq!(store.spend(vec![budget(other, 2)], ahead).await.unwrap(), None);
    assert_eq!(store.spend(vec![budget(other, 2)], now()).await.unwrap(), None);
    store.refund(other).await.unwrap();
    assert_eq!(store.spend(vec![budget(other, 2)], now()).await.unwrap(), None);
    assert!(store.purge_budgets(now() + SignedDuration::from_hours(1), 100).await.unwrap() >= 2);
    // Lines of the audit are read newest first, and forgotten when old.
    let ann = somebody(store).await;
    for _ in 0..5 {
        store.note(note(ann)).await.unwrap();
    }
    let page = store.audit_of(ann, None, 3).await.unwrap();
    let rest = store.audit_of(ann, Some(page[2].seq), 10).await.unwrap();
    assert_eq!((page.len(), rest.len()), (3, 2));
    assert!(page.iter().chain(&rest).zip(page.iter().chain(&rest).skip(1)).all(|(a, b)| a.seq > b.seq));
    assert_eq!(store.purge_audit(now(), 1000).await.unwrap(), 0);
}

async fn registered(store: &Store) {
    let ann = somebody(store).await;
    store.set_role(ann, Role::Admin, note(ann)).await.unwrap();
    for version in 1..=4 {
        let kept = store.add_backup(ann, vec![7; 9], 3, note(ann)).await.unwrap();
        assert_eq!((kept.version, kept.size), (version, 9));
    }
    let versions = |rows: Vec<BackupRow>| rows.into_iter().map(|row| row.version).collect::<Vec<_>>();
    assert_eq!(versions(store.backups(ann, 10).await.unwrap()), [4, 3, 2]);
    let key =
        |kind, key_id| PrekeyRow { kind, key_id, public_key: vec![1; 32], signature: Signature([2; 64]) };
    let keys = |from: u32| {
        let mut keys: Vec<_> = (from..from + 5).map(|id| key(KeyKind::OneTimePrekey, id)).collect();
        keys.push(key(KeyKind::SignedPrekey, from));
        keys
    };
    assert!(store.add_prekeys(ann, keys(0), false, 10, now()).await.unwrap());
    assert_eq!(store.add_prekeys(ann, keys(4), false, 10, now()).await, Err(StoreError::Duplicate));
    assert!(store.add_prekeys(ann, keys(5), false, 10, now()).await.unwrap());
    assert!(!store.add_prekeys(ann, keys(10), false, 10, now()).await.unwrap());
    assert_eq!(store.count_prekeys(ann, KeyKind::OneTimePrekey).await.unwrap(), 10);
    assert!(store.add_prekeys(ann, keys(0), true, 10, now()).await.unwrap());
    assert_eq!(store.count_prekeys(ann, KeyKind::OneTimePrekey).await.unwrap(), 5);
    assert_eq!(store.count_prekeys(ann, KeyKind::SignedPrekey).await.unwrap(), 1);
    let token = Hash32([31; 32]);
    let invitation = InvitationRow {
        id: InvitationId(Uuid::now_v7()),
        token_hash: token,
        role: Role::Arbiter,
        created_by: Some(ann),
        created_at: now(),
        expires_at: now() + SignedDuration::from_hours(1),
        accepted_by: None,
    };
    assert!(store.invite(invitation.clone(), 1, note(ann)).await.unwrap());
    let more = InvitationRow { id: InvitationId(Uuid::now_v7()), token_hash: Hash32([32; 32]), ..invitation };
    assert!(!store.invite(more, 1, note(ann)).await.unwrap());
    // Who may not invite any more has not invited.
    for disable in [false, true] {
        if disable {
            store.set_role(ann, Role::Admin, note(ann)).await.unwrap();
            store.set_disabled(ann, true, note(ann)).await.unwrap();
        } else {
            store.set_role(ann, Role::User, note(ann)).await.unwrap();
        }
        let guest = user(&Uuid::now_v7().to_string(), Role::User);
        let outcome = store.register(guest, Vec::new(), Some(token), note(ann)).await;
        assert_eq!(outcome, Ok(Registered::BadInvitation));
    }
    store.set_disabled(ann, false, note(ann)).await.unwrap();
    let register = async |_: u8| {
        let row = user(&Uuid::now_v7().to_string(), Role::User);
        let note = note(row.id);
        Ok(match store.register(row, Vec::new(), Some(token), note).await? {
            Registered::As(role) => {
                assert_eq!(role, Role::Arbiter);
                true
            }
            Registered::BadInvitation => false,
        })
    };
    assert_eq!(winners(register).await, 1);
    // A name that is taken leaves nothing behind, of whatever came with it.
    let taken = user("Somebody", Role::User);
    store.register(taken, Vec::new(), None, note(ann)).await.unwrap();
    let before = store.audit_of(ann, None, 100).await.unwrap().len();
    let again = store.register(user("SOMEBODY", Role::User), Vec::new(), None, note(ann)).await;
    assert_eq!(again, Err(StoreError::UsernameTaken));
    assert_eq!(store.audit_of(ann, None, 100).await.unwrap().len(), before);
    let names = |rows: Vec<aegis_server::store::UserRow>| {
        rows.into_iter().map(|row| row.username).collect::<Vec<_>>()
    };
    assert_eq!(names(store.users_by_prefix("sOmE", None, 10).await.unwrap()), ["Somebody"]);
    assert!(store.users_by_prefix("some_ody", None, 10).await.unwrap().is_empty());
}

async fn sealed(url: &DatabaseUrl, store: &Store) {
    let ann = somebody(store).await;
    let secret = Zeroizing::new(b"the shared secret...".to_vec());
    store.set_totp(ann, secret.clone(), now()).await.unwrap();
    let key = |kid: &str, at: Timestamp| TokenKeyRow {
        kid: kid.to_owned(),
        seed: Zeroizing::new([9; 32]),
        created_at: at,
    };
    store.add_token_key(key("one", now()), None).await.unwrap();
    // Two servers find the same key due: one makes the next.
    let later = now() + SignedDuration::from_hours(1);
    store.add_token_key(key("two", later), Some(now())).await.unwrap();
    store.add_token_key(key("three", later), Some(now())).await.unwrap();
    let kids = |rows: Vec<TokenKeyRow>| rows.into_iter().map(|row| row.kid).collect::<Vec<_>>();
    assert_eq!(kids(store.token_keys().await.unwrap()), ["one", "two"]);
    // A rotation that is cut off after its first step goes on where it is called again.
    let both = Keyring::parse(&format!("{},{}", "a".repeat(64), "c".repeat(64))).unwrap();
    let both = Store::open(url, Arc::new(both), StoreOptions::default()).unwrap();
    let first = both.reseal(None, 1).await.unwrap();
    assert!(first.changed >= 2, "the keys of login tokens come first");
    let new = Store::open(url, keyring("c"), StoreOptions::default()).unwrap();
    assert_eq!(*new.token_keys().await.unwrap()[0].seed, [9; 32]);
    assert!(new.totp(ann).await.is_err(), "it comes last");
    let (mut after, mut changed) = (None, 0);
    loop {
        let step = both.reseal(after, 1).await.unwrap();
        changed += step.changed;
        after = step.next;
        if after.is_none() {
            break;
        }
    }
    assert!(changed >= 1);
    assert_eq!(new.totp(ann).await.unwrap().unwrap().secret, secret);
    // A key is retired only when nothing lies under it, and then nothing can come to lie under it.
    let (a, c) = (keyring("a").current_id(), keyring("c").current_id());
    for id in [a, c] {
        store.use_seal_key(id, now()).await.unwrap();
    }
    assert!(!store.retire_seal_keys_before(a, now()).await.unwrap());
    let left = store.sealed_under().await.unwrap();
    assert!(left.contains(&c));
    if left == [c] {
        assert!(store.retire_seal_keys_before(c, now()).await.unwrap());
        let bob = somebody(store).await;
        let late = store.set_totp(bob, secret.clone(), now()).await;
        let retired = StoreError::Sealed(SealError::Retired(a));
        assert_eq!(late, Err(retired.clone()));
        assert_eq!(store.use_seal_key(a, now()).await, Err(retired));
        assert_eq!(store.seal_keys().await.unwrap(), [c]);
        assert!(new.set_totp(bob, secret.clone(), now()).await.unwrap());
        store.remove_factors(bob, note(bob)).await.unwrap();
        tamper(url, "DELETE FROM seal_keys");
    }
    // Back again for what comes after this test.
    let back = Keyring::parse(&format!("{},{}", "c".repeat(64), "a".repeat(64))).unwrap();
    let back = Store::open(url, Arc::new(back), StoreOptions::default()).unwrap();
    let mut after = None;
    loop {
        after = back.reseal(after, 1000).await.unwrap().next;
        if after.is_none() {
            break;
        }
    }
    store.remove_factors(ann, note(ann)).await.unwrap();
    store.remove_token_keys(vec!["one".to_owned(), "two".to_owned()]).await.unwrap();
    assert!(store.token_keys().await.unwrap().is_empty());
}
