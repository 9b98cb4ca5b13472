//! The contract: what the three parties agree to, as canonical JSON. It never changes after creation; every
//! statement names its hash.

use serde::{Deserialize, Serialize};

use crate::address::{Address, AddressError, AddressKind, Network};
use crate::amount::Piconero;
use crate::canonical;
use crate::code::Code;
use crate::hash::{Hash32, Key32};
use crate::ids::{EscrowId, UserId};
use crate::role::Role;
use crate::time::{SignedDuration, Timestamp};
use crate::username::is_username;

/// A party as the contract names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Party {
    /// The account.
    pub user_id: UserId,
    /// Its name when the contract was made.
    pub username: String,
    /// X25519 identity key.
    pub identity_key: Key32,
    /// SHA-256 of the identity key.
    pub fingerprint: Hash32,
    /// Ed25519 key that signs this party's statements.
    pub signing_key: Key32,
    /// Where this party is paid.
    pub payout_address: Address,
}

/// The operator's fee, taken from what the seller is paid of the amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformFee {
    /// Basis points of the seller's part of the amount.
    pub bps: u16,
    /// Where it is paid.
    pub address: Address,
}

/// What happens at expiry when nobody disputes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DefaultOutcome {
    /// The seller is paid.
    Release,
    /// The buyer is paid back.
    Refund,
}

/// The terms of an escrow. Canonical JSON of this value is what the parties sign for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contract {
    /// Version of this format: 1.
    pub format: u8,
    /// The escrow.
    pub escrow_id: EscrowId,
    /// The chain its money is on.
    pub network: Network,
    /// What is traded, in a few words.
    pub title: String,
    /// What is traded, in detail; may be empty.
    pub description: String,
    /// The paying party.
    pub buyer: Party,
    /// The delivering party.
    pub seller: Party,
    /// The deciding party.
    pub arbiter: Party,
    /// The price, paid by the buyer to subaddress (0,0).
    pub amount: Piconero,
    /// The buyer's security deposit, paid to (0,2); zero for none.
    pub buyer_deposit: Piconero,
    /// The seller's security deposit, paid to (0,1); zero for none.
    pub seller_deposit: Piconero,
    /// The arbiter's fee in basis points of the amount, due after a ruling and at expiry.
    pub arbiter_fee_bps: u16,
    /// The operator's fee, if any.
    pub platform_fee: Option<PlatformFee>,
    /// What happens at expiry.
    pub default_outcome: DefaultOutcome,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Confirmations after which a transaction counts as final.
    pub finality_depth: u32,
    /// A single output below this is reported and not credited: it would cost more to spend than it is worth.
    pub dust_limit: Piconero,
    /// The highest network fee a payout may pay.
    pub max_network_fee: Piconero,
    /// The most a payout may leave behind at the escrow's own address.
    pub max_residue: Piconero,
    /// Seconds after which a signer who has not answered is replaced by the third party.
    pub cosign_seconds: u32,
}

/// Bounds on what a contract may say.
pub mod bounds {
    use crate::amount::Piconero;

    /// Characters in a title.
    pub const TITLE: usize = 200;
    /// Characters in a description.
    pub const DESCRIPTION: usize = 4_000;
    /// Smallest price: 0.001 XMR, some ten network fees.
    pub const MIN_AMOUNT: Piconero = Piconero(1_000_000_000);
    /// Largest price or deposit: 1,000,000 XMR, so that no sum of outputs can come near 2^64.
    pub const MAX_AMOUNT: Piconero = Piconero(1_000_000_000_000_000_000);
    /// The bound of the residue is at least the bound of the fee divided by this.
    pub const RESIDUE: u64 = 8;
    /// Largest arbiter or platform fee: a quarter.
    pub const FEE_BPS: u16 = 2_500;
    /// Outputs unlock after ten blocks (Monero `CRYPTONOTE_DEFAULT_TX_SPENDABLE_AGE`); finality below that is pointless.
    pub const MIN_FINALITY: u32 = 10;
    /// Deepest finality: two hours and more.
    pub const MAX_FINALITY: u32 = 100;
    /// Shortest and longest time until a silent signer is replaced.
    pub const COSIGN_SECONDS: std::ops::RangeInclusive<u32> = 5..=2_592_000;
    /// Longest time until expiry: a year.
    pub const MAX_DAYS: i64 = 366;
}

/// Terms that are not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// A field is outside its bounds.
    #[error("{field}: {why}")]
    Field {
        /// The field's wire name.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An address is of another network or malformed.
    #[error("{field}: {source}")]
    Address {
        /// The field's wire name.
        field: &'static str,
        /// What is wrong with it.
        source: AddressError,
    },
}

impl ContractError {
    /// The code shown to clients.
    pub fn code(&self) -> Code {
        match self {
            Self::Field { .. } => Code::BadContract,
            Self::Address { source: AddressError::ForeignNetwork { .. }, .. } => Code::ForeignNetwork,
            Self::Address { .. } => Code::BadAddress,
        }
    }
}

impl Contract {
    /// The format this program writes and reads.
    pub const FORMAT: u8 = 1;

    /// The party that plays a role.
    pub fn party(&self, role: Role) -> &Party {
        match role {
            Role::Buyer => &self.buyer,
            Role::Seller => &self.seller,
            Role::Arbiter => &self.arbiter,
        }
    }

    /// The role an account plays, if any.
    pub fn role_of(&self, user: UserId) -> Option<Role> {
        Role::ALL.into_iter().find(|role| self.party(*role).user_id == user)
    }

