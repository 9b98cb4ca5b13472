//! The setup stage inside PENDING_FUNDING: acceptance, three rounds, three attestations, ready.

use serde::{Deserialize, Serialize};

use super::contract::Contract;
use super::statement::Act;
use crate::address::{Address, AddressKind};
use crate::code::Code;
use crate::multisig::rounds::{ROUNDS, RoundError, Rounds, THRESHOLD, TOTAL};
use crate::role::Role;

/// How far the setup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "stage", content = "round", rename_all = "camelCase")]
pub enum Stage {
    /// Not everybody has accepted.
    AwaitingAcceptance,
    /// Messages of this round are due.
    Round(u8),
    /// Attestations are due.
    Attesting,
    /// Three attestations agree; the address may be shown.
    Ready,
    /// Attestations disagree; the escrow is stopped for good.
    Stopped,
    /// A party does not want it.
    Declined,
}

/// A setup statement is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The stage is another.
    #[error("the setup is not at that stage")]
    WrongStage,
    /// The party has done that.
    #[error("this party has done that already")]
    AlreadyDone,
    /// The rounds refuse it.
    #[error(transparent)]
    Round(#[from] RoundError),
    /// The attested wallet is not a ready 2-of-3 of this network.
    #[error(
        "the attested wallet is not a ready 2-of-3 wallet with a primary address of the contract's network"
    )]
    BadAttestation,
    /// The attestations disagree.
    #[error("the parties attest different addresses; the escrow is stopped")]
    Stopped,
}

impl SetupError {
    /// The code shown to clients.
    pub fn code(self) -> Code {
        match self {
            Self::WrongStage => Code::WrongState,
            Self::AlreadyDone => Code::AlreadyDone,
            Self::Round(error) => error.code(),
            Self::BadAttestation => Code::BadAttestation,
            Self::Stopped => Code::AddressMismatch,
        }
    }
}

/// The setup of one escrow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    accepted: Vec<Role>,
    rounds: Rounds,
    attested: Vec<(Role, Address)>,
    #[serde(default)]
    declined: Option<Role>,
}

impl Setup {
    /// How far it is.
    pub fn stage(&self) -> Stage {
        let addresses_agree = self.attested.windows(2).all(|pair| match pair {
            [(_, one), (_, other)] => one == other,
            _ => true,
        });
        if self.declined.is_some() {
            Stage::Declined
        } else if self.accepted.len() < Role::ALL.len() {
            Stage::AwaitingAcceptance
        } else if self.rounds.completed() < ROUNDS {
            Stage::Round(self.rounds.completed() + 1)
        } else if !addresses_agree {
            Stage::Stopped
        } else if self.attested.len() < Role::ALL.len() {
            Stage::Attesting
        } else {
            Stage::Ready
        }
    }

    /// The multisig rounds.
    pub fn rounds(&self) -> &Rounds {
        &self.rounds
    }

    /// Who declined, if anybody.
    pub fn declined(&self) -> Option<Role> {
        self.declined
    }

    /// Whether a party has accepted.
    pub fn has_accepted(&self, role: Role) -> bool {
        self.accepted.contains(&role)
    }

    /// Whether a party has attested.
    pub fn has_attested(&self, role: Role) -> bool {
        self.attested.iter().any(|(known, _)| *known == role)
    }

    /// The address all three attest, once they do.
    pub fn address(&self) -> Option<Address> {
        let ready = self.stage() == Stage::Ready;
        self.attested.first().filter(|_| ready).map(|(_, address)| *address)
    }

    /// Where attestations disagree: the roles outside the largest group that agrees.
    pub fn disagreeing(&self) -> Vec<Role> {
        let votes = |address: &Address| self.attested.iter().filter(|(_, other)| other == address).count();
        // Reversed: of equal groups the first to attest counts as right.
        let agreed = self.attested.iter().rev().max_by_key(|(_, address)| votes(address)).map(|(_, a)| *a);
        self.attested.iter().filter(|(_, address)| Some(*address) != agreed).map(|(role, _)| *role).collect()
    }

    /// What the party owes the setup now, if anything: `Accept`, a `Round` or an `Attest`.
    pub fn owes(&self, role: Role) -> Option<Owed> {
        match self.stage() {
            Stage::AwaitingAcceptance => (!self.has_accepted(role)).then_some(Owed::Acceptance),
            Stage::Round(_) => self.rounds.owed(role).map(Owed::Round),
            Stage::Attesting => (!self.has_attested(role)).then_some(Owed::Attestation),
            Stage::Ready | Stage::Stopped | Stage::Declined => None,
        }
    }

