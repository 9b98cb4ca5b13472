//! What is for sale.

use aegis_common::amount::Piconero;
use aegis_common::escrow::contract::DefaultOutcome;
use aegis_common::ids::ListingId;
use aegis_common::wire::market::{
    ListingChange, ListingRequest, ListingStatus, ListingTerms, ListingView, bounds,
};
use clap::{Args, Subcommand};

use super::trade::{AtExpiry, parse_xmr, repeated};
use super::{Context, output};
use crate::engine::EngineError;

#[derive(Subcommand)]
pub enum ListingCommand {
    /// Offer something for sale.
    Add(Add),
    /// Change a listing of yours, for orders from now on. What is not named stays.
    Edit(Edit),
    /// Show a listing.
    Show {
        /// Its id.
        id: ListingId,
    },
    /// Find what is for sale.
    List(Search),
    /// Close a listing of yours, for good. Its orders go on.
    Close {
        /// Its id.
        id: ListingId,
    },
}

#[derive(Args)]
pub struct Add {
    /// What is for sale, in at most 190 characters.
    #[arg(long)]
    title: String,
    /// In detail.
    #[arg(long, default_value = "")]
    description: String,
    /// The price of a piece in XMR.
    #[arg(long, value_parser = parse_xmr)]
    price: Piconero,
    /// Pieces there are.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=i64::from(bounds::STOCK)))]
    stock: u32,
    /// What happens when an order's escrow expires.
    #[arg(long, value_enum)]
    default: AtExpiry,
    /// Days from an order until its escrow expires.
    #[arg(long, value_parser = days())]
    expires_days: u16,
    #[command(flatten)]
    terms: Terms,
}

#[derive(Args)]
pub struct Edit {
    /// Its id.
    id: ListingId,
    /// What is for sale, in at most 190 characters.
    #[arg(long)]
    title: Option<String>,
    /// In detail.
    #[arg(long)]
    description: Option<String>,
    /// The price of a piece in XMR.
    #[arg(long, value_parser = parse_xmr)]
    price: Option<Piconero>,
    /// Pieces that have come, or gone where negative: orders take pieces meanwhile.
    #[arg(long, allow_negative_numbers = true)]
    add_stock: Option<i32>,
    /// Take no orders for the time being.
    #[arg(long, conflicts_with = "resume")]
    pause: bool,
    /// Take orders again.
    #[arg(long)]
    resume: bool,
    /// What happens when an order's escrow expires.
    #[arg(long, value_enum)]
    default: Option<AtExpiry>,
    /// Days from an order until its escrow expires.
    #[arg(long, value_parser = days())]
    expires_days: Option<u16>,
    #[command(flatten)]
    terms: Terms,
}

/// Terms that may be left out.
#[derive(Args, Default)]
pub struct Terms {
    /// The buyer's security deposit in XMR.
    #[arg(long, value_parser = parse_xmr)]
    buyer_deposit: Option<Piconero>,
    /// The seller's security deposit in XMR.
    #[arg(long, value_parser = parse_xmr)]
    seller_deposit: Option<Piconero>,
    /// Confirmations for finality.
    #[arg(long)]
    finality: Option<u32>,
    /// Seconds until a silent signer is replaced.
    #[arg(long)]
    cosign_seconds: Option<u32>,
    /// The arbiter; otherwise the server assigns one to each order.
    #[arg(long)]
    arbiter: Option<String>,
    /// Most pieces of one order.
    #[arg(long)]
    max_quantity: Option<u32>,
}

#[derive(Args)]
pub struct Search {
    /// Words of the title, or how they begin.
    text: Option<String>,
    /// Only this account's.
    #[arg(long)]
    seller: Option<String>,
    /// From this price in XMR on.
    #[arg(long, value_parser = parse_xmr)]
    min_price: Option<Piconero>,
    /// Up to this price in XMR.
    #[arg(long, value_parser = parse_xmr)]
    max_price: Option<Piconero>,
    /// active, paused or closed; others than active with yourself as the seller only.
    #[arg(long, value_parser = ["active", "paused", "closed"])]
    status: Option<String>,
    /// In which order.
    #[arg(long, default_value = "newest", value_parser = ["newest", "oldest", "cheapest", "dearest"])]
    sort: String,
    /// Go on behind this position.
    #[arg(long)]
    after: Option<String>,
    /// How many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
}

fn days() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16)
        .range(i64::from(*bounds::EXPIRY_DAYS.start())..=i64::from(*bounds::EXPIRY_DAYS.end()))
}

impl Terms {
    /// The terms with what was named.
    fn put_into(self, mut terms: ListingTerms) -> ListingTerms {
        terms.buyer_deposit = self.buyer_deposit.unwrap_or(terms.buyer_deposit);
        terms.seller_deposit = self.seller_deposit.unwrap_or(terms.seller_deposit);
        terms.finality_depth = self.finality.or(terms.finality_depth);
        terms.cosign_seconds = self.cosign_seconds.or(terms.cosign_seconds);
        terms.arbiter = self.arbiter.or(terms.arbiter);
        terms.max_quantity = self.max_quantity.or(terms.max_quantity);
        terms
    }
}

