//! Changes of accounts.

use aegis_common::ids::UserId;
use diesel::prelude::*;

use super::Store;
use super::commit::check_text;
use super::error::StoreError;
use super::schema::users;
use super::types::DbUuid;
use super::users::Role;

impl Store {
    /// Changes where an account is paid from now on. `false` where there is no such account.
    pub async fn set_payout_address(&self, id: UserId, address: String) -> Result<bool, StoreError> {
        check_text([&address])?;
        let id = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                let row = diesel::update(users::table.find(id));
                Ok(row.set(users::payout_address.eq(&address)).execute(conn)? == 1)
            })
            .await
    }

    /// Changes what an account may do. `false` where there is no such account.
    pub async fn set_role(&self, id: UserId, role: Role) -> Result<bool, StoreError> {
        let id = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                let row = diesel::update(users::table.find(id));
                Ok(row.set(users::role.eq(role.as_str())).execute(conn)? == 1)
            })
            .await
    }
}
