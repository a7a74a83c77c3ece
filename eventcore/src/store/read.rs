//! Requests to read events, and their results.

use std::sync::Arc;

use bytes::Bytes;

use super::{CommitReceipt, EventFilter, IdempotencyKey, Snapshot, SnapshotKind};
use crate::{
    Position, Version,
    event::{DecodeError, Event, EventId, RecordedEvent},
    stream::StreamId,
};

/// The maximum number of events in one page.
///
/// A page is read into memory as a whole, so this and [`MAX_PAGE_BYTES`] bound the memory of a
/// read.
pub const MAX_PAGE_EVENTS: usize = 1024;

/// The maximum size of the payloads in one page, in bytes, unless its first event alone is larger.
/// A store may also count metadata.
pub const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// The room left in a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    events: usize,
    bytes: usize,
    /// `true` until an event is added. The first event always fits; otherwise a reader could never
    /// get past a large one.
    is_empty: bool,
}

impl Room {
    /// Returns the room of an empty page for at most `limit` events and `bytes` bytes.
    pub(crate) fn new(limit: usize, bytes: usize) -> Self {
        Self {
            events: limit.clamp(1, MAX_PAGE_EVENTS),
            bytes,
            is_empty: true,
        }
    }

    /// Returns the number of further events that may fit.
    #[cfg(feature = "sqlite")]
    pub(crate) fn events(&self) -> usize {
        self.events
    }

    /// Reserves room for an event of this size. Returns `false` if there is none, and for every
    /// event after that.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let left = match self.bytes.checked_sub(bytes) {
            Some(left) if self.events > 0 => left,
            None if self.is_empty && self.events > 0 => 0,
            _ => {
                self.events = 0;
                return false;
            }
        };
        self.bytes = left;
        self.events -= 1;
        self.is_empty = false;
        true
    }
}

/// The last event of a stream: its version and its id. For a stream without events, [`EMPTY`](Self::EMPTY).
///
/// A version alone does not identify a history: after a restore from a backup, a different event
/// can have the same version. The id does, and since every commit [expects](super::ExpectedVersion)
/// the ids of the events that it was decided on, it identifies all earlier events of the stream as
/// well.
///
/// ```
/// use eventcore::{CommitId, Version, store::StreamHead};
///
/// let event = CommitId::generate().event(0);
/// assert_eq!(StreamHead::new(Version::new(3), event).event_id(), Some(event));
/// assert_eq!(StreamHead::EMPTY.event_id(), None);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamHead {
    version: Version,
    event_id: Option<EventId>,
}

impl StreamHead {
    /// The head of a stream without events.
    pub const EMPTY: Self = Self {
        version: Version::EMPTY,
        event_id: None,
    };

    /// Creates the head of a stream whose last event has this version and id. There is no event at
    /// version 0, so that version gives [`EMPTY`](Self::EMPTY).
    pub const fn new(version: Version, event_id: EventId) -> Self {
        if version.get() == 0 {
            return Self::EMPTY;
        }
        Self {
            version,
            event_id: Some(event_id),
        }
    }

    /// Returns the version of the stream.
    pub const fn version(self) -> Version {
        self.version
    }

    /// Returns the id of the stream's last event; `None` for a stream without events.
    pub const fn event_id(self) -> Option<EventId> {
        self.event_id
    }
}

/// The extent of one requested stream in a snapshot, without its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamExtent {
    /// The last event of the stream in the snapshot.
    pub head: StreamHead,
    /// The id of the event at the cursor's [`after`](StreamCursor::after); `None` if that is 0 or
    /// the snapshot has no such event. A reader that continues from known events compares it with
    /// the id that it knows.
    pub after: Option<EventId>,
    /// The stored state that the cursor [asked for](StreamCursor::snapshot), if there is one whose
    /// last event the stream has in the snapshot. The events of the page follow it.
    pub snapshot: Option<Snapshot>,
}

/// The point from which a stream is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamCursor {
    /// The stream.
    pub stream: StreamId,
    /// Events after this version are read.
    pub after: Version,
    /// The kind of state to look for, if one is stored: then only the events after it are read. A
    /// store may ignore this, as it may lose its snapshots.
    pub snapshot: Option<SnapshotKind>,
}

