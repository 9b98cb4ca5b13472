//! The lifecycle as a table: every step that may happen, and no other. Tests hold it against what [`super::transition`]
//! does, in both directions, and `docs/LIFECYCLE.md` is printed from it.

use super::event::Event;
use super::state::Status::{self, *};

/// One step that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The status before; none before creation.
    pub from: Option<Status>,
    /// The event, by the names of [`Event::NAMES`], or `create`.
    pub event: &'static str,
    /// The status after; the same where the event changes something else.
    pub to: Status,
    /// What it means.
    pub meaning: &'static str,
}

const fn row(from: Status, event: &'static str, to: Status, meaning: &'static str) -> Row {
    Row { from: Some(from), event, to, meaning }
}

/// Every step there is.
#[rustfmt::skip]
pub const LISTED: &[Row] = &[
    Row { from: None, event: "create", to: PendingFunding, meaning: "the terms are fixed, the arbiter is assigned" },
    row(PendingFunding, "accept", PendingFunding, "a party agrees to the contract"),
    row(PendingFunding, "round", PendingFunding, "a party sends its message of the round it owes"),
    row(PendingFunding, "restart", PendingFunding, "a party lost a wallet output; all three start the rounds anew"),
    row(PendingFunding, "attest", PendingFunding, "a party attests the address; the third equal one opens funding, a different one stops the escrow"),
    row(PendingFunding, "decline", Cancelled, "a party does not want it; the arbiter's place is filled anew by another escrow"),
    row(PendingFunding, "depositSeen", PendingFunding, "an output was seen, in the pool or in a block"),
    row(PendingFunding, "depositLost", PendingFunding, "an unconfirmed output vanished"),
    row(PendingFunding, "rolledBack", PendingFunding, "a reorganisation"),
    row(PendingFunding, "tip", PendingFunding, "a deposit became final"),
    row(PendingFunding, "tip", BuyerFunded, "what was asked for is final"),
    row(PendingFunding, "tip", Active, "what was asked for is final"),
    row(PendingFunding, "tip", SellerConfirmedItem, "everything is final again after a reorganisation; the seller had confirmed before"),
    row(PendingFunding, "timer", PendingFunding, "expiry is near, or a trader has not answered in time: a warning"),
    row(PendingFunding, "timer", Cancelled, "the arbiter has not answered in time; its place is filled anew by another escrow"),
    row(PendingFunding, "timer", TimelockDefaultTriggered, "expiry with part of the money, or with money not final yet: refund"),
    row(PendingFunding, "timer", Expired, "expiry; nothing came"),
    row(PendingFunding, "outage", PendingFunding, "the server was down: people have as much longer to answer"),
    row(PendingFunding, "delete", Cancelled, "the initiator deletes; nothing was seen, the pool included"),
    row(BuyerFunded, "refund", Settling, "the seller gives the money back"),
    row(BuyerFunded, "evidence", BuyerFunded, "somebody puts something on record"),
    row(BuyerFunded, "dispute", Disputed, "a trader calls the arbiter; the timer stops"),
    row(BuyerFunded, "settle", BuyerFunded, "an offer stands"),
    row(BuyerFunded, "settle", Settling, "the other trader had signed the same"),
    row(BuyerFunded, "cancel", BuyerFunded, "an offer stands"),
    row(BuyerFunded, "cancel", Settling, "the other trader had signed the same"),
    row(BuyerFunded, "depositSeen", PendingFunding, "a final output is now in another block"),
    row(BuyerFunded, "depositSeen", BuyerFunded, "an output was seen, in the pool or in a block"),
    row(BuyerFunded, "depositLost", BuyerFunded, "an unconfirmed output vanished"),
    row(BuyerFunded, "rolledBack", PendingFunding, "a reorganisation; what was final is not any more"),
    row(BuyerFunded, "rolledBack", BuyerFunded, "a reorganisation"),
    row(BuyerFunded, "tip", BuyerFunded, "a deposit became final"),
    row(BuyerFunded, "tip", Active, "what was asked for is final"),
    row(BuyerFunded, "tip", SellerConfirmedItem, "everything is final again after a reorganisation; the seller had confirmed before"),
    row(BuyerFunded, "timer", BuyerFunded, "expiry is near: a warning"),
    row(BuyerFunded, "timer", TimelockDefaultTriggered, "expiry: the contract's default outcome"),
    row(Active, "confirm", SellerConfirmedItem, "the seller says it has delivered"),
    row(Active, "confirm", Settling, "the buyer releases the money"),
    row(Active, "refund", Settling, "the seller gives the money back"),
    row(Active, "evidence", Active, "somebody puts something on record"),
    row(Active, "dispute", Disputed, "a trader calls the arbiter; the timer stops"),
    row(Active, "settle", Active, "an offer stands"),
    row(Active, "settle", Settling, "the other trader had signed the same"),
    row(Active, "cancel", Active, "an offer stands"),
    row(Active, "cancel", Settling, "the other trader had signed the same"),
    row(Active, "depositSeen", PendingFunding, "a final output is now in another block"),
    row(Active, "depositSeen", BuyerFunded, "a final output is now in another block"),
    row(Active, "depositSeen", Active, "an output was seen, in the pool or in a block"),
    row(Active, "depositLost", Active, "an unconfirmed output vanished"),
    row(Active, "rolledBack", PendingFunding, "a reorganisation; what was final is not any more"),
    row(Active, "rolledBack", BuyerFunded, "a reorganisation; what was final is not any more"),
    row(Active, "rolledBack", Active, "a reorganisation"),
    row(Active, "tip", Active, "a deposit became final"),
    row(Active, "timer", Active, "expiry is near: a warning"),
    row(Active, "timer", TimelockDefaultTriggered, "expiry: the contract's default outcome"),
    row(SellerConfirmedItem, "confirm", Settling, "the buyer releases the money"),
    row(SellerConfirmedItem, "refund", Settling, "the seller gives the money back"),
    row(SellerConfirmedItem, "evidence", SellerConfirmedItem, "somebody puts something on record"),
    row(SellerConfirmedItem, "dispute", Disputed, "a trader calls the arbiter; the timer stops"),
    row(SellerConfirmedItem, "settle", SellerConfirmedItem, "an offer stands"),
    row(SellerConfirmedItem, "settle", Settling, "the other trader had signed the same"),
    row(SellerConfirmedItem, "cancel", SellerConfirmedItem, "an offer stands"),
    row(SellerConfirmedItem, "cancel", Settling, "the other trader had signed the same"),
    row(SellerConfirmedItem, "depositSeen", PendingFunding, "a final output is now in another block"),
    row(SellerConfirmedItem, "depositSeen", BuyerFunded, "a final output is now in another block"),
    row(SellerConfirmedItem, "depositSeen", SellerConfirmedItem, "an output was seen, in the pool or in a block"),
    row(SellerConfirmedItem, "depositLost", SellerConfirmedItem, "an unconfirmed output vanished"),
    row(SellerConfirmedItem, "rolledBack", PendingFunding, "a reorganisation; what was final is not any more"),
    row(SellerConfirmedItem, "rolledBack", BuyerFunded, "a reorganisation; what was final is not any more"),
    row(SellerConfirmedItem, "rolledBack", SellerConfirmedItem, "a reorganisation"),
    row(SellerConfirmedItem, "tip", SellerConfirmedItem, "a deposit became final"),
    row(SellerConfirmedItem, "timer", SellerConfirmedItem, "expiry is near: a warning"),
    row(SellerConfirmedItem, "timer", TimelockDefaultTriggered, "expiry: the contract's default outcome"),
    row(Disputed, "settle", Disputed, "an offer stands"),
    row(Disputed, "settle", Settling, "the other trader had signed the same"),
    row(Disputed, "cancel", Disputed, "an offer stands"),
    row(Disputed, "cancel", Settling, "the other trader had signed the same"),
    row(Disputed, "timer", Disputed, "the ruling is overdue: all are told, again and again"),
    row(Disputed, "outage", Disputed, "the server was down: the arbiter has as much longer"),
    row(Disputed, "evidence", Disputed, "somebody puts something on record"),
    row(Disputed, "ruling", Settling, "the arbiter decides"),
    row(Disputed, "depositSeen", Disputed, "an output was seen, in the pool or in a block"),
    row(Disputed, "depositLost", Disputed, "an unconfirmed output vanished"),
    row(Disputed, "rolledBack", Disputed, "a reorganisation"),
    row(Disputed, "tip", Disputed, "a deposit became final"),
    row(TimelockDefaultTriggered, "sync", Settling, "a signer posts signing data; the first makes the default visible as settling"),
    row(TimelockDefaultTriggered, "depositSeen", TimelockDefaultTriggered, "an output was seen, in the pool or in a block"),
    row(TimelockDefaultTriggered, "depositLost", TimelockDefaultTriggered, "an unconfirmed output vanished"),
    row(TimelockDefaultTriggered, "depositLost", Expired, "a refund of what came in part has nothing left to pay"),
    row(TimelockDefaultTriggered, "rolledBack", TimelockDefaultTriggered, "a reorganisation"),
    row(TimelockDefaultTriggered, "tip", TimelockDefaultTriggered, "a deposit became final"),
    row(TimelockDefaultTriggered, "outage", TimelockDefaultTriggered, "the server was down: the signers have as much longer"),
    row(TimelockDefaultTriggered, "timer", Settling, "the signers' turn is over; the next pair is asked"),
    row(Settling, "sync", Settling, "a signer posts signing data"),
    row(Settling, "propose", Settling, "the proposer signs a transaction"),
    row(Settling, "approve", Settling, "the cosigner completes it"),
    row(Settling, "depositSeen", Settling, "an output was seen, in the pool or in a block"),
    row(Settling, "depositLost", Settling, "an unconfirmed output vanished"),
    row(Settling, "depositLost", Expired, "a refund of what came in part has nothing left to pay"),
    row(Settling, "rolledBack", Settling, "a reorganisation"),
    row(Settling, "tip", Settling, "a deposit became final"),
    row(Settling, "tip", CompletedReleased, "the payout is final"),
    row(Settling, "tip", CompletedRefunded, "the payout is final"),
    row(Settling, "tip", CompletedSplit, "the payout is final"),
    row(Settling, "payoutSeen", Settling, "the payout is in the pool or in a block; one that pays something else is void"),
    row(Settling, "payoutLost", Settling, "the payout is in neither pool nor chain; the next attempt starts"),
    row(Settling, "outage", Settling, "the server was down: the signers have as much longer"),
    row(Settling, "timer", Settling, "the signers' turn is over; the next pair is asked"),
    row(CompletedReleased, "depositSeen", CompletedReleased, "an output was seen, in the pool or in a block"),
    row(CompletedReleased, "depositLost", CompletedReleased, "an unconfirmed output vanished"),
    row(CompletedReleased, "rolledBack", CompletedReleased, "a reorganisation"),
    row(CompletedReleased, "tip", CompletedReleased, "a late payment became final and goes back, or its return did"),
    row(CompletedReleased, "sync", CompletedReleased, "a signer of the return posts signing data"),
    row(CompletedReleased, "propose", CompletedReleased, "the proposer signs the return"),
    row(CompletedReleased, "approve", CompletedReleased, "the cosigner completes it"),
    row(CompletedReleased, "payoutSeen", CompletedReleased, "the return is in the pool or in a block; one that pays something else is void"),
    row(CompletedReleased, "payoutLost", CompletedReleased, "the return is in neither pool nor chain; the next attempt starts"),
    row(CompletedReleased, "outage", CompletedReleased, "the server was down: the return's signers have as much longer"),
    row(CompletedReleased, "timer", CompletedReleased, "the turn of the return's signers is over; the next pair is asked"),
    row(CompletedRefunded, "depositSeen", CompletedRefunded, "an output was seen, in the pool or in a block"),
    row(CompletedRefunded, "depositLost", CompletedRefunded, "an unconfirmed output vanished"),
    row(CompletedRefunded, "rolledBack", CompletedRefunded, "a reorganisation"),
    row(CompletedRefunded, "tip", CompletedRefunded, "a late payment became final and goes back, or its return did"),
    row(CompletedRefunded, "sync", CompletedRefunded, "a signer of the return posts signing data"),
    row(CompletedRefunded, "propose", CompletedRefunded, "the proposer signs the return"),
    row(CompletedRefunded, "approve", CompletedRefunded, "the cosigner completes it"),
    row(CompletedRefunded, "payoutSeen", CompletedRefunded, "the return is in the pool or in a block; one that pays something else is void"),
    row(CompletedRefunded, "payoutLost", CompletedRefunded, "the return is in neither pool nor chain; the next attempt starts"),
    row(CompletedRefunded, "outage", CompletedRefunded, "the server was down: the return's signers have as much longer"),
    row(CompletedRefunded, "timer", CompletedRefunded, "the turn of the return's signers is over; the next pair is asked"),
    row(CompletedSplit, "depositSeen", CompletedSplit, "an output was seen, in the pool or in a block"),
    row(CompletedSplit, "depositLost", CompletedSplit, "an unconfirmed output vanished"),
    row(CompletedSplit, "rolledBack", CompletedSplit, "a reorganisation"),
    row(CompletedSplit, "tip", CompletedSplit, "a late payment became final and goes back, or its return did"),
    row(CompletedSplit, "sync", CompletedSplit, "a signer of the return posts signing data"),
    row(CompletedSplit, "propose", CompletedSplit, "the proposer signs the return"),
    row(CompletedSplit, "approve", CompletedSplit, "the cosigner completes it"),
    row(CompletedSplit, "payoutSeen", CompletedSplit, "the return is in the pool or in a block; one that pays something else is void"),
    row(CompletedSplit, "payoutLost", CompletedSplit, "the return is in neither pool nor chain; the next attempt starts"),
    row(CompletedSplit, "outage", CompletedSplit, "the server was down: the return's signers have as much longer"),
    row(CompletedSplit, "timer", CompletedSplit, "the turn of the return's signers is over; the next pair is asked"),
    row(Expired, "depositSeen", TimelockDefaultTriggered, "money had been on its way: it goes back"),
    row(Expired, "depositSeen", Expired, "an output that is not credited"),
    row(Expired, "depositLost", Expired, "an unconfirmed output vanished"),
    row(Expired, "rolledBack", Expired, "a reorganisation"),
    row(Cancelled, "depositSeen", TimelockDefaultTriggered, "money had been on its way: it goes back"),
    row(Cancelled, "depositSeen", Cancelled, "an output that is not credited"),
    row(Cancelled, "depositLost", Cancelled, "an unconfirmed output vanished"),
    row(Cancelled, "rolledBack", Cancelled, "a reorganisation"),
];

