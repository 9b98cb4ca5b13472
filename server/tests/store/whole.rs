//! The end of watches, and the whole of what is stored.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aegis_common::time::Timestamp;
use aegis_server::store::{DatabaseUrl, Expected, Store, StoreError};
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, RunQueryDsl, SqliteConnection, sql_query};
use serde_json::{Value, json};

use crate::rows::{answer, next, now, opening, parties, watched};

pub async fn unwatching(store: &Store) {
    let people = parties(store).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let mut commit = watched(opening(people), [8; 32]);
        if n > 0 {
            commit.escrow.status = "EXPIRED".to_owned();
        }
        if n == 4 {
            // Something is waited for.
            commit.escrow.wake_at = Some(now());
        }
        store.commit(commit.clone()).await.unwrap();
        ids.push(commit.escrow.id);
        if n == 3 {
            // A late payment, perhaps: it changed a moment ago.
            let mut late = next(&commit);
            late.escrow.updated_at = Timestamp::from_millisecond(now().as_millisecond() + 1).unwrap();
            store.commit(late).await.unwrap();
        }
    }
    let later = Timestamp::from_millisecond(now().as_millisecond() + 1).unwrap();
    assert!(store.unwatch(vec!["EXPIRED"], now(), 10).await.unwrap().is_empty());
    assert_eq!(store.unwatch(vec!["EXPIRED", "CANCELLED"], later, 1).await.unwrap(), ids[1..2]);
    assert_eq!(store.unwatch(vec!["EXPIRED", "CANCELLED"], later, 10).await.unwrap(), ids[2..3]);
    assert!(store.unwatch(vec!["EXPIRED", "CANCELLED"], later, 10).await.unwrap().is_empty());
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(store.escrow(*id).await.unwrap().unwrap().watching, [0, 3, 4].contains(&n), "{n}");
    }
    // Whoever still believes it is watched does not begin the watch anew.
    let mut held = store.escrow(ids[1]).await.unwrap().unwrap();
    assert!(!held.watching);
    held.version += 1;
    held.watching = true;
    let mut commit = opening(people);
    (commit.expected, commit.journal, commit.events) = (Expected::Version(1), None, Vec::new());
    commit.escrow = held;
    store.commit(commit).await.unwrap();
    assert!(!store.escrow(ids[1]).await.unwrap().unwrap().watching);
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    rows: i64,
}

/// Every table there is, with its number of rows.
fn counts(url: &DatabaseUrl) -> BTreeMap<String, i64> {
    let sqlite = "SELECT name, CAST(0 AS BIGINT) AS rows FROM sqlite_master WHERE type = 'table' \
                  AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_\\_%' ESCAPE '\\'";
    let postgres = "SELECT tablename::text AS name, CAST(0 AS BIGINT) AS rows FROM pg_tables \
                    WHERE schemaname = 'public' AND tablename NOT LIKE '\\_\\_%'";
    let count = |table: &str| format!("SELECT '{table}' AS name, COUNT(*) AS rows FROM {table}");
    let all = |load: &mut dyn FnMut(&str) -> Vec<Count>, tables: &str| {
        let tables = load(tables).into_iter().map(|table| table.name);
        tables.map(|table| (table.clone(), load(&count(&table))[0].rows)).collect()
    };
    match url {
        DatabaseUrl::Sqlite(path) => {
            let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            conn.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
            all(&mut |query| sql_query(query).load(&mut conn).unwrap(), sqlite)
        }
        DatabaseUrl::Postgres(url) => {
            let mut conn = PgConnection::establish(url).unwrap();
            all(&mut |query| sql_query(query).load(&mut conn).unwrap(), postgres)
        }
    }
}

/// All rows of all tables, each once, with the view keys opened.
pub async fn dump(url: &DatabaseUrl, store: &Store) {
    let people = parties(store).await;
    let key: [u8; 32] = std::array::from_fn(|n| n as u8);
    let mut commit = watched(opening(people), key);
    commit.spend_keys = Some([3, 4, 5].map(|n| aegis_common::hash::Key32([n; 32])));
    commit.idempotency = Some(answer(people[0], "dumped"));
    store.commit(commit.clone()).await.unwrap();
    for n in 0..70 {
        let mut other = opening(people);
        other.idempotency = Some(answer(people[n % 3], &format!("key {n}")));
        store.commit(other.clone()).await.unwrap();
        store.commit(next(&other)).await.unwrap();
    }
    let lines = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lines);
    let write = move |line: &Value| {
        told.lock().unwrap().push(line.clone());
        Ok(())
    };
    store.dump(write).await.unwrap();
    let lines = std::mem::take(&mut *lines.lock().unwrap());
    let mut found: BTreeMap<String, i64> = counts(url).into_keys().map(|table| (table, 0)).collect();
    for line in &lines {
        *found.entry(line["table"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(found, counts(url));
    assert!(found["journal"] > 100 && found["chain_blocks"] > 100, "more than a page: {found:?}");
    let texts: std::collections::BTreeSet<_> = lines.iter().map(Value::to_string).collect();
    assert_eq!(texts.len(), lines.len(), "a row came twice");
    let id = commit.escrow.id.to_string();
    let row = lines.iter().find(|line| line["row"]["id"] == id.as_str()).unwrap()["row"].clone();
    assert_eq!(row["view_key"], hex::encode(key));
    assert_eq!(row["spend_keys"][2], hex::encode([5; 32]));
    let damaged = lines.iter().filter(|line| line["row"]["view_key_error"].is_string()).count();
    assert!(damaged > 0, "keys were damaged before, and do not keep the rest from being seen");
    assert_eq!((&row["snapshot"], &row["buyer_id"]), (&json!({"n": 1}), &json!(people[0])));
    let full = |_: &Value| Err(std::io::Error::other("no room"));
    let Err(StoreError::Unavailable(why)) = store.dump(full).await else { panic!() };
    assert!(why.contains("no room"), "{why}");
}
