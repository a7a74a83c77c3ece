//! Requests to read events, and their results.

use std::sync::Arc;

use bytes::Bytes;

use super::{Appended, EventFilter, IdempotencyKey};
use crate::{
    Position, Version,
    event::{DecodeError, Event, EventId, RecordedEvent},
    stream::StreamId,
};

/// The most events that one page holds.
///
/// A page is read whole, so this and [`MAX_PAGE_BYTES`] bound the memory of a read.
pub const MAX_PAGE_EVENTS: usize = 1024;

/// The most bytes of payloads that one page holds, unless its first event alone has more. A store may count metadata too.
pub const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// The room that is left in a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    events: usize,
    bytes: usize,
    /// The first event always fits, or a reader would never get past a large one.
    is_empty: bool,
}

impl Room {
    /// The room of a page of at most `limit` events and `bytes` bytes.
    pub(crate) fn new(limit: usize, bytes: usize) -> Self {
        Self {
            events: limit.clamp(1, MAX_PAGE_EVENTS),
            bytes,
            is_empty: true,
        }
    }

    /// The number of events that there is still room for.
    #[cfg(feature = "sqlite")]
    pub(crate) fn events(&self) -> usize {
        self.events
    }

    /// Takes the room of an event of so many bytes; returns false if there is none, and from then on.
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
/// A version alone does not identify a history: after a restore from a backup, another event can have the same one. The
/// id does, and since every commit [expects](super::ExpectedVersion) the ids that it was decided on, it identifies all
/// earlier events of the stream as well.
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

    /// The head of a stream whose last event has this version and id. There is no event at version 0, so that gives
    /// [`EMPTY`](Self::EMPTY).
    pub const fn new(version: Version, event_id: EventId) -> Self {
        if version.get() == 0 {
            return Self::EMPTY;
        }
        Self {
            version,
            event_id: Some(event_id),
        }
    }

    /// The version of the stream.
    pub const fn version(self) -> Version {
        self.version
    }

    /// The id of its last event; `None` for a stream without events.
    pub const fn event_id(self) -> Option<EventId> {
        self.event_id
    }
}

/// One requested stream as a snapshot holds it, apart from its events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamExtent {
    /// Its last event in the snapshot.
    pub head: StreamHead,
    /// The id of the event at the cursor's [`after`](StreamCursor::after); `None` if that is 0 or the snapshot has no
    /// such event. A reader that goes on from what it knows compares it with the id that it knows.
    pub after: Option<EventId>,
}

/// The point from which a stream is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamCursor {
    /// The stream.
    pub stream: StreamId,
    /// Events after this version are read.
    pub after: Version,
}

/// A request for one page of the events of several streams.
///
/// The first page is read with `up_to: None`: it opens a snapshot, names it ([`StreamsPage::snapshot`]), and gives the
/// head of every stream in it. Further pages move each cursor to the version that was last seen and repeat the
/// snapshot in `up_to`. Since positions are dense and nothing is ever changed, that is the same snapshot, and no
/// transaction is held open between pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadStreams {
    /// The streams, each once.
    pub streams: Vec<StreamCursor>,
    /// The snapshot to read from; `None` for the present.
    pub up_to: Option<Position>,
    /// The most events to return, at most [`MAX_PAGE_EVENTS`]. A page of large events has fewer, see [`MAX_PAGE_BYTES`].
    pub limit: usize,
    /// Also look up whether a commit with this key was made.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// A page of the events of several streams, in global commit order.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamsPage {
    /// Each requested stream in the snapshot, in the order of the request.
    pub streams: Vec<StreamExtent>,
    /// The events, ordered by position; none only if there are no more in the snapshot. Large events are fewer than were
    /// asked for ([`MAX_PAGE_BYTES`]): there are more while a stream was not read up to its version.
    pub events: Vec<StreamEvent>,
    /// The position of the store's latest event when the snapshot was taken.
    pub snapshot: Position,
    /// The earlier commit with the requested idempotency key, if there is one. Then the command is done, so neither
    /// streams nor events are read, and both are empty.
    pub already_committed: Option<Appended>,
}

impl StreamsPage {
    /// The version of each requested stream in the snapshot, in the order of the request.
    pub fn versions(&self) -> Vec<Version> {
        self.streams
            .iter()
            .map(|extent| extent.head.version())
            .collect()
    }
}

/// One event as a command needs it: no envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEvent {
    /// The index of its stream among the requested ones.
    pub stream: usize,
    /// Its version in that stream.
    pub version: Version,
    /// Its position among all events.
    pub position: Position,
    /// Its stored name.
    pub type_name: Arc<str>,
    /// Its payload, JSON.
    pub payload: Bytes,
}

impl StreamEvent {
    /// The event itself.
    ///
    /// # Errors
    /// [`DecodeError`] when it is none of the type's events, or its payload does not fit.
    pub fn decode<E: Event>(&self) -> Result<E, DecodeError> {
        E::decode(&self.type_name, &self.payload)
    }
}

/// A request for one page of a feed: events of all streams, filtered.
///
/// ```
/// # async fn f(store: impl eventcore::EventStore) -> Result<(), eventcore::EventStoreError> {
/// use eventcore::{EventFilter, Position, store::ReadFeed};
///
/// let mut after = Position::START;
/// loop {
///     let page = store.read_feed(ReadFeed { after, filter: EventFilter::All, limit: 100 }).await?;
///     for event in &page.events {
///         println!("{} {}", event.position, event.type_name);
///     }
///     if page.up_to == after {
///         break; // Nothing is there yet.
///     }
///     after = page.up_to;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFeed {
    /// Events after this position are read.
    pub after: Position,
    /// The selected events.
    pub filter: EventFilter,
    /// The most events to return, at most [`MAX_PAGE_EVENTS`]. A page of large events has fewer, see [`MAX_PAGE_BYTES`].
    pub limit: usize,
}

/// A page of a feed, in commit order, with whole envelopes.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedPage {
    /// The events that match, ordered by position.
    pub events: Vec<RecordedEvent>,
    /// Every event after the requested position and at or before this one was looked at, so the next page begins after
    /// it: the position of the page's last event if the page is full, so that there may be more, else that of the
    /// store's latest event. It is before the requested position only if the store has no event there: it lost some, or is another store.
    pub up_to: Position,
    /// The position of the store's latest event when the page was read. There may be more events in the feed while
    /// `up_to` is before it.
    pub head: Position,
}
