//! The stories.

use std::time::Duration;

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::DefaultOutcome;
use aegis_common::escrow::deposits::Slot;
use aegis_common::escrow::outcome::{Authority, Outcome};
use aegis_common::escrow::state::Status;
use aegis_common::ids::EscrowId;
use aegis_common::role::Role;
use anyhow::{Result, bail, ensure};

use super::steps::{Open, fund, open, wait};
use super::{Deal, Ending};
use crate::world::World;

/// Deposits need ten blocks, the server and eight wallets share the machine.
pub(super) const FUNDING_LIMIT: Duration = Duration::from_secs(240);
/// Signing, ten blocks, and the expiry where a story waits for it.
const END_LIMIT: Duration = Duration::from_secs(900);

const TWO_THIRDS: Outcome =
    Outcome::Split { buyer: Piconero(800_000_000_001), seller: Piconero(1_600_000_000_002) };
const MOST_TO_BUYER: Outcome =
    Outcome::Split { buyer: Piconero(1_700_000_000_000), seller: Piconero(300_000_000_003) };

/// A story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Story {
    /// Delivered, confirmed, paid.
    Release,
    /// Nobody says anything; the contract's default refunds at expiry.
    ExpiryRefund,
    /// The buyer disputes, the arbiter divides.
    DisputeSplit,
    /// The traders agree to divide; the arbiter is not asked.
    CosignedSplit,
    /// The seller's program is gone for good after funding; buyer and arbiter end it at expiry.
    TraderGone,
    /// The arbiter's program is gone for good after the setup; the traders end a dispute among themselves.
    ArbiterGone,
    /// A reorganisation undoes the payment; it is made again by another transaction.
    Reorganised,
    /// A signer's nonces are stale when the other builds on them; a new attempt heals it.
    StaleNonces,
}

impl Story {
    /// All of them; those that wait for an expiry first.
    pub const ALL: [Self; 8] = [
        Self::ExpiryRefund,
        Self::TraderGone,
        Self::Release,
        Self::DisputeSplit,
        Self::CosignedSplit,
        Self::ArbiterGone,
        Self::Reorganised,
        Self::StaleNonces,
    ];

