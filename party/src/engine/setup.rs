//! The setup: acceptance, three rounds, attestation.

use aegis_common::escrow::setup::Owed;
use aegis_common::escrow::statement::Act;
use aegis_common::hash::Key32;
use aegis_common::multisig::rounds::{THRESHOLD, TOTAL};

use super::EngineError;
use super::desk::{Desk, Held};
use super::run::Engine;
use crate::keys::{PinCheck, PinSource};
use crate::policy::{Accept, Policy};
use crate::wallet::{RoundOutput, WalletError, WalletName};

/// Why a setup begins anew: the wallet was killed before it handed out its output, or while it wrote its files and can't
/// open them again. Who owes a round or the attestation has not attested this attempt's address: nothing is lost with it.
const LOST: &str = "a wallet output was lost";

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is owed, or others have to go first.
    Nothing,
    /// Something was done; there may be more.
    Did(String),
    /// The person is asked.
    Asks(String),
}

impl Engine {
    /// Does what this participant owes the setup.
    pub async fn step_setup(&self, held: &mut Held<'_>) -> Result<Progress, EngineError> {
        let setup = held.book.setup();
        let attempt = setup.rounds().attempt();
        match setup.owes(held.book.role) {
            None => Ok(Progress::Nothing),
            Some(Owed::Acceptance) => self.accept_by_policy(held).await,
            Some(Owed::Round(round)) => self.send_round(held, attempt, round).await,
            Some(Owed::Attestation) => match self.attest(held, attempt).await {
                // Where the addresses are known an attestation may be out, though the server says that it refused it.
                Err(EngineError::Wallet(WalletError::CannotOpen))
                    if held.book.attempts.get(&attempt).is_none_or(|book| book.addresses.is_none()) =>
                {
                    restart(held, attempt, LOST).await
                }
                attested => attested,
            },
        }
    }

    async fn accept_by_policy(&self, held: &mut Held<'_>) -> Result<Progress, EngineError> {
        let by_policy = self.policy.covers(&held.book.contract)
            && match self.policy.accept {
                Accept::Ask => false,
                Accept::Pinned | Accept::Any => may_accept(&self.desk, held, &self.policy).is_ok(),
            };
        if !by_policy {
            return Ok(Progress::Asks("a contract waits for your decision: aegis accept".to_owned()));
        }
        accept(&self.desk, held, self.policy.accept == Accept::Any).await?;
        Ok(Progress::Did("accepted by policy".to_owned()))
    }

    async fn send_round(
        &self,
        held: &mut Held<'_>,
        attempt: u32,
        round: u8,
    ) -> Result<Progress, EngineError> {
        let stored = held.book.attempts.get(&attempt).and_then(|book| book.messages.get(&round)).cloned();
        let message = match stored {
            Some(message) => message,
            None => match self.make_message(held, attempt, round).await {
                Ok(message) => {
                    held.book.attempts.entry(attempt).or_default().messages.insert(round, message.clone());
                    held.save()?;
                    message
                }
                // The wallet is ahead of the book: its output was lost in a crash and can't be made again.
                Err(EngineError::Wallet(
                    WalletError::AlreadyMultisig | WalletError::WrongRound | WalletError::CannotOpen,
                )) => return restart(held, attempt, LOST).await,
                Err(other) => return Err(other),
            },
        };
        held.say(Act::Round { attempt, round, message }, None).await?;
        Ok(Progress::Did(format!("sent the message of round {round}")))
    }

    async fn make_message(&self, held: &Held<'_>, attempt: u32, round: u8) -> Result<String, EngineError> {
        let name = WalletName::of(held.book.contract.escrow_id, attempt);
        if round == 1 {
            let mut session = match self.wallet.create(&name).await {
                Err(WalletError::WalletExists) => self.wallet.session(&name).await?,
                other => other?,
            };
            return Ok(session.prepare().await?);
        }
        let others = held.book.others_messages(attempt, round - 1).ok_or_else(not_yet)?;
        let mut session = self.wallet.session(&name).await?;
        Ok(match round {
            2 => session.make(&others).await?,
            _ => session.exchange(&others).await?.message,
        })
    }

    /// The last wallet step, the restore drill and the attestation.
    async fn attest(&self, held: &mut Held<'_>, attempt: u32) -> Result<Progress, EngineError> {
        let name = WalletName::of(held.book.contract.escrow_id, attempt);
        let mut session = self.wallet.session(&name).await?;
        let mut status = session.status().await?;
        if !status.ready {
            let others = held.book.others_messages(attempt, 3).ok_or_else(not_yet)?;
            let RoundOutput { .. } = session.exchange(&others).await?;
            status = session.status().await?;
        }
        let bound = status.multisig
            && status.ready
            && status.threshold == u32::from(THRESHOLD)
            && status.total == u32::from(TOTAL);
        if !bound {
            return Err(EngineError::Person(
                "the wallet is not a ready 2-of-3; nothing is attested".to_owned(),
            ));
        }
        let addresses = session.addresses().await?;
        let [address, ..] = addresses;
        let view_key = Key32(*session.view_key().await?);
        match session.prove_backup(&address).await {
            Ok(()) => {}
            // A wallet that somebody else runs keeps its files to itself; its owner backs them up.
            Err(WalletError::BadArgument(_)) if self.wallet.exists(&name).is_none() => {}
            Err(error) => return Err(error.into()),
        }
        held.book.attempts.entry(attempt).or_default().addresses = Some(addresses);
        held.save()?;
        let attest = Act::Attest { attempt, address, threshold: THRESHOLD, total: TOTAL, ready: true };
        held.say(attest, Some(view_key)).await?;
        Ok(Progress::Did("attested the escrow's address".to_owned()))
    }
}

fn not_yet() -> EngineError {
    EngineError::Book("the others' messages of the last round are missing".to_owned())
}

async fn restart(held: &mut Held<'_>, attempt: u32, reason: &str) -> Result<Progress, EngineError> {
    held.say(Act::Restart { attempt: attempt + 1, reason: reason.to_owned() }, None).await?;
    Ok(Progress::Did(format!("asked for setup attempt {}: {reason}", attempt + 1)))
}

/// Whether the keys that the contract gives for the others allow accepting.
fn may_accept(desk: &Desk, held: &Held<'_>, policy: &Policy) -> Result<(), EngineError> {
    for (name, _, check) in desk.peers(&held.book) {
        match check {
            PinCheck::Same(_) => {}
            PinCheck::Unknown if policy.accept == Accept::Any => {}
            PinCheck::Unknown => {
                let how = "store their pin: aegis pin add; or accept with --trust-first-use and then compare: aegis safety";
                return Err(EngineError::Person(format!("the keys of {name} are unknown here; {how}")));
            }
            PinCheck::Changed(_) => {
                return Err(EngineError::Person(format!("the keys of {name} are not those you pinned")));
            }
        }
    }
    Ok(())
}

/// Accepts the contract. Unknown keys are pinned where the person trusts their first use.
pub async fn accept(desk: &Desk, held: &mut Held<'_>, trust_first_use: bool) -> Result<(), EngineError> {
    let accept = if trust_first_use { Accept::Any } else { Accept::Pinned };
    may_accept(desk, held, &Policy { accept, ..Policy::default() })?;
    for (name, keys, check) in desk.peers(&held.book) {
        if check == PinCheck::Unknown {
            desk.pin(&name, keys, PinSource::FirstUse)?;
        }
    }
    held.say(Act::Accept {}, None).await?;
    Ok(())
}
