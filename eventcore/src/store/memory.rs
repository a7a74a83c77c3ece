//! A store in memory: an encoded log behind a lock, with the same rules as every other store. For
//! tests and examples.

use std::{
    collections::HashMap,
    future::ready,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{
    AppendRequest, CommitReceipt, EventFilter, EventStore, EventStoreError, FeedPage, Fingerprint,
    IdempotencyKey, KeyReused, MAX_PAGE_BYTES, MAX_PAGE_EVENTS, NewSnapshot, ReadFeedRequest,
    ReadStreamsRequest, Room, Snapshot, StateCache, StoreFuture, StreamCursor, StreamEvent,
    StreamExtent, StreamHead, StreamPage, StreamQueues, VersionConflict,
};
use crate::{
    Position, Version,
    event::{CommitId, EventId, RecordedEvent},
    store::head::Head,
    stream::StreamId,
};

/// An event store that keeps events in memory until it is dropped.
///
/// ```
/// let store = eventcore::memory::MemoryEventStore::new();
/// # let _ = store;
/// ```
#[derive(Debug, Default)]
pub struct MemoryEventStore {
    log: Mutex<Log>,
    queues: StreamQueues,
    states: StateCache,
    head: Head,
}

#[derive(Debug, Default)]
struct Log {
    events: Vec<RecordedEvent>,
    /// The indices in `events` of each stream's events, ordered by version.
    streams: HashMap<StreamId, Vec<usize>>,
    categories: HashMap<Box<str>, HashMap<&'static str, EventType>>,
    /// The commit made under each key.
    keys: HashMap<Arc<str>, Keyed>,
    snapshots: HashMap<(StreamId, Arc<str>), (u32, Snapshot)>,
}

/// A commit that was made under an idempotency key.
#[derive(Debug)]
struct Keyed {
    appended: CommitReceipt,
    commit_id: CommitId,
    fingerprint: Option<Fingerprint>,
}

impl Keyed {
    /// Returns the answer to another commit under the key.
    fn answer(&self, key: &IdempotencyKey) -> Result<CommitReceipt, KeyReused> {
        let repeated = CommitReceipt {
            repeated: true,
            ..self.appended.clone()
        };
        let fingerprint = self.fingerprint.as_ref().map(Fingerprint::as_bytes);
        key.repeats(repeated, fingerprint.map(<[u8; 32]>::as_slice))
    }
}

/// The events of one category with one stored name.
#[derive(Debug)]
struct EventType {
    name: Arc<str>,
    places: Vec<usize>,
}

impl MemoryEventStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Locks the log. No holder of the lock leaves the log inconsistent, so poisoning is ignored.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventStore for MemoryEventStore {
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        let page = self.log().page(&request);
        Box::pin(ready(page))
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        // Appends at the first poll, not at the call: a future that is never polled does nothing.
        Box::pin(async move {
            let appended = self.log().append(&request)?;
            self.head.publish(appended.position);
            Ok(appended)
        })
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        let page = self.log().feed(&request);
        Box::pin(ready(Ok(page)))
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.head.passes(after).await;
            Ok(())
        })
    }

    fn queues(&self) -> Option<&StreamQueues> {
        Some(&self.queues)
    }

    fn states(&self) -> Option<&StateCache> {
        Some(&self.states)
    }

    fn keep_snapshots(&self, snapshots: Vec<NewSnapshot>) {
        for new in snapshots {
            if let Some(snapshot) = new.encode() {
                let kept = (new.kind().revision, snapshot);
                let key = (new.stream().clone(), new.kind().name.clone());
                self.log().snapshots.insert(key, kept);
            }
        }
    }

    fn clear_snapshots(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.log().snapshots.clear();
            Ok(())
        })
    }
}

impl Log {
    fn head(&self) -> Position {
        Position::new(count(self.events.len()))
    }

    fn of_stream(&self, stream: &StreamId) -> &[usize] {
        self.streams.get(stream).map_or(&[], Vec::as_slice)
    }

