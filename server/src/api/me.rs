//! One's own account.

use actix_web::web::{Data, Json};
use actix_web::{HttpResponse, get, patch, post, put};
use aegis_common::code::Code;
use aegis_common::wire::account::{
    MeView, PasswordRequest, PayoutAddressRequest, PrekeyStock, PrekeysRequest, ProfileRequest,
};

use super::State;
use super::body::{Body, KEYS};
use super::caller::{Caller, Fresh, Read};
use super::docs::Refused;
use super::problem::ApiError;
use crate::accounts::Origin;

/// One's own account.
#[utoipa::path(tag = "accounts", security(("bearer" = [])), responses((status = 200, body = MeView), Refused))]
#[get("/api/v1/me")]
pub async fn me(caller: Caller<Read>, state: Data<State>) -> Result<Json<MeView>, ApiError> {
    Ok(Json(state.accounts.me(caller.user()).await?))
}

/// Change what one shows and chooses. What is left out stays.
#[utoipa::path(
    tag = "accounts",
    security(("bearer" = [])),
    request_body = ProfileRequest,
    responses((status = 200, body = MeView), Refused)
)]
#[patch("/api/v1/me")]
pub async fn profile(
    caller: Caller,
    state: Data<State>,
    body: Body<ProfileRequest>,
) -> Result<Json<MeView>, ApiError> {
    Ok(Json(state.accounts.set_profile(caller.user(), body.0).await?))
}

/// Change where contracts made from now on pay this account. Needs a fresh proof.
#[utoipa::path(
    tag = "accounts",
    security(("bearer" = [])),
    request_body = PayoutAddressRequest,
    responses((status = 200, body = MeView), Refused)
)]
#[put("/api/v1/me/payout-address")]
pub async fn payout_address(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    body: Body<PayoutAddressRequest>,
) -> Result<Json<MeView>, ApiError> {
    Ok(Json(state.accounts.set_payout_address(&caller.0, body.0.payout_address, origin).await?))
}

/// Change the password. Every other session ends. Needs a fresh proof.
#[utoipa::path(
    tag = "accounts",
    security(("bearer" = [])),
    request_body = PasswordRequest,
    responses((status = 204), Refused)
)]
#[put("/api/v1/me/password")]
pub async fn password(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    body: Body<PasswordRequest>,
) -> Result<HttpResponse, ApiError> {
    state.accounts.change_password(&caller.0, body.0, origin).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// How many prekeys are left.
#[utoipa::path(
    tag = "accounts",
    security(("bearer" = [])),
    responses((status = 200, body = PrekeyStock), Refused)
)]
#[get("/api/v1/me/prekeys")]
pub async fn prekey_stock(caller: Caller, state: Data<State>) -> Result<Json<PrekeyStock>, ApiError> {
    Ok(Json(state.accounts.prekey_stock(caller.user()).await?))
}

/// Add prekeys, or put a new signed prekey in the place of the old. Their signatures are the proof; to replace all needs a
/// fresh one as well.
#[utoipa::path(
    tag = "accounts",
    security(("bearer" = [])),
    request_body = PrekeysRequest,
    responses((status = 200, body = PrekeyStock), Refused)
)]
#[post("/api/v1/me/prekeys")]
pub async fn prekeys(
    caller: Caller,
    state: Data<State>,
    body: Body<PrekeysRequest, KEYS>,
) -> Result<Json<PrekeyStock>, ApiError> {
    if body.0.replace && !caller.0.is_fresh(state.clock.now()) {
        return Err(ApiError::of(Code::StepUpRequired));
    }
    Ok(Json(state.accounts.add_prekeys(caller.user(), body.0).await?))
}
