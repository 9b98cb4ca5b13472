//! The case file: what whoever is to rule, or to answer for something, should have before their eyes.

use std::fmt::Write as _;

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::DefaultOutcome;
use aegis_common::escrow::event::Event;
use aegis_common::escrow::history;
use aegis_common::escrow::record::{Entry, Record};
use aegis_common::escrow::statement::Act;
use aegis_common::role::Role;
use aegis_common::time::Timestamp;
use aegis_common::wire::escrow::EscrowView;
use serde::Serialize;

use super::arbiter::percent;
use super::{Context, Which, output};
use crate::engine::EngineError;

/// Everything about a case in one document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    /// The escrow as its record tells: contract, deposits, offers, what is awaited.
    escrow: EscrowView,
    /// What the buyer said.
    buyer: Vec<Word>,
    /// What the seller said.
    seller: Vec<Word>,
    /// What the arbiter said.
    arbiter: Vec<Word>,
}

/// Something that somebody decided or claimed, signed.
#[derive(Serialize)]
struct Word {
    at: Timestamp,
    text: String,
}

pub async fn case(context: &Context, which: Which) -> Result<(), EngineError> {
    let client = context.desk()?.client;
    let view = client.escrow(which.id).await?;
    let record = client.record(which.id).await?;
    let escrow = record.replay().map_err(|error| EngineError::Person(error.to_string()))?;
    // The version of the record, which may have grown since the view; only the height is the server's word.
    let version = view.version.max(i64::try_from(record.journal.len()).unwrap_or(i64::MAX).saturating_add(1));
    let case = Case {
        escrow: EscrowView::of(&escrow, version, view.tip),
        buyer: words(&record, Role::Buyer),
        seller: words(&record, Role::Seller),
        arbiter: words(&record, Role::Arbiter),
    };
    output::result(context.json, &case, || text(&case));
    Ok(())
}

/// What somebody said of the trade; what only moves wallets is left out.
fn words(record: &Record, role: Role) -> Vec<Word> {
    let word = |Entry { event, at }: &Entry| match event {
        Event::Statement { signed } if signed.statement.role == role && speaks(&signed.statement.act) => {
            Some(Word { at: *at, text: history::tell(&record.beginning.contract, event).text })
        }
        _ => None,
    };
    record.journal.iter().filter_map(word).collect()
}

fn speaks(act: &Act) -> bool {
    match act {
        Act::Accept {}
        | Act::Confirm {}
        | Act::Refund {}
        | Act::Dispute { .. }
        | Act::Evidence { .. }
        | Act::Settle { .. }
        | Act::Cancel {}
        | Act::Ruling { .. }
        | Act::Decline { .. } => true,
        Act::Round { .. }
        | Act::Restart { .. }
        | Act::Attest { .. }
        | Act::Sync { .. }
        | Act::Propose { .. }
        | Act::Approve { .. } => false,
    }
}

fn text(case: &Case) -> String {
    let EscrowView { contract, status, deposits, offers, awaited, .. } = &case.escrow;
    let mut text = format!("{}  {status}\n{}\n", contract.escrow_id, contract.title);
    if !contract.description.is_empty() {
        let _ = writeln!(text, "{}", contract.description);
    }
    let _ = writeln!(
        text,
        "\n{} XMR; by default {}; expires {}; the arbiter's fee {}",
        contract.amount.xmr(),
        if contract.default_outcome == DefaultOutcome::Release {
            "to the seller"
        } else {
            "back to the buyer"
        },
        contract.expires_at,
        percent(contract.arbiter_fee_bps)
    );
    for slot in deposits {
        let _ = writeln!(
            text,
            "{:?}: {} of {} XMR is final",
            slot.slot, slot.final_amount.xmr, slot.required.xmr
        );
        if slot.surplus.piconero > Piconero::ZERO {
            let _ =
                writeln!(text, "  {} XMR of that is too much and goes back to who paid it", slot.surplus.xmr);
        }
        for output in &slot.outputs {
            let _ = writeln!(text, "  {} XMR in {}: {}", output.amount.xmr, output.output.tx, output.fate);
        }
    }
    for (role, said) in
        [(Role::Buyer, &case.buyer), (Role::Seller, &case.seller), (Role::Arbiter, &case.arbiter)]
    {
        let _ = writeln!(text, "\n{role}: {}", contract.party(role).username);
        for Word { at, text: said } in said {
            let _ = writeln!(text, "  {at}  {said}");
        }
    }
    for offer in offers {
        let _ = writeln!(text, "\nstands: the {} offers {:?}", offer.role, offer.outcome);
    }
    if let Some(awaited) = awaited {
        let of = awaited.waiting_for.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let until = awaited.until.map_or_else(|| "overdue".to_owned(), |until| format!("by {until}"));
        let _ = writeln!(text, "\nawaited of {of}: {until}");
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use aegis_common::escrow::outcome::Outcome;
    use aegis_common::escrow::record::Beginning;
    use aegis_common::testing::{Sim, contract};

    use super::*;

    #[test]
    fn a_case_shows_what_each_said_of_the_trade_and_nothing_of_wallets() {
        let mut sim = Sim::new(contract());
        sim.active();
        sim.say(Role::Buyer, Act::Dispute { reason: "it has one wheel".to_owned() }).unwrap();
        let answer = Act::Evidence { text: "it was built so".to_owned(), files: Vec::new() };
        sim.say(Role::Seller, answer).unwrap();
        let ruling = Act::Ruling { outcome: Outcome::Refund, reason: "bicycles have two".to_owned() };
        sim.say(Role::Arbiter, ruling).unwrap();
        let journal = sim.journal.iter().map(|(event, at)| Entry { event: event.clone(), at: *at });
        let record = Record { beginning: Beginning::of(&sim.created), journal: journal.collect() };
        let said = |role| words(&record, role).into_iter().map(|word| word.text).collect::<Vec<_>>();
        let buyer = said(Role::Buyer);
        assert_eq!(buyer.len(), 2, "acceptance and dispute: {buyer:?}");
        assert!(buyer[1].contains("it has one wheel"), "{buyer:?}");
        assert!(said(Role::Seller)[1].ends_with("puts on record: it was built so"));
        let case = Case {
            escrow: EscrowView::of(&record.replay().unwrap(), 1, sim.tip),
            buyer: words(&record, Role::Buyer),
            seller: words(&record, Role::Seller),
            arbiter: words(&record, Role::Arbiter),
        };
        let text = text(&case);
        for part in ["it has one wheel", "all back to the buyer. bicycles have two", "Multisig"] {
            assert_eq!(text.contains(part), part != "Multisig", "{part}: {text}");
        }
    }
}
