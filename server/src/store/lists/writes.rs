//! What a commit writes for lists. Queries of a fixed shape are prepared once; see [`crate::store::swap`].

use aegis_common::escrow::state::Status;
use aegis_common::words::words;
use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::query_dsl::RunQueryDsl;
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Binary, HasSqlType, Integer, Text};

use super::status_place;
use crate::store::connection::Conn;
use crate::store::dialect::{self, native};
use crate::store::error::StoreError;
use crate::store::escrows::EscrowRow;
use crate::store::types::{DbUuid, amount, impossible};
use crate::store::written::Written;

/// What lists show of an escrow.
pub(in crate::store) struct Entry {
    pub id: DbUuid,
    /// Buyer, seller, arbiter.
    pub parties: [DbUuid; 3],
    pub status: i32,
    pub amount: i64,
    pub created_at: i64,
    pub updated_at: i64,
    /// The title's words.
    pub words: Vec<String>,
}

impl Entry {
    /// Of an escrow as it is to be stored.
    pub fn new(row: &EscrowRow, title: Option<&str>) -> Result<Self, StoreError> {
        let status = Status::from_wire(&row.status).ok_or_else(|| impossible("an unknown status"))?;
        Ok(Self {
            id: row.id.0.into(),
            parties: [row.buyer_id, row.seller_id, row.arbiter_id].map(|party| party.0.into()),
            status: status_place(status),
            amount: amount(row.amount)?,
            created_at: row.created_at.as_millisecond(),
            updated_at: row.updated_at.as_millisecond(),
            words: title.map(words).unwrap_or_default(),
        })
    }
}

/// Words as they lie in a row: each between spaces.
pub(super) fn spaced(words: &[String]) -> String {
    format!(" {} ", words.join(" "))
}

/// Writes the rows of a new escrow.
pub(in crate::store) fn open(conn: &mut Conn, entry: &Entry) -> QueryResult<()> {
    let rows = Open { entry, words: spaced(&entry.words) };
    native!(conn, c => rows.execute(c))?;
    name(conn, entry.id, &entry.parties, &entry.words)
}

/// Writes the words of a title for its parties.
pub(super) fn name(conn: &mut Conn, id: DbUuid, parties: &[DbUuid], words: &[String]) -> QueryResult<()> {
    if words.is_empty() || parties.is_empty() {
        return Ok(());
    }
    let mut insert = Written::new("INSERT INTO title_words (user_id, word, escrow_id) VALUES ");
    // As many shapes as a title can have words.
    insert.kept = true;
    insert.list(parties.iter().flat_map(|party| words.iter().map(move |word| (party, word))), |out, row| {
        out.sql("(").id(*row.0).sql(", ").text(row.1).sql(", ").id(id).sql(")");
    });
    native!(conn, c => insert.execute(c)).map(drop)
}

/// Writes what a change moves.
pub(in crate::store) fn follow(conn: &mut Conn, entry: &Entry) -> QueryResult<()> {
    // To name a column that stays would rewrite its indexes on SQLite; Postgres writes them anyway.
    if dialect::rewrites_all_indexes(conn) {
        return native!(conn, c => Move { entry, elsewhere: false }.execute(c)).map(drop);
    }
    if native!(conn, c => Move { entry, elsewhere: true }.execute(c))? == 0 {
        native!(conn, c => Touch { entry }.execute(c))?;
    }
    Ok(())
}

struct Open<'a> {
    entry: &'a Entry,
    words: String,
}

/// Status and time; with `elsewhere` only of rows with another status.
struct Move<'a> {
    entry: &'a Entry,
    elsewhere: bool,
}

/// The time alone.
struct Touch<'a> {
    entry: &'a Entry,
}

impl QueryId for Open<'_> {
    type QueryId = Open<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

/// Each database uses one of its two texts only.
impl QueryId for Move<'_> {
    type QueryId = Move<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryId for Touch<'_> {
    type QueryId = Touch<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

/// `WHERE` these are the rows of an escrow.
fn of_parties<'b, DB>(entry: &'b Entry, out: &mut AstPass<'_, 'b, DB>) -> QueryResult<()>
where
    DB: Backend + HasSqlType<Binary>,
    DbUuid: ToSql<Binary, DB>,
{
    out.push_sql(" WHERE user_id IN (");
    for (party, comma) in entry.parties.iter().zip(["", ", ", ", "]) {
        out.push_sql(comma);
        out.push_bind_param::<Binary, _>(party)?;
    }
    out.push_sql(") AND escrow_id = ");
    out.push_bind_param::<Binary, _>(&entry.id)
}

impl<DB> QueryFragment<DB> for Open<'_>
where
    DB: Backend + HasSqlType<BigInt> + HasSqlType<Binary> + HasSqlType<Integer> + HasSqlType<Text>,
    DbUuid: ToSql<Binary, DB>,
    i32: ToSql<Integer, DB>,
    i64: ToSql<BigInt, DB>,
    String: ToSql<Text, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(
            "INSERT INTO escrow_list (role, user_id, escrow_id, status, amount, created_at, updated_at, words) \
             VALUES ",
        );
        for (party, head) in self.entry.parties.iter().zip(["(0, ", ", (1, ", ", (2, "]) {
            out.push_sql(head);
            out.push_bind_param::<Binary, _>(party)?;
            out.push_sql(", ");
            out.push_bind_param::<Binary, _>(&self.entry.id)?;
            out.push_sql(", ");
            out.push_bind_param::<Integer, _>(&self.entry.status)?;
            for value in [&self.entry.amount, &self.entry.created_at, &self.entry.updated_at] {
                out.push_sql(", ");
                out.push_bind_param::<BigInt, _>(value)?;
            }
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(&self.words)?;
            out.push_sql(")");
        }
        Ok(())
    }
}

impl<DB> QueryFragment<DB> for Move<'_>
where
    DB: Backend + HasSqlType<BigInt> + HasSqlType<Binary> + HasSqlType<Integer>,
    DbUuid: ToSql<Binary, DB>,
    i32: ToSql<Integer, DB>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("UPDATE escrow_list SET status = ");
        out.push_bind_param::<Integer, _>(&self.entry.status)?;
        out.push_sql(", updated_at = ");
        out.push_bind_param::<BigInt, _>(&self.entry.updated_at)?;
        of_parties(self.entry, &mut out)?;
        if self.elsewhere {
            out.push_sql(" AND status <> ");
            out.push_bind_param::<Integer, _>(&self.entry.status)?;
        }
        Ok(())
    }
}

impl<DB> QueryFragment<DB> for Touch<'_>
where
    DB: Backend + HasSqlType<BigInt> + HasSqlType<Binary>,
    DbUuid: ToSql<Binary, DB>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("UPDATE escrow_list SET updated_at = ");
        out.push_bind_param::<BigInt, _>(&self.entry.updated_at)?;
        of_parties(self.entry, &mut out)
    }
}

impl<Conn> RunQueryDsl<Conn> for Open<'_> {}
impl<Conn> RunQueryDsl<Conn> for Move<'_> {}
impl<Conn> RunQueryDsl<Conn> for Touch<'_> {}