impl StreamCursor {
    /// Creates a cursor that reads the events of `stream` after the version `after`.
    pub fn new(stream: StreamId, after: Version) -> Self {
        Self {
            stream,
            after,
            snapshot: None,
        }
    }
}

/// A request for one page of the events of several streams.
///
/// The first page is requested with `snapshot: None`: this opens a snapshot, whose position
/// ([`StreamPage::snapshot`]) is returned with the head of every stream in it. Later requests move
/// each cursor to the last version that was read and pass it in `snapshot`. Since positions
/// are dense and events never change, they read from the same snapshot, and no transaction is held
/// open between pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadStreamsRequest {
    /// The streams; no stream may occur twice.
    pub streams: Vec<StreamCursor>,
    /// The snapshot to read from; `None` for the current state of the store.
    pub snapshot: Option<Position>,
    /// The maximum number of events to return, at most [`MAX_PAGE_EVENTS`]. A page of large events
    /// has fewer, see [`MAX_PAGE_BYTES`].
    pub limit: usize,
    /// The idempotency key of an earlier commit to look up as well.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// A page of the events of several streams, in global commit order.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamPage {
    /// The extent of each requested stream in the snapshot, in the order of the request.
    pub streams: Vec<StreamExtent>,
    /// The events, ordered by position; empty only if the snapshot has no more. A page of large
    /// events has fewer than requested ([`MAX_PAGE_BYTES`]): there are more until every stream has
    /// been read up to its version.
    pub events: Vec<StreamEvent>,
    /// The position of the store's latest event when the snapshot was taken.
    pub snapshot: Position,
    /// The earlier commit with the requested idempotency key, if there is one. The command is then
    /// already done, so streams and events are not read, and both are empty.
    pub already_committed: Option<CommitReceipt>,
}

impl StreamPage {
    /// Returns the version of each requested stream in the snapshot, in the order of the request.
    pub fn versions(&self) -> Vec<Version> {
        self.streams
            .iter()
            .map(|extent| extent.head.version())
            .collect()
    }
}

/// One event as a command needs it, without the envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEvent {
    /// The index of the event's stream among the requested ones.
    pub stream: usize,
    /// The version of the event in that stream.
    pub version: Version,
    /// The position of the event among all events.
    pub position: Position,
    /// The stored name of the event.
    pub type_name: Arc<str>,
    /// The payload, as JSON.
    pub payload: Bytes,
}

impl StreamEvent {
    /// Decodes the event.
    ///
    /// # Errors
    /// Returns [`DecodeError`] if `E` does not know this event type, or the payload does not fit.
    pub fn decode<E: Event>(&self) -> Result<E, DecodeError> {
        E::decode(&self.type_name, &self.payload)
    }
}

/// A request for one page of a feed: events of all streams, filtered.
///
/// ```
/// # async fn f(store: impl eventcore::EventStore) -> Result<(), eventcore::EventStoreError> {
/// use eventcore::{EventFilter, Position, store::ReadFeedRequest};
///
/// let mut after = Position::START;
/// loop {
///     let page = store.read_feed(ReadFeedRequest { after, filter: EventFilter::All, limit: 100 }).await?;
///     for event in &page.events {
///         println!("{} {}", event.position, event.type_name);
///     }
///     if page.scanned_to == after {
///         break; // Nothing is there yet.
///     }
///     after = page.scanned_to;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFeedRequest {
    /// Events after this position are read.
    pub after: Position,
    /// The selected events.
    pub filter: EventFilter,
    /// The maximum number of events to return, at most [`MAX_PAGE_EVENTS`]. A page of large events
    /// has fewer, see [`MAX_PAGE_BYTES`].
    pub limit: usize,
}

/// A page of a feed, in commit order, with complete envelopes.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedPage {
    /// The matching events, ordered by position.
    pub events: Vec<RecordedEvent>,
    /// The position up to which every event after the requested position was examined; the next
    /// page begins after it. If the page is full, so that there may be more events, this is the
    /// position of its last event; otherwise it is that of the store's latest event. It is before
    /// the requested position only if the store has no event there: the store lost events, or it is
    /// a different store.
    pub scanned_to: Position,
    /// The position of the store's latest event when the page was read. While `scanned_to` is before
    /// it, the feed may have more events.
    pub head: Position,
}
