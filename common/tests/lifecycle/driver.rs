//! Leads an escrow through whatever numbers say: a mixture of what honest parties and a well-behaved chain would do
//! next and of everything else.

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::{Contract, DefaultOutcome};
use aegis_common::escrow::deposits::{Sighting, Slot};
use aegis_common::escrow::event::Event;
use aegis_common::escrow::outcome::Outcome;
use aegis_common::escrow::payout::Payments;
use aegis_common::escrow::setup::Owed;
use aegis_common::escrow::state::{Escrow, Phase, Status};
use aegis_common::escrow::statement::{Act, SignedStatement};
use aegis_common::hash::Signature;
use aegis_common::role::Role;
use aegis_common::testing::{Sim, address, contract, contract_number, hash};
use aegis_common::time::SignedDuration;

use crate::invariants;

/// (from, event, to) of an accepted event.
pub type Seen = (Status, &'static str, Status);

/// Numbers from one number (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len() as u64) as usize]
    }
}

/// An escrow at a random stage under a random contract.
pub fn begin(seed: u64) -> Sim {
    let mut dice = Dice(seed);
    let contract = Contract {
        buyer_deposit: Piconero(dice.pick(&[0, 0, 200_000_000_000])),
        seller_deposit: Piconero(dice.pick(&[0, 300_000_000_000])),
        default_outcome: dice.pick(&[DefaultOutcome::Release, DefaultOutcome::Refund]),
        finality_depth: dice.pick(&[10, 10, 30]) as u32,
        ..contract()
    };
    let mut sim = Sim::new(contract);
    match dice.roll(6) {
        0 => {}
        1 => sim.ready(),
        2 => {
            sim.ready();
            sim.fund(Slot::Payment, Piconero::XMR);
        }
        _ => sim.active(),
    }
    sim
}

/// One thing that may happen, right or wrong.
pub fn event(sim: &mut Sim, dice: &mut Dice) -> Event {
    match dice.roll(20) {
        0..=5 => likely(sim, dice).unwrap_or(Event::Timer { due: None }),
        6..=8 => {
            let (role, act) = (dice.pick(&Role::ALL), act(sim, dice));
            said(sim.sign(role, act))
        }
        9 => said(forged(sim, dice)),
        10 | 11 => Event::DepositSeen { seen: sighting(sim, dice) },
        12 => {
            sim.tip += dice.pick(&[1, 3, 40]);
            Event::Tip { height: sim.tip }
        }
        13 => {
            let to = sim.tip - dice.pick(&[1, 2, 9, 35, 60]).min(sim.tip - 900);
            sim.tip = to;
            Event::RolledBack { to }
        }
        14 => payout(sim, dice),
        15 => {
            let txid = approved(sim, dice);
            sim.now += SignedDuration::from_secs(dice.pick(&[1, 61]));
            Event::PayoutLost { txid }
        }
        16 => {
            let lost = sim.escrow.deposits.all();
            let output = lost.get(dice.roll(4) as usize).map(|deposit| deposit.output);
            output.map_or(Event::Timer { due: None }, |output| Event::DepositLost { output })
        }
        17 => {
            let step = dice.pick(&[-7_200, -1, 0, 1, 60, 3_600, 86_400]);
            sim.now = sim.now.saturating_add(SignedDuration::from_secs(step)).unwrap();
            if dice.roll(4) == 0 {
                return Event::Outage { seconds: dice.pick(&[0, 60, 3_600, u32::MAX]) };
            }
            Event::Timer { due: None }
        }
        18 => {
            if dice.roll(3) == 0
                && let Some(due) = sim.escrow.wake_at()
            {
                sim.now = sim.now.max(due);
            }
            Event::Timer { due: None }
        }
        _ => {
            let somebody = sim.escrow.contract.buyer.user_id;
            Event::Delete { by: if dice.roll(6) == 0 { sim.escrow.initiator } else { somebody } }
        }
    }
}

fn said(signed: SignedStatement) -> Event {
    Event::Statement { signed: Box::new(signed) }
}