    /// `contractHash`: SHA-256 of the canonical bytes.
    pub fn hash(&self) -> Result<Hash32, canonical::NotCanonical> {
        canonical::hash(self)
    }

    /// Checks every bound that does not depend on the time. The server checks before it creates; every participant
    /// checks again before it accepts.
    pub fn check(&self) -> Result<(), ContractError> {
        self.check_terms()?;
        self.check_parties()
    }

    /// The part of [`Self::check`] that does not depend on who the parties are.
    pub fn check_terms(&self) -> Result<(), ContractError> {
        let require = |holds: bool, field: &'static str, why: &'static str| {
            if holds { Ok(()) } else { Err(ContractError::Field { field, why }) }
        };
        require(self.format == Self::FORMAT, "format", "is not one this program knows")?;
        let title = self.title.chars().count();
        require((1..=bounds::TITLE).contains(&title), "title", "must have 1 to 200 characters")?;
        let clean = !self.title.chars().any(char::is_control);
        require(clean, "title", "must not contain control characters")?;
        let text = self.description.chars().count();
        require(text <= bounds::DESCRIPTION, "description", "must have at most 4000 characters")?;
        let priced = (bounds::MIN_AMOUNT..=bounds::MAX_AMOUNT).contains(&self.amount);
        require(priced, "amount", "must lie between 0.001 and 1,000,000 XMR")?;
        for (field, deposit) in [("buyerDeposit", self.buyer_deposit), ("sellerDeposit", self.seller_deposit)]
        {
            let allowed =
                deposit == Piconero::ZERO || (bounds::MIN_AMOUNT..=bounds::MAX_AMOUNT).contains(&deposit);
            require(allowed, field, "must be zero or lie between 0.001 and 1,000,000 XMR")?;
        }
        require(self.arbiter_fee_bps <= bounds::FEE_BPS, "arbiterFeeBps", "must be at most 2500")?;
        let platform = self.platform_fee.as_ref().map_or(0, |fee| fee.bps);
        require(platform <= bounds::FEE_BPS, "platformFee", "must be at most 2500 basis points")?;
        let depth = (bounds::MIN_FINALITY..=bounds::MAX_FINALITY).contains(&self.finality_depth);
        require(depth, "finalityDepth", "must lie between 10 and 100 blocks")?;
        let cosign = bounds::COSIGN_SECONDS.contains(&self.cosign_seconds);
        require(cosign, "cosignSeconds", "must lie between 5 seconds and 30 days")?;
        let fee = self.max_network_fee > Piconero::ZERO && self.max_network_fee.0 <= self.amount.0 / 2;
        require(fee, "maxNetworkFee", "must be above zero and at most half the amount")?;
        // A payout always leaves something behind: only then can its change be checked (docs/PROTOCOL.md).
        // It is what the fee was estimated too high, which is a tenth of it at most.
        let least = Piconero(self.max_network_fee.0.div_ceil(bounds::RESIDUE));
        let residue = self.max_residue >= least && self.max_residue <= self.max_network_fee;
        require(residue, "maxResidue", "must lie between an eighth of maxNetworkFee and all of it")?;
        require(self.dust_limit < bounds::MIN_AMOUNT, "dustLimit", "must be below 0.001 XMR")
    }

    fn check_parties(&self) -> Result<(), ContractError> {
        let fields = ["buyer", "seller", "arbiter"];
        for (role, field) in Role::ALL.into_iter().zip(fields) {
            let party = self.party(role);
            check_payee(&party.payout_address, self.network, field)?;
            if !is_username(&party.username) {
                return Err(ContractError::Field { field, why: "has a name that no account can have" });
            }
            if Hash32::sha256(&party.identity_key.0) != party.fingerprint {
                return Err(ContractError::Field {
                    field,
                    why: "has a fingerprint that is not of its identity key",
                });
            }
            for other in role.others().map(|other| self.party(other)) {
                let shared = other.user_id == party.user_id
                    || other.signing_key == party.signing_key
                    || other.identity_key == party.identity_key;
                if shared {
                    return Err(ContractError::Field {
                        field,
                        why: "shares its account or a key with another party",
                    });
                }
            }
        }
        match &self.platform_fee {
            Some(fee) => check_payee(&fee.address, self.network, "platformFee"),
            None => Ok(()),
        }
    }

    /// Checks that expiry lies ahead of `now`, and not too far.
    pub fn check_expiry(&self, now: Timestamp) -> Result<(), ContractError> {
        let ahead = self.expires_at.duration_since(now);
        if ahead <= SignedDuration::ZERO || ahead > SignedDuration::from_hours(24 * bounds::MAX_DAYS) {
            return Err(ContractError::Field { field: "expiresAt", why: "must lie ahead, within a year" });
        }
        Ok(())
    }
}

/// A payout goes to a plain address or a subaddress of the contract's network. Integrated addresses are refused: a
/// transaction carries one payment id, and a payout has several recipients.
fn check_payee(address: &Address, network: Network, field: &'static str) -> Result<(), ContractError> {
    address.require(network).map_err(|source| ContractError::Address { field, source })?;
    match address.kind {
        AddressKind::Integrated(_) => {
            Err(ContractError::Field { field, why: "is an integrated address, which a payout cannot use" })
        }
        AddressKind::Standard | AddressKind::Subaddress => Ok(()),
    }
}
