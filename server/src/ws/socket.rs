//! One live socket.

use std::time::Instant;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, ContextFutureSpawner, Handler, StreamHandler,
    WrapFuture,
};
use actix_web_actors::ws::{CloseCode, CloseReason, Message, ProtocolError, WebsocketContext};
use aegis_common::ids::{SessionId, UserId};

use super::{Cut, Timing};
use crate::accounts::{AccountError, Accounts};
use crate::actors::sessions::Sessions;
use crate::actors::sessions::message::{Join, Leave, SocketId, Wake};
use crate::api::events::frame;
use crate::store::{EventRow, Store};

/// Events read at once.
const PAGE: usize = 64;
/// Bytes of one page. Half of what the HTTP layer buffers for a slow client: with less than that in its buffer it keeps
/// polling this actor, and heartbeats keep working.
const PAGE_BYTES: usize = 16 * 1024;

type Context = WebsocketContext<Socket>;

/// Where the sending is.
enum Sending {
    /// Nothing is on its way.
    Idle,
    /// The store is being read.
    Reading,
    /// A page is on its way since then.
    Sent(Instant),
}

/// What a socket stands on.
pub struct Ground {
    pub store: Store,
    pub accounts: Accounts,
    pub sessions: Addr<Sessions>,
    pub timing: Timing,
    pub cut: Cut,
}

/// A live socket: sends its user's events from a cursor on.
pub struct Socket {
    user: UserId,
    session: SessionId,
    /// `seq` of the last event sent.
    cursor: i64,
    /// There may be more in the store than was read.
    more: bool,
    sending: Sending,
    heard: Instant,
    id: Option<SocketId>,
    ground: Ground,
}

impl Socket {
    pub fn new(user: UserId, session: SessionId, cursor: i64, ground: Ground) -> Self {
        let (sending, heard) = (Sending::Idle, Instant::now());
        Self { user, session, cursor, more: true, sending, heard, id: None, ground }
    }

    /// Reads on, unless a page is being read or on its way.
    fn advance(&mut self, ctx: &mut Context) {
        if !self.more || !matches!(self.sending, Sending::Idle) {
            return;
        }
        self.more = false;
        self.sending = Sending::Reading;
        let (store, user, cursor) = (self.ground.store.clone(), self.user, self.cursor);
        let (accounts, session) = (self.ground.accounts.clone(), self.session);
        async move {
            let rows = store.events_of(user, cursor, PAGE).await?;
            // Asked last: what is sent is sent to a session that goes on.
            Ok(if accounts.goes_on(session).await? { Some(rows) } else { None })
        }
        .into_actor(self)
        .map(|read: Result<_, AccountError>, socket, ctx| match read {
            Ok(Some(rows)) => socket.send_page(rows, ctx),
            Ok(None) => socket.end(ctx),
            Err(error) => socket.fail(&error, ctx),
        })
        .spawn(ctx);
    }

    /// Ends where the session is over.
    fn check(&self, ctx: &mut Context) {
        let (accounts, session) = (self.ground.accounts.clone(), self.session);
        async move { accounts.goes_on(session).await }
            .into_actor(self)
            .map(|goes_on, socket, ctx| {
                // A database that does not answer says nothing.
                if let Ok(false) = goes_on {
                    socket.end(ctx);
                }
            })
            .spawn(ctx);
    }

    fn end(&mut self, ctx: &mut Context) {
        self.close(CloseCode::Policy, "the session is over", ctx);
    }

    fn send_page(&mut self, rows: Vec<EventRow>, ctx: &mut Context) {
        let full = rows.len() == PAGE;
        let mut bytes = 0;
        let mut rest = rows.into_iter().peekable();
        while let Some(row) = rest.next_if(|row| bytes == 0 || bytes + row.payload.len() < PAGE_BYTES) {
            let seq = row.seq;
            let text = match frame(row).map(|frame| serde_json::to_string(&frame)) {
                Ok(Ok(text)) => text,
                Ok(Err(error)) => return self.fail(&error, ctx),
                Err(error) => return self.fail(&error.cause.unwrap_or_default(), ctx),
            };
            bytes += text.len();
            ctx.text(text);
            self.cursor = seq;
        }
        self.more |= full || rest.peek().is_some();
        if bytes == 0 {
            self.sending = Sending::Idle;
            self.advance(ctx);
        } else {
            ctx.ping(&self.cursor.to_be_bytes());
            self.sending = Sending::Sent(Instant::now());
        }
    }

    fn fail(&mut self, error: &dyn std::fmt::Display, ctx: &mut Context) {
        tracing::error!(user = %self.user, %error, "a socket could not read its events");
        self.close(CloseCode::Error, "try again", ctx);
    }

    fn close(&mut self, code: CloseCode, why: &str, ctx: &mut Context) {
        ctx.close(Some(CloseReason { code, description: Some(why.to_owned()) }));
        ctx.stop();
    }

    fn beat(&mut self, ctx: &mut Context) {
        let stuck =
            matches!(self.sending, Sending::Sent(since) if since.elapsed() >= self.ground.timing.silence);
        if stuck || self.heard.elapsed() >= self.ground.timing.silence {
            tracing::info!(user = %self.user, "a silent or slow socket is cut off");
            self.ground.cut.cut();
            ctx.stop();
            return;
        }
        if !matches!(self.sending, Sending::Sent(_)) {
            ctx.ping(b"");
        }
        self.check(ctx);
    }
}

impl Actor for Socket {
    type Context = Context;

    fn started(&mut self, ctx: &mut Context) {
        ctx.run_interval(self.ground.timing.ping, Self::beat);
        // First join, then read: what is stored in between wakes the socket.
        let socket = ctx.address().recipient();
        let join = Join { user: self.user, session: self.session, socket };
        self.ground
            .sessions
            .send(join)
            .into_actor(self)
            .map(|joined, socket, ctx| match joined {
                Ok(Ok(id)) => {
                    socket.id = Some(id);
                    socket.advance(ctx);
                }
                Ok(Err(refused)) => socket.close(CloseCode::Again, &refused.to_string(), ctx),
                Err(error) => socket.fail(&error, ctx),
            })
            .wait(ctx);
    }

    fn stopped(&mut self, _: &mut Context) {
        if let Some(socket) = self.id {
            // Unbounded, but sent once for each socket, and their number is bounded. Must not be lost: it frees a place.
            self.ground.sessions.do_send(Leave { user: self.user, socket });
        }
    }
}

impl Handler<Wake> for Socket {
    type Result = ();

    fn handle(&mut self, wake: Wake, ctx: &mut Context) {
        match wake {
            Wake::Stored { seq } if seq > self.cursor => {
                self.more = true;
                self.advance(ctx);
            }
            Wake::Stored { .. } => {}
            Wake::SessionOver => self.end(ctx),
            Wake::ServerStops => self.close(CloseCode::Restart, "the server stops", ctx),
        }
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for Socket {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Context) {
        self.heard = Instant::now();
        match message {
            Ok(Message::Ping(bytes)) => ctx.pong(&bytes),
            Ok(Message::Pong(bytes)) => {
                let is_ours = bytes[..] == self.cursor.to_be_bytes();
                if is_ours && matches!(self.sending, Sending::Sent(_)) {
                    self.sending = Sending::Idle;
                    self.advance(ctx);
                }
            }
            Ok(Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Ok(Message::Text(_) | Message::Binary(_) | Message::Continuation(_)) => {
                self.close(CloseCode::Policy, "this socket only speaks", ctx);
            }
            Ok(Message::Nop) => {}
            Err(_) => self.close(CloseCode::Protocol, "not a frame that can be read", ctx),
        }
    }
}
