//! The interface between the runner and the databases that hold read models: [`ProjectionDatabase`] and [`ReadModel`].

use std::{
    fmt,
    future::{Future, ready},
    time::{Duration, SystemTime},
};

use crate::{EventStoreError, Position};

/// A database that holds read models, and with them their checkpoints, leases and dead letters.
///
/// The stores `SqliteEventStore` and `PostgresEventStore` are such databases, and so is a
/// [`MemoryReadModel`](super::MemoryReadModel). Implement this trait and [`ReadModel`] to add another.
pub trait ProjectionDatabase: Clone + Send + Sync + 'static {
    /// The transaction that a projection writes through.
    type Transaction: Send + 'static;
    /// One read model of this database: the live one, or the one that a rebuild makes.
    type ReadModel: ReadModel<Transaction = Self::Transaction>;

    /// Returns the live read model of a projection, which need not exist yet. Asks nothing of the database.
    fn live(&self, name: &str) -> Self::ReadModel;

    /// Opens the read model that a rebuild makes beside the live one: empty if `afresh`, else with what an interrupted
    /// rebuild has left.
    ///
    /// # Errors
    /// A database that fails, or in which the read model could not be swapped in later, such as for lack of a right.
    fn rebuild(
        &self,
        name: &str,
        afresh: bool,
    ) -> impl Future<Output = Result<Self::ReadModel, EventStoreError>> + Send;
}

/// The rows, checkpoint, lease and dead letters of one projection in a [`ProjectionDatabase`].
///
/// [`commit`](Self::commit) makes what the transaction wrote and the checkpoint durable together, and only while the lease
/// is the projection's latest. Time decides when a lease may be taken over, its fence whether it is still held.
pub trait ReadModel: Clone + Send + Sync + 'static {
    /// The transaction that the projection writes through. Dropping it undoes what was written.
    type Transaction: Send + 'static;
    /// The time after which a batch ends: others wait for its transaction, or for what it has locked.
    const OPEN: Duration;
    /// `true` if dropping a transaction undoes what was written. If not, an event whose application failed half way may
    /// come again.
    const ROLLS_BACK: bool;
    /// `true` if a transaction queues statements whose failure comes out later. Then what failed in a batch of several
    /// events is found by applying them once more with a [`flush`](Self::flush) after each.
    const QUEUES: bool = false;

    /// Runs the work of a batch where it may block for a moment.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Result<T, EventStoreError>> + Send;

    /// Takes the lease for a term, if nobody holds it.
    fn lead(
        &self,
        leader: &str,
        term: Duration,
    ) -> impl Future<Output = Result<Leadership, EventStoreError>> + Send;

    /// Takes the lease for a term, also from another leader.
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

    /// Gives the lease up, so that another process can take it at once.
    fn resign(&self, lease: &Lease) -> impl Future<Output = Result<(), EventStoreError>> + Send;

    /// Returns a transaction, which may begin only when it is used.
    fn begin(
        &self,
        lease: &Lease,
    ) -> impl Future<Output = Result<Self::Transaction, LeaseError>> + Send;

    /// Waits for everything that was queued, and fails if any of it did.
    fn flush(
        transaction: &mut Self::Transaction,
    ) -> impl Future<Output = Result<(), EventStoreError>> + Send {
        let _ = transaction;
        ready(Ok(()))
    }

    /// Returns `true` if a transaction in which something failed is usable itself, so that the failure is the
    /// projection's own.
    fn is_usable(transaction: &Self::Transaction) -> bool;

    /// Returns the uses of objects outside of the read model that the transaction has refused so far. They end the
    /// projection: no error policy retries or parks them.
    fn forbidden(transaction: &Self::Transaction) -> Option<Forbidden> {
        let _ = transaction;
        None
    }

    /// Checks what a transaction has done, before it is committed.
    ///
    /// # Errors
    /// [`LeaseError::Forbidden`] for what it wrote outside of the read model, and at [`Stage::Prepared`] of a rebuild also
    /// for everything that the swap could not carry over. The runner rolls the transaction back and ends.
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

    /// Commits what was written, together with the checkpoint.
    fn commit(
        &self,
        transaction: Self::Transaction,
        lease: &Lease,
        progress: Progress,
    ) -> impl Future<Output = Result<(), LeaseError>> + Send;

    /// Stores the last error, for the projection's status.
    fn note(
        &self,
        lease: &Lease,
        error: &LastError,
    ) -> impl Future<Output = Result<(), EventStoreError>> + Send;

    /// Returns what is stored about the projection; `None` if it never ran.
    fn record(
        &self,
    ) -> impl Future<Output = Result<Option<ProjectionRecord>, EventStoreError>> + Send;

    /// Returns the first 1,000 dead letters after a position, in commit order.
    fn dead_letters(
        &self,
        after: Position,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, EventStoreError>> + Send;

    /// Asks the leader to apply one parked event again, or all of them; returns their number.
    fn replay(
        &self,
        position: Option<Position>,
    ) -> impl Future<Output = Result<usize, EventStoreError>> + Send;

    /// Replaces this read model by the rebuilt one, with its checkpoint and dead letters, unless this one has come
    /// further: then returns `false`. The leader of this one loses its lease.
    ///
    /// A read model beyond `head` was made of events that the store has lost, as after the restore of a backup, and is
    /// replaced by one that has not come as far.
    fn swap(
        &self,
        rebuild: &Self,
        lease: &Lease,
        head: Position,
    ) -> impl Future<Output = Result<bool, LeaseError>> + Send;
}

