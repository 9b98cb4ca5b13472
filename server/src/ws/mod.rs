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

mod socket;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use actix_web::web::{Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse, get};
use actix_web_actors::ws::{self, Codec, WebsocketContext};
use aegis_common::code::Code;
use futures_util::{Stream, stream};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::State;
use crate::api::docs::Refused;
use crate::api::problem::ApiError;
use socket::Socket;

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
    // Before the ticket is used up.
    let mut response =
        ws::handshake(&req).map_err(|_| ApiError::new(Code::Malformed, "This address speaks WebSocket only."))?;
    let user = state.tickets.take(&query.ticket);
    let user = user.ok_or_else(|| ApiError::new(Code::Unauthenticated, "The ticket is used up or too old."))?;
    let cut = Cut::default();
    let socket =
        Socket::new(user, query.after.unwrap_or(0), state.store.clone(), state.sessions.clone(), **timing, cut.clone());
    let codec = Codec::new().max_size(MAX_INCOMING);
    let frames = WebsocketContext::with_codec(socket, payload, codec);
    Ok(response.streaming(cutting(frames, cut)))
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

/// A stream that fails when it is cut. An ordinary end would wait until the client has taken what is buffered, which a
/// client that takes nothing never does; a failure closes the connection at once.
fn cutting<T, E>(
    inner: impl Stream<Item = Result<T, E>> + 'static,
    cut: Cut,
) -> impl Stream<Item = Result<T, actix_web::Error>>
where
    E: Into<actix_web::Error>,
{
    let mut inner = Box::pin(inner);
    stream::poll_fn(move |cx| {
        let item = inner.as_mut().poll_next(cx);
        if cut.0.load(Ordering::Relaxed) {
            return Poll::Ready(Some(Err(actix_web::error::ErrorGone(CutOff))));
        }
        item.map(|item| item.map(|item| item.map_err(Into::into)))
    })
}
