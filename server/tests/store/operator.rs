//! What operators are shown of what is stored.

use aegis_common::time::{SignedDuration, Timestamp};
use aegis_server::store::{DatabaseUrl, Store};

use crate::rows::{next, now, opening, parties, watched};
use crate::tamper;

pub async fn operator(url: &DatabaseUrl, store: &Store) {
    let early = now() - SignedDuration::from_hours(24 * 365);
    let people = parties(store).await;
    let mut made = Vec::new();
    for n in 0..5_i64 {
        let commit = opening(people);
        // Other tests look at what is watched and over.
        let mut commit = if n == 2 { commit } else { watched(commit, [8; 32]) };
        // Two changed at the same moment.
        commit.escrow.updated_at = early + SignedDuration::from_secs(n / 2);
        if n == 2 {
            commit.escrow.status = "EXPIRED".to_owned();
        }
        // Over, and giving back what came late.
        if n == 3 {
            commit.escrow.status = "COMPLETED_RELEASED".to_owned();
            commit.escrow.wake_at = Some(now() + SignedDuration::from_hours(24 * 365));
        }
        store.commit(commit.clone()).await.unwrap();
        made.push(commit);
    }
    let place = |row: &aegis_server::store::EscrowRow| (row.updated_at, row.id);
    let mut expected: Vec<_> =
        made.iter().map(|commit| place(&commit.escrow)).filter(|(_, id)| *id != made[2].escrow.id).collect();
    expected.sort_unstable();
    let (mut found, mut after) = (Vec::new(), None);
    while found.len() < 4 {
        let page = store.open_escrows(after, 1).await.unwrap();
        assert_eq!(page.len(), 1);
        after = page.first().map(place);
        found.extend(after);
    }
    assert_eq!(found, expected);

    let before = store.count_behind().await.unwrap();
    store.fall_behind(made[0].escrow.id, 7).await.unwrap();
    assert_eq!(store.count_behind().await.unwrap(), before + 1);
    store.caught_up(made[0].escrow.id, 7).await.unwrap();

    let newest = store.events_after(0, 10_000).await.unwrap().last().unwrap().seq;
    store.set_outbox_cursor("operator", newest).await.unwrap();
    let lag = async || {
        let all = store.outbox_lag().await.unwrap();
        all.into_iter().find(|lag| lag.reader == "operator").unwrap()
    };
    assert_eq!((lag().await.waiting, lag().await.oldest), (0, None));
    store.commit(next(&made[0])).await.unwrap();
    let waits = lag().await;
    assert_eq!((waits.waiting, waits.oldest), (2, Some(early)));

    let hook = |id: u8, rest: &str| {
        let (id, user) = (format!("{id:032x}"), hex::encode(people[0].0.as_bytes()));
        let blob = |hex: &str| match url {
            DatabaseUrl::Sqlite(_) => format!("x'{hex}'"),
            DatabaseUrl::Postgres(_) => format!("'\\x{hex}'::bytea"),
        };
        let (id, user, secret) = (blob(&id), blob(&user), blob("00"));
        tamper(
            url,
            &format!(
                "INSERT INTO webhooks (id, user_id, url, secret, description, since, lease, leased_until, created_at, \
                 enabled, because, due_at, failures) VALUES ({id}, {user}, 'x', {secret}, '', 0, 0, 0, 0, {rest})"
            ),
        );
    };
    let had = store.webhook_backlog(early).await.unwrap();
    let due = early.as_millisecond();
    hook(1, &format!("TRUE, NULL, {due}, 2"));
    hook(2, &format!("TRUE, NULL, {}, 0", due - 5));
    hook(3, &format!("TRUE, NULL, {}, 0", due + 1));
    hook(4, &format!("FALSE, 'gone', {due}, 9"));
    let has = store.webhook_backlog(early).await.unwrap();
    assert_eq!(has.waiting - had.waiting, 3);
    assert_eq!((has.due, has.oldest_due), (2, Timestamp::from_millisecond(due - 5).ok()));
    assert_eq!((has.failing - had.failing, has.disabled - had.disabled), (1, 1));
    tamper(url, "DELETE FROM webhooks WHERE url = 'x'");
}

pub async fn inbox(store: &Store) {
    let people = parties(store).await;
    let first = opening(people);
    store.commit(first.clone()).await.unwrap();
    store.commit(next(&first)).await.unwrap();
    let seqs: Vec<i64> =
        store.events_of(people[0], 0, 10).await.unwrap().into_iter().map(|event| event.seq).collect();
    let at = |read_up_to, unread| aegis_common::wire::event::InboxView { read_up_to, unread };
    assert_eq!(store.inbox(people[0]).await.unwrap(), at(0, 2));
    assert_eq!(store.mark_read(people[0], seqs[0]).await.unwrap(), at(seqs[0], 1));
    assert_eq!(store.mark_read(people[0], 0).await.unwrap(), at(seqs[0], 1));
    assert_eq!(store.mark_read(people[0], i64::MAX).await.unwrap(), at(seqs[1], 0));
    assert_eq!(store.mark_read(people[2], i64::MAX).await.unwrap(), at(0, 0));
    assert_eq!(store.inbox(people[1]).await.unwrap(), at(0, 2));
}
