//! Tickets for WebSockets. A browser can't send an `Authorization` header with one, and a token doesn't belong in a
//! URL; so a ticket does, which works once and for thirty seconds. They live in memory: a restart costs a client one
//! more request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aegis_common::code::Code;
use aegis_common::hash::Hash32;
use aegis_common::ids::{SessionId, UserId};
use aegis_common::time::{Clock, SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::problem::ApiError;

/// How long a ticket works.
const LIFETIME: SignedDuration = SignedDuration::from_secs(30);
/// Unused tickets of all accounts together.
const MOST: usize = 10_000;
/// Unused tickets of one account.
const PER_USER: usize = 16;

/// Unused tickets, by their hashes.
pub struct Tickets {
    clock: Arc<dyn Clock>,
    unused: Mutex<HashMap<Hash32, Ticket>>,
}

/// Whose ticket, by which session, made when.
struct Ticket {
    user: UserId,
    session: SessionId,
    made: Timestamp,
}

impl Tickets {
    /// None yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, unused: Mutex::default() }
    }

    /// A new ticket: 64 hexadecimal digits.
    pub fn issue(&self, user: UserId, session: SessionId) -> Result<String, ApiError> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret).map_err(|error| ApiError::failure(Code::Internal, &error))?;
        let ticket = hex::encode(*secret);
        let now = self.clock.now();
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        unused.retain(|_, ticket| now.duration_since(ticket.made) < LIFETIME);
        let own = unused.values().filter(|ticket| ticket.user == user).count();
        if own >= PER_USER || unused.len() >= MOST {
            let detail = "Too many tickets are unused; wait half a minute.";
            return Err(ApiError { retry_after: Some(30), ..ApiError::new(Code::RateLimited, detail) });
        }
        unused.insert(Hash32::sha256(ticket.as_bytes()), Ticket { user, session, made: now });
        Ok(ticket)
    }

    /// Uses a ticket up: whose it is, and by which session.
    pub fn take(&self, ticket: &str) -> Option<(UserId, SessionId)> {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let Ticket { user, session, made } = unused.remove(&Hash32::sha256(ticket.as_bytes()))?;
        (self.clock.now().duration_since(made) < LIFETIME).then_some((user, session))
    }
}
