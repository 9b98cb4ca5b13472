//! Escrows. What changes one goes to its actor; what only reads comes from the database.

use std::time::Duration;

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};
use aegis_common::canonical;
use aegis_common::code::Code;
use aegis_common::ids::EscrowId;
use aegis_common::wire::escrow::{
    CreateEscrowRequest, EscrowView, HistoryPage, RecordPage, SlotView, StatementReceipt, StatementRequest,
    TranscriptPage,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::body::{Body, STATEMENT};
use super::caller::{Caller, Operators, Read, Trade};
use super::docs::Refused;
use super::headers::{IdempotencyKey, IfMatch, etag, is_fresh};
use super::problem::ApiError;
use super::{State, page};
use crate::actors::message::{Command, Create, Snapshot, Tell};
use crate::escrows::Kept;

/// How long a request waits for an actor.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

impl State {
    async fn tell(
        &self,
        id: EscrowId,
        command: Command,
        expected: Option<i64>,
    ) -> Result<Snapshot, ApiError> {
        Ok(self.tell.send(Tell { id, command, expected }).timeout(PATIENCE).await??)
    }

    fn view(&self, kept: &Kept) -> EscrowView {
        EscrowView::of(&kept.escrow, kept.version, self.height())
    }

    fn view_of(&self, snapshot: &Snapshot) -> EscrowView {
        EscrowView::of(&snapshot.escrow, snapshot.version, self.height())
    }

    /// Height of the newest block; zero until it is known, so that nothing looks more confirmed than it is.
    pub(super) fn height(&self) -> u64 {
        self.tip.height().unwrap_or(0)
    }
}

fn answer(mut response: actix_web::HttpResponseBuilder, view: &EscrowView) -> HttpResponse {
    etag(&mut response, view.version, view.tip);
    response.json(view)
}

/// Create an escrow, also in the place of one that the other trader has not accepted. Repeating the request under its key
/// answers with the escrow it made.
#[utoipa::path(
    tag = "escrows",
    security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header, description = "1 to 255 characters, new for each escrow")),
    request_body = CreateEscrowRequest,
    responses((status = 201, body = EscrowView), Refused)
)]
#[post("/api/v1/escrows")]
pub async fn create(
    caller: Caller<Trade>,
    state: Data<State>,
    key: IdempotencyKey,
    body: Body<CreateEscrowRequest>,
) -> Result<HttpResponse, ApiError> {
    let request = body.0;
    let hash = canonical::hash(&request).map_err(|error| ApiError::failure(Code::Internal, &error))?;
    // A repeated request must not fail because time has passed: its draft might by now be refused.
    let known = state.store.idempotency(caller.user(), key.0.clone()).await?;
    if let Some(known) = known {
        if known.request_hash != hash {
            return Err(ApiError::of(Code::IdempotencyConflict));
        }
        let kept = state.escrows.one(caller.user(), replayed(&known.response)?).await?;
        return Ok(answer(HttpResponse::Created(), &state.view(&kept)));
    }
    let (initiator, replaces) = (caller.user(), request.replaces);
    let old = match replaces {
        Some(id) => {
            let old = state.escrows.replaceable(initiator, id).await?;
            // What is ordered is sold on the listing's terms.
            if !state.store.orders_following(vec![id]).await?.is_empty() {
                return Err(ApiError::new(Code::WrongState, "An order's escrow can't be edited."));
            }
            Some(old)
        }
        None => None,
    };
    let contract = state.drafts.draft(EscrowId(Uuid::now_v7()), initiator, request).await?;
    // Only now that the other can be made. Whoever is interrupted here repeats the request.
    if let Some(old) = old.filter(|old| !old.escrow.status().is_over()) {
        let id = old.escrow.contract.escrow_id;
        state.tell(id, Command::Delete { by: initiator }, Some(old.version)).await?;
    }
    let create = Create { contract, initiator, replaces, idempotency: (key.0, hash) };
    let snapshot = state.create.send(create).timeout(PATIENCE).await??;
    Ok(answer(HttpResponse::Created(), &state.view_of(&snapshot)))
}

/// The escrow that an answer given before was about.
fn replayed(response: &str) -> Result<EscrowId, ApiError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Made {
        #[serde(alias = "id")]
        escrow_id: EscrowId,
    }
    let made = serde_json::from_str(response);
    made.map(|Made { escrow_id }| escrow_id).map_err(|error| ApiError::failure(Code::Internal, &error))
}

/// One escrow.
#[utoipa::path(
    tag = "escrows",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The escrow")),
    responses((status = 200, body = EscrowView), (status = 304, description = "As in If-None-Match"), Refused)
)]
#[get("/api/v1/escrows/{id}")]
pub async fn one(
    caller: Caller<Read>,
    state: Data<State>,
    id: Path<EscrowId>,
    req: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let view = state.view(&state.escrows.one(caller.user(), *id).await?);
    if is_fresh(&req, view.version, view.tip) {
        let mut response = HttpResponse::NotModified();
        etag(&mut response, view.version, view.tip);
        return Ok(response.finish());
    }
    Ok(answer(HttpResponse::Ok(), &view))
}

/// Delete an escrow that has seen no money. For its initiator.
#[utoipa::path(
    tag = "escrows",
    security(("bearer" = [])),
    params(
        ("id" = Uuid, Path, description = "The escrow"),
        ("If-Match" = Option<String>, Header, description = "The version it must have")
    ),
    responses((status = 200, body = EscrowView), Refused)
)]
#[delete("/api/v1/escrows/{id}")]
pub async fn remove(
    caller: Caller<Trade>,
    state: Data<State>,
    id: Path<EscrowId>,
    expected: IfMatch,
) -> Result<HttpResponse, ApiError> {
    let snapshot = state.tell(*id, Command::Delete { by: caller.user() }, expected.0).await?;
    Ok(answer(HttpResponse::Ok(), &state.view_of(&snapshot)))
}

