//! From a request to a contract that may be created: keys and addresses come from the accounts, terms from the request
//! and the configuration, the arbiter by name or by least work.

use std::sync::Arc;

use aegis_common::address::{Address, Network};
use aegis_common::amount::Piconero;
use aegis_common::arbiter::Bar;
use aegis_common::escrow::contract::{Contract, ContractError, Party, PlatformFee};
use aegis_common::escrow::state::{Escrow, Phase};
use aegis_common::hash::Hash32;
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::role::Role;
use aegis_common::time::{Clock, SignedDuration};
use aegis_common::username::is_username;
use aegis_common::wire::escrow::CreateEscrowRequest;
use uuid::Uuid;

use crate::store::{Assigned, Sought, Store, StoreError, UserRow};

/// How many escrows in a row are looked at for arbiters who would not.
const ANCESTORS: usize = 16;

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
    /// How arbiters are had.
    pub arbiters: ArbiterTerms,
}

/// What holds for arbiters who say nothing else.
#[derive(Debug, Clone, Copy)]
pub struct ArbiterTerms {
    /// Cases at once.
    pub capacity: u32,
    /// One who was not heard for so long is assigned nothing.
    pub silent: SignedDuration,
    /// Escrows that one person may have begun that are not paid for.
    pub most_unfunded: u32,
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
    /// The named arbiter can't be had.
    #[error("arbiter: {}", barred(.0))]
    Barred(Bar),
    /// One trader arbitrates for the other elsewhere.
    #[error("counterparty: one of you is the arbiter of the other in an escrow that is not over")]
    Conflict,
    /// The creator has begun too many.
    #[error("you have begun as many escrows that are not paid for as you may")]
    TooMany,
    /// Another escrow has taken the place of the one that was to be replaced.
    #[error("replaces: escrow {0} has taken that place already")]
    Replaced(EscrowId),
    /// The terms are not allowed.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored account is impossible.
    #[error("account {0} is stored inconsistently")]
    Inconsistent(UserId),
    /// A stored escrow can't be read.
    #[error("escrow {0} is stored inconsistently")]
    Damaged(EscrowId),
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

    /// A checked contract for an escrow of this id, or of the one that is being made in the same place.
    pub async fn draft(
        &self,
        id: EscrowId,
        creator: UserId,
        request: CreateEscrowRequest,
    ) -> Result<Contract, DraftError> {
        let declined = self.declined(request.replaces).await?;
        self.draft_without(id, creator, request, declined).await
    }

    /// A contract for another escrow with the same traders and terms, and an arbiter who is none of those who would not.
    pub async fn successor(&self, old: &Escrow) -> Result<Contract, DraftError> {
        let contract = &old.contract;
        let role =
            contract.role_of(old.initiator).filter(|role| role.is_trader()).ok_or(DraftError::NotATrader)?;
        let other = if role == Role::Buyer { Role::Seller } else { Role::Buyer };
        let request = CreateEscrowRequest {
            title: contract.title.clone(),
            description: contract.description.clone(),
            role,
            counterparty: contract.party(other).username.clone(),
            arbiter: None,
            amount: contract.amount,
            buyer_deposit: contract.buyer_deposit,
            seller_deposit: contract.seller_deposit,
            default_outcome: contract.default_outcome,
            expires_at: contract.expires_at,
            finality_depth: Some(contract.finality_depth),
            cosign_seconds: Some(contract.cosign_seconds),
            replaces: Some(contract.escrow_id),
        };
        self.draft(EscrowId(Uuid::now_v7()), old.initiator, request).await
    }

    async fn draft_without(
        &self,
        id: EscrowId,
        creator: UserId,
        request: CreateEscrowRequest,
        declined: Vec<UserId>,
    ) -> Result<Contract, DraftError> {
        if !request.role.is_trader() {
            return Err(DraftError::NotATrader);
        }
        let unknown = |field| DraftError::UnknownUser { field };
        let creator = self.store.user(creator).await?.ok_or(unknown("creator"))?;
        let other = self.named(&request.counterparty).await?.filter(|row| row.id != creator.id);
        let other = other.ok_or(unknown("counterparty"))?;
        let traders = [creator.id, other.id];
        let named = match &request.arbiter {
            Some(name) => {
                let row = self.named(name).await?.filter(|row| !traders.contains(&row.id));
                Some(row.ok_or(unknown("arbiter"))?.id)
            }
            None => None,
        };
        let (buyer, seller) = match request.role {
            Role::Buyer => (party(creator)?, party(other)?),
            Role::Seller | Role::Arbiter => (party(other)?, party(creator)?),
        };
        let replaces = request.replaces;
        let mut contract = self.terms(id, request, buyer, seller);
        // Before somebody is chosen, who then counts as busy.
        contract.check_terms()?;
        contract.check_expiry(self.clock.now())?;
        let (id, arbiter, fee) = self.assign(Wanted { id, traders, named, replaces, declined }).await?;
        (contract.escrow_id, contract.arbiter) = (id, party(arbiter)?);
        contract.arbiter_fee_bps = fee.unwrap_or(contract.arbiter_fee_bps);
        contract.check()?;
        Ok(contract)
    }

