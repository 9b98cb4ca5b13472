//! Orders of listings. Each opens an escrow.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, get, post};
use aegis_common::canonical;
use aegis_common::code::Code;
use aegis_common::ids::{EscrowId, ListingId, OrderId};
use aegis_common::wire::market::{OrderPage, OrderRequest, OrderStatus, OrderView};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::body::Body;
use super::caller::{Caller, Read, Trade};
use super::docs::Refused;
use super::escrows::PATIENCE;
use super::headers::IdempotencyKey;
use super::problem::ApiError;
use super::{State, page};
use crate::actors::message::Create;
use crate::market::{OrderFilter, Quote};

/// Order a listing: holds the pieces and opens the escrow they are paid by. Repeating the request under its key answers with
/// the order it made.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header, description = "1 to 255 characters, new for each order")),
    request_body = OrderRequest,
    responses((status = 201, body = OrderView), Refused)
)]
#[post("/api/v1/orders")]
pub async fn create(
    caller: Caller<Trade>,
    state: Data<State>,
    key: IdempotencyKey,
    body: Body<OrderRequest>,
) -> Result<HttpResponse, ApiError> {
    let (buyer, request) = (caller.user(), body.0);
    let hash = canonical::hash(&request).map_err(|error| ApiError::failure(Code::Internal, &error))?;
    let order = match state.market.known_order(buyer, &key.0, hash).await? {
        Some(order) => order,
        None => {
            let Quote { listing, escrow } = state.market.quote(buyer, &request).await?;
            let contract = state.drafts.draft(EscrowId(Uuid::now_v7()), buyer, escrow).await?;
            state.market.hold(buyer, request.quantity, listing, contract, (key.0, hash)).await?
        }
    };
    if let Some(contract) = order.contract {
        // A key of its own: whoever sends the order again, and this, finish the same.
        let idempotency = (format!("order:{}", order.id), hash);
        let create = Create { contract, initiator: buyer, replaces: None, idempotency };
        state.create.send(create).timeout(PATIENCE).await??;
    }
    Ok(HttpResponse::Created().json(state.market.order(buyer, order.id).await?))
}

/// One's part in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OrderRole {
    /// Those one made.
    Buyer,
    /// Those one was sent.
    Seller,
}

/// Which orders to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrderQuery {
    /// One's part; both where left out.
    #[param(inline)]
    role: Option<OrderRole>,
    /// Only those of this status.
    status: Option<OrderStatus>,
    /// Only those of this listing.
    listing: Option<ListingId>,
    /// Only those older than this one: `next` of the page before.
    before: Option<OrderId>,
    /// Items of a page, 1 to 100; 50 where left out.
    limit: Option<usize>,
}

/// One's orders as buyer and seller, newest first.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(OrderQuery),
    responses((status = 200, body = OrderPage), Refused)
)]
#[get("/api/v1/orders")]
pub async fn list(
    caller: Caller<Read>,
    state: Data<State>,
    query: Query<OrderQuery>,
) -> Result<Json<OrderPage>, ApiError> {
    let OrderQuery { role, status, listing, before, limit } = query.into_inner();
    let bought = role.map(|role| role == OrderRole::Buyer);
    let filter = OrderFilter { bought, status, listing, before };
    Ok(Json(state.market.orders(caller.user(), filter, page(limit)?).await?))
}

/// One order of one's own.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(("id" = OrderId, Path)),
    responses((status = 200, body = OrderView), Refused)
)]
#[get("/api/v1/orders/{id}")]
pub async fn one(
    caller: Caller<Read>,
    state: Data<State>,
    id: Path<OrderId>,
) -> Result<Json<OrderView>, ApiError> {
    Ok(Json(state.market.order(caller.user(), *id).await?))
}
