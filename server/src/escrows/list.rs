//! Lists of one's escrows.

use aegis_common::amount::Piconero;
use aegis_common::canonical;
use aegis_common::escrow::contract::bounds::MAX_AMOUNT;
use aegis_common::escrow::state::Escrow;
use aegis_common::ids::UserId;
use aegis_common::role::Role;
use aegis_common::time::Timestamp;
use aegis_common::username::is_username;
use aegis_common::wire::list::{
    Direction, EscrowCount, EscrowCounts, EscrowItem, EscrowPage, EscrowSort, MAX_TEXT, MAX_WORDS, Statuses,
};
use aegis_common::words::words;
use serde::Serialize;

use super::cursor;
use super::reading::{Escrows, ReadError};
use crate::store::{ListFilter, ListOrder, ListedEscrow};

/// Which escrows to list, and in which order.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ListRequest {
    /// The reader's part; any where left out.
    pub role: Option<Role>,
    /// Statuses; all where there is none.
    pub statuses: Statuses,
    /// Username of another party.
    pub participant: Option<String>,
    /// Words of the title, of which the last may go on.
    pub text: Option<String>,
    /// Created at this moment or later.
    pub created_from: Option<Timestamp>,
    /// Created before this moment.
    pub created_to: Option<Timestamp>,
    /// The least price.
    pub amount_min: Option<Piconero>,
    /// The highest price.
    pub amount_max: Option<Piconero>,
    /// The key of the order.
    pub sort: EscrowSort,
    /// Which end comes first.
    pub direction: Direction,
}

impl Escrows {
    /// A page of the reader's escrows as of a tip height, behind the cursor; and the next cursor where there are more.
    pub async fn list(
        &self,
        reader: UserId,
        request: &ListRequest,
        cursor: Option<&str>,
        limit: usize,
        tip: u64,
    ) -> Result<EscrowPage, ReadError> {
        let filter = self.filter(reader, request).await?;
        let list = canonical::hash(&(reader, request)).map_err(|_| ReadError::BadCursor)?;
        let after =
            cursor.map(|cursor| cursor::read(cursor, &list).ok_or(ReadError::BadCursor)).transpose()?;
        let order = ListOrder { sort: request.sort, direction: request.direction };
        let mut rows = self.store.list(reader, filter, order, after, limit + 1).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| cursor::write(row.at, &list));
        let (mut escrows, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            match item(row, tip) {
                Ok(item) => escrows.push(item),
                // One must not hide all others; and that it is there must not be hidden either.
                Err(error) => {
                    tracing::error!(%error, "an escrow is left out of a list");
                    unreadable.push(row.id);
                }
            }
        }
        Ok(EscrowPage { escrows, unreadable, next })
    }

    /// How many escrows the reader has, by part and status.
    pub async fn counts(&self, reader: UserId) -> Result<EscrowCounts, ReadError> {
        let rows = self.store.list_counts(reader).await?;
        let sum = |over: bool| {
            rows.iter().filter(|(_, status, _)| status.is_over() == over).map(|(.., count)| count).sum()
        };
        let (open, over) = (sum(false), sum(true));
        let counts = rows.into_iter().map(|(role, status, count)| EscrowCount { role, status, count });
        Ok(EscrowCounts { counts: counts.collect(), open, over })
    }

    async fn filter(&self, reader: UserId, request: &ListRequest) -> Result<ListFilter, ReadError> {
        let require = |holds: bool, field: &'static str, why: &'static str| {
            if holds { Ok(()) } else { Err(ReadError::Field { field, why }) }
        };
        let before = |from: Option<_>, to: Option<_>| from.zip(to).is_none_or(|(from, to)| from < to);
        require(
            before(request.created_from, request.created_to),
            "createdTo",
            "must come after createdFrom",
        )?;
        let amounts = [request.amount_min, request.amount_max];
        let small = amounts.iter().flatten().all(|amount| *amount <= MAX_AMOUNT);
        require(small, "amountMin and amountMax", "must be at most 1,000,000 XMR")?;
        let between = amounts[0].zip(amounts[1]).is_none_or(|(min, max)| min <= max);
        require(between, "amountMax", "must not be below amountMin")?;
        let text = request.text.as_deref().unwrap_or_default();
        require(text.chars().count() <= MAX_TEXT, "text", "must have at most 200 characters")?;
        let words = words(text);
        require(request.text.is_none() || !words.is_empty(), "text", "must have a letter or a digit")?;
        require(words.len() <= MAX_WORDS, "text", "must have at most 8 different words")?;
        Ok(ListFilter {
            role: request.role,
            statuses: request.statuses.all().to_vec(),
            participant: match &request.participant {
                Some(name) => Some(self.other(reader, name).await?),
                None => None,
            },
            words,
            created_from: request.created_from,
            created_to: request.created_to,
            amount_min: request.amount_min,
            amount_max: request.amount_max,
        })
    }

    /// Somebody else by name.
    async fn other(&self, reader: UserId, name: &str) -> Result<UserId, ReadError> {
        let row = if is_username(name) { self.store.user_by_name(name).await? } else { None };
        match row {
            Some(row) if row.id == reader => {
                Err(ReadError::Field { field: "participant", why: "must be somebody else's name" })
            }
            Some(row) => Ok(row.id),
            None => Err(ReadError::UnknownUser),
        }
    }
}

fn item(row: &ListedEscrow, tip: u64) -> Result<EscrowItem, ReadError> {
    let inconsistent = |why: String| ReadError::Inconsistent { id: row.id, why };
    let escrow: Escrow =
        serde_json::from_str(&row.snapshot).map_err(|error| inconsistent(error.to_string()))?;
    let escrow = escrow.awaiting(row.updated_at);
    if escrow.contract.escrow_id != row.id {
        return Err(inconsistent("the snapshot is another escrow's".to_owned()));
    }
    Ok(EscrowItem::of(&escrow, row.version, tip, row.role, row.updated_at))
}
