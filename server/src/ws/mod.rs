//! The live feed over a WebSocket (RFC 6455). The only place that knows `actix-web-actors`.
//!
//! ```text
//!  connect with ticket and cursor → join the sessions → read the store from the cursor, page by page
//!  a wake (something was stored)  → read the store from the cursor again
//!  after each page: a ping that carries the cursor; the next page goes out when its pong is back
//! ```
//! Every frame comes from the store in order of `seq`, so a wake that is lost, repeated or early makes no gap and no
//! repetition. At most one page is ever on its way: what a slow client does not take stays in the database. One that
//! takes nothing for [`Timing::silence`] is cut off and resumes by cursor.
//!
//! A socket belongs to a session or an API key. When that is over, the socket is told so and closes; should it not hear it,
//! it finds out before it sends anything more, and at every ping.

mod socket;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::{Bytes, Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse, get};
use actix_web_actors::ws::{self, WsResponseBuilder};
use aegis_common::code::Code;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::State;
use crate::api::docs::Refused;
use crate::api::problem::ApiError;
use socket::{Ground, Socket};

/// Longest frame that a client may send; it has nothing to say but pongs.
const MAX_INCOMING: usize = 1024;

/// How patient sockets are.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Between two pings.
    pub ping: Duration,
    /// Without a sign of life, or with a page not taken: after this the socket is cut off.
    pub silence: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { ping: Duration::from_secs(20), silence: Duration::from_secs(60) }
    }
}

/// How to connect.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConnectQuery {
    /// From `POST /api/v1/ws/ticket`.
    ticket: String,
    /// `seq` of the last event that was handled; everything from the beginning where left out.
    after: Option<i64>,
}

/// Hear the feed live: a WebSocket whose every text frame is an `EventFrame`.
#[utoipa::path(
    tag = "events",
    params(ConnectQuery),
    responses((status = 101, description = "The WebSocket is open"), Refused)
)]
#[get("/api/v1/ws")]
pub async fn connect(
    req: HttpRequest,
    payload: Payload,
    state: Data<State>,
    timing: Data<Timing>,
    query: Query<ConnectQuery>,
) -> Result<HttpResponse, ApiError> {
    // Checked before the ticket is used up.
    let handshake = ws::handshake(&req);
    handshake.map_err(|_| ApiError::new(Code::Malformed, "This address speaks WebSocket only."))?;
    let ticket = state.tickets.take(&query.ticket);
    let (user, session) =
        ticket.ok_or_else(|| ApiError::new(Code::Unauthenticated, "The ticket is used up or too old."))?;
    let cut = Cut::default();
    let ground = Ground {
        store: state.store.clone(),
        accounts: state.accounts.clone(),
        sessions: state.sessions.clone(),
        timing: **timing,
        cut: cut.clone(),
    };
    let socket = Socket::new(user, session, query.after.unwrap_or(0), ground);
    let response = WsResponseBuilder::new(socket, &req, payload).frame_size(MAX_INCOMING).start();
    let response = response.map_err(|error| ApiError::failure(Code::Internal, &error))?;
    Ok(response.map_body(|_, inner| BoxBody::new(Cutting { inner, cut })))
}

/// Set by a socket that has waited long enough.
#[derive(Debug, Clone, Default)]
struct Cut(Arc<AtomicBool>);

impl Cut {
    fn cut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The client is too slow; never sent, it only ends the connection.
#[derive(Debug, thiserror::Error)]
#[error("the socket was cut off")]
struct CutOff;

/// A body that fails when it is cut. An ordinary end would wait until the client has taken what is buffered, which a
/// client that takes nothing never does; a failure closes the connection at once.
struct Cutting {
    inner: BoxBody,
    cut: Cut,
}

impl MessageBody for Cutting {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.inner.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        // First the socket, which may have just decided.
        let next = Pin::new(&mut self.inner).poll_next(cx);
        if self.cut.0.load(Ordering::Relaxed) { Poll::Ready(Some(Err(CutOff.into()))) } else { next }
    }
}
