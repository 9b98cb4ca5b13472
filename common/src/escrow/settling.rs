//! Settling: two parties sign one transaction for the outcome that stands.
//!
//! One attempt: both signers post their exported signing data (`sync`), the proposer builds and signs (`propose`), the
//! cosigner checks, signs and submits (`approve`). Signing data is single-use, so whoever meets stale data posts a
//! `sync` for the next attempt and both start over. When the cosigner has approved, a transaction may be on its way: from
//! then on a new attempt needs proof that it is in neither pool nor chain. Every attempt spends every final output,
//! so two transactions of different attempts can never both confirm.

use serde::{Deserialize, Serialize};

use super::contract::Contract;
use super::deposits::final_at;
use super::outcome::{Authority, Outcome};
use super::statement::Act;
use crate::amount::Piconero;
use crate::code::Code;
use crate::hash::Hash32;
use crate::role::Role;
use crate::time::{SignedDuration, Timestamp};

/// Seconds an approved transaction may stay unseen before it counts as lost.
pub const UNSEEN_SECONDS: i64 = 60;

/// A payout statement is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettlingError {
    /// Deposits are not final.
    #[error("the deposits are not all final")]
    NotPayable,
    /// Not one of the two signers, or not this signer's part.
    #[error("the payout is signed by {proposer} (proposes) and {cosigner} (approves)")]
    WrongParty {
        /// Builds the transaction.
        proposer: Role,
        /// Checks and completes it.
        cosigner: Role,
    },
    /// Another signing attempt is under way.
    #[error("the present signing attempt is {present}")]
    WrongAttempt {
        /// The attempt under way.
        present: u32,
    },
    /// It has been done in this attempt.
    #[error("that has been done in this attempt")]
    AlreadyDone,
    /// The proposal is built on other signing data, or the approval is for another proposal.
    #[error("it is not built on the present signing data")]
    StaleNonces,
    /// A transaction may be on its way.
    #[error("a payout has been approved; a new attempt starts only when it is provably absent")]
    Approved,
}

impl SettlingError {
    /// The code shown to clients.
    pub fn code(self) -> Code {
        match self {
            Self::NotPayable => Code::NotPayable,
            Self::WrongParty { .. } => Code::WrongParty,
            Self::WrongAttempt { .. } => Code::WrongAttempt,
            Self::AlreadyDone | Self::Approved => Code::AlreadyDone,
            Self::StaleNonces => Code::StaleNonces,
        }
    }
}

/// A proposed payout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Proposal {
    /// The `propose` statement.
    pub hash: Hash32,
    /// Its network fee.
    pub fee: Piconero,
    /// What returns to the escrow's own address.
    pub residue: Piconero,
}

/// An approved payout: a complete transaction that may be on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The transaction.
    pub txid: Hash32,
    /// The proposal it completes.
    pub proposal: Hash32,
    /// When it was approved.
    pub at: Timestamp,
}

/// Where an approved payout stands on the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OnChain {
    /// The transaction.
    pub txid: Hash32,
    /// The block; none while it is in the pool.
    pub height: Option<u64>,
}

/// An outcome on its way to being paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settling {
    /// What is paid. It never changes.
    pub outcome: Outcome,
    /// By whose word.
    pub authority: Authority,
    /// The escrow was never fully funded: what came goes back.
    pub partial: bool,
    /// The present signing attempt, from 1.
    pub attempt: u32,
    /// When it began.
    pub attempt_since: Timestamp,
    /// How often silent signers were replaced.
    pub rotation: u32,
    /// Signing data of the present attempt.
    pub syncs: Vec<(Role, Hash32)>,
    /// The present attempt's proposal.
    pub proposal: Option<Proposal>,
    /// Every approved transaction, newest last: a late one may still confirm.
    pub approvals: Vec<Approval>,
    /// Whether the newest approval is believed to be under way.
    pub approved: bool,
    /// The approved transaction that was seen.
    pub seen: Option<OnChain>,
    /// An approved transaction that pays something else was seen.
    pub mismatch: Option<Hash32>,
}

impl Settling {
    /// Begins to settle.
    pub fn begin(outcome: Outcome, authority: Authority, partial: bool, now: Timestamp) -> Self {
        Self {
            outcome,
            authority,
            partial,
            attempt: 1,
            attempt_since: now,
            rotation: 0,
            syncs: Vec::new(),
            proposal: None,
            approvals: Vec::new(),
            approved: false,
            seen: None,
            mismatch: None,
        }
    }

    /// Whether nobody has done anything yet.
    pub fn untouched(&self) -> bool {
        self.attempt == 1 && self.syncs.is_empty() && self.approvals.is_empty()
    }

    /// Proposer and cosigner of the present attempt. The favoured party proposes; the one whose word it is, or the
    /// arbiter, cosigns; where one stays silent the next pair is asked.
    pub fn signers(&self) -> (Role, Role) {
        let (favoured, other) = match self.outcome {
            Outcome::Release => (Role::Seller, Role::Buyer),
            Outcome::Refund => (Role::Buyer, Role::Seller),
            Outcome::Split { buyer, seller } if buyer > seller => (Role::Buyer, Role::Seller),
            Outcome::Split { .. } => (Role::Seller, Role::Buyer),
        };
        let (traders, with_arbiter, last) =
            ((favoured, other), (favoured, Role::Arbiter), (other, Role::Arbiter));
        let order = match self.authority {
            Authority::Buyer | Authority::Seller | Authority::Mutual => [traders, with_arbiter, last],
            Authority::Ruling | Authority::Expiry => [with_arbiter, last, traders],
        };
        let [first, second, third] = order;
        match self.rotation % 3 {
            0 => first,
            1 => second,
            _ => third,
        }
    }

