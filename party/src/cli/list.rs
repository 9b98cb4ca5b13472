//! Listing one's escrows.

use aegis_common::amount::Piconero;
use aegis_common::role::Role;
use aegis_common::time::Timestamp;
use aegis_common::wire::list::{EscrowCount, EscrowItem, EscrowSort, Statuses};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use super::{Context, output, trade};
use crate::client::{Listed, MAX_ESCROWS};
use crate::engine::EngineError;
use crate::engine::run::progress_text;

/// Which escrows to list; all conditions must hold.
#[derive(Args)]
pub struct List {
    /// Statuses, `open` or `over`; several with commas.
    #[arg(long, value_parser = parse_statuses)]
    status: Option<String>,
    /// Your part.
    #[arg(long)]
    role: Option<Part>,
    /// Name of another party.
    #[arg(long, value_name = "NAME")]
    with: Option<String>,
    /// Words of the title; the last one may be cut short.
    #[arg(long)]
    text: Option<String>,
    /// Created at this moment or later: 2026-01-31 or 2026-01-31T12:00:00Z, in UTC.
    #[arg(long, value_parser = parse_moment)]
    from: Option<Timestamp>,
    /// Created before this moment.
    #[arg(long, value_parser = parse_moment)]
    to: Option<Timestamp>,
    /// The least price, in XMR.
    #[arg(long, value_parser = trade::parse_xmr)]
    min: Option<Piconero>,
    /// The highest price, in XMR.
    #[arg(long, value_parser = trade::parse_xmr)]
    max: Option<Piconero>,
    /// What to sort by.
    #[arg(long, default_value = "created", value_parser = PossibleValuesParser::new(EscrowSort::ALL.map(EscrowSort::wire)))]
    sort: String,
    /// Oldest, smallest or earliest first.
    #[arg(long)]
    ascending: bool,
    /// So many at most.
    #[arg(long, default_value_t = MAX_ESCROWS as u64, value_parser = clap::value_parser!(u64).range(1..=MAX_ESCROWS as u64))]
    limit: u64,
    /// Only say how many there are, by your part and status.
    #[arg(long, exclusive = true)]
    counts: bool,
}

/// A part in an escrow.
#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// Pays.
    Buyer,
    /// Delivers.
    Seller,
    /// Decides disputes.
    Arbiter,
}

impl From<Part> for Role {
    fn from(part: Part) -> Self {
        match part {
            Part::Buyer => Self::Buyer,
            Part::Seller => Self::Seller,
            Part::Arbiter => Self::Arbiter,
        }
    }
}

fn parse_statuses(text: &str) -> Result<String, String> {
    text.parse::<Statuses>().map(|_| text.to_owned())
}

fn parse_moment(text: &str) -> Result<Timestamp, String> {
    let whole = if text.contains(['T', 't', ' ']) { text.to_owned() } else { format!("{text}T00:00:00Z") };
    whole.parse().map_err(|_| "a date like 2026-01-31 or a moment like 2026-01-31T12:00:00Z".to_owned())
}

impl List {
    /// The parameters of the server's list.
    fn query(&self) -> Vec<(&'static str, String)> {
        let given = [
            ("status", self.status.clone()),
            ("role", self.role.map(|part| Role::from(part).to_string())),
            ("participant", self.with.clone()),
            ("text", self.text.clone()),
            ("createdFrom", self.from.map(|at| at.to_string())),
            ("createdTo", self.to.map(|at| at.to_string())),
            ("amountMin", self.min.map(|amount| amount.to_string())),
            ("amountMax", self.max.map(|amount| amount.to_string())),
            ("sort", Some(self.sort.clone())),
            ("order", self.ascending.then(|| "asc".to_owned())),
        ];
        given.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
    }
}

pub async fn list(context: &Context, list: &List) -> Result<(), EngineError> {
    let client = context.desk()?.client;
    if list.counts {
        let counts = client.escrow_counts().await?;
        let line = |count: &EscrowCount| format!("{:<7}  {:<27}  {}", count.role, count.status, count.count);
        output::result(context.json, &counts, || output::lines(&counts.counts, line));
        return Ok(());
    }
    let most = usize::try_from(list.limit).unwrap_or(MAX_ESCROWS);
    let Listed { escrows, unreadable } = client.escrows_where(&list.query(), most).await?;
    for id in unreadable {
        output::note(&format!("{id}  the server can't read this escrow: its operator has to look at it"));
    }
    output::result(context.json, &escrows, || output::lines(&escrows, line));
    Ok(())
}

fn line(item: &EscrowItem) -> String {
    let waiting = if item.waiting_for_me { "  (waits for you)" } else { "" };
    let progress = item.progress.as_ref().map(|progress| format!("  ({})", progress_text(progress)));
    format!(
        "{}  {:<27}  {:<7}  {} XMR  {}{waiting}{}",
        item.id,
        item.status.wire(),
        item.role.to_string(),
        item.amount.xmr,
        item.title,
        progress.unwrap_or_default()
    )
}
