//! Escrows whose arbiter would not, or did not answer: another escrow with the same terms and another arbiter takes their
//! place. Whatever crashes, each gets one successor at most, and is not forgotten before it has one or none is possible.

use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use aegis_common::escrow::effect::Notice;
use aegis_common::escrow::state::{CalledOff, Escrow, Phase};
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::time::{Clock, SignedDuration};
use serde::Deserialize;

use crate::actors::message::{Create, Refusal};
use crate::arbiters::event_id;
use crate::escrows::{DraftError, Drafts};
use crate::market;
use crate::store::{NewEvent, Store, StoreError};

/// The consumer's name in the database.
const NAME: &str = "vacancies";
/// Events read at once.
const BATCH: usize = 256;
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the actors may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before an escrow is tried again for which nobody was there.
const NOBODY: SignedDuration = SignedDuration::from_mins(10);
/// The same after a failure.
const FAILED: SignedDuration = SignedDuration::from_mins(1);

/// What there is to do it with.
pub struct Successors {
    /// The database.
    pub store: Store,
    /// Making contracts.
    pub drafts: Drafts,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// To the actor that makes escrows.
    pub create: Recipient<Create>,
}

/// What an `EscrowCalledOff` event says.
#[derive(Deserialize)]
struct Payload {
    why: CalledOff,
}

/// Why an escrow has no successor yet.
#[derive(Debug, thiserror::Error)]
enum Waiting {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Draft(#[from] DraftError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the actors do not answer")]
    Silent,
    #[error("it is stored inconsistently")]
    Inconsistent,
}

impl Successors {
    /// Never ends.
    pub async fn run(self) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "escrows without an arbiter wait");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Finds out what was called off, then does what is due.
    pub(crate) async fn round(&self) -> Result<(), StoreError> {
        let mut cursor = self.store.outbox_cursor(NAME).await?;
        loop {
            let events = self.store.events_after(cursor, BATCH).await?;
            let Some(last) = events.last().map(|event| event.seq) else { break };
            for event in events.into_iter().filter(|event| event.kind == "EscrowCalledOff") {
                let payload: Result<Payload, _> = serde_json::from_str(&event.payload);
                if let (Some(id), Ok(Payload { why })) = (event.escrow_id, payload)
                    && why.wants_arbiter()
                {
                    self.store.want_arbiter(id, self.clock.now()).await?;
                }
            }
            self.store.set_outbox_cursor(NAME, last).await?;
            cursor = last;
        }
        for id in self.store.vacancies(self.clock.now(), BATCH).await? {
            let again = match self.fill(id).await {
                Ok(()) => None,
                Err(Waiting::Draft(DraftError::NoArbiter | DraftError::Conflict)) => {
                    if let Err(error) = self.tell(id).await {
                        tracing::warn!(escrow = %id, %error, "traders could not be told that nobody arbitrates");
                    }
                    Some(NOBODY)
                }
                Err(Waiting::Draft(error @ (DraftError::Contract(_) | DraftError::UnknownUser { .. }))) => {
                    tracing::info!(escrow = %id, %error, "nothing takes the place of an escrow");
                    None
                }
                Err(error) => {
                    tracing::warn!(escrow = %id, %error, "an escrow without an arbiter waits");
                    Some(FAILED)
                }
            };
            match again.and_then(|pause| self.clock.now().checked_add(pause).ok()) {
                Some(at) => self.store.want_arbiter(id, at).await?,
                None => {
                    let orders = self.store.orders_following(vec![id]).await?;
                    let told = orders.iter().flat_map(market::called_off).collect();
                    self.store.close_vacancy(id, told, self.clock.now()).await?;
                }
            }
        }
        Ok(())
    }

    /// Makes the escrow that takes another's place, unless there is one or it is not wanted.
    async fn fill(&self, id: EscrowId) -> Result<(), Waiting> {
        let Some(old) = self.escrow(id).await? else { return Ok(()) };
        let wanted = matches!(old.phase, Phase::Cancelled { why } if why.wants_arbiter());
        if !wanted || old.contract.expires_at <= self.clock.now() {
            return Ok(());
        }
        let contract = match self.drafts.successor(&old).await {
            Err(DraftError::Replaced(_)) => return Ok(()),
            drafted => drafted?,
        };
        // No request can have this key: a header holds no such character.
        let idempotency = (format!("\u{1}successor {id}"), Hash32::sha256(id.0.as_bytes()));
        let create = Create { contract, initiator: old.initiator, replaces: Some(id), idempotency };
        self.create.send(create).timeout(PATIENCE).await.map_err(|_| Waiting::Silent)??;
        Ok(())
    }

    /// Tells the traders, once, that nobody can be had.
    async fn tell(&self, id: EscrowId) -> Result<(), Waiting> {
        let Some(old) = self.escrow(id).await? else { return Ok(()) };
        let notice = Notice::ArbiterWanted {};
        let told = [&old.contract.buyer, &old.contract.seller].map(|trader| NewEvent {
            event_id: event_id(notice.kind(), id, trader.user_id, old.created_at),
            user_id: trader.user_id,
            escrow_id: Some(id),
            kind: notice.kind().to_owned(),
            payload: "{}".to_owned(),
        });
        Ok(self.store.tell_once(told.into(), self.clock.now()).await?)
    }

    async fn escrow(&self, id: EscrowId) -> Result<Option<Escrow>, Waiting> {
        let row = self.store.escrow(id).await?;
        let read = |snapshot: &str| serde_json::from_str(snapshot).map_err(|_| Waiting::Inconsistent);
        row.map(|row| read(&row.snapshot)).transpose()
    }
}