/// The moment at which [`ReadModel::check`] is called.
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
    /// At least one.
    pub uses: Vec<ForbiddenUse>,
}

/// One use that a database refuses to a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForbiddenUse {
    /// The object, by kind and name, such as ``table `events` ``.
    pub object: String,
    /// The reason for which it is refused, and what to do instead.
    pub reason: String,
}

#[cfg(feature = "postgres")]
impl Forbidden {
    /// The use of a projection that ended the runner's transaction.
    pub(crate) fn transaction_end() -> Self {
        let reason = "`apply` and `prepare` must not end the transaction: it is committed with the checkpoint, and what was \
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

/// The right to run a projection, until somebody else gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Rises with each new leader: whoever writes with an older one is refused.
    pub fence: u64,
    /// The checkpoint as its leader knows it. A commit that finds another one is refused: an earlier commit, of which
    /// nobody knew the outcome, was made after all.
    pub position: Position,
}

/// The result of trying to acquire a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// The lease is ours.
    Taken(Lease),
    /// Somebody else has it.
    Held {
        /// Who.
        leader: String,
    },
}

/// The error of an operation under a lease.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Another leads by now, the read model was swapped, or the checkpoint is another than its leader knows. Nothing was
    /// written.
    #[error("another process leads this projection by now; nothing was written")]
    Lost,
    /// The database refuses to commit what the projection wrote: a constraint that is checked only then does not hold.
    /// Nothing was written.
    #[error(transparent)]
    Refused(EventStoreError),
    /// The transaction used what is not part of the read model, or the rebuilt one cannot replace the live one. Nothing was
    /// written.
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
    /// The lease is held for this much longer.
    pub term: Duration,
    /// An event that is parked.
    pub park: Option<DeadLetter>,
    /// A parked event that was applied after all.
    pub replayed: Option<Position>,
}

/// An event that a projection could not apply, put aside.
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
    /// `true` if it is to be applied again.
    pub to_replay: bool,
}

/// The last error of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// The error.
    pub message: String,
    /// The event, if it was about one.
    pub position: Option<Position>,
    /// When.
    pub at: SystemTime,
}

/// The stored record of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionRecord {
    /// Every event at or before it is applied, or parked.
    pub position: Position,
    /// The leader; `None` if the lease is free.
    pub leader: Option<String>,
    /// A text that changes whenever the lease is taken or renewed. A standby that sees it unchanged for long enough takes the
    /// lease over, whatever the clock says.
    pub lease_state: String,
    /// The last error, if nothing was committed since.
    pub last_error: Option<LastError>,
    /// The number of dead letters.
    pub parked: u64,
    /// `true` if some of them are to be applied again.
    pub to_replay: bool,
}
