//! Health: whether the server can do its work.

use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::docs::Refused;
use crate::chain;
use crate::node::NodeState;

/// How the server is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `ok`, or `degraded` where the database or every node is out of reach, the chain is not being followed, or an escrow had
    /// to be left alone since the start because it kept failing. The log says which.
    pub status: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// Whether the database answers.
    pub database: bool,
    /// Height of the newest block that was processed; null before the first.
    pub tip: Option<u64>,
    /// How far it is with what it missed, while it catches up.
    pub catching_up: Option<CatchingUp>,
    /// The nodes in the order of the configuration.
    pub nodes: Vec<NodeHealth>,
}

/// How far the server is with blocks that it missed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CatchingUp {
    /// Height of the newest block that was processed.
    pub block: u64,
    /// Height of the newest block there is.
    pub of: u64,
    /// Seconds until it gets there, at the pace so far; null before the first block.
    pub seconds_left: Option<u64>,
    /// The same in words.
    pub text: String,
}

/// How one node is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeHealth {
    /// Whether its last answer was one.
    pub reachable: bool,
    /// Height of its newest block, where it was ever told.
    pub height: Option<u64>,
}

/// How the server is. Status 503 where the database does not answer.
#[utoipa::path(
    tag = "server",
    responses((status = 200, body = Health), (status = 503, body = Health), Refused)
)]
#[get("/api/v1/health")]
pub async fn health(state: web::Data<State>) -> HttpResponse {
    look(&state).await
}

/// The same, where probes look for it.
#[utoipa::path(
    tag = "server",
    responses((status = 200, body = Health), (status = 503, body = Health), Refused)
)]
#[get("/health")]
pub async fn probe(state: web::Data<State>) -> HttpResponse {
    look(&state).await
}

async fn look(state: &State) -> HttpResponse {
    let database = state.store.ping().await;
    if let Err(error) = &database {
        tracing::error!(%error, "the database does not answer");
    }
    // Neither URLs nor reasons: this is public, and a node may be an onion service.
    let nodes: Vec<NodeHealth> = (state.nodes)()
        .into_iter()
        .map(|node| NodeHealth {
            reachable: node.state == NodeState::Up,
            height: node.tip.map(|tip| tip.height),
        })
        .collect();
    let actors = (state.actors)();
    let catching_up = match actors.chain {
        chain::Health::CatchingUp(progress) => Some(CatchingUp {
            block: progress.block,
            of: progress.of,
            seconds_left: progress.seconds_left,
            text: progress.to_string(),
        }),
        _ => None,
    };
    let found = Health {
        status: if database.is_ok() && actors.is_well() { "ok" } else { "degraded" },
        version: env!("CARGO_PKG_VERSION"),
        database: database.is_ok(),
        tip: state.tip.height(),
        catching_up,
        nodes,
    };
    if found.database {
        HttpResponse::Ok().json(found)
    } else {
        HttpResponse::ServiceUnavailable().json(found)
    }
}