    /// Everybody who would not, in the escrow that is replaced and those whose place it took.
    async fn declined(&self, replaces: Option<EscrowId>) -> Result<Vec<UserId>, DraftError> {
        let (mut declined, mut before) = (Vec::new(), replaces);
        for _ in 0..ANCESTORS {
            let Some(id) = before else { break };
            let Some(row) = self.store.escrow(id).await? else { break };
            let read = serde_json::from_str::<Escrow>(&row.snapshot);
            let escrow = read.map_err(|_| DraftError::Damaged(id))?;
            if matches!(escrow.phase, Phase::Cancelled { why } if why.wants_arbiter()) {
                declined.push(escrow.contract.arbiter.user_id);
            }
            before = escrow.replaces;
        }
        Ok(declined)
    }

    /// The terms, with the seller standing in for the arbiter who is still to be found.
    fn terms(&self, id: EscrowId, request: CreateEscrowRequest, buyer: Party, seller: Party) -> Contract {
        let terms = &self.terms;
        // Half the amount is the most that the contract's own rules allow.
        let max_network_fee = terms.max_network_fee.min(Piconero(request.amount.0 / 2));
        let platform = terms.platform.as_ref();
        Contract {
            format: Contract::FORMAT,
            escrow_id: id,
            network: terms.network,
            title: request.title,
            description: request.description,
            buyer,
            arbiter: seller.clone(),
            seller,
            amount: request.amount,
            buyer_deposit: request.buyer_deposit,
            seller_deposit: request.seller_deposit,
            arbiter_fee_bps: terms.arbiter_fee_bps,
            platform_fee: platform.map(|fee| PlatformFee { bps: fee.bps, address: fee.address }),
            default_outcome: request.default_outcome,
            expires_at: request.expires_at,
            finality_depth: request.finality_depth.unwrap_or(terms.finality_depth),
            dust_limit: terms.dust_limit,
            max_network_fee,
            max_residue: terms.max_residue.min(max_network_fee),
            cosign_seconds: request.cosign_seconds.unwrap_or(terms.cosign_seconds),
        }
    }

    async fn named(&self, username: &str) -> Result<Option<UserRow>, StoreError> {
        let row = if is_username(username) { self.store.user_by_name(username).await? } else { None };
        // Who can't log in can say nothing: no new escrow waits for them.
        match row {
            Some(row) if self.store.is_disabled(row.id).await? => Ok(None),
            row => Ok(row),
        }
    }

    /// The escrow's id, its arbiter and the fee that the arbiter asks for, if any.
    async fn assign(&self, wanted: Wanted) -> Result<(EscrowId, UserRow, Option<u16>), DraftError> {
        let (now, terms) = (self.clock.now(), self.terms.arbiters);
        let Wanted { id, traders, named, replaces, declined } = wanted;
        let sought = Sought {
            escrow: id,
            at: now,
            traders,
            named,
            replaces,
            declined,
            silent_before: self.store.silent_before(now, terms.silent).await?,
            capacity: terms.capacity,
            most_unfunded: terms.most_unfunded,
        };
        match self.store.assign(sought).await? {
            Assigned::To { escrow, arbiter, fee_bps } => Ok((escrow, *arbiter, fee_bps)),
            Assigned::Barred(Some(bar)) => Err(DraftError::Barred(bar)),
            Assigned::Barred(None) => Err(DraftError::UnknownUser { field: "arbiter" }),
            Assigned::Nobody => Err(DraftError::NoArbiter),
            Assigned::Conflict => Err(DraftError::Conflict),
            Assigned::TooMany => Err(DraftError::TooMany),
            Assigned::Taken(escrow) => Err(DraftError::Replaced(escrow)),
        }
    }
}

/// For whom an arbiter is wanted.
struct Wanted {
    id: EscrowId,
    traders: [UserId; 2],
    named: Option<UserId>,
    replaces: Option<EscrowId>,
    declined: Vec<UserId>,
}

/// Why it can't be had is not said: it would tell whom others trade with.
fn barred(bar: &Bar) -> &'static str {
    match bar {
        Bar::Party => "is one of the traders",
        Bar::Conflict | Bar::Declined | Bar::NotAccepting | Bar::Full | Bar::Silent => {
            "can't be had for this escrow"
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
