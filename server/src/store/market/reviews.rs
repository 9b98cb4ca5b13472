//! Reviews.

use aegis_common::ids::{EscrowId, ReviewId, UserId};
use aegis_common::role::Role;
use aegis_common::time::Timestamp;
use diesel::prelude::*;
use serde::Serialize;

use super::follow::tell;
use super::{Changed, Names};
use crate::store::Store;
use crate::store::accounts::audit::Note;
use crate::store::commit::{NewEvent, check_text};
use crate::store::connection::Conn;
use crate::store::error::StoreError;
use crate::store::schema::{ratings, reviews};
use crate::store::types::{DbUuid, impossible, natural, page, time};

/// A review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewRow {
    /// Its id, a version 7 UUID: ordered by creation.
    pub id: ReviewId,
    /// The escrow it rests on.
    pub escrow_id: EscrowId,
    /// Who wrote it.
    pub reviewer_id: UserId,
    /// The writer's part.
    pub reviewer_role: Role,
    /// The writer's name; not stored with it.
    pub reviewer: String,
    /// Whom it is about.
    pub subject_id: UserId,
    /// The subject's part.
    pub subject_role: Role,
    /// The subject's name; not stored with it.
    pub subject: String,
    /// Grows by one with each change.
    pub version: i64,
    /// 1 to 5.
    pub stars: u8,
    /// What it says.
    pub text: String,
    /// What the subject answered, and when.
    pub answer: Option<(String, Timestamp)>,
    /// Why an operator has hidden it.
    pub hidden: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When its author last changed it.
    pub edited_at: Option<Timestamp>,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = reviews, treat_none_as_default_value = false)]
pub(in crate::store) struct RawReview {
    pub id: DbUuid,
    escrow_id: DbUuid,
    reviewer_id: DbUuid,
    reviewer_role: String,
    subject_id: DbUuid,
    subject_role: String,
    version: i64,
    stars: i64,
    body: String,
    answer: Option<String>,
    answered_at: Option<i64>,
    hidden: Option<String>,
    created_at: i64,
    edited_at: Option<i64>,
}

#[derive(Queryable, Insertable, Serialize)]
#[diesel(table_name = ratings)]
pub(in crate::store) struct RawRating {
    pub user_id: DbUuid,
    reviews: i64,
    stars: i64,
}

fn role(text: &str) -> Result<Role, StoreError> {
    let role = Role::ALL.into_iter().find(|role| role.to_string() == text);
    role.ok_or_else(|| impossible("an unknown part"))
}

impl RawReview {
    fn encode(row: ReviewRow) -> Self {
        let (answer, answered_at) = row.answer.unzip();
        Self {
            id: row.id.0.into(),
            escrow_id: row.escrow_id.0.into(),
            reviewer_id: row.reviewer_id.0.into(),
            reviewer_role: row.reviewer_role.to_string(),
            subject_id: row.subject_id.0.into(),
            subject_role: row.subject_role.to_string(),
            version: row.version,
            stars: row.stars.into(),
            body: row.text,
            answer,
            answered_at: answered_at.map(Timestamp::as_millisecond),
            hidden: row.hidden,
            created_at: row.created_at.as_millisecond(),
            edited_at: row.edited_at.map(Timestamp::as_millisecond),
        }
    }

    fn decode(self, names: &Names) -> Result<ReviewRow, StoreError> {
        let (reviewer_id, subject_id) = (UserId(self.reviewer_id.into()), UserId(self.subject_id.into()));
        let answered_at = self.answered_at.map(time).transpose()?;
        Ok(ReviewRow {
            id: ReviewId(self.id.into()),
            escrow_id: EscrowId(self.escrow_id.into()),
            reviewer: names.of(reviewer_id)?,
            reviewer_id,
            reviewer_role: role(&self.reviewer_role)?,
            subject: names.of(subject_id)?,
            subject_id,
            subject_role: role(&self.subject_role)?,
            version: self.version,
            stars: u8::try_from(self.stars).map_err(|_| impossible("too many stars"))?,
            text: self.body,
            answer: self.answer.zip(answered_at),
            hidden: self.hidden,
            created_at: time(self.created_at)?,
            edited_at: self.edited_at.map(time).transpose()?,
        })
    }
}

impl Store {
    /// Stores a new review and tells its subject. [`StoreError::Duplicate`] where its writer has reviewed the subject for
    /// that escrow before.
    pub async fn insert_review(&self, row: ReviewRow, told: NewEvent) -> Result<(), StoreError> {
        check_text([&row.text, &told.payload])?;
        let (raw, at) = (RawReview::encode(row.clone()), row.created_at);
        self.writer
            .run(move |conn| {
                diesel::insert_into(reviews::table).values(&raw).execute(conn)?;
                rate(conn, raw.subject_id, (1, raw.stars))?;
                tell(conn, told.clone(), at)
            })
            .await
    }

    /// One review.
    pub async fn review(&self, id: ReviewId) -> Result<Option<ReviewRow>, StoreError> {
        let id = DbUuid::from(id.0);
        self.read(move |conn, _| {
            let row = reviews::table.find(id).first::<RawReview>(conn).optional()?;
            Ok(decoded(conn, row.into_iter().collect())?.pop())
        })
        .await
    }

