//! What an escrow waits for, and whether somebody should look at it. Nothing is decided by this: it is what operators are shown.

use serde::{Deserialize, Serialize};

use super::setup::{Owed, Stage};
use super::state::{Escrow, Phase};
use crate::role::Role;
use crate::time::{SignedDuration, Timestamp};

/// What is due by the clock is done within seconds. So long after it something is wrong.
pub const MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// A transaction that pays its fee is in a block by then.
const UNMINED: SignedDuration = SignedDuration::from_hours(6);
/// Deposits on their way are final by then, or will never be.
const UNCONFIRMED: SignedDuration = SignedDuration::from_hours(24);
/// Turns after which every pair of signers was asked in vain.
const EVERYBODY: u32 = 3;

/// Why an escrow does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// Somebody owes the setup something.
    Setup,
    /// The attested addresses differ: it can never be funded.
    AddressMismatch,
    /// The arbiter is asked.
    Ruling,
    /// The payout is to be signed.
    Signatures,
    /// The payout waits for deposits to become final, or for such as the chain took back.
    Deposits,
    /// The payout is signed and in no block yet.
    PayoutUnmined,
    /// An approved transaction pays something else than the contract says.
    PayoutMismatch,
    /// A deadline has passed, and nothing has followed from it.
    Deadline,
    /// It was not told of everything that the chain holds for it.
    Chain,
    /// Its actor keeps failing and is left alone.
    Actor,
    /// What is stored of it can't be read.
    Unreadable,
}

/// What a party owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "what", rename_all = "camelCase")]
pub enum Debt {
    /// A decision on the contract.
    Acceptance,
    /// The message of a multisig round.
    Round {
        /// Setup attempt.
        attempt: u32,
        /// Which round.
        round: u8,
    },
    /// An attestation of the address.
    Attestation,
    /// The ruling.
    Ruling,
    /// Signing data of its wallet.
    SigningData {
        /// Signing attempt.
        attempt: u32,
    },
    /// The transaction, signed once.
    Proposal {
        /// Signing attempt.
        attempt: u32,
    },
    /// The second signature.
    Approval {
        /// Signing attempt.
        attempt: u32,
    },
}

impl std::fmt::Display for Debt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Acceptance => f.write_str("acceptance"),
            Self::Round { attempt, round } => write!(f, "round {round} of setup {attempt}"),
            Self::Attestation => f.write_str("attestation"),
            Self::Ruling => f.write_str("ruling"),
            Self::SigningData { attempt } => write!(f, "signing data of attempt {attempt}"),
            Self::Proposal { attempt } => write!(f, "proposal of attempt {attempt}"),
            Self::Approval { attempt } => write!(f, "approval of attempt {attempt}"),
        }
    }
}

/// Who owes what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Debtor {
    /// In which part.
    pub role: Role,
    /// By name.
    pub username: String,
    /// What.
    #[serde(flatten)]
    pub debt: Debt,
}

/// One thing that an escrow waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stall {
    /// Why it does not go on.
    pub why: Why,
    /// Who owes what.
    pub owed: Vec<Debtor>,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
    /// By when, where there is a deadline still to come.
    pub until: Option<Timestamp>,
    /// Whether it takes longer than it should.
    pub overdue: bool,
    /// Whether it does not solve itself, and the people of the escrow can't solve it: an operator should look.
    pub needs_operator: bool,
}

impl Stall {
    /// Something that only an operator can solve.
    pub fn trouble(why: Why, since: Option<Timestamp>) -> Self {
        Self { why, owed: Vec::new(), since, until: None, overdue: true, needs_operator: true }
    }

    fn waiting(why: Why) -> Self {
        Self { why, owed: Vec::new(), since: None, until: None, overdue: false, needs_operator: false }
    }
}

fn is_older(since: Timestamp, than: SignedDuration, now: Timestamp) -> bool {
    now.duration_since(since) > than
}

