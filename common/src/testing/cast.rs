//! Who plays, and what they agree to.

use curve25519_dalek::MontgomeryPoint;
use ed25519_dalek::SigningKey;
use uuid::Uuid;

use super::{START, address};
use crate::address::Network;
use crate::amount::Piconero;
use crate::escrow::contract::{Contract, DefaultOutcome, Party, PlatformFee};
use crate::hash::{Hash32, Key32};
use crate::ids::{EscrowId, UserId};
use crate::role::Role;
use crate::time::SignedDuration;

/// One person with its private keys.
#[derive(Debug, Clone)]
pub struct Person {
    /// How the contract names it.
    pub party: Party,
    /// Signs its statements.
    pub signing: SigningKey,
    /// Private half of its X25519 identity key.
    pub identity: [u8; 32],
}

/// Three people.
#[derive(Debug, Clone)]
pub struct Cast {
    /// Pays.
    pub buyer: Person,
    /// Delivers.
    pub seller: Person,
    /// Decides.
    pub arbiter: Person,
}

impl Default for Cast {
    fn default() -> Self {
        Self { buyer: person("buyer", 1), seller: person("seller", 2), arbiter: person("arbiter", 3) }
    }
}

impl Cast {
    /// The person who plays a role.
    pub fn of(&self, role: Role) -> &Person {
        match role {
            Role::Buyer => &self.buyer,
            Role::Seller => &self.seller,
            Role::Arbiter => &self.arbiter,
        }
    }
}

fn person(name: &str, number: u8) -> Person {
    let signing = SigningKey::from_bytes(&[number; 32]);
    let identity = [number + 100; 32];
    let identity_key = Key32(MontgomeryPoint::mul_base_clamped(identity).0);
    let party = Party {
        user_id: UserId(Uuid::from_u128(u128::from(number))),
        username: name.to_owned(),
        identity_key,
        fingerprint: Hash32::sha256(&identity_key.0),
        signing_key: Key32(signing.verifying_key().to_bytes()),
        payout_address: address(1_000 + 10 * u64::from(number)),
    };
    Person { party, signing, identity }
}

/// A sound contract of the [`Cast`] for 1 XMR on regtest, without deposits, that expires in 30 days; change what a test
/// is about by `Contract { buyer_deposit: …, ..contract() }`.
pub fn contract() -> Contract {
    contract_number(1)
}

/// The same contract for another escrow.
pub fn contract_number(number: u128) -> Contract {
    let Cast { buyer, seller, arbiter } = Cast::default();
    Contract {
        format: Contract::FORMAT,
        escrow_id: EscrowId(Uuid::from_u128(0xe5c0_0000 + number)),
        network: Network::Regtest,
        title: "A bicycle".to_owned(),
        description: String::new(),
        buyer: buyer.party,
        seller: seller.party,
        arbiter: arbiter.party,
        amount: Piconero::XMR,
        buyer_deposit: Piconero::ZERO,
        seller_deposit: Piconero::ZERO,
        arbiter_fee_bps: 100,
        platform_fee: Some(PlatformFee { bps: 50, address: address(2_000) }),
        default_outcome: DefaultOutcome::Release,
        expires_at: START + SignedDuration::from_hours(24 * 30),
        finality_depth: 10,
        dust_limit: Piconero(100_000_000),
        max_network_fee: Piconero(10_000_000_000),
        max_residue: Piconero(1_250_000_000),
        cosign_seconds: 3_600,
    }
}
