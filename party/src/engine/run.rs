//! The running participant: wakes on events, on a timer and on start, and does what is owed in each escrow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aegis_common::ids::EscrowId;
use aegis_common::time::Clock;
use aegis_common::wire::list::{Confirming, Progress as Confirmed};
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::desk::Desk;
use super::setup::Progress;
use super::{EngineError, prekeys};
use crate::client::{ClientError, Listed};
use crate::daemon::Daemon;
use crate::policy::Policy;
use crate::wallet::MultisigWallet;

/// Steps taken in one escrow before the others get their turn.
const STEPS_IN_A_ROW: usize = 4;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Something worth telling the person.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The escrow; none where it concerns all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escrow: Option<EscrowId>,
    /// `did`, `asks`, `status`, `progress` or `error`.
    pub event: &'static str,
    /// In words.
    pub text: String,
    /// A code, with an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// A participant with a wallet.
pub struct Engine {
    /// Keys, books and the server.
    pub desk: Desk,
    /// The escrows' wallets.
    pub wallet: MultisigWallet,
    /// The participant's node.
    pub daemon: Daemon,
    /// Standing instructions.
    pub policy: Policy,
    /// The time.
    pub clock: Box<dyn Clock>,
    /// How often everything is looked at without being woken.
    pub poll: Duration,
}

/// What was last told of an escrow, so that nothing is told twice.
#[derive(Default)]
struct Told(BTreeMap<(Option<EscrowId>, &'static str), String>);

impl Told {
    fn is_news(&mut self, report: &Report) -> bool {
        let last = self.0.insert((report.escrow, report.event), report.text.clone());
        report.event == "did" || last.as_ref() != Some(&report.text)
    }

    /// What concerns all escrows is over: it is news when it comes again.
    fn forget_common(&mut self) {
        self.0.retain(|(escrow, _), _| escrow.is_some());
    }

    /// Forgets escrows that are not listed any more, so that a server can't make this grow without end.
    fn keep(&mut self, listed: &BTreeSet<EscrowId>) {
        self.0.retain(|(escrow, _), _| escrow.is_none_or(|id| listed.contains(&id)));
    }
}

impl Engine {
    /// Takes part until stopped; with `once`, until nothing more can be done now.
    pub async fn run(&self, once: bool, tell: &(dyn Fn(&Report) + Sync)) {
        let (wake, mut woken) = mpsc::channel::<()>(1);
        let mut told = Told::default();
        let mut refill_at = Instant::now();
        let listening = self.listen(wake);
        tokio::pin!(listening);
        loop {
            let mut busy = true;
            while busy {
                busy = tokio::select! {
                    biased;
                    done = self.round(&mut told, &mut refill_at, tell) => done,
                    () = &mut listening => false,
                };
            }
            if once {
                return;
            }
            tokio::select! {
                () = &mut listening => {}
                _ = woken.recv() => {}
                () = tokio::time::sleep(self.poll) => {}
            }
        }
    }

    /// Turns live events into wake-ups, reconnecting for ever. Events are only a reason to look: a lost one costs a
    /// poll interval.
    async fn listen(&self, wake: mpsc::Sender<()>) {
        let mut after = self.client_cursor().await;
        loop {
            if let Ok(mut events) = self.desk.client.live(after).await {
                while let Some(event) = events.next().await {
                    after = event.seq;
                    // A full channel means that a wake-up is waiting already.
                    let _ = wake.try_send(());
                }
            }
            tokio::time::sleep(self.poll).await;
        }
    }

    /// The feed's end at start: older events are covered by the first round.
    async fn client_cursor(&self) -> i64 {
        let mut after = 0;
        while let Ok(page) = self.desk.client.events(after).await {
            // A server that shows one page for ever is not followed.
            if page.events.is_empty() || page.next <= after {
                break;
            }
            after = page.next;
        }
        after
    }

    /// One look at every escrow; whether anything was done. No answer of the server ends the program: a relay's 404
    /// must not keep it from what is due in an hour.
    async fn round(&self, told: &mut Told, refill_at: &mut Instant, tell: &(dyn Fn(&Report) + Sync)) -> bool {
        let Listed { escrows, unreadable } = match self.listed().await {
            Ok(listed) => listed,
            Err(EngineError::Client(ClientError::Unreachable(_))) => return false,
            Err(error) => {
                let report = Report {
                    escrow: None,
                    event: "error",
                    text: error.to_string(),
                    code: Some(error.code()),
                };
                if told.is_news(&report) {
                    tell(&report);
                }
                return false;
            }
        };
        told.forget_common();
        let mut busy = false;
        let mut seen = BTreeSet::new();
        for id in unreadable.into_iter().filter(|id| seen.insert(*id)).collect::<Vec<_>>() {
            let text = "the server can't read this escrow: its operator has to look at it".to_owned();
            let report = Report { escrow: Some(id), event: "error", text, code: None };
            if told.is_news(&report) {
                tell(&report);
            }
        }
        // Oldest first: who came first is served first.
        for view in escrows.iter().rev().filter(|view| seen.insert(view.id)) {
            let mut say = |event: &'static str, text: String, code: Option<String>| {
                let report = Report { escrow: Some(view.id), event, text, code };
                if told.is_news(&report) {
                    tell(&report);
                }
            };
            say("status", view.status.to_string(), None);
            if let Some(progress) = &view.progress {
                say("progress", progress_text(progress), None);
            }
            if view.status.is_over() && !view.returning {
                continue;
            }
            for _ in 0..STEPS_IN_A_ROW {
                match self.step(view.id).await {
                    Ok(Progress::Did(what)) => {
                        busy = true;
                        say("did", what, None);
                    }
                    Ok(Progress::Asks(what)) => {
                        say("asks", what, None);
                        break;
                    }
                    Ok(Progress::Nothing) => break,
                    Err(EngineError::Client(ClientError::Unreachable(_))) => break,
                    Err(error) => {
                        say("error", error.to_string(), Some(error.code()));
                        break;
                    }
                }
            }
        }
        told.keep(&seen);
        if Instant::now() >= *refill_at {
            *refill_at = Instant::now() + self.refill().await;
        }
        busy
    }

    /// Makes prekeys where few are left, and says when to look again: each look costs a request, and nothing waits for it.
    async fn refill(&self) -> Duration {
        match prekeys::refill(&self.desk, 2).await {
            Ok(_) => DAY,
            Err(error) => {
                tracing::debug!(%error, "prekeys were not refilled");
                HOUR
            }
        }
    }

    /// Every escrow, with the account's password as other processes have left it.
    async fn listed(&self) -> Result<Listed, EngineError> {
        self.desk.reread_keys()?;
        let escrows = self.desk.client.escrows().await;
        self.desk.settle_password()?;
        Ok(escrows?)
    }

    /// One step in one escrow.
    pub async fn step(&self, id: EscrowId) -> Result<Progress, EngineError> {
        let mut held = self.desk.hold(id).await?;
        let mut done = self.step_setup(&mut held).await?;
        if done == Progress::Nothing {
            done = self.step_payout(&mut held).await?;
        }
        if done == Progress::Nothing {
            done = self.step_funding(&mut held).await?;
        }
        Ok(done)
    }
}

/// How far deposits or the payout are: "deposit: 6 of 10 confirmations".
pub fn progress_text(progress: &Confirmed) -> String {
    let what = match progress.of {
        Confirming::Deposit => "deposit",
        Confirming::Payout => "payout",
    };
    format!("{what}: {} of {} confirmations", progress.confirmations, progress.needed)
}
