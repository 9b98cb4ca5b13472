//! Lists: what they hold, in which order, and that no page is read by looking at everything.

use std::collections::BTreeSet;

use aegis_common::amount::Piconero;
use aegis_common::escrow::state::Status;
use aegis_common::ids::UserId;
use aegis_common::role::Role;
use aegis_common::time::Timestamp;
use aegis_common::wire::list::{Direction, EscrowSort};
use aegis_server::store::{
    DatabaseUrl, EscrowRow, Expected, ListFilter, ListOrder, ListPosition, ListedEscrow, Store,
};
use diesel::sql_types::Binary;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use uuid::Uuid;

use crate::rows::{next, now, opening, parties};
use crate::seed::{self, ORDERS, Size};
use crate::tamper;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

/// An escrow as the test knows it.
struct Known {
    row: EscrowRow,
    title: &'static str,
}

impl Known {
    fn role(&self, user: UserId) -> Option<Role> {
        let parties = [self.row.buyer_id, self.row.seller_id, self.row.arbiter_id];
        Role::ALL.into_iter().zip(parties).find(|(_, party)| *party == user).map(|(role, _)| role)
    }

    /// What the filter says, written the plain way.
    fn fits(&self, user: UserId, filter: &ListFilter) -> bool {
        let Some(role) = self.role(user) else { return false };
        let (row, status) = (&self.row, Status::from_wire(&self.row.status).unwrap());
        let title: Vec<String> = self.title.split(' ').map(str::to_lowercase).collect();
        let named = filter.words.iter().enumerate().all(|(index, word)| {
            let last = index + 1 == filter.words.len();
            title.iter().any(|known| if last { known.starts_with(word.as_str()) } else { known == word })
        });
        named
            && filter.role.is_none_or(|wanted| wanted == role)
            && (filter.statuses.is_empty() || filter.statuses.contains(&status))
            && filter.participant.is_none_or(|other| self.role(other).is_some())
            && filter.created_from.is_none_or(|from| row.created_at >= from)
            && filter.created_to.is_none_or(|to| row.created_at < to)
            && filter.amount_min.is_none_or(|min| row.amount >= min)
            && filter.amount_max.is_none_or(|max| row.amount <= max)
    }

    fn key(&self, order: ListOrder) -> (i64, i64, Uuid) {
        let row = &self.row;
        let key = match order.sort {
            EscrowSort::Created => row.created_at.as_millisecond(),
            EscrowSort::Updated => row.updated_at.as_millisecond(),
            EscrowSort::Amount => i64::try_from(row.amount.0).unwrap(),
            EscrowSort::Status => {
                let status = Status::from_wire(&row.status).unwrap();
                i64::try_from(Status::ALL.iter().position(|known| *known == status).unwrap()).unwrap()
            }
        };
        (key, row.created_at.as_millisecond(), row.id.0)
    }
}

async fn walk(
    store: &Store,
    user: UserId,
    filter: &ListFilter,
    order: ListOrder,
    limit: usize,
) -> Vec<ListedEscrow> {
    let (mut all, mut after): (Vec<ListedEscrow>, Option<ListPosition>) = (Vec::new(), None);
    loop {
        let page = store.list(user, filter.clone(), order, after, limit).await.unwrap();
        let full = page.len() == limit;
        all.extend(page);
        after = all.last().map(|row| row.at);
        if !full {
            return all;
        }
    }
}

/// Filters whose answers differ, around rows that the tests make.
fn filters(others: &[UserId]) -> Vec<ListFilter> {
    let words = |text: &str| ListFilter {
        words: text.split(' ').map(str::to_owned).collect(),
        ..ListFilter::default()
    };
    let mut all = vec![
        ListFilter::default(),
        words("red"),
        words("re"),
        words("red bike"),
        words("bike re"),
        words("x"),
    ];
    all.extend(Role::ALL.map(|role| ListFilter { role: Some(role), ..ListFilter::default() }));
    all.extend(others.iter().map(|other| ListFilter { participant: Some(*other), ..ListFilter::default() }));
    let open: Vec<Status> = Status::ALL.into_iter().filter(|status| !status.is_over()).collect();
    all.push(ListFilter { statuses: vec![Status::Disputed], ..ListFilter::default() });
    all.push(ListFilter { statuses: open.clone(), ..ListFilter::default() });
    let [from, to] = [3, 12].map(|n| Some(at(now().as_millisecond() + n * 1000)));
    all.push(ListFilter { created_from: from, created_to: to, ..ListFilter::default() });
    let [min, max] = [2, 4].map(|n| Some(Piconero(n * Piconero::XMR.0)));
    all.push(ListFilter { amount_min: min, amount_max: max, ..ListFilter::default() });
    all.push(ListFilter {
        role: Some(Role::Buyer),
        statuses: open,
        participant: others.first().copied(),
        words: vec!["r".to_owned()],
        created_from: from,
        amount_max: max,
        ..ListFilter::default()
    });
    all
}

