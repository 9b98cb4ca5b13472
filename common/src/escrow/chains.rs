//! Three chains of statements, and the checks that keep them whole.

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use super::contract::Contract;
use super::statement::{Act, DOMAIN, Seen, SignedStatement, Statement, StatementError, StatementRef, bounds};
use crate::hash::Hash32;
use crate::role::Role;

/// One author's chain, as hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// Statement hashes in order.
    pub hashes: Vec<Hash32>,
    /// How many statements of the other two (in [`Role::others`] order) the newest one had seen.
    pub seen: [usize; 2],
}

/// The three chains of an escrow, as hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chains {
    buyer: Chain,
    seller: Chain,
    arbiter: Chain,
}

/// A statement that passed every check and continues its author's chain.
#[derive(Debug, Clone)]
pub struct Verified {
    hash: Hash32,
    role: Role,
    seen: [usize; 2],
}

impl Verified {
    /// The statement's hash.
    pub fn hash(&self) -> Hash32 {
        self.hash
    }
}

/// The result of checking a sound statement against the chains.
#[derive(Debug, Clone)]
pub enum Check {
    /// It is new and continues its author's chain.
    New(Verified),
    /// It stands there already; nothing is to be done.
    Known(Hash32),
}

impl Chains {
    /// One author's chain.
    pub fn of(&self, role: Role) -> &Chain {
        match role {
            Role::Buyer => &self.buyer,
            Role::Seller => &self.seller,
            Role::Arbiter => &self.arbiter,
        }
    }

    fn of_mut(&mut self, role: Role) -> &mut Chain {
        match role {
            Role::Buyer => &mut self.buyer,
            Role::Seller => &mut self.seller,
            Role::Arbiter => &mut self.arbiter,
        }
    }

    /// What an author who knows these chains writes into `seen`.
    pub fn seen_by(&self, author: Role) -> Seen {
        let head = |role: Role| (role != author).then(|| self.of(role).hashes.last().copied()).flatten();
        Seen { buyer: head(Role::Buyer), seller: head(Role::Seller), arbiter: head(Role::Arbiter) }
    }

    /// The next statement of an author who knows these chains.
    pub fn next(&self, contract: &Contract, contract_hash: Hash32, role: Role, act: Act) -> Statement {
        let chain = self.of(role);
        Statement {
            escrow_id: contract.escrow_id,
            contract_hash,
            author: contract.party(role).user_id,
            role,
            // At most PER_AUTHOR, so it fits.
            seq: chain.hashes.len() as u32,
            prev: chain.hashes.last().copied(),
            seen: self.seen_by(role),
            act,
        }
    }

    /// Checks author, role, signature, bounds, chain and cross-references of a statement.
    pub fn check(
        &self,
        contract: &Contract,
        contract_hash: Hash32,
        signed: &SignedStatement,
    ) -> Result<Check, StatementError> {
        let statement = &signed.statement;
        let hash = verify(contract, contract_hash, signed)?;
        let chain = self.of(statement.role);
        match chain.hashes.get(statement.seq as usize) {
            Some(known) if *known == hash => return Ok(Check::Known(hash)),
            Some(_) => return Err(StatementError::Fork),
            None => {}
        }
        if statement.seq as usize != chain.hashes.len() || statement.prev != chain.hashes.last().copied() {
            return Err(StatementError::BrokenChain);
        }
        if chain.hashes.len() >= bounds::PER_AUTHOR {
            return Err(StatementError::TooMany);
        }
        let seen = self.check_seen(statement, chain)?;
        Ok(Check::New(Verified { hash, role: statement.role, seen }))
    }

    /// `seen` must name known statements, and never fewer than the author's previous statement had seen.
    fn check_seen(&self, statement: &Statement, chain: &Chain) -> Result<[usize; 2], StatementError> {
        if statement.seen.of(statement.role).is_some() {
            return Err(StatementError::UnknownSeen);
        }
        let mut counts = [0; 2];
        for ((count, other), before) in counts.iter_mut().zip(statement.role.others()).zip(chain.seen) {
            *count = match statement.seen.of(other) {
                None => 0,
                Some(hash) => {
                    let place = self.of(other).hashes.iter().position(|known| *known == hash);
                    place.ok_or(StatementError::UnknownSeen)? + 1
                }
            };
            if *count < before {
                return Err(StatementError::UnknownSeen);
            }
        }
        Ok(counts)
    }

    /// Appends a checked statement.
    pub fn push(&mut self, verified: &Verified) {
        let chain = self.of_mut(verified.role);
        chain.hashes.push(verified.hash);
        chain.seen = verified.seen;
    }
}

/// Checks a statement by itself: escrow, contract, author, bounds and signature. Gives its hash.
pub fn verify(
    contract: &Contract,
    contract_hash: Hash32,
    signed: &SignedStatement,
) -> Result<Hash32, StatementError> {
    let statement = &signed.statement;
    if statement.escrow_id != contract.escrow_id || statement.contract_hash != contract_hash {
        return Err(StatementError::WrongEscrow);
    }
    let party = contract.party(statement.role);
    if party.user_id != statement.author {
        return Err(StatementError::WrongAuthor);
    }
    if !statement.act.within_bounds() {
        return Err(StatementError::OutOfBounds);
    }
    let bytes = statement.signed_bytes().map_err(|_| StatementError::OutOfBounds)?;
    let key = VerifyingKey::from_bytes(&party.signing_key.0).map_err(|_| StatementError::BadSignature)?;
    key.verify_strict(&bytes, &ed25519_dalek::Signature::from_bytes(&signed.signature.0))
        .map_err(|_| StatementError::BadSignature)?;
    Ok(Hash32::sha256(bytes.get(DOMAIN.len()..).unwrap_or_default()))
}

/// A statement of a transcript is wrong: which one, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{statement} {error}")]
pub struct TranscriptError {
    /// The statement.
    pub statement: StatementRef,
    /// What is wrong with it.
    pub error: StatementError,
}

/// Checks a whole transcript in the server's order and gives the three chains.
pub fn verify_transcript(
    contract: &Contract,
    contract_hash: Hash32,
    transcript: &[SignedStatement],
) -> Result<Chains, TranscriptError> {
    let mut chains = Chains::default();
    for signed in transcript {
        let wrong = |error| TranscriptError { statement: (&signed.statement).into(), error };
        match chains.check(contract, contract_hash, signed).map_err(wrong)? {
            Check::New(verified) => chains.push(&verified),
            Check::Known(_) => return Err(wrong(StatementError::BrokenChain)),
        }
    }
    Ok(chains)
}
