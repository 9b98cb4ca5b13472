//! What must be thrown away from time to time.

use std::sync::Arc;
use std::time::Duration;

use aegis_common::time::{Clock, SignedDuration};

use crate::store::{Store, StoreError};

/// How long a creation can be repeated under its key.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(600);
/// Rows at once, so that no commit waits long.
const BATCH: usize = 500;

/// Forgets old idempotency keys until the end of the program.
pub async fn run(store: Store, clock: Arc<dyn Clock>) {
    loop {
        if let Err(error) = forget(&store, clock.as_ref()).await {
            tracing::warn!(%error, "old idempotency keys could not be forgotten");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn forget(store: &Store, clock: &dyn Clock) -> Result<(), StoreError> {
    let now = clock.now();
    let before = now.saturating_sub(KEPT).unwrap_or(now);
    while store.purge_idempotency(before, BATCH).await? == BATCH {}
    Ok(())
}
