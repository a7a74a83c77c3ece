//! The interface between the runner and the databases that hold read models: [`ProjectionDatabase`] and [`ReadModel`].

use std::{
    fmt,
    future::{Future, ready},
    time::{Duration, SystemTime},
};

use crate::{EventStoreError, Position};

/// A database that holds read models together with their checkpoints, leases and dead letters.
///
/// `SqliteEventStore`, `PostgresEventStore` and [`MemoryReadModel`](super::MemoryReadModel)
/// implement this trait. Implement it and [`ReadModel`] to support another database.
pub trait ProjectionDatabase: Clone + Send + Sync + 'static {
    /// The transaction that a projection writes through.
    type Transaction: Send + 'static;
    /// One read model of this database: the live one, or the one that a rebuild creates.
    type ReadModel: ReadModel<Transaction = Self::Transaction>;

    /// Returns the live read model of a projection, which need not exist yet. Does not access the
    /// database.
    fn live(&self, name: &str) -> Self::ReadModel;

    /// Opens the read model that a rebuild creates beside the live one: empty if `afresh`,
    /// otherwise with the contents that an interrupted rebuild left behind.
    ///
    /// # Errors
    /// Returns [`EventStoreError`] if the database fails, or if the read model could not be swapped
    /// in later, for example because a privilege is missing.
    fn rebuild(
        &self,
        name: &str,
        afresh: bool,
    ) -> impl Future<Output = Result<Self::ReadModel, EventStoreError>> + Send;
}

/// The rows, checkpoint, lease and dead letters of one projection in a [`ProjectionDatabase`].
///
/// [`commit`](Self::commit) makes the transaction's writes and the checkpoint durable together, and
/// only if the lease is the projection's latest. Time determines when a lease may be taken over;
/// the fence determines whether it is still held.
pub trait ReadModel: Clone + Send + Sync + 'static {
    /// The transaction that the projection writes through. Dropping it rolls it back.
    type Transaction: Send + 'static;
    /// The time after which a batch ends, because other writers may wait for its transaction or its
    /// locks.
    const OPEN: Duration;
    /// `true` if dropping a transaction rolls it back. If `false`, an event that was partially
    /// applied before a failure may be applied again.
    const ROLLS_BACK: bool;
    /// `true` if a transaction queues statements, so that their failures are reported later. The
    /// failing event of a batch is then found by applying the batch once more with a
    /// [`flush`](Self::flush) after each event.
    const QUEUES: bool = false;

    /// Runs the work of a batch where it may briefly block.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Result<T, EventStoreError>> + Send;

    /// Acquires the lease for a term if it is free.
    fn lead(
        &self,
        leader: &str,
        term: Duration,
    ) -> impl Future<Output = Result<Leadership, EventStoreError>> + Send;

    /// Acquires the lease for a term, even if another leader holds it.
    fn seize(
        &self,
        leader: &str,
        term: Duration,
    ) -> impl Future<Output = Result<Leadership, EventStoreError>> + Send;

    /// Extends the lease by another term.
    fn renew(
        &self,
        lease: &Lease,
        term: Duration,
    ) -> impl Future<Output = Result<(), LeaseError>> + Send;

    /// Releases the lease, so that another process can acquire it immediately.
    fn resign(&self, lease: &Lease) -> impl Future<Output = Result<(), EventStoreError>> + Send;

    /// Records the identity of the projection that leads, which [`record`](Self::record) then returns.
    /// A swap takes it over from the rebuilt read model together with the checkpoint.
    fn identify(
        &self,
        lease: &Lease,
        identity: &ProjectionIdentity,
    ) -> impl Future<Output = Result<(), LeaseError>> + Send;

    /// Returns a transaction, which may begin lazily on first use.
    fn begin(
        &self,
        lease: &Lease,
    ) -> impl Future<Output = Result<Self::Transaction, LeaseError>> + Send;

    /// Waits for all queued statements, and returns an error if any of them failed.
    fn flush(
        transaction: &mut Self::Transaction,
    ) -> impl Future<Output = Result<(), EventStoreError>> + Send {
        let _ = transaction;
        ready(Ok(()))
    }

    /// Returns `true` if a transaction is still usable after a failure, which means that the
    /// projection caused the failure and not the database.
    fn is_usable(transaction: &Self::Transaction) -> bool;

    /// Returns the uses of objects outside of the read model that the transaction has refused so
    /// far. They stop the projection: no error policy retries or dead-letters them.
    fn forbidden(transaction: &Self::Transaction) -> Option<Forbidden> {
        let _ = transaction;
        None
    }

    /// Checks the writes of a transaction before it is committed.
    ///
    /// # Errors
    /// Returns [`LeaseError::Forbidden`] if it wrote outside of the read model or, at
    /// [`Stage::Prepared`] of a rebuild, if it created anything that the swap could not carry over.
    /// The runner then rolls the transaction back and stops.
    fn check(
        &self,
        transaction: &mut Self::Transaction,
        lease: &Lease,
        stage: Stage,
    ) -> impl Future<Output = Result<(), LeaseError>> + Send {
        let _ = (lease, stage);
        ready(match Self::forbidden(transaction) {
            None => Ok(()),
            Some(forbidden) => Err(LeaseError::Forbidden(forbidden)),
        })
    }

    /// Commits the transaction's writes together with the checkpoint.
    fn commit(
        &self,
        transaction: Self::Transaction,
        lease: &Lease,
        progress: Progress,
    ) -> impl Future<Output = Result<(), LeaseError>> + Send;

    /// Stores the last error for the projection's status.
    fn record_error(
        &self,
        lease: &Lease,
        error: &LastError,
    ) -> impl Future<Output = Result<(), EventStoreError>> + Send;

    /// Returns the stored record of the projection, or `None` if it has never run.
    fn record(
        &self,
    ) -> impl Future<Output = Result<Option<ProjectionRecord>, EventStoreError>> + Send;

    /// Returns the first 1,000 dead letters after a position, in commit order.
    fn dead_letters(
        &self,
        after: Position,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, EventStoreError>> + Send;

    /// Marks one dead letter, or all of them, for replay by the leader, and returns their number.
    fn replay(
        &self,
        position: Option<Position>,
    ) -> impl Future<Output = Result<usize, EventStoreError>> + Send;

    /// Replaces this read model with the rebuilt one, including its checkpoint and dead letters.
    /// The leader of this one loses its lease. Returns `false` and changes nothing if this read
    /// model is further ahead than the rebuilt one.
    ///
    /// A read model beyond `head` contains events that the store has lost, for example because a
    /// backup was restored. It is replaced even though the rebuilt one is behind it.
    fn swap(
        &self,
        rebuild: &Self,
        lease: &Lease,
        head: Position,
    ) -> impl Future<Output = Result<bool, LeaseError>> + Send;
}

