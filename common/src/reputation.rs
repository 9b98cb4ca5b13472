//! What finished escrows say of people. Nobody sets it: it is a pure function of how they ended, which their journals tell.

use serde::{Deserialize, Serialize};

use crate::amount::Piconero;
use crate::escrow::event::Event;
use crate::escrow::outcome::{Authority, Outcome};
use crate::escrow::state::{Escrow, Phase};
use crate::ids::{EscrowId, UserId};
use crate::role::Role;
use crate::time::Timestamp;

/// How an escrow ended that was paid out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// The escrow.
    pub escrow_id: EscrowId,
    /// Buyer, seller and arbiter.
    pub parties: [UserId; 3],
    /// Where the amount went.
    pub outcome: Outcome,
    /// By whose word.
    pub authority: Authority,
    /// Who called the arbiter, if anybody did.
    pub disputed_by: Option<Role>,
    /// The price.
    pub amount: Piconero,
    /// When the payout was final.
    pub at: Timestamp,
}

impl Ending {
    /// The ending of an escrow that has become complete with an event at a moment; `None` for any other, and where it was never
    /// funded: a refund of what came in part says nothing of anybody, and anybody could have it for a few pieces of dust.
    pub fn of(escrow: &Escrow, at: Timestamp) -> Option<Self> {
        let Phase::Completed { settled, .. } = &escrow.phase else { return None };
        if settled.partial {
            return None;
        }
        let contract = &escrow.contract;
        Some(Self {
            escrow_id: contract.escrow_id,
            parties: Role::ALL.map(|role| contract.party(role).user_id),
            outcome: settled.outcome,
            authority: settled.authority,
            disputed_by: escrow.disputed_by,
            amount: contract.amount,
            at,
        })
    }

    /// The same from an escrow as it was created and its journal.
    pub fn from_journal<'a>(
        created: &Escrow,
        journal: impl IntoIterator<Item = (&'a Event, Timestamp)>,
    ) -> Option<Self> {
        let mut escrow = created.clone();
        for (event, at) in journal {
            escrow = crate::escrow::transition::apply(&escrow, event, at).ok()?.0;
            if let Some(ending) = Self::of(&escrow, at) {
                return Some(ending);
            }
        }
        None
    }
}

/// How much somebody has traded, in classes: the sum itself would tell strangers what a person has.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum VolumeBand {
    /// Nothing.
    #[default]
    None,
    /// Less than 1 XMR.
    Under1,
    /// Less than 10.
    Under10,
    /// Less than 100.
    Under100,
    /// Less than 1000.
    Under1000,
    /// 1000 XMR or more.
    From1000,
}

impl VolumeBand {
    /// The class of a sum.
    pub fn of(volume: Piconero) -> Self {
        match volume.0 / Piconero::XMR.0 {
            0 if volume == Piconero::ZERO => Self::None,
            0 => Self::Under1,
            1..10 => Self::Under10,
            10..100 => Self::Under100,
            100..1000 => Self::Under1000,
            _ => Self::From1000,
        }
    }
}

/// A person's endings, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// As a trader: the seller was paid.
    pub released: u64,
    /// The buyer got the money back.
    pub refunded: u64,
    /// The amount was divided.
    pub split: u64,
    /// One of the two had called the arbiter.
    pub disputed: u64,
    /// The arbiter ruled for this person.
    pub won: u64,
    /// The arbiter ruled for the other.
    pub lost: u64,
    /// Prices together; no more than can be counted.
    pub volume: Piconero,
    /// As an arbiter: escrows that were paid out.
    pub arbitrated: u64,
    /// Of these, how many by its ruling.
    pub ruled: u64,
}

impl Tally {
    /// Counts an ending for whoever played a role in it.
    pub fn count(&mut self, ending: &Ending, role: Role) {
        let ruled = ending.authority == Authority::Ruling;
        if !role.is_trader() {
            self.arbitrated += 1;
            self.ruled += u64::from(ruled);
            return;
        }
        let favoured = match ending.outcome {
            Outcome::Release => Some(Role::Seller),
            Outcome::Refund => Some(Role::Buyer),
            Outcome::Split { .. } => None,
        };
        match ending.outcome {
            Outcome::Release => self.released += 1,
            Outcome::Refund => self.refunded += 1,
            Outcome::Split { .. } => self.split += 1,
        }
        self.disputed += u64::from(ending.disputed_by.is_some());
        if let Some(favoured) = favoured.filter(|_| ruled) {
            self.won += u64::from(favoured == role);
            self.lost += u64::from(favoured != role);
        }
        self.volume = self.volume.checked_add(ending.amount).unwrap_or(Piconero(u64::MAX));
    }

