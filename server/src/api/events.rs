//! A person's feed, and tickets for hearing it live.

use actix_web::web::{Data, Json, Query};
use actix_web::{get, post, put};
use aegis_common::code::Code;
use aegis_common::wire::account::TicketResponse;
use aegis_common::wire::event::{EventFrame, EventPage, InboxView, ReadRequest};
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::Body;
use super::caller::{Caller, Login, Read};
use super::docs::Refused;
use super::problem::ApiError;
use super::{State, page};
use crate::store::EventRow;

/// Which part of the feed to read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FeedQuery {
    /// Only what came after this position: `next` of the page before.
    after: Option<i64>,
    /// Items of a page, 1 to 100; 50 where left out.
    limit: Option<usize>,
}

/// A stored event as it is sent.
pub fn frame(row: EventRow) -> Result<EventFrame, ApiError> {
    let payload = serde_json::from_str(&row.payload)
        .map_err(|error| ApiError::failure(Code::Internal, &format!("event {}: {error}", row.seq)))?;
    Ok(EventFrame {
        kind: row.kind,
        seq: row.seq,
        id: row.event_id,
        escrow_id: row.escrow_id,
        at: row.created_at,
        payload,
    })
}

/// What has happened, oldest first.
#[utoipa::path(
    tag = "events",
    security(("bearer" = [])),
    params(FeedQuery),
    responses((status = 200, body = EventPage), Refused)
)]
#[get("/api/v1/events")]
pub async fn feed(
    caller: Caller<Read>,
    state: Data<State>,
    query: Query<FeedQuery>,
) -> Result<Json<EventPage>, ApiError> {
    let after = query.after.unwrap_or(0);
    let rows = state.store.events_of(caller.user(), after, page(query.limit)?).await?;
    let next = rows.last().map_or(after, |row| row.seq);
    let events = rows.into_iter().map(frame).collect::<Result<_, _>>()?;
    let InboxView { read_up_to, unread } = state.store.inbox(caller.user()).await?;
    Ok(Json(EventPage { events, next, read_up_to, unread }))
}

/// Up to where you have read your events, on any device.
#[utoipa::path(
    tag = "events",
    security(("bearer" = [])),
    responses((status = 200, body = InboxView), Refused)
)]
#[get("/api/v1/me/inbox")]
pub async fn inbox(caller: Caller<Read>, state: Data<State>) -> Result<Json<InboxView>, ApiError> {
    Ok(Json(state.store.inbox(caller.user()).await?))
}

/// Mark your events as read up to a position. Repeating it is harmless, and so is a mark that comes late: it never moves back, nor
/// beyond your newest event.
#[utoipa::path(
    tag = "events",
    security(("bearer" = [])),
    request_body = ReadRequest,
    responses((status = 200, body = InboxView), Refused)
)]
#[put("/api/v1/me/inbox/read")]
pub async fn read(
    caller: Caller<Login>,
    state: Data<State>,
    body: Body<ReadRequest>,
) -> Result<Json<InboxView>, ApiError> {
    if body.0.up_to < 0 {
        return Err(ApiError::invalid("upTo", "must not be negative"));
    }
    Ok(Json(state.store.mark_read(caller.user(), body.0.up_to).await?))
}

/// Get a ticket: good for one WebSocket, within thirty seconds.
#[utoipa::path(
    tag = "events",
    security(("bearer" = [])),
    responses((status = 200, body = TicketResponse), Refused)
)]
#[post("/api/v1/ws/ticket")]
pub async fn ticket(caller: Caller<Read>, state: Data<State>) -> Result<Json<TicketResponse>, ApiError> {
    Ok(Json(TicketResponse { ticket: state.tickets.issue(caller.user(), caller.0.session)? }))
}