    /// Changes a review that is at version `expected`.
    pub async fn change_review(
        &self,
        id: ReviewId,
        expected: i64,
        (stars, text): (u8, String),
        at: Timestamp,
    ) -> Result<Changed, StoreError> {
        check_text([&text])?;
        let key = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                match version(conn, key)? {
                    None => return Ok(Changed::Missing),
                    Some(actual) if expected != actual => return Ok(Changed::Stale { actual }),
                    Some(_) => {}
                }
                if let Some((subject, false, before)) = counted(conn, key)? {
                    rate(conn, subject, (0, i64::from(stars) - before))?;
                }
                let change = (
                    reviews::stars.eq(i64::from(stars)),
                    reviews::body.eq(&text),
                    reviews::edited_at.eq(Some(at.as_millisecond())),
                    reviews::version.eq(expected + 1),
                );
                diesel::update(reviews::table.find(key)).set(change).execute(conn)?;
                Ok(Changed::Done)
            })
            .await
    }

    /// Stores the subject's answer, once, and tells the reviewer. [`Changed::Over`] where there is one.
    pub async fn answer_review(
        &self,
        id: ReviewId,
        text: String,
        told: NewEvent,
        at: Timestamp,
    ) -> Result<Changed, StoreError> {
        check_text([&text, &told.payload])?;
        let key = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                let row = reviews::table.find(key).filter(reviews::answer.is_null());
                let answer = (
                    reviews::answer.eq(Some(&text)),
                    reviews::answered_at.eq(Some(at.as_millisecond())),
                    reviews::version.eq(reviews::version + 1),
                );
                if diesel::update(row).set(answer).execute(conn)? == 0 {
                    return Ok(if version(conn, key)?.is_some() { Changed::Over } else { Changed::Missing });
                }
                tell(conn, told.clone(), at)?;
                Ok(Changed::Done)
            })
            .await
    }

    /// Hides a review for a reason, or shows it again. `false` where there is no such.
    pub async fn hide_review(
        &self,
        id: ReviewId,
        reason: Option<String>,
        note: Note,
    ) -> Result<bool, StoreError> {
        check_text(&reason)?;
        let key = DbUuid::from(id.0);
        self.writer
            .run(move |conn| {
                match counted(conn, key)? {
                    Some((subject, false, stars)) if reason.is_some() => rate(conn, subject, (-1, -stars))?,
                    Some((subject, true, stars)) if reason.is_none() => rate(conn, subject, (1, stars))?,
                    _ => {}
                }
                let change = (reviews::hidden.eq(&reason), reviews::version.eq(reviews::version + 1));
                let is_there = diesel::update(reviews::table.find(key)).set(change).execute(conn)? == 1;
                if is_there {
                    note.write(conn)?;
                }
                Ok(is_there)
            })
            .await
    }

    /// Reviews of somebody, newest first, beginning after (older than) `before`.
    pub async fn reviews_of(
        &self,
        subject: UserId,
        before: Option<ReviewId>,
        limit: usize,
    ) -> Result<Vec<ReviewRow>, StoreError> {
        let before = before.map_or(DbUuid::from(uuid::Uuid::max()), |id| id.0.into());
        self.read(move |conn, _| {
            let rows = reviews::table.filter(reviews::subject_id.eq(DbUuid::from(subject.0)));
            let rows = rows.filter(reviews::id.lt(before)).order(reviews::id.desc());
            let rows = rows.limit(page(limit)).load(conn)?;
            decoded(conn, rows)
        })
        .await
    }

    /// Reviews that rest on an escrow, oldest first.
    pub async fn reviews_in(&self, escrow: EscrowId) -> Result<Vec<ReviewRow>, StoreError> {
        self.read(move |conn, _| {
            let rows = reviews::table.filter(reviews::escrow_id.eq(DbUuid::from(escrow.0)));
            let rows = rows.order(reviews::id).load(conn)?;
            decoded(conn, rows)
        })
        .await
    }

    /// How many reviews of somebody are not hidden, and the sum of their stars.
    pub async fn stars_of(&self, subject: UserId) -> Result<(u64, u64), StoreError> {
        self.read(move |conn, _| {
            let row = ratings::table.find(DbUuid::from(subject.0)).first::<RawRating>(conn).optional()?;
            row.map_or(Ok((0, 0)), |row| Ok((natural(row.reviews)?, natural(row.stars)?)))
        })
        .await
    }
}

/// Counts what a change of somebody's reviews adds or takes away.
fn rate(conn: &mut Conn, subject: DbUuid, (reviews, stars): (i64, i64)) -> QueryResult<()> {
    let row = diesel::update(ratings::table.find(subject));
    let set = (ratings::reviews.eq(ratings::reviews + reviews), ratings::stars.eq(ratings::stars + stars));
    if row.set(set).execute(conn)? == 0 {
        let row = RawRating { user_id: subject, reviews, stars };
        diesel::insert_into(ratings::table).values(&row).execute(conn)?;
    }
    Ok(())
}

/// What of a review counts: the subject, whether it is hidden, and its stars.
fn counted(conn: &mut Conn, id: DbUuid) -> QueryResult<Option<(DbUuid, bool, i64)>> {
    let row = reviews::table.find(id);
    let row = row.select((reviews::subject_id, reviews::hidden.is_not_null(), reviews::stars));
    row.first(conn).optional()
}

fn version(conn: &mut Conn, id: DbUuid) -> QueryResult<Option<i64>> {
    reviews::table.find(id).select(reviews::version).first(conn).optional()
}

fn decoded(conn: &mut Conn, rows: Vec<RawReview>) -> Result<Vec<ReviewRow>, StoreError> {
    let names = Names::load(conn, rows.iter().flat_map(|row| [row.reviewer_id, row.subject_id]))?;
    rows.into_iter().map(|row| row.decode(&names)).collect()
}
