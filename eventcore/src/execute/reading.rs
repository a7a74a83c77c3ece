//! The streams that an attempt has read: their versions, and the check that no event was missed.

use crate::{
    Version,
    store::{
        EventStoreError, ExpectedVersion, IdempotencyKey, MAX_PAGE_EVENTS, ReadStreamsRequest,
        StreamCursor, StreamHead, StreamPage,
    },
    stream::StreamId,
};

/// The maximum number of events in a first page, which is all that most streams have.
const FIRST_PAGE: usize = 128;

/// All streams read in this attempt, in the order of reading. A round reads those from `round` on.
#[derive(Debug)]
pub(super) struct Reading {
    streams: Vec<ReadStream>,
    round: usize,
    /// `true` if the streams are read from where a cached state ends.
    recalled: bool,
    /// The maximum number of events in the next page.
    limit: usize,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            round: 0,
            recalled: false,
            limit: FIRST_PAGE,
        }
    }
}

#[derive(Debug)]
struct ReadStream {
    id: StreamId,
    /// The stream's last event in the snapshot, which the append expects. Before a round, the last
    /// event that was read or cached earlier.
    head: StreamHead,
    seen: Version,
}

impl Reading {
    /// Starts a round that also reads these streams.
    pub(super) fn add(&mut self, streams: impl IntoIterator<Item = StreamId>) {
        self.round = self.streams.len();
        let new = |id| ReadStream {
            id,
            head: StreamHead::EMPTY,
            seen: Version::EMPTY,
        };
        self.streams.extend(streams.into_iter().map(new));
    }

    /// Starts a round that reads only the newer events of all streams.
    pub(super) fn read_on(&mut self) {
        self.round = 0;
    }

    /// Continues from cached heads of the streams, in their order.
    pub(super) fn recall(&mut self, heads: &[StreamHead]) {
        for (stream, head) in self.streams.iter_mut().zip(heads) {
            stream.head = *head;
            stream.seen = head.version();
        }
        self.recalled = true;
    }

    /// Returns `true` if the first page of a round continues the events known before, which were
    /// cached or read before a conflict. An event's id identifies all earlier events of its stream
    /// as well.
    pub(super) fn recognizes(&self, page: &StreamPage) -> bool {
        let mut streams = self.current().iter().zip(&page.streams);
        streams.all(|(stream, extent)| {
            // A server that lags behind what this command itself has read is reported as such, see
            // `behind`.
            let lags = !self.recalled && extent.head.version() < stream.seen;
            lags || stream.head.event_id() == extent.after
        })
    }

    /// Returns `true` if no event has been read yet.
    pub(super) fn is_new(&self) -> bool {
        self.streams
            .iter()
            .all(|stream| stream.seen == Version::EMPTY)
    }

    /// Returns the heads of the streams, all of whose events have been read.
    pub(super) fn heads(&self) -> Vec<StreamHead> {
        self.streams.iter().map(|stream| stream.head).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Returns the number of the first stream of this round.
    pub(super) fn round_start(&self) -> usize {
        self.round
    }

    pub(super) fn position_of(&self, id: &StreamId) -> Option<usize> {
        self.streams.iter().position(|stream| stream.id == *id)
    }

    pub(super) fn version(&self, stream: usize) -> Version {
        self.streams
            .get(stream)
            .map_or(Version::EMPTY, |stream| stream.head.version())
    }

    fn current(&self) -> &[ReadStream] {
        self.streams.get(self.round..).unwrap_or_default()
    }

    /// Returns the request for the next page of this round.
    pub(super) fn request(
        &self,
        page: Option<&StreamPage>,
        key: Option<&IdempotencyKey>,
    ) -> ReadStreamsRequest {
        let cursor = |stream: &ReadStream| StreamCursor {
            stream: stream.id.clone(),
            after: stream.seen,
        };
        ReadStreamsRequest {
            streams: self.current().iter().map(cursor).collect(),
            snapshot: page.map(|page| page.snapshot),
            limit: self.limit,
            idempotency_key: key.filter(|_| page.is_none() && self.round == 0).cloned(),
        }
    }

    /// Records a page and returns `true` if it was the last one. Detects a store that left out an
    /// event.
    pub(super) fn take(&mut self, page: &StreamPage, first: bool) -> Result<bool, EventStoreError> {
        let current = self.streams.get_mut(self.round..).unwrap_or_default();
        self.recalled = false;
        if page.streams.len() != current.len() {
            return Err(corrupt(
                "the store answered for other streams than it was asked for",
            ));
        }
        for (stream, extent) in current.iter_mut().zip(&page.streams) {
            let known = if first {
                stream.seen
            } else {
                stream.head.version()
            };
            if extent.head.version() < known {
                return Err(behind(stream, extent.head.version(), known));
            }
            if first {
                stream.head = extent.head;
            } else if stream.head != extent.head {
                return Err(replaced(stream));
            }
        }
        for event in &page.events {
            let Some(stream) = current.get_mut(event.stream) else {
                return Err(corrupt(
                    "the store answered with an event of a stream that it was not asked for",
                ));
            };
            if event.version != stream.seen.plus(1) {
                let (id, seen) = (&stream.id, stream.seen);
                return Err(corrupt(format!(
                    "in stream `{id}`, event {} follows on event {seen}",
                    event.version
                )));
            }
            stream.seen = event.version;
        }
        // Otherwise, the rest of the stream would be requested again and again.
        if let Some(stream) = current
            .iter()
            .find(|stream| stream.seen > stream.head.version())
        {
            return Err(corrupt(format!(
                "event {} of stream `{}` was read, which is now at version {}: the store has gone back, or answers from a \
                 replica that lags behind",
                stream.seen,
                stream.id,
                stream.head.version()
            )));
        }
        self.limit = MAX_PAGE_EVENTS;
        let complete = current
            .iter()
            .all(|stream| stream.seen == stream.head.version());
        match current
            .iter()
            .find(|stream| stream.seen < stream.head.version())
        {
            Some(stream) if page.events.is_empty() => Err(corrupt(format!(
                "stream `{}` is at version {} and ends after event {}",
                stream.id,
                stream.head.version(),
                stream.seen
            ))),
            _ => Ok(complete),
        }
    }

    pub(super) fn expected(&self) -> Vec<ExpectedVersion> {
        let expected = |stream: &ReadStream| ExpectedVersion::new(stream.id.clone(), stream.head);
        self.streams.iter().map(expected).collect()
    }
}

/// Returns the error for a server that lags behind. Each page may come from a different server, and
/// a replaced leader that does not know it yet returns old data.
fn behind(stream: &ReadStream, version: Version, known: Version) -> EventStoreError {
    let source = format!(
        "stream `{}` was read at version {known} and is now at version {version}: the server that answers lags behind the \
         one that answered before, or the store has gone back",
        stream.id
    );
    EventStoreError::Unavailable {
        source: source.into(),
    }
}

/// Returns the error for pages of one snapshot that disagree on the last event of a stream.
fn replaced(stream: &ReadStream) -> EventStoreError {
    let source = format!(
        "stream `{}` has another event at version {} than the page before said: the store has gone back, or another server \
         answers",
        stream.id,
        stream.head.version()
    );
    EventStoreError::Unavailable {
        source: source.into(),
    }
}

fn corrupt(reason: impl Into<String>) -> EventStoreError {
    EventStoreError::Corrupt {
        reason: reason.into(),
    }
}
