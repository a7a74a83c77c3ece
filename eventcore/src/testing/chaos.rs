//! A store that fails by chance, so that tests see what their code does then: [`ChaosStore`].

use std::{
    collections::HashSet,
    io,
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    CommitId, EventStore, EventStoreError, Position, VersionConflict,
    store::{
        AppendEvents, Appended, FeedPage, ReadFeed, ReadStreams, StateCache, StoreFuture,
        StreamQueues, StreamsPage,
    },
};

/// Wraps a store and makes some of its calls fail, by chance, from a seed.
///
/// Each fault is one that a real store can have, and keeps the contract: a conflict or a failure has written nothing, an
/// unknown outcome has written the whole commit or nothing. So a command on top may take longer or fail, and its events
/// are still there once or not at all. The chances (0 to 1) start at 0; the same seed and the same order of calls give
/// the same faults. Only a call that fails by chance counts; see [`counts`](Self::counts).
///
/// ```
/// use std::time::Duration;
/// use eventcore::{memory::MemoryEventStore, testing::ChaosStore};
///
/// let store = ChaosStore::new(MemoryEventStore::new(), 7)
///     .conflicts(0.2)
///     .failures(0.1)
///     .unknown_before_commit(0.05)
///     .unknown_after_commit(0.05)
///     .latency(Duration::ZERO..=Duration::from_millis(2));
/// # let _ = store;
/// ```
#[derive(Debug)]
pub struct ChaosStore<S> {
    inner: S,
    chances: Chances,
    latency: RangeInclusive<Duration>,
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Chances {
    conflict: f64,
    failure: f64,
    unknown_before: f64,
    unknown_after: f64,
}

#[derive(Debug)]
struct State {
    random: fastrand::Rng,
    counts: ChaosCounts,
    /// Commits that were made and whose outcome was hidden. A store knows them again, so they are in no conflict.
    hidden: HashSet<CommitId>,
}

/// The numbers of faults that a [`ChaosStore`] has injected. Assert on them to know that a test has tested something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChaosCounts {
    /// Appends refused with a made-up version conflict.
    pub conflicts: u64,
    /// Reads and appends that failed without doing anything.
    pub failures: u64,
    /// Appends whose outcome was hidden, and nothing was written.
    pub unknown_before_commit: u64,
    /// Appends whose outcome was hidden, and the commit was made.
    pub unknown_after_commit: u64,
}

/// The fate of one append.
#[derive(Clone, Copy)]
enum Fault {
    None,
    Conflict,
    Failure,
    UnknownBefore,
    UnknownAfter,
}

impl<S> ChaosStore<S> {
    /// Wraps a store. Without a chance of anything it changes nothing.
    pub fn new(inner: S, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let counts = ChaosCounts::default();
        Self {
            inner,
            chances: Chances::default(),
            latency: Duration::ZERO..=Duration::ZERO,
            state: Mutex::new(State {
                random,
                counts,
                hidden: HashSet::new(),
            }),
        }
    }

    /// The chance that an append is refused with a conflict, as if another writer had been faster.
    pub fn conflicts(mut self, chance: f64) -> Self {
        self.chances.conflict = chance;
        self
    }

    /// The chance that a read or an append fails with [`EventStoreError::Unavailable`] and does nothing.
    pub fn failures(mut self, chance: f64) -> Self {
        self.chances.failure = chance;
        self
    }

    /// The chance that an append ends with [`EventStoreError::OutcomeUnknown`] and has written nothing.
    pub fn unknown_before_commit(mut self, chance: f64) -> Self {
        self.chances.unknown_before = chance;
        self
    }

    /// The chance that an append ends with [`EventStoreError::OutcomeUnknown`] and has made the commit.
    pub fn unknown_after_commit(mut self, chance: f64) -> Self {
        self.chances.unknown_after = chance;
        self
    }

    /// Sets the additional time of each call; unless zero, it needs a tokio runtime with a timer.
    pub fn latency(mut self, latency: RangeInclusive<Duration>) -> Self {
        self.latency = latency;
        self
    }

