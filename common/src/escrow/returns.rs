//! What comes after the payout and goes back to who paid it: a payment that was on its way when the outcome stood, one that came
//! twice, one that came too late. It is signed as a payout is, by any two of the three, and nobody's word is needed: there is
//! nothing left to decide.

use serde::{Deserialize, Serialize};

use super::contract::Contract;
use super::deposits::{Deposit, Received, Slot};
use super::outcome::{Authority, Outcome};
use super::settling::{Paid, Settling};
use super::state::{Escrow, Phase};
use crate::amount::Piconero;
use crate::hash::{Hash32, Key32};
use crate::role::Role;
use crate::time::Timestamp;

/// Returns to one trader. Each takes statements of which nobody has many ([`super::statement::bounds::PER_AUTHOR`]); what comes
/// after the last is recorded and stays.
pub const MAX_RETURNS: usize = 8;

/// What went back after the payout, and what is going back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Returns {
    /// The return that is being signed and paid.
    pub under_way: Option<Box<Settling>>,
    /// Those that are final.
    pub done: Vec<Returned>,
    /// The last signing attempt of those that are over.
    pub attempts: u32,
}

/// A return that is final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Returned {
    /// Its transaction.
    pub txid: Hash32,
    /// The block.
    pub height: u64,
    /// What it gave back, before the network fee, and of which outputs.
    #[serde(flatten)]
    pub paid: Paid,
}

impl Returned {
    /// Whether some of it went to this trader.
    fn went_to(&self, role: Role, contract: &Contract) -> bool {
        let paid = Slot::ALL.into_iter().filter(|slot| self.paid.received.of_slot(*slot) > Piconero::ZERO);
        paid.map(|slot| slot.payer(contract)).any(|payer| payer == role)
    }
}

impl Escrow {
    /// Whether the payout, or a return, has spent the output of this key.
    pub(super) fn has_spent(&self, key: Key32) -> bool {
        let Phase::Completed { settled, returns, .. } = &self.phase else { return false };
        let returned = returns.done.iter().map(|returned| &returned.paid);
        settled.paid.iter().chain(returned).any(|paid| paid.spends.contains(&key))
    }

    /// The credited outputs that may be divided: before the payout all, after it those that came late, as long as who paid them
    /// has not been given back too often.
    pub(super) fn undivided(&self) -> impl Iterator<Item = &Deposit> {
        let done: &[Returned] = match &self.phase {
            Phase::Completed { returns, .. } => &returns.done,
            _ => &[],
        };
        let had = |role| {
            done.iter().filter(|returned| returned.went_to(role, &self.contract)).count() >= MAX_RETURNS
        };
        let (buyer, seller) = (had(Role::Buyer), had(Role::Seller));
        let is_out = move |slot: Slot| match slot.payer(&self.contract) {
            Role::Seller => seller,
            Role::Buyer | Role::Arbiter => buyer,
        };
        self.deposits.credited().filter(move |deposit| !self.has_spent(deposit.key) && !is_out(deposit.slot))
    }

    /// Of what may be divided now, what is final: the outputs' one-time keys.
    pub fn final_keys(&self) -> Vec<Key32> {
        self.undivided().filter(|deposit| deposit.is_final).map(|deposit| deposit.key).collect()
    }

    /// Of what may be divided now, what is final, by slot; `None` where it can't be summed up. Before the payout that is all that
    /// came, after it what came late.
    pub fn received(&self) -> Option<Received> {
        Received::of(|| self.undivided().filter(|deposit| deposit.is_final))
    }

    /// Whether what came late is worth a transaction: more than the fee may be, so that something is left to give back.
    pub(super) fn is_worth_returning(&self) -> bool {
        let total = self.received().and_then(|received| received.total());
        total.is_some_and(|total| total > self.contract.max_network_fee)
    }

    /// Begins to give back what came late, where there is enough of it and nothing else is on its way back; gives up where the
    /// chain took it back.
    pub(super) fn return_late(&mut self, now: Timestamp) {
        let is_due = self.is_worth_returning();
        let Phase::Completed { settled, returns, .. } = &mut self.phase else { return };
        match &returns.under_way {
            Some(idle) if !is_due && idle.approvals.is_empty() && idle.proposals.is_empty() => {
                returns.attempts = idle.attempt;
                returns.under_way = None;
            }
            // What an escrow paid that was completed before returns were known is not known either.
            None if is_due && settled.paid.as_ref().is_some_and(|paid| !paid.spends.is_empty()) => {
                // Nobody speaks for it: the arbiter stands in first, as at expiry, and the numbers of attempts go on.
                let mut settling = Settling::begin(Outcome::Refund, Authority::Expiry, false, now);
                settling.late = true;
                settling.attempt = settled.attempt.max(returns.attempts).saturating_add(1);
                returns.under_way = Some(Box::new(settling));
            }
            _ => {}
        }
    }

    /// Notes that a return is final.
    pub(super) fn returned(&mut self, settling: &Settling, txid: Hash32, height: u64) {
        let Phase::Completed { returns, .. } = &mut self.phase else { return };
        let paid = settling.paid.clone().unwrap_or_default();
        returns.done.push(Returned { txid, height, paid });
        returns.attempts = settling.attempt;
        returns.under_way = None;
    }

    /// Whether a transaction is the payout, or a return, as far as that is proven.
    pub(super) fn has_paid(&self, txid: Hash32) -> bool {
        let seen = self.settling().and_then(|settling| settling.seen);
        seen.is_some_and(|seen| seen.txid == txid)
            || match &self.phase {
                Phase::Completed { txid: paid, returns, .. } => {
                    *paid == txid || returns.done.iter().any(|returned| returned.txid == txid)
                }
                _ => false,
            }
    }
}