impl Escrow {
    /// What it waits for, by its state alone; `changed` is when that last changed. An escrow that waits for money, for a
    /// delivery or for confirmations is where it should be.
    pub fn stalls(&self, changed: Timestamp, now: Timestamp) -> Vec<Stall> {
        let late = self.wake_at().filter(|due| is_older(*due, MARGIN, now));
        let mut found: Vec<Stall> =
            late.into_iter().map(|due| Stall::trouble(Why::Deadline, Some(due))).collect();
        found.extend(match &self.phase {
            Phase::Open { .. } => self.setup_stall(now),
            Phase::Disputed { since, .. } => Some(self.ruling_stall(*since, now)),
            Phase::Settling(_) | Phase::Completed { .. } => self.payout_stall(changed, now),
            Phase::Expired | Phase::Cancelled { .. } => None,
        });
        let mismatch = self.settling().and_then(|settling| settling.mismatch);
        found.extend(mismatch.map(|_| Stall::trouble(Why::PayoutMismatch, None)));
        found
    }

    fn debtor(&self, role: Role, debt: Debt) -> Debtor {
        Debtor { role, username: self.contract.party(role).username.clone(), debt }
    }

    fn setup_stall(&self, now: Timestamp) -> Option<Stall> {
        if self.setup.stage() == Stage::Stopped {
            return Some(Stall { overdue: true, ..Stall::waiting(Why::AddressMismatch) });
        }
        let attempt = self.setup.rounds().attempt();
        let debt = |owed| match owed {
            Owed::Acceptance => Debt::Acceptance,
            Owed::Round(round) => Debt::Round { attempt, round },
            Owed::Attestation => Debt::Attestation,
        };
        let owed = Role::ALL.into_iter().filter_map(|role| Some((role, debt(self.setup.owes(role)?))));
        let owed: Vec<_> = owed.map(|(role, debt)| self.debtor(role, debt)).collect();
        let awaited = self.awaited?;
        (!owed.is_empty()).then(|| Stall {
            owed,
            since: Some(awaited.since),
            until: awaited.until,
            // Without a deadline it has lapsed. Nobody is forced to trade.
            overdue: awaited.until.is_none_or(|until| until < now),
            ..Stall::waiting(Why::Setup)
        })
    }

    fn ruling_stall(&self, since: Timestamp, now: Timestamp) -> Stall {
        let put_off = self.awaited.map_or(0, |awaited| awaited.put_off);
        let allowed = i64::from(self.patience.ruling_seconds) + i64::from(put_off);
        let overdue = is_older(since, SignedDuration::from_secs(allowed), now);
        Stall {
            why: Why::Ruling,
            owed: vec![self.debtor(Role::Arbiter, Debt::Ruling)],
            since: Some(since),
            until: self.awaited.and_then(|awaited| awaited.until),
            overdue,
            // Money lies there, and nobody but the two traders together can go round the arbiter.
            needs_operator: overdue,
        }
    }

