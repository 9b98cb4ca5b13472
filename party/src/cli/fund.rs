//! What a party has to pay: from its own wallet's addresses, never the server's word.

use aegis_common::address::Address;
use aegis_common::amount::Piconero;
use aegis_common::escrow::deposits::Slot;
use aegis_common::role::Role;
use serde::Serialize;

use super::{Context, Which, output};
use crate::engine::EngineError;

#[derive(Serialize)]
struct Due {
    address: Address,
    amount: Piconero,
    xmr: String,
    missing: Piconero,
    /// Asks for what is missing; none where all is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Dues {
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<Due>,
    #[serde(skip_serializing_if = "Option::is_none")]
    buyer_deposit: Option<Due>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seller_deposit: Option<Due>,
}

pub async fn fund(context: &Context, which: Which) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let held = desk.hold(which.id).await?;
    let [payment, seller_deposit, buyer_deposit] = held.book.addresses().ok_or_else(|| {
        let why = "the escrow has no address yet: all three parties attest it when the setup is complete";
        EngineError::Person(why.to_owned())
    })?;
    let contract = &held.book.contract;
    let due = |slot: Slot, address: Address| {
        let amount = slot.required(contract);
        let slots = &held.view.deposits;
        // What is missing is the server's word and only a help; the amount is the contract's.
        let missing =
            slots.iter().find(|view| view.slot == slot).map_or(amount, |view| view.missing.piconero);
        let missing = missing.min(amount);
        let uri = (missing > Piconero::ZERO).then(|| format!("monero:{address}?tx_amount={}", missing.xmr()));
        (amount > Piconero::ZERO).then(|| Due { address, amount, xmr: amount.xmr(), missing, uri })
    };
    let dues = match held.book.role {
        Role::Buyer => Dues {
            payment: due(Slot::Payment, payment),
            buyer_deposit: due(Slot::BuyerDeposit, buyer_deposit),
            seller_deposit: None,
        },
        Role::Seller => Dues { seller_deposit: due(Slot::SellerDeposit, seller_deposit), ..Dues::default() },
        Role::Arbiter => Dues::default(),
    };
    output::result(context.json, &dues, || text(&dues));
    Ok(())
}

fn text(dues: &Dues) -> String {
    let named = [
        ("payment", &dues.payment),
        ("your security deposit", &dues.buyer_deposit),
        ("your security deposit", &dues.seller_deposit),
    ];
    let parts: Vec<String> = named
        .into_iter()
        .filter_map(|(name, due)| due.as_ref().map(|due| (name, due)))
        .map(|(name, due)| {
            let Some(uri) = &due.uri else {
                return format!("{name}: {} XMR to {} (paid)", due.xmr, due.address);
            };
            let part = if due.missing < due.amount {
                format!("{} XMR of ", due.missing.xmr())
            } else {
                String::new()
            };
            let code = output::qr(uri);
            format!("{name}: {part}{} XMR to {}\n{uri}\n{code}", due.xmr, due.address)
        })
        .collect();
    if parts.is_empty() { "You have nothing to pay.".to_owned() } else { parts.join("\n") }
}
