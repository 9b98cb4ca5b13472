//! Sessions, API keys, and what was done with one's credentials.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, delete, get, post};
use aegis_common::ids::SessionId;
use aegis_common::wire::account::{ApiKeyRequest, ApiKeys, AuditPage, NewApiKey, Sessions};
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::Body;
use super::caller::{Caller, Fresh};
use super::docs::Refused;
use super::problem::ApiError;
use super::{State, page};
use crate::accounts::Origin;

/// One's sessions, the most recently used first.
#[utoipa::path(tag = "access", security(("bearer" = [])), responses((status = 200, body = Sessions), Refused))]
#[get("/api/v1/me/sessions")]
pub async fn sessions(caller: Caller, state: Data<State>) -> Result<Json<Sessions>, ApiError> {
    Ok(Json(Sessions { sessions: state.accounts.sessions(&caller.0).await? }))
}

/// End one of one's sessions, at once. Needs a fresh proof.
#[utoipa::path(
    tag = "access",
    security(("bearer" = [])),
    params(("id" = SessionId, Path)),
    responses((status = 204), Refused)
)]
#[delete("/api/v1/me/sessions/{id}")]
pub async fn end_session(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    id: Path<SessionId>,
) -> Result<HttpResponse, ApiError> {
    state.accounts.end_session(caller.user(), *id, origin).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Which sessions to end.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EndQuery {
    /// All but this one; all where left out.
    #[serde(default)]
    others: bool,
}

/// End all of one's sessions, at once. Needs a fresh proof.
#[utoipa::path(
    tag = "access",
    security(("bearer" = [])),
    params(EndQuery),
    responses((status = 204), Refused)
)]
#[delete("/api/v1/me/sessions")]
pub async fn end_sessions(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    query: Query<EndQuery>,
) -> Result<HttpResponse, ApiError> {
    state.accounts.end_sessions(&caller.0, query.others, origin).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// One's API keys, newest first.
#[utoipa::path(tag = "access", security(("bearer" = [])), responses((status = 200, body = ApiKeys), Refused))]
#[get("/api/v1/me/api-keys")]
pub async fn api_keys(caller: Caller, state: Data<State>) -> Result<Json<ApiKeys>, ApiError> {
    Ok(Json(ApiKeys { keys: state.accounts.api_keys(caller.user()).await? }))
}

/// Make an API key; it is shown this once. Needs a fresh proof.
#[utoipa::path(
    tag = "access",
    security(("bearer" = [])),
    request_body = ApiKeyRequest,
    responses((status = 201, body = NewApiKey), Refused)
)]
#[post("/api/v1/me/api-keys")]
pub async fn make_api_key(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    body: Body<ApiKeyRequest>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Created().json(state.accounts.make_api_key(&caller.0, body.0, origin).await?))
}

/// End an API key, at once. Needs a fresh proof.
#[utoipa::path(
    tag = "access",
    security(("bearer" = [])),
    params(("id" = SessionId, Path)),
    responses((status = 204), Refused)
)]
#[delete("/api/v1/me/api-keys/{id}")]
pub async fn end_api_key(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    id: Path<SessionId>,
) -> Result<HttpResponse, ApiError> {
    state.accounts.end_api_key(caller.user(), *id, origin).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Which part of the audit to read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only what is older than this position: `next` of the page before.
    before: Option<i64>,
    /// Items of a page, 1 to 100; 50 where left out.
    limit: Option<usize>,
}

/// What was done, or tried, with one's credentials, newest first.
#[utoipa::path(
    tag = "access",
    security(("bearer" = [])),
    params(AuditQuery),
    responses((status = 200, body = AuditPage), Refused)
)]
#[get("/api/v1/me/audit")]
pub async fn audit(
    caller: Caller,
    state: Data<State>,
    query: Query<AuditQuery>,
) -> Result<Json<AuditPage>, ApiError> {
    Ok(Json(state.accounts.audit(caller.user(), query.before, page(query.limit)?).await?))
}
