//! The one door: `apply(state, event, now)` gives the next state and its effects, or says why not. Pure; every rule of
//! the lifecycle is decided here and in the types it rests on, and nowhere else. A refused event changes nothing.

use super::deadline::Due;
use super::deposits::{Deposit, MAX_OUTPUTS};
use super::effect::{Effect, Notice};
use super::event::Event;
use super::onchain;
use super::outcome::{Authority, Outcome, at_expiry};
use super::payout::{self, PayoutError};
use super::settling::{Settling, SettlingError};
use super::setup::{SetupError, Stage};
use super::state::{CalledOff, Escrow, PaidIn, Phase, Status};
use super::statement::{Act, Check, SignedStatement, StatementError, StatementRef, bounds};
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
    let (mut next, mut effects) = match event {
        Event::Statement { signed } => statement(escrow, signed, now)?,
        Event::DepositSeen { seen } => onchain::deposit_seen(escrow, seen, now)?,
        Event::DepositLost { output } => onchain::deposit_lost(escrow, *output)?,
        Event::RolledBack { to } => onchain::rolled_back(escrow, *to)?,
        Event::Tip { height } => onchain::tip(escrow, *height)?,
        Event::PayoutSeen { txid, height, payments } => {
            onchain::payout_seen(escrow, *txid, *height, payments, now)?
        }
        Event::PayoutLost { txid } => onchain::payout_lost(escrow, *txid, now)?,
        Event::Timer { due } => timer(escrow, *due, now)?,
        Event::Outage { seconds } => (escrow.put_off(*seconds, now).ok_or(Rejected::NotDue)?, Vec::new()),
        Event::Delete { by } => (delete(escrow, *by)?, Vec::new()),
    };
    next.return_late(now);
    rebase(escrow, &mut next, now);
    next.await_anew(escrow.asked(), now);
    effects.extend(consequences(escrow, &next));
    Ok((next, effects))
}

/// Keeps a settlement in step with the deposits it rests on, whatever event moved them.
fn rebase(before: &Escrow, next: &mut Escrow, now: Timestamp) {
    let Some(settling) = next.settling() else { return };
    let mut settling = settling.clone();
    let begins = before.settling().is_none();
    // What was final, and what took the place of something that would be missed: not of what is so small that anybody could
    // hold up the payout by copying it again and again.
    let was_final = |output| before.deposits.get(output).is_some_and(|deposit| deposit.is_final);
    let missed = |known: &Deposit| {
        (known.is_final || settling.awaited.contains(&known.output))
            && (known.amount > before.contract.max_residue
                || before.deposits.is_needed(known, &before.contract))
    };
    let replaces = |deposit: &Deposit| {
        before.deposits.all().iter().any(|known| known.key == deposit.key && missed(known))
    };
    // What goes back waits for nothing that has yet to come: that goes back later.
    let begins = begins && !settling.late;
    let pending = next.undivided().filter(|deposit| !deposit.is_final);
    let pending = pending.filter(|deposit| begins || was_final(deposit.output) || replaces(deposit));
    let awaited: Vec<_> = pending.map(|deposit| deposit.output).collect();
    let mut finals = before.undivided().filter(|deposit| deposit.is_final);
    let shaken = finals.any(|known| {
        next.deposits.get(known.output).is_none_or(|now| !now.is_final || now.refused.is_some())
    });
    settling.awaited.extend(awaited);
    settling.awaited.sort_unstable();
    settling.awaited.dedup();
    if settling.awaited.len() > MAX_OUTPUTS {
        settling.awaited.retain(|output| next.deposits.get(*output).is_some());
    }
    if shaken && let Some(anew) = settling.undermined() {
        settling = anew;
    }
    *next = with_settling(next, settling);
    // The signers' time runs from the moment at which they can sign.
    if next.payable()
        && !before.payable()
        && let Some(settling) = next.settling_mut()
    {
        settling.begin_turn(now);
    }
}

