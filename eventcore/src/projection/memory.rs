//! An in-memory read model: [`MemoryReadModel`].

use std::{
    fmt,
    future::Future,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedRwLockWriteGuard, RwLock, RwLockReadGuard};

use super::{
    DeadLetter, LastError, Leadership, Lease, LeaseError, Progress, ProjectionDatabase,
    ProjectionIdentity, ProjectionRecord, ReadModel,
};
use crate::{EventStoreError, Position};

/// An in-memory read model for one projection in one process. It starts empty and is built from the
/// first event.
///
/// ```
/// use eventcore::{RecordedEvent, memory::MemoryEventStore};
/// use eventcore::projection::{MemoryReadModel, MemoryTransaction, Projection, ProjectionRunner};
/// use std::{collections::BTreeMap, convert::Infallible, sync::Arc};
///
/// /// How many events there are of each type.
/// type Counts = BTreeMap<String, u64>;
///
/// struct Count;
///
/// impl Projection<MemoryTransaction<Counts>> for Count {
///     type Feed = RecordedEvent;
///     type Error = Infallible;
///     const NAME: &'static str = "counts";
///
///     async fn apply(
///         &self,
///         event: RecordedEvent,
///         _: &RecordedEvent,
///         counts: &mut MemoryTransaction<Counts>,
///     ) -> Result<(), Infallible> {
///         *counts.entry(event.type_name.to_string()).or_default() += 1;
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (store, counts) = (Arc::new(MemoryEventStore::new()), MemoryReadModel::<Counts>::new());
/// let running = ProjectionRunner::with_database(store, counts.clone(), Count).start();
/// // …
/// println!("{:?}", *counts.read().await);
/// running.stop().await?;
/// # Ok(()) }
/// ```
pub struct MemoryReadModel<M> {
    model: Arc<RwLock<M>>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    position: Position,
    identity: Option<ProjectionIdentity>,
    fence: u64,
    /// The leader, if any, and the expiry of its lease. The expiry is `None` if it is too late for
    /// [`Instant`] to represent.
    leader: Option<(String, Option<Instant>)>,
    last_error: Option<LastError>,
    dead_letters: Vec<DeadLetter>,
}

impl Kept {
    fn hold(&mut self, term: Duration) {
        if let Some((_, until)) = &mut self.leader {
            *until = Instant::now().checked_add(term);
        }
    }
}

/// Exclusive access to a [`MemoryReadModel`] while a batch is applied. Changes are not rolled back
/// on failure.
pub struct MemoryTransaction<M>(OwnedRwLockWriteGuard<M>);

impl<M> MemoryReadModel<M> {
    /// Creates an empty read model.
    pub fn new() -> Self
    where
        M: Default,
    {
        Self::default()
    }

    /// Returns a read lock on the model, acquired between two batches.
    pub async fn read(&self) -> RwLockReadGuard<'_, M> {
        self.model.read().await
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, lease: &Lease) -> Result<MutexGuard<'_, Kept>, LeaseError> {
        let kept = self.kept();
        if kept.fence == lease.fence && kept.leader.is_some() {
            Ok(kept)
        } else {
            Err(LeaseError::Lost)
        }
    }
}

impl<M: Default> Default for MemoryReadModel<M> {
    fn default() -> Self {
        Self {
            model: Arc::default(),
            kept: Arc::default(),
        }
    }
}

impl<M> Clone for MemoryReadModel<M> {
    fn clone(&self) -> Self {
        Self {
            model: self.model.clone(),
            kept: self.kept.clone(),
        }
    }
}

impl<M> fmt::Debug for MemoryReadModel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryReadModel")
            .field("position", &self.kept().position)
            .finish_non_exhaustive()
    }
}

impl<M> Deref for MemoryTransaction<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0
    }
}

impl<M> DerefMut for MemoryTransaction<M> {
    fn deref_mut(&mut self) -> &mut M {
        &mut self.0
    }
}

impl<M: Default + Send + Sync + 'static> ProjectionDatabase for MemoryReadModel<M> {
    type Transaction = MemoryTransaction<M>;
    type ReadModel = Self;

    fn live(&self, _: &str) -> Self {
        self.clone()
    }

    async fn rebuild(&self, _: &str, _: bool) -> Result<Self, EventStoreError> {
        Ok(Self::new())
    }
}

