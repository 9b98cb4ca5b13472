//! Three people with their keys, and what they say from acceptance to attestation.

use aegis_common::address::Network;
use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::{Contract, DefaultOutcome, Party};
use aegis_common::escrow::state::Escrow;
use aegis_common::escrow::statement::{Act, SignedStatement};
use aegis_common::hash::{Hash32, Key32};
use aegis_common::ids::{EscrowId, UserId};
use aegis_common::role::Role;
use aegis_common::testing::chain::TestWallet;
use aegis_common::time::{SignedDuration, Timestamp};
use ed25519_dalek::SigningKey;
use uuid::Uuid;

/// How long the contracts run.
pub const DAYS: i64 = 30;

/// Somebody with an account.
#[derive(Clone)]
pub struct Person {
    pub party: Party,
    pub signing: SigningKey,
}

/// Buyer, seller, arbiter.
#[derive(Clone)]
pub struct People(pub [Person; 3]);

impl People {
    /// The people of a seed, with fresh accounts.
    pub fn new(seed: u8) -> Self {
        Self(Role::ALL.map(|role| Person::new(u64::from(seed) * 10 + role as u64 + 1)))
    }

    pub fn of(&self, role: Role) -> &Person {
        &self.0[role as usize]
    }

    pub fn id(&self, role: Role) -> UserId {
        self.of(role).party.user_id
    }

    /// A sound contract between them.
    pub fn contract(&self, now: Timestamp) -> Contract {
        Contract {
            format: Contract::FORMAT,
            escrow_id: EscrowId(Uuid::now_v7()),
            network: Network::Regtest,
            title: "A bicycle".to_owned(),
            description: String::new(),
            buyer: self.of(Role::Buyer).party.clone(),
            seller: self.of(Role::Seller).party.clone(),
            arbiter: self.of(Role::Arbiter).party.clone(),
            amount: Piconero::XMR,
            buyer_deposit: Piconero::ZERO,
            seller_deposit: Piconero::ZERO,
            arbiter_fee_bps: 100,
            platform_fee: None,
            default_outcome: DefaultOutcome::Release,
            expires_at: now + SignedDuration::from_hours(24 * DAYS),
            finality_depth: 10,
            dust_limit: Piconero(100_000_000),
            max_network_fee: Piconero(10_000_000_000),
            max_residue: Piconero(1_250_000_000),
            cosign_seconds: 3_600,
        }
    }

    /// What one of them says next, signed.
    pub fn sign(&self, escrow: &Escrow, role: Role, act: Act) -> SignedStatement {
        let statement = escrow.chains.next(&escrow.contract, escrow.contract_hash, role, act);
        statement.sign(&self.of(role).signing).unwrap()
    }
}

impl Person {
    /// Somebody with a fresh account, and with the keys and the wallet of a number.
    pub fn new(number: u64) -> Self {
        let signing = SigningKey::from_bytes(&Hash32::sha256(&number.to_le_bytes()).0);
        let user_id = UserId(Uuid::now_v7());
        let identity_key = Key32(Hash32::sha256(user_id.0.as_bytes()).0);
        let party = Party {
            user_id,
            username: user_id.0.simple().to_string(),
            identity_key,
            fingerprint: Hash32::sha256(&identity_key.0),
            signing_key: Key32(signing.verifying_key().to_bytes()),
            payout_address: TestWallet::new(number).primary(),
        };
        Self { party, signing }
    }
}

/// A well-formed message of a round, different for everybody.
pub fn message(role: Role, round: u8) -> String {
    let prefix = if round == 1 { "MultisigxV2R1" } else { "MultisigxV2Rn" };
    let letter = &"abcdefghj"[usize::from(3 * (round - 1)) + role as usize..][..1];
    format!("{prefix}{}", letter.repeat(180))
}

/// Everything that is said until the address stands.
pub fn setup(wallet: &TestWallet) -> Vec<(Role, Act)> {
    let mut acts: Vec<(Role, Act)> = Role::ALL.map(|role| (role, Act::Accept {})).to_vec();
    for round in 1..=3 {
        let said = |role| (role, Act::Round { attempt: 1, round, message: message(role, round) });
        acts.extend(Role::ALL.map(said));
    }
    let address = wallet.primary();
    let attest = Act::Attest { attempt: 1, address, threshold: 2, total: 3, ready: true };
    acts.extend(Role::ALL.map(|role| (role, attest.clone())));
    acts
}