    fn payout_stall(&self, changed: Timestamp, now: Timestamp) -> Option<Stall> {
        let settling = self.settling()?;
        if settling.approved || settling.seen.is_some() {
            let under_way = settling.seen.and_then(|seen| settling.approval(seen.txid));
            let approval = under_way.or_else(|| settling.approvals.last());
            let since = approval.map_or(changed, |approval| approval.at);
            let overdue = is_older(since, UNMINED, now);
            let stall = Stall {
                since: Some(since),
                overdue,
                needs_operator: overdue,
                ..Stall::waiting(Why::PayoutUnmined)
            };
            return settling.seen.is_none_or(|seen| seen.height.is_none()).then_some(stall);
        }
        if !self.payable() {
            let overdue = is_older(changed, UNCONFIRMED, now);
            let (since, needs_operator) = (Some(changed), overdue);
            return Some(Stall { since, overdue, needs_operator, ..Stall::waiting(Why::Deposits) });
        }
        let (attempt, (proposer, _)) = (settling.attempt, settling.signers());
        let debt = |role| match settling.sync_of(role) {
            None => Debt::SigningData { attempt },
            Some(_) if role == proposer => Debt::Proposal { attempt },
            Some(_) => Debt::Approval { attempt },
        };
        let owed = Role::ALL.into_iter().filter(|role| settling.waits_for(*role));
        Some(Stall {
            owed: owed.map(|role| self.debtor(role, debt(role))).collect(),
            since: Some(settling.attempt_since),
            until: settling.rotates_at(&self.contract),
            // Somebody let a whole turn pass.
            overdue: settling.rotation > 0,
            needs_operator: settling.rotation >= EVERYBODY,
            ..Stall::waiting(Why::Signatures)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::statement::Act;
    use super::*;
    use crate::amount::Piconero;
    use crate::testing::{Sim, contract};

    fn stalls(sim: &Sim) -> Vec<Stall> {
        sim.escrow.stalls(sim.now, sim.now)
    }

    fn after(sim: &Sim, hours: i64) -> Vec<Stall> {
        sim.escrow.stalls(sim.now, sim.now + SignedDuration::from_hours(hours))
    }

    fn owed(stall: &Stall) -> Vec<String> {
        stall.owed.iter().map(|debtor| format!("{}: {}", debtor.role, debtor.debt)).collect()
    }

    #[test]
    fn who_owes_the_setup_what_is_named_and_nobody_else() {
        let mut sim = Sim::new(contract());
        sim.say(Role::Buyer, Act::Accept {}).unwrap();
        let [stall] = &stalls(&sim)[..] else { panic!() };
        assert_eq!((stall.why, stall.overdue, stall.needs_operator), (Why::Setup, false, false));
        assert_eq!(owed(stall), ["seller: acceptance", "arbiter: acceptance"]);
        assert_eq!(stall.owed[0].username, sim.escrow.contract.seller.username);
        assert_eq!((stall.since, stall.until.is_some()), (Some(sim.created.created_at), true));
        for role in [Role::Seller, Role::Arbiter] {
            sim.say(role, Act::Accept {}).unwrap();
        }
        sim.say(Role::Seller, sim.round(Role::Seller, 1)).unwrap();
        assert_eq!(owed(&stalls(&sim)[0]), ["buyer: round 1 of setup 1", "arbiter: round 1 of setup 1"]);
        // Nothing has followed from a deadline that is long over: the timers are in trouble.
        let late = after(&sim, 24 * 4);
        assert_eq!((late[0].why, late[0].needs_operator), (Why::Deadline, true));
        assert_eq!((late[1].why, late[1].overdue, late[1].needs_operator), (Why::Setup, true, false));
    }

    #[test]
    fn money_that_is_awaited_and_a_delivery_are_no_stalls() {
        let mut sim = Sim::new(contract());
        sim.ready();
        assert_eq!(stalls(&sim), []);
        let mut sim = Sim::new(contract());
        sim.active();
        assert_eq!(stalls(&sim), []);
    }

    #[test]
    fn a_ruling_that_is_overdue_needs_an_operator_and_one_that_is_not_does_not() {
        let mut sim = Sim::new(contract());
        sim.active();
        sim.say(Role::Buyer, Act::Dispute { reason: "broken".to_owned() }).unwrap();
        let [stall] = &stalls(&sim)[..] else { panic!() };
        assert_eq!((stall.why, stall.overdue, stall.since), (Why::Ruling, false, Some(sim.now)));
        assert_eq!(owed(stall), ["arbiter: ruling"]);
        let hours = 24 * 7 + 1;
        let late = after(&sim, hours).into_iter().find(|stall| stall.why == Why::Ruling).unwrap();
        assert!(late.overdue && late.needs_operator);
    }

    #[test]
    fn a_payout_names_whose_signature_is_awaited() {
        let mut sim = Sim::new(contract());
        sim.active();
        sim.say(Role::Seller, Act::Confirm {}).unwrap();
        sim.say(Role::Buyer, Act::Confirm {}).unwrap();
        let all = |sim: &Sim| owed(stalls(sim).last().unwrap());
        assert_eq!(all(&sim), ["buyer: signing data of attempt 1", "seller: signing data of attempt 1"]);
        for role in [Role::Seller, Role::Buyer] {
            sim.say(role, sim.sync()).unwrap();
        }
        assert_eq!(all(&sim), ["seller: proposal of attempt 1"]);
        sim.say(Role::Seller, sim.propose(Piconero(1_000_000))).unwrap();
        assert_eq!(all(&sim), ["buyer: approval of attempt 1"]);
        let txid = crate::testing::hash("payout");
        sim.say(Role::Buyer, sim.approve(txid)).unwrap();
        let unmined = |stalls: Vec<Stall>| (stalls[0].why, stalls[0].overdue, stalls[0].needs_operator);
        assert_eq!(unmined(stalls(&sim)), (Why::PayoutUnmined, false, false));
        assert_eq!(unmined(after(&sim, 7)), (Why::PayoutUnmined, true, true));
    }
}