    /// Its short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::ExpiryRefund => "refund at expiry",
            Self::DisputeSplit => "dispute, ruling",
            Self::CosignedSplit => "co-signed split",
            Self::TraderGone => "trader gone",
            Self::ArbiterGone => "arbiter gone",
            Self::Reorganised => "reorganisation",
            Self::StaleNonces => "stale nonces",
        }
    }

    /// What is traded in it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Release => "a used bicycle",
            Self::ExpiryRefund => "a concert ticket",
            Self::DisputeSplit => "a laptop, screen scratched",
            Self::CosignedSplit => "three crates of apples",
            Self::TraderGone => "a rare stamp",
            Self::ArbiterGone => "a week of gardening",
            Self::Reorganised => "a telescope",
            Self::StaleNonces => "a translation",
        }
    }

    /// Its terms.
    pub fn deal(self) -> Deal {
        let plain = Deal {
            buyer: "alice",
            seller: "bob",
            arbiter: "carol",
            amount: Piconero(1_500_000_000_000),
            buyer_deposit: Piconero::ZERO,
            seller_deposit: Piconero::ZERO,
            default: DefaultOutcome::Release,
            expires_soon: false,
            // Long enough for a busy machine; nobody is silent in most stories.
            cosign_seconds: 240,
        };
        match self {
            Self::Release => Deal { buyer_deposit: Piconero(200_000_000_000), ..plain },
            Self::ExpiryRefund => {
                Deal { arbiter: "heidi", default: DefaultOutcome::Refund, expires_soon: true, ..plain }
            }
            Self::DisputeSplit => Deal {
                amount: Piconero(2_400_000_000_003),
                buyer_deposit: Piconero(100_000_000_000),
                seller_deposit: Piconero(300_000_000_007),
                ..plain
            },
            Self::CosignedSplit => {
                Deal { amount: Piconero(2_000_000_000_003), default: DefaultOutcome::Refund, ..plain }
            }
            Self::TraderGone => Deal {
                seller: "dave",
                arbiter: "heidi",
                seller_deposit: Piconero(250_000_000_000),
                default: DefaultOutcome::Refund,
                expires_soon: true,
                ..plain
            },
            Self::ArbiterGone => Deal { arbiter: "erin", amount: Piconero(2_400_000_000_003), ..plain },
            Self::Reorganised => Deal { arbiter: "heidi", amount: Piconero(3_141_592_653_589), ..plain },
            Self::StaleNonces => Deal { buyer: "frank", seller: "gina", arbiter: "heidi", ..plain },
        }
    }

    /// How it must end.
    pub fn ending(self) -> Ending {
        let (outcome, authority) = match self {
            Self::Release | Self::Reorganised | Self::StaleNonces => (Outcome::Release, Authority::Buyer),
            Self::ExpiryRefund | Self::TraderGone => (Outcome::Refund, Authority::Expiry),
            Self::DisputeSplit => (TWO_THIRDS, Authority::Ruling),
            Self::ArbiterGone => (TWO_THIRDS, Authority::Mutual),
            Self::CosignedSplit => (MOST_TO_BUYER, Authority::Mutual),
        };
        Ending { outcome, authority }
    }

    /// Tells it to its end.
    pub async fn tell(self, world: &World) -> Result<EscrowId> {
        let open = open(world, self).await?;
        match self {
            Self::Release => release(&open).await?,
            Self::ExpiryRefund => pay_in(&open).await?,
            Self::DisputeSplit => dispute(&open).await?,
            Self::CosignedSplit => {
                pay_in(&open).await?;
                settle(&open).await?;
            }
            Self::TraderGone => {
                pay_in(&open).await?;
                open.person(open.deal.seller)?.program.kill(true)?;
                open.say("the seller's program is killed and never comes back");
            }
            Self::ArbiterGone => {
                open.person(open.deal.arbiter)?.program.kill(true)?;
                open.say("the arbiter's program is killed and never comes back");
                pay_in(&open).await?;
                open.act(open.deal.buyer, "dispute", &["--reason", "half of the hedge is uncut"]).await?;
                settle(&open).await?;
            }
            Self::Reorganised => reorganised(&open).await?,
            Self::StaleNonces => stale_nonces(&open).await?,
        }
        ended(&open).await?;
        Ok(open.id)
    }
}

/// Both traders pay what they owe; ends when all of it is final.
async fn pay_in(open: &Open<'_>) -> Result<()> {
    fund(open, open.deal.buyer).await?;
    if open.deal.seller_deposit > Piconero::ZERO {
        fund(open, open.deal.seller).await?;
    }
    active(open).await
}

async fn active(open: &Open<'_>) -> Result<()> {
    wait(open, "the deposits to be final", FUNDING_LIMIT, |view| match view.status {
        Status::Active => Ok(Some(())),
        Status::PendingFunding | Status::BuyerFunded => Ok(None),
        other => bail!("it is {other}: the expiry came before the deposits were final"),
    })
    .await?;
    open.say("fully funded");
    Ok(())
}

/// Waits for the end and checks that it is the right one.
async fn ended(open: &Open<'_>) -> Result<()> {
    let status =
        wait(open, "the end", END_LIMIT, |view| Ok(view.status.is_over().then_some(view.status))).await?;
    let due = open.story.ending().status();
    ensure!(status == due, "it ended as {status} and should have ended as {due}");
    open.say(&format!("ended: {status}"));
    Ok(())
}

async fn release(open: &Open<'_>) -> Result<()> {
    pay_in(open).await?;
    open.act(open.deal.seller, "confirm", &[]).await?;
    open.act(open.deal.buyer, "confirm", &[]).await?;
    Ok(())
}

async fn dispute(open: &Open<'_>) -> Result<()> {
    pay_in(open).await?;
    open.act(open.deal.seller, "confirm", &[]).await?;
    open.act(open.deal.buyer, "dispute", &["--reason", "the screen is broken, not scratched"]).await?;
    // A dispute never waits for the server: where that is away, the program keeps the word and sends it when it is back.
    wait(open, "the dispute to be taken", END_LIMIT, |view| {
        Ok((view.status == Status::Disputed).then_some(()))
    })
    .await?;
    open.act(
        open.deal.seller,
        "evidence",
        &["--text", "it was whole when it was sent", "--file", "/bin/true"],
    )
    .await?;
    let (buyer, seller) = parts(open)?;
    let ruling = ["--buyer", &buyer, "--seller", &seller, "--reason", "a third back for the screen"];
    open.act(open.deal.arbiter, "rule", &ruling).await?;
    Ok(())
}