    fn next_attempt(&mut self, attempt: u32, now: Timestamp) {
        self.attempt = attempt;
        self.attempt_since = now;
        self.syncs.clear();
        self.proposal = None;
        self.approved = false;
    }

    /// Takes a payout statement. `None` for acts that do not belong to the payout.
    pub fn take(
        &self,
        role: Role,
        act: &Act,
        hash: Hash32,
        payable: bool,
        now: Timestamp,
    ) -> Option<Result<Self, SettlingError>> {
        let result = match act {
            Act::Sync { attempt, .. } => self.sync(role, *attempt, hash, now),
            Act::Propose { attempt, built_on, fee, residue, .. } => {
                let proposal = Proposal { hash, fee: *fee, residue: *residue };
                self.propose(role, *attempt, *built_on, proposal)
            }
            Act::Approve { attempt, proposal, txid, .. } => {
                self.approve(role, *attempt, Approval { txid: *txid, proposal: *proposal, at: now })
            }
            _ => return None,
        };
        Some(if payable { result } else { Err(SettlingError::NotPayable) })
    }

    fn sync(&self, role: Role, attempt: u32, hash: Hash32, now: Timestamp) -> Result<Self, SettlingError> {
        let (proposer, cosigner) = self.signers();
        if role != proposer && role != cosigner {
            return Err(SettlingError::WrongParty { proposer, cosigner });
        }
        if self.approved {
            return Err(SettlingError::Approved);
        }
        let mut next = self.clone();
        if Some(attempt) == self.attempt.checked_add(1) {
            // Stale data somewhere: whoever noticed starts over, with the same signers.
            next.next_attempt(attempt, now);
        } else if attempt != self.attempt {
            return Err(SettlingError::WrongAttempt { present: self.attempt });
        } else if self.syncs.iter().any(|(known, _)| *known == role) {
            return Err(SettlingError::AlreadyDone);
        }
        next.syncs.push((role, hash));
        Ok(next)
    }

    /// The signing data of one role in the present attempt.
    pub fn sync_of(&self, role: Role) -> Option<Hash32> {
        self.syncs.iter().find(|(known, _)| *known == role).map(|(_, hash)| *hash)
    }

    fn propose(
        &self,
        role: Role,
        attempt: u32,
        built_on: [Hash32; 2],
        proposal: Proposal,
    ) -> Result<Self, SettlingError> {
        let (proposer, cosigner) = self.signers();
        if role != proposer {
            return Err(SettlingError::WrongParty { proposer, cosigner });
        }
        if attempt != self.attempt {
            return Err(SettlingError::WrongAttempt { present: self.attempt });
        }
        if self.proposal.is_some() {
            return Err(SettlingError::AlreadyDone);
        }
        let [own, others] = built_on;
        if self.sync_of(proposer) != Some(own) || self.sync_of(cosigner) != Some(others) {
            return Err(SettlingError::StaleNonces);
        }
        Ok(Self { proposal: Some(proposal), ..self.clone() })
    }

    fn approve(&self, role: Role, attempt: u32, approval: Approval) -> Result<Self, SettlingError> {
        let (proposer, cosigner) = self.signers();
        if role != cosigner {
            return Err(SettlingError::WrongParty { proposer, cosigner });
        }
        if attempt != self.attempt {
            return Err(SettlingError::WrongAttempt { present: self.attempt });
        }
        if self.approved {
            return Err(SettlingError::AlreadyDone);
        }
        if self.proposal.as_ref().map(|proposal| proposal.hash) != Some(approval.proposal) {
            return Err(SettlingError::StaleNonces);
        }
        let mut next = self.clone();
        next.approvals.push(approval);
        next.approved = true;
        Ok(next)
    }

    /// The approval of a transaction.
    pub fn approval(&self, txid: Hash32) -> Option<&Approval> {
        self.approvals.iter().find(|approval| approval.txid == txid)
    }

    /// Forgets an approved transaction that is in neither pool nor chain, and starts the next attempt. `None` while
    /// it may still appear: it was approved a moment ago, or another one is under way.
    pub fn lose(&self, txid: Hash32, now: Timestamp) -> Option<Self> {
        let newest = self.approvals.last().filter(|approval| self.approved && approval.txid == txid)?;
        if now.duration_since(newest.at) < SignedDuration::from_secs(UNSEEN_SECONDS) {
            return None;
        }
        if self.seen.is_some_and(|seen| seen.height.is_some()) {
            return None;
        }
        let mut next = self.clone();
        next.seen = None;
        next.next_attempt(self.attempt.checked_add(1)?, now);
        Some(next)
    }

    /// When a silent signer is replaced; none while a transaction is on its way.
    pub fn rotates_at(&self, contract: &Contract) -> Option<Timestamp> {
        let wait = SignedDuration::from_secs(i64::from(contract.cosign_seconds));
        (!self.approved).then(|| self.attempt_since.saturating_add(wait).unwrap_or(Timestamp::MAX))
    }

    /// Replaces the signers; where the escrow is not payable the wait only begins anew.
    pub fn rotate(&self, payable: bool, now: Timestamp) -> Self {
        let mut next = self.clone();
        if payable {
            next.rotation = self.rotation.wrapping_add(1);
            next.next_attempt(self.attempt.saturating_add(1), now);
        } else {
            next.attempt_since = now;
        }
        next
    }

    /// The height at which the payout is final.
    pub fn final_height(&self, depth: u32) -> Option<u64> {
        self.seen.and_then(|seen| seen.height).map(|height| final_at(height, depth))
    }
}
