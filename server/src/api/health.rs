//! Health: whether the server can do its work.

use actix_web::{HttpResponse, get, web};
use aegis_common::wire::operator::{CatchingUp, ChainState, Health, NodeCondition, NodeHealth};

use super::State;
use super::docs::Refused;
use crate::chain;
use crate::node::{NodeState, NodeStatus};

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
    let found = found(state).await;
    if found.database {
        HttpResponse::Ok().json(found)
    } else {
        HttpResponse::ServiceUnavailable().json(found)
    }
}

/// How the server is, as everybody may know it.
pub(super) async fn found(state: &State) -> Health {
    let database = state.store.ping().await;
    if let Err(error) = &database {
        tracing::error!(%error, "the database does not answer");
    }
    let actors = (state.actors)();
    let (chain, catching_up) = following(&actors.chain);
    Health {
        status: if database.is_ok() && actors.is_well() { "ok" } else { "degraded" }.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        database: database.is_ok(),
        chain,
        tip: state.tip.height(),
        agreed_tip: (state.agreed)().map(|tip| tip.height),
        catching_up,
        resting: actors.resting.len() as u64,
        // Neither URLs nor reasons: this is public, and a node may be an onion service.
        nodes: (state.nodes)().iter().map(node).collect(),
    }
}

fn following(how: &chain::Health) -> (ChainState, Option<CatchingUp>) {
    match how {
        chain::Health::Starting => (ChainState::Starting, None),
        chain::Health::CatchingUp(progress) => {
            let catching_up = CatchingUp {
                block: progress.block,
                of: progress.of,
                seconds_left: progress.seconds_left,
                text: progress.to_string(),
            };
            (ChainState::CatchingUp, Some(catching_up))
        }
        chain::Health::Following(_) => (ChainState::Following, None),
        chain::Health::Stalled(_) => (ChainState::Stalled, None),
        chain::Health::Stopped(_) => (ChainState::Stopped, None),
    }
}

fn node(status: &NodeStatus) -> NodeHealth {
    NodeHealth {
        reachable: status.state == NodeState::Up,
        state: match status.state {
            NodeState::Untried => NodeCondition::Untried,
            NodeState::Up => NodeCondition::Up,
            NodeState::Failing => NodeCondition::Failing,
            NodeState::Down => NodeCondition::Down,
            NodeState::SetAside => NodeCondition::SetAside,
        },
        height: status.tip.map(|tip| tip.height),
    }
}
