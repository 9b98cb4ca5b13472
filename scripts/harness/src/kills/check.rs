//! What must hold after the kills, whatever happened in between.

use std::collections::{BTreeSet, HashMap, HashSet};

use aegis_common::escrow::state::Status;
use aegis_common::escrow::statement::{Act, SignedStatement, verify_transcript};
use aegis_common::hash::Hash32;
use aegis_common::ids::EscrowId;
use aegis_common::wire::escrow::{EscrowView, StatementReceipt, TranscriptPage};
use aegis_common::wire::event::EventFrame;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::api::Eyes;
use crate::scenario::Report;
use crate::world::{Person, World};

/// How much was looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Statements in the transcripts.
    pub statements: usize,
    /// Receipts the server gave.
    pub receipts: usize,
    /// Events in the feeds.
    pub events: usize,
    /// Events that came over WebSockets.
    pub frames: usize,
    /// Payouts on the chain.
    pub payouts: usize,
}

/// An escrow at its end.
struct Ended {
    view: EscrowView,
    transcript: Vec<SignedStatement>,
    hashes: HashSet<Hash32>,
}

/// No statement, receipt or event got lost or doubled in the stories of a report, and each escrow was paid out once.
pub async fn nothing_lost(world: &World, report: &Report) -> Result<Facts> {
    let mut facts = Facts::default();
    let mut ended = HashMap::new();
    let mut payouts = BTreeSet::new();
    for (story, id) in &report.escrows {
        let eyes = &world.person(story.deal().buyer)?.eyes;
        let escrow = read(eyes, *id).await?;
        facts.statements += escrow.transcript.len();
        let paid = paid_once(world, &escrow).await.with_context(|| format!("in “{}”", story.name()))?;
        payouts.insert(paid);
        ended.insert(*id, escrow);
    }
    // The payees' addresses receive nothing but payouts.
    let received: BTreeSet<Hash32> = world.funds.received().await?.iter().map(|one| one.txid).collect();
    ensure!(received == payouts, "the payees were paid by {received:?}; the payouts are {payouts:?}");
    facts.payouts = payouts.len();
    for (name, person) in &world.people {
        facts.receipts += receipts(person, &ended).with_context(|| format!("{name}'s receipts"))?;
        let feed = feed(&person.eyes).await?;
        events(name, &feed, &ended).with_context(|| format!("{name}'s feed"))?;
        facts.frames += frames(person, &feed).with_context(|| format!("{name}'s WebSockets"))?;
        facts.events += feed.len();
    }
    Ok(facts)
}