/// Whether a step is listed.
pub fn is_listed(from: Status, event: &str, to: Status) -> bool {
    LISTED.iter().any(|row| row.from == Some(from) && row.event == event && row.to == to)
}

/// The statuses an event leads to from a status; empty where it is always refused.
pub fn leads_to(from: Status, event: &str) -> Vec<Status> {
    let rows = LISTED.iter().filter(|row| row.from == Some(from) && row.event == event);
    rows.map(|row| row.to).collect()
}

/// A short name for a column of the table.
fn short(status: Status) -> &'static str {
    match status {
        PendingFunding => "PEND",
        BuyerFunded => "BFUN",
        Active => "ACT",
        SellerConfirmedItem => "SCON",
        Disputed => "DISP",
        TimelockDefaultTriggered => "TRIG",
        Settling => "SETT",
        CompletedReleased => "REL",
        CompletedRefunded => "REF",
        CompletedSplit => "SPL",
        Expired => "EXP",
        Cancelled => "CANC",
    }
}

/// `docs/LIFECYCLE.md`.
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for status in Status::ALL {
        text += &format!("| {} | `{status}` |\n", short(status));
    }
    text += "\n| event |";
    Status::ALL.iter().for_each(|status| text += &format!(" {} |", short(*status)));
    text += &format!("\n|---|{}\n", "---|".repeat(Status::ALL.len()));
    for event in Event::NAMES {
        text += &format!("| `{event}` |");
        for from in Status::ALL {
            let to: Vec<_> = leads_to(from, event).into_iter().map(short).collect();
            let cell = if to.is_empty() { "refused".to_owned() } else { to.join(", ") };
            text += &format!(" {cell} |");
        }
        text.push('\n');
    }
    text += "\n## Every step\n\n| from | event | to | meaning |\n|---|---|---|---|\n";
    for Row { from, event, to, meaning } in LISTED {
        let from = from.map_or_else(|| "(none)".to_owned(), |from| from.to_string());
        text += &format!("| {from} | `{event}` | {to} | {meaning} |\n");
    }
    text += "\n## Changes of status\n\n```mermaid\nstateDiagram-v2\n    [*] --> PENDING_FUNDING: create\n";
    for from in Status::ALL {
        for to in Status::ALL.into_iter().filter(|to| *to != from) {
            let events: Vec<_> =
                Event::NAMES.into_iter().filter(|event| is_listed(from, event, to)).collect();
            if !events.is_empty() {
                text += &format!("    {from} --> {to}: {}\n", events.join(", "));
            }
        }
    }
    text += "```\n";
    text += DEADLINES;
    text
}

