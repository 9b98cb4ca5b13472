//! Stories of escrows, told at the same time over one world, and checked against the chain.

mod check;
mod steps;
mod stories;

use std::time::Duration;

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::DefaultOutcome;
use aegis_common::escrow::outcome::{Authority, Outcome};
use aegis_common::escrow::state::Status;
use aegis_common::ids::EscrowId;
use anyhow::{Result, anyhow};
use futures_util::future::join_all;

use crate::world::{Plan, World};

pub use check::{Row, table, verify};
pub use steps::{Open, fund, open, wait};
pub use stories::Story;

/// Who takes part in the stories.
pub const PEOPLE: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "gina", "heidi"];
/// Those who decide.
pub const ARBITERS: [&str; 3] = ["carol", "erin", "heidi"];

/// The terms of a story's escrow.
#[derive(Debug, Clone, Copy)]
pub struct Deal {
    /// The buyer's name.
    pub buyer: &'static str,
    /// The seller's name.
    pub seller: &'static str,
    /// The arbiter's name.
    pub arbiter: &'static str,
    /// The price.
    pub amount: Piconero,
    /// The buyer's security deposit.
    pub buyer_deposit: Piconero,
    /// The seller's security deposit.
    pub seller_deposit: Piconero,
    /// What happens at expiry.
    pub default: DefaultOutcome,
    /// Whether the story waits for the expiry.
    pub expires_soon: bool,
    /// Seconds until a silent signer is replaced.
    pub cosign_seconds: u32,
}

/// How a story must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Where the amount goes.
    pub outcome: Outcome,
    /// By whose word.
    pub authority: Authority,
}

impl Ending {
    /// The status that goes with it.
    pub fn status(self) -> Status {
        match self.outcome {
            Outcome::Release => Status::CompletedReleased,
            Outcome::Refund => Status::CompletedRefunded,
            Outcome::Split { .. } => Status::CompletedSplit,
        }
    }
}

/// How long after its creation an escrow expires whose story waits for that: in this time three wallets must be set up
/// and the deposits be final, on a machine where all the other stories are under way. `AEGIS_STORY_EXPIRY_SECONDS`.
pub fn expiry() -> Result<Duration> {
    match std::env::var("AEGIS_STORY_EXPIRY_SECONDS") {
        Err(_) => Ok(Duration::from_secs(300)),
        Ok(text) => {
            let seconds =
                text.parse().map_err(|_| anyhow!("AEGIS_STORY_EXPIRY_SECONDS is no number of seconds"))?;
            Ok(Duration::from_secs(seconds))
        }
    }
}

/// What came of all stories.
#[derive(Debug, Default)]
pub struct Report {
    /// Expected and received amounts.
    pub rows: Vec<Row>,
    /// Stories that went wrong, and why.
    pub failures: Vec<(Story, String)>,
    /// The escrows of the others.
    pub escrows: Vec<(Story, EscrowId)>,
}

impl Report {
    /// Every story ended as it must and every payee received what was due, to the piconero.
    pub fn is_good(&self) -> bool {
        self.failures.is_empty() && !self.rows.is_empty() && self.rows.iter().all(Row::is_exact)
    }
}

/// The plan of a world in which every story can be told.
pub fn plan(dir: std::path::PathBuf, quiet: bool) -> Plan {
    Plan {
        dir,
        people: PEOPLE.to_vec(),
        arbiters: ARBITERS.to_vec(),
        block_time: Duration::from_millis(1000),
        settings: |_| {},
        relay: false,
        quiet,
    }
}

/// Tells the stories side by side and checks the payees' receipts on the chain.
pub async fn tell(world: &World, stories: &[Story]) -> Report {
    let told = join_all(stories.iter().map(async |story| {
        let result = story.tell(world).await;
        if let Err(error) = &result {
            world.timeline.say(story.name(), &format!("FAILED: {error:#}"));
        }
        (*story, result)
    }));
    let mut report = Report::default();
    let told = told.await;
    for (story, result) in told {
        let checked = match result {
            Ok(id) => {
                report.escrows.push((story, id));
                verify(world, story, id).await
            }
            Err(error) => Err(error),
        };
        match checked {
            Ok(rows) => report.rows.extend(rows),
            Err(error) => report.failures.push((story, format!("{error:#}"))),
        }
    }
    report
}