/// What somebody honest would do next.
fn likely(sim: &mut Sim, dice: &mut Dice) -> Option<Event> {
    let say = |sim: &Sim, role, act| Some(said(sim.sign(role, act)));
    match (&sim.escrow.phase, sim.escrow.settling()) {
        (Phase::Open { .. }, _) if !sim.escrow.is_ready() => {
            let role = dice.pick(&Role::ALL);
            match sim.escrow.setup.owes(role)? {
                Owed::Acceptance => say(sim, role, Act::Accept {}),
                Owed::Round(round) => say(sim, role, sim.round(role, round)),
                Owed::Attestation => say(sim, role, sim.attest(sim.address())),
            }
        }
        (_, Some(settling)) if settling.approved => {
            let seen = settling.seen;
            match (seen, dice.roll(3)) {
                (Some(seen), 0) if seen.height.is_some() => {
                    sim.tip += u64::from(sim.escrow.contract.finality_depth);
                    Some(Event::Tip { height: sim.tip })
                }
                _ => Some(payout(sim, dice)),
            }
        }
        (_, Some(settling)) if sim.escrow.payable() => {
            let (proposer, cosigner) = settling.signers();
            let missing = [proposer, cosigner].into_iter().find(|role| settling.sync_of(*role).is_none());
            match (missing, &settling.proposal) {
                (Some(role), _) => say(sim, role, sim.sync()),
                (None, None) => say(sim, proposer, sim.propose(Piconero(50_000_000))),
                (None, Some(_)) => {
                    let txid = hash(&format!("payout {}", dice.roll(3)));
                    say(sim, cosigner, sim.approve(txid))
                }
            }
        }
        _ => {
            // The chain goes on: what is unmined is mined, then it becomes final.
            let unmined = sim.escrow.deposits.all().iter().find(|deposit| deposit.height.is_none());
            if let Some(deposit) = unmined.cloned() {
                sim.tip += 1;
                let height = Some(sim.tip);
                let (output, key) = (deposit.output, deposit.key);
                let (slot, amount) = (deposit.slot, deposit.amount);
                let seen = Sighting { output, key, slot, amount, locked: false, height };
                return Some(Event::DepositSeen { seen });
            }
            sim.tip = sim.tip.max(sim.escrow.wake_height()?);
            Some(Event::Tip { height: sim.tip })
        }
    }
}

fn act(sim: &Sim, dice: &mut Dice) -> Act {
    let half = Piconero(Piconero::XMR.0 / 2);
    let outcome = dice.pick(&[
        Outcome::Release,
        Outcome::Refund,
        Outcome::Split { buyer: half, seller: half },
        Outcome::Split { buyer: half, seller: Piconero(1) },
    ]);
    let reason = || "because".to_owned();
    let attempt = sim.escrow.setup.rounds().attempt() + dice.roll(2) as u32;
    let settling = sim.escrow.settling();
    match dice.roll(14) {
        0 => Act::Accept {},
        1 => sim.round(dice.pick(&Role::ALL), 1 + dice.roll(3) as u8),
        2 if dice.roll(4) == 0 => Act::Restart { attempt, reason: reason() },
        3 => sim.attest(address(9_000 + dice.roll(20) / 19)),
        2 if dice.roll(4) == 0 => Act::Decline { reason: reason() },
        2 | 4 => Act::Confirm {},
        5 => Act::Refund {},
        6 => Act::Dispute { reason: reason() },
        7 => Act::Settle { outcome },
        8 => Act::Cancel {},
        9 | 10 => Act::Ruling { outcome, reason: reason() },
        11 if settling.is_some() => {
            let attempt = sim.settling().attempt + dice.roll(3) as u32;
            Act::Sync { attempt, info: "5a".into() }
        }
        12 if settling.is_some() => sim.propose(Piconero(dice.pick(&[1, 50_000_000, u64::MAX]))),
        13 if settling.is_some() => sim.approve(hash(&format!("payout {}", dice.roll(3)))),
        _ if dice.roll(2) == 0 => Act::Evidence { text: reason(), files: Vec::new() },
        _ => Act::Sync { attempt: 1, info: dice.pick(&["5a", "not hex", ""]).into() },
    }
}

