//! What a person at the server's machine asks: how is it? What is in memory is asked of the running server, as everybody may ask
//! it; everything else is read from the database, in which nothing is changed.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aegis_common::escrow::stall::Stall;
use aegis_common::time::{Clock, Timestamp};
use aegis_common::wire::operator::{Health, OperatorStatus, StuckEscrow};
use anyhow::Context;
use serde::Serialize;

use crate::api::operator::stored;
use crate::config::Config;
use crate::crypto::Keyring;
use crate::escrows::Escrows;
use crate::store::Store;

/// An answer takes no longer, or the server does not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Escrows that are shown.
const SHOWN: usize = 50;
/// Pages that are looked through for them, of 500 escrows each.
const PAGES: usize = 100;

/// How the server is, with the escrows that take longer than they should.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    #[serde(flatten)]
    status: OperatorStatus,
    escrows: Vec<StuckEscrow>,
    /// Whether there may be more of them than are shown: `GET /api/v1/operator/escrows` has all.
    more_escrows: bool,
    needs_operator: bool,
}

impl Report {
    /// Whether somebody has to look at something.
    pub fn needs_operator(&self) -> bool {
        self.needs_operator
    }

    /// As a table.
    pub fn text(&self) -> Result<String, fmt::Error> {
        words(self)
    }
}