async fn read(eyes: &Eyes, id: EscrowId) -> Result<Ended> {
    let view = eyes.escrow(id).await?;
    let mut transcript = Vec::new();
    let mut after = 0;
    loop {
        let page: TranscriptPage =
            eyes.get(&format!("/escrows/{id}/transcript?after={after}&limit=50")).await?;
        transcript.extend(page.entries.into_iter().map(|entry| entry.signed));
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    verify_transcript(&view.contract, view.contract_hash, &transcript)?;
    let hashes = transcript.iter().map(|signed| signed.statement.hash()).collect::<Result<_, _>>()?;
    Ok(Ended { view, transcript, hashes })
}

/// Of all transactions ever approved for an escrow exactly one is in a block, and the others are nowhere. Gives that one.
async fn paid_once(world: &World, escrow: &Ended) -> Result<Hash32> {
    let approved: BTreeSet<Hash32> = escrow
        .transcript
        .iter()
        .filter_map(|signed| match &signed.statement.act {
            Act::Approve { txid, .. } => Some(*txid),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    for txid in &approved {
        found.extend(world.chain.transaction(*txid).await?.map(|seen| (*txid, seen.height)));
    }
    match found.as_slice() {
        [(txid, Some(_))] => Ok(*txid),
        other => anyhow::bail!("of the approved transactions {approved:?} the chain has {other:?}"),
    }
}

/// Every receipt the server gave, received or not, is for a statement in the transcript.
fn receipts(person: &Person, ended: &HashMap<EscrowId, Ended>) -> Result<usize> {
    let relay = person.relay.as_ref().context("this world has no relays")?;
    let mut count = 0;
    for exchange in relay.record().exchanges() {
        let Some(said) = exchange.statement().filter(|_| (200..300).contains(&exchange.status)) else {
            continue;
        };
        let receipt: StatementReceipt = serde_json::from_slice(&exchange.response_body)?;
        let Some(escrow) = ended.get(&said.escrow_id) else { continue };
        ensure!(receipt.hash == said.hash()?, "a receipt is for another statement");
        ensure!(escrow.hashes.contains(&receipt.hash), "{} was acknowledged and is lost", said.act.kind());
        count += 1;
    }
    Ok(count)
}

async fn feed(eyes: &Eyes) -> Result<Vec<EventFrame>> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let (events, next) = eyes.events(after).await?;
        if events.is_empty() {
            return Ok(all);
        }
        all.extend(events);
        after = next;
    }
}

fn events(name: &str, feed: &[EventFrame], ended: &HashMap<EscrowId, Ended>) -> Result<()> {
    let mut ids = HashSet::new();
    let mut last = 0;
    for event in feed {
        ensure!(event.seq > last, "event {} follows {last}", event.seq);
        ensure!(ids.insert(event.id), "event {} comes twice", event.id);
        last = event.seq;
    }
    for (id, escrow) in ended {
        let own: Vec<_> = feed.iter().filter(|event| event.escrow_id == Some(*id)).collect();
        let contract = &escrow.view.contract;
        let parties = [&contract.buyer, &contract.seller, &contract.arbiter];
        if parties.iter().all(|party| party.username != name) {
            ensure!(own.is_empty(), "events of a stranger's escrow");
            continue;
        }
        let said = escrow.transcript.iter().map(|signed| Ok(signed.statement.hash()?.to_string()));
        let said: Vec<String> = said.collect::<Result<_>>()?;
        told_all(&own, &said, escrow.view.status).with_context(|| format!("escrow {id}"))?;
    }
    Ok(())
}

/// From its beginning to its end: each statement once and in order, each change of status from where the last one led.
fn told_all(events: &[&EventFrame], said: &[String], end: Status) -> Result<()> {
    let first = events.first().context("no event")?;
    ensure!(first.kind == "EscrowInit", "the first event is {}", first.kind);
    let field = |event: &EventFrame, name: &str| -> Result<String> {
        let value = event.payload.get(name).and_then(Value::as_str);
        Ok(value.with_context(|| format!("{} without {name}", event.kind))?.to_owned())
    };
    let mut told = Vec::new();
    let mut status = Status::PendingFunding.wire().to_owned();
    for event in events {
        match event.kind.as_str() {
            "StatementPosted" => told.push(field(event, "hash")?),
            "EscrowStatusChanged" => {
                let from = field(event, "from")?;
                ensure!(from == status, "a change from {from} follows a change to {status}");
                status = field(event, "to")?;
            }
            _ => {}
        }
    }
    ensure!(status == end.wire(), "the last status told is {status}, and it is {end}");
    ensure!(told == said, "{} statements were told and {} made, or in another order", told.len(), said.len());
    Ok(())
}

/// Whatever came over a WebSocket is in the feed, in the same place: nothing was told that a crash could undo.
fn frames(person: &Person, feed: &[EventFrame]) -> Result<usize> {
    let relay = person.relay.as_ref().context("this world has no relays")?;
    let places: HashMap<_, _> = feed.iter().map(|event| (event.id, event.seq)).collect();
    let mut count = 0;
    for (_, payload) in relay.record().exchanges().iter().flat_map(|exchange| &exchange.frames) {
        let Ok(event) = serde_json::from_slice::<EventFrame>(payload) else { continue };
        ensure!(
            places.get(&event.id) == Some(&event.seq),
            "event {} ({}) is not in the feed",
            event.seq,
            event.kind
        );
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(kind: &str, seq: i64, payload: Value) -> EventFrame {
        let id = format!("00000000-0000-0000-0000-{seq:012}");
        let at = "2026-01-01T00:00:00Z";
        let frame =
            json!({"type": kind, "seq": seq, "id": id, "escrowId": null, "at": at, "payload": payload});
        serde_json::from_value(frame).unwrap()
    }

    fn feed_of_an_escrow() -> Vec<EventFrame> {
        let change = |from: &str, to: &str| json!({"from": from, "to": to});
        vec![
            event("EscrowInit", 1, json!({})),
            event("StatementPosted", 4, json!({"hash": "a"})),
            event("EscrowStatusChanged", 5, change("PENDING_FUNDING", "ACTIVE")),
            event("StatementPosted", 9, json!({"hash": "b"})),
            event("EscrowStatusChanged", 10, change("ACTIVE", "SETTLING")),
        ]
    }

    fn judge(feed: &[EventFrame]) -> Result<()> {
        let said = ["a".to_owned(), "b".to_owned()];
        told_all(&feed.iter().collect::<Vec<_>>(), &said, Status::Settling)
    }

    #[test]
    fn a_feed_that_lacks_any_event_is_found_out() {
        let whole = feed_of_an_escrow();
        judge(&whole).unwrap();
        for lost in 0..whole.len() {
            let mut feed = whole.clone();
            feed.remove(lost);
            assert!(judge(&feed).is_err(), "without {}", whole[lost].kind);
        }
    }

    #[test]
    fn a_feed_that_tells_something_twice_or_out_of_order_is_found_out() {
        let whole = feed_of_an_escrow();
        for again in 1..whole.len() {
            let mut feed = whole.clone();
            feed.push(whole[again].clone());
            assert!(judge(&feed).is_err(), "{} twice", whole[again].kind);
        }
        assert!(events("nobody", &[whole[1].clone(), whole[0].clone()], &HashMap::new()).is_err());
        assert!(events("nobody", &[whole[0].clone(), whole[0].clone()], &HashMap::new()).is_err());
    }
}
