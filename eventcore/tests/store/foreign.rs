//! An event store that knows nothing but the public items of this library: a list behind a mutex.
//!
//! Together with `contract_tests!` it is what a store of one's own begins with. It is simple rather than fast: every call
//! looks through the whole list.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use eventcore::{
    CommitId, EventStore, EventStoreError, Fingerprint, IdempotencyKey, KeyReused, Position,
    RecordedEvent, StreamId, Version, VersionConflict,
    store::{
        AppendRequest, CommitReceipt, FeedPage, MAX_PAGE_BYTES, MAX_PAGE_EVENTS, ReadFeedRequest,
        ReadStreamsRequest, StoreFuture, StreamEvent, StreamExtent, StreamHead, StreamPage,
    },
};
use tokio::sync::watch;

#[derive(Default)]
struct ListStore {
    log: Mutex<Log>,
    /// The position of the latest event, for those who wait.
    head: watch::Sender<Position>,
}

#[derive(Default)]
struct Log {
    /// In commit order: the event at index 0 has position 1.
    events: Vec<RecordedEvent>,
    /// The commit that was made under each key, by the text of the key.
    keys: HashMap<String, Keyed>,
}

struct Keyed {
    commit: CommitId,
    appended: CommitReceipt,
    fingerprint: Option<Fingerprint>,
}

impl Keyed {
    /// The answer to another commit under the key.
    fn answer(&self, key: &IdempotencyKey) -> Result<CommitReceipt, KeyReused> {
        let fingerprint = self.fingerprint.as_ref().map(|of| of.as_bytes().as_slice());
        key.repeats(self.appended.clone(), fingerprint)
    }
}

impl ListStore {
    /// The log is whole even if a thread panicked with the lock: a commit is added in one piece.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventStore for ListStore {
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        Box::pin(async move { self.log().page(&request) })
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        Box::pin(async move {
            let mut log = self.log();
            let appended = log.append(&request)?;
            self.head.send_replace(log.head());
            Ok(appended)
        })
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        Box::pin(async move { Ok(self.log().feed(&request)) })
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut head = self.head.subscribe();
            // An error would mean that the sender is gone, and the store has it.
            let _ = head.wait_for(|head| *head > after).await;
            Ok(())
        })
    }
}

impl Log {
    fn head(&self) -> Position {
        Position::new(self.events.len() as u64)
    }

    /// The events of a stream at or before a position, in order.
    fn of_stream(&self, stream: &StreamId, up_to: Position) -> Vec<&RecordedEvent> {
        let visible = self.events.iter().filter(|event| event.position <= up_to);
        visible.filter(|event| event.stream == *stream).collect()
    }

    fn head_of(&self, stream: &StreamId) -> StreamHead {
        head(&self.of_stream(stream, self.head()))
    }

    fn page(&self, request: &ReadStreamsRequest) -> Result<StreamPage, EventStoreError> {
        let snapshot = request.snapshot.unwrap_or(self.head()).min(self.head());
        if let Some(key) = &request.idempotency_key
            && let Some(keyed) = self.keys.get(key.as_str())
        {
            return Ok(StreamPage {
                streams: Vec::new(),
                events: Vec::new(),
                snapshot,
                already_committed: Some(keyed.answer(key)?),
            });
        }
        let (mut streams, mut found) = (Vec::new(), Vec::new());
        for (number, cursor) in request.streams.iter().enumerate() {
            let events = self.of_stream(&cursor.stream, snapshot);
            let at_cursor = events.iter().find(|event| event.version == cursor.after);
            streams.push(StreamExtent {
                head: head(&events),
                after: at_cursor.map(|event| event.event_id),
                // It keeps none.
                snapshot: None,
            });
            let rest = events
                .into_iter()
                .filter(|event| event.version > cursor.after);
            found.extend(rest.map(|event| (number, event)));
        }
        found.sort_by_key(|(_, event)| event.position);
        let length = fitting(found.iter().map(|(_, event)| *event), request.limit);
        let read = |(stream, event): (usize, &RecordedEvent)| StreamEvent {
            stream,
            version: event.version,
            position: event.position,
            type_name: event.type_name.clone(),
            payload: event.payload.clone(),
        };
        Ok(StreamPage {
            streams,
            events: found.into_iter().take(length).map(read).collect(),
            snapshot,
            already_committed: None,
        })
    }

