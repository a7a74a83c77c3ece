//! What is asked when events are read, and what comes back.

use std::sync::Arc;

use bytes::Bytes;

use super::{Appended, IdempotencyKey, Position, Version};
use crate::{
    event::{DecodeError, Event},
    stream::StreamId,
};

/// The most events that one page holds. A page is read whole, so this bounds the memory of a read.
pub const MAX_PAGE_EVENTS: usize = 1024;

/// Where the reading of one stream goes on.
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
/// version of every stream in it. Further pages move each cursor to the version that was last seen and repeat the
/// snapshot in `up_to`. Since positions are dense and nothing is ever changed, that is the same snapshot, and no
/// transaction is held open between pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadStreams {
    /// The streams, each once.
    pub streams: Vec<StreamCursor>,
    /// The snapshot to read from; `None` for the present.
    pub up_to: Option<Position>,
    /// The most events to return, at most [`MAX_PAGE_EVENTS`].
    pub limit: usize,
    /// Also look up whether a commit with this key was made.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// A page of the events of several streams, in global commit order.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamsPage {
    /// The version of each requested stream in the snapshot, in the order of the request.
    pub versions: Vec<Version>,
    /// The events, ordered by position. Fewer than the limit mean that there are no more in the snapshot.
    pub events: Vec<StreamEvent>,
    /// The position of the store's latest event when the snapshot was taken.
    pub snapshot: Position,
    /// The earlier commit with the requested idempotency key, if there is one.
    pub already_committed: Option<Appended>,
}

/// One event as a command needs it: no envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEvent {
    /// Which of the requested streams it is from, by index.
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

/// A request for one page of all events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadAll {
    /// Events after this position are read.
    pub after: Position,
    /// Only the events of this stream; `None` for all.
    pub stream: Option<StreamId>,
    /// The most events to return, at most [`MAX_PAGE_EVENTS`].
    pub limit: usize,
}
