//! What most stories have in common: agreeing, setting up, paying in, waiting.

use std::time::{Duration, Instant};

use aegis_common::address::{Address, Network};
use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::DefaultOutcome;
use aegis_common::escrow::deposits::Slot;
use aegis_common::escrow::setup::Stage;
use aegis_common::escrow::state::Status;
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::wire::escrow::EscrowView;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use super::stories::FUNDING_LIMIT;
use super::{Deal, Story, expiry};
use crate::participant::Refused;
use crate::world::{Person, World};

/// Eight setups at a time.
const SETUP_LIMIT: Duration = Duration::from_secs(480);
const EVERY: Duration = Duration::from_millis(500);

/// An escrow of a story.
pub struct Open<'w> {
    /// The world.
    pub world: &'w World,
    /// Which story.
    pub story: Story,
    /// Its terms.
    pub deal: Deal,
    /// The escrow.
    pub id: EscrowId,
    /// The escrow's id as text.
    pub id_text: String,
}

impl<'w> Open<'w> {
    /// A person of this story.
    pub fn person(&self, name: &str) -> Result<&'w Person> {
        self.world.person(name)
    }

    /// A command of a person about this escrow: `aegis VERB ID …`. All stories are on one chain: where the reorganisation of
    /// another takes back, at this very moment, that the payment is final, the person waits for it and says the same again.
    pub async fn act(&self, name: &str, verb: &str, more: &[&str]) -> Result<Value> {
        self.say(&format!("{name} says {verb} {}", more.join(" ")));
        let arguments: Vec<&str> = [verb, &self.id_text].into_iter().chain(more.iter().copied()).collect();
        let person = self.person(name)?;
        match person.program.cmd(&arguments).await {
            Err(error) if is_taken_back(&error) => {
                self.say("a reorganisation has taken back that the payment is final");
                wait(self, "the payment to be final again", FUNDING_LIMIT, |view| {
                    Ok((view.status == Status::Active).then_some(()))
                })
                .await?;
                self.say(&format!("{name} says {verb} again"));
                person.program.cmd(&arguments).await
            }
            said => said,
        }
    }

    /// A line of the timeline.
    pub fn say(&self, text: &str) {
        self.world.timeline.say(self.story.name(), text.trim_end());
    }
}

/// Whether a word was refused because the payment is not final any more.
fn is_taken_back(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.is_some_and(|it| it.code == "wrong_state" && it.message.contains(Status::PendingFunding.wire()))
}

/// The buyer proposes the deal; ends when all three programs have set up the wallet and attested its address.
pub async fn open(world: &World, story: Story) -> Result<Open<'_>> {
    let deal = story.deal();
    let expires = if deal.expires_soon { format!("{}s", expiry()?.as_secs()) } else { "12h".to_owned() };
    let [amount, cosign] = [deal.amount.xmr(), deal.cosign_seconds.to_string()];
    let default = match deal.default {
        DefaultOutcome::Release => "release",
        DefaultOutcome::Refund => "refund",
    };
    let deposits = [deal.buyer_deposit.xmr(), deal.seller_deposit.xmr()];
    let mut arguments = vec!["create", "--as", "buyer", "--with", deal.seller, "--arbiter", deal.arbiter];
    arguments.extend(["--title", story.title(), "--amount", &amount, "--default", default]);
    arguments.extend(["--expires", &expires, "--cosign-seconds", &cosign]);
    for (option, deposit, xmr) in [
        ("--buyer-deposit", deal.buyer_deposit, &deposits[0]),
        ("--seller-deposit", deal.seller_deposit, &deposits[1]),
    ] {
        if deposit > Piconero::ZERO {
            arguments.extend([option, xmr]);
        }
    }
    let made = world.person(deal.buyer)?.program.cmd(&arguments).await?;
    let id_text = made.get("id").and_then(Value::as_str).context("create did not give an id")?.to_owned();
    let id: EscrowId = id_text.parse()?;
    world.timeline.name(id, story.name());
    let open = Open { world, story, deal, id, id_text };
    open.say(&format!(
        "{} proposes to {}: {} XMR; {} may decide",
        deal.buyer, deal.seller, amount, deal.arbiter
    ));
    wait(&open, "the setup", SETUP_LIMIT, |view| match view.setup.stage {
        Stage::Ready => Ok(Some(())),
        Stage::Stopped => Err(anyhow!("the setup was stopped")),
        _ if view.status.is_over() => Err(anyhow!("it is {} before its setup was complete", view.status)),
        _ => Ok(None),
    })
    .await?;
    open.say("three wallets agree on one address");
    Ok(open)
}

