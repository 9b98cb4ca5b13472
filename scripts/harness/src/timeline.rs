//! What happens, line by line, with the time since the beginning.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aegis_common::amount::Piconero;
use aegis_common::ids::EscrowId;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::api::Eyes;

/// Writes lines to standard output, and remembers them.
pub struct Timeline {
    begun: Instant,
    quiet: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: HashMap<String, String>,
    said: HashSet<String>,
    lines: Vec<String>,
}

impl Timeline {
    /// Begins now. A quiet one only remembers.
    pub fn begin(quiet: bool) -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), quiet, state: Mutex::default() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Lines stay readable even where a task died while it wrote one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// From now on an escrow is called by its scenario's name.
    pub fn name(&self, id: EscrowId, scenario: &str) {
        self.state().names.insert(id.to_string(), scenario.to_owned());
    }

    /// Writes a line about a scenario.
    pub fn say(&self, scenario: &str, text: &str) {
        let line = format!("{:7.1} s  {scenario:<18} {text}", self.begun.elapsed().as_secs_f64());
        if !self.quiet {
            // A closed standard output must not stop the scenarios.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
        self.state().lines.push(line);
    }

    /// Writes a line about an escrow, unless the same was said of it before.
    fn say_once(&self, escrow: &str, key: &str, text: &str) {
        let scenario = {
            let mut state = self.state();
            let Some(scenario) = state.names.get(escrow).cloned() else { return };
            if !state.said.insert(format!("{escrow} {key}")) {
                return;
            }
            scenario
        };
        self.say(&scenario, text);
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.state().lines.clone()
    }

    /// Follows a person's event feed until the handle is dropped. A server that is away is asked again.
    pub fn follow(self: &Arc<Self>, eyes: Arc<Eyes>) -> Follower {
        let timeline = Arc::clone(self);
        Follower(tokio::spawn(async move {
            let mut after = 0;
            loop {
                if let Ok((events, next)) = eyes.events(after).await {
                    after = next.max(after);
                    for event in events {
                        let Some(escrow) = event.escrow_id else { continue };
                        if let Some(text) = news(&event.kind, &event.payload) {
                            timeline.say_once(&escrow.to_string(), &text, &text);
                        }
                    }
                }
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
        }))
    }

    /// Follows the lines of a participant's program until the handle is dropped.
    pub fn tail(self: &Arc<Self>, person: &str, file: PathBuf) -> Follower {
        let (timeline, person) = (Arc::clone(self), person.to_owned());
        Follower(tokio::spawn(async move {
            let mut read = 0;
            loop {
                let text = tokio::fs::read(&file).await.unwrap_or_default();
                let new = text.get(read..).unwrap_or_default();
                // Only whole lines: the last one may still be on its way.
                let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                read += whole;
                for line in new.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n') {
                    let Ok(line) = serde_json::from_slice::<Value>(line) else { continue };
                    let escrow = line.get("escrow").and_then(Value::as_str).unwrap_or_default();
                    let event = line.get("event").and_then(Value::as_str).unwrap_or_default();
                    let text = line.get("text").and_then(Value::as_str).unwrap_or_default();
                    // Statuses and confirmations are told once for all, by the server's feed.
                    if ["did", "asks", "error"].contains(&event) {
                        let text = format!("{person} {event}: {text}");
                        timeline.say_once(escrow, &text, &text);
                    }
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }))
    }
}

/// An event of the feed in words; none for what the participants' own lines tell better.
fn news(kind: &str, payload: &Value) -> Option<String> {
    let field = |name: &str| match payload.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let xmr = || field("amount").parse::<Piconero>().map_or_else(|_| field("amount"), Piconero::xmr);
    let place = || match payload.get("height").and_then(Value::as_u64) {
        Some(height) => format!("in block {height}"),
        None => "in the pool".to_owned(),
    };
    match kind {
        "EscrowStatusChanged" => Some(format!("{} → {}", field("from"), field("to"))),
        "AddressReady" => Some("the address is ready".to_owned()),
        "AddressMismatch" => Some("the attested addresses differ".to_owned()),
        "DepositSeen" => Some(format!("{}: {} XMR {}", field("slot"), xmr(), place())),
        "DepositRefused" => Some(format!("{} XMR not credited: {}", xmr(), field("reason"))),
        "DepositReverted" => Some(format!("the chain took {} XMR back", xmr())),
        "TransactionConfirmed" => Some(format!("{}: {} XMR final", field("slot"), xmr())),
        "SignersAsked" => {
            let (attempt, proposer, cosigner) = (field("attempt"), field("proposer"), field("cosigner"));
            Some(format!("signing attempt {attempt}: the {proposer} proposes, the {cosigner} cosigns"))
        }
        "PayoutSeen" => Some(format!("payout {}", place())),
        "PayoutLost" | "PayoutMismatch" | "LatePaymentReturned" | "ExpiryWarning" => Some(kind.to_owned()),
        _ => None,
    }
}

/// Ends the following when dropped.
pub struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_told_in_words_and_amounts_in_xmr() {
        let seen = json!({"slot": "payment", "amount": "1500000000000", "height": 7, "output": {"index": 0}});
        assert_eq!(news("DepositSeen", &seen).as_deref(), Some("payment: 1.500000000000 XMR in block 7"));
        let status = json!({"from": "ACTIVE", "to": "SETTLING"});
        assert_eq!(news("EscrowStatusChanged", &status).as_deref(), Some("ACTIVE → SETTLING"));
        assert_eq!(news("StatementPosted", &json!({"kind": "round"})), None);
    }

    #[test]
    fn the_same_event_is_written_once_and_foreign_escrows_never() {
        let timeline = Timeline::begin(true);
        let id: EscrowId = "00000000-0000-0000-0000-000000000007".parse().unwrap();
        timeline.name(id, "release");
        for _ in 0..2 {
            timeline.say_once(&id.to_string(), "a", "a");
            timeline.say_once("other", "a", "a");
        }
        assert_eq!(timeline.lines().len(), 1);
    }
}
