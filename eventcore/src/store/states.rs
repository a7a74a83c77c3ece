//! States that commands have folded in this process, so that the next command reads only newer
//! events.
//!
//! This file stores and looks up states. It knows neither commands nor events, and a cached state
//! proves nothing: its user must check that the store still has the history.

use std::{
    any::{Any, TypeId},
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;

use crate::stream::StreamId;

/// The default of [`StateCache::set_capacity`].
const DEFAULT_CAPACITY: usize = 10_000;

/// The command type that folded a state, and its streams.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StateKey {
    command: TypeId,
    /// Each stream with the number of the field that names it: `[a], [b]` is not `[a, b], []`.
    streams: Arc<[(usize, StreamId)]>,
}

impl StateKey {
    pub(crate) fn new(
        command: TypeId,
        streams: impl IntoIterator<Item = (usize, StreamId)>,
    ) -> Self {
        Self {
            command,
            streams: streams.into_iter().collect(),
        }
    }
}

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.streams.iter().map(|(_, stream)| stream))
            .finish()
    }
}

/// A state of any type.
pub(crate) type AnyState = Arc<dyn Any + Send + Sync>;

/// The folded states of `#[command(cached)]` commands on one store in this process. A store keeps
/// one and returns it from [`EventStore::states`](super::EventStore::states).
///
/// By default it holds up to 10,000 states, one for each command type and list of streams, and
/// evicts the least recently used one.
///
/// ```
/// use eventcore::{EventStore, memory::MemoryEventStore};
///
/// let store = MemoryEventStore::new();
/// if let Some(states) = store.states() {
///     states.set_capacity(100_000);
/// }
/// ```
pub struct StateCache {
    kept: Mutex<Kept>,
}

struct Kept {
    states: LruCache<StateKey, AnyState>,
    capacity: usize,
    hits: u64,
    misses: u64,
}

/// The counts of a [`StateCache`] since it was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateCacheCounts {
    /// The number of commands that started from a cached state.
    pub hits: u64,
    /// The number of commands that looked for a cached state and found none.
    pub misses: u64,
    /// The number of states that are cached now.
    pub states: usize,
}

impl StateCache {
    /// Creates an empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the maximum number of states; with 0, none is kept. Excess states are dropped at once.
    pub fn set_capacity(&self, states: usize) {
        self.forget_beyond(states);
        let mut kept = self.kept();
        kept.capacity = states;
        let states = NonZeroUsize::new(states).unwrap_or(NonZeroUsize::MIN);
        kept.states.resize(states);
    }

    /// Removes all states.
    pub fn clear(&self) {
        self.forget_beyond(0);
    }

    /// Evicts states beyond this number. They may be large, so they are dropped after the lock is
    /// released.
    fn forget_beyond(&self, states: usize) {
        let mut forgotten = Vec::new();
        let mut kept = self.kept();
        while kept.states.len() > states {
            forgotten.extend(kept.states.pop_lru());
        }
        drop(kept);
    }

    /// Returns the counts since the cache was created.
    pub fn counts(&self) -> StateCacheCounts {
        let kept = self.kept();
        StateCacheCounts {
            hits: kept.hits,
            misses: kept.misses,
            states: kept.states.len(),
        }
    }

    pub(crate) fn get(&self, key: &StateKey) -> Option<AnyState> {
        let mut kept = self.kept();
        let found = kept.states.get(key).cloned();
        match found {
            Some(_) => kept.hits += 1,
            None => kept.misses += 1,
        }
        found
    }

    pub(crate) fn put(&self, key: StateKey, state: AnyState) {
        let mut kept = self.kept();
        if kept.capacity == 0 {
            return;
        }
        let replaced = kept.states.push(key, state);
        drop(kept);
        drop(replaced);
    }

    /// Locks the map. It stays consistent after a panic, since no foreign code runs under the lock.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for StateCache {
    fn default() -> Self {
        // Memory is allocated as states are added.
        let mut states = LruCache::unbounded();
        states.resize(NonZeroUsize::new(DEFAULT_CAPACITY).unwrap_or(NonZeroUsize::MIN));
        Self {
            kept: Mutex::new(Kept {
                states,
                capacity: DEFAULT_CAPACITY,
                hits: 0,
                misses: 0,
            }),
        }
    }
}

impl fmt::Debug for StateCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateCache")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
