//! What the chain says, applied: deposits and payouts seen, undone, lost and final.

use super::deposits::{Deposit, OutputId, Received, Sighting};
use super::effect::{Effect, Notice};
use super::outcome::{Authority, Outcome};
use super::payout::{self, Payments};
use super::returns::Returns;
use super::settling::{Approval, OnChain, Proposed, Settling};
use super::state::{Escrow, Phase};
use super::transition::{Applied, Rejected, with_settling};
use crate::hash::Hash32;
use crate::time::Timestamp;

pub(super) fn deposit_seen(escrow: &Escrow, seen: &Sighting, now: Timestamp) -> Result<Applied, Rejected> {
    if !escrow.is_ready() {
        return Err(Rejected::WrongState(escrow.status()));
    }
    if is_residue(escrow, seen) {
        return Err(Rejected::AlreadyDone);
    }
    let dust = escrow.contract.dust_limit;
    let room = escrow.deposits.make_room(seen, dust, |old| may_go(escrow, old), |key| escrow.has_spent(key));
    let (deposits, deposit) = room.sight(seen, dust).ok_or(Rejected::AlreadyDone)?;
    let gone = escrow.deposits.all().iter().filter(|old| deposits.get(old.output).is_none());
    let mut effects = reverted(gone.cloned());
    let Deposit { output, slot, amount, height, .. } = deposit;
    let notice = match deposit.refused {
        Some(reason) => Notice::DepositRefused { output, amount, reason },
        None => Notice::DepositSeen { output, slot, amount, height },
    };
    // What is most likely the residue of a payout that has yet to be proven is kept without a word.
    let is_expected = escrow.settling().is_some_and(|settling| settling.approval(output.tx).is_some());
    if !is_expected {
        effects.push(Effect::Notify(notice));
    }
    let next = refund_if_late(Escrow { deposits, ..escrow.clone() }, now);
    Ok((next, effects))
}

/// Whether a deposit may be put aside for a larger one. Nothing that an outcome rests on is; before that, nothing that a funded
/// slot needs.
fn may_go(escrow: &Escrow, deposit: &Deposit) -> bool {
    let rests = match &escrow.phase {
        Phase::Settling(settling) => deposit.is_final || settling.awaited.contains(&deposit.output),
        // What is spent is known by its key; what came late yields to more, until it is being signed for.
        Phase::Completed { .. } => {
            let signed_for = escrow.settling().is_some_and(|settling| settling.spends.contains(&deposit.key));
            signed_for && !escrow.has_spent(deposit.key)
        }
        _ => escrow.deposits.is_needed(deposit, &escrow.contract),
    };
    (deposit.refused.is_some() && !deposit.is_final) || !rests
}

/// What the payout returns to the escrow's own address is no deposit. Only a payout that was proven counts: an approval may
/// name any transaction, also one that pays a deposit.
fn is_residue(escrow: &Escrow, seen: &Sighting) -> bool {
    escrow.has_paid(seen.output.tx)
}

/// Money that reaches an escrow which ended without any goes back: it may have been on its way at that moment.
fn refund_if_late(escrow: Escrow, now: Timestamp) -> Escrow {
    let ended = matches!(escrow.phase, Phase::Expired | Phase::Cancelled { .. });
    if !ended || escrow.deposits.credited().next().is_none() {
        return escrow;
    }
    let refund = Settling::begin(Outcome::Refund, Authority::Expiry, true, now);
    Escrow { phase: Phase::Settling(refund), ..escrow }
}

pub(super) fn deposit_lost(escrow: &Escrow, output: OutputId) -> Result<Applied, Rejected> {
    let (deposits, lost) = escrow.deposits.lose(output).ok_or(Rejected::Unknown)?;
    let mut next = Escrow { deposits, ..escrow.clone() };
    // A refund of an escrow that was never funded has nothing to pay once its last deposit is gone.
    let idle = |settling: &Settling| settling.partial && settling.approvals.is_empty();
    if next.settling().is_some_and(idle) && next.deposits.credited().next().is_none() {
        next.phase = Phase::Expired;
    }
    Ok((next, reverted([lost])))
}

fn reverted(undone: impl IntoIterator<Item = Deposit>) -> Vec<Effect> {
    let credited = undone.into_iter().filter(|deposit| deposit.refused.is_none());
    credited
        .map(|Deposit { output, amount, .. }| Effect::Notify(Notice::DepositReverted { output, amount }))
        .collect()
}

