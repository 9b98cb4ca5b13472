//! The database: the only place that knows Diesel.
//!
//! ```text
//!  readers (pool, read-only) ──────────────┐
//!  commits, other writes → bounded queue → writer thread → one transaction for all that queued → fsync
//! ```
//! Reads run on blocking threads, a few at a time. All writes go through one thread; see [`writer`].
//! Query code is written once for SQLite and Postgres; what differs stands in [`dialect`].

mod accounts;
mod arbiters;
mod chain;
mod commit;
mod connection;
mod dialect;
mod dump;
mod error;
mod escrows;
mod events;
mod idempotency;
mod inbox;
mod journal;
mod keys;
mod lists;
mod market;
mod operator;
mod outside;
mod rotation;
mod schema;
mod swap;
mod tallies;
mod types;
mod users;
mod writer;
mod written;

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use tokio::sync::Semaphore;

pub use self::accounts::Registered;
pub use self::accounts::audit::{ACCOUNT_NOTICE, AuditRow, Note, Under};
pub use self::accounts::backups::BackupRow;
pub use self::accounts::budgets::Budget;
pub use self::accounts::challenges::ChallengeRow;
pub use self::accounts::factors::{FactorCounts, PasskeyRow, TotpRow};
pub use self::accounts::invitations::InvitationRow;
pub use self::accounts::prekeys::PrekeyRow;
pub use self::accounts::profiles::{ProfileRow, Shown};
pub use self::accounts::sessions::{NextToken, Opening, Rotation, SessionRow};
pub use self::arbiters::assign::{Assigned, AssignmentRow, Sought};
pub use self::arbiters::standby::Unattended;
pub use self::arbiters::{ArbiterRow, Offer};
pub use self::chain::{BLOCKS_KEPT, Tip};
pub use self::commit::{Commit, Expected, NewEvent};
pub use self::connection::DatabaseUrl;
pub use self::error::{CommitError, StoreError};
pub use self::escrows::{EscrowRow, Watched};
pub use self::events::EventRow;
pub use self::idempotency::IdempotencyRow;
pub use self::journal::JournalRow;
pub use self::keys::TokenKeyRow;
pub use self::lists::{ListFilter, ListOrder, ListPosition, ListedEscrow};
pub use self::market::Changed;
pub use self::market::follow::{Ended, Followed};
pub use self::market::listings::{Found, Listed, ListingPatch, ListingQuery, ListingRow};
pub use self::market::orders::{Hold, NewOrder, OpeningOrder, OrderQuery, OrderRow};
pub use self::market::reviews::ReviewRow;
pub use self::outside::courier::{After, Claim};
pub use self::outside::deliveries::{AttemptRow, ByHand, DeliveryRow, PING, Queued};
pub use self::outside::webhooks::{NewWebhookRow, WebhookChanges, WebhookRow};
pub use self::rotation::Resealed;
pub use self::users::{Role, UserRow};

use self::connection::{Conn, Readers};
use self::writer::Writer;
use crate::crypto::Keyring;

/// Most rows one page holds, whatever was asked.
pub const MAX_PAGE: usize = 10_000;
/// Most invitations one list holds.
pub const MAX_INVITATIONS: usize = 1000;

/// Sizes and bounds.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Reading connections; the writer has one more.
    pub readers: u32,
    /// Writes that may wait for the writer; one more is refused as busy.
    pub queue: usize,
    /// Most writes that share one transaction: bounds the wait of the first for the last.
    pub batch: usize,
    /// How long a read waits for a connection.
    pub timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { readers: 8, queue: 4096, batch: 256, timeout: Duration::from_secs(5) }
    }
}

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Store {
    pool: r2d2::Pool<Readers>,
    slots: Arc<Semaphore>,
    timeout: Duration,
    writer: Writer,
    keyring: Arc<Keyring>,
}

impl Store {
    /// Connects, brings the schema up to date and starts the writer. Blocks: call it before the runtime is busy.
    pub fn open(url: &DatabaseUrl, keyring: Arc<Keyring>, options: StoreOptions) -> Result<Self, StoreError> {
        let mut conn = dialect::connect(url)?;
        dialect::migrate(&mut conn)?;
        Self::over(conn, url, keyring, options)
    }

    /// The same for who only wants to look: the schema stays as it is, and is refused where it is not this program's.
    pub fn look(url: &DatabaseUrl, keyring: Arc<Keyring>) -> Result<Self, StoreError> {
        if let DatabaseUrl::Sqlite(path) = url
            && !path.exists()
        {
            return Err(StoreError::Unavailable("there is no such file".to_owned()));
        }
        let mut conn = dialect::connect(url)?;
        dialect::check_schema(&mut conn)?;
        Self::over(conn, url, keyring, StoreOptions { readers: 1, ..StoreOptions::default() })
    }

    fn over(
        conn: Conn,
        url: &DatabaseUrl,
        keyring: Arc<Keyring>,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        let readers = options.readers.max(1);
        let pool = r2d2::Pool::builder()
            .max_size(readers)
            .min_idle(Some(1))
            .connection_timeout(options.timeout)
            .test_on_check_out(dialect::check_before_use(url))
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build(Readers(url.clone()))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let writer = Writer::start(conn, url.clone(), options.queue, options.batch)?;
        let slots = Arc::new(Semaphore::new(readers as usize));
        Ok(Self { pool, slots, timeout: options.timeout, writer, keyring })
    }

    /// Whether reads answer and the writer still works.
    pub async fn ping(&self) -> Result<(), StoreError> {
        if !self.writer.is_alive() {
            return Err(StoreError::Unavailable("the writer ended".to_owned()));
        }
        self.read(|conn, _| Ok(conn.batch_execute("SELECT 1")?)).await
    }

    /// Runs a query on a blocking thread. The semaphore keeps waiting reads off those threads.
    async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn, &Keyring) -> Result<T, StoreError> + Send + 'static,
    {
        let slot = tokio::time::timeout(self.timeout, Arc::clone(&self.slots).acquire_owned());
        let slot = slot.await.map_err(|_| StoreError::Busy)?;
        let (pool, keyring) = (self.pool.clone(), Arc::clone(&self.keyring));
        let done = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let mut conn = pool.get().map_err(|error| StoreError::Unavailable(error.to_string()))?;
            query(&mut conn, &keyring)
        });
        done.await.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }
}