/// Every filter in every order, page by page, is what sorting and filtering by hand gives.
pub async fn lists(store: &Store) {
    let [first, second, third] = parties(store).await;
    let [fourth, ..] = parties(store).await;
    let seats =
        [[first, second, third], [second, first, third], [fourth, second, first], [fourth, second, third]];
    let titles = ["Red bike", "red", "Blue bike 26", "Reddish RED bike"];
    let mut known = Vec::new();
    for n in 0..48_usize {
        let mut commit = opening(seats[n % 4]);
        let row = &mut commit.escrow;
        row.status = Status::ALL[n * 7 % 12].wire().to_owned();
        row.amount = Piconero((1 + n as u64 % 5) * Piconero::XMR.0);
        // Some in the same moment.
        row.created_at = at(now().as_millisecond() + (n as i64 / 3) * 1000);
        row.updated_at = at(now().as_millisecond() + (n as i64 * 31 % 17) * 1000);
        let title = titles[n / 2 % 4];
        commit.title = Some(title.to_owned());
        store.commit(commit.clone()).await.unwrap();
        if n % 6 == 0 {
            let mut moved = next(&commit);
            moved.escrow.status = "DISPUTED".to_owned();
            moved.escrow.updated_at = at(now().as_millisecond() + 9_500);
            store.commit(moved.clone()).await.unwrap();
            commit = moved;
        }
        known.push(Known { row: commit.escrow, title });
    }
    let mut sizes = BTreeSet::new();
    for user in [first, second, third, fourth] {
        let others: Vec<UserId> =
            [first, second, third, fourth].into_iter().filter(|other| *other != user).collect();
        for filter in filters(&others) {
            for order in ORDERS {
                let mut expected: Vec<&Known> =
                    known.iter().filter(|known| known.fits(user, &filter)).collect();
                expected.sort_by_key(|known| known.key(order));
                if order.direction == Direction::Desc {
                    expected.reverse();
                }
                let listed = walk(store, user, &filter, order, 4).await;
                let got: Vec<_> = listed.iter().map(|row| (row.id, Some(row.role), row.version)).collect();
                let want: Vec<_> = expected
                    .iter()
                    .map(|known| (known.row.id, known.role(user), known.row.version))
                    .collect();
                assert_eq!(got, want, "{filter:?} {order:?}");
                assert!(listed.iter().zip(&expected).all(|(row, known)| row.snapshot == known.row.snapshot
                    && row.updated_at == known.row.updated_at));
                sizes.insert(want.len());
            }
        }
        let counts = store.list_counts(user).await.unwrap();
        for (role, status, count) in &counts {
            let filter = ListFilter { role: Some(*role), statuses: vec![*status], ..ListFilter::default() };
            assert_eq!(known.iter().filter(|known| known.fits(user, &filter)).count() as u64, *count);
        }
        let mine = known.iter().filter(|known| known.role(user).is_some()).count() as u64;
        assert_eq!(counts.iter().map(|(.., count)| count).sum::<u64>(), mine);
    }
    assert!(sizes.len() > 8 && sizes.contains(&0), "the filters tell apart: {sizes:?}");
}

/// An unknown status is refused, not listed somewhere.
pub async fn unknown_status(store: &Store) {
    let mut commit = opening(parties(store).await);
    commit.escrow.status = "LOST".to_owned();
    assert!(store.commit(commit.clone()).await.is_err());
    assert_eq!(store.escrow(commit.escrow.id).await.unwrap(), None);
}