pub(super) fn rolled_back(escrow: &Escrow, to: u64) -> Result<Applied, Rejected> {
    let (deposits, undone) = escrow.deposits.roll_back(to, escrow.contract.finality_depth);
    let mut next = Escrow { deposits, ..escrow.clone() };
    if let Some(settling) = next.settling_mut()
        && let Some(seen) = &mut settling.seen
        && seen.height.is_some_and(|height| height > to)
    {
        seen.height = None;
    }
    if next == *escrow {
        return Err(Rejected::NotDue);
    }
    Ok((next, reverted(undone)))
}

pub(super) fn tip(escrow: &Escrow, height: u64) -> Result<Applied, Rejected> {
    let depth = escrow.contract.finality_depth;
    let (deposits, done) = escrow.deposits.finalize(height, depth);
    let mut next = Escrow { deposits, ..escrow.clone() };
    let mut paid = None;
    if let Some(settling) = escrow.settling()
        && let Some(OnChain { txid, height: Some(mined) }) = settling.seen
        && settling.final_height(depth).is_some_and(|at| height >= at)
    {
        paid = Some(txid);
        if settling.late {
            next.returned(settling, txid, mined);
        } else {
            let returns = Returns::default();
            next.phase = Phase::Completed { settled: settling.clone(), txid, height: mined, returns };
        }
    }
    if done.is_empty() && paid.is_none() {
        return Err(Rejected::NotDue);
    }
    let confirmed = done.into_iter().map(|Deposit { output, slot, amount, .. }| {
        Effect::Notify(Notice::TransactionConfirmed { output, slot, amount })
    });
    // The payout's own end is a change of status.
    let returned = paid.filter(|_| escrow.status().is_over());
    let returned = returned.map(|txid| Effect::Notify(Notice::LatePaymentReturned { txid }));
    Ok((next, confirmed.chain(returned).collect()))
}

pub(super) fn payout_seen(
    escrow: &Escrow,
    txid: Hash32,
    height: Option<u64>,
    payments: &Payments,
    now: Timestamp,
) -> Result<Applied, Rejected> {
    let settling = escrow.settling().ok_or(Rejected::WrongState(escrow.status()))?;
    let pays_right = |received: &Received| {
        let shares = escrow.divided(settling, received);
        shares.is_ok_and(|shares| payout::check(&escrow.contract, &shares, payments).is_ok())
    };
    let mut approvals = settling.approvals.clone();
    if settling.approval(txid).is_none() {
        // A cosigner that sent a proposed transaction without approving it has paid all the same.
        let sent = settling.proposals.iter().rev().find(|proposed| pays_right(&proposed.divides.received));
        let Proposed { hash: proposal, divides, .. } = sent.ok_or(Rejected::Unknown)?;
        let (proposal, received) = (*proposal, divides.received);
        approvals.push(Approval { txid, proposal, at: now, received, void: false });
    }
    let mut of_this = approvals.iter().filter(|approval| approval.txid == txid);
    let Some(right) = of_this.find(|approval| pays_right(&approval.received)) else {
        let next = settling.mismatched(txid, now).ok_or(Rejected::AlreadyDone)?;
        return Ok((with_settling(escrow, next), vec![Effect::Notify(Notice::PayoutMismatch { txid })]));
    };
    let mut proposals = settling.proposals.iter();
    let built = proposals.find(|proposed| proposed.hash == right.proposal);
    let paid = built.map(|proposed| proposed.divides.clone());
    let seen = OnChain { txid, height };
    let news = match settling.seen {
        None => true,
        // The pool says nothing new about what is in a block, and a conflicting one can't be beside it.
        Some(before) => before != seen && height.is_some(),
    };
    if !news {
        return Err(Rejected::AlreadyDone);
    }
    let was_expected = settling.approval(txid).is_some();
    let settling = Settling { seen: Some(seen), paid, approved: true, approvals, ..settling.clone() };
    // Its residue may have been taken for a deposit before it was known.
    let (deposits, residue) = escrow.deposits.without(txid);
    let next = with_settling(&Escrow { deposits, ..escrow.clone() }, settling);
    let mut effects = if was_expected { Vec::new() } else { reverted(residue) };
    effects.push(Effect::Notify(Notice::PayoutSeen { txid, height }));
    Ok((next, effects))
}

pub(super) fn payout_lost(escrow: &Escrow, txid: Hash32, now: Timestamp) -> Result<Applied, Rejected> {
    let lost = escrow.settling().and_then(|settling| settling.lose(txid, now));
    let next = with_settling(escrow, lost.ok_or(Rejected::Unknown)?);
    Ok((next, vec![Effect::Notify(Notice::PayoutLost { txid })]))
}
