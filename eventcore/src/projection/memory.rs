//! A read model in memory: [`MemoryReadModel`].

use std::{
    fmt,
    future::{Future, ready},
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedRwLockWriteGuard, RwLock, RwLockReadGuard};

use super::{
    DatabaseFuture, DeadLetter, LastError, Leadership, Lease, LeaseError, Progress,
    ProjectionDatabase, ProjectionRecord,
};
use crate::Position;

/// A read model in memory, of one projection and one process. It starts empty and is built from the first event on.
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
/// let running = ProjectionRunner::into_database(store, counts.clone(), Count).start();
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
    fence: u64,
    leader: Option<(String, Instant)>,
    last_error: Option<LastError>,
    dead_letters: Vec<DeadLetter>,
}

impl Kept {
    fn hold(&mut self, term: Duration) {
        if let Some((_, until)) = &mut self.leader {
            *until = Instant::now() + term;
        }
    }
}

/// A [`MemoryReadModel`] while a batch is applied: nobody reads it meanwhile. What was changed is not undone by a failure.
pub struct MemoryTransaction<M>(OwnedRwLockWriteGuard<M>);

impl<M> MemoryReadModel<M> {
    /// With nothing in it.
    pub fn new() -> Self
    where
        M: Default,
    {
        Self::default()
    }

    /// The model as it is between two batches.
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
    type Rebuild = Self;
    const OPEN: Duration = Duration::from_millis(5);
    const ROLLS_BACK: bool = false;

    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> DatabaseFuture<'_, T> {
        Box::pin(async { Ok(work.await) })
    }

    fn lead<'a>(
        &'a self,
        name: &'a str,
        leader: &'a str,
        term: Duration,
    ) -> DatabaseFuture<'a, Leadership> {
        Box::pin(async move {
            let held = match &self.kept().leader {
                Some((other, until)) if *until > Instant::now() => Some(other.clone()),
                _ => None,
            };
            match held {
                Some(leader) => Ok(Leadership::Held { leader }),
                None => self.seize(name, leader, term).await,
            }
        })
    }

    fn seize<'a>(
        &'a self,
        name: &'a str,
        leader: &'a str,
        term: Duration,
    ) -> DatabaseFuture<'a, Leadership> {
        Box::pin(async move {
            // What a batch has changed is not undone, so its lease is good until it is through.
            let _model = self.model.write().await;
            let mut kept = self.kept();
            kept.fence += 1;
            kept.leader = Some((leader.to_owned(), Instant::now() + term));
            Ok(Leadership::Taken(Lease {
                name: name.into(),
                fence: kept.fence,
                position: kept.position,
            }))
        })
    }

    fn renew<'a>(&'a self, lease: &'a Lease, term: Duration) -> DatabaseFuture<'a, (), LeaseError> {
        Box::pin(ready(self.held(lease).map(|mut kept| kept.hold(term))))
    }

    fn resign<'a>(&'a self, lease: &'a Lease) -> DatabaseFuture<'a, ()> {
        if let Ok(mut kept) = self.held(lease) {
            kept.leader = None;
        }
        Box::pin(ready(Ok(())))
    }

    fn begin<'a>(
        &'a self,
        lease: &'a Lease,
    ) -> DatabaseFuture<'a, MemoryTransaction<M>, LeaseError> {
        Box::pin(async move {
            let transaction = MemoryTransaction(self.model.clone().write_owned().await);
            self.held(lease).map(|_| transaction)
        })
    }

    fn is_usable(_: &MemoryTransaction<M>) -> bool {
        true
    }

    fn commit<'a>(
        &'a self,
        transaction: MemoryTransaction<M>,
        lease: &'a Lease,
        progress: Progress,
    ) -> DatabaseFuture<'a, (), LeaseError> {
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
        Box::pin(ready(committed))
    }

    fn note<'a>(&'a self, lease: &'a Lease, error: &'a LastError) -> DatabaseFuture<'a, ()> {
        if let Ok(mut kept) = self.held(lease) {
            kept.last_error = Some(error.clone());
        }
        Box::pin(ready(Ok(())))
    }

    fn record<'a>(&'a self, _: &'a str) -> DatabaseFuture<'a, Option<ProjectionRecord>> {
        let kept = self.kept();
        let record = ProjectionRecord {
            position: kept.position,
            leader: kept.leader.as_ref().map(|(leader, _)| leader.clone()),
            last_error: kept.last_error.clone(),
            parked: u64::try_from(kept.dead_letters.len()).unwrap_or(u64::MAX),
            to_replay: kept.dead_letters.iter().any(|letter| letter.to_replay),
        };
        Box::pin(ready(Ok(Some(record))))
    }

    fn dead_letters<'a>(
        &'a self,
        _: &'a str,
        after: Position,
    ) -> DatabaseFuture<'a, Vec<DeadLetter>> {
        let kept = self.kept();
        let letters = kept.dead_letters.iter();
        let letters = letters.filter(|letter| letter.position > after);
        let mut letters: Vec<_> = letters.cloned().collect();
        letters.sort_by_key(|letter| letter.position);
        letters.truncate(1000);
        Box::pin(ready(Ok(letters)))
    }

    fn replay<'a>(&'a self, _: &'a str, position: Option<Position>) -> DatabaseFuture<'a, usize> {
        let mut marked = 0;
        for letter in &mut self.kept().dead_letters {
            if position.is_none_or(|position| position == letter.position) {
                letter.to_replay = true;
                marked += 1;
            }
        }
        Box::pin(ready(Ok(marked)))
    }

    fn rebuild<'a>(&'a self, _: &'a str, _: bool) -> DatabaseFuture<'a, Self> {
        Box::pin(ready(Ok(Self::new())))
    }

    fn swap<'a>(
        &'a self,
        rebuild: &'a Self,
        lease: &'a Lease,
    ) -> DatabaseFuture<'a, bool, LeaseError> {
        Box::pin(async move {
            let mut new = rebuild.model.write().await;
            let mut old = self.model.write().await;
            let mut built = rebuild.held(lease)?;
            let mut kept = self.kept();
            if kept.position > built.position {
                return Ok(false);
            }
            std::mem::swap(&mut *new, &mut *old);
            kept.position = built.position;
            kept.dead_letters = std::mem::take(&mut built.dead_letters);
            kept.fence += 1;
            kept.leader = None;
            Ok(true)
        })
    }
}
