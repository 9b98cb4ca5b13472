//! Getting in: registration, login, refreshing, step-up, a lost password.

use actix_web::http::header::USER_AGENT;
use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse, get, post};
use aegis_common::wire::account::{
    LoggedIn, LoginAnswer, LoginRequest, PasskeyChallenge, RefreshRequest, RegisterRequest, ResetRequest,
    SecondFactorRequest, StepUpRequest, StepUpView, UserView,
};

use super::State;
use super::body::{Body, KEYS};
use super::caller::Caller;
use super::docs::Refused;
use super::problem::ApiError;
use crate::accounts::Origin;

/// Make an account.
#[utoipa::path(
    tag = "accounts",
    request_body = RegisterRequest,
    responses((status = 201, body = UserView), Refused)
)]
#[post("/api/v1/auth/register")]
pub async fn register(
    origin: Origin,
    state: Data<State>,
    body: Body<RegisterRequest, KEYS>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Created().json(state.accounts.register(body.0, origin).await?))
}

/// Begin a session, or learn that a second factor is missing.
#[utoipa::path(
    tag = "accounts",
    request_body = LoginRequest,
    responses((status = 200, body = LoginAnswer), Refused)
)]
#[post("/api/v1/auth/login")]
pub async fn login(
    origin: Origin,
    req: HttpRequest,
    state: Data<State>,
    body: Body<LoginRequest>,
) -> Result<Json<LoginAnswer>, ApiError> {
    let agent = req.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(Json(state.accounts.login(body.0, agent, origin).await?))
}

/// Begin the session that waits for the second factor.
#[utoipa::path(
    tag = "accounts",
    request_body = SecondFactorRequest,
    responses((status = 200, body = LoggedIn), Refused)
)]
#[post("/api/v1/auth/second-factor")]
pub async fn second_factor(
    origin: Origin,
    state: Data<State>,
    body: Body<SecondFactorRequest>,
) -> Result<Json<LoggedIn>, ApiError> {
    Ok(Json(state.accounts.second_factor(body.0, origin).await?))
}

/// Get the next tokens of a session.
#[utoipa::path(
    tag = "accounts",
    request_body = RefreshRequest,
    responses((status = 200, body = LoggedIn), Refused)
)]
#[post("/api/v1/auth/refresh")]
pub async fn refresh(
    origin: Origin,
    state: Data<State>,
    body: Body<RefreshRequest>,
) -> Result<Json<LoggedIn>, ApiError> {
    Ok(Json(state.accounts.refresh(body.0, origin).await?))
}

/// End this session.
#[utoipa::path(tag = "accounts", security(("bearer" = [])), responses((status = 204), Refused))]
#[post("/api/v1/auth/logout")]
pub async fn logout(caller: Caller, origin: Origin, state: Data<State>) -> Result<HttpResponse, ApiError> {
    state.accounts.end_session(caller.user(), caller.0.session, origin).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Set a new password on the word of the account's signing key. Every session ends; second factors stay.
#[utoipa::path(
    tag = "accounts",
    request_body = ResetRequest,
    responses((status = 204), Refused)
)]
#[post("/api/v1/auth/reset")]
pub async fn reset(
    origin: Origin,
    state: Data<State>,
    body: Body<ResetRequest>,
) -> Result<HttpResponse, ApiError> {
    state.accounts.reset_password(body.0, origin).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Prove anew who is there, for what asks for it in the next five minutes.
#[utoipa::path(
    tag = "accounts",
    security(("bearer" = [])),
    request_body = StepUpRequest,
    responses((status = 200, body = StepUpView), Refused)
)]
#[post("/api/v1/auth/step-up")]
pub async fn step_up(
    caller: Caller,
    origin: Origin,
    state: Data<State>,
    body: Body<StepUpRequest>,
) -> Result<Json<StepUpView>, ApiError> {
    Ok(Json(state.accounts.step_up(&caller.0, body.0, origin).await?))
}

/// Begin to prove it with a passkey.
#[utoipa::path(
    tag = "accounts",
    security(("bearer" = [])),
    responses((status = 200, body = PasskeyChallenge), Refused)
)]
#[post("/api/v1/auth/step-up/passkey")]
pub async fn step_up_passkey(caller: Caller, state: Data<State>) -> Result<Json<PasskeyChallenge>, ApiError> {
    Ok(Json(state.accounts.step_up_challenge(&caller.0).await?))
}

/// The public keys that login tokens are checked with: a JSON Web Key Set (RFC 7517).
#[utoipa::path(tag = "accounts", responses((status = 200, description = "A JSON Web Key Set"), Refused))]
#[get("/.well-known/jwks.json")]
pub async fn key_set(state: Data<State>) -> Json<serde_json::Value> {
    Json(state.accounts.key_set())
}