    /// The faults so far.
    pub fn counts(&self) -> ChaosCounts {
        self.state().counts
    }

    /// The store inside, to look at without faults.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the fault of an append.
    fn of_append(&self, request: &AppendEvents) -> Fault {
        let mut state = self.state();
        let mut left = state.random.f64();
        let mut falls_on = |chance: f64| {
            left -= chance;
            left < 0.0
        };
        let State { counts, hidden, .. } = &mut *state;
        if falls_on(self.chances.conflict) {
            // Without a stream there is none to be in conflict over.
            if request.expected().is_empty() || hidden.contains(&request.commit_id()) {
                return Fault::None;
            }
            counts.conflicts += 1;
            Fault::Conflict
        } else if falls_on(self.chances.failure) {
            counts.failures += 1;
            Fault::Failure
        } else if falls_on(self.chances.unknown_before) {
            counts.unknown_before_commit += 1;
            Fault::UnknownBefore
        } else if falls_on(self.chances.unknown_after) {
            counts.unknown_after_commit += 1;
            Fault::UnknownAfter
        } else {
            Fault::None
        }
    }

    /// Draws whether a read fails.
    fn of_read(&self) -> Result<(), EventStoreError> {
        let mut state = self.state();
        if state.random.f64() < self.chances.failure {
            state.counts.failures += 1;
            return Err(unavailable());
        }
        Ok(())
    }

    async fn delay(&self) {
        let (least, most) = (*self.latency.start(), *self.latency.end());
        if most.is_zero() {
            return;
        }
        let part = self.state().random.f64();
        let more = most.saturating_sub(least).as_secs_f64() * part;
        let more = Duration::try_from_secs_f64(more).unwrap_or(Duration::MAX);
        tokio::time::sleep(least.saturating_add(more)).await;
    }
}

impl<S: EventStore> EventStore for ChaosStore<S> {
    fn read_streams(&self, request: ReadStreams) -> StoreFuture<'_, StreamsPage> {
        Box::pin(async move {
            self.delay().await;
            self.of_read()?;
            self.inner.read_streams(request).await
        })
    }

    fn append(&self, request: AppendEvents) -> StoreFuture<'_, Appended> {
        Box::pin(async move {
            self.delay().await;
            match self.of_append(&request) {
                Fault::None => self.inner.append(request).await,
                Fault::Conflict => Err(conflict(&request)),
                Fault::Failure => Err(unavailable()),
                Fault::UnknownBefore => Err(unknown("before")),
                Fault::UnknownAfter => {
                    let commit = request.commit_id();
                    // Before the commit, so that a dropped future leaves it known.
                    self.state().hidden.insert(commit);
                    self.inner.append(request).await?;
                    Err(unknown("after"))
                }
            }
        })
    }

    fn read_feed(&self, request: ReadFeed) -> StoreFuture<'_, FeedPage> {
        Box::pin(async move {
            self.delay().await;
            self.of_read()?;
            self.inner.read_feed(request).await
        })
    }

    fn wait(&self, after: Position) -> StoreFuture<'_, ()> {
        self.inner.wait(after)
    }

    fn queues(&self) -> Option<&StreamQueues> {
        self.inner.queues()
    }

    fn states(&self) -> Option<&StateCache> {
        self.inner.states()
    }
}

fn conflict(request: &AppendEvents) -> EventStoreError {
    match request.expected().first() {
        Some(first) => EventStoreError::VersionConflict(VersionConflict {
            stream: first.stream.clone(),
            expected: first.version,
            actual: first.version.plus(1),
        }),
        None => unavailable(),
    }
}

fn unavailable() -> EventStoreError {
    let source = io::Error::new(io::ErrorKind::ConnectionRefused, "chaos: out of reach");
    EventStoreError::Unavailable {
        source: source.into(),
    }
}

fn unknown(when: &str) -> EventStoreError {
    let source = io::Error::new(
        io::ErrorKind::ConnectionReset,
        format!("chaos: cut off {when} the commit"),
    );
    EventStoreError::OutcomeUnknown {
        source: source.into(),
    }
}
