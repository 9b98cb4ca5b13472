//! From a request to a contract that may be created: keys and addresses come from the accounts, terms from the request
//! and the configuration, the arbiter by name or by least work.

use std::sync::Arc;

use aegis_common::address::{Address, Network};
use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::{Contract, ContractError, Party, PlatformFee};
use aegis_common::hash::Hash32;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::role::Role;
use aegis_common::time::Clock;
use aegis_common::username::is_username;
use aegis_common::wire::escrow::CreateEscrowRequest;

use crate::store::{Role as AccountRole, Store, StoreError, UserRow};

/// Statuses that are no work for an arbiter any more.
const CLOSED: &[&str] =
    &["COMPLETED_RELEASED", "COMPLETED_REFUNDED", "COMPLETED_SPLIT", "EXPIRED", "CANCELLED"];
/// Arbiters read at once.
const PAGE: usize = 500;

/// The operator's fee and where it goes.
#[derive(Clone)]
pub struct PlatformTerms {
    /// Basis points.
    pub bps: u16,
    /// Where it is paid.
    pub address: Address,
}

/// Terms that the operator sets for new contracts.
#[derive(Clone)]
pub struct Terms {
    /// The chain.
    pub network: Network,
    /// Confirmations where the request names none.
    pub finality_depth: u32,
    /// Seconds until a silent signer is replaced where the request names none.
    pub cosign_seconds: u32,
    /// The arbiter's fee in basis points.
    pub arbiter_fee_bps: u16,
    /// The operator's fee, if any.
    pub platform: Option<PlatformTerms>,
    /// Smallest credited deposit.
    pub dust_limit: Piconero,
    /// Highest network fee; a small escrow gets half its amount.
    pub max_network_fee: Piconero,
    /// Most that a payout leaves behind; never more than the network fee.
    pub max_residue: Piconero,
}

/// No contract can be made of a request.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The creator must be buyer or seller.
    #[error("role: must be buyer or seller")]
    NotATrader,
    /// No such account, or not one for that part.
    #[error("{field}: there is no such account, or it cannot take that part")]
    UnknownUser {
        /// The field's wire name.
        field: &'static str,
    },
    /// Nobody is left to arbitrate.
    #[error("no arbiter is available for these parties")]
    NoArbiter,
    /// The terms are not allowed.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored account is impossible.
    #[error("account {0} is stored inconsistently")]
    Inconsistent(UserId),
}

/// Drafts contracts; clones are handles on the same.
#[derive(Clone)]
pub struct Drafts {
    store: Store,
    clock: Arc<dyn Clock>,
    terms: Arc<Terms>,
}

impl Drafts {
    /// With the operator's terms.
    pub fn new(store: Store, clock: Arc<dyn Clock>, terms: Terms) -> Self {
        Self { store, clock, terms: Arc::new(terms) }
    }

    /// A checked contract for an escrow of this new id.
    pub async fn draft(
        &self,
        escrow_id: EscrowId,
        creator: UserId,
        request: CreateEscrowRequest,
    ) -> Result<Contract, DraftError> {
        if !request.role.is_trader() {
            return Err(DraftError::NotATrader);
        }
        let unknown = |field| DraftError::UnknownUser { field };
        let creator = self.store.user(creator).await?.ok_or(unknown("creator"))?;
        let other = self.named(&request.counterparty).await?.filter(|row| row.id != creator.id);
        let other = other.ok_or(unknown("counterparty"))?;
        let traders = [creator.id, other.id];
        let arbiter = match &request.arbiter {
            Some(name) => {
                let row = self.named(name).await?;
                let fit = row.filter(|row| row.role == AccountRole::Arbiter && !traders.contains(&row.id));
                fit.ok_or(unknown("arbiter"))?
            }
            None => self.assign(traders).await?.ok_or(DraftError::NoArbiter)?,
        };
        let (buyer, seller) = match request.role {
            Role::Buyer => (creator, other),
            Role::Seller | Role::Arbiter => (other, creator),
        };
        let terms = &self.terms;
        // Half the amount is the most that the contract's own rules allow.
        let max_network_fee = terms.max_network_fee.min(Piconero(request.amount.0 / 2));
        let contract = Contract {
            format: Contract::FORMAT,
            escrow_id,
            network: terms.network,
            title: request.title,
            description: request.description,
            buyer: party(buyer)?,
            seller: party(seller)?,
            arbiter: party(arbiter)?,
            amount: request.amount,
            buyer_deposit: request.buyer_deposit,
            seller_deposit: request.seller_deposit,
            arbiter_fee_bps: terms.arbiter_fee_bps,
            platform_fee: terms
                .platform
                .as_ref()
                .map(|fee| PlatformFee { bps: fee.bps, address: fee.address }),
            default_outcome: request.default_outcome,
            expires_at: request.expires_at,
            finality_depth: request.finality_depth.unwrap_or(terms.finality_depth),
            dust_limit: terms.dust_limit,
            max_network_fee,
            max_residue: terms.max_residue.min(max_network_fee),
            cosign_seconds: request.cosign_seconds.unwrap_or(terms.cosign_seconds),
        };
        contract.check()?;
        contract.check_expiry(self.clock.now())?;
        Ok(contract)
    }

    async fn named(&self, username: &str) -> Result<Option<UserRow>, StoreError> {
        let row = if is_username(username) { self.store.user_by_name(username).await? } else { None };
        // Who can't log in can say nothing: no new escrow waits for them.
        match row {
            Some(row) if self.store.is_disabled(row.id).await? => Ok(None),
            row => Ok(row),
        }
    }

    /// The arbiter with the fewest open escrows, the longest registered among equals.
    async fn assign(&self, traders: [UserId; 2]) -> Result<Option<UserRow>, StoreError> {
        let mut best: Option<(u64, UserRow)> = None;
        let mut after = None;
        loop {
            let page = self.store.arbiters(CLOSED, after, PAGE).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|load| load.user.id);
            for load in page.into_iter().filter(|load| !traders.contains(&load.user.id)) {
                if best.as_ref().is_none_or(|(fewest, _)| load.open_escrows < *fewest) {
                    best = Some((load.open_escrows, load.user));
                }
            }
            if !full {
                return Ok(best.map(|(_, row)| row));
            }
        }
    }
}

fn party(row: UserRow) -> Result<Party, DraftError> {
    let payout_address = row.payout_address.parse().map_err(|_| DraftError::Inconsistent(row.id))?;
    Ok(Party {
        user_id: row.id,
        username: row.username,
        identity_key: row.identity_key,
        fingerprint: Hash32::sha256(&row.identity_key.0),
        signing_key: row.signing_key,
        payout_address,
    })
}

/// Statuses by their wire names must stay in step with the domain.
#[cfg(test)]
mod tests {
    use aegis_common::escrow::state::Status;

    use super::*;

    #[test]
    fn closed_statuses_are_those_that_are_over() {
        let over: Vec<_> =
            Status::ALL.into_iter().filter(|status| status.is_over()).map(Status::wire).collect();
        assert_eq!(over, CLOSED);
    }
}
