//! A store that injects random faults, to test how code handles them: [`ChaosStore`].

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
        AppendRequest, CommitReceipt, FeedPage, ReadFeedRequest, ReadStreamsRequest, StateCache,
        StoreFuture, StreamPage, StreamQueues,
    },
};

/// Wraps a store and makes some of its calls fail at random, based on a seed.
///
/// Each fault can occur in a real store and respects the contract: a conflict or a failure writes
/// nothing, and an unknown outcome writes the whole commit or nothing. A command may therefore take
/// longer or fail, but its events are written once or not at all. The probabilities (0 to 1)
/// default to 0; the same seed and order of calls produce the same faults. [`counts`](Self::counts)
/// includes only injected faults.
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
    /// Commits that were made although their outcome was reported as unknown. The store recognizes
    /// them when they are repeated, so they must not get a conflict.
    hidden: HashSet<CommitId>,
}

/// The numbers of faults that a [`ChaosStore`] has injected. Assert on them to ensure that a test
/// exercised the faults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChaosCounts {
    /// Appends that failed with an injected version conflict.
    pub conflicts: u64,
    /// Reads and appends that failed without any effect.
    pub failures: u64,
    /// Appends whose outcome was reported as unknown, and that wrote nothing.
    pub unknown_before_commit: u64,
    /// Appends whose outcome was reported as unknown, and that made the commit.
    pub unknown_after_commit: u64,
}

/// The fault to inject into one append.
#[derive(Clone, Copy)]
enum Fault {
    None,
    Conflict,
    Failure,
    UnknownBefore,
    UnknownAfter,
}

impl<S> ChaosStore<S> {
    /// Wraps a store. Injects no faults until a probability is set.
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

    /// Sets the probability that an append fails with a conflict, as if another writer had been
    /// faster.
    pub fn conflicts(mut self, chance: f64) -> Self {
        self.chances.conflict = chance;
        self
    }

    /// Sets the probability that a read or an append fails with [`EventStoreError::Unavailable`]
    /// and has no effect.
    pub fn failures(mut self, chance: f64) -> Self {
        self.chances.failure = chance;
        self
    }

    /// Sets the probability that an append fails with [`EventStoreError::OutcomeUnknown`] and
    /// writes nothing.
    pub fn unknown_before_commit(mut self, chance: f64) -> Self {
        self.chances.unknown_before = chance;
        self
    }

    /// Sets the probability that an append fails with [`EventStoreError::OutcomeUnknown`] and makes
    /// the commit.
    pub fn unknown_after_commit(mut self, chance: f64) -> Self {
        self.chances.unknown_after = chance;
        self
    }

    /// Sets the additional latency of each call. Unless it is zero, calls need a tokio runtime with
    /// a timer.
    pub fn latency(mut self, latency: RangeInclusive<Duration>) -> Self {
        self.latency = latency;
        self
    }

    /// Returns the numbers of faults injected so far.
    pub fn counts(&self) -> ChaosCounts {
        self.state().counts
    }

    /// Returns the wrapped store, for access without faults.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the fault of an append.
    fn of_append(&self, request: &AppendRequest) -> Fault {
        let mut state = self.state();
        let mut left = state.random.f64();
        let mut falls_on = |chance: f64| {
            left -= chance;
            left < 0.0
        };
        let State { counts, hidden, .. } = &mut *state;
        if falls_on(self.chances.conflict) {
            // A commit without streams cannot conflict, and a repeated commit is recognized by its
            // id.
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

    /// Returns an error at random, to inject a fault into a read.
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
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        Box::pin(async move {
            self.delay().await;
            self.of_read()?;
            self.inner.read_streams(request).await
        })
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        Box::pin(async move {
            self.delay().await;
            match self.of_append(&request) {
                Fault::None => self.inner.append(request).await,
                Fault::Conflict => Err(conflict(&request)),
                Fault::Failure => Err(unavailable()),
                Fault::UnknownBefore => Err(unknown("before")),
                Fault::UnknownAfter => {
                    let commit = request.commit_id();
                    // Inserted before the commit, so that it is recorded even if the future is
                    // dropped.
                    self.state().hidden.insert(commit);
                    self.inner.append(request).await?;
                    Err(unknown("after"))
                }
            }
        })
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        Box::pin(async move {
            self.delay().await;
            self.of_read()?;
            self.inner.read_feed(request).await
        })
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        self.inner.wait_for_event(after)
    }

    fn queues(&self) -> Option<&StreamQueues> {
        self.inner.queues()
    }

    fn states(&self) -> Option<&StateCache> {
        self.inner.states()
    }
}

fn conflict(request: &AppendRequest) -> EventStoreError {
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
