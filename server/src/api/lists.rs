//! Lists of one's escrows, and how many there are.

use actix_web::get;
use actix_web::web::{Data, Json, Query};
use aegis_common::amount::Piconero;
use aegis_common::role::Role;
use aegis_common::time::Timestamp;
use aegis_common::wire::list::{Direction, EscrowCounts, EscrowPage, EscrowSort, Statuses};
use serde::Deserialize;
use utoipa::IntoParams;

use super::caller::{Caller, Read};
use super::docs::Refused;
use super::problem::ApiError;
use super::{State, page};
use crate::escrows::ListRequest;

/// Which escrows to list, and in which order. All conditions must hold; what is left out lets everything through.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Statuses, `open` (not over) or `over`; several with commas: `status=ACTIVE,DISPUTED`.
    #[param(value_type = Option<String>, example = "open")]
    status: Option<Statuses>,
    /// One's own part.
    role: Option<Role>,
    /// Username of another party, in any case.
    participant: Option<String>,
    /// Words of the title in any case and order, of which the last may be cut short: `red bic` finds "Bicycle, red". At most 200
    /// characters and 8 different words.
    text: Option<String>,
    /// Created at this moment (RFC 3339) or later.
    #[param(value_type = Option<String>, format = DateTime)]
    created_from: Option<Timestamp>,
    /// Created before this moment (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    created_to: Option<Timestamp>,
    /// The least price in piconero.
    amount_min: Option<Piconero>,
    /// The highest price in piconero.
    amount_max: Option<Piconero>,
    /// What to sort by; equal ones follow the time of creation. `created` where left out.
    #[param(inline)]
    sort: Option<EscrowSort>,
    /// `desc`, the newest, largest or furthest first, where left out; or `asc`.
    #[param(inline)]
    order: Option<Direction>,
    /// Where to go on: `next` of the page before. Everything else but the limit must be as it was.
    cursor: Option<String>,
    /// Items of a page, 1 to 100; 50 where left out.
    limit: Option<usize>,
}

/// One's escrows in any part, an arbiter's cases among them. Going from page to page shows each whose place in the order stays
/// once, whatever changes meanwhile.
#[utoipa::path(
    tag = "escrows",
    security(("bearer" = [])),
    params(ListQuery),
    responses((status = 200, body = EscrowPage), Refused)
)]
#[get("/api/v1/escrows")]
pub async fn list(
    caller: Caller<Read>,
    state: Data<State>,
    query: Query<ListQuery>,
) -> Result<Json<EscrowPage>, ApiError> {
    let query = query.into_inner();
    let limit = page(query.limit)?;
    let request = ListRequest {
        role: query.role,
        statuses: query.status.unwrap_or_default(),
        participant: query.participant,
        text: query.text,
        created_from: query.created_from,
        created_to: query.created_to,
        amount_min: query.amount_min,
        amount_max: query.amount_max,
        sort: query.sort.unwrap_or_default(),
        direction: query.order.unwrap_or_default(),
    };
    let cursor = query.cursor.as_deref();
    Ok(Json(state.escrows.list(caller.user(), &request, cursor, limit, state.height()).await?))
}

/// How many escrows one has, by one's part and by status.
#[utoipa::path(
    tag = "escrows",
    security(("bearer" = [])),
    responses((status = 200, body = EscrowCounts), Refused)
)]
#[get("/api/v1/escrow-counts")]
pub async fn counts(caller: Caller<Read>, state: Data<State>) -> Result<Json<EscrowCounts>, ApiError> {
    Ok(Json(state.escrows.counts(caller.user()).await?))
}
