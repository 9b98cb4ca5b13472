//! Other people: finding them, inviting them, and what they may do.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, delete, get, post, put};
use aegis_common::ids::InvitationId;
use aegis_common::wire::account::{
    InvitationRequest, Invitations, NewInvitation, RoleRequest, UserPage, UserView, UsernameView,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::Body;
use super::caller::{Admins, Caller, FreshAdmins, Read};
use super::docs::Refused;
use super::problem::ApiError;
use super::{State, page};
use crate::accounts::Origin;

/// Whom to find.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// How the name begins: 3 to 32 letters, digits, `_` or `-`, in any case.
    prefix: String,
    /// Only names after this one: `next` of the page before.
    after: Option<String>,
    /// Items of a page, 1 to 100; 50 where left out.
    limit: Option<usize>,
}

/// Accounts whose names begin so.
#[utoipa::path(
    tag = "people",
    security(("bearer" = [])),
    params(SearchQuery),
    responses((status = 200, body = UserPage), Refused)
)]
#[get("/api/v1/users")]
pub async fn search(
    _: Caller<Read>,
    state: Data<State>,
    query: Query<SearchQuery>,
) -> Result<Json<UserPage>, ApiError> {
    let SearchQuery { prefix, after, limit } = query.into_inner();
    Ok(Json(state.accounts.search(&prefix, after, page(limit)?).await?))
}

/// What everybody may see of an account.
#[utoipa::path(
    tag = "people",
    security(("bearer" = [])),
    params(("username" = String, Path, description = "In any case")),
    responses((status = 200, body = UserView), Refused)
)]
#[get("/api/v1/users/{username}")]
pub async fn user(
    _: Caller<Read>,
    state: Data<State>,
    username: Path<String>,
) -> Result<Json<UserView>, ApiError> {
    Ok(Json(state.accounts.lookup(&username).await?))
}

/// Whether somebody has a name. Open to everybody, and limited like attempts to log in.
#[utoipa::path(
    tag = "people",
    params(("username" = String, Path, description = "In any case")),
    responses((status = 200, body = UsernameView), Refused)
)]
#[get("/api/v1/usernames/{username}")]
pub async fn exists(
    origin: Origin,
    state: Data<State>,
    username: Path<String>,
) -> Result<Json<UsernameView>, ApiError> {
    Ok(Json(state.accounts.exists(&username, origin).await?))
}

/// Change what an account may do, at once. For administrators, with a fresh proof.
#[utoipa::path(
    tag = "people",
    security(("bearer" = [])),
    params(("username" = String, Path, description = "In any case")),
    request_body = RoleRequest,
    responses((status = 200, body = UserView), Refused)
)]
#[put("/api/v1/users/{username}/role")]
pub async fn role(
    caller: Caller<FreshAdmins>,
    origin: Origin,
    state: Data<State>,
    username: Path<String>,
    body: Body<RoleRequest>,
) -> Result<Json<UserView>, ApiError> {
    Ok(Json(state.accounts.set_role(&username, body.0.role, Some(&caller.0), origin).await?))
}

/// End all sessions of an account, at once. For administrators, with a fresh proof.
#[utoipa::path(
    tag = "people",
    security(("bearer" = [])),
    params(("username" = String, Path, description = "In any case")),
    responses((status = 204), Refused)
)]
#[delete("/api/v1/users/{username}/sessions")]
pub async fn end_sessions(
    caller: Caller<FreshAdmins>,
    origin: Origin,
    state: Data<State>,
    username: Path<String>,
) -> Result<HttpResponse, ApiError> {
    state.accounts.end_sessions_of(&username, Some(&caller.0), origin).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Keep an account from being used, and end its sessions and API keys, at once. For administrators, with a fresh proof.
#[utoipa::path(
    tag = "people",
    security(("bearer" = [])),
    params(("username" = String, Path, description = "In any case")),
    responses((status = 204), Refused)
)]
#[put("/api/v1/users/{username}/disabled")]
pub async fn disable(
    caller: Caller<FreshAdmins>,
    origin: Origin,
    state: Data<State>,
    username: Path<String>,
) -> Result<HttpResponse, ApiError> {
    state.accounts.set_disabled(&username, true, Some(&caller.0), origin).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Let an account be used again. For administrators, with a fresh proof.
#[utoipa::path(
    tag = "people",
    security(("bearer" = [])),
    params(("username" = String, Path, description = "In any case")),
    responses((status = 204), Refused)
)]
#[delete("/api/v1/users/{username}/disabled")]
pub async fn enable(
    caller: Caller<FreshAdmins>,
    origin: Origin,
    state: Data<State>,
    username: Path<String>,
) -> Result<HttpResponse, ApiError> {
    state.accounts.set_disabled(&username, false, Some(&caller.0), origin).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Invite somebody into a role. The token is shown this once. For administrators, with a fresh proof.
#[utoipa::path(
    tag = "people",
    security(("bearer" = [])),
    request_body = InvitationRequest,
    responses((status = 201, body = NewInvitation), Refused)
)]
#[post("/api/v1/invitations")]
pub async fn invite(
    caller: Caller<FreshAdmins>,
    origin: Origin,
    state: Data<State>,
    body: Body<InvitationRequest>,
) -> Result<HttpResponse, ApiError> {
    let made = state.accounts.invite(body.0, Some(&caller.0), origin).await?;
    Ok(HttpResponse::Created().json(made))
}

/// The newest invitations. For administrators.
#[utoipa::path(
    tag = "people",
    security(("bearer" = [])),
    responses((status = 200, body = Invitations), Refused)
)]
#[get("/api/v1/invitations")]
pub async fn invitations(_: Caller<Admins>, state: Data<State>) -> Result<Json<Invitations>, ApiError> {
    Ok(Json(Invitations { invitations: state.accounts.invitations().await? }))
}

/// Take an invitation back that was not accepted. For administrators.
#[utoipa::path(
    tag = "people",
    security(("bearer" = [])),
    params(("id" = InvitationId, Path)),
    responses((status = 204), Refused)
)]
#[delete("/api/v1/invitations/{id}")]
pub async fn withdraw(
    caller: Caller<Admins>,
    origin: Origin,
    state: Data<State>,
    id: Path<InvitationId>,
) -> Result<HttpResponse, ApiError> {
    state.accounts.withdraw(*id, &caller.0, origin).await?;
    Ok(HttpResponse::NoContent().finish())
}
