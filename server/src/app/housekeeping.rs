//! What has to be done from time to time.

use std::sync::Arc;
use std::time::Duration;

use aegis_common::time::{Clock, SignedDuration};

use crate::accounts::{AccountError, Accounts};
use crate::arbiters::Arbiters;
use crate::crypto::{KeyId, Keyring};
use crate::store::{Store, StoreError};

/// How long a creation can be repeated under its key.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// How long the log of deliveries is kept, and what no receiver has taken.
const DELIVERIES: SignedDuration = SignedDuration::from_hours(24 * 30);
/// How long a closed listing is kept that nobody has ordered.
const LISTINGS: SignedDuration = SignedDuration::from_hours(24 * 30);
/// Longer than any challenge, or the window of a password reset.
const BEGUN: SignedDuration = SignedDuration::from_hours(1);
/// Between two readings of the key file: a rotation waits for as long.
pub const RELOAD: Duration = Duration::from_secs(5);
/// Readings of the key file between two looks at the keys of login tokens.
const TOKEN_KEYS: u64 = 12;
/// Between two cleanings.
const CLEANING: Duration = Duration::from_secs(600);
/// Rows at once, so that no commit waits long.
const BATCH: usize = 500;

/// What there is to be kept in order.
pub struct House {
    /// The database.
    pub store: Store,
    /// Accounts.
    pub accounts: Accounts,
    /// Arbiters.
    pub arbiters: Arbiters,
    /// The keys that seal.
    pub keyring: Arc<Keyring>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How long the audit is kept.
    pub audit: SignedDuration,
}

/// Never ends. What fails is tried again at the next turn. Cleaning may take long, and must not hold up the keys.
pub async fn run(house: House) {
    let keys = async {
        let mut noted = house.keyring.current_id();
        for turn in 0_u64.. {
            if let Err(error) = house.keys(&mut noted).await {
                tracing::warn!(%error, "the sealing key could not be noted");
            }
            if turn.is_multiple_of(TOKEN_KEYS)
                && let Err(error) = house.accounts.keep_token_keys().await
            {
                tracing::warn!(%error, "the keys of login tokens could not be looked at");
            }
            tokio::time::sleep(RELOAD).await;
        }
    };
    let cleaning = async {
        loop {
            if let Err(error) = house.clean().await {
                tracing::warn!(%error, "what is old could not be forgotten");
            }
            tokio::time::sleep(CLEANING).await;
            // Not at the start: nobody could be heard while no server ran.
            if let Err(error) = house.arbiters.watch().await {
                tracing::warn!(%error, "silent arbiters could not be looked after");
            }
        }
    };
    tokio::join!(keys, cleaning, house.naming());
}

impl House {
    /// Reads the file anew, and notes a key that has become the current one.
    async fn keys(&self, noted: &mut KeyId) -> Result<(), AccountError> {
        if let Err(error) = self.keyring.reload() {
            tracing::warn!(%error, "the keys stay as they were");
        }
        let current = self.keyring.current_id();
        if current != *noted {
            self.store.use_seal_key(current, self.clock.now()).await?;
            *noted = current;
        }
        Ok(())
    }

    /// Makes the titles of escrows that are older than the lists findable by their words; ends when all are.
    async fn naming(&self) {
        loop {
            match self.store.name_lists(BATCH).await {
                Ok(count) if count == BATCH => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "old titles could not be made findable");
                    tokio::time::sleep(CLEANING).await;
                }
            }
        }
    }

    async fn clean(&self) -> Result<(), StoreError> {
        let (store, now) = (&self.store, self.clock.now());
        let ago = |time| now.saturating_sub(time).unwrap_or(now);
        while store.purge_idempotency(ago(KEPT), BATCH).await? == BATCH {}
        while store.purge_sessions(now, BATCH).await? == BATCH {}
        while store.purge_challenges(ago(BEGUN), BATCH).await? == BATCH {}
        while store.purge_budgets(now, BATCH).await? == BATCH {}
        while store.purge_audit(ago(self.audit), BATCH).await? == BATCH {}
        while store.purge_notices(ago(self.audit), BATCH).await? == BATCH {}
        while store.purge_assignments((ago(3 * KEPT), ago(KEPT)), BATCH).await? == BATCH {}
        let closed = (ago(LISTINGS + 7 * KEPT), ago(LISTINGS));
        while store.purge_listings(closed, BATCH).await? == BATCH {}
        while store.purge_invitations(ago(self.audit), BATCH).await? == BATCH {}
        while store.purge_deliveries(ago(DELIVERIES), BATCH).await? == BATCH {}
        Ok(())
    }
}
