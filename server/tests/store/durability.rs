//! What is acknowledged survives: crashes, a full disk, and the schema is the same on both databases.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::postgres::Postgres;
use crate::rows::{next, open, opening, parties, sqlite};
use aegis_common::ids::EscrowId;
use aegis_server::store::{CommitError, DatabaseUrl};
use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};

const CHILD_URL: &str = "AEGIS_TEST_CRASH_URL";

/// The victim: commits on fifty escrows at once and reports each acknowledged version, until killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started and killed by the crash tests"]
async fn victim() {
    let Ok(url) = std::env::var(CHILD_URL) else { return };
    let store = open(&url.parse().unwrap());
    let people = parties(&store).await;
    let writers = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut commit = opening(people);
            loop {
                store.commit(commit.clone()).await.unwrap();
                writeln!(std::io::stdout(), "ack {} {}", commit.escrow.id, commit.escrow.version).unwrap();
                commit = next(&commit);
            }
        })
    });
    futures_util::future::join_all(writers.collect::<Vec<tokio::task::JoinHandle<()>>>()).await;
}

async fn kill_midstream(text: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["durability::victim", "--exact", "--ignored", "--nocapture"])
        .env(CHILD_URL, text)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut acknowledged: HashMap<EscrowId, i64> = HashMap::new();
        let mut count = 0;
        for line in output.lines().map_while(Result::ok) {
            let Some((id, version)) = line.strip_prefix("ack ").and_then(|rest| rest.split_once(' ')) else {
                continue;
            };
            // The kill may cut the last line short; a shorter number is a smaller claim.
            let Ok(version) = version.parse() else { continue };
            acknowledged.insert(id.parse().unwrap(), version);
            count += 1;
        }
        (acknowledged, count)
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    let (acknowledged, count) = reader.join().unwrap();
    assert!(count > 100, "only {count} acknowledged");

    let store = open(&text.parse().unwrap());
    for (id, version) in acknowledged {
        let stored = store.escrow(id).await.unwrap().unwrap();
        assert!(stored.version >= version, "{id}: {version} acknowledged, {} stored", stored.version);
        // And nothing by halves: snapshot and journal agree.
        let journal = store.journal(id, -1, 10_000).await.unwrap();
        assert_eq!(journal.len(), usize::try_from(stored.version).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_kill_9_is_there_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    kill_midstream(&format!("sqlite:{}", dir.path().join("aegis.db").display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_kill_9_is_there_on_postgres() {
    let server = Postgres::start();
    let DatabaseUrl::Postgres(url) = server.database("crash") else { panic!() };
    kill_midstream(&url).await;
}

/// A file system of a fixed size; `None` where this user may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Set where this test runs itself as root of a namespace of its own.
const IN_NAMESPACE: &str = "AEGIS_TEST_IN_NAMESPACE";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_reported_reads_go_on_and_space_brings_writes_back() {
    let Some(disk) = SmallDisk::mount("4m") else {
        assert!(std::env::var_os(IN_NAMESPACE).is_none(), "a small tmpfs can't be mounted");
        let name = std::thread::current().name().unwrap().to_owned();
        let again = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &name])
            .env(IN_NAMESPACE, "1")
            .status();
        assert!(
            again.unwrap().success(),
            "a small tmpfs needs root, or a kernel that lets users have namespaces"
        );
        return;
    };
    let store = open(&sqlite(disk.path()));
    let people = parties(&store).await;
    let mut commit = opening(people);
    store.commit(commit.clone()).await.unwrap();
    let ballast = disk.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write(&[0; 4096]).is_ok_and(|n| n > 0) {}

    let full = loop {
        let following = next(&commit);
        match store.commit(following.clone()).await {
            Ok(_) => commit = following,
            Err(error) => break error,
        }
    };
    assert_eq!(full, CommitError::Full);
    assert_eq!(store.commit(next(&commit)).await, Err(CommitError::Full));
    assert_eq!(store.escrow(commit.escrow.id).await.unwrap(), Some(commit.escrow.clone()));

    std::fs::remove_file(&ballast).unwrap();
    drop(file);
    let following = next(&commit);
    store.commit(following.clone()).await.unwrap();
    assert_eq!(store.escrow(commit.escrow.id).await.unwrap(), Some(following.escrow));
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

fn lines(rows: Vec<Line>) -> BTreeSet<String> {
    rows.into_iter().map(|row| row.line.to_lowercase()).collect()
}

const SQLITE_COLUMNS: &str = "SELECT m.name || '.' || c.name || ' ' \
    || CASE WHEN m.name IN ('events', 'audit', 'deliveries') AND c.name = 'seq' THEN 'BIGINT' ELSE c.type END \
    || CASE c.\"notnull\" WHEN 1 THEN ' not null' ELSE '' END AS line \
    FROM sqlite_master m, pragma_table_info(m.name) c \
    WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '__diesel%'";
const POSTGRES_COLUMNS: &str = "SELECT table_name || '.' || column_name || ' ' \
    || CASE data_type WHEN 'bytea' THEN 'blob' ELSE data_type END \
    || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END AS line \
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_diesel%'";
const SQLITE_INDEXES: &str = "SELECT tbl_name || ' ' || name AS line FROM sqlite_master \
    WHERE type = 'index' AND name NOT LIKE 'sqlite_%'";
// The indexes behind constraints have names that the migrations don't give.
const POSTGRES_INDEXES: &str = "SELECT tablename || ' ' || indexname AS line FROM pg_indexes \
    WHERE schemaname = 'public' AND indexname NOT LIKE '%\\_pkey' AND indexname NOT LIKE '%\\_key'";

#[tokio::test(flavor = "multi_thread")]
async fn both_databases_have_the_same_tables_columns_and_indexes() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Postgres::start());
    let (sqlite, postgres) = (sqlite(dir.path()), server.database("schema"));
    drop((open(&sqlite), open(&postgres)));
    let (DatabaseUrl::Sqlite(path), DatabaseUrl::Postgres(url)) = (sqlite, postgres) else { panic!() };
    let mut sqlite = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    sqlite.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    let mut postgres = PgConnection::establish(&url).unwrap();
    for (left, right) in [(SQLITE_COLUMNS, POSTGRES_COLUMNS), (SQLITE_INDEXES, POSTGRES_INDEXES)] {
        let left = lines(sql_query(left).load(&mut sqlite).unwrap());
        let right = lines(sql_query(right).load(&mut postgres).unwrap());
        assert!(!left.is_empty());
        assert_eq!(left, right);
    }
}

#[derive(QueryableByName)]
struct Plan {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// One step by an index: no other table, and nothing sorted.
fn assert_plan(conn: &mut SqliteConnection, table: &str, condition: &str, index: &str) {
    let query = format!("EXPLAIN QUERY PLAN SELECT id FROM {table} WHERE {condition} LIMIT 10");
    let plan: Vec<Plan> = sql_query(query).load(conn).unwrap();
    let plan: Vec<_> = plan.into_iter().map(|row| row.detail).collect();
    assert!(plan.len() == 1 && plan[0].contains(index), "{condition}: {plan:?}");
}

#[test]
fn sqlite_answers_each_search_by_its_index() {
    let dir = tempfile::tempdir().unwrap();
    let url = sqlite(dir.path());
    drop(open(&url));
    let DatabaseUrl::Sqlite(path) = url else { panic!() };
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    for (condition, index) in [
        ("`escrows`.`wake_at` <= ? ORDER BY wake_at", "escrows_wake_at"),
        ("`escrows`.`wake_height` <= ? ORDER BY wake_height", "escrows_wake_height"),
        ("`escrows`.`highest_output` > ? ORDER BY highest_output", "escrows_highest_output"),
        ("unmined > 0 AND id > ? ORDER BY id", "escrows_unmined"),
        ("`escrows`.`watching` AND id > ? ORDER BY id", "escrows_watching"),
        ("status = 'DISPUTED' AND wake_at > ? ORDER BY wake_at, id", "escrows_disputed"),
        (
            "status NOT IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT', 'EXPIRED', 'CANCELLED') \
             AND updated_at >= ? AND (updated_at > ? OR id > ?) ORDER BY updated_at, id",
            "escrows_open_updated",
        ),
        (
            "status IN ('COMPLETED_RELEASED', 'COMPLETED_REFUNDED', 'COMPLETED_SPLIT') AND (wake_at IS NOT NULL OR unmined > 0) \
             AND updated_at >= ? AND (updated_at > ? OR id > ?) ORDER BY updated_at, id",
            "escrows_returning",
        ),
        ("`escrows`.`behind_from` IS NOT NULL", "escrows_behind"),
    ] {
        assert_plan(&mut conn, "escrows", condition, index);
    }
    for (table, condition, index) in [
        ("escrows", "creator_id = ? AND status = 'PENDING_FUNDING'", "escrows_unfunded"),
        ("listings", "status = 'closed' AND updated_at >= ? AND updated_at < ?", "listings_closed"),
        ("webhooks", "user_id = ?", "webhooks_user"),
        ("webhooks", "because IS NOT NULL", "webhooks_off"),
        ("webhooks", "enabled AND due_at IS NOT NULL ORDER BY due_at", "webhooks_due"),
        ("webhooks", "enabled AND due_at <= ? AND leased_until <= ? ORDER BY due_at", "webhooks_due"),
        ("deliveries", "webhook_id = ? AND status = ? ORDER BY seq", "deliveries_waiting"),
        ("deliveries", "webhook_id = ? AND seq < ? ORDER BY seq DESC", "deliveries_log"),
        ("deliveries", "created_at < ? ORDER BY created_at", "deliveries_created"),
    ] {
        assert_plan(&mut conn, table, condition, index);
    }
}
