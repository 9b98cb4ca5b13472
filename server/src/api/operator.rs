//! For whoever runs the server: how it is, and what does not go on.

use actix_web::get;
use actix_web::web::{Data, Json, Query};
use aegis_common::ids::EscrowId;
use aegis_common::time::Timestamp;
use aegis_common::wire::operator::{ArbiterPool, Health, OperatorStatus, RestingEscrow, StuckPage};
use serde::Deserialize;
use utoipa::IntoParams;

use super::caller::{Caller, Operators};
use super::docs::Refused;
use super::problem::ApiError;
use super::{State, health, page};
use crate::arbiters::{ArbiterError, Arbiters};
use crate::chain;
use crate::store::Store;

/// Escrows left alone that are named.
const NAMED: usize = 100;
/// Arbiters that are counted, and read at once.
const COUNTED: u64 = 5_000;
const STEP: usize = 500;

/// How the server is, and what somebody has to look at. For operators.
#[utoipa::path(
    tag = "server",
    security(("bearer" = [])),
    responses((status = 200, body = OperatorStatus), Refused)
)]
#[get("/api/v1/operator/status")]
pub async fn status(_: Caller<Operators>, state: Data<State>) -> Result<Json<OperatorStatus>, ApiError> {
    let (health, now) = (health::found(&state).await, state.clock.now());
    let mut whole = stored(&state.store, &state.arbiters, Some(health), now).await?;
    let nodes = (state.nodes)().into_iter().flat_map(|node| {
        let said = [node.reason, node.disagreement].into_iter().flatten();
        said.map(move |why| format!("node {}: {why}", node.number))
    });
    whole.reasons.extend(nodes);
    let actors = (state.actors)();
    if let chain::Health::Stalled(why) | chain::Health::Stopped(why) = actors.chain {
        whole.reasons.push(format!("chain: {why}"));
    }
    let resting = actors.resting.into_iter().take(NAMED).map(|resting| RestingEscrow {
        escrow_id: resting.escrow,
        failures: resting.failures as u64,
        seconds_left: resting.left.as_secs(),
    });
    whole.resting.extend(resting);
    Ok(Json(whole))
}

/// Everything of it that stands in the database.
pub async fn stored(
    store: &Store,
    arbiters: &Arbiters,
    health: Option<Health>,
    at: Timestamp,
) -> Result<OperatorStatus, ArbiterError> {
    let mut whole = OperatorStatus {
        at,
        attention: Vec::new(),
        health,
        reasons: Vec::new(),
        resting: Vec::new(),
        behind: store.count_behind().await?,
        arbiters: pool(arbiters).await?,
        outbox: store.outbox_lag().await?,
        webhooks: store.webhook_backlog(at).await?,
    };
    whole.attention = whole.look();
    Ok(whole)
}

async fn pool(arbiters: &Arbiters) -> Result<ArbiterPool, ArbiterError> {
    let (mut pool, mut after) = (ArbiterPool::default(), None);
    loop {
        let page = arbiters.page(after, STEP).await?;
        for one in &page.arbiters {
            pool.arbiters += 1;
            pool.available += u64::from(one.available);
            pool.paused += u64::from(!one.accepting);
            // Who takes new ones on and has room, and can't be had all the same.
            let has_room = one.open < u64::from(one.capacity);
            pool.silent += u64::from(one.accepting && has_room && !one.available);
            pool.open += one.open;
            pool.disputed += one.disputed;
            let room = u64::from(one.capacity).saturating_sub(one.open);
            pool.room += if one.available { room } else { 0 };
        }
        after = page.next;
        if after.is_none() || pool.arbiters >= COUNTED {
            return Ok(pool);
        }
    }
}

/// Which escrows to look at.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StuckQuery {
    /// Also those that merely wait for somebody; without it only what takes longer than it should.
    #[serde(default)]
    waiting: bool,
    /// Only what comes after: `next` of the page before.
    after: Option<String>,
    /// Items of a page, 1 to 100; 50 where left out.
    limit: Option<usize>,
}

/// Escrows that do not go on: why, and who owes what since when. A page looks at 500 of those that are not over, so it may be
/// empty although more follow. For operators.
#[utoipa::path(
    tag = "server",
    security(("bearer" = [])),
    params(StuckQuery),
    responses((status = 200, body = StuckPage), Refused)
)]
#[get("/api/v1/operator/escrows")]
pub async fn escrows(
    _: Caller<Operators>,
    state: Data<State>,
    query: Query<StuckQuery>,
) -> Result<Json<StuckPage>, ApiError> {
    let StuckQuery { waiting, after, limit } = query.into_inner();
    let resting: Vec<EscrowId> = (state.actors)().resting.iter().map(|resting| resting.escrow).collect();
    let (after, limit) = (after.as_deref(), page(limit)?);
    Ok(Json(state.escrows.stuck(waiting, &resting, after, limit, state.clock.now()).await?))
}
