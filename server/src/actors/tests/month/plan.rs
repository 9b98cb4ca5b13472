//! What people are like and what they are up to, from a seed.

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::DefaultOutcome;
use aegis_common::escrow::outcome::Outcome;
use aegis_common::role::Role;

/// SplitMix64 (Steele, Lea and Flood, 2014): the same numbers in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to one below the bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// How somebody behaves. Times are ticks.
pub struct Habit {
    /// Longest pause before an answer.
    pub slow: u64,
    /// When nothing is heard of them at all: from, to.
    pub away: Vec<(u64, u64)>,
    /// Tries what is not allowed before doing what is.
    pub hostile: bool,
    /// As an arbiter: how many of a hundred cases are declined.
    pub declines: u64,
}

impl Habit {
    pub fn of_user(dice: &mut Dice, ticks: u64) -> Self {
        let slow = [1, 2, 12, 60][dice.below(4) as usize];
        let spells = dice.below(3);
        let away = (0..spells).map(|_| away(dice, ticks, 500)).collect();
        Self { slow, away, hostile: dice.percent(10), declines: 0 }
    }

    pub fn of_arbiter(dice: &mut Dice, ticks: u64, number: usize) -> Self {
        // One in four vanishes once, for longer than an arbiter may.
        let away = if number % 4 == 3 { vec![away(dice, ticks, 900)] } else { Vec::new() };
        Self { slow: 6, away, hostile: dice.percent(10), declines: if number % 5 == 1 { 40 } else { 0 } }
    }

    /// Until when they are away, if they are.
    pub fn away_until(&self, tick: u64) -> Option<u64> {
        self.away.iter().find(|(from, to)| (*from..*to).contains(&tick)).map(|(_, to)| *to)
    }
}

fn away(dice: &mut Dice, ticks: u64, most: u64) -> (u64, u64) {
    let from = dice.below(ticks);
    (from, from + most / 3 + dice.below(most * 2 / 3))
}

/// How far two people mean to come with an escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Its initiator deletes it again.
    Deleted,
    /// The other does not want it.
    Declined,
    /// The other never answers.
    Ignored,
    /// It gets an address and no money.
    Unfunded,
    /// Half the money comes.
    Half,
    /// All of it comes when it has expired.
    Late,
    /// It comes at once, in parts, or more than is due.
    Funded,
}

/// How a funded one is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Confirmed,
    Refunded,
    Settled(Outcome),
    Ruled(Outcome),
    /// There is a dispute, and then they agree all the same.
    DisputedAndSettled(Outcome),
    /// Nobody does anything.
    Default,
}

/// What becomes of one escrow if nobody is away for too long.
pub struct Plan {
    pub amount: Piconero,
    pub hours: i64,
    pub default: DefaultOutcome,
    pub start: Start,
    pub end: End,
    /// What the buyer pays, payment by payment.
    pub payments: Vec<Piconero>,
    /// What the buyer pays once more when all is over, by mistake.
    pub again: Option<Piconero>,
    /// Who creates it.
    pub initiator: Role,
    /// The traders name the arbiter themselves.
    pub names_arbiter: bool,
}

impl Plan {
    pub fn new(dice: &mut Dice, (shortest, longest): (u64, u64)) -> Self {
        let amount = Piconero(Piconero::XMR.0 / 10 * (1 + dice.below(200)));
        let part = Piconero(amount.0 / 10 * (1 + dice.below(9)));
        let split = Outcome::Split { buyer: part, seller: Piconero(amount.0 - part.0) };
        let start = match dice.below(100) {
            0..5 => Start::Deleted,
            5..8 => Start::Declined,
            8..14 => Start::Ignored,
            14..20 => Start::Unfunded,
            20..24 => Start::Half,
            24..28 => Start::Late,
            _ => Start::Funded,
        };
        let outcome = [Outcome::Release, Outcome::Refund, split][dice.below(3) as usize];
        let end = match dice.below(100) {
            0..55 => End::Confirmed,
            55..65 => End::Refunded,
            65..72 => End::Settled(split),
            72..86 => End::Ruled(outcome),
            86..89 => End::DisputedAndSettled(split),
            _ => End::Default,
        };
        let half = Piconero(amount.0 / 2);
        let payments = match (start, dice.below(10)) {
            (Start::Half, _) => vec![half],
            (_, 0) => vec![half, Piconero(amount.0 - half.0)],
            (_, 1) => vec![Piconero(amount.0 + half.0)],
            _ => vec![amount],
        };
        let again = (start == Start::Funded && dice.below(10) == 0).then_some(half);
        Self {
            amount,
            hours: (shortest + dice.below(longest - shortest + 1)) as i64,
            default: if dice.percent(50) { DefaultOutcome::Release } else { DefaultOutcome::Refund },
            start,
            end,
            payments,
            again,
            initiator: if dice.percent(50) { Role::Buyer } else { Role::Seller },
            names_arbiter: dice.percent(5),
        }
    }
}
