//! Looking.

use std::time::Duration;

use aegis_common::escrow::statement::verify_transcript;
use aegis_common::wire::event::EventFrame;

use super::{Context, Which, output};
use crate::book::Fault;
use crate::engine::EngineError;
use crate::engine::run::progress_text;

/// Events that are listed at once.
const MAX_EVENTS: usize = 1_000;

pub async fn show(context: &Context, which: Which) -> Result<(), EngineError> {
    let view = context.desk()?.client.escrow(which.id).await?;
    output::result(context.json, &view, || {
        serde_json::to_string_pretty(&view).unwrap_or_else(|error| error.to_string())
    });
    Ok(())
}

pub async fn status(context: &Context, which: Which, watch: bool) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let mut last = String::new();
    loop {
        let view = desk.client.escrow(which.id).await?;
        let waiting: Vec<_> = view.setup.waiting_for.iter().map(ToString::to_string).collect();
        let waiting = (!waiting.is_empty()).then(|| format!("waiting for {}", waiting.join(", ")));
        let progress = view.progress().map(|progress| progress_text(&progress));
        let returning = view.returning.as_ref().map(|_| "what came after the payout goes back".to_owned());
        let lines = [Some(view.status.to_string()), waiting, returning, progress];
        let text = lines.into_iter().flatten().collect::<Vec<_>>().join("; ");
        if text != last {
            let document = serde_json::json!({"id": view.id, "status": view.status, "text": text});
            output::result(context.json, &document, || text.clone());
            last = text;
        }
        if !watch || (view.status.is_over() && view.returning.is_none()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

pub async fn events(context: &Context, after: i64) -> Result<(), EngineError> {
    let page = context.desk()?.client.events(after).await?;
    output::result(context.json, &page, || output::lines(&page.events, event_line));
    Ok(())
}

fn event_line(event: &EventFrame) -> String {
    let escrow = event.escrow_id.map(|id| id.to_string()).unwrap_or_default();
    format!("{}  {}  {escrow}  {}  {}", event.seq, event.at, event.kind, event.payload)
}

/// Lists what was not read yet on any device; on request it is read from now on.
pub async fn inbox(context: &Context, read: bool) -> Result<(), EngineError> {
    let client = context.desk()?.client;
    let mut state = client.inbox().await?;
    let (mut events, mut after) = (Vec::new(), state.read_up_to);
    while events.len() < MAX_EVENTS {
        let page = client.events(after).await?;
        let Some(last) = page.events.last().map(|event| event.seq).filter(|last| *last > after) else {
            break;
        };
        after = last;
        events.extend(page.events);
    }
    // Only what is shown: more may have come meanwhile.
    if read && !events.is_empty() {
        state = client.mark_read(after).await?;
    }
    let document =
        serde_json::json!({"events": events, "readUpTo": state.read_up_to, "unread": state.unread});
    output::result(context.json, &document, || match events.is_empty() {
        true => "nothing new".to_owned(),
        false => output::lines(&events, event_line),
    });
    Ok(())
}

pub async fn history(context: &Context, which: Which) -> Result<(), EngineError> {
    let entries = context.desk()?.client.history(which.id).await?;
    output::result(context.json, &entries, || {
        output::lines(&entries, |entry| format!("{:>4}  {}  {}", entry.version, entry.at, entry.text))
    });
    Ok(())
}

pub async fn transcript(context: &Context, which: Which) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let held = desk.hold(which.id).await?;
    output::result(context.json, &held.book.transcript, || {
        let line = |signed: &aegis_common::escrow::statement::SignedStatement| {
            let said = &signed.statement;
            format!("{:<8} {:>3}  {}", said.role.to_string(), said.seq, said.act.kind())
        };
        held.book.transcript.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

/// Verifies everything from the first statement on, as if nothing were known.
pub async fn verify(context: &Context, which: Which) -> Result<(), EngineError> {
    let desk = context.desk()?;
    let held = desk.hold(which.id).await?;
    let book = &held.book;
    verify_transcript(&book.contract, book.contract_hash, &book.transcript).map_err(Fault::from)?;
    let address = book.addresses().map(|[primary, ..]| primary);
    let document = serde_json::json!({
        "statements": book.transcript.len(),
        "contractHash": book.contract_hash,
        "address": address,
    });
    output::result(context.json, &document, || {
        let address = address.map_or_else(|| "not ready".to_owned(), |address| address.to_string());
        format!(
            "{} statements verify; contract {}; address {address}",
            book.transcript.len(),
            book.contract_hash
        )
    });
    Ok(())
}

/// Needs no server: it may be the one that hides what was said.
pub fn tell(context: &Context, which: Which) -> Result<(), EngineError> {
    let book = context.desk()?.stored(which.id)?;
    let book = book.ok_or_else(|| EngineError::Person("this escrow is not known here".to_owned()))?;
    let decisions = book.decisions();
    output::result(true, &decisions, String::new);
    Ok(())
}