/// Asks the server that runs with this configuration, and looks into its database.
pub async fn report(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Report> {
    let url = config.data.database_url.parse().context("AEGIS_DATABASE_URL")?;
    // Nothing that is read here is sealed, so no key is needed, or made.
    let keyring = Arc::new(Keyring::parse(&"0".repeat(64))?);
    let store = Store::look(&url, keyring).context("opening the database")?;
    let now = clock.now();
    let arbiters = super::arbiters(config, store.clone(), clock);
    let status = stored(&store, &arbiters, health(config).await, now).await?;
    let (escrows, more_escrows, urgent) = stuck(&Escrows::new(store), now).await?;
    let needs_operator = urgent || !status.attention.is_empty();
    Ok(Report { status, escrows, more_escrows, needs_operator })
}

async fn health(config: &Config) -> Option<Health> {
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().ok()?;
    let answer = client.get(format!("http://{}/health", here(config.http.bind))).send().await.ok()?;
    answer.json().await.ok()
}

/// The escrows to show, those that need somebody first; whether there are more; and whether one of all needs somebody, or not all
/// could be looked at.
async fn stuck(escrows: &Escrows, now: Timestamp) -> anyhow::Result<(Vec<StuckEscrow>, bool, bool)> {
    let (mut urgent, mut others, mut more) = (Vec::new(), Vec::new(), false);
    let mut after = None::<String>;
    for _ in 0..PAGES {
        let page = escrows.stuck(false, &[], after.as_deref(), SHOWN, now).await?;
        for found in page.escrows {
            let place = if found.needs_operator() { &mut urgent } else { &mut others };
            if place.len() < SHOWN {
                place.push(found);
            } else {
                more = true;
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let needs = !urgent.is_empty() || after.is_some();
    urgent.extend(others);
    more |= urgent.len() > SHOWN || after.is_some();
    urgent.truncate(SHOWN);
    Ok((urgent, more, needs))
}

/// Where a server that listens there is reached from its own machine.
fn here(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

fn words(report: &Report) -> Result<String, fmt::Error> {
    let Report { status, escrows, more_escrows, .. } = report;
    let mut text = String::new();
    match &status.health {
        Some(health) => running(health, &mut text)?,
        None => writeln!(text, "server    does not answer")?,
    }
    if status.behind > 0 {
        writeln!(
            text,
            "behind    {} escrows were not told of all that the chain holds for them",
            status.behind
        )?;
    }
    let pool = &status.arbiters;
    writeln!(
        text,
        "arbiters  {} of {} available, with room for {}; {} silent, {} paused; {} open cases, {} disputed",
        pool.available, pool.arbiters, pool.room, pool.silent, pool.paused, pool.open, pool.disputed
    )?;
    for lag in &status.outbox {
        let oldest =
            age(lag.oldest, status.at).map(|age| format!(", the oldest for {age}")).unwrap_or_default();
        writeln!(text, "outbox    {}: {} events wait{oldest}", lag.reader, lag.waiting)?;
    }
    let hooks = &status.webhooks;
    let oldest = age(hooks.oldest_due, status.at).map(|age| format!(" (for {age})")).unwrap_or_default();
    writeln!(
        text,
        "webhooks  {} have something to send, {} due{oldest}, {} failing, {} disabled",
        hooks.waiting, hooks.due, hooks.failing, hooks.disabled
    )?;
    for escrow in escrows {
        for stall in escrow.stalls.iter().filter(|stall| stall.overdue) {
            writeln!(
                text,
                "{} {}",
                if stall.needs_operator { "escrow  !" } else { "escrow   " },
                line(escrow, stall, status.at)
            )?;
        }
    }
    if *more_escrows {
        writeln!(text, "escrow    and perhaps more: GET /api/v1/operator/escrows has all")?;
    }
    for attention in &status.attention {
        writeln!(text, "look at   {}", attention.text())?;
    }
    Ok(text)
}

fn running(health: &Health, text: &mut String) -> fmt::Result {
    writeln!(text, "{}, version {}", health.status, health.version)?;
    writeln!(text, "database  {}", if health.database { "answers" } else { "does not answer" })?;
    match (&health.catching_up, health.tip) {
        (Some(progress), _) => writeln!(text, "chain     catching up: {}", progress.text)?,
        (None, Some(tip)) => {
            let agreed =
                health.agreed_tip.map(|tip| format!(", nodes agree about {tip}")).unwrap_or_default();
            writeln!(text, "chain     followed to block {tip}{agreed}")?;
        }
        (None, None) => writeln!(text, "chain     not followed yet")?,
    }
    for (number, node) in (1..).zip(&health.nodes) {
        let height = node.height.map(|height| format!(", at block {height}")).unwrap_or_default();
        writeln!(text, "node {number}    {}{height}", node.state.text())?;
    }
    if health.resting > 0 {
        writeln!(text, "resting   {} escrows keep failing; the log names them", health.resting)?;
    }
    Ok(())
}

fn line(escrow: &StuckEscrow, stall: &Stall, now: Timestamp) -> String {
    let owed =
        stall.owed.iter().map(|debtor| format!("{} ({}): {}", debtor.username, debtor.role, debtor.debt));
    let owed = owed.collect::<Vec<_>>().join(", ");
    let why = serde_json::to_value(stall.why).ok();
    let why = why.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    let since = age(stall.since, now).map(|age| format!(" for {age}")).unwrap_or_default();
    format!("{}  {why}{since}  {owed}", escrow.escrow_id).trim_end().to_owned()
}

/// How long ago, roughly.
fn age(since: Option<Timestamp>, now: Timestamp) -> Option<String> {
    let seconds = now.duration_since(since?).as_secs().max(0);
    Some(match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    })
}

#[cfg(test)]
mod tests {
    use aegis_common::escrow::stall::{Debt, Debtor, Why};
    use aegis_common::ids::EscrowId;
    use aegis_common::role::Role;
    use aegis_common::time::SignedDuration;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_part_of_the_answer_is_put_into_words() {
        let at = Timestamp::constant(1_800_000_000, 0);
        let ago = |minutes| at - SignedDuration::from_mins(minutes);
        let health = json!({
            "status": "degraded", "version": "0.1.0", "database": true, "chain": "following", "tip": 5, "agreedTip": 9,
            "catchingUp": null, "resting": 1,
            "nodes": [{"reachable": true, "state": "up", "height": 9},
                      {"reachable": false, "state": "setAside", "height": null}],
        });
        let mut status: OperatorStatus = serde_json::from_value(json!({
            "at": at, "attention": [], "health": health, "reasons": [], "resting": [], "behind": 2,
            "arbiters": {"arbiters": 3, "available": 0, "silent": 1, "paused": 2, "open": 7, "disputed": 1, "room": 0},
            "outbox": [{"reader": "sessions", "waiting": 4, "oldest": ago(3)}],
            "webhooks": {"waiting": 5, "due": 2, "oldestDue": ago(180), "failing": 1, "disabled": 6},
        }))
        .unwrap();
        status.attention = status.look();
        let debtor = Debtor { role: Role::Arbiter, username: "ada".to_owned(), debt: Debt::Ruling };
        let ruling = Stall { owed: vec![debtor], ..Stall::trouble(Why::Ruling, Some(ago(60 * 24 * 9))) };
        let waiting = Stall { overdue: false, needs_operator: false, ..ruling.clone() };
        let escrow = StuckEscrow {
            escrow_id: EscrowId(uuid::Uuid::nil()),
            version: 3,
            status: None,
            changed_at: ago(1),
            parties: Vec::new(),
            stalls: vec![ruling, waiting],
        };
        let report = Report { status, escrows: vec![escrow], more_escrows: true, needs_operator: true };
        let lines = [
            "degraded, version 0.1.0",
            "database  answers",
            "chain     followed to block 5, nodes agree about 9",
            "node 1    answers, at block 9",
            "node 2    set aside",
            "resting   1 escrows keep failing; the log names them",
            "behind    2 escrows were not told of all that the chain holds for them",
            "arbiters  0 of 3 available, with room for 0; 1 silent, 2 paused; 7 open cases, 1 disputed",
            "outbox    sessions: 4 events wait, the oldest for 3 min",
            "webhooks  5 have something to send, 2 due (for 3 h), 1 failing, 6 disabled",
            "escrow  ! 00000000-0000-0000-0000-000000000000  ruling for 9 d  ada (arbiter): ruling",
            "escrow    and perhaps more: GET /api/v1/operator/escrows has all",
            "look at   the chain is not followed to its end",
            "look at   not every node can be used",
            "look at   escrows keep failing and are left alone",
            "look at   no arbiter can be assigned",
            "look at   events hang in the outbox",
            "look at   webhooks are due and not called",
        ];
        assert_eq!(report.text().unwrap(), lines.join("\n") + "\n");
        for (bind, reached) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("10.0.0.1:3", "10.0.0.1:3")]
        {
            assert_eq!(here(bind.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
