//! Three broadcast rounds (measured against monero-wallet-rpc 0.18):
//!
//! | round | wallet call that makes the message | prefix |
//! |---|---|---|
//! | 1 | `prepare_multisig` | `MultisigxV2R1` |
//! | 2 | `make_multisig` with the two others' round-1 messages | `MultisigxV2Rn` |
//! | 3 | `exchange_multisig_keys` with the two others' round-2 messages | `MultisigxV2Rn` |
//!
//! A fourth call, with the round-3 messages, gives the address. Everybody waits for everybody's message of one round
//! before making the next; a message may come a day late or twice.

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::hash::Hash32;
use crate::role::Role;

/// Rounds in which messages are broadcast.
pub const ROUNDS: u8 = 3;
/// Setup attempts before the escrow must be made anew.
pub const MAX_ATTEMPTS: u32 = 5;
/// Signatures needed to spend.
pub const THRESHOLD: u8 = 2;
/// Signers.
pub const TOTAL: u8 = 3;

/// A round message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoundError {
    /// The attempt is not the present one.
    #[error("the present setup attempt is {present}")]
    WrongAttempt {
        /// The attempt under way.
        present: u32,
    },
    /// The party owes another round, or none until the others have sent theirs.
    #[error("this party owes {}", owed_text(*.owed))]
    WrongRound {
        /// The round it owes, if any.
        owed: Option<u8>,
    },
    /// Prefix, length or alphabet are wrong.
    #[error("not a multisig message of that round")]
    BadMessage,
    /// Another party has sent the very same message.
    #[error("another party has sent the same message")]
    Copied,
    /// No further attempt.
    #[error("at most {MAX_ATTEMPTS} setup attempts are allowed")]
    Exhausted,
}

fn owed_text(owed: Option<u8>) -> String {
    owed.map_or_else(|| "nothing until the others have sent theirs".into(), |round| format!("round {round}"))
}

impl RoundError {
    /// The code shown to clients.
    pub fn code(self) -> Code {
        match self {
            Self::WrongAttempt { .. } => Code::WrongAttempt,
            Self::WrongRound { .. } => Code::WrongRound,
            Self::BadMessage | Self::Copied => Code::BadMultisigMessage,
            Self::Exhausted => Code::AttemptsExhausted,
        }
    }
}

/// The messages of one setup attempt, as hashes: the texts are in the statements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rounds {
    attempt: u32,
    /// Per party in [`Role::ALL`] order: hashes of its messages so far.
    sent: [Vec<Hash32>; 3],
}

impl Default for Rounds {
    fn default() -> Self {
        Self { attempt: 1, sent: Default::default() }
    }
}

fn index(role: Role) -> usize {
    match role {
        Role::Buyer => 0,
        Role::Seller => 1,
        Role::Arbiter => 2,
    }
}

impl Rounds {
    /// The present attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Rounds that all three have completed, 0 to 3.
    pub fn completed(&self) -> u8 {
        // At most ROUNDS messages each.
        self.sent.iter().map(Vec::len).min().unwrap_or(0) as u8
    }

    /// The round whose message the party owes now.
    pub fn owed(&self, role: Role) -> Option<u8> {
        let sent = self.sent.get(index(role)).map_or(0, Vec::len) as u8;
        (sent == self.completed() && sent < ROUNDS).then_some(sent + 1)
    }

    /// Takes a message.
    pub fn submit(mut self, role: Role, attempt: u32, round: u8, message: &str) -> Result<Self, RoundError> {
        if attempt != self.attempt {
            return Err(RoundError::WrongAttempt { present: self.attempt });
        }
        let owed = self.owed(role);
        if owed != Some(round) {
            return Err(RoundError::WrongRound { owed });
        }
        check_message(round, message)?;
        let hash = Hash32::sha256(message.as_bytes());
        if self.sent.iter().flatten().any(|known| *known == hash) {
            return Err(RoundError::Copied);
        }
        if let Some(sent) = self.sent.get_mut(index(role)) {
            sent.push(hash);
        }
        Ok(self)
    }

    /// Starts the next attempt with empty rounds.
    pub fn restart(self, attempt: u32) -> Result<Self, RoundError> {
        if attempt != self.attempt + 1 {
            return Err(RoundError::WrongAttempt { present: self.attempt });
        }
        if attempt > MAX_ATTEMPTS {
            return Err(RoundError::Exhausted);
        }
        Ok(Self { attempt, sent: Default::default() })
    }
}

/// What a relay can check of a message without a wallet: prefix, length and the base58 alphabet. Its inner signature
/// is checked by every wallet.
pub fn check_message(round: u8, message: &str) -> Result<(), RoundError> {
    let prefix = if round == 1 { "MultisigxV2R1" } else { "MultisigxV2Rn" };
    let body = message.strip_prefix(prefix).ok_or(RoundError::BadMessage)?;
    let base58 = |b: u8| b.is_ascii_alphanumeric() && !matches!(b, b'0' | b'O' | b'I' | b'l');
    // Measured bodies: 176 (round 1) and 223 (later); the band leaves room for other versions of the wallet.
    if !(100..=800).contains(&body.len()) || !body.bytes().all(base58) {
        return Err(RoundError::BadMessage);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(round: u8, salt: u8) -> String {
        let prefix = if round == 1 { "MultisigxV2R1" } else { "MultisigxV2Rn" };
        format!("{prefix}{}", char::from(b'a' + salt).to_string().repeat(180))
    }

    #[test]
    fn nobody_gets_ahead_of_the_slowest_and_every_round_needs_all_three() {
        let mut rounds = Rounds::default();
        let mut salt = 0;
        for round in 1..=ROUNDS {
            for role in Role::ALL {
                assert_eq!(rounds.owed(role), Some(round));
                let early = rounds.clone().submit(role, 1, round + 1, &message(round + 1, 24));
                assert_eq!(early, Err(RoundError::WrongRound { owed: Some(round) }));
                rounds = rounds.submit(role, 1, round, &message(round, salt)).unwrap();
                salt += 1;
                if role != Role::Arbiter {
                    assert_eq!(rounds.owed(role), None);
                }
            }
        }
        assert_eq!(rounds.completed(), ROUNDS);
        assert!(Role::ALL.into_iter().all(|role| rounds.owed(role).is_none()));
    }

    #[test]
    fn a_message_copied_from_another_party_is_refused() {
        let rounds = Rounds::default().submit(Role::Buyer, 1, 1, &message(1, 0)).unwrap();
        let copied = rounds.submit(Role::Seller, 1, 1, &message(1, 0));
        assert_eq!(copied, Err(RoundError::Copied));
    }

    #[test]
    fn damaged_messages_are_refused() {
        for bad in [
            String::new(),
            "MultisigxV2R1".into(),
            message(2, 0),
            message(1, 0).replace('a', "0"),
            format!("{}{}", message(1, 0), "a".repeat(5000)),
        ] {
            let refused = Rounds::default().submit(Role::Buyer, 1, 1, &bad);
            assert_eq!(refused, Err(RoundError::BadMessage), "{bad}");
        }
    }

    #[test]
    fn attempts_are_numbered_and_bounded() {
        let mut rounds = Rounds::default();
        assert!(rounds.clone().restart(1).is_err());
        assert!(rounds.clone().restart(3).is_err());
        for attempt in 2..=MAX_ATTEMPTS {
            rounds = rounds.restart(attempt).unwrap();
        }
        assert_eq!(rounds.restart(MAX_ATTEMPTS + 1), Err(RoundError::Exhausted));
    }
}