/// Looks at the escrow until `look` finds what it wants. A server that is away for a moment is asked again.
pub async fn wait<T>(
    open: &Open<'_>,
    what: &str,
    limit: Duration,
    look: impl Fn(&EscrowView) -> Result<Option<T>>,
) -> Result<T> {
    let eyes = &open.person(open.deal.buyer)?.eyes;
    let begun = Instant::now();
    loop {
        let last = match eyes.escrow(open.id).await {
            Ok(view) => match look(&view).with_context(|| format!("while waiting for {what}"))? {
                Some(found) => return Ok(found),
                None => format!("it is {} ({:?})", view.status, view.setup.stage),
            },
            Err(error) => format!("{error:#}"),
        };
        open.world.must_run()?;
        if begun.elapsed() > limit {
            bail!("waited {} s for {what}; {last}", limit.as_secs());
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// What a party's program says has to be paid: slot, address, amount.
fn slots(answer: &Value) -> Result<Vec<(Slot, Address, Piconero)>> {
    let mut found = Vec::new();
    for (name, slot) in [
        ("payment", Slot::Payment),
        ("sellerDeposit", Slot::SellerDeposit),
        ("buyerDeposit", Slot::BuyerDeposit),
    ] {
        let Some(part) = answer.get(name).filter(|part| !part.is_null()) else { continue };
        let address = part.get("address").and_then(Value::as_str).context("a slot without an address")?;
        let amount = part.get("amount").context("a slot without an amount")?;
        // Piconero, with or without its rendering for people.
        let amount = amount.get("piconero").unwrap_or(amount).as_str().context("an amount is a string")?;
        found.push((slot, Address::parse(address, Network::Regtest)?, amount.parse()?));
    }
    Ok(found)
}

/// Pays what a party's own program asks for, after checking it against the deal; gives the transaction.
pub async fn fund(open: &Open<'_>, name: &str) -> Result<Hash32> {
    let program = &open.person(name)?.program;
    let begun = Instant::now();
    let answer = loop {
        match program.cmd(&["fund", &open.id_text]).await {
            Ok(answer) => break answer,
            // The others' attestations reach the program a moment after the server has them.
            Err(error) if begun.elapsed() < Duration::from_secs(60) && error.is::<Refused>() => {
                tokio::time::sleep(EVERY).await;
            }
            Err(error) => return Err(error),
        }
    };
    let due = slots(&answer)?;
    let wanted: Vec<(Slot, Piconero)> = if name == open.deal.buyer {
        vec![(Slot::Payment, open.deal.amount), (Slot::BuyerDeposit, open.deal.buyer_deposit)]
    } else {
        vec![(Slot::SellerDeposit, open.deal.seller_deposit)]
    };
    let wanted: Vec<_> = wanted.into_iter().filter(|(_, amount)| *amount > Piconero::ZERO).collect();
    let asked: Vec<_> = due.iter().map(|(slot, _, amount)| (*slot, *amount)).collect();
    ensure!(
        wanted.len() == asked.len() && wanted.iter().all(|part| asked.contains(part)),
        "{name}'s program asks for {asked:?} where the deal says {wanted:?}"
    );
    let view = open.person(open.deal.buyer)?.eyes.escrow(open.id).await?;
    for (slot, address, _) in &due {
        ensure!(
            *slot != Slot::Payment || view.setup.address == Some(*address),
            "the server shows another address than {name}'s own wallet"
        );
    }
    let payments: Vec<_> = due.iter().map(|(_, address, amount)| (*address, *amount)).collect();
    let paid = open.world.funds.pay(&payments).await?;
    let total = Piconero::sum(payments.iter().map(|(_, amount)| *amount)).unwrap_or_default();
    open.say(&format!("{name} pays {} XMR in", total.xmr()));
    Ok(paid.txid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ADDRESS: &str =
        "888tNkZrPN6JsEgekjMnABU4TBzc2Dt29EPAvkRxbANsAnjyPbb3iQ1YBRk1UXcdRsiKc9dhwMVgN5S9cQUiyoogDavup3H";

    #[test]
    fn amounts_are_read_with_and_without_their_rendering() {
        let answer = json!({
            "payment": {"address": ADDRESS, "amount": "5", "uri": "monero:x"},
            "buyerDeposit": {"address": ADDRESS, "amount": {"piconero": "7", "xmr": "0.000000000007"}},
            "sellerDeposit": null,
        });
        let found: Vec<_> =
            slots(&answer).unwrap().iter().map(|(slot, _, amount)| (*slot, amount.0)).collect();
        assert_eq!(found, [(Slot::Payment, 5), (Slot::BuyerDeposit, 7)]);
        assert!(slots(&json!({"payment": {"address": "x", "amount": "5"}})).is_err());
    }
}
