//! Telling many escrows the same, a few at a time.

use actix::Recipient;
use aegis_common::ids::EscrowId;
use futures_util::future::join_all;

use super::message::{Command, Refusal, Snapshot, Tell};

/// Escrows that are told something at the same time: enough to share the database's commits, and few enough to leave
/// room for people.
pub(super) const WIDTH: usize = 32;

/// Tells one escrow.
pub(super) async fn tell(to: &Recipient<Tell>, id: EscrowId, command: Command) -> Result<Snapshot, Refusal> {
    let sent = to.send(Tell { id, command, expected: None });
    sent.await.unwrap_or(Err(Refusal::Unavailable))
}

/// Tells all of them and gives those who could not take it, with the reason. That the rules have no use for it, or that
/// the escrow is gone, is no failure.
pub(super) async fn tell_each(
    to: &Recipient<Tell>,
    ids: &[EscrowId],
    command: impl Fn() -> Command,
) -> Vec<(EscrowId, Refusal)> {
    let mut failed = Vec::new();
    for some in ids.chunks(WIDTH) {
        let told: Vec<_> = some.iter().map(|id| tell(to, *id, command())).collect();
        for (id, answer) in some.iter().zip(join_all(told).await) {
            if let Err(refusal) = taken(answer) {
                failed.push((*id, refusal));
            }
        }
    }
    failed
}

/// Whether the escrow has what it was told, now or before, or never wants it.
pub(super) fn taken(answer: Result<Snapshot, Refusal>) -> Result<(), Refusal> {
    match answer {
        Ok(_) | Err(Refusal::Rejected(_) | Refusal::NotFound) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// One line for all who could not be told.
pub(super) fn warn(what: &'static str, failed: &[(EscrowId, Refusal)]) {
    if let Some((first, refusal)) = failed.first() {
        tracing::warn!(what, count = failed.len(), %first, %refusal, "escrows could not be told");
    }
}
