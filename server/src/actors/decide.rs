//! From a command to a change, without any side effect. What is checked here is who may send a command; what the
//! command may do is checked by `aegis_common::escrow::transition` alone.

use std::sync::Arc;

use aegis_common::chain::{WatchKey, WatchKeyError};
use aegis_common::escrow::effect::Effect;
use aegis_common::escrow::event::Event;
use aegis_common::escrow::state::Escrow;
use aegis_common::escrow::statement::Act;
use aegis_common::escrow::transition::{self, Rejected};
use aegis_common::hash::Hash32;
use aegis_common::ids::UserId;
use aegis_common::time::Timestamp;
use zeroize::Zeroizing;

use super::escrow::Work;
use super::message::{Command, Refusal};
use super::rows::Held;

/// A command in the form in which it can be tried more than once.
pub(super) enum Order {
    Read,
    /// What the clock brings, which depends on the state.
    Timer,
    Apply {
        by: Option<UserId>,
        event: Event,
        view_key: Option<Zeroizing<[u8; 32]>>,
    },
}

impl From<Work> for Order {
    fn from(work: Work) -> Self {
        let apply = |event| Self::Apply { by: None, event, view_key: None };
        match work {
            Work::Event(event) => apply(event),
            Work::Command(command) => match command {
                Command::Statement { by, signed, view_key } => {
                    Self::Apply { by: Some(by), event: Event::Statement { signed }, view_key }
                }
                Command::Delete { by } => {
                    Self::Apply { by: Some(by), event: Event::Delete { by }, view_key: None }
                }
                Command::Sighted(seen) => apply(Event::DepositSeen { seen }),
                Command::RolledBack { to } => apply(Event::RolledBack { to }),
                Command::Tip { height } => apply(Event::Tip { height }),
                Command::Timer => Self::Timer,
                // A look-up asks the nodes and must not hold up the mailbox: `lookup` reads and sends events.
                Command::LookUp | Command::Read => Self::Read,
            },
        }
    }
}

impl Order {
    /// A height that was read before a reorganisation must not make final what that undid.
    pub fn at_most(mut self, tip: Option<u64>) -> Self {
        if let (Self::Apply { event: Event::Tip { height }, .. }, Some(tip)) = (&mut self, tip) {
            *height = tip.min(*height);
        }
        self
    }
}

/// What a command comes to.
pub(super) enum Verdict {
    /// Nothing is to be changed; with the hash of a statement that is known already.
    Nothing(Option<Hash32>),
    /// This is to be made durable.
    Change(Box<Change>),
}

/// A change that was decided.
pub(super) struct Change {
    pub next: Arc<Escrow>,
    pub effects: Vec<Effect>,
    pub statement: Option<Hash32>,
    /// What the escrow can be watched with: with every attestation.
    pub attested: Option<WatchKey>,
    /// Whether it is to be watched from now on.
    pub watch: bool,
}

/// Decides one order. A stale `expected` is refused, unless the statement is known already: whoever repeats a
/// request whose answer was lost shall get that answer.
pub(super) fn decide(
    held: &Held,
    order: &Order,
    expected: Option<i64>,
    now: Timestamp,
) -> Result<Verdict, Refusal> {
    let escrow = &*held.escrow;
    let stale = expected.is_some_and(|expected| expected != held.version);
    let stale = stale.then_some(Refusal::Stale { actual: held.version });
    let Order::Apply { by, event, view_key } = order else {
        return stale.map_or(Ok(Verdict::Nothing(None)), Err);
    };
    check_sender(escrow, *by, event)?;
    let attested = check_view_key(escrow, event, view_key.as_deref())?;
    let applied = match (transition::apply(escrow, event, now), stale) {
        (Err(Rejected::Known(hash)), _) => return Ok(Verdict::Nothing(Some(hash))),
        (_, Some(stale)) => return Err(stale),
        (applied, None) => applied?,
    };
    let (next, effects) = applied;
    let statement = match event {
        Event::Statement { signed } => next.chains.of(signed.statement.role).hashes.last().copied(),
        _ => None,
    };
    let watch = effects.iter().any(|effect| matches!(effect, Effect::Watch(_)));
    let next = Arc::new(next);
    Ok(Verdict::Change(Box::new(Change { next, effects, statement, attested, watch })))
}

fn check_sender(escrow: &Escrow, by: Option<UserId>, event: &Event) -> Result<(), Refusal> {
    let Some(by) = by else { return Ok(()) };
    if escrow.contract.role_of(by).is_none() {
        return Err(Refusal::NotFound);
    }
    match event {
        Event::Statement { signed } if signed.statement.author != by => Err(Refusal::NotAuthor),
        _ => Ok(()),
    }
}

/// An attestation carries the view key of the address it attests, and the address must be one that can be watched.
fn check_view_key(
    escrow: &Escrow,
    event: &Event,
    view_key: Option<&[u8; 32]>,
) -> Result<Option<WatchKey>, Refusal> {
    let Event::Statement { signed } = event else { return Ok(None) };
    let Act::Attest { address, .. } = &signed.statement.act else { return Ok(None) };
    let view_key = view_key.ok_or(Refusal::BadViewKey)?;
    match WatchKey::new(escrow.contract.escrow_id, *view_key, address) {
        Ok(key) => Ok(Some(key)),
        // Which address may be attested is for the rules to say.
        Err(WatchKeyError::NotPrimary) => Ok(None),
        Err(WatchKeyError::Scalar | WatchKeyError::Mismatch | WatchKeyError::SpendKey) => {
            Err(Refusal::BadViewKey)
        }
    }
}
