//! Many escrows at once, written by the database itself: what lists are measured and their plans are tested on.

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::state::Status;
use aegis_common::escrow::statement::Act;
use aegis_common::ids::UserId;
use aegis_common::role::Role;
use aegis_common::testing::{Sim, contract};
use aegis_common::time::Timestamp;
use aegis_common::wire::list::{Direction, EscrowSort};
use aegis_server::store::{DatabaseUrl, ListFilter, ListOrder};
use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use uuid::Uuid;

/// How many of what.
#[derive(Clone, Copy)]
pub struct Size {
    pub escrows: u64,
    pub traders: u64,
    pub arbiters: u64,
    /// Every so many escrows is one of the heavy trader's; of those, every fifth is before the first arbiter, and every 128th with
    /// the partner.
    pub heavy_every: u64,
    /// Whether snapshots are as long as those of escrows that were paid out, not their titles only.
    pub whole: bool,
}

/// The first escrow is made at this moment, in unix milliseconds, and each other a minute after the one before.
pub const START: i64 = 1_700_000_000_000;
pub const STEP: i64 = 60_000;
/// An amount, in piconero, is a whole number of these, up to [`UNITS`].
pub const UNIT: u64 = 10_000_000_000;
pub const UNITS: u64 = 99_991;

impl Size {
    /// By number: 1 is the heavy trader, 2 the partner, then come all others, then the arbiters.
    pub fn user(self, number: u64) -> UserId {
        UserId(Uuid::from_u128(number.into()))
    }

    pub fn heavy(self) -> UserId {
        self.user(1)
    }

    pub fn partner(self) -> UserId {
        self.user(2)
    }

    pub fn trader(self) -> UserId {
        self.user(self.traders / 2)
    }

    pub fn arbiter(self, number: u64) -> UserId {
        self.user(self.traders + 1 + number)
    }
}

/// Every order.
pub const ORDERS: [ListOrder; 8] = {
    const fn order(sort: EscrowSort, direction: Direction) -> ListOrder {
        ListOrder { sort, direction }
    }
    [
        order(EscrowSort::Created, Direction::Desc),
        order(EscrowSort::Created, Direction::Asc),
        order(EscrowSort::Updated, Direction::Desc),
        order(EscrowSort::Updated, Direction::Asc),
        order(EscrowSort::Amount, Direction::Desc),
        order(EscrowSort::Amount, Direction::Asc),
        order(EscrowSort::Status, Direction::Desc),
        order(EscrowSort::Status, Direction::Asc),
    ]
};

/// What is documented, alone and in usual combinations.
pub fn documented(size: Size) -> Vec<(&'static str, ListFilter)> {
    let none = ListFilter::default;
    let open: Vec<Status> = Status::ALL.into_iter().filter(|status| !status.is_over()).collect();
    let moment = |n: u64| Timestamp::from_millisecond(START + i64::try_from(n).unwrap() * STEP).unwrap();
    let [late, later] = [moment(size.escrows * 9 / 10), moment(size.escrows * 19 / 20)];
    let [least, most] = [UNITS * 4 / 10, UNITS * 5 / 10].map(|units| Some(Piconero(units * UNIT)));
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let ruling = ListFilter { role: Some(Role::Arbiter), statuses: vec![Status::Disputed], ..none() };
    vec![
        ("all", none()),
        ("role", ListFilter { role: Some(Role::Buyer), ..none() }),
        ("status", ListFilter { statuses: vec![Status::Disputed], ..none() }),
        ("status open", ListFilter { statuses: open.clone(), ..none() }),
        ("created", ListFilter { created_from: Some(late), created_to: Some(later), ..none() }),
        ("amount", ListFilter { amount_min: least, amount_max: most, ..none() }),
        ("participant, few", ListFilter { participant: Some(size.partner()), ..none() }),
        ("participant, some", ListFilter { participant: Some(size.arbiter(2)), ..none() }),
        ("participant, many", ListFilter { participant: Some(size.arbiter(0)), ..none() }),
        ("text, rare", ListFilter { words: words("lot77"), ..none() }),
        ("text, common", ListFilter { words: words("used"), ..none() }),
        ("text, prefix", ListFilter { words: words("thing"), ..none() }),
        ("text, two", ListFilter { words: words("used bicy"), ..none() }),
        ("role, status", ruling),
        ("status open, amount", ListFilter { statuses: open.clone(), amount_min: least, ..none() }),
        (
            "status, created",
            ListFilter { statuses: vec![Status::Disputed], created_from: Some(late), ..none() },
        ),
        ("text, status open", ListFilter { words: words("used"), statuses: open.clone(), ..none() }),
        (
            "participant, status",
            ListFilter { participant: Some(size.arbiter(0)), statuses: vec![Status::Disputed], ..none() },
        ),
        ("created, amount", ListFilter { created_from: Some(late), amount_max: most, ..none() }),
        (
            "everything",
            ListFilter {
                role: Some(Role::Seller),
                statuses: open,
                participant: Some(size.arbiter(0)),
                words: words("used"),
                created_from: Some(late),
                created_to: Some(later),
                amount_min: least,
                amount_max: most,
            },
        ),
    ]
}

