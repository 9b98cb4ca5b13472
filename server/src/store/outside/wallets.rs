//! Connections to people's own wallets: sealed whole, since the address says as much as the login.

use aegis_common::ids::UserId;
use aegis_common::time::Timestamp;
use diesel::prelude::*;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::crypto::Cell;
use crate::store::Store;
use crate::store::accounts::audit::Note;
use crate::store::error::StoreError;
use crate::store::keys::check_sealed;
use crate::store::schema::own_wallets;
use crate::store::types::{DbUuid, time};

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = own_wallets)]
pub(in crate::store) struct RawWallet {
    pub user_id: DbUuid,
    #[serde(skip)]
    pub connection: Vec<u8>,
    created_at: i64,
}

/// The place a connection is sealed for.
pub(in crate::store) fn connection_cell(user: &[u8]) -> Cell<'_> {
    Cell { table: "own_wallets", column: "connection", row: user }
}

impl Store {
    /// Stores how a person's wallet is reached, in the place of what was there. The store does not read it.
    pub async fn set_wallet(
        &self,
        user: UserId,
        connection: Zeroizing<Vec<u8>>,
        note: Note,
    ) -> Result<(), StoreError> {
        let user = DbUuid::from(user.0);
        let sealed = self.keyring.seal(connection_cell(&user.0), &connection)?;
        self.writer
            .run(move |conn| {
                check_sealed(conn, &sealed)?;
                diesel::delete(own_wallets::table.find(user)).execute(conn)?;
                let (connection, created_at) = (sealed.clone(), note.at.as_millisecond());
                let raw = RawWallet { user_id: user, connection, created_at };
                diesel::insert_into(own_wallets::table).values(&raw).execute(conn)?;
                note.write(conn)
            })
            .await
    }

    /// How a person's wallet is reached, and since when.
    pub async fn wallet(&self, user: UserId) -> Result<Option<(Zeroizing<Vec<u8>>, Timestamp)>, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, ring| {
            let Some(raw) = own_wallets::table.find(user).first::<RawWallet>(conn).optional()? else {
                return Ok(None);
            };
            Ok(Some((ring.open(connection_cell(&user.0), &raw.connection)?, time(raw.created_at)?)))
        })
        .await
    }

    /// Forgets it. `false` where there is none.
    pub async fn delete_wallet(&self, user: UserId, note: Note) -> Result<bool, StoreError> {
        let user = DbUuid::from(user.0);
        self.writer
            .run(move |conn| {
                let deleted = diesel::delete(own_wallets::table.find(user)).execute(conn)? == 1;
                if deleted {
                    note.write(conn)?;
                }
                Ok(deleted)
            })
            .await
    }
}
