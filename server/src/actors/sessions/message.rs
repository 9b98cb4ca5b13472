//! What can be said to the actor that knows the live sockets, beside [`Deliver`](crate::actors::Deliver), and what it
//! says to them.

use actix::{Message, Recipient};
use aegis_common::ids::{SessionId, UserId};

/// Names a live socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId(pub u64);

/// The account has as many sockets as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many sockets are open for this account")]
pub struct TooManySockets;

/// A socket opens. Whatever is delivered after the answer reaches it.
#[derive(Message)]
#[rtype(result = "Result<SocketId, TooManySockets>")]
pub struct Join {
    /// Whose.
    pub user: UserId,
    /// The login or API key it was opened with.
    pub session: SessionId,
    /// The socket.
    pub socket: Recipient<Wake>,
}

/// A login or API key is over: its sockets are told to close.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SessionOver(pub SessionId);

/// A socket is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Leave {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub socket: SocketId,
}

/// The server stops: every socket is told to close.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CloseAll;

/// To a socket.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub enum Wake {
    /// The feed has grown to this position. The socket reads on from its own cursor, so that lost, repeated or
    /// reordered wakes make neither gap nor repetition.
    Stored {
        /// Position of the new event.
        seq: i64,
    },
    /// Close: the session that opened the socket is over.
    SessionOver,
    /// Close.
    ServerStops,
}