/// Fills a database whose schema is there, and gathers statistics as its own housekeeping would; SQLite has none by itself.
pub fn fill(url: &DatabaseUrl, size: Size) {
    match url {
        DatabaseUrl::Sqlite(path) => {
            let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            let setup = "PRAGMA busy_timeout = 60000; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; \
                         PRAGMA cache_size = -1000000; PRAGMA temp_store = MEMORY; BEGIN IMMEDIATE";
            conn.batch_execute(setup).unwrap();
            let indexes = "SELECT name, sql AS definition FROM sqlite_master WHERE type = 'index' \
                           AND sql IS NOT NULL AND tbl_name IN ('escrows', 'escrow_list', 'title_words')";
            let indexes: Vec<Index> = sql_query(indexes).load(&mut conn).unwrap();
            for statement in
                script(size, &indexes, |width, number| format!("unhex(printf('%0{width}x', {number}))"))
            {
                conn.batch_execute(&statement).unwrap();
            }
            conn.batch_execute("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        }
        DatabaseUrl::Postgres(url) => {
            let mut conn = PgConnection::establish(url).unwrap();
            let setup = "SET synchronous_commit = off; SET session_replication_role = replica; \
                         SET client_min_messages = 'error'; SET maintenance_work_mem = '512MB'; SET work_mem = '256MB'";
            conn.batch_execute(setup).unwrap();
            let indexes = "SELECT indexname::text AS name, indexdef AS definition FROM pg_indexes \
                           WHERE tablename IN ('escrows', 'escrow_list', 'title_words') AND indexname NOT LIKE '%_pkey'";
            let indexes: Vec<Index> = sql_query(indexes).load(&mut conn).unwrap();
            for statement in script(size, &indexes, |width, number| {
                format!("decode(lpad(to_hex({number}), {width}, '0'), 'hex')")
            }) {
                conn.batch_execute(&statement).unwrap();
            }
            conn.batch_execute("VACUUM ANALYZE").unwrap();
        }
    }
}

/// Statistics for SQLite's planner.
pub fn analyze(url: &DatabaseUrl) {
    let DatabaseUrl::Sqlite(path) = url else { return };
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 60000; ANALYZE").unwrap();
}

#[derive(QueryableByName)]
struct Index {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    definition: String,
}

/// A snapshot of nothing but a title, before that and after it.
const SHORT: (&str, &str) = ("{\"contract\":{\"title\":\"", "\"}}");

/// A snapshot of an escrow that was released and paid out, up to its title and from there on.
fn snapshot() -> (String, String) {
    const TITLE: &str = "the title of this one";
    let mut sim = Sim::new(Contract { title: TITLE.to_owned(), ..contract() });
    sim.active();
    sim.say(Role::Buyer, Act::Confirm {}).unwrap();
    sim.pay();
    let text = serde_json::to_string(&sim.escrow).unwrap().replace('\'', "''");
    let (before, after) = text.split_once(TITLE).unwrap();
    (before.to_owned(), after.to_owned())
}

fn script(size: Size, indexes: &[Index], bytes: impl Fn(u8, &str) -> String) -> Vec<String> {
    let Size { escrows, traders, arbiters, heavy_every, whole } = size;
    let everybody = traders + arbiters;
    let (user, key) = (bytes(32, "n"), bytes(64, "n"));
    let numbers = |to: u64| {
        format!(
            "WITH RECURSIVE numbers(n) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < {to})"
        )
    };
    let person = |column: &str| bytes(32, column);
    // In the order of creation, like the ids that the server makes.
    let id = bytes(32, "4611686018427387904 + n");
    let others = traders - 1;
    let mut all: Vec<String> = indexes.iter().map(|index| format!("DROP INDEX {}", index.name)).collect();
    all.push(format!(
        "INSERT INTO users (id, username, username_lower, password_hash, role, identity_key, signing_key, \
         payout_address, created_at) {} SELECT {user}, 'user-' || n, 'user-' || n, '-', \
         CASE WHEN n > {traders} THEN 'arbiter' ELSE 'user' END, {key}, {key}, '-', {START} FROM numbers",
        numbers(everybody)
    ));
    // Multiplied by primes and cut, numbers look as if they were thrown.
    all.push(format!(
        "CREATE TEMPORARY TABLE drawn AS {} SELECT n, {START} + n * {STEP} AS created, \
         {START} + n * {STEP} + (n * 48271) % 2592000 * 1000 AS updated, \
         (1 + (n * 69621) % {UNITS}) * {UNIT} AS amount, \
         CASE WHEN n % {heavy_every} = 0 AND n / {heavy_every} % 2 = 0 THEN 1 \
              WHEN n % {heavy_every} = 0 AND n / {heavy_every} % 128 = 1 THEN 2 \
              ELSE 2 + (n * 7919) % {others} END AS buyer, \
         CASE WHEN n % {heavy_every} = 0 AND n / {heavy_every} % 2 = 1 THEN 1 \
              ELSE 2 + ((n * 7919) % {others} + 1 + (n * 31) % ({others} - 1)) % {others} END AS seller, \
         {traders} + 1 + CASE WHEN n % {heavy_every} = 0 AND n / {heavy_every} % 5 = 0 THEN 0 \
              ELSE (n * 13 + n / 7) % {arbiters} END AS arbiter, \
         CASE WHEN (n * 16807) % 1009 < 800 THEN 7 + (n * 16807) % 1009 % 5 \
              WHEN (n * 16807) % 1009 < 810 THEN 4 ELSE (n * 16807) % 1009 % 7 END AS place, \
         CASE n % 2 WHEN 0 THEN 'used' ELSE 'new' END AS one, \
         CASE (n * 30323) % 10 WHEN 0 THEN 'bicycle' ELSE 'thing' || ((n * 30323) % 100) END AS two, \
         'lot' || ((n * 15485863) % 50021) AS three FROM numbers",
        numbers(escrows)
    ));
    let statuses: Vec<String> = Status::ALL
        .iter()
        .zip(0..)
        .map(|(status, place)| format!("WHEN {place} THEN '{}'", status.wire()))
        .collect();
    let (before, after) = if whole { snapshot() } else { (SHORT.0.to_owned(), SHORT.1.to_owned()) };
    all.push(format!(
        "INSERT INTO escrows (id, version, status, buyer_id, seller_id, arbiter_id, creator_id, amount, snapshot, \
         unmined, watching, created_at, updated_at) SELECT {id}, 1, CASE place {} END, {}, {}, {}, {}, amount, \
         '{before}' || one || ' ' || two || ' ' || three || '{after}', 0, FALSE, created, updated \
         FROM drawn",
        statuses.join(" "),
        person("buyer"),
        person("seller"),
        person("arbiter"),
        person("buyer")
    ));
    let parties = ["buyer", "seller", "arbiter"];
    let rows = parties.iter().zip(0..).map(|(party, role)| {
        format!(
            "SELECT {} AS who, {id} AS what, {role} AS part, place, amount, created, updated, \
             ' ' || one || ' ' || two || ' ' || three || ' ' AS named FROM drawn",
            person(party)
        )
    });
    all.push(format!(
        "INSERT INTO escrow_list (user_id, escrow_id, role, status, amount, created_at, updated_at, words) \
         SELECT * FROM ({}) AS listed ORDER BY who, what",
        rows.collect::<Vec<_>>().join(" UNION ALL ")
    ));
    let rows = parties.iter().flat_map(|party| {
        let who = person(party);
        ["one", "two", "three"]
            .map(|word| format!("SELECT {who} AS who, {word} AS word, {id} AS what FROM drawn"))
    });
    all.push(format!(
        "INSERT INTO title_words (user_id, word, escrow_id) SELECT * FROM ({}) AS named ORDER BY who, word, what",
        rows.collect::<Vec<_>>().join(" UNION ALL ")
    ));
    all.push("DROP TABLE drawn".to_owned());
    all.extend(indexes.iter().map(|index| index.definition.clone()));
    all
}
