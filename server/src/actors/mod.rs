//! The actors: whoever owns something that changes is one of these, and alone with it.
//!
//! ```text
//!            API                 timers        chain_watch ── Follower ── nodes
//!             │ Tell, Create        │ Timer        │ Sighted, RolledBack, Tip, LookUp
//!             ▼                     ▼              ▼
//!          directory ◄──────────────┴──────────────┘
//!             │ Do (bounded mailbox, one at a time)
//!             ▼
//!          escrow  ×  as many as are in use ──── lookup (asks the nodes beside the mailbox)
//!             │ decide → commit → swap
//!             ▼
//!           store ── events ──► outbox ──► sessions ──► sockets
//! ```
//! Escrows are woken by their first command and put to sleep when idle: a sleeping one costs disk only. Everything
//! an actor holds is on disk already, so any of them may end at any moment and nothing is lost.

mod chain_watch;
mod create;
mod decide;
mod delete;
mod directory;
mod escrow;
mod lookup;
pub mod message;
mod outages;
mod outbox;
mod rows;
pub mod sessions;
mod start;
mod sweep;
mod timers;
mod tip;
mod troubles;
mod watched;
mod world;

#[cfg(test)]
mod tests;

pub use lookup::{Answer, Finder};
pub use outbox::Deliver;
pub use start::{ActorDeps, ActorHandles, Options, Status, start};
pub use tip::ChainTip;
pub use troubles::Resting;