fn first_terms(default_outcome: DefaultOutcome, expiry_days: u16) -> ListingTerms {
    ListingTerms {
        default_outcome,
        expiry_days,
        buyer_deposit: Piconero::ZERO,
        seller_deposit: Piconero::ZERO,
        finality_depth: None,
        cosign_seconds: None,
        arbiter: None,
        max_quantity: None,
    }
}

impl Edit {
    /// The change, with all terms where one of them was named.
    fn change(self, now: &ListingView) -> ListingChange {
        let mut terms = now.terms.clone();
        terms.default_outcome = self.default.map_or(terms.default_outcome, Into::into);
        terms.expiry_days = self.expires_days.unwrap_or(terms.expiry_days);
        let terms = self.terms.put_into(terms);
        ListingChange {
            title: self.title,
            description: self.description,
            price: self.price,
            add_stock: self.add_stock,
            status: match (self.pause, self.resume) {
                (true, _) => Some(ListingStatus::Paused),
                (_, true) => Some(ListingStatus::Active),
                _ => None,
            },
            terms: Some(terms).filter(|terms| *terms != now.terms),
        }
    }
}

fn line(listing: &ListingView) -> String {
    let (id, price, stock) = (listing.id, &listing.price.xmr, listing.stock);
    let status = match listing.status {
        ListingStatus::Active => String::new(),
        other => format!("  {}", other.wire()),
    };
    format!("{id}  {price} XMR  {stock} left  {}  {}{status}", listing.seller, listing.title)
}

fn whole(listing: &ListingView) -> String {
    let terms = &listing.terms;
    let mut lines = vec![line(listing)];
    if !listing.description.is_empty() {
        lines.push(listing.description.clone());
    }
    lines.extend(conditions(terms));
    if let Some(most) = terms.max_quantity {
        lines.push(format!("at most {most} in one order"));
    }
    lines.push(format!("version {}, changed {}", listing.version, listing.updated_at));
    lines.join("\n")
}

/// What the escrow of an order is made on, in words.
pub fn conditions(terms: &ListingTerms) -> Vec<String> {
    let ends = match terms.default_outcome {
        DefaultOutcome::Release => "the seller is paid",
        DefaultOutcome::Refund => "the buyer is paid back",
    };
    let mut lines =
        vec![format!("expires after {} days; then {ends}, unless somebody disputes", terms.expiry_days)];
    for (whose, deposit) in [("buyer", terms.buyer_deposit), ("seller", terms.seller_deposit)] {
        if deposit > Piconero::ZERO {
            lines.push(format!("security deposit of the {whose}: {} XMR", deposit.xmr()));
        }
    }
    lines.push(match &terms.arbiter {
        Some(name) => format!("arbiter {name}"),
        None => "the server assigns the arbiter".to_owned(),
    });
    lines
}

pub async fn listing(context: &Context, command: ListingCommand) -> Result<(), EngineError> {
    let client = context.desk()?.client;
    let show = |view: &ListingView| output::result(context.json, view, || whole(view));
    match command {
        ListingCommand::Add(add) => {
            let terms = add.terms.put_into(first_terms(add.default.into(), add.expires_days));
            let (title, description) = (add.title, add.description);
            let body = ListingRequest { title, description, price: add.price, stock: add.stock, terms };
            let key = uuid::Uuid::now_v7().to_string();
            show(&repeated(|| client.add_listing(&body, &key)).await?);
        }
        ListingCommand::Edit(edit) => {
            let now = client.listing(edit.id).await?;
            let (id, change) = (edit.id, edit.change(&now));
            show(&client.change_listing(id, now.version, &change).await?);
        }
        ListingCommand::Show { id } => show(&client.listing(id).await?),
        ListingCommand::List(search) => {
            let page = client.listings(&search.query()).await?;
            output::result(context.json, &page, || {
                let more = page.next.as_ref().map(|next| format!("more: --after {next}"));
                page.listings.iter().map(line).chain(more).collect::<Vec<_>>().join("\n")
            });
        }
        ListingCommand::Close { id } => {
            let now = client.listing(id).await?;
            show(&client.close_listing(id, now.version).await?);
        }
    }
    Ok(())
}

impl Search {
    fn query(self) -> [(&'static str, Option<String>); 8] {
        let price = |price: Option<Piconero>| price.map(|price| price.to_string());
        [
            ("text", self.text),
            ("seller", self.seller),
            ("minPrice", price(self.min_price)),
            ("maxPrice", price(self.max_price)),
            ("status", self.status),
            ("sort", Some(self.sort)),
            ("after", self.after),
            ("limit", Some(self.limit.to_string())),
        ]
    }
}
