//! The journal in words: what happened to an escrow, for people. Programs read the code.

use serde::{Deserialize, Serialize};

use super::contract::Contract;
use super::deadline::Due;
use super::deposits::{OutputId, Sighting, Slot};
use super::event::Event;
use super::outcome::Outcome;
use super::statement::{Act, Exhibit};
use crate::amount::Piconero;
use crate::ids::UserId;
use crate::role::Role;

/// The code of the first line of every history.
pub const CREATED: &str = "create";

/// Who brought something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The buyer.
    Buyer,
    /// The seller.
    Seller,
    /// The arbiter.
    Arbiter,
    /// The chain.
    Chain,
    /// The server's clock.
    Clock,
}

impl From<Role> for By {
    fn from(role: Role) -> Self {
        match role {
            Role::Buyer => Self::Buyer,
            Role::Seller => Self::Seller,
            Role::Arbiter => Self::Arbiter,
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// By whom; nobody where an account is no party.
    pub by: Option<By>,
    /// A stable code: the event's name in the table of the lifecycle, or [`CREATED`].
    pub code: &'static str,
    /// A sentence. It may quote people.
    pub text: String,
}

/// That it was created, and by whom.
pub fn created(contract: &Contract, by: UserId) -> Told {
    let role = contract.role_of(by);
    Told {
        by: role.map(By::from),
        code: CREATED,
        text: format!("{} creates the escrow.", name(contract, role)),
    }
}

/// An event in words.
pub fn tell(contract: &Contract, event: &Event) -> Told {
    let (by, text) = match event {
        Event::Statement { signed } => {
            let role = signed.statement.role;
            let said = act(role, &signed.statement.act);
            (Some(By::from(role)), format!("{} {said}", name(contract, Some(role))))
        }
        Event::DepositSeen { seen } => (Some(By::Chain), deposit(seen)),
        Event::DepositLost { output } => (
            Some(By::Chain),
            format!("The payment in {} is in neither pool nor chain any more.", place(output)),
        ),
        Event::RolledBack { to } => {
            (Some(By::Chain), format!("The chain was reorganised: all blocks above {to} are undone."))
        }
        Event::Tip { height } => {
            (Some(By::Chain), format!("Block {height} is there: what has confirmations enough is final."))
        }
        Event::PayoutSeen { txid, height, payments } => {
            let fee = xmr(payments.fee);
            (Some(By::Chain), format!("A payout is {}: transaction {txid}, fee {fee}.", found(*height)))
        }
        Event::PayoutLost { txid } => {
            (Some(By::Chain), format!("The payout {txid} is in neither pool nor chain any more."))
        }
        Event::Timer { due } => (Some(By::Clock), deadline(*due).to_owned()),
        Event::Outage { seconds } => {
            let text = format!(
                "No server ran for {seconds} seconds: whoever is asked for something has as much longer."
            );
            (Some(By::Clock), text)
        }
        Event::Delete { by } => {
            let role = contract.role_of(*by);
            (role.map(By::from), format!("{} deletes the escrow.", name(contract, role)))
        }
    };
    Told { by, code: event.name(), text }
}

fn name(contract: &Contract, role: Option<Role>) -> String {
    role.map_or_else(|| "Somebody".to_owned(), |role| format!("{} ({role})", contract.party(role).username))
}

/// What a party says, as the end of a sentence.
fn act(role: Role, act: &Act) -> String {
    match act {
        Act::Accept {} => "accepts the contract.".to_owned(),
        Act::Round { attempt, round, .. } => {
            format!("sends the message of round {round} of setup {attempt}.")
        }
        Act::Restart { attempt, reason } => {
            format!("asks for the setup anew, as attempt {attempt}: {reason}")
        }
        Act::Attest { address, .. } => format!("attests the address {address}."),
        Act::Confirm {} if role == Role::Buyer => {
            "says that all is well: the seller is to be paid.".to_owned()
        }
        Act::Confirm {} => "says that it has delivered.".to_owned(),
        Act::Refund {} => "gives the money back.".to_owned(),
        Act::Dispute { reason } => format!("calls the arbiter: {reason}"),
        Act::Evidence { text, files } => format!("puts on record: {text}{}", exhibits(files)),
        Act::Settle { outcome } => format!("offers to end it: {}.", end(*outcome)),
        Act::Cancel {} => "offers to call it off and pay everybody back.".to_owned(),
        Act::Ruling { outcome, reason } => format!("rules: {}. {reason}", end(*outcome)),
        Act::Decline { reason } => format!("does not want it: {reason}"),
        Act::Sync { attempt, .. } => format!("sends signing data for attempt {attempt} at the payout."),
        Act::Propose { attempt, fee, .. } => {
            format!("proposes the payout, signed once, in attempt {attempt}: fee {}.", xmr(*fee))
        }
        Act::Approve { txid, .. } => format!("signs the payout: transaction {txid}."),
    }
}

fn exhibits(files: &[Exhibit]) -> String {
    let one =
        |Exhibit { name, bytes, sha256 }: &Exhibit| format!("\n{name}, {bytes} bytes, SHA-256 {sha256}");
    files.iter().map(one).collect()
}

fn deadline(due: Option<Due>) -> &'static str {
    match due {
        Some(Due::Expiry) => "The contract expires.",
        Some(Due::Warning) => "Expiry is near: all are warned.",
        Some(Due::Answer) => "An answer is overdue: all are told.",
        Some(Due::Turn) => "The signers' turn is over: the next pair is asked.",
        None => "A deadline has passed.",
    }
}

fn end(outcome: Outcome) -> String {
    match outcome {
        Outcome::Release => "all to the seller".to_owned(),
        Outcome::Refund => "all back to the buyer".to_owned(),
        Outcome::Split { buyer, seller } => {
            format!("{} to the buyer, {} to the seller", xmr(buyer), xmr(seller))
        }
    }
}

fn deposit(seen: &Sighting) -> String {
    let Sighting { output, slot, amount, locked, height, .. } = seen;
    let slot = match slot {
        Slot::Payment => "the price",
        Slot::SellerDeposit => "the seller's deposit",
        Slot::BuyerDeposit => "the buyer's deposit",
    };
    let locked = if *locked { ", time-locked or a miner's reward" } else { "" };
    format!("{} for {slot} {}: {}{locked}.", xmr(*amount), found(*height), place(output))
}

fn found(height: Option<u64>) -> String {
    height.map_or_else(|| "seen in the pool".to_owned(), |height| format!("in block {height}"))
}

fn place(output: &OutputId) -> String {
    format!("output {} of transaction {}", output.index, output.tx)
}

/// Without the zeros at the end.
fn xmr(amount: Piconero) -> String {
    let text = amount.xmr();
    format!("{} XMR", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{Sim, address, contract, hash};

    fn said(role: Role, act: Act) -> Event {
        let sim = Sim::new(contract());
        Event::Statement { signed: Box::new(sim.sign(role, act)) }
    }

    fn reason() -> String {
        "It is broken".to_owned()
    }

    /// One of each kind, by the table of names.
    fn all() -> Vec<(Event, &'static str)> {
        let half = Piconero(1_500_000_000_000);
        let split = Outcome::Split { buyer: half, seller: Piconero(1) };
        let output = OutputId { tx: hash("tx"), index: 3 };
        let seen = Sighting {
            output,
            key: crate::testing::point(1),
            slot: Slot::Payment,
            amount: half,
            locked: true,
            height: Some(7),
        };
        let payments = crate::escrow::payout::Payments { to: Vec::new(), fee: Piconero(30_000_000) };
        let attest = Act::Attest { attempt: 1, address: address(1), threshold: 2, total: 3, ready: true };
        let approve =
            Act::Approve { attempt: 1, proposal: hash("p"), txid: hash("tx"), txset: "aa".to_owned() };
        let propose = Act::Propose {
            attempt: 2,
            built_on: [hash("a"), hash("b")],
            txset: "aa".to_owned(),
            tx_keys: Vec::new(),
            fee: Piconero(30_000_000),
            residue: Piconero::ZERO,
        };
        vec![
            (said(Role::Buyer, Act::Accept {}), "accepts the contract."),
            (
                said(Role::Seller, Act::Round { attempt: 1, round: 2, message: "SECRET".to_owned() }),
                "the message of round 2 of setup 1.",
            ),
            (said(Role::Seller, Act::Restart { attempt: 2, reason: reason() }), "as attempt 2: It is broken"),
            (said(Role::Arbiter, attest), "attests the address"),
            (said(Role::Buyer, Act::Confirm {}), "the seller is to be paid."),
            (said(Role::Seller, Act::Refund {}), "gives the money back."),
            (said(Role::Buyer, Act::Dispute { reason: reason() }), "calls the arbiter: It is broken"),
            (
                said(Role::Buyer, Act::Settle { outcome: split }),
                "offers to end it: 1.5 XMR to the buyer, 0.000000000001 XMR to the seller.",
            ),
            (said(Role::Buyer, Act::Cancel {}), "offers to call it off"),
            (
                said(Role::Arbiter, Act::Ruling { outcome: Outcome::Refund, reason: reason() }),
                "rules: all back to the buyer. It is broken",
            ),
            (
                said(
                    Role::Seller,
                    Act::Evidence {
                        text: "the receipt".to_owned(),
                        files: vec![Exhibit {
                            name: "receipt.pdf".to_owned(),
                            bytes: 7,
                            sha256: hash("pdf"),
                        }],
                    },
                ),
                "puts on record: the receipt\nreceipt.pdf, 7 bytes, SHA-256 ",
            ),
            (said(Role::Seller, Act::Decline { reason: reason() }), "does not want it: It is broken"),
            (
                said(Role::Buyer, Act::Sync { attempt: 1, info: "SECRET".to_owned() }),
                "signing data for attempt 1",
            ),
            (said(Role::Seller, propose), "in attempt 2: fee 0.00003 XMR."),
            (said(Role::Buyer, approve), "signs the payout: transaction"),
            (Event::DepositSeen { seen }, "1.5 XMR for the price in block 7: output 3 of transaction"),
            (Event::DepositLost { output }, "neither pool nor chain"),
            (Event::RolledBack { to: 5 }, "above 5 are undone"),
            (Event::Tip { height: 9 }, "Block 9 is there"),
            (
                Event::PayoutSeen { txid: hash("tx"), height: None, payments },
                "A payout is seen in the pool: transaction",
            ),
            (Event::PayoutLost { txid: hash("tx") }, "neither pool nor chain"),
            (Event::Timer { due: None }, "A deadline has passed."),
            (Event::Timer { due: Some(Due::Expiry) }, "The contract expires."),
            (Event::Timer { due: Some(Due::Warning) }, "Expiry is near"),
            (Event::Timer { due: Some(Due::Answer) }, "An answer is overdue"),
            (Event::Timer { due: Some(Due::Turn) }, "turn is over"),
            (Event::Outage { seconds: 90 }, "for 90 seconds"),
            (Event::Delete { by: contract().seller.user_id }, "(seller) deletes the escrow."),
        ]
    }

    #[test]
    fn every_kind_of_event_has_its_own_code_and_a_sentence_that_says_what_matters() {
        let contract = contract();
        let mut codes = BTreeSet::new();
        for (event, part) in all() {
            let told = tell(&contract, &event);
            assert!(told.text.contains(part), "{}", told.text);
            assert!(!told.text.contains("SECRET"), "{}", told.text);
            codes.insert(told.code);
        }
        assert_eq!(codes, BTreeSet::from(Event::NAMES));
        assert!(!codes.contains(CREATED));
    }

    #[test]
    fn who_it_was_is_named_by_part_and_name() {
        let contract = contract();
        let told = tell(&contract, &said(Role::Seller, Act::Confirm {}));
        assert_eq!(told.by, Some(By::Seller));
        assert_eq!(told.text, format!("{} (seller) says that it has delivered.", contract.seller.username));
        assert_eq!(tell(&contract, &Event::Timer { due: None }).by, Some(By::Clock));
        assert_eq!(tell(&contract, &Event::Tip { height: 1 }).by, Some(By::Chain));
        let made = created(&contract, contract.buyer.user_id);
        assert_eq!((made.by, made.code), (Some(By::Buyer), CREATED));
        let stranger = UserId(uuid::Uuid::max());
        assert_eq!(created(&contract, stranger).text, "Somebody creates the escrow.");
    }
}