/// Rows that are older than the table get their words, a few at a time, and only once.
pub async fn old_titles(url: &DatabaseUrl, store: &Store) {
    let people = parties(store).await;
    for (snapshot, title) in [(r#"{"contract":{"title":"Old KETTLE"}}"#, "Old KETTLE"), (r#"{"n":1}"#, "")] {
        let mut commit = opening(people);
        commit.escrow.snapshot = snapshot.to_owned();
        commit.title = Some(title.to_owned());
        store.commit(commit).await.unwrap();
    }
    tamper(url, "DELETE FROM title_words; UPDATE escrow_list SET words = NULL");
    let named = async |word: &str| {
        let filter = ListFilter { words: vec![word.to_owned()], ..ListFilter::default() };
        store.list(people[1], filter, ORDERS[0], None, 10).await.unwrap().len()
    };
    assert_eq!(named("kettle").await, 0);
    let mut turns = 0;
    while store.name_lists(10).await.unwrap() == 10 {
        turns += 1;
    }
    assert!(turns > 0 && store.name_lists(100).await.unwrap() == 0);
    assert_eq!((named("kettle").await, named("ket").await, named("old").await), (1, 1, 1));
}

/// A commit that fails leaves the lists as they were.
pub async fn stale(store: &Store) {
    let people = parties(store).await;
    let first = opening(people);
    store.commit(first.clone()).await.unwrap();
    let mut late = next(&first);
    late.expected = Expected::Version(7);
    late.escrow.version = 8;
    late.escrow.status = "DISPUTED".to_owned();
    (late.journal, late.events) = (None, Vec::new());
    store.commit(late).await.unwrap_err();
    assert_eq!(store.list_counts(people[0]).await.unwrap(), [(Role::Buyer, Status::PendingFunding, 1)]);
}

const SIZE: Size = Size { escrows: 40_000, traders: 500, arbiters: 8, heavy_every: 4, whole: false };

/// What of a plan reads a whole table or index, or sorts more than pages: the lines that must not be there.
fn faults(url: &DatabaseUrl, plan: &[String], few: bool) -> Vec<String> {
    let bad = |line: &&String| match url {
        DatabaseUrl::Sqlite(_) => {
            let scan = line.starts_with("SCAN ") && !line.ends_with("found");
            let searched = line.starts_with("SEARCH escrow_list") && !few;
            // One status, or a range with two ends.
            let stretch = line.contains("status=?") || line.matches("status").count() == 2;
            scan || searched && !(line.contains("(user_id=? AND role=? AND ") && stretch)
        }
        DatabaseUrl::Postgres(_) => line.contains("Seq Scan") || !few && line.contains("Bitmap"),
    };
    let mut found: Vec<String> = plan.iter().filter(bad).cloned().collect();
    if !few {
        found.extend(sorted_stretches(url, plan));
    }
    found
}

/// Sorts where a stretch would have to be read to its end.
fn sorted_stretches(url: &DatabaseUrl, plan: &[String]) -> Vec<String> {
    match url {
        DatabaseUrl::Sqlite(_) => {
            plan.iter().filter(|line| line.contains("USE TEMP B-TREE")).cloned().collect()
        }
        DatabaseUrl::Postgres(_) => {
            let sorts =
                plan.iter().enumerate().filter(|(_, line)| line.contains("Sort") && line.contains("cost"));
            // What a sort gets next is a page at most where that has a limit of its own.
            let fine = |at: usize| {
                let below = plan.iter().skip(at + 1).find(|line| line.contains("->"));
                below.is_some_and(|line| line.contains("Limit"))
            };
            sorts.filter(|(at, _)| !fine(*at)).map(|(_, line)| line.clone()).collect()
        }
    }
}

async fn faults_of(url: &DatabaseUrl, store: &Store, filters: &[(&str, ListFilter)]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, filter) in filters {
        // Whoever has little may have it sorted.
        for (user, order) in
            ORDERS.into_iter().flat_map(|order| [(SIZE.heavy(), order), (SIZE.arbiter(0), order)])
        {
            let page = store.list(user, filter.clone(), order, None, 20).await.unwrap();
            for after in [None, page.last().map(|row| row.at)] {
                let plan = store.list_plan(user, filter.clone(), order, after, 51).await.unwrap();
                let by_id = |line: &String| {
                    line.starts_with("SEARCH escrow_list") && line.contains("escrow_id=?)")
                        || line.contains("= ANY")
                };
                let few = plan.iter().any(by_id);
                let wrong = faults(url, &plan, few);
                found.extend(
                    wrong.into_iter().map(|line| format!("{name} {order:?}: {line}\n{}", plan.join("\n"))),
                );
            }
        }
    }
    found
}

