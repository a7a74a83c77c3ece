//! A store in memory: an encoded log under a lock, with the same rules as every other store. For tests and examples.

use std::{
    collections::HashMap,
    future::ready,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{
    AppendEvents, Appended, EventStore, EventStoreError, IdempotencyKey, MAX_PAGE_EVENTS, Position,
    ReadAll, ReadStreams, StoreFuture, StreamEvent, StreamQueues, StreamsPage, Version,
    VersionConflict,
};
use crate::{event::RecordedEvent, stream::StreamId};

/// Keeps events in memory until it is dropped.
///
/// ```
/// let store = eventcore::memory::MemoryEventStore::new();
/// # let _ = store;
/// ```
#[derive(Debug, Default)]
pub struct MemoryEventStore {
    log: Mutex<Log>,
    queues: StreamQueues,
}

#[derive(Debug, Default)]
struct Log {
    events: Vec<RecordedEvent>,
    /// Where the events of a stream stand in `events`, in the order of their versions.
    streams: HashMap<StreamId, Vec<usize>>,
    type_names: HashMap<&'static str, std::sync::Arc<str>>,
    keys: HashMap<IdempotencyKey, Appended>,
}

impl MemoryEventStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// No code that holds the lock leaves the log half changed, so a poisoned lock is as good as any.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventStore for MemoryEventStore {
    fn read_streams(&self, request: ReadStreams) -> StoreFuture<'_, StreamsPage> {
        let page = self.log().page(&request);
        Box::pin(ready(Ok(page)))
    }

    fn append(&self, request: AppendEvents) -> StoreFuture<'_, Appended> {
        // At the first poll, not at the call: a future that is never polled does nothing.
        Box::pin(async move { self.log().append(&request) })
    }

    fn read_all(&self, request: ReadAll) -> StoreFuture<'_, Vec<RecordedEvent>> {
        let events = self.log().all(&request);
        Box::pin(ready(Ok(events)))
    }

    fn queues(&self) -> Option<&StreamQueues> {
        Some(&self.queues)
    }
}

impl Log {
    fn head(&self) -> Position {
        Position::new(count(self.events.len()))
    }

    fn of_stream(&self, stream: &StreamId) -> &[usize] {
        self.streams.get(stream).map_or(&[], Vec::as_slice)
    }

    fn version(&self, stream: &StreamId) -> Version {
        Version::new(count(self.of_stream(stream).len()))
    }

    fn page(&self, request: &ReadStreams) -> StreamsPage {
        let snapshot = request.up_to.unwrap_or(self.head()).min(self.head());
        let end = index(snapshot.get());
        let limit = request.limit.clamp(1, MAX_PAGE_EVENTS);
        let mut versions = Vec::with_capacity(request.streams.len());
        let mut found = Vec::new();
        for (number, cursor) in request.streams.iter().enumerate() {
            let places = self.of_stream(&cursor.stream);
            let visible = places.partition_point(|place| *place < end);
            versions.push(Version::new(count(visible)));
            let rest = places
                .get(index(cursor.after.get()).min(visible)..visible)
                .unwrap_or_default();
            found.extend(rest.iter().take(limit).map(|place| (*place, number)));
        }
        if request.streams.len() > 1 {
            found.sort_unstable();
            found.truncate(limit);
        }
        let event = |(place, stream): (usize, usize)| {
            let event: &RecordedEvent = self.events.get(place)?;
            Some(StreamEvent {
                stream,
                version: event.version,
                position: event.position,
                type_name: event.type_name.clone(),
                payload: event.payload.clone(),
            })
        };
        StreamsPage {
            versions,
            events: found.into_iter().filter_map(event).collect(),
            snapshot,
            already_committed: request
                .idempotency_key
                .as_ref()
                .and_then(|key| self.keys.get(key))
                .cloned(),
        }
    }

    fn append(&mut self, request: &AppendEvents) -> Result<Appended, EventStoreError> {
        if let Some(earlier) = request.idempotency_key().and_then(|key| self.keys.get(key)) {
            return Ok(earlier.clone());
        }
        let expected = request.expected();
        for stream in expected {
            let actual = self.version(&stream.stream);
            if actual != stream.version {
                return match self.own_commit(request) {
                    Some(appended) => Ok(appended),
                    None => Err(VersionConflict {
                        stream: stream.stream.clone(),
                        expected: stream.version,
                        actual,
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
            let type_name = self
                .type_names
                .entry(event.type_name)
                .or_insert_with(|| event.type_name.into())
                .clone();
            let places = self.streams.entry(target.stream.clone()).or_default();
            places.push(self.events.len());
            self.events.push(RecordedEvent {
                position: Position::new(count(self.events.len()) + 1),
                stream: target.stream.clone(),
                version: Version::new(count(places.len())),
                event_id: request.event_id(number),
                type_name,
                payload: event.payload.clone(),
                metadata: request.metadata().clone(),
                recorded_at,
            });
        }
        let appended = Appended {
            position: self.head(),
            events: request.events().len(),
            repeated: false,
        };
        if let Some(key) = request.idempotency_key() {
            self.keys.insert(
                key.clone(),
                Appended {
                    repeated: true,
                    ..appended.clone()
                },
            );
        }
        Ok(appended)
    }

    /// The result of this very commit, if it was made before: then its first event follows the expected version.
    fn own_commit(&self, request: &AppendEvents) -> Option<Appended> {
        let target = request.expected().get(request.events().first()?.stream)?;
        let place = *self
            .of_stream(&target.stream)
            .get(index(target.version.get()))?;
        let first = self.events.get(place)?;
        let events = request.events().len();
        (first.event_id == request.event_id(0)).then(|| Appended {
            position: first.position.plus(count(events - 1)),
            events,
            repeated: false,
        })
    }

    fn all(&self, request: &ReadAll) -> Vec<RecordedEvent> {
        let limit = request.limit.clamp(1, MAX_PAGE_EVENTS);
        let after = index(request.after.get());
        match &request.stream {
            None => self
                .events
                .iter()
                .skip(after)
                .take(limit)
                .cloned()
                .collect(),
            Some(stream) => {
                let places = self.of_stream(stream);
                let start = places.partition_point(|place| *place < after);
                let places = places.iter().skip(start).take(limit);
                places
                    .filter_map(|place| self.events.get(*place).cloned())
                    .collect()
            }
        }
    }
}

/// Lengths in memory always fit.
fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
