//! Arbiters: what they offer, whether they are there, what waits for them, and why one was chosen.

mod standby;

use std::sync::Arc;

use aegis_common::arbiter::{Choice, bounds};
use aegis_common::escrow::contract;
use aegis_common::escrow::state::{Escrow, Phase};
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::language::is_language_tag;
use aegis_common::time::{Clock, SignedDuration, Timestamp};
use aegis_common::wire::account::AccountRole;
use aegis_common::wire::arbiter::{
    ArbiterPage, ArbiterProfile, ArbiterView, AssignmentView, DisputeItem, DisputePage,
};

pub use self::standby::event_id;
use crate::store::{ArbiterRow, EscrowRow, Note, Offer, Store, StoreError};

/// What arbiters get who say nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Usual {
    /// The fee in basis points.
    pub fee_bps: u16,
    /// Cases at once.
    pub capacity: u32,
    /// One who was not heard for so long counts as silent.
    pub silent: SignedDuration,
}

/// Something about arbiters is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArbiterError {
    /// No such arbiter or escrow, or not the reader's.
    #[error("there is no such arbiter or escrow")]
    NotFound,
    /// A field is outside its bounds.
    #[error("{field}: {why}")]
    Field {
        /// The field's wire name.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// What is stored makes no sense.
    #[error("escrow {0} is stored inconsistently: {1}")]
    Inconsistent(EscrowId, String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The use cases; clones are handles on the same.
#[derive(Clone)]
pub struct Arbiters {
    store: Store,
    clock: Arc<dyn Clock>,
    usual: Usual,
}

impl Arbiters {
    /// On a store.
    pub fn new(store: Store, clock: Arc<dyn Clock>, usual: Usual) -> Self {
        Self { store, clock, usual }
    }

    /// Everybody who can be asked, in order of id.
    pub async fn page(&self, after: Option<UserId>, limit: usize) -> Result<ArbiterPage, ArbiterError> {
        let mut rows = self.store.arbiters(after, limit + 1).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| row.user.id);
        let silent = self.silent_before().await?;
        Ok(ArbiterPage { arbiters: rows.into_iter().map(|row| self.view(row, silent)).collect(), next })
    }

    /// One by name.
    pub async fn one(&self, username: &str) -> Result<ArbiterView, ArbiterError> {
        let row = self.store.arbiter_by_name(username).await?.ok_or(ArbiterError::NotFound)?;
        Ok(self.view(row, self.silent_before().await?))
    }

    async fn silent_before(&self) -> Result<Timestamp, StoreError> {
        self.store.silent_before(self.clock.now(), self.usual.silent).await
    }

    fn view(&self, row: ArbiterRow, silent_before: Timestamp) -> ArbiterView {
        let ArbiterRow { user, offer, seen_at, open, disputed, .. } = row;
        let capacity = offer.capacity.unwrap_or(self.usual.capacity);
        let silent = seen_at < silent_before;
        ArbiterView {
            user_id: user.id,
            username: user.username,
            about: offer.about,
            languages: offer.languages,
            fee_bps: offer.fee_bps.unwrap_or(self.usual.fee_bps),
            capacity,
            open,
            disputed,
            accepting: offer.accepting,
            seen_at,
            available: offer.accepting && !silent && open < u64::from(capacity),
        }
    }

    /// Changes what an arbiter says of itself, in contracts made from now on.
    pub async fn set_offer(
        &self,
        user: UserId,
        profile: ArbiterProfile,
        note: Note,
    ) -> Result<(), ArbiterError> {
        let ArbiterProfile { about, languages, fee_bps, capacity, accepting } = profile;
        let refuse = |field, why| Err(ArbiterError::Field { field, why });
        let text = about.chars().count() <= bounds::ABOUT;
        if !text || about.chars().any(|c| c.is_control() && c != '\n') {
            return refuse("about", "must have at most 2000 characters, and no control characters");
        }
        if languages.len() > bounds::LANGUAGES || !languages.iter().all(|tag| is_language_tag(tag)) {
            return refuse("languages", "must be at most 16 language tags, such as en or pt-BR");
        }
        if fee_bps.is_some_and(|bps| bps > contract::bounds::FEE_BPS) {
            return refuse("feeBps", "must be at most 2500");
        }
        if capacity.is_some_and(|capacity| capacity > bounds::CAPACITY) {
            return refuse("capacity", "must be at most 10000");
        }
        let offer = Offer { about, languages, fee_bps, capacity, accepting };
        Ok(self.store.set_offer(user, offer, note).await?)
    }

    /// The program of an arbiter is there, or of one who is none any more and has cases still.
    pub async fn heard(&self, user: UserId, role: AccountRole) -> Result<(), ArbiterError> {
        if role != AccountRole::Arbiter && !self.store.has_cases(user).await? {
            return Err(ArbiterError::NotFound);
        }
        Ok(self.store.heard(user, self.clock.now()).await?)
    }

    /// Whom the server chose for an escrow of the reader's, and from what.
    pub async fn assignment(&self, reader: UserId, id: EscrowId) -> Result<AssignmentView, ArbiterError> {
        let row = self.store.escrow(id).await?.ok_or(ArbiterError::NotFound)?;
        if ![row.buyer_id, row.seller_id, row.arbiter_id].contains(&reader) {
            return Err(ArbiterError::NotFound);
        }
        let made = self.store.assignment(id).await?.ok_or(ArbiterError::NotFound)?;
        let choice: Choice = serde_json::from_str(&made.choice).map_err(|error| damaged(id, &error))?;
        let (arbiter, replaces) = (made.arbiter_id, made.replaces);
        Ok(AssignmentView { escrow_id: id, arbiter, replaces, choice: choice.shown() })
    }

    /// What is disputed, of one arbiter or of all; those whose ruling is due first first.
    pub async fn disputes(
        &self,
        arbiter: Option<UserId>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<DisputePage, ArbiterError> {
        let bad = ArbiterError::Field { field: "after", why: "is not the `next` of a page" };
        let after = after.map(|text| cursor(text).ok_or(bad)).transpose()?;
        let mut rows = self.store.disputes(arbiter, after, limit + 1).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let due = |row: &EscrowRow| row.wake_at.map(|at| format!("{}-{}", at.as_millisecond(), row.id));
        let next = rows.last().filter(|_| more).and_then(due);
        let now = self.clock.now();
        let (mut disputes, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            match dispute(row, now) {
                Ok(item) => disputes.extend(item),
                Err(error) => {
                    tracing::error!(%error, "an escrow is left out of the disputes");
                    unreadable.push(row.id);
                }
            }
        }
        Ok(DisputePage { disputes, unreadable, next })
    }
}

fn damaged(id: EscrowId, error: &dyn std::fmt::Display) -> ArbiterError {
    ArbiterError::Inconsistent(id, error.to_string())
}

/// A cursor of the queue: milliseconds and id.
fn cursor(text: &str) -> Option<(Timestamp, EscrowId)> {
    let (due, id) = text.split_once('-')?;
    Some((Timestamp::from_millisecond(due.parse().ok()?).ok()?, id.parse().ok()?))
}

fn dispute(row: &EscrowRow, now: Timestamp) -> Result<Option<DisputeItem>, ArbiterError> {
    let escrow: Escrow = serde_json::from_str(&row.snapshot).map_err(|error| damaged(row.id, &error))?;
    let escrow = escrow.awaiting(row.updated_at);
    let Phase::Disputed { by, since, .. } = escrow.phase else { return Ok(None) };
    let Escrow { contract, awaited, patience, .. } = escrow;
    let ruling = SignedDuration::from_secs(i64::from(patience.ruling_seconds));
    let put_off = SignedDuration::from_secs(awaited.map_or(0, |awaited| i64::from(awaited.put_off)));
    let first = since.saturating_add(ruling).and_then(|at| at.saturating_add(put_off));
    Ok(Some(DisputeItem {
        escrow_id: row.id,
        version: row.version,
        title: contract.title,
        buyer: contract.buyer.username,
        seller: contract.seller.username,
        arbiter: contract.arbiter.username,
        amount: contract.amount.into(),
        by,
        since,
        due: awaited.and_then(|awaited| awaited.until),
        overdue: first.is_ok_and(|first| first < now),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let id = EscrowId(uuid::Uuid::from_u128(7));
        let at = Timestamp::constant(1_800_000_000, 0);
        assert_eq!(cursor(&format!("{}-{id}", at.as_millisecond())), Some((at, id)));
        assert_eq!([cursor(""), cursor("1"), cursor("x-y"), cursor("99999999999999999999-7")], [None; 4]);
    }
}
