//! People at their programs: each looks at an escrow, and does the next thing or waits.

use aegis_common::amount::Piconero;
use aegis_common::escrow::outcome::Outcome;
use aegis_common::escrow::payout;
use aegis_common::escrow::returns::Returns;
use aegis_common::escrow::settling::Settling;
use aegis_common::escrow::setup::{Owed, Stage};
use aegis_common::escrow::state::{Escrow, Phase, Status};
use aegis_common::escrow::statement::Act;
use aegis_common::hash::Hash32;
use aegis_common::role::Role;
use aegis_common::testing::chain::{Crafted, TestWallet, TxBuilder};
use aegis_common::time::{SignedDuration, Timestamp};

use super::super::kit::people;
use super::plan::{End, Plan, Start};

/// What payout transactions cost.
pub const FEE: Piconero = Piconero(30_000_000);

/// What is to be done about an escrow.
pub enum Next {
    /// Nothing, ever.
    Over,
    /// Nothing for so many ticks.
    Wait(u64),
    /// A party says something.
    Say(Role, Box<Act>),
    /// The buyer pays.
    Pay(Piconero),
    /// The initiator deletes it.
    Delete,
    /// It was called off; another may have taken its place.
    Follow,
    /// The payout goes out, if it has not.
    Send,
}

/// What is known of an escrow beside its state.
pub struct View<'a> {
    pub plan: &'a Plan,
    pub wallet: &'a TestWallet,
    /// A number that no other escrow has.
    pub number: u64,
    /// Payments that were made.
    pub paid: usize,
    pub now: Timestamp,
    /// Who is asked first where several are.
    pub first: usize,
    /// Whether this arbiter declines this case.
    pub declines: bool,
}

