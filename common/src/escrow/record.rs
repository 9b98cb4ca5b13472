//! The record of an escrow: its contract and all that happened to it, so that anybody can find out offline where it stands and
//! by whose word.
//!
//! Nothing in a record says where the escrow stands: [`Record::replay`] applies the journal to the escrow as it was created,
//! by the same rules as the server. It fails where a statement was forged, changed, moved or left out from between others,
//! and where anything happened that the rules do not allow. What it can't prove: what the chain held, what the time was, and
//! that nothing was said after the last entry; for these a record is the server's word.

use serde::{Deserialize, Serialize};

use super::contract::{Contract, ContractError};
use super::deadline::Patience;
use super::event::Event;
use super::state::{Escrow, Opening};
use super::transition::{Rejected, apply};
use crate::canonical::{self, NotCanonical};
use crate::ids::{EscrowId, UserId};
use crate::time::Timestamp;

/// One change: an event and the moment at which it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// The `now` it was decided with.
    pub at: Timestamp,
}

impl Entry {
    /// The text that a server keeps: canonical JSON.
    pub fn to_text(&self) -> Result<String, NotCanonical> {
        String::from_utf8(canonical::to_bytes(self)?).map_err(|_| NotCanonical)
    }

    /// Reads that text.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// How an escrow began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Beginning {
    /// Version of this format: 1.
    pub format: u8,
    /// The terms.
    pub contract: Contract,
    /// Who created it.
    pub initiator: UserId,
    /// The escrow whose place it takes.
    pub replaces: Option<EscrowId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// How long people have to answer.
    pub patience: Patience,
}

impl Beginning {
    /// The format this program writes.
    pub const FORMAT: u8 = 1;

    /// How this escrow began.
    pub fn of(escrow: &Escrow) -> Self {
        Self {
            format: Self::FORMAT,
            contract: escrow.contract.clone(),
            initiator: escrow.initiator,
            replaces: escrow.replaces,
            created_at: escrow.created_at,
            patience: escrow.patience,
        }
    }

    /// The escrow as it was created. The contract is checked but for its expiry, which only counts when it is made.
    pub fn created(&self) -> Result<Escrow, RecordError> {
        if self.format != Self::FORMAT {
            return Err(RecordError::Format(self.format));
        }
        self.contract.check()?;
        let Self { initiator, replaces, patience, .. } = *self;
        Ok(Escrow::create(self.contract.clone(), Opening { initiator, replaces, patience }, self.created_at)?)
    }
}

/// An escrow's beginning and its journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// How it began.
    pub beginning: Beginning,
    /// Everything that happened to it, in order.
    pub journal: Vec<Entry>,
}

impl Record {
    /// The escrow after its last entry.
    pub fn replay(&self) -> Result<Escrow, RecordError> {
        let mut escrow = self.beginning.created()?;
        for (number, Entry { event, at }) in (1..).zip(&self.journal) {
            let applied = apply(&escrow, event, *at);
            escrow = applied.map_err(|why| RecordError::Entry { number, event: event.name(), why })?.0;
        }
        Ok(escrow)
    }
}

/// A record does not hold together.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Another program wrote it.
    #[error("records of format {0} are not known; this program knows format 1")]
    Format(u8),
    /// Nobody could have made this contract.
    #[error("the contract: {0}")]
    Contract(#[from] ContractError),
    /// The contract can't be hashed.
    #[error("the contract: {0}")]
    NotCanonical(#[from] NotCanonical),
    /// Something happened that can't have.
    #[error("entry {number} ({event}): {why}")]
    Entry {
        /// Which entry, from 1.
        number: u64,
        /// What it is.
        event: &'static str,
        /// Why it can't be.
        why: Rejected,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::Piconero;
    use crate::escrow::outcome::Outcome;
    use crate::escrow::state::Status;
    use crate::escrow::statement::Act;
    use crate::role::Role;
    use crate::testing::{Sim, contract};

    fn ruled() -> (Record, Escrow) {
        let mut sim = Sim::new(contract());
        sim.active();
        sim.say(Role::Buyer, Act::Dispute { reason: "one wheel".to_owned() }).unwrap();
        let ruling = Act::Ruling { outcome: Outcome::Refund, reason: "indeed".to_owned() };
        sim.say(Role::Arbiter, ruling).unwrap();
        sim.pay();
        let journal = sim.journal.iter().map(|(event, at)| Entry { event: event.clone(), at: *at }).collect();
        (Record { beginning: Beginning::of(&sim.created), journal }, sim.escrow)
    }

    #[test]
    fn a_record_tells_where_an_escrow_stands_also_after_a_trip_through_a_file() {
        let (record, escrow) = ruled();
        let text = serde_json::to_string(&record).unwrap();
        let read: Record = serde_json::from_str(&text).unwrap();
        assert_eq!(read.replay().unwrap(), escrow);
        assert_eq!(escrow.status(), Status::CompletedRefunded);
        let shorter = Record { journal: record.journal[..3].to_vec(), ..record };
        assert_eq!(shorter.replay().unwrap().status(), Status::PendingFunding, "an earlier moment");
    }

    #[test]
    fn nothing_that_was_said_can_be_changed_moved_left_out_or_added() {
        let (record, _) = ruled();
        let statements: Vec<usize> = (0..record.journal.len())
            .filter(|at| matches!(record.journal[*at].event, Event::Statement { .. }))
            .collect();
        for at in &statements {
            let mut without = record.clone();
            let removed = without.journal.remove(*at);
            // Each author's last word can be withheld: that is what a record can't prove.
            let Event::Statement { signed } = &removed.event else { unreachable!() };
            let later = |entry: &Entry| matches!(&entry.event, Event::Statement { signed: other } if other.statement.role == signed.statement.role);
            if record.journal[at + 1..].iter().any(later) {
                assert!(without.replay().is_err(), "entry {at} is missed");
            }
            let mut twice = record.clone();
            twice.journal.insert(*at, removed.clone());
            assert!(twice.replay().is_err(), "entry {at} counts once");
            let mut forged = record.clone();
            let Event::Statement { signed } = &mut forged.journal[*at].event else { unreachable!() };
            signed.statement.seq += 1;
            assert!(forged.replay().is_err(), "entry {at} was signed as it was");
        }
        assert!(statements.len() > 15);
    }

    #[test]
    fn another_contract_was_never_agreed_to() {
        let (record, _) = ruled();
        let mut changed = record.clone();
        changed.beginning.contract.amount = Piconero(record.beginning.contract.amount.0 - 1);
        assert!(matches!(changed.replay(), Err(RecordError::Entry { number: 1, .. })));
        let mut unsound = record.clone();
        unsound.beginning.contract.title.clear();
        assert!(matches!(unsound.replay(), Err(RecordError::Contract(_))));
        let mut newer = record;
        newer.beginning.format = 2;
        assert!(matches!(newer.replay(), Err(RecordError::Format(2))));
    }
}