/// Every documented filter gives all that a plain question gives, each once, however its pages are found.
async fn results(url: &DatabaseUrl, store: &Store, documented: &[(&str, ListFilter)]) {
    const PAGE: usize = 997;
    for (name, filter) in documented {
        let mut all = 0;
        for (user, order) in
            [(SIZE.heavy(), ORDERS[0]), (SIZE.heavy(), ORDERS[7]), (SIZE.arbiter(0), ORDERS[2])]
        {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = store.list(user, filter.clone(), order, after, PAGE).await.unwrap();
                after = page.last().map(|row| row.at);
                let is_last = page.len() < PAGE;
                found.extend(page.into_iter().map(|row| row.id.0));
                if is_last {
                    break;
                }
            }
            found.sort_unstable();
            let plain = plainly(url, user, filter);
            let counts = (found.len(), plain.len());
            assert!(found == plain, "{name} {order:?}: {counts:?} found and there, or others");
            all += found.len();
        }
        assert!(all > 0, "{name} finds nothing");
    }
}

/// The ids of all that a user has and a filter lets through, in order, by a question that no index is made for.
fn plainly(url: &DatabaseUrl, user: UserId, filter: &ListFilter) -> Vec<Uuid> {
    let id = |user: UserId| match url {
        DatabaseUrl::Sqlite(_) => format!("x'{}'", user.0.simple()),
        DatabaseUrl::Postgres(_) => format!("'\\x{}'", user.0.simple()),
    };
    let place = |status: &Status| Status::ALL.iter().position(|known| known == status).unwrap();
    let mut question = format!("SELECT escrow_id AS id FROM escrow_list AS one WHERE user_id = {}", id(user));
    let mut and = |condition: String| question += &format!(" AND {condition}");
    if let Some(role) = filter.role {
        and(format!("role = {}", Role::ALL.iter().position(|known| *known == role).unwrap()));
    }
    if !filter.statuses.is_empty() {
        let places: Vec<_> = filter.statuses.iter().map(|status| place(status).to_string()).collect();
        and(format!("status IN ({})", places.join(", ")));
    }
    if let Some(other) = filter.participant {
        // Somebody else: nobody has anything with oneself.
        let others = format!("SELECT escrow_id FROM escrow_list WHERE user_id = {}", id(other));
        and(format!("escrow_id IN ({others} AND user_id <> {})", id(user)));
    }
    filter.words.iter().for_each(|word| and(format!("words LIKE '% {word}%'")));
    filter.created_from.iter().for_each(|at| and(format!("created_at >= {}", at.as_millisecond())));
    filter.created_to.iter().for_each(|at| and(format!("created_at < {}", at.as_millisecond())));
    filter.amount_min.iter().for_each(|amount| and(format!("amount >= {}", amount.0)));
    filter.amount_max.iter().for_each(|amount| and(format!("amount <= {}", amount.0)));
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Binary)]
        id: Vec<u8>,
    }
    let rows: Vec<Row> = match url {
        DatabaseUrl::Sqlite(path) => {
            let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            sql_query(question).load(&mut conn).unwrap()
        }
        DatabaseUrl::Postgres(url) => {
            sql_query(question).load(&mut PgConnection::establish(url).unwrap()).unwrap()
        }
    };
    let mut ids: Vec<_> = rows.iter().map(|row| Uuid::from_slice(&row.id).unwrap()).collect();
    ids.sort_unstable();
    ids
}

/// Every documented filter in every order is answered from an index; and without an index the test says so.
pub async fn plans(url: &DatabaseUrl, store: &Store) {
    seed::fill(url, SIZE);
    let documented = seed::documented(SIZE);
    let check = async || {
        let found = faults_of(url, store, &documented).await;
        assert!(found.is_empty(), "{} in all, the first: {}", found.len(), found[0]);
    };
    check().await;
    results(url, store, &documented).await;
    if matches!(url, DatabaseUrl::Sqlite(_)) {
        seed::analyze(url);
        check().await;
    }
    let migration = include_str!("../../../migrations/sqlite/00000000000005_lists/up.sql");
    for index in ["escrow_list_created", "escrow_list_updated", "escrow_list_amount"] {
        let made =
            migration.lines().find(|line| line.starts_with(&format!("CREATE INDEX {index} "))).unwrap();
        tamper(url, &format!("DROP INDEX {index}"));
        let found = faults_of(url, store, &documented[..1]).await;
        assert!(!found.is_empty(), "nothing is wrong without {index}");
        tamper(url, made);
    }
}
