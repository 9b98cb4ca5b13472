//! Accounts.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpResponse, get, post, put};
use aegis_common::wire::account::{
    LoginRequest, LoginResponse, MeView, PayoutAddressRequest, RegisterRequest, RoleRequest, UserView,
};
use zeroize::Zeroizing;

use super::State;
use super::body::Body;
use super::caller::{Admins, Attempt, Caller, Only};
use super::docs::Refused;
use super::problem::ApiError;

/// Make an account.
#[utoipa::path(
    tag = "accounts",
    request_body = RegisterRequest,
    responses((status = 201, body = UserView), Refused)
)]
#[post("/api/v1/auth/register")]
pub async fn register(
    _: Attempt,
    state: Data<State>,
    body: Body<RegisterRequest>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Created().json(state.accounts.register(body.0).await?))
}

/// Get a token.
#[utoipa::path(
    tag = "accounts",
    request_body = LoginRequest,
    responses((status = 200, body = LoginResponse), Refused)
)]
#[post("/api/v1/auth/login")]
pub async fn login(
    _: Attempt,
    state: Data<State>,
    body: Body<LoginRequest>,
) -> Result<Json<LoginResponse>, ApiError> {
    let LoginRequest { username, password } = body.0;
    let password = Zeroizing::new(password);
    state.limits.login(&username)?;
    Ok(Json(state.accounts.login(&username, password).await?))
}

/// One's own account.
#[utoipa::path(tag = "accounts", security(("bearer" = [])), responses((status = 200, body = MeView), Refused))]
#[get("/api/v1/me")]
pub async fn me(caller: Caller, state: Data<State>) -> Result<Json<MeView>, ApiError> {
    Ok(Json(state.accounts.me(caller.user()).await?))
}

/// Change where contracts made from now on pay this account.
#[utoipa::path(
    tag = "accounts",
    security(("bearer" = [])),
    request_body = PayoutAddressRequest,
    responses((status = 200, body = MeView), Refused)
)]
#[put("/api/v1/me/payout-address")]
pub async fn payout_address(
    caller: Caller,
    state: Data<State>,
    body: Body<PayoutAddressRequest>,
) -> Result<Json<MeView>, ApiError> {
    Ok(Json(state.accounts.set_payout_address(caller.user(), body.0.payout_address).await?))
}

/// An account's public keys and role.
#[utoipa::path(
    tag = "accounts",
    security(("bearer" = [])),
    params(("username" = String, Path, description = "In any case")),
    responses((status = 200, body = UserView), Refused)
)]
#[get("/api/v1/users/{username}")]
pub async fn user(_: Caller, state: Data<State>, username: Path<String>) -> Result<Json<UserView>, ApiError> {
    Ok(Json(state.accounts.lookup(&username).await?))
}

/// Change what an account may do, at once. For administrators.
#[utoipa::path(
    tag = "accounts",
    security(("bearer" = [])),
    params(("username" = String, Path, description = "In any case")),
    request_body = RoleRequest,
    responses((status = 200, body = UserView), Refused)
)]
#[put("/api/v1/users/{username}/role")]
pub async fn role(
    _: Only<Admins>,
    state: Data<State>,
    username: Path<String>,
    body: Body<RoleRequest>,
) -> Result<Json<UserView>, ApiError> {
    Ok(Json(state.accounts.set_role(&username, body.0.role).await?))
}
