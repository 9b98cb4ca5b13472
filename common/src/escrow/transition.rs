//! The one door: `apply(state, event, now)` gives the next state and its effects, or says why not. Pure; every rule of
//! the lifecycle is decided here and in the types it rests on, and nowhere else. A refused event changes nothing.

use super::deposits::{Deposit, Sighting};
use super::effect::{Effect, Notice};
use super::event::Event;
use super::outcome::{Authority, Outcome, at_expiry};
use super::payout::{self, Payments, PayoutError};
use super::settling::{OnChain, Settling, SettlingError};
use super::setup::{SetupError, Stage};
use super::state::{Escrow, PaidIn, Phase, Status, WARNINGS};
use super::statement::{Act, Check, SignedStatement, StatementError, StatementRef};
use crate::amount::Piconero;
use crate::code::Code;
use crate::hash::Hash32;
use crate::ids::UserId;
use crate::role::Role;
use crate::time::Timestamp;

/// An event is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The statement is not sound.
    #[error("{statement} {error}")]
    Statement {
        /// Which.
        statement: StatementRef,
        /// Why.
        error: StatementError,
    },
    /// The statement stands in its author's chain already. Not a failure: the sender is told that it is stored.
    #[error("the statement is known already")]
    Known(Hash32),
    /// The setup refuses it.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The settling refuses it.
    #[error(transparent)]
    Settling(#[from] SettlingError),
    /// The payout is wrong.
    #[error(transparent)]
    Payout(#[from] PayoutError),
    /// The role may not do that.
    #[error("the {0} may not do that here")]
    WrongParty(Role),
    /// The status does not allow it.
    #[error("that is not allowed while the escrow is {0}")]
    WrongState(Status),
    /// The event repeats what is known.
    #[error("that is known already")]
    AlreadyDone,
    /// No deadline has passed and nothing became final.
    #[error("nothing is due")]
    NotDue,
    /// Money has been seen.
    #[error("money has been seen on its way")]
    FundsSeen,
    /// The output or transaction is not known, or not in a state where that can happen to it.
    #[error("no such deposit or payout is waiting")]
    Unknown,
    /// Only the initiator may delete.
    #[error("only the initiator may delete the escrow")]
    NotInitiator,
}

impl Rejected {
    /// The code shown to clients.
    pub fn code(&self) -> Code {
        match self {
            Self::Statement { error, .. } => error.code(),
            Self::Setup(error) => error.code(),
            Self::Settling(error) => error.code(),
            Self::Payout(error) => error.code(),
            Self::WrongParty(_) => Code::WrongParty,
            Self::WrongState(_) => Code::WrongState,
            Self::Known(_) | Self::AlreadyDone => Code::AlreadyDone,
            Self::NotDue => Code::NotDue,
            Self::FundsSeen => Code::FundsSeen,
            Self::Unknown => Code::UnknownDeposit,
            Self::NotInitiator => Code::Forbidden,
        }
    }
}

/// What an accepted event leads to.
pub type Applied = (Escrow, Vec<Effect>);

/// Applies an event. `now` is journalled with it, so a replay decides the same.
pub fn apply(escrow: &Escrow, event: &Event, now: Timestamp) -> Result<Applied, Rejected> {
    let (next, mut effects) = match event {
        Event::Statement { signed } => statement(escrow, signed, now)?,
        Event::DepositSeen { seen } => deposit_seen(escrow, seen)?,
        Event::DepositLost { output } => {
            let (deposits, lost) = escrow.deposits.lose(*output).ok_or(Rejected::Unknown)?;
            let next = expire_if_nothing_is_left(Escrow { deposits, ..escrow.clone() });
            (next, reverted([lost]))
        }
        Event::RolledBack { to } => rolled_back(escrow, *to)?,
        Event::Tip { height } => tip(escrow, *height, now)?,
        Event::PayoutSeen { txid, height, payments } => payout_seen(escrow, *txid, *height, payments)?,
        Event::PayoutLost { txid } => {
            let lost = escrow.settling().and_then(|settling| settling.lose(*txid, now));
            let next = with_settling(escrow, lost.ok_or(Rejected::Unknown)?);
            (next, vec![Effect::Notify(Notice::PayoutLost { txid: *txid })])
        }
        Event::Timer => timer(escrow, now)?,
        Event::Delete { by } => (delete(escrow, *by)?, Vec::new()),
    };
    effects.extend(consequences(escrow, &next));
    Ok((next, effects))
}

/// Notices that follow from the difference of two states, whatever led to it.
fn consequences(before: &Escrow, after: &Escrow) -> Vec<Effect> {
    let mut effects = Vec::new();
    let (from, to) = (before.status(), after.status());
    if from != to {
        effects.push(Effect::Notify(Notice::EscrowStatusChanged { from, to }));
    }
    if let Some(settling) = after.settling() {
        let asked_before = before.settling().map(|before| before.attempt);
        let asks = after.payable() && (asked_before != Some(settling.attempt) || !before.payable());
        if asks {
            let (proposer, cosigner) = settling.signers();
            let attempt = settling.attempt;
            effects.push(Effect::Notify(Notice::SignersAsked { attempt, proposer, cosigner }));
        }
    }
    effects
}

fn with_settling(escrow: &Escrow, settling: Settling) -> Escrow {
    Escrow { phase: Phase::Settling(settling), ..escrow.clone() }
}

fn statement(escrow: &Escrow, signed: &SignedStatement, now: Timestamp) -> Result<Applied, Rejected> {
    let said = &signed.statement;
    let check = escrow
        .chains
        .check(&escrow.contract, escrow.contract_hash, signed)
        .map_err(|error| Rejected::Statement { statement: said.into(), error })?;
    let verified = match check {
        Check::New(verified) => verified,
        Check::Known(hash) => return Err(Rejected::Known(hash)),
    };
    let (mut next, mut effects) = act(escrow, said.role, &said.act, verified.hash(), now)?;
    next.chains.push(&verified);
    let (role, seq, kind) = (said.role, said.seq, said.act.kind().to_owned());
    effects.insert(0, Effect::Notify(Notice::StatementPosted { role, seq, kind, hash: verified.hash() }));
    Ok((next, effects))
}

fn act(escrow: &Escrow, role: Role, act: &Act, hash: Hash32, now: Timestamp) -> Result<Applied, Rejected> {
    let status = escrow.status();
    let open = |next: Phase| (Escrow { phase: next, ..escrow.clone() }, Vec::new());
    if let Some(setup) = escrow.setup.take(&escrow.contract, role, act) {
        if status != Status::PendingFunding {
            return Err(Rejected::WrongState(status));
        }
        return Ok(setup_taken(escrow, Escrow { setup: setup?, ..escrow.clone() }));
    }
    if matches!(act, Act::Sync { .. } | Act::Propose { .. } | Act::Approve { .. }) {
        let settling = escrow.settling().ok_or(Rejected::WrongState(status))?;
        if let Act::Propose { fee, residue, .. } = act {
            check_cost(escrow, *fee, *residue)?;
        }
        let taken = settling.take(role, act, hash, escrow.payable(), now);
        let next = taken.ok_or(Rejected::WrongState(status))??;
        return Ok((with_settling(escrow, next), Vec::new()));
    }
    let settle = |outcome, authority| Phase::Settling(Settling::begin(outcome, authority, false, now));
    match (act, role) {
        (Act::Confirm {}, Role::Seller) if status == Status::Active => {
            Ok(open(Phase::Open { seller_confirmed: true }))
        }
        (Act::Confirm {}, Role::Buyer) if matches!(status, Status::Active | Status::SellerConfirmedItem) => {
            Ok(open(settle(Outcome::Release, Authority::Buyer)))
        }
        (Act::Refund {}, Role::Seller) if status.is_funded() => {
            Ok(open(settle(Outcome::Refund, Authority::Seller)))
        }
        (Act::Dispute { .. }, Role::Buyer | Role::Seller) if status.is_funded() => {
            Ok(open(Phase::Disputed { by: role, statement: hash, since: now }))
        }
        (Act::Ruling { outcome, .. }, Role::Arbiter) if status == Status::Disputed => {
            outcome.parts(escrow.contract.amount).ok_or(PayoutError::BadSplit)?;
            Ok(open(settle(*outcome, Authority::Ruling)))
        }
        (Act::Settle { outcome }, Role::Buyer | Role::Seller) if may_settle(status) => {
            Ok((offer(escrow, role, *outcome, now)?, Vec::new()))
        }
        (Act::Cancel {}, Role::Buyer | Role::Seller) if may_settle(status) => {
            Ok((offer(escrow, role, Outcome::Refund, now)?, Vec::new()))
        }
        (Act::Ruling { .. }, Role::Buyer | Role::Seller)
        | (Act::Refund {}, Role::Buyer | Role::Arbiter)
        | (Act::Confirm {} | Act::Dispute { .. } | Act::Settle { .. } | Act::Cancel {}, Role::Arbiter) => {
            Err(Rejected::WrongParty(role))
        }
        _ => Err(Rejected::WrongState(status)),
    }
}

fn may_settle(status: Status) -> bool {
    status.is_funded() || status == Status::Disputed
}

fn setup_taken(before: &Escrow, next: Escrow) -> Applied {
    let effects = match (before.setup.stage(), next.setup.stage()) {
        (Stage::Attesting, Stage::Stopped) => {
            vec![Effect::Notify(Notice::AddressMismatch { disagreeing: next.setup.disagreeing() })]
        }
        (Stage::Attesting, Stage::Ready) => next.setup.address().map_or_else(Vec::new, |address| {
            vec![Effect::Watch(address), Effect::Notify(Notice::AddressReady { address })]
        }),
        _ => Vec::new(),
    };
    (next, effects)
}

/// A proposal whose cost is out of band, or which nothing would be left to pay, is refused at once.
fn check_cost(escrow: &Escrow, fee: Piconero, residue: Piconero) -> Result<(), Rejected> {
    let contract = &escrow.contract;
    if fee > contract.max_network_fee || residue > contract.max_residue {
        return Err(PayoutError::FeeOutOfBand.into());
    }
    let shares = escrow.shares().ok_or(PayoutError::NotPayable)??;
    let cost = fee.checked_add(residue).ok_or(PayoutError::FeeOutOfBand)?;
    payout::net(&shares, cost)?;
    Ok(())
}

fn offer(escrow: &Escrow, role: Role, outcome: Outcome, now: Timestamp) -> Result<Escrow, Rejected> {
    outcome.parts(escrow.contract.amount).ok_or(PayoutError::BadSplit)?;
    let mut next = escrow.clone();
    next.offers.retain(|(offerer, _)| *offerer != role);
    if next.offers.iter().any(|(_, offered)| *offered == outcome) {
        next.phase = Phase::Settling(Settling::begin(outcome, Authority::Mutual, false, now));
    }
    next.offers.push((role, outcome));
    Ok(next)
}

fn deposit_seen(escrow: &Escrow, seen: &Sighting) -> Result<Applied, Rejected> {
    if !escrow.is_ready() {
        return Err(Rejected::WrongState(escrow.status()));
    }
    let sighted = escrow.deposits.sight(seen, escrow.contract.dust_limit);
    let (deposits, deposit) = sighted.ok_or(Rejected::AlreadyDone)?;
    let Deposit { output, slot, amount, height, .. } = deposit;
    let notice = match deposit.refused {
        Some(reason) => Notice::DepositRefused { output, amount, reason },
        None => Notice::DepositSeen { output, slot, amount, height },
    };
    Ok((Escrow { deposits, ..escrow.clone() }, vec![Effect::Notify(notice)]))
}

fn reverted(undone: impl IntoIterator<Item = Deposit>) -> Vec<Effect> {
    let credited = undone.into_iter().filter(|deposit| deposit.refused.is_none());
    credited
        .map(|Deposit { output, amount, .. }| Effect::Notify(Notice::DepositReverted { output, amount }))
        .collect()
}

fn rolled_back(escrow: &Escrow, to: u64) -> Result<Applied, Rejected> {
    let (deposits, undone) = escrow.deposits.roll_back(to);
    let mut next = Escrow { deposits, ..escrow.clone() };
    let mut payout_undone = false;
    if let Phase::Settling(settling) = &mut next.phase
        && let Some(seen) = &mut settling.seen
        && seen.height.is_some_and(|height| height > to)
    {
        seen.height = None;
        payout_undone = true;
    }
    if undone.is_empty() && !payout_undone {
        return Err(Rejected::NotDue);
    }
    Ok((next, reverted(undone)))
}

/// A refund of an escrow that was never funded has nothing to pay once its last deposit is gone.
fn expire_if_nothing_is_left(escrow: Escrow) -> Escrow {
    match &escrow.phase {
        Phase::Settling(settling) if settling.partial && escrow.deposits.credited().next().is_none() => {
            Escrow { phase: Phase::Expired, ..escrow }
        }
        _ => escrow,
    }
}

fn tip(escrow: &Escrow, height: u64, now: Timestamp) -> Result<Applied, Rejected> {
    let depth = escrow.contract.finality_depth;
    let (deposits, done) = escrow.deposits.finalize(height, depth);
    let mut next = Escrow { deposits, ..escrow.clone() };
    // The signers' time runs from the moment at which they can sign.
    if next.payable()
        && !escrow.payable()
        && let Phase::Settling(settling) = &mut next.phase
    {
        settling.attempt_since = now;
    }
    let mut completed = false;
    if let Phase::Settling(settling) = &escrow.phase
        && let Some(OnChain { txid, height: Some(mined) }) = settling.seen
        && settling.final_height(depth).is_some_and(|at| height >= at)
    {
        next.phase = Phase::Completed { settled: settling.clone(), txid, height: mined };
        completed = true;
    }
    if done.is_empty() && !completed {
        return Err(Rejected::NotDue);
    }
    let confirmed = done.into_iter().map(|Deposit { output, slot, amount, .. }| {
        Effect::Notify(Notice::TransactionConfirmed { output, slot, amount })
    });
    Ok((next, confirmed.collect()))
}

fn payout_seen(
    escrow: &Escrow,
    txid: Hash32,
    height: Option<u64>,
    payments: &Payments,
) -> Result<Applied, Rejected> {
    let settling = escrow.settling().ok_or(Rejected::WrongState(escrow.status()))?;
    settling.approval(txid).ok_or(Rejected::Unknown)?;
    let shares = escrow.shares().ok_or(PayoutError::NotPayable)??;
    let mut next = settling.clone();
    if payout::check(&escrow.contract, &shares, payments).is_err() {
        if settling.mismatch == Some(txid) {
            return Err(Rejected::AlreadyDone);
        }
        next.mismatch = Some(txid);
        return Ok((with_settling(escrow, next), vec![Effect::Notify(Notice::PayoutMismatch { txid })]));
    }
    let seen = OnChain { txid, height };
    let news = match settling.seen {
        None => true,
        // The pool says nothing new about what is in a block, and a conflicting one can't be beside it.
        Some(before) => before != seen && height.is_some(),
    };
    if !news {
        return Err(Rejected::AlreadyDone);
    }
    next.seen = Some(seen);
    next.approved = true;
    Ok((with_settling(escrow, next), vec![Effect::Notify(Notice::PayoutSeen { txid, height })]))
}

fn timer(escrow: &Escrow, now: Timestamp) -> Result<Applied, Rejected> {
    if escrow.wake_at().is_none_or(|due| now < due) {
        return Err(Rejected::NotDue);
    }
    match &escrow.phase {
        Phase::Open { .. } if now >= escrow.contract.expires_at => Ok((expire(escrow, now), Vec::new())),
        Phase::Open { .. } => {
            let mut next = escrow.clone();
            let left = escrow.contract.expires_at.duration_since(now);
            next.warned = WARNINGS.iter().filter(|before| left <= **before).count();
            let expires_at = escrow.contract.expires_at;
            Ok((next, vec![Effect::Notify(Notice::ExpiryWarning { expires_at })]))
        }
        Phase::Settling(settling) => {
            Ok((with_settling(escrow, settling.rotate(escrow.payable(), now)), Vec::new()))
        }
        Phase::Disputed { .. } | Phase::Completed { .. } | Phase::Expired | Phase::Cancelled => {
            Err(Rejected::NotDue)
        }
    }
}

fn expire(escrow: &Escrow, now: Timestamp) -> Escrow {
    let funded = escrow.paid_in() != PaidIn::Nothing;
    let phase = if escrow.deposits.credited().next().is_none() {
        Phase::Expired
    } else {
        let outcome = at_expiry(&escrow.contract, funded);
        Phase::Settling(Settling::begin(outcome, Authority::Expiry, !funded, now))
    };
    Escrow { phase, ..escrow.clone() }
}

fn delete(escrow: &Escrow, by: UserId) -> Result<Escrow, Rejected> {
    if by != escrow.initiator {
        return Err(Rejected::NotInitiator);
    }
    match escrow.status() {
        Status::PendingFunding if escrow.deposits.all().is_empty() => {
            Ok(Escrow { phase: Phase::Cancelled, ..escrow.clone() })
        }
        Status::PendingFunding => Err(Rejected::FundsSeen),
        other => Err(Rejected::WrongState(other)),
    }
}