    /// Takes a setup statement of a party. `None` for acts that do not belong to the setup.
    pub fn take(&self, contract: &Contract, role: Role, act: &Act) -> Option<Result<Self, SetupError>> {
        let result = match act {
            Act::Accept {} => self.accept(role),
            Act::Round { attempt, round, message } => self.round(role, *attempt, *round, message),
            Act::Restart { attempt, .. } => self.restart(role, *attempt),
            Act::Decline { .. } => self.decline(role),
            Act::Attest { attempt, address, threshold, total, ready } => {
                let sound = *threshold == THRESHOLD && *total == TOTAL && *ready;
                self.attest(contract, role, *attempt, address, sound)
            }
            _ => return None,
        };
        Some(result)
    }

    fn accept(&self, role: Role) -> Result<Self, SetupError> {
        if self.declined.is_some() {
            return Err(SetupError::WrongStage);
        }
        if self.has_accepted(role) {
            return Err(SetupError::AlreadyDone);
        }
        let mut next = self.clone();
        next.accepted.push(role);
        Ok(next)
    }

    fn round(&self, role: Role, attempt: u32, round: u8, message: &str) -> Result<Self, SetupError> {
        match self.stage() {
            Stage::AwaitingAcceptance | Stage::Declined => Err(SetupError::WrongStage),
            Stage::Stopped => Err(SetupError::Stopped),
            Stage::Round(_) | Stage::Attesting | Stage::Ready => {
                let rounds = self.rounds.clone().submit(role, attempt, round, message)?;
                Ok(Self { rounds, ..self.clone() })
            }
        }
    }

    /// Who has attested may not start anew: the others may have seen all three attestations and paid, while this party's
    /// restart would take the ready address from those who see it first.
    fn restart(&self, role: Role, attempt: u32) -> Result<Self, SetupError> {
        match self.stage() {
            Stage::Attesting if self.has_attested(role) => Err(SetupError::AlreadyDone),
            Stage::Round(_) | Stage::Attesting => {
                let rounds = self.rounds.clone().restart(attempt)?;
                Ok(Self { rounds, attested: Vec::new(), ..self.clone() })
            }
            Stage::Stopped => Err(SetupError::Stopped),
            Stage::AwaitingAcceptance | Stage::Ready | Stage::Declined => Err(SetupError::WrongStage),
        }
    }

    /// Who has attested may not decline, for the reason that it may not start anew.
    fn decline(&self, role: Role) -> Result<Self, SetupError> {
        match self.stage() {
            Stage::Attesting if self.has_attested(role) => Err(SetupError::AlreadyDone),
            Stage::AwaitingAcceptance | Stage::Round(_) | Stage::Attesting => {
                Ok(Self { declined: Some(role), ..self.clone() })
            }
            Stage::Ready | Stage::Declined => Err(SetupError::WrongStage),
            Stage::Stopped => Err(SetupError::Stopped),
        }
    }

    fn attest(
        &self,
        contract: &Contract,
        role: Role,
        attempt: u32,
        address: &Address,
        sound: bool,
    ) -> Result<Self, SetupError> {
        match self.stage() {
            Stage::Attesting => {}
            Stage::Ready => return Err(SetupError::AlreadyDone),
            Stage::Stopped => return Err(SetupError::Stopped),
            Stage::AwaitingAcceptance | Stage::Round(_) | Stage::Declined => {
                return Err(SetupError::WrongStage);
            }
        }
        if attempt != self.rounds.attempt() {
            return Err(RoundError::WrongAttempt { present: self.rounds.attempt() }.into());
        }
        if self.has_attested(role) {
            return Err(SetupError::AlreadyDone);
        }
        let primary = address.kind == AddressKind::Standard && address.require(contract.network).is_ok();
        if !sound || !primary {
            return Err(SetupError::BadAttestation);
        }
        let mut next = self.clone();
        next.attested.push((role, *address));
        Ok(next)
    }
}

/// What a party owes the setup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// A decision on the contract.
    Acceptance,
    /// The message of a round.
    Round(u8),
    /// An attestation of the address.
    Attestation,
}