    fn feed(&self, request: &ReadFeedRequest) -> FeedPage {
        let wanted = |event: &&RecordedEvent| {
            event.position > request.after
                && request.filter.matches(&event.stream, &event.type_name)
        };
        let found: Vec<_> = self.events.iter().filter(wanted).collect();
        let length = fitting(found.iter().copied(), request.limit);
        let events: Vec<_> = found.iter().take(length).copied().cloned().collect();
        let scanned_to = match events.last() {
            Some(last) if length < found.len() || length == request.limit => last.position,
            _ => self.head(),
        };
        FeedPage {
            events,
            scanned_to,
            head: self.head(),
        }
    }

    fn append(&mut self, request: &AppendRequest) -> Result<CommitReceipt, EventStoreError> {
        // First the key, then the streams, and where one is not as expected, whether this very commit is the reason.
        let key = request.idempotency_key();
        if let Some(key) = key
            && let Some(keyed) = self.keys.get(key.as_str())
        {
            if keyed.commit != request.commit_id() {
                return Ok(keyed.answer(key)?);
            }
            return Ok(CommitReceipt {
                repeated: false,
                ..keyed.appended.clone()
            });
        }
        for expected in request.expected() {
            let head = self.head_of(&expected.stream);
            if !expected.holds(head) {
                return self.own_commit(request).ok_or_else(|| {
                    EventStoreError::from(VersionConflict {
                        stream: expected.stream.clone(),
                        expected: expected.version,
                        actual: head.version(),
                    })
                });
            }
        }
        let recorded_at = SystemTime::now();
        let mut events = Vec::new();
        let mut versions: Vec<_> = request.expected().iter().map(|one| one.version).collect();
        for (number, event) in request.events().iter().enumerate() {
            let version = &mut versions[event.stream];
            *version = version.plus(1);
            events.push(RecordedEvent {
                position: self.head().plus(number as u64 + 1),
                stream: request.expected()[event.stream].stream.clone(),
                version: *version,
                event_id: request.event_id(number),
                type_name: event.type_name.into(),
                payload: event.payload.clone(),
                metadata: request.metadata().clone(),
                recorded_at,
            });
        }
        self.events.append(&mut events);
        let appended = CommitReceipt {
            position: self.head(),
            events: request.events().len(),
            repeated: false,
        };
        if let Some(key) = key {
            let repeated = CommitReceipt {
                repeated: true,
                ..appended.clone()
            };
            let keyed = Keyed {
                commit: request.commit_id(),
                appended: repeated,
                fingerprint: key.fingerprint().copied(),
            };
            self.keys.insert(key.as_str().to_owned(), keyed);
        }
        Ok(appended)
    }

    /// The result of this very commit, if it was made before. Its first event then follows the expected version.
    fn own_commit(&self, request: &AppendRequest) -> Option<CommitReceipt> {
        let target = &request.expected()[request.events().first()?.stream];
        let events = self.of_stream(&target.stream, self.head());
        let first = events
            .into_iter()
            .find(|event| event.version == target.version.plus(1))?;
        let events = request.events().len();
        (first.event_id == request.event_id(0)).then(|| CommitReceipt {
            position: first.position.plus(events as u64 - 1),
            events,
            repeated: false,
        })
    }
}

/// The head of a stream with these events.
fn head(events: &[&RecordedEvent]) -> StreamHead {
    events.last().map_or(StreamHead::EMPTY, |last| {
        StreamHead::new(last.version, last.event_id)
    })
}

/// Returns the number of these events that a page takes: at most `limit` and 8 MiB, or one larger event.
fn fitting<'a>(events: impl Iterator<Item = &'a RecordedEvent>, limit: usize) -> usize {
    let mut bytes = 0;
    let fits = |(number, event): &(usize, &RecordedEvent)| {
        bytes += event.payload.len();
        *number == 0 || bytes <= MAX_PAGE_BYTES
    };
    events
        .take(limit.clamp(1, MAX_PAGE_EVENTS))
        .enumerate()
        .take_while(fits)
        .count()
}

mod contract {
    eventcore::contract_tests!(async { super::ListStore::default() });
}

#[test]
fn an_empty_stream_has_no_head() {
    let nothing = Log::default();
    let stream = StreamId::new("list-1").unwrap();
    assert_eq!(nothing.head_of(&stream).version(), Version::EMPTY);
}
