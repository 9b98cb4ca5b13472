//! Backups of wallets, which only their owners can open.

use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::{Data, Json, Path};
use actix_web::{HttpResponse, delete, get, post};
use aegis_common::wire::account::{BackupView, Backups, bounds};

use super::State;
use super::body::Raw;
use super::caller::{Caller, Fresh};
use super::docs::Refused;
use super::problem::ApiError;
use crate::accounts::Origin;

/// Keep a version, at most 1 MiB. Of more than ten the oldest goes, so it needs a fresh proof.
#[utoipa::path(
    tag = "backups",
    security(("bearer" = [])),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = BackupView), Refused)
)]
#[post("/api/v1/me/backups")]
pub async fn push(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    body: Raw<{ bounds::BACKUP }>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Created().json(state.accounts.push_backup(&caller.0, body.0, origin).await?))
}

/// What versions there are, newest first.
#[utoipa::path(tag = "backups", security(("bearer" = [])), responses((status = 200, body = Backups), Refused))]
#[get("/api/v1/me/backups")]
pub async fn list(caller: Caller, state: Data<State>) -> Result<Json<Backups>, ApiError> {
    Ok(Json(Backups { backups: state.accounts.backups(caller.user()).await? }))
}

/// Read a version. Needs a fresh proof.
#[utoipa::path(
    tag = "backups",
    security(("bearer" = [])),
    params(("version" = i64, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), Refused)
)]
#[get("/api/v1/me/backups/{version}")]
pub async fn pull(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    version: Path<i64>,
) -> Result<HttpResponse, ApiError> {
    let bytes = state.accounts.pull_backup(&caller.0, *version, origin).await?;
    let mut response = HttpResponse::Ok();
    response.content_type("application/octet-stream").insert_header((CONTENT_DISPOSITION, "attachment"));
    Ok(response.body(bytes))
}

/// Forget a version. Needs a fresh proof.
#[utoipa::path(
    tag = "backups",
    security(("bearer" = [])),
    params(("version" = i64, Path)),
    responses((status = 204), Refused)
)]
#[delete("/api/v1/me/backups/{version}")]
pub async fn remove(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    version: Path<i64>,
) -> Result<HttpResponse, ApiError> {
    state.accounts.delete_backup(&caller.0, *version, origin).await?;
    Ok(HttpResponse::NoContent().finish())
}
