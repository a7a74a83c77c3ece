//! What the runner asks of the database that holds a read model: [`ProjectionDatabase`].

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{EventStoreError, Position};

/// A future of a database call.
pub type DatabaseFuture<'a, T, E = EventStoreError> =
    Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// A database that holds read models, and with them their checkpoints, leases and parked events.
///
/// The stores `SqliteEventStore` and `PostgresEventStore` are such databases, and so is a
/// [`MemoryReadModel`](super::MemoryReadModel). Others can be added by implementing it.
///
/// The promise: [`commit`](Self::commit) makes what the transaction wrote and the checkpoint durable together, and only
/// while the lease is the projection's latest. Time decides when a lease may be taken over, the fence whether one holds.
pub trait ProjectionDatabase: Clone + Send + Sync + 'static {
    /// What a projection writes through. Dropping it undoes what was written.
    type Transaction: Send + 'static;
    /// Where a read model is built anew while the live one serves.
    type Rebuild: ProjectionDatabase<Transaction = Self::Transaction>;
    /// How long a batch may go on: others wait for its transaction, or for what it has locked.
    const OPEN: Duration;
    /// Whether dropping a transaction undoes what was written. If not, an event whose application failed half way may
    /// come again.
    const ROLLS_BACK: bool;
    /// Whether a transaction queues statements whose failure comes out later. Then what failed in a batch of several
    /// events is found by applying them once more with a [`flush`](Self::flush) after each.
    const QUEUES: bool = false;

    /// Runs the work of a batch where it may block for a moment.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> DatabaseFuture<'_, T>;

    /// Takes the lease of a projection for a term, if nobody holds it.
    fn lead<'a>(
        &'a self,
        name: &'a str,
        leader: &'a str,
        term: Duration,
    ) -> DatabaseFuture<'a, Leadership>;

    /// Takes the lease of a projection for a term, whoever holds it.
    fn seize<'a>(
        &'a self,
        name: &'a str,
        leader: &'a str,
        term: Duration,
    ) -> DatabaseFuture<'a, Leadership>;

    /// Holds the lease for another term.
    fn renew<'a>(&'a self, lease: &'a Lease, term: Duration) -> DatabaseFuture<'a, (), LeaseError>;

    /// Gives the lease up, so that another can take it at once.
    fn resign<'a>(&'a self, lease: &'a Lease) -> DatabaseFuture<'a, ()>;

    /// A transaction, which may begin only when it is used.
    fn begin<'a>(&'a self, lease: &'a Lease) -> DatabaseFuture<'a, Self::Transaction, LeaseError>;

    /// Waits for all that was queued, and fails if any of it did.
    fn flush(transaction: &mut Self::Transaction) -> DatabaseFuture<'_, ()> {
        let _ = transaction;
        Box::pin(ready(Ok(())))
    }

    /// Whether a transaction in which something failed is itself well, so that the failure is the projection's own.
    fn is_usable(transaction: &Self::Transaction) -> bool;

    /// Commits what was written, together with how far the projection has come.
    fn commit<'a>(
        &'a self,
        transaction: Self::Transaction,
        lease: &'a Lease,
        progress: Progress,
    ) -> DatabaseFuture<'a, (), LeaseError>;

    /// Notes what went wrong, for those who look at the projection's status.
    fn note<'a>(&'a self, lease: &'a Lease, error: &'a LastError) -> DatabaseFuture<'a, ()>;

    /// What is known of a projection; `None` for one that never ran.
    fn record<'a>(&'a self, name: &'a str) -> DatabaseFuture<'a, Option<ProjectionRecord>>;

    /// The parked events of a projection after a position, the first 1,000, in commit order.
    fn dead_letters<'a>(
        &'a self,
        name: &'a str,
        after: Position,
    ) -> DatabaseFuture<'a, Vec<DeadLetter>>;

    /// Asks whoever leads to apply one parked event again, or all of them; says how many.
    fn replay<'a>(&'a self, name: &'a str, position: Option<Position>)
    -> DatabaseFuture<'a, usize>;

    /// The place where a projection is built anew: empty if `afresh`, else with what an interrupted rebuild left there.
    fn rebuild<'a>(&'a self, name: &'a str, afresh: bool) -> DatabaseFuture<'a, Self::Rebuild>;

    /// Puts the rebuilt read model into the place of the live one, with its checkpoint and parked events, unless the live
    /// one has come further: then `false`. Whoever leads the live one loses its lease and goes on from the new one.
    fn swap<'a>(
        &'a self,
        rebuild: &'a Self::Rebuild,
        lease: &'a Lease,
    ) -> DatabaseFuture<'a, bool, LeaseError>;
}

/// The right to run a projection, until somebody else gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The projection.
    pub name: Arc<str>,
    /// Rises with each new leader: whoever writes with an older one is refused.
    pub fence: u64,
    /// The checkpoint as its leader knows it. A commit that finds another one is refused: an earlier commit, of which
    /// nobody knew the outcome, was made after all.
    pub position: Position,
}

/// What came of the wish to lead.
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

/// Why a leader cannot go on.
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
    /// The database failed.
    #[error(transparent)]
    Database(#[from] EventStoreError),
}

/// How far a projection has come with a commit.
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
    /// Why it was not applied.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was put aside.
    pub parked_at: SystemTime,
    /// Whether it is to be applied again.
    pub to_replay: bool,
}

/// What went wrong last in a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// What was said.
    pub message: String,
    /// The event, if it was about one.
    pub position: Option<Position>,
    /// When.
    pub at: SystemTime,
}

/// What a database keeps of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionRecord {
    /// Every event at or before it is applied, or parked.
    pub position: Position,
    /// Who leads; `None` when nobody holds the lease.
    pub leader: Option<String>,
    /// What went wrong last, if nothing was committed since.
    pub last_error: Option<LastError>,
    /// How many events are parked.
    pub parked: u64,
    /// Whether some of them are to be applied again.
    pub to_replay: bool,
}