/// Make a signed statement: every act of a party. Repeating it is harmless.
#[utoipa::path(
    tag = "escrows",
    security(("bearer" = [])),
    params(
        ("id" = Uuid, Path, description = "The escrow"),
        ("If-Match" = Option<String>, Header, description = "The version it must have")
    ),
    request_body = StatementRequest,
    responses((status = 200, body = StatementReceipt), Refused)
)]
#[post("/api/v1/escrows/{id}/statements")]
pub async fn state_act(
    caller: Caller<Trade>,
    state: Data<State>,
    id: Path<EscrowId>,
    expected: IfMatch,
    body: Body<StatementRequest, STATEMENT>,
) -> Result<Json<StatementReceipt>, ApiError> {
    let StatementRequest { signed, view_key } = body.0;
    let view_key = view_key.map(|key| Zeroizing::new(key.0));
    let command = Command::Statement { by: caller.user(), signed: Box::new(signed), view_key };
    let snapshot = state.tell(*id, command, expected.0).await?;
    let missing = || ApiError::failure(Code::Internal, &"the actor named no statement");
    Ok(Json(StatementReceipt {
        hash: snapshot.statement.ok_or_else(missing)?,
        version: snapshot.version,
        status: snapshot.escrow.status(),
    }))
}

/// Which part of a transcript, history or record to read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TranscriptQuery {
    /// Only what came after this version: `next` of the page before.
    after: Option<i64>,
    /// Items of a page, 1 to 100; 50 where left out.
    limit: Option<usize>,
}

/// All signed statements in the order in which the server took them.
#[utoipa::path(
    tag = "escrows",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The escrow"), TranscriptQuery),
    responses((status = 200, body = TranscriptPage), Refused)
)]
#[get("/api/v1/escrows/{id}/transcript")]
pub async fn transcript(
    caller: Caller<Read>,
    state: Data<State>,
    id: Path<EscrowId>,
    query: Query<TranscriptQuery>,
) -> Result<Json<TranscriptPage>, ApiError> {
    let (after, limit) = (query.after.unwrap_or(-1), page(query.limit)?);
    Ok(Json(state.escrows.transcript(caller.user(), *id, after, limit).await?))
}

/// How an escrow began and all that happened to it. Whoever applies it by the rules knows where the escrow stands, and that nobody's
/// word was forged.
#[utoipa::path(
    tag = "escrows",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The escrow"), TranscriptQuery),
    responses((status = 200, body = RecordPage), Refused)
)]
#[get("/api/v1/escrows/{id}/record")]
pub async fn record(
    caller: Caller<Read>,
    state: Data<State>,
    id: Path<EscrowId>,
    query: Query<TranscriptQuery>,
) -> Result<Json<RecordPage>, ApiError> {
    let (after, limit) = (query.after.unwrap_or(-1), page(query.limit)?);
    Ok(Json(state.escrows.record(caller.user(), *id, after, limit).await?))
}

/// What happened, in the order in which the server took it: every statement, what the chain said, and the deadlines.
#[utoipa::path(
    tag = "escrows",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The escrow"), TranscriptQuery),
    responses((status = 200, body = HistoryPage), Refused)
)]
#[get("/api/v1/escrows/{id}/history")]
pub async fn history(
    caller: Caller<Read>,
    state: Data<State>,
    id: Path<EscrowId>,
    query: Query<TranscriptQuery>,
) -> Result<Json<HistoryPage>, ApiError> {
    let (after, limit) = (query.after.unwrap_or(0), page(query.limit)?);
    Ok(Json(state.escrows.history(caller.user(), *id, after, limit).await?))
}

/// What is due, seen and final, slot by slot.
#[utoipa::path(
    tag = "escrows",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The escrow")),
    responses((status = 200, body = Vec<SlotView>), Refused)
)]
#[get("/api/v1/escrows/{id}/deposits")]
pub async fn deposits(
    caller: Caller<Read>,
    state: Data<State>,
    id: Path<EscrowId>,
) -> Result<Json<Vec<SlotView>>, ApiError> {
    Ok(Json(state.view(&state.escrows.one(caller.user(), *id).await?).deposits))
}

/// Which blocks to look through again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RescanRequest {
    /// Height of the first one, up to the newest.
    from_height: u64,
}

/// Look for a watched escrow's deposits in old blocks again, beside everything else. What it knows stays, what is found is
/// added; a restart ends it, and another takes its place. 503 while the escrow is behind, and looked for anyway. For operators.
#[utoipa::path(
    tag = "escrows",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The escrow")),
    request_body = RescanRequest,
    responses((status = 202, description = "It has begun"), Refused)
)]
#[post("/api/v1/escrows/{id}/rescan")]
pub async fn rescan(
    _: Caller<Operators>,
    state: Data<State>,
    id: Path<EscrowId>,
    body: Body<RescanRequest>,
) -> Result<HttpResponse, ApiError> {
    if body.0.from_height > state.height() {
        return Err(ApiError::invalid("fromHeight", "must not lie above the newest block"));
    }
    (state.rescan)(*id, body.0.from_height).await?;
    Ok(HttpResponse::Accepted().finish())
}
