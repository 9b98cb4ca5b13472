//! One's own wallet, read through the server.

use actix_web::web::{Data, Json};
use actix_web::{HttpResponse, delete, get, post, put};
use aegis_common::wire::wallet::{WalletCallAnswer, WalletCallRequest, WalletRequest, WalletView};

use super::body::Body;
use super::caller::{Caller, Fresh};
use super::docs::Refused;
use super::problem::ApiError;
use super::{State, actor};
use crate::accounts::Origin;

/// Connect one's own monero-wallet-rpc, in the place of another. It is not called yet. Needs a fresh proof.
#[utoipa::path(
    tag = "wallet",
    security(("bearer" = [])),
    request_body = WalletRequest,
    responses((status = 200, body = WalletView), Refused)
)]
#[put("/api/v1/me/wallet")]
pub async fn connect(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    body: Body<WalletRequest>,
) -> Result<Json<WalletView>, ApiError> {
    Ok(Json(state.integrations.connect_wallet(&actor(&caller.0, origin), body.0).await?))
}

/// How one's wallet is reached; never its password.
#[utoipa::path(tag = "wallet", security(("bearer" = [])), responses((status = 200, body = WalletView), Refused))]
#[get("/api/v1/me/wallet")]
pub async fn show(caller: Caller, state: Data<State>) -> Result<Json<WalletView>, ApiError> {
    Ok(Json(state.integrations.wallet(caller.user()).await?))
}

/// Forget how one's wallet is reached. Needs a fresh proof.
#[utoipa::path(tag = "wallet", security(("bearer" = [])), responses((status = 204), Refused))]
#[delete("/api/v1/me/wallet")]
pub async fn disconnect(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
) -> Result<HttpResponse, ApiError> {
    state.integrations.disconnect_wallet(&actor(&caller.0, origin)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Read one's wallet: one of a few calls that change nothing and tell no key.
#[utoipa::path(
    tag = "wallet",
    security(("bearer" = [])),
    request_body = WalletCallRequest,
    responses((status = 200, body = WalletCallAnswer), Refused)
)]
#[post("/api/v1/me/wallet/rpc")]
pub async fn call(
    caller: Caller,
    state: Data<State>,
    body: Body<WalletCallRequest>,
) -> Result<Json<WalletCallAnswer>, ApiError> {
    Ok(Json(state.integrations.call_wallet(caller.user(), body.0).await?))
}
