//! Reviews: what traders say of each other and of arbiters, once an escrow is paid out. They never change a reputation,
//! which is counted from the escrows themselves.

use serde::{Deserialize, Serialize};

use crate::ids::{EscrowId, ReviewId};
use crate::role::Role;
use crate::time::Timestamp;

/// `POST /api/v1/escrows/{id}/reviews`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReviewRequest {
    /// Whom to review, by the part in the escrow: the other trader or the arbiter.
    pub subject: Role,
    /// 1 to 5.
    pub stars: u8,
    /// At most 2000 characters.
    #[serde(default)]
    pub text: String,
}

/// `PATCH /api/v1/reviews/{id}`: what is left out stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReviewChange {
    /// 1 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stars: Option<u8>,
    /// At most 2000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// `PUT /api/v1/reviews/{id}/answer`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnswerRequest {
    /// 1 to 2000 characters.
    pub text: String,
}

/// `PUT /api/v1/reviews/{id}/hidden`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HideRequest {
    /// Why: 1 to 500 characters, which everybody can read in the review's place.
    pub reason: String,
}

/// What the subject of a review answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AnswerView {
    /// What it says.
    pub text: String,
    /// When it was given.
    pub at: Timestamp,
}

/// A review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewView {
    /// Its id.
    pub id: ReviewId,
    /// Counts its changes; for `If-Match`.
    pub version: i64,
    /// Who wrote it.
    pub reviewer: String,
    /// The part the reviewer had.
    pub reviewer_role: Role,
    /// Whom it is about.
    pub subject: String,
    /// The part the subject had.
    pub subject_role: Role,
    /// The escrow it rests on, for these two only, and for whoever asks for the reviews of that escrow.
    pub escrow_id: Option<EscrowId>,
    /// 1 to 5; none where it is hidden.
    pub stars: Option<u8>,
    /// What it says; none where it is hidden.
    pub text: Option<String>,
    /// The subject's answer; none where it is hidden.
    pub answer: Option<AnswerView>,
    /// Why an operator has hidden it, if one has.
    pub hidden: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When its author last changed it, if ever.
    pub edited_at: Option<Timestamp>,
}

/// `GET /api/v1/escrows/{id}/reviews`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EscrowReviews {
    /// Oldest first; four at most.
    pub reviews: Vec<ReviewView>,
}

/// `GET /api/v1/users/{username}/reviews`
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewPage {
    /// How many there are that are not hidden.
    pub count: u64,
    /// Their stars on average, with two digits after the point; none where there are no reviews.
    pub average: Option<String>,
    /// Newest first, hidden ones among them.
    pub reviews: Vec<ReviewView>,
    /// Pass as `before` to go on; none at the end.
    pub next: Option<ReviewId>,
}
