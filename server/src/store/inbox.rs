//! Up to which of their events people have read.

use aegis_common::ids::UserId;
use aegis_common::wire::event::{InboxView, MOST_UNREAD};
use diesel::prelude::*;
use serde::Serialize;

use super::Store;
use super::connection::Conn;
use super::error::StoreError;
use super::schema::{events, inbox};
use super::types::{DbUuid, page};

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = inbox)]
pub(super) struct RawInbox {
    pub user_id: DbUuid,
    read_up_to: i64,
}

fn read_up_to(conn: &mut Conn, user: DbUuid) -> QueryResult<Option<i64>> {
    inbox::table.find(user).select(inbox::read_up_to).first(conn).optional()
}

fn view(conn: &mut Conn, user: DbUuid) -> Result<InboxView, StoreError> {
    let read_up_to = read_up_to(conn, user)?.unwrap_or(0);
    let unread = events::table.filter(events::user_id.eq(user)).filter(events::seq.gt(read_up_to));
    let unread: Vec<i64> =
        unread.order(events::seq).limit(page(MOST_UNREAD)).select(events::seq).load(conn)?;
    Ok(InboxView { read_up_to, unread: unread.len() as u64 })
}

impl Store {
    /// Up to where a person has read, and how many events came since.
    pub async fn inbox(&self, user: UserId) -> Result<InboxView, StoreError> {
        let user = DbUuid::from(user.0);
        self.read(move |conn, _| view(conn, user)).await
    }

    /// A person has read everything up to a position, or up to their newest event where that comes before. Never moves back: another
    /// device may have read on.
    pub async fn mark_read(&self, user: UserId, up_to: i64) -> Result<InboxView, StoreError> {
        let user_id = DbUuid::from(user.0);
        self.writer
            .run(move |conn| {
                let newest = events::table.filter(events::user_id.eq(user_id)).order(events::seq.desc());
                let newest = newest.select(events::seq).first::<i64>(conn).optional()?;
                let read_up_to = up_to.min(newest.unwrap_or(0));
                match self::read_up_to(conn, user_id)? {
                    None if read_up_to > 0 => {
                        let row = RawInbox { user_id, read_up_to };
                        diesel::insert_into(inbox::table).values(row).execute(conn)?;
                    }
                    Some(stored) if stored < read_up_to => {
                        let row = diesel::update(inbox::table.find(user_id));
                        row.set(inbox::read_up_to.eq(read_up_to)).execute(conn)?;
                    }
                    _ => {}
                }
                view(conn, user_id)
            })
            .await
    }
}
