//! The state of an escrow. Statuses that depend on the chain are computed from the deposits, never stored: when a
//! reorganisation takes a deposit back, the status steps back by itself.

use serde::{Deserialize, Serialize};

use super::contract::Contract;
use super::deadline::{Awaited, Patience};
use super::deposits::{Deposit, Deposits, Received, Slot, final_at};
use super::outcome::Outcome;
use super::payout::{self, PayoutError, Share};
use super::returns::Returns;
use super::settling::{Proposed, Settling};
use super::setup::{Setup, Stage};
use super::statement::Chains;
use crate::amount::Piconero;
use crate::canonical::NotCanonical;
use crate::hash::Hash32;
use crate::ids::{EscrowId, UserId};
use crate::role::Role;
use crate::time::Timestamp;

/// Where an escrow is in its life, by the names used on the wire.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Being set up, or waiting for the buyer's payment.
    PendingFunding,
    /// The buyer's payment (and deposit) is final; the seller's deposit is not.
    BuyerFunded,
    /// Fully funded.
    Active,
    /// The seller says it has delivered.
    SellerConfirmedItem,
    /// The arbiter is asked; the timer stands still.
    Disputed,
    /// The contract has expired; its default is about to be paid.
    TimelockDefaultTriggered,
    /// An outcome stands and is being signed and paid.
    Settling,
    /// Paid to the seller.
    CompletedReleased,
    /// Paid back to the buyer.
    CompletedRefunded,
    /// Divided.
    CompletedSplit,
    /// Expired without ever receiving money.
    Expired,
    /// Called off before any money came.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 12] = [
        Self::PendingFunding,
        Self::BuyerFunded,
        Self::Active,
        Self::SellerConfirmedItem,
        Self::Disputed,
        Self::TimelockDefaultTriggered,
        Self::Settling,
        Self::CompletedReleased,
        Self::CompletedRefunded,
        Self::CompletedSplit,
        Self::Expired,
        Self::Cancelled,
    ];

    /// The name on the wire.
    pub fn wire(self) -> &'static str {
        match self {
            Self::PendingFunding => "PENDING_FUNDING",
            Self::BuyerFunded => "BUYER_FUNDED",
            Self::Active => "ACTIVE",
            Self::SellerConfirmedItem => "SELLER_CONFIRMED_ITEM",
            Self::Disputed => "DISPUTED",
            Self::TimelockDefaultTriggered => "TIMELOCK_DEFAULT_TRIGGERED",
            Self::Settling => "SETTLING",
            Self::CompletedReleased => "COMPLETED_RELEASED",
            Self::CompletedRefunded => "COMPLETED_REFUNDED",
            Self::CompletedSplit => "COMPLETED_SPLIT",
            Self::Expired => "EXPIRED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// The status of a wire name.
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.wire() == name)
    }

    /// Nothing but late payments can follow.
    pub fn is_over(self) -> bool {
        matches!(
            self,
            Self::CompletedReleased
                | Self::CompletedRefunded
                | Self::CompletedSplit
                | Self::Expired
                | Self::Cancelled
        )
    }

    /// The amount is there and no outcome stands yet.
    pub fn is_funded(self) -> bool {
        matches!(self, Self::BuyerFunded | Self::Active | Self::SellerConfirmedItem)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.wire())
    }
}

/// The part of the state that events move; what the chain says is beside it, in the deposits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Phase {
    /// From creation until an outcome, a dispute or the end.
    Open {
        /// The seller has confirmed delivery.
        seller_confirmed: bool,
    },
    /// The arbiter is asked.
    Disputed {
        /// By whom.
        by: Role,
        /// The `dispute` statement.
        statement: Hash32,
        /// When.
        since: Timestamp,
    },
    /// An outcome stands.
    Settling(Settling),
    /// Paid.
    Completed {
        /// What was paid.
        settled: Settling,
        /// By which transaction.
        txid: Hash32,
        /// In which block.
        height: u64,
        /// What came later, and goes back.
        #[serde(default)]
        returns: Returns,
    },
    /// Expired without money.
    Expired,
    /// Called off.
    Cancelled {
        /// Why.
        #[serde(default)]
        why: CalledOff,
    },
}

