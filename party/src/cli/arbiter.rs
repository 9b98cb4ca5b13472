//! Arbiters, as traders and as arbiters see them.

use aegis_common::time::Timestamp;
use aegis_common::wire::arbiter::{ArbiterProfile, ArbiterView, DisputeItem};
use clap::{Args, Subcommand};

use super::{Context, output};
use crate::engine::EngineError;

/// Most that are listed.
const MOST: usize = 10_000;

#[derive(Subcommand)]
pub enum Command {
    /// Who can be asked.
    List,
    /// One of them.
    Show {
        /// Its username.
        name: String,
    },
    /// Say what you offer, in contracts made from now on. What is left out goes back to the operator's terms.
    Offer(Offer),
    /// The disputes that wait for your ruling, those due first first.
    Disputes,
}

#[derive(Args)]
pub struct Offer {
    /// About you and how you decide.
    #[arg(long, default_value = "")]
    about: String,
    /// A language that you rule in, such as en or pt-BR; may be given more than once.
    #[arg(long = "language")]
    languages: Vec<String>,
    /// Your fee in basis points of the amount, due after a ruling and at expiry.
    #[arg(long)]
    fee_bps: Option<u16>,
    /// Most cases at once.
    #[arg(long)]
    capacity: Option<u32>,
    /// Take on no new cases.
    #[arg(long)]
    pause: bool,
}

pub async fn arbiter(context: &Context, command: Command) -> Result<(), EngineError> {
    match command {
        Command::List => list(context).await,
        Command::Show { name } => show(context, &context.desk()?.client.arbiter(&name).await?),
        Command::Offer(offer) => {
            let Offer { about, languages, fee_bps, capacity, pause } = offer;
            let offer = ArbiterProfile { about, languages, fee_bps, capacity, accepting: !pause };
            show(context, &context.desk()?.client.set_offer(&offer).await?)
        }
        Command::Disputes => disputes(context).await,
    }
}

pub(super) fn percent(bps: u16) -> String {
    format!("{}.{:02} %", bps / 100, bps % 100)
}

fn line(view: &ArbiterView) -> String {
    let is = if view.available { "available" } else { "not available" };
    let (name, fee) = (&view.username, percent(view.fee_bps));
    format!(
        "{name:<24}  {is:<13}  {fee:>7}  {} of {} cases  {}",
        view.open,
        view.capacity,
        view.languages.join(" ")
    )
}

async fn list(context: &Context) -> Result<(), EngineError> {
    let client = context.desk()?.client;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = client.arbiters(after).await?;
        all.extend(page.arbiters);
        after = page.next;
        if after.is_none() || all.len() >= MOST {
            break;
        }
    }
    output::result(context.json, &all, || all.iter().map(line).collect::<Vec<_>>().join("\n"));
    Ok(())
}

fn show(context: &Context, view: &ArbiterView) -> Result<(), EngineError> {
    output::result(context.json, view, || {
        let heard = format!("last heard {}, {} disputes wait for a ruling", view.seen_at, view.disputed);
        [line(view), heard, view.about.clone()].join("\n")
    });
    Ok(())
}

fn dispute_line(item: &DisputeItem) -> String {
    let due = item.due.as_ref().map_or_else(String::new, Timestamp::to_string);
    let late = if item.overdue { "OVERDUE" } else { "" };
    let (by, since) = (item.by, item.since);
    format!(
        "{}  {} XMR  {}  by the {by} since {since}, due {due} {late}",
        item.escrow_id, item.amount.xmr, item.title
    )
}

async fn disputes(context: &Context) -> Result<(), EngineError> {
    let client = context.desk()?.client;
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = client.disputes(after.as_deref()).await?;
        all.extend(page.disputes);
        for id in page.unreadable {
            output::note(&format!("{id}  the server can't read this escrow: its operator has to look at it"));
        }
        after = page.next;
        if after.is_none() || all.len() >= MOST {
            break;
        }
    }
    output::result(context.json, &all, || all.iter().map(dispute_line).collect::<Vec<_>>().join("\n"));
    Ok(())
}