    /// Returns the head of a stream whose events have these indices.
    fn head_of(&self, places: &[usize]) -> StreamHead {
        let last = places.last().and_then(|place| self.events.get(*place));
        last.map_or(StreamHead::EMPTY, |event| {
            StreamHead::new(Version::new(count(places.len())), event.event_id)
        })
    }

    /// Returns the id of the event at a version.
    fn event_id(&self, places: &[usize], version: Version) -> Option<EventId> {
        let place = places.get(index(version.get()).checked_sub(1)?)?;
        self.events.get(*place).map(|event| event.event_id)
    }

    /// Returns the requested snapshot if the stream has the event that it covers last.
    fn snapshot(&self, cursor: &StreamCursor, places: &[usize]) -> Option<Snapshot> {
        let kind = cursor.snapshot.as_ref()?;
        let key = (cursor.stream.clone(), kind.name.clone());
        let (revision, snapshot) = self.snapshots.get(&key)?;
        let head = snapshot.head;
        let is_there =
            head.event_id().is_some() && self.event_id(places, head.version()) == head.event_id();
        let is_newer = head.version() > cursor.after;
        (*revision == kind.revision && is_there && is_newer).then(|| snapshot.clone())
    }

    fn page(&self, request: &ReadStreamsRequest) -> Result<StreamPage, EventStoreError> {
        let snapshot = request.snapshot.unwrap_or(self.head()).min(self.head());
        let key = request.idempotency_key.as_ref();
        if let Some((key, keyed)) = key.and_then(|key| Some((key, self.keys.get(key.text())?))) {
            return Ok(StreamPage {
                streams: Vec::new(),
                events: Vec::new(),
                snapshot,
                already_committed: Some(keyed.answer(key)?),
            });
        }
        let end = index(snapshot.get());
        let limit = request.limit.clamp(1, MAX_PAGE_EVENTS);
        let mut streams = Vec::with_capacity(request.streams.len());
        let mut found = Vec::new();
        for (number, cursor) in request.streams.iter().enumerate() {
            let places = self.of_stream(&cursor.stream);
            let visible = places.partition_point(|place| *place < end);
            let visible_places = places.get(..visible).unwrap_or_default();
            let snapshot = self.snapshot(cursor, visible_places);
            let covered = snapshot.as_ref().map(|snapshot| snapshot.head.version());
            let after = index(covered.unwrap_or(cursor.after).get()).min(visible);
            streams.push(StreamExtent {
                head: self.head_of(visible_places),
                after: self.event_id(visible_places, cursor.after),
                snapshot,
            });
            let rest = places.get(after..visible).unwrap_or_default();
            found.extend(rest.iter().take(limit).map(|place| (*place, number)));
        }
        if request.streams.len() > 1 {
            found.sort_unstable();
        }
        let mut room = Room::new(limit, MAX_PAGE_BYTES);
        let event = |(place, stream): (usize, usize)| {
            let event: &RecordedEvent = self.events.get(place)?;
            room.take(event.payload.len()).then(|| StreamEvent {
                stream,
                version: event.version,
                position: event.position,
                type_name: event.type_name.clone(),
                payload: event.payload.clone(),
            })
        };
        Ok(StreamPage {
            streams,
            events: found.into_iter().map_while(event).collect(),
            snapshot,
            already_committed: None,
        })
    }