/// Why an escrow was called off before any money came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CalledOff {
    /// Its initiator deleted it.
    #[default]
    Deleted,
    /// A party does not want it.
    Declined {
        /// Who.
        by: Role,
    },
    /// The arbiter did not answer in time.
    ArbiterSilent,
}

impl CalledOff {
    /// Whether the traders may want it all the same: with another arbiter.
    pub fn wants_arbiter(self) -> bool {
        matches!(self, Self::ArbiterSilent | Self::Declined { by: Role::Arbiter })
    }
}

/// What is fixed when an escrow is created, beside its contract.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// Who creates it and may delete it before money comes.
    pub initiator: UserId,
    /// The escrow whose place it takes: one that was edited, or whose arbiter would not.
    pub replaces: Option<EscrowId>,
    /// How long people have to answer.
    pub patience: Patience,
}

impl Opening {
    /// One that replaces nothing, with the usual patience.
    pub fn by(initiator: UserId) -> Self {
        Self { initiator, replaces: None, patience: Patience::default() }
    }
}

/// An escrow: the snapshot that is persisted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Escrow {
    /// The terms.
    pub contract: Contract,
    /// Their hash.
    pub contract_hash: Hash32,
    /// Who created it and may delete it before money comes.
    pub initiator: UserId,
    /// The escrow whose place it takes.
    #[serde(default)]
    pub replaces: Option<EscrowId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// How long people have to answer.
    #[serde(default)]
    pub patience: Patience,
    /// What is awaited of somebody.
    #[serde(default)]
    pub awaited: Option<Awaited>,
    /// The three chains of statements, as hashes.
    pub chains: Chains,
    /// Acceptance, rounds, attestations.
    pub setup: Setup,
    /// What has been paid in.
    pub deposits: Deposits,
    /// The traders' standing offers to settle.
    pub offers: Vec<(Role, Outcome)>,
    /// Who called the arbiter first, if anybody did.
    #[serde(default)]
    pub disputed_by: Option<Role>,
    /// Expiry warnings that are past.
    pub warned: usize,
    /// What events have led to.
    pub phase: Phase,
}

impl Escrow {
    /// A new escrow for a contract that has been checked.
    pub fn create(contract: Contract, opening: Opening, now: Timestamp) -> Result<Self, NotCanonical> {
        let contract_hash = contract.hash()?;
        let left = contract.expires_at.duration_since(now);
        let Opening { initiator, replaces, patience } = opening;
        let mut escrow = Self {
            warned: patience.warnings_past(left),
            contract,
            contract_hash,
            initiator,
            replaces,
            created_at: now,
            patience,
            awaited: None,
            chains: Chains::default(),
            setup: Setup::default(),
            deposits: Deposits::default(),
            offers: Vec::new(),
            disputed_by: None,
            phase: Phase::Open { seller_confirmed: false },
        };
        escrow.await_anew(None, now);
        Ok(escrow)
    }

    /// Where it is in its life.
    pub fn status(&self) -> Status {
        match &self.phase {
            Phase::Open { seller_confirmed } => match (self.paid_in(), seller_confirmed) {
                (PaidIn::Nothing, _) => Status::PendingFunding,
                (PaidIn::ByBuyer, _) => Status::BuyerFunded,
                (PaidIn::Fully, false) => Status::Active,
                (PaidIn::Fully, true) => Status::SellerConfirmedItem,
            },
            Phase::Disputed { .. } => Status::Disputed,
            Phase::Settling(settling) => {
                let triggered =
                    settling.authority == super::outcome::Authority::Expiry && settling.untouched();
                if triggered { Status::TimelockDefaultTriggered } else { Status::Settling }
            }
            Phase::Completed { settled, .. } => match settled.outcome {
                Outcome::Release => Status::CompletedReleased,
                Outcome::Refund => Status::CompletedRefunded,
                Outcome::Split { .. } => Status::CompletedSplit,
            },
            Phase::Expired => Status::Expired,
            Phase::Cancelled { .. } => Status::Cancelled,
        }
    }

