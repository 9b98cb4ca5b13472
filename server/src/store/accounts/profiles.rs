//! What people show and choose, and finding them.

use aegis_common::ids::UserId;
use aegis_common::reputation::Tally;
use aegis_common::time::Timestamp;
use diesel::prelude::*;
use serde::Serialize;

use crate::store::Store;
use crate::store::commit::check_text;
use crate::store::dump::as_json;
use crate::store::error::StoreError;
use crate::store::schema::{profiles, users};
use crate::store::tallies::tally;
use crate::store::types::{DbUuid, page};
use crate::store::users::{RawUser, UserRow};

/// What a person shows and chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileRow {
    /// May be empty.
    pub display_name: String,
    /// JSON.
    pub settings: String,
}

/// What everybody may see of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The account.
    pub row: UserRow,
    /// May be empty.
    pub display_name: String,
    /// What its finished escrows say.
    pub tally: Tally,
}

#[derive(Queryable, Insertable, AsChangeset, Serialize)]
#[diesel(table_name = profiles)]
pub(in crate::store) struct RawProfile {
    pub user_id: DbUuid,
    display_name: String,
    #[serde(serialize_with = "as_json")]
    settings: String,
    updated_at: i64,
}

impl Store {
    /// What an account shows and chooses; `None` where it never said.
    pub async fn profile(&self, user: UserId) -> Result<Option<ProfileRow>, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, _| {
            let row = profiles::table.find(user).first::<RawProfile>(conn).optional()?;
            Ok(row.map(|row| ProfileRow { display_name: row.display_name, settings: row.settings }))
        })
        .await
    }

    /// Stores what an account shows and chooses; `None` stays as it is.
    pub async fn set_profile(
        &self,
        user: UserId,
        display_name: Option<String>,
        settings: Option<String>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        check_text(display_name.iter().chain(&settings))?;
        let key = DbUuid::from(user.0);
        self.writer
            .run(move |conn| {
                let known = profiles::table.find(key).first::<RawProfile>(conn).optional()?;
                let is_new = known.is_none();
                let mut raw = known.unwrap_or(RawProfile {
                    user_id: key,
                    display_name: String::new(),
                    settings: "{}".to_owned(),
                    updated_at: 0,
                });
                raw.display_name = display_name.clone().unwrap_or(raw.display_name);
                raw.settings = settings.clone().unwrap_or(raw.settings);
                raw.updated_at = at.as_millisecond();
                if is_new {
                    diesel::insert_into(profiles::table).values(&raw).execute(conn)?;
                } else {
                    diesel::update(profiles::table.find(key)).set(&raw).execute(conn)?;
                }
                Ok(())
            })
            .await
    }

    /// Accounts whose names begin so, without regard to case, by name, beginning after `after`.
    pub async fn users_by_prefix(
        &self,
        prefix: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<UserRow>, StoreError> {
        let prefix = prefix.to_lowercase();
        let after = after.map(|name| name.to_lowercase()).unwrap_or_default();
        check_text([&prefix, &after])?;
        self.read(move |conn, _| {
            // Names are ASCII, and DEL comes after all of it that a name can have.
            let rows = users::table.filter(users::username_lower.ge(&prefix));
            let rows = rows.filter(users::username_lower.lt(format!("{prefix}\u{7f}")));
            let rows = rows.filter(users::username_lower.gt(&after)).order(users::username_lower);
            rows.limit(page(limit)).load::<RawUser>(conn)?.into_iter().map(RawUser::decode).collect()
        })
        .await
    }

    /// What everybody may see of accounts.
    pub async fn shown(&self, rows: Vec<UserRow>) -> Result<Vec<Shown>, StoreError> {
        self.read(move |conn, _| {
            let shown = |row: UserRow| {
                let user = DbUuid::from(row.id.0);
                let name = profiles::table.find(user).select(profiles::display_name);
                let display_name = name.first(conn).optional()?.unwrap_or_default();
                Ok(Shown { row, display_name, tally: tally(conn, user)? })
            };
            rows.into_iter().map(shown).collect()
        })
        .await
    }
}