    /// Counts all of somebody's.
    pub fn of<'a>(user: UserId, endings: impl IntoIterator<Item = &'a Ending>) -> Self {
        let mut tally = Self::default();
        for ending in endings {
            let played = Role::ALL.into_iter().zip(ending.parties).filter(|(_, party)| *party == user);
            played.for_each(|(role, _)| tally.count(ending, role));
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::escrow::statement::Act;
    use crate::testing::{Sim, contract};

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn user(number: u128) -> UserId {
        UserId(Uuid::from_u128(number))
    }

    fn ending(outcome: Outcome, authority: Authority) -> Ending {
        Ending {
            escrow_id: EscrowId(Uuid::nil()),
            parties: [user(1), user(2), user(3)],
            outcome,
            authority,
            disputed_by: (authority == Authority::Ruling).then_some(Role::Buyer),
            amount: Piconero(4 * Piconero::XMR.0),
            at: NOW,
        }
    }

    #[test]
    fn each_ending_counts_for_its_parties_by_what_they_were() {
        let half = Piconero(2 * Piconero::XMR.0);
        let split = Outcome::Split { buyer: half, seller: half };
        let endings = [
            ending(Outcome::Release, Authority::Buyer),
            ending(Outcome::Release, Authority::Ruling),
            ending(Outcome::Refund, Authority::Ruling),
            ending(Outcome::Refund, Authority::Ruling),
            ending(split, Authority::Ruling),
            ending(split, Authority::Mutual),
        ];
        let [buyer, seller, arbiter, nobody] = [1, 2, 3, 4].map(|number| Tally::of(user(number), &endings));
        let traders = Tally {
            released: 2,
            refunded: 2,
            split: 2,
            disputed: 4,
            volume: Piconero(24 * Piconero::XMR.0),
            ..Tally::default()
        };
        assert_eq!(buyer, Tally { won: 2, lost: 1, ..traders });
        assert_eq!(seller, Tally { won: 1, lost: 2, ..traders });
        assert_eq!(arbiter, Tally { arbitrated: 6, ruled: 4, ..Tally::default() });
        assert_eq!(nobody, Tally::default());
    }

    #[test]
    fn volumes_fall_into_classes() {
        let xmr = |number: u64| VolumeBand::of(Piconero(number * Piconero::XMR.0));
        assert_eq!(VolumeBand::of(Piconero::ZERO), VolumeBand::None);
        assert_eq!(VolumeBand::of(Piconero(1)), VolumeBand::Under1);
        assert_eq!(VolumeBand::of(Piconero(Piconero::XMR.0 - 1)), VolumeBand::Under1);
        assert_eq!(
            [xmr(1), xmr(9), xmr(10)],
            [VolumeBand::Under10, VolumeBand::Under10, VolumeBand::Under100]
        );
        assert_eq!(
            [xmr(99), xmr(999), xmr(1000)],
            [VolumeBand::Under100, VolumeBand::Under1000, VolumeBand::From1000]
        );
    }

    #[test]
    fn a_refund_of_what_came_in_part_says_nothing() {
        use crate::escrow::deposits::Slot;
        let mut sim = Sim::new(contract());
        sim.ready();
        sim.fund(Slot::Payment, Piconero(Piconero::XMR.0 / 2));
        sim.mine(20);
        while sim.escrow.settling().is_none() {
            sim.wake().unwrap();
        }
        sim.pay();
        assert_eq!(sim.status(), crate::escrow::state::Status::CompletedRefunded);
        assert_eq!(Ending::of(&sim.escrow, sim.now), None);
    }

    #[test]
    fn the_journal_tells_the_ending_also_that_there_was_a_dispute() {
        let mut sim = Sim::new(contract());
        sim.active();
        sim.say(Role::Seller, Act::Dispute { reason: "no answer".to_owned() }).unwrap();
        let reason = "it was delivered".to_owned();
        sim.say(Role::Arbiter, Act::Ruling { outcome: Outcome::Release, reason }).unwrap();
        assert_eq!(Ending::of(&sim.escrow, sim.now), None);
        sim.pay();
        let found = Ending::of(&sim.escrow, sim.now).unwrap();
        assert_eq!((found.disputed_by, found.authority), (Some(Role::Seller), Authority::Ruling));
        let journal = sim.journal.iter().map(|(event, at)| (event, *at));
        assert_eq!(Ending::from_journal(&sim.created, journal), Some(found));
        assert_eq!(Ending::from_journal(&sim.created, []), None);
    }
}
