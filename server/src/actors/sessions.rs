//! Live sockets by user. Nothing here waits for a socket: a full mailbox already holds a wake, which will make the
//! socket read everything that is new, so another one would add nothing.

pub mod message;

use std::collections::HashMap;

use actix::prelude::SendError;
use actix::{Actor, Context, Handler, MessageResult, Recipient};
use aegis_common::ids::{SessionId, UserId};

use super::outbox::Deliver;
use message::{CloseAll, Join, Leave, SessionOver, SocketId, TooManySockets, Wake};

/// A live socket.
struct Live {
    id: SocketId,
    session: SessionId,
    socket: Recipient<Wake>,
}

/// User to live sockets.
pub struct Sessions {
    sockets: HashMap<UserId, Vec<Live>>,
    per_user: usize,
    next: u64,
}

impl Sessions {
    /// With a bound on the sockets of one user.
    pub fn new(per_user: usize) -> Self {
        Self { sockets: HashMap::new(), per_user, next: 0 }
    }

    /// Keeps the sockets for which `alive` holds, and no empty entry.
    fn retain(&mut self, user: UserId, alive: impl FnMut(&Live) -> bool) {
        if let Some(sockets) = self.sockets.get_mut(&user) {
            sockets.retain(alive);
            if sockets.is_empty() {
                self.sockets.remove(&user);
            }
        }
    }
}

impl Actor for Sessions {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1024);
    }
}

impl Handler<Join> for Sessions {
    type Result = Result<SocketId, TooManySockets>;

    fn handle(&mut self, Join { user, session, socket }: Join, _: &mut Self::Context) -> Self::Result {
        self.retain(user, |live| live.socket.connected());
        let sockets = self.sockets.entry(user).or_default();
        if sockets.len() >= self.per_user {
            return Err(TooManySockets);
        }
        let id = SocketId(self.next);
        self.next += 1;
        sockets.push(Live { id, session, socket });
        Ok(id)
    }
}

impl Handler<Leave> for Sessions {
    type Result = ();

    fn handle(&mut self, Leave { user, socket }: Leave, _: &mut Self::Context) {
        self.retain(user, |live| live.id != socket);
    }
}

impl Handler<Deliver> for Sessions {
    type Result = MessageResult<Deliver>;

    fn handle(&mut self, Deliver { user, frame }: Deliver, _: &mut Self::Context) -> Self::Result {
        let wake = Wake::Stored { seq: frame.seq };
        self.retain(user, |live| !matches!(live.socket.try_send(wake), Err(SendError::Closed(_))));
        MessageResult(())
    }
}

impl Handler<SessionOver> for Sessions {
    type Result = ();

    fn handle(&mut self, SessionOver(session): SessionOver, _: &mut Self::Context) {
        for live in self.sockets.values().flatten().filter(|live| live.session == session) {
            // One too busy to hear it finds out before it sends anything more.
            let _ = live.socket.try_send(Wake::SessionOver);
        }
    }
}

impl Handler<CloseAll> for Sessions {
    type Result = ();

    fn handle(&mut self, _: CloseAll, _: &mut Self::Context) {
        for live in self.sockets.values().flatten() {
            // A socket too busy to hear it ends with the server anyway.
            let _ = live.socket.try_send(Wake::ServerStops);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aegis_common::time::Timestamp;
    use aegis_common::wire::event::EventFrame;
    use uuid::Uuid;

    use super::*;

    const SESSION: SessionId = SessionId(Uuid::nil());

    /// Notes what it is told; may be told to end.
    struct Socket(Arc<Mutex<Vec<i64>>>);

    impl Actor for Socket {
        type Context = Context<Self>;
    }

    impl Handler<Wake> for Socket {
        type Result = ();
        fn handle(&mut self, wake: Wake, _: &mut Self::Context) {
            self.0.lock().unwrap().push(match wake {
                Wake::Stored { seq } => seq,
                Wake::ServerStops => -1,
                Wake::SessionOver => -2,
            });
        }
    }

    fn deliver(user: UserId, seq: i64) -> Deliver {
        let frame = EventFrame {
            kind: "EscrowInit".to_owned(),
            seq,
            id: Uuid::now_v7(),
            escrow_id: None,
            at: Timestamp::UNIX_EPOCH,
            payload: serde_json::Value::Null,
        };
        Deliver { user, frame }
    }

    #[actix::test]
    async fn events_reach_every_socket_of_their_user_and_no_other() {
        let sessions = Sessions::new(2).start();
        let [ann, bob] = [1, 2].map(|n| UserId(Uuid::from_u128(n)));
        let heard: [Arc<Mutex<Vec<i64>>>; 3] = Default::default();
        let mut ids = Vec::new();
        for (user, heard) in [ann, ann, bob].into_iter().zip(&heard) {
            let socket = Socket(Arc::clone(heard)).start().recipient();
            ids.push(sessions.send(Join { user, session: SESSION, socket }).await.unwrap().unwrap());
        }
        sessions.send(deliver(ann, 5)).await.unwrap();
        sessions.send(Leave { user: ann, socket: ids[0] }).await.unwrap();
        sessions.send(deliver(ann, 6)).await.unwrap();
        sessions.send(CloseAll).await.unwrap();
        actix::clock::sleep(std::time::Duration::from_millis(20)).await;
        let heard = heard.map(|heard| heard.lock().unwrap().clone());
        assert_eq!(heard, [vec![5], vec![5, 6, -1], vec![-1]]);
    }

    #[actix::test]
    async fn one_socket_too_many_is_refused_until_another_leaves() {
        let sessions = Sessions::new(1).start();
        let user = UserId(Uuid::from_u128(1));
        let socket = || Socket(Arc::default()).start().recipient();
        let first = sessions.send(Join { user, session: SESSION, socket: socket() }).await.unwrap().unwrap();
        let second = sessions.send(Join { user, session: SESSION, socket: socket() }).await.unwrap();
        assert_eq!(second, Err(TooManySockets));
        sessions.send(Leave { user, socket: first }).await.unwrap();
        assert!(sessions.send(Join { user, session: SESSION, socket: socket() }).await.unwrap().is_ok());
    }
}
