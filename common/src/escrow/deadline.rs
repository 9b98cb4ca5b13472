//! How long people have to answer. These deadlines, and the turns of signers, are put off by as long as the server
//! was down; what they bring about is never a payment. The contract's expiry is another thing and never moves.

use serde::{Deserialize, Serialize};

use super::settling::Settling;
use super::setup::Stage;
use super::state::{Escrow, Phase};
use super::transition::with_settling;
use crate::role::Role;
use crate::time::{SignedDuration, Timestamp};

/// How long people have, by what is asked of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Patience {
    /// Seconds for each stage of the setup: acceptance, a round, attestation.
    pub setup_seconds: u32,
    /// Seconds for a ruling.
    pub ruling_seconds: u32,
    /// Seconds before expiry at which all are warned, the longer first.
    #[serde(default = "a_day_and_an_hour")]
    pub warning_seconds: [u32; 2],
}

fn a_day_and_an_hour() -> [u32; 2] {
    [86_400, 3_600]
}

impl Patience {
    /// How long before expiry all are warned, the longer first.
    fn warnings(&self) -> [SignedDuration; 2] {
        self.warning_seconds.map(|seconds| SignedDuration::from_secs(i64::from(seconds)))
    }

    /// How many warnings are past when so much is left.
    pub(super) fn warnings_past(&self, left: SignedDuration) -> usize {
        self.warnings().iter().filter(|before| left <= **before).count()
    }

    /// How long before expiry the next warning is due, where so many are past.
    pub(super) fn next_warning(&self, past: usize) -> Option<SignedDuration> {
        self.warnings().get(past).copied()
    }
}

impl Default for Patience {
    /// Three days, and a week; warnings a day and an hour before expiry.
    fn default() -> Self {
        let warning_seconds = a_day_and_an_hour();
        Self { setup_seconds: 3 * 86_400, ruling_seconds: 7 * 86_400, warning_seconds }
    }
}

/// What the clock brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Due {
    /// The contract's expiry.
    Expiry,
    /// A warning of it.
    Warning,
    /// An answer is overdue.
    Answer,
    /// The turn of a pair of signers is over.
    Turn,
}

/// What people are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// What this stage of this setup attempt needs; whether a trader still owes some of it.
    Setup(Stage, u32, bool),
    /// A ruling.
    Ruling,
}

/// Something is awaited of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Awaited {
    /// Since when.
    pub since: Timestamp,
    /// By when; none once it lapsed and nothing more follows from that.
    pub until: Option<Timestamp>,
    /// Seconds by which it was put off because the server was down.
    pub put_off: u32,
}

impl Escrow {
    pub(super) fn asked(&self) -> Option<Asked> {
        match (&self.phase, self.setup.stage()) {
            (Phase::Disputed { .. }, _) => Some(Asked::Ruling),
            (Phase::Open { .. }, Stage::Ready | Stage::Stopped | Stage::Declined) => None,
            (Phase::Open { .. }, stage) => {
                let owe = [Role::Buyer, Role::Seller].iter().any(|role| self.setup.owes(*role).is_some());
                Some(Asked::Setup(stage, self.setup.rounds().attempt(), owe))
            }
            _ => None,
        }
    }

    /// What is due by the clock.
    pub fn due(&self, now: Timestamp) -> Option<Due> {
        self.wake_at().filter(|due| *due <= now)?;
        let left = self.contract.expires_at.duration_since(now);
        let warning = self.patience.next_warning(self.warned);
        match &self.phase {
            Phase::Open { .. } if left <= SignedDuration::ZERO => Some(Due::Expiry),
            Phase::Open { .. } if warning.is_some_and(|before| left <= before) => Some(Due::Warning),
            Phase::Open { .. } | Phase::Disputed { .. } => Some(Due::Answer),
            Phase::Settling(_) | Phase::Completed { .. } => Some(Due::Turn),
            Phase::Expired | Phase::Cancelled { .. } => None,
        }
    }

    /// Who owes an answer to what is awaited.
    pub fn waiting_for(&self) -> Vec<Role> {
        match self.asked() {
            Some(Asked::Setup(..)) => {
                Role::ALL.into_iter().filter(|role| self.setup.owes(*role).is_some()).collect()
            }
            Some(Asked::Ruling) => vec![Role::Arbiter],
            None => Vec::new(),
        }
    }

    fn allowed(&self, asked: Asked) -> SignedDuration {
        let seconds = match asked {
            Asked::Setup(..) => self.patience.setup_seconds,
            Asked::Ruling => self.patience.ruling_seconds,
        };
        SignedDuration::from_secs(i64::from(seconds))
    }

    /// What is awaited from now on, where it is something else than `before`.
    pub(super) fn await_anew(&mut self, before: Option<Asked>, now: Timestamp) {
        let asked = self.asked();
        if asked == before {
            return;
        }
        self.awaited = asked.map(|asked| Awaited {
            since: now,
            until: Some(now.saturating_add(self.allowed(asked)).unwrap_or(Timestamp::MAX)),
            put_off: 0,
        });
    }

    /// The same as it is to be taken that was stored before answers had deadlines and last changed at `since`: what is asked for is
    /// awaited from then on.
    pub fn awaiting(mut self, since: Timestamp) -> Self {
        let disputed = match self.phase {
            Phase::Disputed { by, since, .. } => Some((by, since)),
            _ => None,
        };
        self.disputed_by = self.disputed_by.or(disputed.map(|(by, _)| by));
        if self.awaited.is_none() {
            self.await_anew(None, disputed.map_or(since, |(_, since)| since));
        }
        self
    }

    /// The same without the deadline that has lapsed; a ruling is reminded of again and again.
    pub(super) fn lapsed(&self, now: Timestamp) -> Self {
        let again = self.asked().filter(|asked| *asked == Asked::Ruling);
        let until = again.and_then(|asked| now.checked_add(self.allowed(asked)).ok());
        Self { awaited: self.awaited.map(|awaited| Awaited { until, ..awaited }), ..self.clone() }
    }

    /// Since when people are asked for what is due now.
    pub fn asked_since(&self, now: Timestamp) -> Option<Timestamp> {
        match self.due(now)? {
            Due::Answer => self.awaited.map(|awaited| awaited.since),
            Due::Turn => self.settling().map(|settling| settling.attempt_since),
            Due::Expiry | Due::Warning => None,
        }
    }

    /// The same with its deadline put off: the server was down for so many seconds since the answer, or the signers' turn, was
    /// asked for. `None` where nothing changes.
    pub fn put_off(&self, seconds: u32, now: Timestamp) -> Option<Self> {
        // Nobody can have been kept from answering for longer than they were asked.
        let longer = |since: Timestamp, known: u32| {
            let asked_for = now.duration_since(since).as_secs();
            let asked_for = u32::try_from(asked_for).unwrap_or(if asked_for < 0 { 0 } else { u32::MAX });
            Some(seconds.min(asked_for)).filter(|seconds| *seconds > known)
        };
        if let Some(settling) = self.settling() {
            settling.rotates_at(&self.contract).filter(|_| self.payable())?;
            let put_off = longer(settling.attempt_since, settling.put_off)?;
            return Some(with_settling(self, Settling { put_off, ..settling.clone() }));
        }
        let awaited = self.awaited?;
        let put_off = longer(awaited.since, awaited.put_off)?;
        let more = SignedDuration::from_secs(i64::from(put_off - awaited.put_off));
        let until = Some(awaited.until?.saturating_add(more).unwrap_or(Timestamp::MAX));
        Some(Self { awaited: Some(Awaited { until, put_off, ..awaited }), ..self.clone() })
    }
}