impl<M: Default + Send + Sync + 'static> ReadModel for MemoryReadModel<M> {
    type Transaction = MemoryTransaction<M>;
    const OPEN: Duration = Duration::from_millis(5);
    const ROLLS_BACK: bool = false;

    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, EventStoreError> {
        Ok(work.await)
    }

    async fn lead(&self, leader: &str, term: Duration) -> Result<Leadership, EventStoreError> {
        let held = match &self.kept().leader {
            Some((other, until)) if until.is_none_or(|until| until > Instant::now()) => {
                Some(other.clone())
            }
            _ => None,
        };
        match held {
            Some(leader) => Ok(Leadership::Held { leader }),
            None => self.seize(leader, term).await,
        }
    }

    async fn seize(&self, leader: &str, term: Duration) -> Result<Leadership, EventStoreError> {
        // Changes cannot be rolled back, so a running batch keeps its lease until it is complete.
        let _model = self.model.write().await;
        let mut kept = self.kept();
        kept.fence += 1;
        kept.leader = Some((leader.to_owned(), Instant::now().checked_add(term)));
        Ok(Leadership::Taken(Lease {
            fence: kept.fence,
            position: kept.position,
        }))
    }

    async fn renew(&self, lease: &Lease, term: Duration) -> Result<(), LeaseError> {
        self.held(lease)?.hold(term);
        Ok(())
    }

    async fn resign(&self, lease: &Lease) -> Result<(), EventStoreError> {
        if let Ok(mut kept) = self.held(lease) {
            kept.leader = None;
        }
        Ok(())
    }

    async fn identify(
        &self,
        lease: &Lease,
        identity: &ProjectionIdentity,
    ) -> Result<(), LeaseError> {
        self.held(lease)?.identity = Some(identity.clone());
        Ok(())
    }

    async fn begin(&self, lease: &Lease) -> Result<MemoryTransaction<M>, LeaseError> {
        let transaction = MemoryTransaction(self.model.clone().write_owned().await);
        self.held(lease).map(|_| transaction)
    }

    fn is_usable(_: &MemoryTransaction<M>) -> bool {
        true
    }

    async fn commit(
        &self,
        transaction: MemoryTransaction<M>,
        lease: &Lease,
        progress: Progress,
    ) -> Result<(), LeaseError> {
        let committed = self.held(lease).map(|mut kept| {
            kept.position = progress.position;
            kept.hold(progress.term);
            kept.last_error = None;
            let replaced = progress.park.as_ref().map(|letter| letter.position);
            kept.dead_letters.retain(|letter| {
                Some(letter.position) != progress.replayed && Some(letter.position) != replaced
            });
            kept.dead_letters.extend(progress.park);
        });
        drop(transaction);
        committed
    }

    async fn record_error(&self, lease: &Lease, error: &LastError) -> Result<(), EventStoreError> {
        if let Ok(mut kept) = self.held(lease) {
            kept.last_error = Some(error.clone());
        }
        Ok(())
    }

    async fn record(&self) -> Result<Option<ProjectionRecord>, EventStoreError> {
        let kept = self.kept();
        Ok(Some(ProjectionRecord {
            position: kept.position,
            identity: kept.identity.clone(),
            leader: kept.leader.as_ref().map(|(leader, _)| leader.clone()),
            lease_state: format!("{} {:?}", kept.fence, kept.leader),
            last_error: kept.last_error.clone(),
            parked: u64::try_from(kept.dead_letters.len()).unwrap_or(u64::MAX),
            to_replay: kept.dead_letters.iter().any(|letter| letter.to_replay),
        }))
    }

    async fn dead_letters(&self, after: Position) -> Result<Vec<DeadLetter>, EventStoreError> {
        let kept = self.kept();
        let letters = kept.dead_letters.iter();
        let letters = letters.filter(|letter| letter.position > after);
        let mut letters: Vec<_> = letters.cloned().collect();
        letters.sort_by_key(|letter| letter.position);
        letters.truncate(1000);
        Ok(letters)
    }

    async fn replay(&self, position: Option<Position>) -> Result<usize, EventStoreError> {
        let mut marked = 0;
        for letter in &mut self.kept().dead_letters {
            if position.is_none_or(|position| position == letter.position) {
                letter.to_replay = true;
                marked += 1;
            }
        }
        Ok(marked)
    }

    async fn swap(
        &self,
        rebuild: &Self,
        lease: &Lease,
        head: Position,
    ) -> Result<bool, LeaseError> {
        let mut new = rebuild.model.write().await;
        let mut old = self.model.write().await;
        let mut built = rebuild.held(lease)?;
        let mut kept = self.kept();
        if kept.position > built.position && kept.position <= head {
            return Ok(false);
        }
        std::mem::swap(&mut *new, &mut *old);
        kept.position = built.position;
        kept.identity = built.identity.take();
        kept.dead_letters = std::mem::take(&mut built.dead_letters);
        kept.fence += 1;
        kept.leader = None;
        Ok(true)
    }
}
