//! Settling: two parties sign one transaction for the outcome that stands.
//!
//! One attempt: both signers post their exported signing data (`sync`), the proposer builds and signs (`propose`), the
//! cosigner checks, signs and submits (`approve`). Signing data is single-use, so whoever meets stale data posts a
//! `sync` for the next attempt and both start over. When the cosigner has approved, a transaction may be on its way: from
//! then on a new attempt needs proof that it is in neither pool nor chain, or that it pays something else. Every attempt
//! spends every final output, so two transactions of different attempts can never both confirm.
//!
//! A pair of signers has a *turn*: a length of time and a number of attempts, none of which a signer can stretch. When
//! it is over the next pair is asked, so one signer alone can never block the other two.

use serde::{Deserialize, Serialize};

pub use super::attempt::{Approval, OnChain, Paid, Proposal, Proposed, RETRIES, SettlingError};
use super::contract::Contract;
use super::deposits::{OutputId, Received, final_at};
use super::outcome::{Authority, Outcome};
use super::statement::Act;
use crate::hash::{Hash32, Key32};
use crate::role::Role;
use crate::time::{SignedDuration, Timestamp};

/// Seconds an approved transaction may stay unseen before it counts as lost.
pub const UNSEEN_SECONDS: i64 = 60;

/// How often the length of a turn doubles: once every time all three pairs were asked in vain. Without it a signer who
/// waits for a week would use up its statements on signing data.
const DOUBLINGS: u32 = 16;

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
    /// It gives back what came after the payout ([`super::returns`]).
    #[serde(default)]
    pub late: bool,
    /// The present signing attempt, from 1.
    pub attempt: u32,
    /// When the present pair of signers was asked and could sign.
    pub attempt_since: Timestamp,
    /// Seconds by which their turn is longer because the server was down.
    #[serde(default)]
    pub put_off: u32,
    /// How often silent signers were replaced.
    pub rotation: u32,
    /// New attempts the present pair has had.
    pub retries: u32,
    /// Outputs that were on their way when the outcome stood, or that the chain took back since: a payout waits until
    /// each is final or gone, so that it leaves nothing behind.
    pub awaited: Vec<OutputId>,
    /// What the present attempt divides: what was final when its first signing data came. Money that comes later does
    /// not change a transaction that is being signed.
    pub basis: Option<Received>,
    /// The outputs that this is the sum of, by their one-time keys.
    pub spends: Vec<Key32>,
    /// Signing data of the present attempt.
    pub syncs: Vec<(Role, Hash32)>,
    /// The present attempt's proposal.
    pub proposal: Option<Proposal>,
    /// Every proposal there was: a cosigner can complete and send one without a word, or when its turn is over.
    pub proposals: Vec<Proposed>,
    /// Every approved transaction, newest last: a late one may still confirm.
    pub approvals: Vec<Approval>,
    /// Whether the newest approval is believed to be under way.
    pub approved: bool,
    /// The approved transaction that was seen.
    pub seen: Option<OnChain>,
    /// What that divides.
    #[serde(default)]
    pub paid: Option<Paid>,
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
            late: false,
            attempt: 1,
            attempt_since: now,
            put_off: 0,
            rotation: 0,
            retries: 0,
            awaited: Vec::new(),
            basis: None,
            spends: Vec::new(),
            syncs: Vec::new(),
            proposal: None,
            proposals: Vec::new(),
            approvals: Vec::new(),
            approved: false,
            seen: None,
            paid: None,
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

    /// Whether the present attempt can't go on without this party: signing data of both, then the proposal, then the approval.
    pub fn waits_for(&self, role: Role) -> bool {
        let (proposer, cosigner) = self.signers();
        if self.approved || self.seen.is_some() || (role != proposer && role != cosigner) {
            return false;
        }
        if self.sync_of(proposer).is_none() || self.sync_of(cosigner).is_none() {
            return self.sync_of(role).is_none();
        }
        role == if self.proposal.is_none() { proposer } else { cosigner }
    }

    /// Drops the present attempt and numbers the next.
    fn next_attempt(&mut self) {
        self.attempt = self.attempt.saturating_add(1);
        self.syncs.clear();
        self.basis = None;
        self.spends.clear();
        self.proposal = None;
        self.approved = false;
    }

    /// Starts over after the chain took back an output that the present attempt spends. `None` where there is nothing
    /// to start over, or a transaction may be on its way.
    pub fn undermined(&self) -> Option<Self> {
        (self.basis.is_some() && !self.approved).then(|| {
            let mut next = self.clone();
            next.next_attempt();
            next
        })
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
            Act::Sync { attempt, .. } => self.sync(role, *attempt, hash),
            Act::Propose { attempt, built_on, fee, residue, .. } => {
                let proposal = Proposal { hash, fee: *fee, residue: *residue };
                self.propose(role, *attempt, *built_on, proposal)
            }
            Act::Approve { attempt, proposal, txid, .. } => {
                let approval = Approval {
                    txid: *txid,
                    proposal: *proposal,
                    at: now,
                    received: self.basis.unwrap_or_default(),
                    void: false,
                };
                self.approve(role, *attempt, approval)
            }
            _ => return None,
        };
        Some(if payable { result } else { Err(SettlingError::NotPayable) })
    }

    fn sync(&self, role: Role, attempt: u32, hash: Hash32) -> Result<Self, SettlingError> {
        let (proposer, cosigner) = self.signers();
        if role != proposer && role != cosigner {
            return Err(SettlingError::WrongParty { proposer, cosigner });
        }
        if self.approved {
            return Err(SettlingError::Approved);
        }
        let mut next = self.clone();
        if Some(attempt) == self.attempt.checked_add(1) {
            // Stale data somewhere: whoever noticed starts over, with the same signers and within their turn.
            if self.retries >= RETRIES {
                return Err(SettlingError::Exhausted);
            }
            next.retries += 1;
            next.next_attempt();
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
        if self.approved {
            return Err(SettlingError::Approved);
        }
        if self.proposal.is_some() {
            return Err(SettlingError::AlreadyDone);
        }
        let [own, others] = built_on;
        if self.sync_of(proposer) != Some(own) || self.sync_of(cosigner) != Some(others) {
            return Err(SettlingError::StaleNonces);
        }
        let mut next = self.clone();
        let divides = Paid { received: self.basis.unwrap_or_default(), spends: self.spends.clone() };
        next.proposals.push(Proposed { hash: proposal.hash, attempt, cosigner, divides });
        next.proposal = Some(proposal);
        Ok(next)
    }

    fn approve(&self, role: Role, attempt: u32, approval: Approval) -> Result<Self, SettlingError> {
        let (proposer, cosigner) = self.signers();
        if let Some(late) = self.approve_late(role, attempt, &approval) {
            return Ok(late);
        }
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

    /// An approval that comes when its attempt is over: the signer sends the transaction whatever becomes of its word, so it
    /// may be on its way. The present attempt goes on; whichever the chain takes is the payout. `None` where it is no such
    /// approval, or the signer has said one for this proposal.
    fn approve_late(&self, role: Role, attempt: u32, approval: &Approval) -> Option<Self> {
        let of = self.proposals.iter().find(|proposed| proposed.hash == approval.proposal)?;
        let is_late = of.attempt == attempt && attempt < self.attempt && of.cosigner == role;
        let is_first = self.approvals.iter().all(|known| known.proposal != approval.proposal);
        (is_late && is_first).then(|| {
            let mut next = self.clone();
            let late = Approval { received: of.divides.received, ..approval.clone() };
            // Before what the present attempt may have approved: the newest approval is the one under way.
            let place =
                if self.approved { self.approvals.len().saturating_sub(1) } else { self.approvals.len() };
            next.approvals.insert(place, late);
            next
        })
    }

    /// The first approval of a transaction.
    pub fn approval(&self, txid: Hash32) -> Option<&Approval> {
        self.approvals.iter().find(|approval| approval.txid == txid)
    }

    /// The approval believed to be under way: of the transaction that was seen, else the newest.
    fn under_way(&self) -> Option<&Approval> {
        let approval = match self.seen {
            Some(seen) => self.approval(seen.txid),
            None => self.approvals.last(),
        };
        approval.filter(|_| self.approved)
    }

    /// Forgets an approved transaction that is in neither pool nor chain, and starts the next attempt. `None` while
    /// it may still appear: it was approved a moment ago, or another one is under way.
    pub fn lose(&self, txid: Hash32, now: Timestamp) -> Option<Self> {
        let lost = self.under_way().filter(|approval| approval.txid == txid)?;
        // A clock that was set back past the approval has told nothing: such a span counts as elapsed.
        if now.duration_since(lost.at).abs() < SignedDuration::from_secs(UNSEEN_SECONDS) {
            return None;
        }
        if self.seen.is_some_and(|seen| seen.height.is_some()) {
            return None;
        }
        Some(self.retry(now))
    }

    /// Takes note that an approved transaction pays something else. If it was the one under way, the next attempt
    /// starts: a false approval must not stop the others. `None` where that is known.
    pub fn mismatched(&self, txid: Hash32, now: Timestamp) -> Option<Self> {
        let proven = self.seen.is_some_and(|seen| seen.txid == txid);
        if proven || self.approvals.iter().all(|approval| approval.txid != txid || approval.void) {
            return None;
        }
        let was_under_way = self.under_way().is_some_and(|approval| approval.txid == txid);
        let mut next = self.clone();
        next.approvals.iter_mut().filter(|approval| approval.txid == txid).for_each(|a| a.void = true);
        next.mismatch = Some(txid);
        Some(if was_under_way { next.retry(now) } else { next })
    }

    /// The next attempt after one that failed: of the same signers, or of the next pair once these have had theirs.
    fn retry(&self, now: Timestamp) -> Self {
        if self.retries >= RETRIES {
            return Self { seen: None, ..self.rotate(now) };
        }
        let mut next = self.clone();
        next.seen = None;
        next.retries += 1;
        next.next_attempt();
        next
    }

    /// When the present pair's turn is over; none while a transaction is on its way. Only meant while payable.
    pub fn rotates_at(&self, contract: &Contract) -> Option<Timestamp> {
        let doubled = i64::from(contract.cosign_seconds) << (self.rotation / 3).min(DOUBLINGS);
        let wait = SignedDuration::from_secs(doubled.saturating_add(i64::from(self.put_off)));
        (!self.approved).then(|| self.attempt_since.saturating_add(wait).unwrap_or(Timestamp::MAX))
    }

    /// Asks the next pair.
    pub fn rotate(&self, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.rotation = self.rotation.wrapping_add(1);
        next.retries = 0;
        next.begin_turn(now);
        next.next_attempt();
        next
    }

    /// The present pair's time runs from now.
    pub(super) fn begin_turn(&mut self, now: Timestamp) {
        (self.attempt_since, self.put_off) = (now, 0);
    }

    /// The height at which the payout is final.
    pub fn final_height(&self, depth: u32) -> Option<u64> {
        self.seen.and_then(|seen| seen.height).map(|height| final_at(height, depth))
    }
}