/// A statement that must not be taken.
fn forged(sim: &Sim, dice: &mut Dice) -> SignedStatement {
    let role = dice.pick(&Role::ALL);
    let mut signed = sim.sign(role, act(sim, dice));
    let resign = |signed: SignedStatement| signed.statement.sign(&sim.cast.of(role).signing).unwrap();
    match dice.roll(6) {
        0 => signed.signature = Signature([7; 64]),
        1 => {
            signed.statement.role = role.others()[0];
            signed = resign(signed);
        }
        2 => {
            signed.statement.seq += 1;
            signed = resign(signed);
        }
        3 if signed.statement.seq > 0 => {
            signed.statement.seq -= 1;
            signed = resign(signed);
        }
        4 => signed = Sim::new(contract_number(2)).sign(role, Act::Accept {}),
        _ if !sim.transcript.is_empty() => {
            signed = sim.transcript[dice.roll(sim.transcript.len() as u64) as usize].clone();
        }
        _ => signed.statement.act = Act::Sync { attempt: 9, info: "00".into() },
    }
    signed
}

fn sighting(sim: &mut Sim, dice: &mut Dice) -> Sighting {
    let slot = dice.pick(&Slot::ALL);
    let whole = slot.required(&sim.escrow.contract).0.max(1_000_000_000);
    let amount = Piconero(dice.pick(&[1, whole / 3, whole, whole, whole * 2]));
    let mut seen = sim.output(slot, amount);
    if let Some(known) = sim.escrow.deposits.all().first().cloned() {
        match dice.roll(8) {
            // The subaddress goes into the key: a copy is of the same slot.
            0 => (seen.key, seen.slot) = (known.key, known.slot),
            1 => seen.output = known.output,
            _ => {}
        }
    }
    seen.locked = dice.roll(12) == 0;
    if dice.roll(2) == 0 {
        sim.tip += 1;
        seen.height = Some(sim.tip);
    }
    seen
}

fn approved(sim: &Sim, dice: &mut Dice) -> aegis_common::hash::Hash32 {
    let approvals = sim.escrow.settling().map_or(&[][..], |settling| &settling.approvals);
    match approvals.last() {
        Some(newest) if dice.roll(2) == 0 => newest.txid,
        _ => hash(&format!("payout {}", dice.roll(3))),
    }
}

fn payout(sim: &mut Sim, dice: &mut Dice) -> Event {
    let txid = approved(sim, dice);
    let right = sim.escrow.settling().and_then(|settling| {
        let approval = settling.approval(txid)?;
        let mut based = sim.clone();
        let there = match &mut based.escrow.phase {
            Phase::Settling(there) => there,
            Phase::Completed { returns, .. } => returns.under_way.as_deref_mut()?,
            _ => return None,
        };
        (there.basis, there.seen) = (Some(approval.received), None);
        Some(based.payments(Piconero(50_000_000)))
    });
    let wrong = Payments { to: Vec::new(), fee: Piconero(1) };
    let payments = right.filter(|_| dice.roll(5) > 0).unwrap_or(wrong);
    let height = (dice.roll(3) > 0).then(|| {
        sim.tip += 1;
        sim.tip
    });
    Event::PayoutSeen { txid, height, payments }
}

/// Runs a sequence and checks everything that must hold after every step; gives what was seen.
pub fn run(seed: u64, steps: &[u64]) -> Vec<Seen> {
    let (sim, seen) = lead(seed, steps);
    invariants::check_history(&sim);
    seen
}

/// The same; gives the escrow too.
pub fn lead(seed: u64, steps: &[u64]) -> (Sim, Vec<Seen>) {
    let mut sim = begin(seed);
    let mut seen = invariants::rows(&sim);
    let mut outcome = None;
    for step in steps {
        let mut dice = Dice(*step);
        let event = event(&mut sim, &mut dice);
        let before = sim.escrow.clone();
        let name = event.name();
        match sim.apply(event) {
            Ok(_) => {
                seen.push((before.status(), name, sim.status()));
                invariants::check(&sim, &mut outcome);
            }
            Err(_) => {
                assert_eq!(sim.escrow, before);
                // Not every time: it is slow.
                if step % 16 == 0 {
                    assert_eq!(json(&sim.escrow), json(&before));
                }
            }
        }
    }
    (sim, seen)
}

pub fn json(escrow: &Escrow) -> Vec<u8> {
    aegis_common::canonical::to_bytes(escrow).unwrap()
}