/// Notices that follow from the difference of two states, whatever led to it.
fn consequences(before: &Escrow, after: &Escrow) -> Vec<Effect> {
    let mut effects = Vec::new();
    let (from, to) = (before.status(), after.status());
    if from != to {
        effects.push(Effect::Notify(Notice::EscrowStatusChanged { from, to }));
    }
    if let (Phase::Cancelled { why }, true) = (&after.phase, from != to) {
        effects.push(Effect::Notify(Notice::EscrowCalledOff { why: *why }));
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

pub(super) fn with_settling(escrow: &Escrow, settling: Settling) -> Escrow {
    let mut next = escrow.clone();
    match &mut next.phase {
        Phase::Completed { returns, .. } => returns.under_way = Some(Box::new(settling)),
        phase => *phase = Phase::Settling(settling),
    }
    next
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
    let is_long = escrow.chains.of(said.role).hashes.len() >= bounds::WITH_EVIDENCE;
    if is_long && matches!(said.act, Act::Evidence { .. }) {
        return Err(Rejected::Statement { statement: said.into(), error: StatementError::TooMany });
    }
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
        let mut next = taken.ok_or(Rejected::WrongState(status))??;
        if next.basis.is_none() && !next.syncs.is_empty() {
            next.basis = escrow.received();
            next.spends = escrow.final_keys();
        }
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
            let phase = Phase::Disputed { by: role, statement: hash, since: now };
            Ok((Escrow { phase, disputed_by: Some(role), ..escrow.clone() }, Vec::new()))
        }
        (Act::Ruling { outcome, .. }, Role::Arbiter) if status == Status::Disputed => {
            outcome.parts(escrow.contract.amount).ok_or(PayoutError::BadSplit)?;
            Ok(open(settle(*outcome, Authority::Ruling)))
        }
        (Act::Evidence { .. }, _) if is_undecided(status) => Ok((escrow.clone(), Vec::new())),
        (Act::Settle { outcome }, Role::Buyer | Role::Seller) if is_undecided(status) => {
            Ok((offer(escrow, role, *outcome, now)?, Vec::new()))
        }
        (Act::Cancel {}, Role::Buyer | Role::Seller) if is_undecided(status) => {
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

/// The money is there, and no outcome stands.
fn is_undecided(status: Status) -> bool {
    status.is_funded() || status == Status::Disputed
}

fn setup_taken(before: &Escrow, mut next: Escrow) -> Applied {
    if let Some(by) = next.setup.declined() {
        next.phase = Phase::Cancelled { why: CalledOff::Declined { by } };
    }
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

fn timer(escrow: &Escrow, told: Option<Due>, now: Timestamp) -> Result<Applied, Rejected> {
    let due = escrow.due(now).filter(|due| told.is_none_or(|told| told == *due)).ok_or(Rejected::NotDue)?;
    match due {
        Due::Expiry => Ok((expire(escrow, now), Vec::new())),
        Due::Warning => {
            let expires_at = escrow.contract.expires_at;
            let warned = escrow.patience.warnings_past(expires_at.duration_since(now));
            let next = Escrow { warned, ..escrow.clone() };
            Ok((next, vec![Effect::Notify(Notice::ExpiryWarning { expires_at })]))
        }
        Due::Answer => Ok(overdue(escrow, now)),
        Due::Turn => {
            let settling = escrow.settling().ok_or(Rejected::NotDue)?;
            Ok((with_settling(escrow, settling.rotate(now)), Vec::new()))
        }
    }
}

/// Nobody is forced to trade, so a trader's silence is only told. Where the arbiter alone is waited for, the escrow can't go on.
fn overdue(escrow: &Escrow, now: Timestamp) -> Applied {
    let waiting_for = escrow.waiting_for();
    let since = escrow.awaited.map_or(now, |awaited| awaited.since);
    let mut next = escrow.lapsed(now);
    if matches!(escrow.phase, Phase::Open { .. }) && waiting_for == [Role::Arbiter] {
        next.phase = Phase::Cancelled { why: CalledOff::ArbiterSilent };
    }
    (next, vec![Effect::Notify(Notice::AnswerOverdue { waiting_for, since })])
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
            Ok(Escrow { phase: Phase::Cancelled { why: CalledOff::Deleted }, ..escrow.clone() })
        }
        Status::PendingFunding => Err(Rejected::FundsSeen),
        other => Err(Rejected::WrongState(other)),
    }
}
