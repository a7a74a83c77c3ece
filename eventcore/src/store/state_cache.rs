//! The states of streams that this process has folded: [`StateCache`].
//!
//! This file keeps and finds states. It knows neither commands nor events, and a cached state
//! proves nothing: its user checks that the store still has the event that the state covers last.

use std::{
    any::{Any, TypeId},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use lru::LruCache;

use super::StreamHead;
use crate::stream::StreamId;

/// The default of [`StateCache::set_capacity`].
const DEFAULT_STATES: usize = 100_000;
/// The default of [`StateCache::set_max_bytes`].
const DEFAULT_BYTES: usize = 256 * 1024 * 1024;
/// An estimate of the memory of an entry without its state, in bytes.
const ENTRY_BYTES: usize = 256;

/// A state of any type.
pub(crate) type AnyState = Arc<dyn Any + Send + Sync>;

/// The stream of a state, and the types that it is folded from and into.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    stream: StreamId,
    folding: TypeId,
}

/// The states of streams that commands and loads of one store have folded in this process. A store
/// keeps one and returns it from [`EventStore::states`](super::EventStore::states).
///
/// By default it holds up to 100,000 states and 256 MiB, by the estimate of
/// [`StreamState::size_in_memory`](crate::StreamState::size_in_memory). Beyond that, the least
/// recently used states are dropped.
///
/// ```
/// use eventcore::{EventStore, memory::MemoryEventStore};
///
/// let store = MemoryEventStore::new();
/// if let Some(states) = store.states() {
///     states.set_capacity(1_000_000);
///     states.set_max_bytes(1024 * 1024 * 1024);
/// }
/// ```
pub struct StateCache {
    kept: Mutex<Kept>,
    bytes: Arc<AtomicUsize>,
}

struct Kept {
    entries: LruCache<Key, Arc<Entry>>,
    capacity: usize,
    max_bytes: usize,
    hits: u64,
    misses: u64,
}

/// The counts of a [`StateCache`] since it was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateCacheCounts {
    /// The number of reads of a stream that began at a cached state.
    pub hits: u64,
    /// The number of reads of a stream for which no state was cached.
    pub misses: u64,
    /// The number of states that are cached now.
    pub states: usize,
    /// The estimated memory of these states, in bytes.
    pub bytes: usize,
}

impl StateCache {
    /// Creates an empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the maximum number of states; with 0, none is kept. Excess states are dropped at once.
    pub fn set_capacity(&self, states: usize) {
        self.change(|kept| {
            kept.capacity = states;
            kept.evict(states)
        });
    }

    /// Sets the maximum of the states' estimated memory, in bytes. Excess states are dropped as
    /// others are used.
    pub fn set_max_bytes(&self, bytes: usize) {
        self.kept().max_bytes = bytes;
    }

    /// Removes all states.
    pub fn clear(&self) {
        self.change(|kept| kept.evict(0));
    }

    /// Returns the counts since the cache was created.
    pub fn counts(&self) -> StateCacheCounts {
        let kept = self.kept();
        StateCacheCounts {
            hits: kept.hits,
            misses: kept.misses,
            states: kept.entries.len(),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Locks the cache, to look up several entries at once.
    pub(crate) fn open(&self) -> OpenCache<'_> {
        OpenCache {
            kept: self.kept(),
            bytes: &self.bytes,
            evicted: Vec::new(),
        }
    }

    /// Changes the cache; the entries that `change` returns are dropped after the lock is released,
    /// since they may be large.
    fn change(&self, change: impl FnOnce(&mut Kept) -> Vec<Arc<Entry>>) {
        let mut kept = self.kept();
        let evicted = change(&mut kept);
        drop(kept);
        drop(evicted);
    }

    /// Locks the map. It stays consistent after a panic, since no foreign code runs under the lock.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A locked cache.
pub(crate) struct OpenCache<'c> {
    kept: MutexGuard<'c, Kept>,
    bytes: &'c Arc<AtomicUsize>,
    /// Dropped after the lock is released, since they may be large.
    evicted: Vec<Arc<Entry>>,
}

impl OpenCache<'_> {
    /// Returns the entry of a stream and its folding, which may be a new one; `None` if nothing is
    /// kept.
    pub(crate) fn entry(&mut self, stream: &StreamId, folding: TypeId) -> Option<Arc<Entry>> {
        let kept = &mut *self.kept;
        if kept.capacity == 0 {
            kept.misses += 1;
            return None;
        }
        let key = Key {
            stream: stream.clone(),
            folding,
        };
        if let Some(entry) = kept.entries.get(&key).cloned() {
            if entry.has_state() {
                kept.hits += 1;
            } else {
                kept.misses += 1;
            }
            return Some(entry);
        }
        kept.misses += 1;
        let entry = Arc::new(Entry::new(self.bytes.clone()));
        kept.entries.put(key, entry.clone());
        self.evicted.extend(kept.evict(kept.capacity));
        Some(entry)
    }
}

impl Drop for OpenCache<'_> {
    fn drop(&mut self) {
        while self.bytes.load(Ordering::Relaxed) > self.kept.max_bytes {
            let Some((_, entry)) = self.kept.entries.pop_lru() else {
                break;
            };
            entry.release();
            self.evicted.push(entry);
        }
    }
}

impl Kept {
    /// Removes the least recently used entries beyond this number.
    fn evict(&mut self, states: usize) -> Vec<Arc<Entry>> {
        let mut evicted = Vec::new();
        while self.entries.len() > states {
            let Some((_, entry)) = self.entries.pop_lru() else {
                break;
            };
            entry.release();
            evicted.push(entry);
        }
        evicted
    }
}