/// The parts of the split the story must end with, in XMR.
fn parts(open: &Open<'_>) -> Result<(String, String)> {
    match open.story.ending().outcome {
        Outcome::Split { buyer, seller } => Ok((buyer.xmr(), seller.xmr())),
        other => bail!("{other:?} has no parts"),
    }
}

async fn settle(open: &Open<'_>) -> Result<()> {
    let (buyer, seller) = parts(open)?;
    for name in [open.deal.buyer, open.deal.seller] {
        open.act(name, "settle", &["--buyer", &buyer, "--seller", &seller]).await?;
    }
    Ok(())
}

async fn reorganised(open: &Open<'_>) -> Result<()> {
    let undone = fund(open, open.deal.buyer).await?;
    wait(open, "two confirmations of the payment", FUNDING_LIMIT, |view| {
        let outputs = view.deposits.iter().flat_map(|slot| &slot.outputs);
        Ok(outputs.map(|output| output.confirmations).max().filter(|confirmations| *confirmations >= 2))
    })
    .await?;
    let home = open.world.funds.address().to_string();
    let depth = open.world.chain.undo(undone, &home).await?;
    open.say(&format!("a reorganisation undoes {depth} blocks; the payment is gone"));
    wait(open, "the server to notice", FUNDING_LIMIT, |view| {
        ensure!(view.status == Status::PendingFunding, "it is {} without money", view.status);
        let slot = view.deposits.iter().find(|slot| slot.slot == Slot::Payment);
        Ok(slot.filter(|slot| slot.missing.piconero == view.contract.amount).map(|_| ()))
    })
    .await?;
    open.world.funds.refresh().await?;
    let again = fund(open, open.deal.buyer).await?;
    ensure!(again != undone, "the same transaction was made again");
    active(open).await?;
    open.act(open.deal.buyer, "confirm", &[]).await?;
    Ok(())
}

async fn stale_nonces(open: &Open<'_>) -> Result<()> {
    pay_in(open).await?;
    let (cosigner, proposer) = (open.person(open.deal.buyer)?, open.person(open.deal.seller)?);
    proposer.program.stop().await?;
    open.act(open.deal.buyer, "confirm", &[]).await?;
    wait(open, "the buyer's signing data", END_LIMIT, |view| {
        let syncs = view.payout.iter().flat_map(|payout| &payout.syncs);
        Ok(syncs.into_iter().find(|sync| sync.role == Role::Buyer).map(|_| ()))
    })
    .await?;
    cosigner.program.stop().await?;
    let daemon = cosigner.program.daemon();
    cosigner.program.cmd(&["expert", "export", &open.id_text, "--daemon", daemon]).await?;
    open.say("the buyer's wallet exports again behind the protocol's back: what was posted is stale");
    proposer.program.start()?;
    wait(open, "a proposal built on the stale data", END_LIMIT, |view| {
        Ok(view.payout.as_ref().and_then(|payout| payout.proposal.as_ref()).map(|_| ()))
    })
    .await?;
    cosigner.program.start()?;
    let attempt = wait(open, "a second attempt", END_LIMIT, |view| {
        let attempt = view.payout.as_ref().map_or(0, |payout| payout.attempt);
        ensure!(attempt > 1 || !view.status.is_over(), "it was signed with stale nonces");
        Ok((attempt > 1).then_some(attempt))
    })
    .await?;
    open.say(&format!("healed by signing attempt {attempt}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_adds_up_to_its_deal() {
        for story in Story::ALL {
            assert!(story.ending().outcome.parts(story.deal().amount).is_some(), "{story:?}");
        }
    }

    #[test]
    fn who_disappears_takes_part_in_no_other_story() {
        for (story, name) in
            [(Story::TraderGone, "dave"), (Story::ArbiterGone, "erin"), (Story::StaleNonces, "frank")]
        {
            for other in Story::ALL.into_iter().filter(|other| *other != story) {
                let deal = other.deal();
                assert!(![deal.buyer, deal.seller, deal.arbiter].contains(&name), "{other:?}");
            }
        }
    }
}
