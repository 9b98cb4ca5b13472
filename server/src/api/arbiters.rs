//! Arbiters: who can be asked, what waits for them, and why one was chosen.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, get, post, put};
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::wire::account::AccountRole;
use aegis_common::wire::arbiter::{ArbiterPage, ArbiterProfile, ArbiterView, AssignmentView, DisputePage};
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::Body;
use super::caller::{Arbiters, Caller, Login, Read};
use super::docs::Refused;
use super::problem::ApiError;
use super::{State, page};
use crate::accounts::Origin;

/// Which part of a list to read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ArbiterQuery {
    /// Only what comes after: `next` of the page before.
    #[param(value_type = Option<Uuid>)]
    after: Option<UserId>,
    /// Items of a page, 1 to 100; 50 where left out.
    limit: Option<usize>,
}

/// Who can be asked to arbitrate, and how busy they are.
#[utoipa::path(
    tag = "arbiters",
    security(("bearer" = [])),
    params(ArbiterQuery),
    responses((status = 200, body = ArbiterPage), Refused)
)]
#[get("/api/v1/arbiters")]
pub async fn list(
    _: Caller<Read>,
    state: Data<State>,
    query: Query<ArbiterQuery>,
) -> Result<Json<ArbiterPage>, ApiError> {
    Ok(Json(state.arbiters.page(query.after, page(query.limit)?).await?))
}

/// One arbiter.
#[utoipa::path(
    tag = "arbiters",
    security(("bearer" = [])),
    params(("username" = String, Path, description = "In any case")),
    responses((status = 200, body = ArbiterView), Refused)
)]
#[get("/api/v1/arbiters/{username}")]
pub async fn one(
    _: Caller<Read>,
    state: Data<State>,
    username: Path<String>,
) -> Result<Json<ArbiterView>, ApiError> {
    Ok(Json(state.arbiters.one(&username).await?))
}

/// Say what you offer as an arbiter, in contracts made from now on. What is left out goes back to the operator's terms.
#[utoipa::path(
    tag = "arbiters",
    security(("bearer" = [])),
    request_body = ArbiterProfile,
    responses((status = 200, body = ArbiterView), Refused)
)]
#[put("/api/v1/me/arbiter")]
pub async fn set_offer(
    caller: Caller<Arbiters>,
    origin: Origin,
    state: Data<State>,
    body: Body<ArbiterProfile>,
) -> Result<Json<ArbiterView>, ApiError> {
    let note = state.accounts.offer_changed(&caller.0, origin);
    state.arbiters.set_offer(caller.user(), body.0, note).await?;
    let me = state.accounts.me(caller.user()).await?;
    Ok(Json(state.arbiters.one(&me.user.username).await?))
}

/// Say that your program is there. One that was not heard for long is assigned nothing, and people are told. For arbiters, and for
/// those who are none any more while they have cases.
#[utoipa::path(
    tag = "arbiters",
    security(("bearer" = [])),
    responses((status = 204), Refused)
)]
#[post("/api/v1/me/arbiter/heartbeat")]
pub async fn heartbeat(caller: Caller<Login>, state: Data<State>) -> Result<HttpResponse, ApiError> {
    state.arbiters.heard(caller.user(), caller.0.role).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Which part of the queue to read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DisputeQuery {
    /// Only what comes after: `next` of the page before.
    after: Option<String>,
    /// Items of a page, 1 to 100; 50 where left out.
    limit: Option<usize>,
}

/// The disputes that wait for your ruling, those due first first; all there are, for operators.
#[utoipa::path(
    tag = "arbiters",
    security(("bearer" = [])),
    params(DisputeQuery),
    responses((status = 200, body = DisputePage), Refused)
)]
#[get("/api/v1/disputes")]
pub async fn disputes(
    caller: Caller<Login>,
    state: Data<State>,
    query: Query<DisputeQuery>,
) -> Result<Json<DisputePage>, ApiError> {
    let all = matches!(caller.0.role, AccountRole::Operator | AccountRole::Admin);
    let own = (!all).then(|| caller.user());
    let limit = page(query.limit)?;
    Ok(Json(state.arbiters.disputes(own, query.after.as_deref(), limit).await?))
}

/// Whom the server chose as this escrow's arbiter, and everything the choice rests on: it can be made again from it.
#[utoipa::path(
    tag = "arbiters",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The escrow")),
    responses((status = 200, body = AssignmentView), Refused)
)]
#[get("/api/v1/escrows/{id}/assignment")]
pub async fn assignment(
    caller: Caller<Read>,
    state: Data<State>,
    id: Path<EscrowId>,
) -> Result<Json<AssignmentView>, ApiError> {
    Ok(Json(state.arbiters.assignment(caller.user(), *id).await?))
}
