//! What a relay can be told to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aegis_common::escrow::statement::Statement;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{Action, Exchange, Moment};

/// Called twice in each exchange; the relay waits for its decision.
pub type Hook = Arc<dyn Fn(Moment, Exchange) -> BoxFuture<'static, Action> + Send + Sync>;

/// A hook that decides at once.
pub fn hook(decide: impl Fn(Moment, &Exchange) -> Action + Send + Sync + 'static) -> Hook {
    Arc::new(move |moment, exchange| {
        let action = decide(moment, &exchange);
        Box::pin(async move { action })
    })
}

/// A hook that runs `at` once, at the first exchange and moment that `when` chooses, e.g. to kill somebody, and holds the
/// exchange until it is done; everything passes.
fn once(
    when: impl Fn(Moment, &Exchange) -> bool + Send + Sync + 'static,
    at: impl Fn(&Exchange) -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> Hook {
    let done = AtomicBool::new(false);
    Arc::new(move |moment, exchange| {
        let hit = when(moment, &exchange) && !done.swap(true, Ordering::SeqCst);
        let running = hit.then(|| at(&exchange));
        Box::pin(async move {
            if let Some(running) = running {
                running.await;
            }
            Action::Pass
        })
    })
}

/// Runs `at` at the k-th exchange, counted from 0 in order of arrival.
pub fn once_at(
    k: u64,
    moment: Moment,
    at: impl Fn(&Exchange) -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> Hook {
    once(move |now, exchange| now == moment && exchange.index == k, at)
}

/// Runs `at` when the first statement that `which` chooses is posted, before or after the server has it.
pub fn at_statement(
    moment: Moment,
    which: impl Fn(&Statement) -> bool + Send + Sync + 'static,
    at: impl Fn(&Exchange) -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> Hook {
    once(move |now, exchange| now == moment && exchange.statement().is_some_and(|it| which(&it)), at)
}

/// Changes the JSON of responses to requests whose path contains `path`. `edit` says whether it changed anything.
pub fn edit_response(path: &'static str, edit: impl Fn(&mut Value) -> bool + Send + Sync + 'static) -> Hook {
    hook(move |moment, exchange| {
        let chosen = moment == Moment::AfterForward && exchange.path.contains(path);
        edited(chosen, exchange.response_json().ok(), &edit)
    })
}

/// Changes the JSON of requests whose path contains `path`. `edit` says whether it changed anything.
pub fn edit_request(path: &'static str, edit: impl Fn(&mut Value) -> bool + Send + Sync + 'static) -> Hook {
    hook(move |moment, exchange| {
        let chosen = moment == Moment::BeforeForward && exchange.path.contains(path);
        edited(chosen, exchange.request_json().ok(), &edit)
    })
}

fn edited(chosen: bool, body: Option<Value>, edit: impl Fn(&mut Value) -> bool) -> Action {
    let Some(mut body) = body.filter(|_| chosen) else { return Action::Pass };
    if edit(&mut body) { Action::Replace(body.to_string().into_bytes()) } else { Action::Pass }
}
