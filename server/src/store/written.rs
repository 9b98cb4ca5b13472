//! A query that is put together piece by piece, where its shape depends on what is asked. Its text holds no value that came from
//! outside: those are bound.

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::query_dsl::RunQueryDsl;
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Binary, HasSqlType, Integer, Text};

use super::types::DbUuid;

enum Piece {
    Sql(&'static str),
    Int(i32),
    Big(i64),
    Id(DbUuid),
    Text(String),
    Bytes(Vec<u8>),
}

/// The query so far.
pub(super) struct Written {
    pieces: Vec<Piece>,
    /// Whether the connection keeps it prepared: only where there are few shapes, and one plan fits all values.
    pub kept: bool,
}

impl Written {
    pub fn new(sql: &'static str) -> Self {
        Self { pieces: vec![Piece::Sql(sql)], kept: false }
    }

    pub fn sql(&mut self, sql: &'static str) -> &mut Self {
        self.pieces.push(Piece::Sql(sql));
        self
    }

    pub fn int(&mut self, value: i32) -> &mut Self {
        self.pieces.push(Piece::Int(value));
        self
    }

    pub fn big(&mut self, value: i64) -> &mut Self {
        self.pieces.push(Piece::Big(value));
        self
    }

    pub fn id(&mut self, value: DbUuid) -> &mut Self {
        self.pieces.push(Piece::Id(value));
        self
    }

    pub fn text(&mut self, value: &str) -> &mut Self {
        self.pieces.push(Piece::Text(value.to_owned()));
        self
    }

    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.pieces.push(Piece::Bytes(value.to_owned()));
        self
    }

    /// What `each` writes of every item, with commas between.
    pub fn list<T>(&mut self, items: impl IntoIterator<Item = T>, each: impl Fn(&mut Self, T)) -> &mut Self {
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.sql(", ");
            }
            each(self, item);
        }
        self
    }
}

impl QueryId for Written {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB> QueryFragment<DB> for Written
where
    DB: Backend + HasSqlType<BigInt> + HasSqlType<Binary> + HasSqlType<Integer> + HasSqlType<Text>,
    DbUuid: ToSql<Binary, DB>,
    Vec<u8>: ToSql<Binary, DB>,
    i32: ToSql<Integer, DB>,
    i64: ToSql<BigInt, DB>,
    String: ToSql<Text, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        if !self.kept {
            out.unsafe_to_cache_prepared();
        }
        for piece in &self.pieces {
            match piece {
                Piece::Sql(sql) => out.push_sql(sql),
                Piece::Int(value) => out.push_bind_param::<Integer, _>(value)?,
                Piece::Big(value) => out.push_bind_param::<BigInt, _>(value)?,
                Piece::Id(value) => out.push_bind_param::<Binary, _>(value)?,
                Piece::Text(value) => out.push_bind_param::<Text, _>(value)?,
                Piece::Bytes(value) => out.push_bind_param::<Binary, _>(value)?,
            }
        }
        Ok(())
    }
}

impl<Conn> RunQueryDsl<Conn> for Written {}

/// A written query whose rows have these columns.
pub(super) struct Rows<ST>(pub Written, std::marker::PhantomData<ST>);

impl<ST> Rows<ST> {
    pub fn of(query: Written) -> Self {
        Self(query, std::marker::PhantomData)
    }
}

impl<ST> QueryId for Rows<ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST, DB: Backend> QueryFragment<DB> for Rows<ST>
where
    Written: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }
}

impl<ST> diesel::query_builder::Query for Rows<ST> {
    type SqlType = ST;
}

impl<Conn, ST> RunQueryDsl<Conn> for Rows<ST> {}