/// The point at which [`ReadModel::check`] is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// After `prepare`, before the first event.
    Prepared,
    /// After the events of a batch.
    Applied,
}

/// Uses of objects that are not part of a projection's read model, or that a rebuild could not carry over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Forbidden {
    /// The refused uses, at least one.
    pub uses: Vec<ForbiddenUse>,
}

/// One use of an object that a database refuses to a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForbiddenUse {
    /// The object, by kind and name, such as ``table `events` ``.
    pub object: String,
    /// The reason for the refusal, and what to do instead.
    pub reason: String,
}

#[cfg(feature = "postgres")]
impl Forbidden {
    /// Describes a projection that ended the runner's transaction.
    pub(crate) fn transaction_end() -> Self {
        let reason = "`apply` and `prepare` must not end the transaction: it is committed with the checkpoint, and what is \
                      committed without it may be applied twice; remove the statement, then rebuild the read model";
        Self {
            uses: vec![ForbiddenUse {
                object: "`COMMIT` or `ROLLBACK`".to_owned(),
                reason: reason.to_owned(),
            }],
        }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, ForbiddenUse { object, reason }) in self.uses.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{object}: {reason}")?;
        }
        Ok(())
    }
}

/// The right to run a projection, held until another process acquires it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// A number that increases with each new leader. Writes with an older fence are refused.
    pub fence: u64,
    /// The checkpoint that the leader last committed or read. A commit that finds a different one
    /// is refused: an earlier commit with an unknown outcome did succeed.
    pub position: Position,
}

/// The result of trying to acquire a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// This process holds the lease now.
    Taken(Lease),
    /// Another process holds the lease.
    Held {
        /// The name of that process.
        leader: String,
    },
}

/// The error of an operation under a lease.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Another process leads now, the read model was swapped, or the checkpoint differs from the
    /// leader's. Nothing was written.
    #[error("another process leads this projection now; nothing was written")]
    Lost,
    /// The database refused to commit the projection's writes, because a deferred constraint is
    /// violated. Nothing was written.
    #[error(transparent)]
    Refused(EventStoreError),
    /// The transaction used objects outside of the read model, or the rebuilt read model cannot
    /// replace the live one. Nothing was written.
    #[error(transparent)]
    Forbidden(Forbidden),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] EventStoreError),
}

/// The progress that a commit records.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The new checkpoint.
    pub position: Position,
    /// The duration by which the lease is extended.
    pub term: Duration,
    /// The event that becomes a dead letter, if any.
    pub park: Option<DeadLetter>,
    /// The dead letter that was applied successfully, if any.
    pub replayed: Option<Position>,
}

/// An event that a projection could not apply and skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event's position.
    pub position: Position,
    /// The error.
    pub error: String,
    /// The number of attempts.
    pub attempts: u32,
    /// The time at which it became a dead letter.
    pub parked_at: SystemTime,
    /// `true` if it is marked for replay.
    pub to_replay: bool,
}

/// The last error of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// The error.
    pub message: String,
    /// The position of the event, if the error was about one.
    pub position: Option<Position>,
    /// The time of the error.
    pub at: SystemTime,
}

/// The properties of a projection that are stored beside its checkpoint. They tell two projections
/// with the same name apart, also in different processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionIdentity {
    /// The text of the feed's filter, which determines the events that the checkpoint covers.
    pub feed: String,
    /// The name of the projection's Rust type, without modules.
    pub type_name: String,
}

/// The stored record of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionRecord {
    /// The checkpoint: every event up to it is applied or dead-lettered.
    pub position: Position,
    /// The identity of the projection that led last; `None` if it was never recorded.
    pub identity: Option<ProjectionIdentity>,
    /// The leader; `None` if the lease is free.
    pub leader: Option<String>,
    /// A string that changes whenever the lease is acquired or renewed. A standby that finds it
    /// unchanged for long enough takes over the lease, even if the lease has not expired by the
    /// clock.
    pub lease_state: String,
    /// The last error, unless a batch has been committed since.
    pub last_error: Option<LastError>,
    /// The number of dead letters.
    pub parked: u64,
    /// `true` if some dead letters are marked for replay.
    pub to_replay: bool,
}
