//! Reviews of traders and arbiters.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, delete, get, patch, post, put};
use aegis_common::ids::{EscrowId, ReviewId};
use aegis_common::wire::market::{
    AnswerRequest, EscrowReviews, HideRequest, ReviewChange, ReviewPage, ReviewRequest, ReviewView,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::Body;
use super::caller::{Caller, Operators, Read, Trade};
use super::docs::Refused;
use super::headers::IfMatch;
use super::problem::ApiError;
use super::{State, page};
use crate::accounts::Origin;
use crate::market::Operator;

/// Review the other trader, or the arbiter, of an escrow that is paid out. Once each.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(("id" = EscrowId, Path)),
    request_body = ReviewRequest,
    responses((status = 201, body = ReviewView), Refused)
)]
#[post("/api/v1/escrows/{id}/reviews")]
pub async fn create(
    caller: Caller<Trade>,
    state: Data<State>,
    id: Path<EscrowId>,
    body: Body<ReviewRequest>,
) -> Result<HttpResponse, ApiError> {
    let kept = state.escrows.one(caller.user(), *id).await?;
    let made = state.market.review(caller.user(), &kept.escrow, body.0).await?;
    Ok(HttpResponse::Created().json(made))
}

/// What its traders say of each other and of the arbiter, to the parties of an escrow.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(("id" = EscrowId, Path)),
    responses((status = 200, body = EscrowReviews), Refused)
)]
#[get("/api/v1/escrows/{id}/reviews")]
pub async fn of_escrow(
    caller: Caller<Read>,
    state: Data<State>,
    id: Path<EscrowId>,
) -> Result<Json<EscrowReviews>, ApiError> {
    state.escrows.one(caller.user(), *id).await?;
    Ok(Json(state.market.reviews_in(caller.user(), *id).await?))
}

/// Which reviews to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReviewQuery {
    /// Only those older than this one: `next` of the page before.
    before: Option<ReviewId>,
    /// Items of a page, 1 to 100; 50 where left out.
    limit: Option<usize>,
}

/// Reviews of an account, newest first, and their average.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(("username" = String, Path, description = "In any case"), ReviewQuery),
    responses((status = 200, body = ReviewPage), Refused)
)]
#[get("/api/v1/users/{username}/reviews")]
pub async fn list(
    caller: Caller<Read>,
    state: Data<State>,
    username: Path<String>,
    query: Query<ReviewQuery>,
) -> Result<Json<ReviewPage>, ApiError> {
    let limit = page(query.limit)?;
    Ok(Json(state.market.reviews(caller.user(), &username, query.before, limit).await?))
}

/// One review.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(("id" = ReviewId, Path)),
    responses((status = 200, body = ReviewView), Refused)
)]
#[get("/api/v1/reviews/{id}")]
pub async fn one(
    caller: Caller<Read>,
    state: Data<State>,
    id: Path<ReviewId>,
) -> Result<Json<ReviewView>, ApiError> {
    Ok(Json(state.market.one_review(caller.user(), *id).await?))
}

/// Change a review of one's own, for 14 days after it was written. What is left out stays.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(
        ("id" = ReviewId, Path),
        ("If-Match" = String, Header, description = "The version it must have")
    ),
    request_body = ReviewChange,
    responses((status = 200, body = ReviewView), Refused)
)]
#[patch("/api/v1/reviews/{id}")]
pub async fn change(
    caller: Caller<Trade>,
    state: Data<State>,
    id: Path<ReviewId>,
    expected: IfMatch,
    body: Body<ReviewChange>,
) -> Result<Json<ReviewView>, ApiError> {
    let expected = expected.required()?;
    Ok(Json(state.market.change_review(caller.user(), *id, expected, body.0).await?))
}

/// Answer a review of oneself. Once.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(("id" = ReviewId, Path)),
    request_body = AnswerRequest,
    responses((status = 200, body = ReviewView), Refused)
)]
#[put("/api/v1/reviews/{id}/answer")]
pub async fn answer(
    caller: Caller<Trade>,
    state: Data<State>,
    id: Path<ReviewId>,
    body: Body<AnswerRequest>,
) -> Result<Json<ReviewView>, ApiError> {
    Ok(Json(state.market.answer_review(caller.user(), *id, body.0.text).await?))
}

fn operator(caller: Caller<Operators>, origin: Origin) -> Operator {
    let who = caller.0;
    Operator { user: who.user, role: who.role, session: who.session, network: origin.network() }
}

/// Hide a review; the reason stands in its place. For operators.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(("id" = ReviewId, Path)),
    request_body = HideRequest,
    responses((status = 200, body = ReviewView), Refused)
)]
#[put("/api/v1/reviews/{id}/hidden")]
pub async fn hide(
    caller: Caller<Operators>,
    origin: Origin,
    state: Data<State>,
    id: Path<ReviewId>,
    body: Body<HideRequest>,
) -> Result<Json<ReviewView>, ApiError> {
    Ok(Json(state.market.hide_review(operator(caller, origin), *id, body.0).await?))
}

/// Show a review again that was hidden. For operators.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(("id" = ReviewId, Path)),
    responses((status = 200, body = ReviewView), Refused)
)]
#[delete("/api/v1/reviews/{id}/hidden")]
pub async fn show(
    caller: Caller<Operators>,
    origin: Origin,
    state: Data<State>,
    id: Path<ReviewId>,
) -> Result<Json<ReviewView>, ApiError> {
    Ok(Json(state.market.show_review(operator(caller, origin), *id).await?))
}
