//! The compare-and-swap of a commit, as a query of a fixed shape. Diesel's own `update` is prepared anew for every
//! execution, since a change set may leave columns out; that costs as much as all the rest of the statement's work.

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Binary, HasSqlType, Integer, Nullable, Text};

use super::types::DbUuid;

/// Writes what a change may write into the row that has the expected version. Not listed: what the contract fixes
/// (parties and amount), the creator, the date of creation, and the watch. To name a column that stays would rewrite its
/// index.
pub(super) struct Swap<'a> {
    pub id: &'a DbUuid,
    pub expected: i64,
    pub version: i64,
    pub status: &'a str,
    pub snapshot: &'a str,
    pub wake_at: Option<i64>,
    pub wake_height: Option<i64>,
    pub unmined: i32,
    pub highest_output: Option<i64>,
    pub updated_at: i64,
}

impl QueryId for Swap<'_> {
    type QueryId = Swap<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<DB> QueryFragment<DB> for Swap<'_>
where
    DB: Backend + HasSqlType<BigInt> + HasSqlType<Binary> + HasSqlType<Integer> + HasSqlType<Text>,
    DbUuid: ToSql<Binary, DB>,
    i32: ToSql<Integer, DB>,
    i64: ToSql<BigInt, DB>,
    str: ToSql<Text, DB>,
    Option<i64>: ToSql<Nullable<BigInt>, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("UPDATE escrows SET version = ");
        out.push_bind_param::<BigInt, _>(&self.version)?;
        out.push_sql(", status = ");
        out.push_bind_param::<Text, _>(self.status)?;
        out.push_sql(", snapshot = ");
        out.push_bind_param::<Text, _>(self.snapshot)?;
        out.push_sql(", wake_at = ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.wake_at)?;
        out.push_sql(", wake_height = ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.wake_height)?;
        out.push_sql(", unmined = ");
        out.push_bind_param::<Integer, _>(&self.unmined)?;
        out.push_sql(", highest_output = ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.highest_output)?;
        out.push_sql(", updated_at = ");
        out.push_bind_param::<BigInt, _>(&self.updated_at)?;
        out.push_sql(" WHERE id = ");
        out.push_bind_param::<Binary, _>(self.id)?;
        out.push_sql(" AND version = ");
        out.push_bind_param::<BigInt, _>(&self.expected)
    }
}

impl<Conn> diesel::query_dsl::RunQueryDsl<Conn> for Swap<'_> {}
