//! REST: one file per resource, over the use cases and the actors' recipients.

pub mod access;
pub mod arbiters;
pub mod asyncapi;
pub mod auth;
pub mod backups;
pub mod body;
pub mod caller;
pub mod docs;
pub mod envelope;
pub mod escrows;
pub mod events;
pub mod factors;
pub mod headers;
pub mod health;
pub mod limits;
pub mod listings;
pub mod lists;
pub mod me;
pub mod operator;
pub mod orders;
pub mod problem;
mod refusals;
pub mod reviews;
pub mod tickets;
pub mod trace;
pub mod users;
pub mod wallet;
pub mod webhooks;

use std::sync::Arc;

use actix::{Addr, Recipient};
use aegis_common::ids::EscrowId;
use aegis_common::time::Clock;
use futures_util::future::BoxFuture;

use crate::accounts::{Accounts, Origin, Who};
use crate::actors::message::{Create, Refusal, Tell};
use crate::actors::sessions::Sessions;
use crate::actors::{self, ChainTip};
use crate::arbiters::Arbiters;
use crate::escrows::{Drafts, Escrows};
use crate::integrations::{Actor, Integrations};
use crate::market::Market;
use crate::node::{NodeStatus, Tip};
use crate::store::Store;
use limits::RateLimits;
use problem::ApiError;
use tickets::Tickets;

/// Begins to look for an escrow in old blocks again, from one on.
pub type Rescan = Box<dyn Fn(EscrowId, u64) -> BoxFuture<'static, Result<(), Refusal>> + Send + Sync>;

/// All that handlers work with; every worker thread shares it.
pub struct State {
    /// The database, for feeds and the answers given before.
    pub store: Store,
    /// Accounts.
    pub accounts: Accounts,
    /// Webhooks and wallets.
    pub integrations: Integrations,
    /// Making contracts.
    pub drafts: Drafts,
    /// Arbiters.
    pub arbiters: Arbiters,
    /// Reading escrows.
    pub escrows: Escrows,
    /// Listings, orders and reviews.
    pub market: Market,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The chain's tip.
    pub tip: ChainTip,
    /// How the nodes are, in the order of the configuration.
    pub nodes: Box<dyn Fn() -> Vec<NodeStatus> + Send + Sync>,
    /// The newest block that as many nodes have as must.
    pub agreed: Box<dyn Fn() -> Option<Tip> + Send + Sync>,
    /// How the actors and the chain follower are.
    pub actors: Box<dyn Fn() -> actors::Status + Send + Sync>,
    /// Looks for an escrow in old blocks again.
    pub rescan: Rescan,
    /// To the actors that own escrows.
    pub tell: Recipient<Tell>,
    /// To the actor that makes escrows.
    pub create: Recipient<Create>,
    /// Live sockets.
    pub sessions: Addr<Sessions>,
    /// Tickets for WebSockets.
    pub tickets: Tickets,
    /// Rate limits.
    pub limits: RateLimits,
}

/// Most items of one page, and how many there are where a request names no number.
pub const PAGE: (usize, usize) = (100, 50);

/// Whose act a request is, for the audit.
fn actor(who: &Who, origin: Origin) -> Actor {
    Actor { user: who.user, session: who.session, network: origin.network() }
}

/// The number of items a page shall have.
fn page(limit: Option<usize>) -> Result<usize, ApiError> {
    let (most, usual) = PAGE;
    match limit.unwrap_or(usual) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        _ => Err(ApiError::invalid("limit", "must lie between 1 and 100")),
    }
}
