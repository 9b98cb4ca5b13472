//! Escrows: creation, statements, views.

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::amount::Piconero;
use crate::escrow::contract::{Contract, DefaultOutcome};
use crate::escrow::deadline::Awaited;
use crate::escrow::deposits::{Deposit, OutputId, Refusal, Slot};
use crate::escrow::fate::Fate;
use crate::escrow::history::{By, Told};
use crate::escrow::outcome::{Authority, Outcome};
use crate::escrow::payout::Share;
use crate::escrow::record::{Beginning, Entry};
use crate::escrow::returns::Returned;
use crate::escrow::settling::{Approval, OnChain, Proposal, Settling};
use crate::escrow::setup::Stage;
use crate::escrow::state::{CalledOff, Escrow, Phase, Status};
use crate::escrow::statement::SignedStatement;
use crate::hash::{Hash32, Key32};
use crate::ids::{EscrowId, UserId};
use crate::role::Role;
use crate::time::Timestamp;

/// `POST /api/v1/escrows`. Keys and payout addresses come from the three accounts.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateEscrowRequest {
    /// 1 to 200 characters.
    pub title: String,
    /// At most 4000 characters.
    #[serde(default)]
    pub description: String,
    /// The part the creator plays: buyer or seller.
    pub role: Role,
    /// Username of the other trader.
    pub counterparty: String,
    /// Username of an arbiter both know; otherwise the server assigns one.
    #[serde(default)]
    pub arbiter: Option<String>,
    /// The price in piconero.
    pub amount: Piconero,
    /// The buyer's security deposit in piconero; zero for none.
    #[serde(default)]
    pub buyer_deposit: Piconero,
    /// The seller's security deposit in piconero; zero for none.
    #[serde(default)]
    pub seller_deposit: Piconero,
    /// What happens at expiry.
    pub default_outcome: DefaultOutcome,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Confirmations for finality; the server's default where left out.
    #[serde(default)]
    pub finality_depth: Option<u32>,
    /// Seconds until a silent signer is replaced; the server's default where left out.
    #[serde(default)]
    pub cosign_seconds: Option<u32>,
    /// An escrow of the creator's whose place this one takes: it is deleted first. Only before another party accepts it.
    #[serde(default)]
    pub replaces: Option<EscrowId>,
}

/// `POST /api/v1/escrows/{id}/statements`: every act of a party.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatementRequest {
    /// What is said, signed.
    pub signed: SignedStatement,
    /// With `attest` only: the shared view key, 32 bytes. It lets the server see deposits and spends nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view_key: Option<Key32>,
}

/// The answer to a statement: it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatementReceipt {
    /// The statement's hash.
    pub hash: Hash32,
    /// The escrow's version with it.
    pub version: i64,
    /// The escrow's status with it.
    pub status: Status,
}

/// A page of signed statements in the order in which the server took them.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptPage {
    /// In order.
    pub entries: Vec<TranscriptEntry>,
    /// Pass as `after` to go on; none at the end.
    pub next: Option<i64>,
}

/// A page of what happened to an escrow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryPage {
    /// In order.
    pub entries: Vec<HistoryEntry>,
    /// Pass as `after` to go on; none at the end.
    pub next: Option<i64>,
}

/// One thing that happened to an escrow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The escrow's version with it.
    pub version: i64,
    /// When the server took it.
    pub at: Timestamp,
    /// By whom.
    pub by: Option<By>,
    /// What, for programs: the kind of a statement, or `create`, `depositSeen`, `depositLost`, `rolledBack`, `tip`, `payoutSeen`,
    /// `payoutLost`, `timer`, `outage`, `delete`.
    pub code: String,
    /// What, for people: a sentence. It may quote people.
    pub text: String,
}

impl HistoryEntry {
    /// The entry of something that was told.
    pub fn of(told: Told, version: i64, at: Timestamp) -> Self {
        let Told { by, code, text } = told;
        Self { version, at, by, code: code.to_owned(), text }
    }
}

/// One statement of a transcript.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptEntry {
    /// The escrow's version with it.
    pub version: i64,
    /// When the server took it.
    pub at: Timestamp,
    /// The statement.
    pub signed: SignedStatement,
}

/// `GET /api/v1/escrows/{id}/record`: a page of all that happened to an escrow.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordPage {
    /// How it began; the same on every page.
    pub beginning: Beginning,
    /// What happened, in order. The first of all led to version 2, and each of the others to the next.
    #[schema(value_type = Vec<Object>)]
    pub entries: Vec<Entry>,
    /// Pass as `after` to read on.
    pub next: Option<i64>,
}

/// An amount with its rendering for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AmountView {
    /// In piconero.
    pub piconero: Piconero,
    /// In monero, twelve digits after the point.
    pub xmr: String,
}