const INTRODUCTION: &str = "\
# The life of an escrow

This file is printed from `common/src/escrow/table.rs`; `UPDATE_DOCS=1 cargo test -p aegis-common --test lifecycle` prints it
anew. Tests prove that the state machine takes every step listed here and no other.

An event is a party's signed statement (the first fourteen), a fact of the chain, a deadline, or a deletion. Where
the table says *refused*, the event changes nothing. The same status again means that the event changed something else.

| short | status |
|---|---|
";

const DEADLINES: &str = "
## Deadlines and finality

- **Finality.** A transaction in block `h` is final when the tip is at `h + finalityDepth - 1`. The statuses of an escrow
  without an outcome are computed from what is final, so a reorganisation steps them back by itself: also where a block
  still stands but is no longer deep enough.
- **Expiry** comes at `expiresAt` unless a dispute or an outcome came before; all are warned twice, by default 24 hours and
  1 hour ahead. It never moves.
- **Answers** are awaited for each stage of the setup and for a ruling, as long as the operator says. A trader's silence is
  told; an arbiter's calls the escrow off before money can come, and another escrow with another arbiter takes its place; a
  late ruling is told, again and again.
- **Signing.** A payout waits until everything that was on its way when the outcome stood is final or gone. A pair of
  signers then has `cosignSeconds` and 8 new attempts; then the next pair is asked. After all three pairs the time doubles.
  What one attempt divides is fixed with its first signing data: money that comes later waits for the next attempt.
- **Downtime.** Answers and the turns of signers are put off by as long as the server was down. Expiry is not.
- **An approved payout** is given up when it is in neither pool nor chain 60 seconds after its approval, or when its keys
  prove that it pays something else.
- **Over.** Money that reaches an escrow which expired or was deleted without any goes back to the buyer's and the seller's
  payout addresses. Money that comes after the payout, and is more than the network fee may be, goes back whole: what
  was paid in as payment or buyer's deposit to the buyer, as seller's deposit to the seller. The escrow stays completed;
  any two sign the return as they signed the payout, and the numbers of attempts go on. It is given back eight times to each
  trader at most; what comes later is recorded and stays, and what comes when the server has ceased to watch is not seen.
";
