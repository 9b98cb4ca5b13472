//! What traders say of each other, and of arbiters. Reviews never change a reputation.

use aegis_common::escrow::state::Escrow;
use aegis_common::ids::{EscrowId, ReviewId, SessionId, UserId};
use aegis_common::reputation::Ending;
use aegis_common::role::Role as Part;
use aegis_common::time::SignedDuration;
use aegis_common::wire::account::AccountRole;
use aegis_common::wire::market::{
    AnswerView, EscrowReviews, HideRequest, MarketNotice, ReviewChange, ReviewPage, ReviewRequest,
    ReviewView, bounds,
};
use serde_json::json;
use uuid::Uuid;

use super::follow::payload;
use super::{Market, MarketError, changed, is_plain, refuse};
use crate::store::{NewEvent, Note, ReviewRow, StoreError, Under};

/// An operator who acts, for the audit.
#[derive(Debug, Clone)]
pub struct Operator {
    /// The account.
    pub user: UserId,
    /// What it may do.
    pub role: AccountRole,
    /// The session, which must not end meanwhile.
    pub session: SessionId,
    /// Where it acts from, coarsely.
    pub network: Option<String>,
}

impl Market {
    /// A trader reviews the other one or the arbiter of an escrow that is paid out.
    pub async fn review(
        &self,
        reviewer: UserId,
        escrow: &Escrow,
        request: ReviewRequest,
    ) -> Result<ReviewView, MarketError> {
        check_stars(request.stars)?;
        check_text(&request.text, 0)?;
        let contract = &escrow.contract;
        let part = Part::ALL.into_iter().find(|part| contract.party(*part).user_id == reviewer);
        let reviewer_role = part.filter(|part| part.is_trader());
        let reviewer_role = reviewer_role.ok_or(MarketError::Forbidden("only traders review"))?;
        if request.subject == reviewer_role {
            return refuse("subject", "must be the other trader or the arbiter");
        }
        // As for reputations: what was never funded costs nothing.
        if Ending::of(escrow, self.clock.now()).is_none() {
            return Err(MarketError::Over("an escrow is reviewed once it is paid out, if it was funded"));
        }
        let (id, subject) = (ReviewId(Uuid::now_v7()), contract.party(request.subject));
        let row = ReviewRow {
            id,
            escrow_id: contract.escrow_id,
            reviewer_id: reviewer,
            reviewer_role,
            reviewer: contract.party(reviewer_role).username.clone(),
            subject_id: subject.user_id,
            subject_role: request.subject,
            subject: subject.username.clone(),
            version: 1,
            stars: request.stars,
            text: request.text,
            answer: None,
            hidden: None,
            created_at: self.clock.now(),
            edited_at: None,
        };
        let (escrow_id, stars) = (row.escrow_id, row.stars);
        let told =
            told(&row, row.subject_id, &MarketNotice::ReviewPosted { review_id: id, escrow_id, stars })?;
        match self.store.insert_review(row.clone(), told).await {
            Ok(()) => Ok(view(row, reviewer)),
            Err(StoreError::Duplicate) => {
                Err(MarketError::Done("you have reviewed that person for this escrow"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// One review, as the reader may see it.
    pub async fn one_review(&self, reader: UserId, id: ReviewId) -> Result<ReviewView, MarketError> {
        Ok(view(self.row(id).await?, reader))
    }

    /// The author changes a review, within fourteen days.
    pub async fn change_review(
        &self,
        author: UserId,
        id: ReviewId,
        expected: i64,
        change: ReviewChange,
    ) -> Result<ReviewView, MarketError> {
        let row = self.row(id).await?;
        if row.reviewer_id != author {
            return Err(MarketError::Forbidden("only its author changes a review"));
        }
        let now = self.clock.now();
        if now.duration_since(row.created_at) > SignedDuration::from_hours(24 * bounds::REVIEW_DAYS) {
            return Err(MarketError::Over("a review can be changed for 14 days"));
        }
        let (stars, text) = (change.stars.unwrap_or(row.stars), change.text.unwrap_or(row.text));
        check_stars(stars)?;
        check_text(&text, 0)?;
        let how = self.store.change_review(id, expected, (stars, text), now).await?;
        changed(how, MarketError::Unknown)?;
        self.one_review(author, id).await
    }

    /// The subject answers a review, once.
    pub async fn answer_review(
        &self,
        subject: UserId,
        id: ReviewId,
        text: String,
    ) -> Result<ReviewView, MarketError> {
        check_text(&text, 1)?;
        let row = self.row(id).await?;
        if row.subject_id != subject {
            return Err(MarketError::Forbidden("only whom it is about answers a review"));
        }
        let answered = MarketNotice::ReviewAnswered { review_id: id, escrow_id: row.escrow_id };
        let told = told(&row, row.reviewer_id, &answered)?;
        let how = self.store.answer_review(id, text, told, self.clock.now()).await?;
        changed(how, MarketError::Done("the review was answered"))?;
        self.one_review(subject, id).await
    }

    /// An operator hides a review for a reason, which stands in its place.
    pub async fn hide_review(
        &self,
        by: Operator,
        id: ReviewId,
        request: HideRequest,
    ) -> Result<ReviewView, MarketError> {
        let HideRequest { reason } = request;
        if !bounds::REASON.contains(&reason.chars().count()) || !is_plain(&reason) {
            return refuse("reason", "must have 1 to 500 characters, none of them a control character");
        }
        self.set_hidden(by, id, Some(reason), "reviewHidden").await
    }

    /// An operator shows a review again.
    pub async fn show_review(&self, by: Operator, id: ReviewId) -> Result<ReviewView, MarketError> {
        self.set_hidden(by, id, None, "reviewShown").await
    }

    async fn set_hidden(
        &self,
        by: Operator,
        id: ReviewId,
        reason: Option<String>,
        kind: &'static str,
    ) -> Result<ReviewView, MarketError> {
        let row = self.row(id).await?;
        let note = Note {
            user: Some(row.reviewer_id),
            at: self.clock.now(),
            kind,
            network: by.network,
            detail: json!({ "review": id, "reason": reason, "by": by.user }),
            tell: true,
            under: Some(Under { session: by.session, role: Some(by.role.wire().parse()?) }),
        };
        if !self.store.hide_review(id, reason, note).await? {
            return Err(MarketError::Unknown);
        }
        tracing::warn!(review = %id, kind, by = %by.user, "an operator judged a review");
        self.one_review(by.user, id).await
    }

    /// Reviews of somebody, newest first, with the average of all that are not hidden.
    pub async fn reviews(
        &self,
        reader: UserId,
        username: &str,
        before: Option<ReviewId>,
        limit: usize,
    ) -> Result<ReviewPage, MarketError> {
        let subject = self.named(username).await?.ok_or(MarketError::Unknown)?.id;
        let mut rows = self.store.reviews_of(subject, before, limit + 1).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| row.id);
        let (count, sum) = self.store.stars_of(subject).await?;
        let reviews = rows.into_iter().map(|row| view(row, reader)).collect();
        Ok(ReviewPage { count, average: average(count, sum), reviews, next })
    }

    /// Reviews that rest on an escrow, to one of its parties.
    pub async fn reviews_in(&self, reader: UserId, escrow: EscrowId) -> Result<EscrowReviews, MarketError> {
        let rows = self.store.reviews_in(escrow).await?;
        let view = |row| ReviewView { escrow_id: Some(escrow), ..view(row, reader) };
        Ok(EscrowReviews { reviews: rows.into_iter().map(view).collect() })
    }

    async fn row(&self, id: ReviewId) -> Result<ReviewRow, MarketError> {
        self.store.review(id).await?.ok_or(MarketError::Unknown)
    }
}

fn check_stars(stars: u8) -> Result<(), MarketError> {
    if bounds::STARS.contains(&stars) { Ok(()) } else { refuse("stars", "must lie between 1 and 5") }
}

fn check_text(text: &str, least: usize) -> Result<(), MarketError> {
    if (least..=bounds::REVIEW).contains(&text.chars().count()) && is_plain(text) {
        return Ok(());
    }
    refuse("text", "must have at most 2000 characters, none of them a control character")
}

/// Two digits after the point, rounded.
fn average(count: u64, sum: u64) -> Option<String> {
    let hundredths = (200 * sum + count).checked_div(2 * count)?;
    Some(format!("{}.{:02}", hundredths / 100, hundredths % 100))
}

fn told(row: &ReviewRow, user_id: UserId, notice: &MarketNotice) -> Result<NewEvent, MarketError> {
    Ok(NewEvent {
        event_id: Uuid::now_v7(),
        user_id,
        escrow_id: Some(row.escrow_id),
        kind: notice.kind().to_owned(),
        payload: payload(notice)?,
    })
}

fn view(row: ReviewRow, reader: UserId) -> ReviewView {
    let is_party = [row.reviewer_id, row.subject_id].contains(&reader);
    let is_shown = row.hidden.is_none();
    ReviewView {
        id: row.id,
        version: row.version,
        reviewer: row.reviewer,
        reviewer_role: row.reviewer_role,
        subject: row.subject,
        subject_role: row.subject_role,
        escrow_id: is_party.then_some(row.escrow_id),
        stars: is_shown.then_some(row.stars),
        text: is_shown.then_some(row.text),
        answer: row.answer.filter(|_| is_shown).map(|(text, at)| AnswerView { text, at }),
        hidden: row.hidden,
        created_at: row.created_at,
        edited_at: row.edited_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_is_rounded_to_two_digits_and_of_nothing_there_is_none() {
        assert_eq!(average(0, 0), None);
        assert_eq!(average(1, 5).unwrap(), "5.00");
        assert_eq!(average(3, 14).unwrap(), "4.67");
        assert_eq!(average(8, 33).unwrap(), "4.13", "4.125");
    }
}
