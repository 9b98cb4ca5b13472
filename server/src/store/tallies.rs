//! What finished escrows say of people, counted where they end.

use aegis_common::amount::Piconero;
use aegis_common::ids::UserId;
use aegis_common::reputation::{Ending, Tally};
use aegis_common::role::Role;
use diesel::prelude::*;
use serde::Serialize;

use super::Store;
use super::connection::Conn;
use super::error::StoreError;
use super::schema::tallies;
use super::types::{DbUuid, natural};

#[derive(Queryable, Insertable, AsChangeset, Serialize)]
#[diesel(table_name = tallies)]
pub(super) struct RawTally {
    pub user_id: DbUuid,
    released: i64,
    refunded: i64,
    split: i64,
    disputed: i64,
    won: i64,
    lost: i64,
    volume: i64,
    arbitrated: i64,
    ruled: i64,
}

impl RawTally {
    fn encode(user_id: DbUuid, tally: &Tally) -> Self {
        let stored = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            user_id,
            released: stored(tally.released),
            refunded: stored(tally.refunded),
            split: stored(tally.split),
            disputed: stored(tally.disputed),
            won: stored(tally.won),
            lost: stored(tally.lost),
            volume: stored(tally.volume.0),
            arbitrated: stored(tally.arbitrated),
            ruled: stored(tally.ruled),
        }
    }

    fn decode(&self) -> Result<Tally, StoreError> {
        Ok(Tally {
            released: natural(self.released)?,
            refunded: natural(self.refunded)?,
            split: natural(self.split)?,
            disputed: natural(self.disputed)?,
            won: natural(self.won)?,
            lost: natural(self.lost)?,
            volume: Piconero(natural(self.volume)?),
            arbitrated: natural(self.arbitrated)?,
            ruled: natural(self.ruled)?,
        })
    }
}

/// Somebody's tally.
pub(super) fn tally(conn: &mut Conn, user: DbUuid) -> Result<Tally, StoreError> {
    let row = tallies::table.find(user).first::<RawTally>(conn).optional()?;
    row.map_or(Ok(Tally::default()), |row| row.decode())
}

/// Counts an ending for its three parties.
pub(super) fn count(conn: &mut Conn, ending: &Ending) -> Result<(), StoreError> {
    for (role, party) in Role::ALL.into_iter().zip(ending.parties) {
        let user = DbUuid::from(party.0);
        let mut counted = tally(conn, user)?;
        counted.count(ending, role);
        let row = RawTally::encode(user, &counted);
        if diesel::update(tallies::table.find(user)).set(&row).execute(conn)? == 0 {
            diesel::insert_into(tallies::table).values(&row).execute(conn)?;
        }
    }
    Ok(())
}

impl Store {
    /// What somebody's finished escrows say.
    pub async fn tally(&self, user: UserId) -> Result<Tally, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, _| tally(conn, user)).await
    }
}
