//! Second factors: an authenticator, backup codes, passkeys.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpResponse, delete, get, post};
use aegis_common::ids::PasskeyId;
use aegis_common::wire::account::{
    BackupCodes, NewPasskey, PasskeyChallenge, PasskeyView, Passkeys, TotpCode, TotpEnrolment,
};

use super::State;
use super::body::Body;
use super::caller::{Caller, Fresh};
use super::docs::Refused;
use super::problem::ApiError;
use crate::accounts::Origin;

/// Get a secret for an authenticator. It counts once it is confirmed. Needs a fresh proof.
#[utoipa::path(
    tag = "second factors",
    security(("bearer" = [])),
    responses((status = 200, body = TotpEnrolment), Refused)
)]
#[post("/api/v1/me/totp")]
pub async fn enrol_totp(caller: Caller<Fresh>, state: Data<State>) -> Result<Json<TotpEnrolment>, ApiError> {
    Ok(Json(state.accounts.enrol_totp(&caller.0).await?))
}

/// Confirm the authenticator with a code of it. Ten backup codes come with it, shown this once.
#[utoipa::path(
    tag = "second factors",
    security(("bearer" = [])),
    request_body = TotpCode,
    responses((status = 200, body = BackupCodes), Refused)
)]
#[post("/api/v1/me/totp/confirm")]
pub async fn confirm_totp(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    body: Body<TotpCode>,
) -> Result<Json<BackupCodes>, ApiError> {
    Ok(Json(state.accounts.confirm_totp(&caller.0, body.0, origin).await?))
}

/// Remove the authenticator, with a code of it.
#[utoipa::path(
    tag = "second factors",
    security(("bearer" = [])),
    request_body = TotpCode,
    responses((status = 204), Refused)
)]
#[post("/api/v1/me/totp/disable")]
pub async fn disable_totp(
    caller: Caller,
    origin: Origin,
    state: Data<State>,
    body: Body<TotpCode>,
) -> Result<HttpResponse, ApiError> {
    state.accounts.disable_totp(&caller.0, body.0, origin).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Get ten new backup codes; those before stop working. Needs a fresh proof.
#[utoipa::path(
    tag = "second factors",
    security(("bearer" = [])),
    responses((status = 200, body = BackupCodes), Refused)
)]
#[post("/api/v1/me/backup-codes")]
pub async fn backup_codes(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
) -> Result<Json<BackupCodes>, ApiError> {
    Ok(Json(state.accounts.new_backup_codes(&caller.0, origin).await?))
}

/// Begin to add a passkey. Needs a fresh proof.
#[utoipa::path(
    tag = "second factors",
    security(("bearer" = [])),
    responses((status = 200, body = PasskeyChallenge), Refused)
)]
#[post("/api/v1/me/passkey-challenge")]
pub async fn passkey_challenge(
    caller: Caller<Fresh>,
    state: Data<State>,
) -> Result<Json<PasskeyChallenge>, ApiError> {
    Ok(Json(state.accounts.passkey_challenge(&caller.0).await?))
}

/// Add the passkey that answers the challenge. Needs a fresh proof.
#[utoipa::path(
    tag = "second factors",
    security(("bearer" = [])),
    request_body = NewPasskey,
    responses((status = 201, body = PasskeyView), Refused)
)]
#[post("/api/v1/me/passkeys")]
pub async fn add_passkey(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    body: Body<NewPasskey>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Created().json(state.accounts.add_passkey(&caller.0, body.0, origin).await?))
}

/// One's passkeys.
#[utoipa::path(
    tag = "second factors",
    security(("bearer" = [])),
    responses((status = 200, body = Passkeys), Refused)
)]
#[get("/api/v1/me/passkeys")]
pub async fn passkeys(caller: Caller, state: Data<State>) -> Result<Json<Passkeys>, ApiError> {
    Ok(Json(Passkeys { passkeys: state.accounts.passkeys(caller.user()).await? }))
}

/// Remove a passkey. Needs a fresh proof.
#[utoipa::path(
    tag = "second factors",
    security(("bearer" = [])),
    params(("id" = PasskeyId, Path)),
    responses((status = 204), Refused)
)]
#[delete("/api/v1/me/passkeys/{id}")]
pub async fn remove_passkey(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    id: Path<PasskeyId>,
) -> Result<HttpResponse, ApiError> {
    state.accounts.remove_passkey(&caller.0, *id, origin).await?;
    Ok(HttpResponse::NoContent().finish())
}