impl View<'_> {
    pub fn next(&self, escrow: &Escrow) -> Next {
        match &escrow.phase {
            Phase::Open { .. } if !escrow.is_ready() => self.set_up(escrow),
            Phase::Open { .. } => self.trade(escrow),
            Phase::Disputed { .. } => self.dispute(escrow),
            Phase::Settling(settling) => self.settle(escrow, settling),
            Phase::Cancelled { why } if why.wants_arbiter() => Next::Follow,
            Phase::Expired if self.plan.start == Start::Late => match self.plan.payments.get(self.paid) {
                Some(amount) if escrow.setup.address().is_some() => Next::Pay(*amount),
                Some(_) => Next::Over,
                // Where the buyer was away for too long nobody watches any more.
                None if self.now > escrow.contract.expires_at + SignedDuration::from_hours(48) => Next::Over,
                None => Next::Wait(3),
            },
            Phase::Completed { settled, returns, .. } => self.afterwards(escrow, settled, returns),
            Phase::Cancelled { .. } | Phase::Expired => Next::Over,
        }
    }

    /// The buyer may pay once more, as long as the server is sure to watch still; and that goes back.
    fn afterwards(&self, escrow: &Escrow, settled: &Settling, returns: &Returns) -> Next {
        if let Some(settling) = escrow.settling() {
            return self.settle(escrow, settling);
        }
        let Some(again) = self.plan.again.filter(|_| returns.done.is_empty()) else { return Next::Over };
        if self.paid > self.plan.payments.len() {
            return Next::Wait(3);
        }
        let approved = settled.approvals.last().map(|approval| approval.at);
        let is_recent = approved.is_some_and(|at| self.now < at + SignedDuration::from_hours(12));
        if is_recent { Next::Pay(again) } else { Next::Over }
    }

    fn set_up(&self, escrow: &Escrow) -> Next {
        let other = if self.plan.initiator == Role::Buyer { Role::Seller } else { Role::Buyer };
        let stage = escrow.setup.stage();
        match self.plan.start {
            Start::Deleted if stage != Stage::AwaitingAcceptance => return Next::Delete,
            Start::Declined => return say(other, Act::Decline { reason: "not for me".to_owned() }),
            Start::Ignored if escrow.setup.owes(self.plan.initiator).is_none() => return Next::Wait(36),
            Start::Ignored => return say(self.plan.initiator, Act::Accept {}),
            _ => {}
        }
        if self.declines && stage == Stage::AwaitingAcceptance {
            return say(Role::Arbiter, Act::Decline { reason: "too busy".to_owned() });
        }
        let attempt = escrow.setup.rounds().attempt();
        for turn in 0..3 {
            let role = Role::ALL[(self.first + turn) % 3];
            let act = match escrow.setup.owes(role) {
                None => continue,
                Some(Owed::Acceptance) => Act::Accept {},
                Some(Owed::Round(round)) => {
                    Act::Round { attempt, round, message: people::message(role, round) }
                }
                Some(Owed::Attestation) => {
                    let address = self.wallet.primary();
                    Act::Attest { attempt, address, threshold: 2, total: 3, ready: true }
                }
            };
            return say(role, act);
        }
        Next::Wait(1)
    }

    fn trade(&self, escrow: &Escrow) -> Next {
        let pays = matches!(self.plan.start, Start::Half | Start::Funded);
        if let Some(amount) = self.plan.payments.get(self.paid).filter(|_| pays) {
            return Next::Pay(*amount);
        }
        let status = escrow.status();
        if !status.is_funded() {
            return Next::Wait(6);
        }
        match self.plan.end {
            End::Confirmed if status == Status::Active => say(Role::Seller, Act::Confirm {}),
            End::Confirmed => say(Role::Buyer, Act::Confirm {}),
            End::Refunded => say(Role::Seller, Act::Refund {}),
            End::Settled(outcome) => self.agree(escrow, outcome),
            End::Ruled(_) | End::DisputedAndSettled(_) => {
                let by = if self.first == 0 { Role::Buyer } else { Role::Seller };
                say(by, Act::Dispute { reason: "it has one wheel".to_owned() })
            }
            End::Default => Next::Wait(24),
        }
    }

    fn dispute(&self, escrow: &Escrow) -> Next {
        match self.plan.end {
            End::DisputedAndSettled(outcome) => self.agree(escrow, outcome),
            End::Ruled(outcome) => {
                say(Role::Arbiter, Act::Ruling { outcome, reason: "both were heard".to_owned() })
            }
            _ => unreachable!("nobody disputes where none was planned"),
        }
    }

    fn agree(&self, escrow: &Escrow, outcome: Outcome) -> Next {
        let has_offered = |role| escrow.offers.iter().any(|(offerer, _)| *offerer == role);
        let silent = [Role::Buyer, Role::Seller].into_iter().find(|role| !has_offered(*role));
        silent.map_or(Next::Wait(1), |role| say(role, Act::Settle { outcome }))
    }

    fn settle(&self, escrow: &Escrow, settling: &Settling) -> Next {
        if !escrow.payable() {
            return Next::Wait(2);
        }
        if settling.seen.is_some() {
            return Next::Wait(6);
        }
        if settling.approved {
            return Next::Send;
        }
        let (proposer, cosigner) = settling.signers();
        let order = if self.first == 0 { [proposer, cosigner] } else { [cosigner, proposer] };
        let attempt = settling.attempt;
        let Some(role) = order.into_iter().find(|role| settling.waits_for(*role)) else {
            return Next::Wait(1);
        };
        let sync = |role| settling.sync_of(role);
        match (sync(proposer), sync(cosigner), &settling.proposal) {
            (Some(own), Some(others), None) => say(
                proposer,
                Act::Propose {
                    attempt,
                    built_on: [own, others],
                    txset: "7e".to_owned(),
                    tx_keys: self.payout(escrow).tx_keys.iter().map(|key| Hash32(*key)).collect(),
                    fee: FEE,
                    residue: Piconero::ZERO,
                },
            ),
            (Some(_), Some(_), Some(proposal)) => {
                let (proposal, txid) = (proposal.hash, self.payout(escrow).tx.hash);
                say(cosigner, Act::Approve { attempt, proposal, txid, txset: "7e5e".to_owned() })
            }
            _ => say(role, Act::Sync { attempt, info: "5a".to_owned() }),
        }
    }

    /// The transaction of the present attempt: the same for proposer and cosigner, another for each attempt.
    pub fn payout(&self, escrow: &Escrow) -> Crafted {
        let attempt = u64::from(escrow.settling().unwrap().attempt);
        let shares = escrow.shares().unwrap().unwrap();
        let payees = payout::net(&shares, FEE).unwrap();
        let builder = TxBuilder::new((1 << 40) + self.number * 1_000 + attempt);
        payees
            .iter()
            .fold(builder, |builder, share| builder.pay(share.address, share.amount))
            .build()
            .unwrap()
    }

    /// The buyer's payment that is due now.
    pub fn payment(&self, amount: Piconero) -> Crafted {
        let seed = (1 << 41) + self.number * 1_000 + self.paid as u64;
        TxBuilder::new(seed).pay(self.wallet.primary(), amount).build().unwrap()
    }
}

fn say(role: Role, act: Act) -> Next {
    Next::Say(role, Box::new(act))
}
