//! The single writer, and group commit.
//!
//! One thread owns the only writing connection. It takes all jobs that queued up while the previous
//! transaction was syncing, runs them in one transaction, and answers each only after COMMIT: many commits
//! share one fsync, nothing waits artificially, and SQLite never sees two writers contend.
//!
//! A batch first runs without savepoints. If an item fails after it wrote something, the batch is rolled
//! back and run again with a savepoint around each item, so that a bad item never harms its neighbours.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::connection::SimpleConnection;
use tokio::sync::{mpsc, oneshot};

use super::connection::{Conn, DatabaseUrl};
use super::dialect;
use super::error::{Failure, ItemError, StoreError};

/// A write that can be run again after a rollback, and answered once.
trait Job: Send {
    /// `Err` when the transaction holds parts of it. The outcome is kept until `answer`.
    fn run(&mut self, conn: &mut Conn) -> Result<(), Option<Failure>>;
    /// Sends the outcome, or the batch's failure.
    fn answer(self: Box<Self>, batch: Result<(), Failure>);
}

struct Task<T, E, F> {
    work: F,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Task<T, E, F>
where
    T: Send,
    E: ItemError,
    F: FnMut(&mut Conn) -> Result<T, E> + Send,
{
    fn run(&mut self, conn: &mut Conn) -> Result<(), Option<Failure>> {
        let outcome = (self.work)(conn);
        let harm = match &outcome {
            Err(error) if !error.wrote_nothing() => Err(error.failure()),
            _ => Ok(()),
        };
        self.outcome = Some(outcome);
        harm
    }

    fn answer(self: Box<Self>, batch: Result<(), Failure>) {
        let outcome = match (batch, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            // Not the item's own verdict, even if it has one: it may rest on neighbours that were rolled back.
            (Err(failure), _) => Err(failure.into()),
            (Ok(()), None) => Err(Failure::Unavailable("the write was not run".to_owned()).into()),
        };
        // A caller that went away doesn't want the answer; the change is durable all the same.
        let _ = self.reply.send(outcome);
    }
}

/// Hands writes to the writer's thread. The thread ends when the last handle is gone and the queue is empty.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Box<dyn Job>>);

impl Writer {
    /// Starts the thread with a bounded queue and bounded batches.
    pub fn start(conn: Conn, url: DatabaseUrl, queue: usize, batch: usize) -> Result<Self, StoreError> {
        let (sender, jobs) = mpsc::channel(queue.max(1));
        let batch = batch.max(1);
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || Thread { url, conn: Some(conn), batch }.serve(jobs))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self(sender))
    }

    /// Runs the work inside a write transaction; durable when this returns `Ok`. The work may be run more than
    /// once, each time on a clean transaction.
    pub async fn run<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: ItemError,
        F: FnMut(&mut Conn) -> Result<T, E> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Task { work, outcome: None, reply };
        self.0.try_send(Box::new(task)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Failure::Busy,
            mpsc::error::TrySendError::Closed(_) => Failure::Unavailable("the writer ended".to_owned()),
        })?;
        let gone = |_| Failure::Uncertain("the writer gave no answer".to_owned());
        answer.await.map_err(gone)?
    }

    /// Whether the thread still takes work.
    pub fn is_alive(&self) -> bool {
        !self.0.is_closed()
    }
}

struct Thread {
    url: DatabaseUrl,
    conn: Option<Conn>,
    batch: usize,
}

/// Why a run of a batch ended before its COMMIT.
enum Halt {
    /// An item failed: run again with savepoints.
    Redo,
    /// Nothing can be committed.
    Failed(Failure),
}

impl Thread {
    fn serve(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        let mut jobs = Vec::with_capacity(self.batch);
        while queue.blocking_recv_many(&mut jobs, self.batch) > 0 {
            // A panic must not end all writing; its connection is in an unknown state and goes.
            let ran = catch_unwind(AssertUnwindSafe(|| self.batch(&mut jobs)));
            let result = ran.unwrap_or_else(|_| {
                self.conn = None;
                Err(Failure::Uncertain("the writer panicked".to_owned()))
            });
            if let Err(failure) = &result {
                tracing::error!(?failure, jobs = jobs.len(), "a batch of writes failed");
            }
            for job in jobs.drain(..) {
                job.answer(result.clone());
            }
        }
    }

