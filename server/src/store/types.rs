//! How the domain's values lie in columns.

use aegis_common::amount::Piconero;
use aegis_common::time::Timestamp;
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Binary;
use uuid::Uuid;

use super::error::StoreError;

/// Exactly `N` bytes in a BLOB or BYTEA column; another length is an error on loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = Binary)]
pub(super) struct DbBytes<const N: usize>(pub [u8; N]);

/// A UUID as its 16 bytes: their order is the order of time for version 7.
pub(super) type DbUuid = DbBytes<16>;
/// A hash or public key.
pub(super) type DbHash = DbBytes<32>;

impl From<Uuid> for DbUuid {
    fn from(id: Uuid) -> Self {
        Self(id.into_bytes())
    }
}

impl From<DbUuid> for Uuid {
    fn from(id: DbUuid) -> Self {
        Self::from_bytes(id.0)
    }
}

impl<DB, const N: usize> ToSql<Binary, DB> for DbBytes<N>
where
    DB: Backend,
    [u8]: ToSql<Binary, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.0.as_slice().to_sql(out)
    }
}

impl<DB, const N: usize> FromSql<Binary, DB> for DbBytes<N>
where
    DB: Backend,
    Vec<u8>: FromSql<Binary, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let bytes = Vec::<u8>::from_sql(bytes)?;
        let length = bytes.len();
        bytes.try_into().map(Self).map_err(|_| format!("{length} bytes where {N} belong").into())
    }
}

/// A moment from unix milliseconds.
pub(super) fn time(millis: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(millis).map_err(|_| impossible("a moment outside the calendar"))
}

/// A count or height, which is never negative.
pub(super) fn natural(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| impossible("a negative height or count"))
}

/// A height as it is stored.
pub(super) fn height(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| impossible("a height beyond 2^63"))
}

/// An amount as it is stored.
pub(super) fn amount(value: Piconero) -> Result<i64, StoreError> {
    i64::try_from(value.0).map_err(|_| impossible("an amount beyond 2^63 piconero"))
}

/// A row limit: at least one, at most what one page may hold.
pub(super) fn page(limit: usize) -> i64 {
    i64::try_from(limit.clamp(1, super::MAX_PAGE)).unwrap_or(1)
}

pub(super) fn impossible(what: &str) -> StoreError {
    StoreError::Inconsistent(what.to_owned())
}