impl Default for StateCache {
    fn default() -> Self {
        Self {
            kept: Mutex::new(Kept {
                // Memory is allocated as states are added.
                entries: LruCache::unbounded(),
                capacity: DEFAULT_STATES,
                max_bytes: DEFAULT_BYTES,
                hits: 0,
                misses: 0,
            }),
            bytes: Arc::default(),
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

/// The size of an entry that is no longer in the cache.
const RELEASED: usize = usize::MAX;

/// The state of one stream, shared by the commands and loads that use it. Whoever uses several
/// locks them in the order of their streams.
pub(crate) struct Entry {
    content: Mutex<Content>,
    /// The estimated size, which is part of the total; or [`RELEASED`].
    bytes: AtomicUsize,
    total: Arc<AtomicUsize>,
}

/// The content of an [`Entry`].
#[derive(Default)]
pub(crate) struct Content {
    /// `None` if nothing is known of the stream.
    pub(crate) state: Option<AnyState>,
    /// The last event that the state covers.
    pub(crate) head: StreamHead,
    /// The number of changes, by which a reader sees that the content is still the one that its
    /// read began with.
    pub(crate) changes: u64,
    /// The number of events folded since the last snapshot.
    pub(crate) unsaved: u64,
}

impl Entry {
    fn new(total: Arc<AtomicUsize>) -> Self {
        total.fetch_add(ENTRY_BYTES, Ordering::Relaxed);
        Self {
            content: Mutex::default(),
            bytes: AtomicUsize::new(ENTRY_BYTES),
            total,
        }
    }

    /// Locks the content. A panic in a user's code cannot leave it inconsistent: the state is taken
    /// out while it is folded.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if there is a state, or if it is in use, without waiting.
    fn has_state(&self) -> bool {
        match self.content.try_lock() {
            Ok(content) => content.state.is_some(),
            Err(_) => true,
        }
    }

    /// Sets the estimated size of the state, in bytes.
    pub(crate) fn set_bytes(&self, bytes: usize) {
        let bytes = bytes.saturating_add(ENTRY_BYTES).min(RELEASED - 1);
        let set = |now| (now != RELEASED).then_some(bytes);
        if let Ok(before) = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, set)
        {
            self.total.fetch_add(bytes, Ordering::Relaxed);
            self.total.fetch_sub(before, Ordering::Relaxed);
        }
    }

    /// Removes the size from the total, when the entry leaves the cache.
    fn release(&self) {
        let before = self.bytes.swap(RELEASED, Ordering::Relaxed);
        if before != RELEASED {
            self.total.fetch_sub(before, Ordering::Relaxed);
        }
    }
}

impl Content {
    /// Returns the last event that the state covers; `None` if there is no state.
    pub(crate) fn known(&self) -> Option<StreamHead> {
        self.state.as_ref().map(|_| self.head)
    }

    /// Replaces the state.
    pub(crate) fn set(&mut self, state: AnyState, head: StreamHead, unsaved: u64) {
        (self.state, self.head, self.unsaved) = (Some(state), head, unsaved);
        self.changes += 1;
    }

    /// Removes the state, which is wrong or unusable.
    pub(crate) fn clear(&mut self) {
        self.state = None;
        self.changes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: u32) -> Vec<StreamId> {
        let id = |n| StreamId::new(format!("s-{n}")).unwrap();
        (0..count).map(id).collect()
    }

    fn entries(cache: &StateCache, streams: &[StreamId]) -> Vec<Option<Arc<Entry>>> {
        let mut opened = cache.open();
        let entry = |stream| opened.entry(stream, TypeId::of::<u64>());
        let found: Vec<_> = streams.iter().map(entry).collect();
        drop(opened);
        for entry in found.iter().flatten() {
            entry.lock().set(Arc::new(0_u64), StreamHead::EMPTY, 0);
        }
        found
    }

    #[test]
    fn the_least_recently_used_states_are_dropped() {
        let (cache, ids) = (StateCache::new(), ids(4));
        cache.set_capacity(2);
        entries(&cache, &ids[..2]);
        entries(&cache, &ids[..1]);
        entries(&cache, &ids[2..3]);
        let counts = cache.counts();
        assert_eq!((counts.hits, counts.misses, counts.states), (1, 3, 2));
        entries(&cache, &ids[..1]);
        assert_eq!(cache.counts().hits, 2);
        entries(&cache, &ids[1..2]);
        assert_eq!(cache.counts().hits, 2, "the oldest was kept");
        cache.set_capacity(0);
        assert_eq!((cache.counts().states, cache.counts().bytes), (0, 0));
        assert!(entries(&cache, &ids).iter().all(Option::is_none));
    }

    #[test]
    fn the_estimated_bytes_bound_the_cache_however_they_change() {
        let (cache, ids) = (StateCache::new(), ids(10));
        cache.set_max_bytes(10_000 + 10 * ENTRY_BYTES);
        for entry in entries(&cache, &ids).into_iter().flatten() {
            entry.set_bytes(1_000);
        }
        assert_eq!(cache.counts().bytes, 10_000 + 10 * ENTRY_BYTES);
        let first = entries(&cache, &ids[..1]).pop().unwrap().unwrap();
        first.set_bytes(5_000);
        entries(&cache, &ids[..1]);
        let counts = cache.counts();
        assert!(counts.bytes <= 10_000 + 10 * ENTRY_BYTES, "{counts:?}");
        assert_eq!(counts.states, 10 - 4);
        cache.clear();
        // An entry that is still in use no longer counts.
        first.set_bytes(7_000);
        assert_eq!(cache.counts().bytes, 0);
    }
}