impl From<Piconero> for AmountView {
    fn from(piconero: Piconero) -> Self {
        Self { piconero, xmr: piconero.xmr() }
    }
}

/// An escrow as its parties see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EscrowView {
    /// Its id.
    pub id: EscrowId,
    /// Counts its changes; for `If-Match`.
    pub version: i64,
    /// Where it is in its life.
    pub status: Status,
    /// The terms, to be hashed and checked by the reader.
    pub contract: Contract,
    /// Their hash.
    pub contract_hash: Hash32,
    /// The price.
    pub amount: AmountView,
    /// Who created it and may delete it before money comes.
    pub initiator: UserId,
    /// The escrow whose place it takes.
    pub replaces: Option<EscrowId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// What is awaited of somebody, and by when.
    pub awaited: Option<AwaitedView>,
    /// Why it was called off, if it was.
    pub called_off: Option<CalledOff>,
    /// The setup.
    pub setup: SetupView,
    /// What is due and paid, slot by slot; slots that nothing is due or paid in are left out.
    pub deposits: Vec<SlotView>,
    /// Traders' standing offers to settle.
    pub offers: Vec<OfferView>,
    /// The dispute, if there is or was no outcome since.
    pub disputed_by: Option<Role>,
    /// The payout, once an outcome stands.
    pub payout: Option<PayoutView>,
    /// What came after the payout and is on its way back to who paid it; `outcome` and `authority` say who is asked to sign first,
    /// and nothing else.
    #[serde(default)]
    pub returning: Option<PayoutView>,
    /// What has gone back so.
    #[serde(default)]
    pub returned: Vec<Returned>,
    /// Height of the newest block the server knows.
    pub tip: u64,
}

/// An answer that is awaited. The deadline is put off by as long as the server is down meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwaitedView {
    /// Of whom.
    pub waiting_for: Vec<Role>,
    /// Since when.
    pub since: Timestamp,
    /// By when; nothing once it lapsed.
    pub until: Option<Timestamp>,
}

/// A trader's standing offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OfferView {
    /// Whose.
    pub role: Role,
    /// What it offers.
    pub outcome: Outcome,
}

/// The setup stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetupView {
    /// How far it is.
    #[serde(flatten)]
    pub stage: Stage,
    /// Setup attempt, from 1.
    pub attempt: u32,
    /// Who owes something now.
    pub waiting_for: Vec<Role>,
    /// The address all three attest. A payer derives it from its own wallet and compares.
    pub address: Option<Address>,
}

/// What is due and paid in one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlotView {
    /// Which slot.
    pub slot: Slot,
    /// What the contract asks for.
    pub required: AmountView,
    /// What has been seen, final or not.
    pub seen: AmountView,
    /// What is final.
    pub final_amount: AmountView,
    /// What has yet to be paid.
    pub missing: AmountView,
    /// What is final above what the contract asks for: it goes back to who paid it.
    pub surplus: AmountView,
    /// Output by output.
    pub outputs: Vec<OutputView>,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputView {
    /// Which.
    pub output: OutputId,
    /// Its one-time public key: what payouts and returns name it by.
    pub key: Key32,
    /// How much.
    pub amount: AmountView,
    /// Blocks it has, its own included; zero while in the pool.
    pub confirmations: u64,
    /// Blocks it needs.
    pub needed: u32,
    /// Whether it is final.
    pub is_final: bool,
    /// Why it is not credited, if it is not.
    pub refused: Option<Refusal>,
    /// What becomes of its money.
    pub fate: Fate,
}

/// The payout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PayoutView {
    /// The outcome that stands.
    pub outcome: Outcome,
    /// By whose word.
    pub authority: Authority,
    /// What each payee is due before costs.
    pub shares: Vec<Share>,
    /// The outputs that are divided, by their one-time keys: what was final when the present attempt began, else what is
    /// final now.
    pub spends: Vec<Key32>,
    /// Whether the escrow was never funded, so that what came in part goes back.
    pub partial: bool,
    /// Whether it may be signed now.
    pub payable: bool,
    /// Signing attempt, from 1.
    pub attempt: u32,
    /// Builds the transaction.
    pub proposer: Role,
    /// Checks and completes it.
    pub cosigner: Role,
    /// Who has posted signing data in this attempt, with the statement's hash.
    pub syncs: Vec<SyncView>,
    /// The proposal of this attempt.
    pub proposal: Option<Proposal>,
    /// The approval of this attempt.
    pub approval: Option<Approval>,
    /// The payout on the chain.
    pub seen: Option<OnChain>,
    /// Blocks the payout has; zero while in the pool.
    pub confirmations: u64,
    /// An approved transaction that pays something else.
    pub mismatch: Option<Hash32>,
}