    fn append(&mut self, request: &AppendRequest) -> Result<CommitReceipt, EventStoreError> {
        if let Some(key) = request.idempotency_key()
            && let Some(keyed) = self.keys.get(key.text())
        {
            if keyed.commit_id == request.commit_id() {
                return Ok(keyed.appended.clone());
            }
            return Ok(keyed.answer(key)?);
        }
        let expected = request.expected();
        for stream in expected {
            let head = self.head_of(self.of_stream(&stream.stream));
            if !stream.holds(head) {
                return match self.own_commit(request) {
                    Some(appended) => Ok(appended),
                    None => Err(VersionConflict {
                        stream: stream.stream.clone(),
                        expected: stream.version,
                        actual: head.version(),
                    }
                    .into()),
                };
            }
        }
        let recorded_at = SystemTime::now();
        for (number, event) in request.events().iter().enumerate() {
            let Some(target) = expected.get(event.stream) else {
                continue;
            };
            let place = self.events.len();
            let type_name = self.note(target.stream.category(), event.type_name, place);
            let places = self.streams.entry(target.stream.clone()).or_default();
            places.push(place);
            self.events.push(RecordedEvent {
                position: Position::new(count(place) + 1),
                stream: target.stream.clone(),
                version: Version::new(count(places.len())),
                event_id: request.event_id(number),
                type_name,
                payload: event.payload.clone(),
                metadata: request.metadata().clone(),
                recorded_at,
            });
        }
        let appended = CommitReceipt {
            position: self.head(),
            events: request.events().len(),
            repeated: false,
        };
        if let Some(key) = request.idempotency_key() {
            let keyed = Keyed {
                appended: appended.clone(),
                commit_id: request.commit_id(),
                fingerprint: key.fingerprint().copied(),
            };
            self.keys.insert(key.text().clone(), keyed);
        }
        Ok(appended)
    }

    /// Returns the result of this same commit if it was made before: its first event then follows
    /// the expected version.
    fn own_commit(&self, request: &AppendRequest) -> Option<CommitReceipt> {
        let target = request.expected().get(request.events().first()?.stream)?;
        let place = *self
            .of_stream(&target.stream)
            .get(index(target.version.get()))?;
        let first = self.events.get(place)?;
        let events = request.events().len();
        (first.event_id == request.event_id(0)).then(|| CommitReceipt {
            position: first.position.plus(count(events - 1)),
            events,
            repeated: false,
        })
    }

    /// Records the index of an event under its category and type, and returns the shared name of
    /// the type.
    fn note(&mut self, category: &str, name: &'static str, place: usize) -> Arc<str> {
        // `entry` would allocate a key for each event.
        let known = self.categories.get_mut(category);
        if let Some(event_type) = known.and_then(|names| names.get_mut(name)) {
            event_type.places.push(place);
            return event_type.name.clone();
        }
        let names = self.categories.entry(category.into()).or_default();
        let event_type = EventType {
            name: name.into(),
            places: vec![place],
        };
        names.entry(name).or_insert(event_type).name.clone()
    }

    fn feed(&self, request: &ReadFeedRequest) -> FeedPage {
        let limit = request.limit.clamp(1, MAX_PAGE_EVENTS);
        let after = index(request.after.get());
        let mut found = Vec::new();
        match &request.filter {
            EventFilter::All => found.extend((after..self.events.len()).take(limit)),
            EventFilter::Stream(stream) => found.extend(next(self.of_stream(stream), after, limit)),
            EventFilter::AnyOf(selectors) => {
                for (category, names) in &self.categories {
                    for (name, event_type) in names {
                        if selectors.iter().any(|one| one.matches(category, name)) {
                            found.extend(next(&event_type.places, after, limit));
                        }
                    }
                }
                found.sort_unstable();
                found.truncate(limit);
            }
        }
        let matching = found.len();
        let mut room = Room::new(limit, MAX_PAGE_BYTES);
        let event = |place| {
            let event: &RecordedEvent = self.events.get(place)?;
            room.take(event.payload.len()).then(|| event.clone())
        };
        let events: Vec<_> = found.into_iter().map_while(event).collect();
        let head = self.head();
        let scanned_to = match events.last() {
            Some(last) if events.len() == limit || events.len() < matching => last.position,
            _ => head,
        };
        FeedPage {
            events,
            scanned_to,
            head,
        }
    }
}

/// Returns the first `limit` of the ascending `places`, from `after` on.
fn next(places: &[usize], after: usize, limit: usize) -> impl Iterator<Item = usize> {
    let start = places.partition_point(|place| *place < after);
    places.iter().skip(start).take(limit).copied()
}

/// Converts a length; lengths in memory always fit.
fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