    fn batch(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        let mut conn = self.begin()?;
        let mut ran = run_all(&mut conn, jobs, false);
        if matches!(ran, Err(Halt::Redo)) {
            if conn.batch_execute("ROLLBACK").is_err() {
                drop(conn);
                conn = self.connect()?;
            }
            dialect::begin(&mut conn)?;
            ran = run_all(&mut conn, jobs, true);
        }
        match ran {
            Ok(()) => match conn.batch_execute("COMMIT").map_err(Failure::from) {
                Ok(()) => self.conn = Some(conn),
                // SQLite found no room for the log's end mark, so there is none.
                Err(Failure::Full) if matches!(conn, Conn::Sqlite(_)) => {
                    self.give_up(conn);
                    return Err(Failure::Full);
                }
                Err(Failure::Unavailable(why)) => return Err(Failure::Uncertain(why)),
                Err(other) => return Err(other),
            },
            Err(Halt::Failed(failure)) => {
                self.give_up(conn);
                return Err(failure);
            }
            Err(Halt::Redo) => self.give_up(conn),
        }
        Ok(())
    }

    /// Ends the transaction and keeps the connection. A connection that can't even do that is closed;
    /// SQLite may have rolled back by itself, then reconnecting costs little.
    fn give_up(&mut self, mut conn: Conn) {
        self.conn = conn.batch_execute("ROLLBACK").is_ok().then_some(conn);
    }

    /// A connection inside a fresh transaction. The kept one may have died while idle: then a new one.
    fn begin(&mut self) -> Result<Conn, Failure> {
        if let Some(mut conn) = self.conn.take()
            && dialect::begin(&mut conn).is_ok()
        {
            return Ok(conn);
        }
        let mut conn = self.connect()?;
        dialect::begin(&mut conn)?;
        Ok(conn)
    }

    fn connect(&self) -> Result<Conn, Failure> {
        dialect::connect(&self.url).map_err(|error| match error {
            StoreError::Full => Failure::Full,
            other => Failure::Unavailable(other.to_string()),
        })
    }
}

fn run_all(conn: &mut Conn, jobs: &mut [Box<dyn Job>], guarded: bool) -> Result<(), Halt> {
    let lost = |error: diesel::result::Error| Halt::Failed(error.into());
    for job in jobs {
        if guarded {
            conn.batch_execute("SAVEPOINT item").map_err(lost)?;
        }
        match job.run(conn) {
            Ok(()) if guarded => conn.batch_execute("RELEASE SAVEPOINT item").map_err(lost)?,
            Ok(()) => {}
            Err(_) if !guarded => return Err(Halt::Redo),
            // If the savepoint is still there, only the item failed; otherwise the transaction is lost.
            Err(failure) => dialect::back_to_savepoint(conn)
                .map_err(|error| Halt::Failed(failure.unwrap_or_else(|| error.into())))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_one_write_neither_ends_the_writer_nor_leaves_half_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(dir.path().join("aegis.db"));
        let mut conn = dialect::connect(&url).unwrap();
        dialect::migrate(&mut conn).unwrap();
        let writer = Writer::start(conn, url, 8, 8).unwrap();
        let insert = |conn: &mut Conn| {
            let row = "INSERT INTO outbox_cursor (name, seq) VALUES ('x', 1)";
            Ok::<_, StoreError>(conn.batch_execute(row)?)
        };
        let outcome = writer.run::<(), StoreError, _>(move |conn| {
            insert(conn)?;
            panic!("a mistake in the program")
        });
        assert!(matches!(outcome.await, Err(StoreError::Uncertain(_))));
        assert_eq!(writer.run(insert).await, Ok(()));
        assert_eq!(writer.run(insert).await, Err(StoreError::Duplicate));
    }
}