    /// How far what became final covers what the contract asks for.
    pub fn paid_in(&self) -> PaidIn {
        self.covered(self.deposits.funded())
    }

    fn covered(&self, received: Option<Received>) -> PaidIn {
        let Some(received) = received else { return PaidIn::Nothing };
        let contract = &self.contract;
        if received.payment < contract.amount || received.buyer_deposit < contract.buyer_deposit {
            PaidIn::Nothing
        } else if received.seller_deposit < contract.seller_deposit {
            PaidIn::ByBuyer
        } else {
            PaidIn::Fully
        }
    }

    /// What is still missing in a slot, counting what is not final yet.
    pub fn missing(&self, slot: Slot) -> Piconero {
        let credited = self.deposits.credited().filter(|deposit| deposit.slot == slot);
        let have = Piconero::sum(credited.map(|deposit| deposit.amount)).unwrap_or(Piconero::ZERO);
        slot.required(&self.contract).shortfall(have)
    }

    /// The settlement under way, if any: the payout, or after it the return of what came late.
    pub fn settling(&self) -> Option<&Settling> {
        match &self.phase {
            Phase::Settling(settling) => Some(settling),
            Phase::Completed { returns, .. } => returns.under_way.as_deref(),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn settling_mut(&mut self) -> Option<&mut Settling> {
        match &mut self.phase {
            Phase::Settling(settling) => Some(settling),
            Phase::Completed { returns, .. } => returns.under_way.as_deref_mut(),
            _ => None,
        }
    }

    /// Whether a payout may be signed now: an outcome stands and every deposit it rests on is final.
    pub fn payable(&self) -> bool {
        let Some(settling) = self.settling() else { return false };
        let pending = |deposit: &Deposit| !deposit.is_final && settling.awaited.contains(&deposit.output);
        let enough = if settling.late {
            self.is_worth_returning()
        } else if settling.partial {
            self.deposits.received().and_then(|received| received.total()) > Some(Piconero::ZERO)
        } else {
            self.covered(self.deposits.received()) != PaidIn::Nothing
        };
        enough && !self.deposits.credited().any(pending)
    }

    /// What each payee is due before costs, by what is being signed; once paid, by the payout.
    pub fn shares(&self) -> Option<Result<Vec<Share>, PayoutError>> {
        let settled = match &self.phase {
            Phase::Completed { settled, .. } => Some(settled),
            _ => None,
        };
        self.settling().or(settled).map(|settling| self.shares_of(settling))
    }

    /// What each payee is due before costs, by one of the escrow's settlements: of what the transaction that was seen is based
    /// on, else of what the present signing attempt is, else of what is final now.
    pub fn shares_of(&self, settling: &Settling) -> Result<Vec<Share>, PayoutError> {
        let paid = settling.paid.as_ref().filter(|_| settling.seen.is_some());
        let based_on = paid.map(|paid| paid.received).or(settling.basis);
        let received = based_on.or_else(|| self.received()).unwrap_or_default();
        self.divided(settling, &received)
    }

    /// What each payee is due of these sums before costs.
    pub(super) fn divided(
        &self,
        settling: &Settling,
        received: &Received,
    ) -> Result<Vec<Share>, PayoutError> {
        if settling.late {
            return payout::returned(&self.contract, received);
        }
        payout::shares(&self.contract, received, settling.outcome, settling.authority)
    }

    /// When something is due by the clock.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let answer = self.awaited.and_then(|awaited| awaited.until);
        match &self.phase {
            Phase::Open { .. } => {
                let expiry = self.contract.expires_at;
                let warning = self.patience.next_warning(self.warned);
                let warning = warning.map(|before| expiry.saturating_sub(before).unwrap_or(Timestamp::MIN));
                [Some(expiry), warning, answer].into_iter().flatten().min()
            }
            // Nobody is late while nobody can sign.
            Phase::Settling(_) | Phase::Completed { .. } => {
                let rotates_at = self.settling().and_then(|settling| settling.rotates_at(&self.contract));
                rotates_at.filter(|_| self.payable())
            }
            Phase::Disputed { .. } => answer,
            Phase::Expired | Phase::Cancelled { .. } => None,
        }
    }

    /// The height at which something becomes final.
    pub fn wake_height(&self) -> Option<u64> {
        let depth = self.contract.finality_depth;
        let payout = self.settling().and_then(|settling| settling.final_height(depth));
        [self.deposits.next_final(depth), payout].into_iter().flatten().min()
    }

    /// Whether a transaction may be a payout that its cosigner sent without a word: one leaves its residue with the escrow, and that
    /// is taken for a payment at first. What every proposal spends was there before.
    pub fn may_be_sent(&self, txid: Hash32) -> bool {
        let Some(settling) = self.settling().filter(|settling| settling.seen.is_none()) else { return false };
        let came_later = |key| {
            let spends = |made: &Proposed| made.divides.spends.contains(&key);
            !self.has_spent(key) && settling.proposals.iter().any(|made| !spends(made))
        };
        self.deposits.all().iter().any(|deposit| deposit.output.tx == txid && came_later(deposit.key))
    }

    /// Transactions that were seen or approved and are in no block, each of which may confirm or vanish; and those that may be a
    /// payout nobody has spoken of.
    pub fn unmined(&self) -> Vec<Hash32> {
        let (mined, unmined): (Vec<&Deposit>, Vec<&Deposit>) =
            self.deposits.all().iter().partition(|deposit| deposit.height.is_some());
        // All of them: where some were left out, dust could hide the residue.
        let silent = mined.into_iter().filter(|deposit| self.may_be_sent(deposit.output.tx));
        let mut txs: Vec<_> = unmined.into_iter().chain(silent).map(|deposit| deposit.output.tx).collect();
        if let Some(settling) = self.settling()
            && settling.seen.is_none_or(|seen| seen.height.is_none())
        {
            let awaited = settling.approvals.iter().filter(|approval| !approval.void);
            txs.extend(awaited.map(|approval| approval.txid));
        }
        txs.sort_unstable();
        txs.dedup();
        txs
    }

    /// The highest block this escrow rests on: one that holds something of it, or that makes a deposit final. A
    /// reorganisation concerns the escrow if and only if it undoes that block.
    pub fn highest_block(&self) -> Option<u64> {
        let rests_on = |deposit: &Deposit| {
            let final_at = |height| final_at(height, self.contract.finality_depth);
            deposit.height.map(|height| if deposit.is_final { final_at(height) } else { height })
        };
        let deposits = self.deposits.all().iter().filter_map(rests_on).max();
        let payout = self.settling().and_then(|settling| settling.seen).and_then(|seen| seen.height);
        deposits.max(payout)
    }

    /// Whether it can't go on without this party: who owes setup or money, has to confirm, to rule, or to sign.
    pub fn waits_for(&self, role: Role) -> bool {
        match &self.phase {
            Phase::Open { .. } if !self.is_ready() => self.setup.owes(role).is_some(),
            Phase::Open { seller_confirmed } => {
                let owes = |slot| self.missing(slot) > Piconero::ZERO;
                match (role, self.paid_in()) {
                    (Role::Arbiter, _) => false,
                    (Role::Buyer, PaidIn::Fully) => *seller_confirmed,
                    (Role::Seller, PaidIn::Fully) => !seller_confirmed,
                    (Role::Buyer, _) => owes(Slot::Payment) || owes(Slot::BuyerDeposit),
                    (Role::Seller, _) => owes(Slot::SellerDeposit),
                }
            }
            Phase::Disputed { .. } => role == Role::Arbiter,
            Phase::Settling(_) | Phase::Completed { .. } => {
                self.payable() && self.settling().is_some_and(|settling| settling.waits_for(role))
            }
            Phase::Expired | Phase::Cancelled { .. } => false,
        }
    }

    /// Whether the setup is complete and the chain is to be watched.
    pub fn is_ready(&self) -> bool {
        self.setup.stage() == Stage::Ready
    }
}

/// How far an escrow is paid in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PaidIn {
    /// The buyer's part is not complete and final.
    Nothing,
    /// The buyer's part is; the seller's deposit is not.
    ByBuyer,
    /// All of it.
    Fully,
}
