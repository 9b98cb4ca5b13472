//! Ordering what is for sale.

use std::time::Duration;

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::Contract;
use aegis_common::ids::{ListingId, OrderId};
use aegis_common::role::Role;
use aegis_common::time::{SignedDuration, Timestamp};
use aegis_common::wire::market::{ListingView, OrderRequest, OrderView, bounds};
use clap::Args;

use super::listing::conditions;
use super::trade::{repeated, terms_of};
use super::{Context, Trader, output};
use crate::book::Fault;
use crate::engine::{EngineError, terms};

/// By how much the server's clock may be off when it dates an escrow's expiry.
const CLOCKS: Duration = Duration::from_secs(3600);

#[derive(Args)]
pub struct Order {
    /// The listing's id.
    listing: ListingId,
    /// Pieces.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(bounds::STOCK)))]
    quantity: u32,
    /// Do not ask; needed where nobody sits at the terminal.
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
pub struct Orders {
    /// Only those you made, or those you were sent.
    #[arg(long, value_enum)]
    role: Option<Trader>,
    /// Only those of this status, e.g. PAID.
    #[arg(long)]
    status: Option<String>,
    /// Only those of this listing.
    #[arg(long)]
    listing: Option<ListingId>,
    /// Only those older than this one.
    #[arg(long)]
    before: Option<OrderId>,
    /// How many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
}

/// What an order comes to, in words.
fn bill(listing: &ListingView, quantity: u32) -> Result<String, EngineError> {
    let too_much = || EngineError::Person("no amount is so large".to_owned());
    let amount = listing.price.piconero.ratio(quantity.into(), 1).ok_or_else(too_much)?;
    let deposit = listing.terms.buyer_deposit;
    let all = amount.checked_add(deposit).ok_or_else(too_much)?;
    let mut lines = vec![format!("{quantity} × {}, from {}", listing.title, listing.seller)];
    lines.extend(Some(listing.description.clone()).filter(|text| !text.is_empty()));
    lines.extend(conditions(&listing.terms));
    lines.push(format!("price          {} XMR ({quantity} × {})", amount.xmr(), listing.price.xmr));
    if deposit > Piconero::ZERO {
        lines.push(format!("your deposit   {} XMR", deposit.xmr()));
    }
    lines.push(format!("you will pay   {} XMR, once all three have accepted (aegis fund)", all.xmr()));
    Ok(lines.join("\n"))
}

/// Whether a contract is what an order of the listing, as it was shown, opens. When the server dated its expiry is known
/// as well as clocks agree.
fn ordered(
    listing: &ListingView,
    quantity: u32,
    contract: &Contract,
    asked_at: Timestamp,
) -> Result<(), EngineError> {
    let days = SignedDuration::from_hours(24 * i64::from(listing.terms.expiry_days));
    let off = contract.expires_at.duration_since(asked_at).saturating_sub(days).unsigned_abs();
    let wrong =
        |what: &str| EngineError::Fault(Fault::Contract(format!("is not what you asked for: {what}")));
    if off > CLOCKS {
        return Err(wrong("the expiry differs"));
    }
    let asked =
        listing.to_escrow(quantity, contract.expires_at).ok_or_else(|| wrong("there is no such amount"))?;
    Ok(terms::asked_for(&asked, contract, Role::Buyer)?)
}

pub async fn order(context: &Context, order: Order) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let listing = desk.client.listing(order.listing).await?;
    if listing.id != order.listing {
        return Err(Fault::Contract("belongs to another listing".to_owned()).into());
    }
    let bill = bill(&listing, order.quantity)?;
    if !order.yes && !context.json {
        let question = "Order this? It obliges you to nothing until you accept the contract and pay.";
        if !tokio::task::block_in_place(|| output::agreed(&bill, question)) {
            return Err(EngineError::Person("not ordered".to_owned()));
        }
    }
    let body = OrderRequest { listing_id: listing.id, quantity: order.quantity, version: listing.version };
    let (key, asked_at) = (uuid::Uuid::now_v7().to_string(), Timestamp::now());
    let made = repeated(|| desk.client.order(&body, &key)).await?;
    let mut held = desk.hold(made.escrow_id).await?;
    ordered(&listing, order.quantity, &held.book.contract, asked_at)?;
    // From now on the server can't show another contract for this escrow.
    held.book.asked_for = true;
    held.save()?;
    output::result(context.json, &made, || {
        let terms = terms_of(&desk, &held);
        format!("ordered {}\n{terms}\nnext: aegis accept {}", made.id, made.escrow_id)
    });
    Ok(())
}

pub async fn orders(context: &Context, asked: Orders) -> Result<(), EngineError> {
    let role = asked.role.map(|role| Role::from(role).to_string());
    let query = [
        ("role", role),
        ("status", asked.status.map(|status| status.to_uppercase())),
        ("listing", asked.listing.map(|id| id.to_string())),
        ("before", asked.before.map(|id| id.to_string())),
        ("limit", Some(asked.limit.to_string())),
    ];
    let page = context.desk()?.client.orders(&query).await?;
    output::result(context.json, &page, || {
        let line = |order: &OrderView| {
            format!(
                "{}  {:<9}  {} XMR  {} × {}  {} from {}  escrow {}",
                order.id,
                order.status.wire(),
                order.amount.xmr,
                order.quantity,
                order.title,
                order.buyer,
                order.seller,
                order.escrow_id
            )
        };
        let more = page.next.map(|next| format!("more: --before {next}"));
        page.orders.iter().map(line).chain(more).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}
