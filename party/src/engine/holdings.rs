//! What the participant's own wallet says of an escrow's money, against which the server's word is held.

use std::collections::BTreeSet;

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::escrow::deposits::{Received, Slot, final_at};
use aegis_common::escrow::payout::PayoutError;
use aegis_common::role::Role;
use aegis_common::time::Timestamp;

use super::EngineError;
use super::desk::Held;
use super::run::Engine;
use super::setup::Progress;
use crate::book::Fault;
use crate::wallet::{IncomingTransfer, Session, WalletName};

/// What this participant's own wallet holds for an escrow.
pub(super) struct Holdings {
    pub(super) received: Received,
    /// The outputs that count, by their numbers on the chain.
    pub(super) counted: BTreeSet<u64>,
    /// The same, output by output, with the times of their blocks.
    pub(super) paid: Vec<(Slot, Piconero, Timestamp)>,
}

/// Whether the buyer's part is there.
fn is_funded(contract: &Contract, received: &Received) -> bool {
    received.payment >= contract.amount && received.buyer_deposit >= contract.buyer_deposit
}

impl Engine {
    /// What the own wallet has received and may spend, counted as the contract counts.
    pub(super) async fn holdings(
        &self,
        held: &Held<'_>,
        session: &mut Session<'_>,
    ) -> Result<Holdings, EngineError> {
        session.refresh().await?;
        // The wallet's height is one above the newest block's.
        let tip = session.height().await?.saturating_sub(1);
        let contract = &held.book.contract;
        let counts = |output: &IncomingTransfer| {
            output.unlocked
                && output.amount >= contract.dust_limit
                && tip >= final_at(output.block_height, contract.finality_depth)
        };
        let incoming = session.incoming().await?;
        let paid_at = session.paid_at().await?;
        let (mut received, mut counted, mut paid) = (Received::default(), BTreeSet::new(), Vec::new());
        for output in incoming.iter().filter(|output| counts(output)) {
            let Some(slot) = Slot::of_subaddress(output.subaddr_index.minor) else { continue };
            let sum = match slot {
                Slot::Payment => &mut received.payment,
                Slot::SellerDeposit => &mut received.seller_deposit,
                Slot::BuyerDeposit => &mut received.buyer_deposit,
            };
            *sum = sum.checked_add(output.amount).ok_or(PayoutError::NotPayable)?;
            counted.insert(output.global_index);
            let seconds = paid_at.get(&output.tx_hash).and_then(|at| i64::try_from(*at).ok());
            let at = seconds.and_then(|at| Timestamp::from_second(at).ok());
            // A time that is not known is never early enough.
            paid.push((slot, output.amount, at.unwrap_or(Timestamp::MAX)));
        }
        Ok(Holdings { received, counted, paid })
    }

    /// A seller delivers when the escrow is funded: the own wallet confirms that, once, or the person is warned.
    pub(super) async fn step_funding(&self, held: &mut Held<'_>) -> Result<Progress, EngineError> {
        let book = &held.book;
        if book.role != Role::Seller || book.funded || !held.view.status.is_funded() {
            return Ok(Progress::Nothing);
        }
        let name = WalletName::of(book.contract.escrow_id, book.setup().rounds().attempt());
        let mut session = self.wallet.session(&name).await?;
        let holdings = self.holdings(held, &mut session).await?;
        if !is_funded(&held.book.contract, &holdings.received) {
            let why = "the server calls the escrow funded, but your own wallet does not see the money: do not deliver";
            return Err(Fault::Payout(why.to_owned()).into());
        }
        held.book.funded = true;
        held.save()?;
        Ok(Progress::Did("your own wallet sees the buyer's payment; it is final".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use aegis_common::testing::contract;

    use super::*;

    #[test]
    fn the_buyers_part_is_there_when_both_payment_and_deposit_are() {
        let contract = Contract { buyer_deposit: Piconero::XMR, ..contract() };
        let whole = Received {
            payment: contract.amount,
            buyer_deposit: contract.buyer_deposit,
            seller_deposit: Piconero::ZERO,
        };
        assert!(is_funded(&contract, &whole));
        assert!(!is_funded(&contract, &Received { payment: Piconero(contract.amount.0 - 1), ..whole }));
        assert!(!is_funded(&contract, &Received { buyer_deposit: Piconero::ZERO, ..whole }));
    }
}
