//! Webhooks: one's events, sent elsewhere as they happen.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, delete, get, patch, post};
use aegis_common::ids::{DeliveryId, WebhookId};
use aegis_common::wire::webhook::{
    DeliveryPage, DeliveryView, NewWebhook, WebhookChange, WebhookRequest, WebhookView, Webhooks,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::Body;
use super::caller::{Caller, Fresh, Read};
use super::docs::Refused;
use super::problem::ApiError;
use super::{State, actor, page};
use crate::accounts::Origin;
use crate::store::ByHand;

/// Have one's events sent to a URL, from now on. The secret that signs the calls is shown this once. Needs a fresh proof.
#[utoipa::path(
    tag = "webhooks",
    security(("bearer" = [])),
    request_body = WebhookRequest,
    responses((status = 201, body = NewWebhook), Refused)
)]
#[post("/api/v1/webhooks")]
pub async fn make(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    body: Body<WebhookRequest>,
) -> Result<HttpResponse, ApiError> {
    let made = state.integrations.make_webhook(&actor(&caller.0, origin), body.0).await?;
    Ok(HttpResponse::Created().json(made))
}

/// One's webhooks, newest first.
#[utoipa::path(tag = "webhooks", security(("bearer" = [])), responses((status = 200, body = Webhooks), Refused))]
#[get("/api/v1/webhooks")]
pub async fn list(caller: Caller<Read>, state: Data<State>) -> Result<Json<Webhooks>, ApiError> {
    Ok(Json(Webhooks { webhooks: state.integrations.webhooks(caller.user()).await? }))
}

/// One webhook.
#[utoipa::path(
    tag = "webhooks",
    security(("bearer" = [])),
    params(("id" = WebhookId, Path)),
    responses((status = 200, body = WebhookView), Refused)
)]
#[get("/api/v1/webhooks/{id}")]
pub async fn one(
    caller: Caller<Read>,
    state: Data<State>,
    id: Path<WebhookId>,
) -> Result<Json<WebhookView>, ApiError> {
    Ok(Json(state.integrations.webhook(caller.user(), *id).await?))
}

/// Change a webhook; what is left out stays. Enabled again, or sent elsewhere, it begins at once with what waited longest. Needs a
/// fresh proof.
#[utoipa::path(
    tag = "webhooks",
    security(("bearer" = [])),
    params(("id" = WebhookId, Path)),
    request_body = WebhookChange,
    responses((status = 200, body = WebhookView), Refused)
)]
#[patch("/api/v1/webhooks/{id}")]
pub async fn change(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    id: Path<WebhookId>,
    body: Body<WebhookChange>,
) -> Result<Json<WebhookView>, ApiError> {
    Ok(Json(state.integrations.change_webhook(&actor(&caller.0, origin), *id, body.0).await?))
}

/// Forget a webhook, with what waits and its log. Needs a fresh proof.
#[utoipa::path(
    tag = "webhooks",
    security(("bearer" = [])),
    params(("id" = WebhookId, Path)),
    responses((status = 204), Refused)
)]
#[delete("/api/v1/webhooks/{id}")]
pub async fn remove(
    caller: Caller<Fresh>,
    origin: Origin,
    state: Data<State>,
    id: Path<WebhookId>,
) -> Result<HttpResponse, ApiError> {
    state.integrations.delete_webhook(&actor(&caller.0, origin), *id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Send a sign of life, behind all that waits; of pings and redeliveries at most 20 wait.
#[utoipa::path(
    tag = "webhooks",
    security(("bearer" = [])),
    params(("id" = WebhookId, Path)),
    responses((status = 202, body = DeliveryView), Refused)
)]
#[post("/api/v1/webhooks/{id}/ping")]
pub async fn ping(caller: Caller, state: Data<State>, id: Path<WebhookId>) -> Result<HttpResponse, ApiError> {
    let queued = state.integrations.send_by_hand(caller.user(), *id, ByHand::Ping).await?;
    Ok(HttpResponse::Accepted().json(queued))
}

/// Which part of a log to read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Only what is older than this position: `next` of the page before.
    before: Option<i64>,
    /// Items of a page, 1 to 100; 50 where left out.
    limit: Option<usize>,
}

/// A webhook's deliveries of the last 30 days, newest first.
#[utoipa::path(
    tag = "webhooks",
    security(("bearer" = [])),
    params(("id" = WebhookId, Path), LogQuery),
    responses((status = 200, body = DeliveryPage), Refused)
)]
#[get("/api/v1/webhooks/{id}/deliveries")]
pub async fn deliveries(
    caller: Caller<Read>,
    state: Data<State>,
    id: Path<WebhookId>,
    query: Query<LogQuery>,
) -> Result<Json<DeliveryPage>, ApiError> {
    let limit = page(query.limit)?;
    Ok(Json(state.integrations.deliveries(caller.user(), *id, query.before, limit).await?))
}

/// One delivery.
#[utoipa::path(
    tag = "webhooks",
    security(("bearer" = [])),
    params(("id" = WebhookId, Path), ("delivery" = DeliveryId, Path)),
    responses((status = 200, body = DeliveryView), Refused)
)]
#[get("/api/v1/webhooks/{id}/deliveries/{delivery}")]
pub async fn one_delivery(
    caller: Caller<Read>,
    state: Data<State>,
    ids: Path<(WebhookId, DeliveryId)>,
) -> Result<Json<DeliveryView>, ApiError> {
    let (id, delivery) = *ids;
    Ok(Json(state.integrations.delivery(caller.user(), id, delivery).await?))
}

/// Send a delivery's event once more, as a delivery of its own behind all that waits.
#[utoipa::path(
    tag = "webhooks",
    security(("bearer" = [])),
    params(("id" = WebhookId, Path), ("delivery" = DeliveryId, Path)),
    responses((status = 202, body = DeliveryView), Refused)
)]
#[post("/api/v1/webhooks/{id}/deliveries/{delivery}/redeliver")]
pub async fn redeliver(
    caller: Caller,
    state: Data<State>,
    ids: Path<(WebhookId, DeliveryId)>,
) -> Result<HttpResponse, ApiError> {
    let (id, delivery) = *ids;
    let queued = state.integrations.send_by_hand(caller.user(), id, ByHand::Again(delivery)).await?;
    Ok(HttpResponse::Accepted().json(queued))
}