/// Signing data of the present attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SyncView {
    /// Whose.
    pub role: Role,
    /// The `sync` statement.
    pub hash: Hash32,
}

fn confirmations(height: Option<u64>, tip: u64) -> u64 {
    height.map_or(0, |height| (tip + 1).saturating_sub(height))
}

impl EscrowView {
    /// The view of an escrow at a version and a tip height.
    pub fn of(escrow: &Escrow, version: i64, tip: u64) -> Self {
        let (payout, returns) = match &escrow.phase {
            Phase::Settling(settling) => (Some(settling), None),
            Phase::Completed { settled, returns, .. } => (Some(settled), Some(returns)),
            _ => (None, None),
        };
        let of = |settling: &Settling| PayoutView::of(escrow, settling, tip);
        let disputed_by = match &escrow.phase {
            Phase::Disputed { by, .. } => Some(*by),
            _ => None,
        };
        Self {
            id: escrow.contract.escrow_id,
            version,
            status: escrow.status(),
            contract: escrow.contract.clone(),
            contract_hash: escrow.contract_hash,
            amount: escrow.contract.amount.into(),
            initiator: escrow.initiator,
            replaces: escrow.replaces,
            created_at: escrow.created_at,
            awaited: escrow.awaited.map(|Awaited { since, until, .. }| AwaitedView {
                waiting_for: escrow.waiting_for(),
                since,
                until,
            }),
            called_off: match escrow.phase {
                Phase::Cancelled { why } => Some(why),
                _ => None,
            },
            setup: SetupView {
                stage: escrow.setup.stage(),
                attempt: escrow.setup.rounds().attempt(),
                waiting_for: Role::ALL
                    .into_iter()
                    .filter(|role| escrow.setup.owes(*role).is_some())
                    .collect(),
                address: escrow.setup.address(),
            },
            deposits: Slot::ALL.into_iter().filter_map(|slot| SlotView::of(escrow, slot, tip)).collect(),
            offers: escrow
                .offers
                .iter()
                .map(|(role, outcome)| OfferView { role: *role, outcome: *outcome })
                .collect(),
            disputed_by,
            payout: payout.map(of),
            returning: returns.and_then(|returns| returns.under_way.as_deref()).map(of),
            returned: returns.map(|returns| returns.done.clone()).unwrap_or_default(),
            tip,
        }
    }
}

impl SlotView {
    fn of(escrow: &Escrow, slot: Slot, tip: u64) -> Option<Self> {
        let all: Vec<&Deposit> =
            escrow.deposits.all().iter().filter(|deposit| deposit.slot == slot).collect();
        let required = slot.required(&escrow.contract);
        if all.is_empty() && required == Piconero::ZERO {
            return None;
        }
        let sum = |only_final: bool| {
            let counted =
                all.iter().filter(|deposit| deposit.refused.is_none() && (deposit.is_final || !only_final));
            Piconero::sum(counted.map(|deposit| deposit.amount)).unwrap_or_default()
        };
        Some(Self {
            slot,
            required: required.into(),
            seen: sum(false).into(),
            final_amount: sum(true).into(),
            missing: escrow.missing(slot).into(),
            surplus: Piconero(sum(true).0.saturating_sub(required.0)).into(),
            outputs: all
                .iter()
                .map(|deposit| OutputView {
                    output: deposit.output,
                    key: deposit.key,
                    amount: deposit.amount.into(),
                    confirmations: confirmations(deposit.height, tip),
                    needed: escrow.contract.finality_depth,
                    is_final: deposit.is_final,
                    refused: deposit.refused,
                    fate: escrow.fate(deposit),
                })
                .collect(),
        })
    }
}

impl PayoutView {
    fn of(escrow: &Escrow, settling: &Settling, tip: u64) -> Self {
        let (proposer, cosigner) = settling.signers();
        Self {
            outcome: settling.outcome,
            authority: settling.authority,
            shares: escrow.shares_of(settling).unwrap_or_default(),
            spends: match (&settling.paid, settling.basis) {
                (Some(paid), _) if settling.seen.is_some() => paid.spends.clone(),
                (_, Some(_)) => settling.spends.clone(),
                _ => escrow.final_keys(),
            },
            partial: settling.partial,
            payable: escrow.payable() && escrow.settling() == Some(settling),
            attempt: settling.attempt,
            proposer,
            cosigner,
            syncs: settling.syncs.iter().map(|(role, hash)| SyncView { role: *role, hash: *hash }).collect(),
            proposal: settling.proposal.clone(),
            approval: settling.approvals.last().filter(|_| settling.approved).cloned(),
            seen: settling.seen,
            confirmations: confirmations(settling.seen.and_then(|seen| seen.height), tip),
            mismatch: settling.mismatch,
        }
    }
}
