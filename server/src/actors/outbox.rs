//! The one dispatcher of events: reads what was committed, in order, hands it to the sessions and remembers how far it
//! came. After a crash some events are handed over again; they carry the same id and position as before.

use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};
use aegis_common::ids::UserId;
use aegis_common::wire::event::EventFrame;

use super::world::World;
use crate::store::{EventRow, StoreError};

/// The dispatcher's name in the database.
const NAME: &str = "sessions";
/// Events handed over between two notes of how far it came.
const BATCH: usize = 256;

/// Hands one event to whoever listens for a person. Answered when it is queued for the sockets, or nobody listens.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Deliver {
    /// For whom.
    pub user: UserId,
    /// What.
    pub frame: EventFrame,
}

/// Why events wait.
#[derive(Debug, thiserror::Error)]
pub(super) enum Waiting {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the sessions do not answer")]
    Sessions,
}

/// Reads, hands over, remembers.
pub(super) struct Outbox {
    world: Arc<World>,
    sessions: Recipient<Deliver>,
    poll: Duration,
}

impl Outbox {
    pub fn new(world: Arc<World>, sessions: Recipient<Deliver>, poll: Duration) -> Self {
        Self { world, sessions, poll }
    }

    /// Never ends. Woken by commits; another server's commits and failures are met by polling.
    pub async fn run(self) {
        loop {
            match self.dispatch().await {
                Ok(()) => {
                    let _ = tokio::time::timeout(self.poll, self.world.committed.notified()).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "events wait");
                    tokio::time::sleep(self.poll).await;
                }
            }
        }
    }

    /// Hands over all there is.
    pub async fn dispatch(&self) -> Result<(), Waiting> {
        let store = &self.world.store;
        let mut cursor = store.outbox_cursor(NAME).await?;
        loop {
            let events = store.events_after(cursor, BATCH).await?;
            let Some(last) = events.last().map(|event| event.seq) else { return Ok(()) };
            for event in events {
                if let Some(deliver) = deliver(event) {
                    self.sessions.send(deliver).await.map_err(|_| Waiting::Sessions)?;
                }
            }
            store.set_outbox_cursor(NAME, last).await?;
            cursor = last;
        }
    }
}

/// An event whose payload is damaged is passed over loudly: it must not hold up everybody's.
fn deliver(row: EventRow) -> Option<Deliver> {
    let EventRow { seq, event_id, user_id, escrow_id, kind, payload, created_at } = row;
    let Ok(payload) = serde_json::from_str(&payload) else {
        tracing::error!(seq, "an event's payload is not JSON");
        return None;
    };
    let frame = EventFrame { kind, seq, id: event_id, escrow_id, at: created_at, payload };
    Some(Deliver { user: user_id, frame })
}
