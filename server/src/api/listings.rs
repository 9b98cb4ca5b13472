//! Listings: what is for sale.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, delete, get, patch, post};
use aegis_common::amount::Piconero;
use aegis_common::canonical;
use aegis_common::code::Code;
use aegis_common::ids::ListingId;
use aegis_common::wire::market::{
    ListingChange, ListingPage, ListingRequest, ListingStatus, ListingView, Sort,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::Body;
use super::caller::{Caller, Read, Trade};
use super::docs::Refused;
use super::headers::{IdempotencyKey, IfMatch, etag};
use super::problem::ApiError;
use super::{State, page};
use crate::market::Search;

/// What a listing shows changes with its version and with its stock.
fn answer(mut response: actix_web::HttpResponseBuilder, view: &ListingView) -> HttpResponse {
    etag(&mut response, view.version, view.stock);
    response.json(view)
}

/// Offer something for sale. Repeating the request under its key answers with the listing it made.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header, description = "1 to 255 characters, new for each listing")),
    request_body = ListingRequest,
    responses((status = 201, body = ListingView), Refused)
)]
#[post("/api/v1/listings")]
pub async fn create(
    caller: Caller<Trade>,
    state: Data<State>,
    key: IdempotencyKey,
    body: Body<ListingRequest>,
) -> Result<HttpResponse, ApiError> {
    let hash = canonical::hash(&body.0).map_err(|error| ApiError::failure(Code::Internal, &error))?;
    let view = state.market.list(caller.user(), body.0, (key.0, hash)).await?;
    Ok(answer(HttpResponse::Created(), &view))
}

/// Which listings to find.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// Only those of this account.
    seller: Option<String>,
    /// 1 to 5 words: only those with all of them in the title, each at least begun, in any case.
    text: Option<String>,
    /// Only from this price of a piece on, in piconero.
    min_price: Option<Piconero>,
    /// Only up to this price of a piece, in piconero.
    max_price: Option<Piconero>,
    /// `active` where left out. Others only with oneself as the seller.
    status: Option<ListingStatus>,
    /// `newest` where left out.
    #[serde(default)]
    #[param(inline)]
    sort: Sort,
    /// Only what comes after this position: `next` of the page before, of the same query.
    after: Option<String>,
    /// Items of a page, 1 to 100; 50 where left out.
    limit: Option<usize>,
}

/// What is for sale.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(SearchQuery),
    responses((status = 200, body = ListingPage), Refused)
)]
#[get("/api/v1/listings")]
pub async fn list(
    caller: Caller<Read>,
    state: Data<State>,
    query: Query<SearchQuery>,
) -> Result<Json<ListingPage>, ApiError> {
    let SearchQuery { seller, text, min_price, max_price, status, sort, after, limit } = query.into_inner();
    let search = Search { seller, text, min: min_price, max: max_price, status, sort, after };
    Ok(Json(state.market.listings(caller.user(), search, page(limit)?).await?))
}

/// One listing. A closed one is there for its seller and for those who ordered.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(("id" = ListingId, Path)),
    responses((status = 200, body = ListingView), Refused)
)]
#[get("/api/v1/listings/{id}")]
pub async fn one(
    caller: Caller<Read>,
    state: Data<State>,
    id: Path<ListingId>,
) -> Result<HttpResponse, ApiError> {
    Ok(answer(HttpResponse::Ok(), &state.market.listing(caller.user(), *id).await?))
}

/// Change a listing of one's own. What is left out stays; orders that were made keep their price and terms.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(
        ("id" = ListingId, Path),
        ("If-Match" = String, Header, description = "The version it must have")
    ),
    request_body = ListingChange,
    responses((status = 200, body = ListingView), Refused)
)]
#[patch("/api/v1/listings/{id}")]
pub async fn change(
    caller: Caller<Trade>,
    state: Data<State>,
    id: Path<ListingId>,
    expected: IfMatch,
    body: Body<ListingChange>,
) -> Result<HttpResponse, ApiError> {
    let view = state.market.change_listing(caller.user(), *id, expected.required()?, body.0).await?;
    Ok(answer(HttpResponse::Ok(), &view))
}

/// Close a listing of one's own, for good. Its orders go on.
#[utoipa::path(
    tag = "market",
    security(("bearer" = [])),
    params(
        ("id" = ListingId, Path),
        ("If-Match" = String, Header, description = "The version it must have")
    ),
    responses((status = 200, body = ListingView), Refused)
)]
#[delete("/api/v1/listings/{id}")]
pub async fn close(
    caller: Caller<Trade>,
    state: Data<State>,
    id: Path<ListingId>,
    expected: IfMatch,
) -> Result<HttpResponse, ApiError> {
    let view = state.market.close_listing(caller.user(), *id, expected.required()?).await?;
    Ok(answer(HttpResponse::Ok(), &view))
}
