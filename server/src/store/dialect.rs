//! Everything that differs between SQLite and Postgres.

use diesel::connection::SimpleConnection;
use diesel::result::Error as DieselError;
use diesel::sql_types::{Integer, Text};
use diesel::{Connection, PgConnection, QueryResult, RunQueryDsl, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::connection::{Conn, DatabaseUrl};
use super::error::StoreError;
use super::written::{Rows, Written};

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
const POSTGRES_MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/postgres");

/// Advisory locks of this program ("aegi" and a number). One writes at a time in the whole deployment, so that
/// `events.seq` grows in the order of commits: a reader's cursor can't overtake a number still to appear.
const BEGIN_POSTGRES: &str = "BEGIN; SELECT pg_advisory_xact_lock(1634035561, 1)";
/// IMMEDIATE takes the write lock at once; the default would fail midway under contention.
const BEGIN_SQLITE: &str = "BEGIN IMMEDIATE";

/// WAL: readers never wait for the writer. FULL: a commit is on disk when it returns. A batch dirties some
/// thousand pages: the cache (16 MiB) must hold them, and a checkpoint shall serve several batches (32 MiB).
const SETUP_SQLITE: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; \
    PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; \
    PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 8192; PRAGMA journal_size_limit = 67108864;";
/// A server-wide `synchronous_commit = off` would acknowledge what a crash can lose. A query here reads few rows:
/// to compile one, which its many branches can make the server think worth while, takes far longer than to run it.
const SETUP_POSTGRES: &str = "SET synchronous_commit = 'on'; SET client_min_messages = 'warning'; \
    SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'; \
    SET default_transaction_isolation = 'read committed'; SET jit = 'off';";

/// Connects and sets the session up.
pub(super) fn connect(url: &DatabaseUrl) -> Result<Conn, StoreError> {
    let failed = |why: String| {
        if says_disk_full(&why) { StoreError::Full } else { StoreError::Unavailable(why) }
    };
    match url {
        DatabaseUrl::Sqlite(path) => {
            create_private(path).map_err(|error| failed(error.to_string()))?;
            let name = path.to_str().ok_or(StoreError::Url)?;
            let mut conn = SqliteConnection::establish(name).map_err(|e| failed(e.to_string()))?;
            conn.batch_execute(SETUP_SQLITE).map_err(|e| failed(e.to_string()))?;
            Ok(Conn::Sqlite(conn))
        }
        DatabaseUrl::Postgres(url) => {
            let mut conn = PgConnection::establish(url).map_err(|e| failed(e.to_string()))?;
            conn.batch_execute(SETUP_POSTGRES).map_err(|e| failed(e.to_string()))?;
            Ok(Conn::Postgres(conn))
        }
    }
}

/// SQLite makes its log files with the mode of the database file.
fn create_private(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

/// Makes a connection for reading only, so that no read can wait for, or disturb, the writer.
pub(super) fn read_only(conn: &mut Conn) -> QueryResult<()> {
    match conn {
        Conn::Sqlite(conn) => conn.batch_execute("PRAGMA query_only = ON"),
        Conn::Postgres(conn) => conn.batch_execute("SET default_transaction_read_only = on"),
    }
}

/// Runs a query on the backend's own connection type. Diesel then finds the prepared statement by type; through
/// `MultiConnection` it builds the SQL text each time. For the statements of a commit, nowhere else.
macro_rules! native {
    ($conn:expr, $native:ident => $query:expr) => {
        match $conn {
            $crate::store::connection::Conn::Sqlite($native) => $query,
            $crate::store::connection::Conn::Postgres($native) => $query,
        }
    };
}
pub(super) use native;

/// Brings the schema up to date; harmless when it is. On Postgres one server migrates while others wait.
pub(super) fn migrate(conn: &mut Conn) -> Result<(), StoreError> {
    let done = match conn {
        Conn::Sqlite(conn) => conn.run_pending_migrations(SQLITE_MIGRATIONS).map(drop),
        Conn::Postgres(conn) => {
            // A migration of a large table, or waiting for another server's, may take longer than a query.
            conn.batch_execute("SET statement_timeout = 0; SELECT pg_advisory_lock(1634035561, 2)")?;
            let done = conn.run_pending_migrations(POSTGRES_MIGRATIONS).map(drop);
            conn.batch_execute("SELECT pg_advisory_unlock(1634035561, 2); SET statement_timeout = '30s'")?;
            done
        }
    };
    done.map_err(|error| StoreError::Migration(error.to_string()))
}

/// Refuses a schema that lacks some of this program's migrations.
pub(super) fn check_schema(conn: &mut Conn) -> Result<(), StoreError> {
    let pending = match conn {
        Conn::Sqlite(conn) => conn.has_pending_migration(SQLITE_MIGRATIONS),
        Conn::Postgres(conn) => conn.has_pending_migration(POSTGRES_MIGRATIONS),
    };
    match pending {
        Ok(false) => Ok(()),
        Ok(true) => Err(StoreError::Migration(
            "the database is of an older version; start the server first".to_owned(),
        )),
        Err(error) => Err(StoreError::Migration(error.to_string())),
    }
}

/// Begins the one write transaction there can be.
pub(super) fn begin(conn: &mut Conn) -> QueryResult<()> {
    match conn {
        Conn::Sqlite(conn) => conn.batch_execute(BEGIN_SQLITE),
        Conn::Postgres(conn) => conn.batch_execute(BEGIN_POSTGRES),
    }
}

/// Whether checking a connection before use is worth its price: a file doesn't go away, a server does.
pub(super) fn check_before_use(url: &DatabaseUrl) -> bool {
    matches!(url, DatabaseUrl::Postgres(_))
}

/// Neither driver passes the error code on; these texts are SQLITE_FULL's and strerror(ENOSPC)'s.
pub(super) fn says_disk_full(text: &str) -> bool {
    text.contains("database or disk is full") || text.contains("No space left on device")
}

/// Whether an update that changes one indexed column writes a row into all of its indexes anyway.
pub(super) fn rewrites_all_indexes(conn: &Conn) -> bool {
    matches!(conn, Conn::Postgres(_))
}

/// Whether the parts of a `UNION ALL` with an order are merged row by row, and read no further than a page goes, where they stand
/// bare; else they are where each has that order and a limit of its own, which the other kind would read to its end first.
pub(super) fn merges_bare(conn: &Conn) -> bool {
    matches!(conn, Conn::Sqlite(_))
}

/// What asks for the plan of the query behind it.
pub(super) fn explain(conn: &Conn) -> &'static str {
    match conn {
        Conn::Sqlite(_) => "EXPLAIN QUERY PLAN ",
        Conn::Postgres(_) => "EXPLAIN ",
    }
}

/// The lines of a plan that was asked for so.
pub(super) fn plan(conn: &mut Conn, query: Written) -> QueryResult<Vec<String>> {
    match conn {
        Conn::Sqlite(conn) => {
            let rows: Vec<(i32, i32, i32, String)> =
                Rows::<(Integer, Integer, Integer, Text)>::of(query).load(conn)?;
            Ok(rows.into_iter().map(|(.., line)| line).collect())
        }
        Conn::Postgres(conn) => Rows::<Text>::of(query).load(conn),
    }
}

/// Undoes one item. An error means that the whole transaction is lost, not merely the item.
pub(super) fn back_to_savepoint(conn: &mut Conn) -> Result<(), DieselError> {
    conn.batch_execute("ROLLBACK TO SAVEPOINT item; RELEASE SAVEPOINT item")
}
