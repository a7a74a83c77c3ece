//! The streams that an attempt reads: their versions and states, and the check that no event was
//! missed.

use std::sync::{Arc, MutexGuard};

use super::states::{Moved, Settling, State, StreamFold, Unfolded};
use crate::{
    Position, Version,
    command::Folding,
    store::{
        Content, Entry, EventStoreError, ExpectedVersion, IdempotencyKey, MAX_PAGE_EVENTS,
        NewSnapshot, ReadStreamsRequest, StateCache, StreamCursor, StreamEvent, StreamExtent,
        StreamHead, StreamPage,
    },
    stream::StreamId,
};

/// The maximum number of events in a first page, which is all that most streams have.
const FIRST_PAGE: usize = 128;
/// The version after which a stream is read if only its head is needed.
const BEYOND_THE_END: Version = Version::new(u64::MAX);

/// All streams read in this attempt, in the order of reading. A round reads those from `round` on.
pub(super) struct Reading {
    streams: Vec<ReadStream>,
    round: usize,
    /// `true` until the first page of the round has come.
    is_first: bool,
    /// The snapshot that the pages of this round are read from.
    snapshot: Option<Position>,
    /// The maximum number of events in the next page.
    limit: usize,
    /// `true` if the command folds the events itself.
    needs_events: bool,
    /// The position as of which the streams are read; `None` for now.
    at: Option<Position>,
    /// The number of times in a row that shared states were changed during a read.
    moved: u32,
    /// Snapshots that are due.
    snapshots: Vec<NewSnapshot>,
}

struct ReadStream {
    id: StreamId,
    /// The stream's last event in the snapshot, which the append expects. Before a round, the last
    /// event that is known.
    head: StreamHead,
    seen: Version,
    /// The version up to which this reader itself has seen the stream.
    own: Version,
    fold: StreamFold,
}

impl ReadStream {
    fn begin(&mut self, goes_on: bool) {
        if let Some(head) = self.fold.begin(goes_on) {
            self.head = head;
            self.seen = head.version();
        }
    }

    fn unfolded(&self, event: StreamEvent, why: Unfolded) -> FoldError {
        FoldError {
            stream: self.id.clone(),
            event,
            why,
        }
    }
}

/// The error for an event that could not be folded into the state of its stream.
pub(super) struct FoldError {
    pub(super) stream: StreamId,
    pub(super) event: StreamEvent,
    pub(super) why: Unfolded,
}

/// The reasons why a page does not complete a read.
pub(super) enum Unread {
    /// The store, or what it returned, is at fault.
    Store(EventStoreError),
    /// The store does not have what was known of a stream, or a snapshot is unusable: begin again.
    Again,
    Fold(Box<FoldError>),
}

impl From<EventStoreError> for Unread {
    fn from(error: EventStoreError) -> Self {
        Self::Store(error)
    }
}

/// The locked states of all streams, up to date.
pub(super) struct Settled<'e> {
    contents: Vec<Option<MutexGuard<'e, Content>>>,
}

impl Settled<'_> {
    /// Returns the states in the order of reading.
    pub(super) fn states<'s>(&'s self, reading: &'s Reading) -> Vec<&'s State> {
        let streams = reading.streams.iter().zip(&self.contents);
        streams
            .map(|(stream, content)| stream.fold.state(content.as_ref()))
            .collect()
    }

    /// Returns a state to keep.
    pub(super) fn keep(
        &self,
        reading: &Reading,
        stream: usize,
    ) -> Option<Arc<dyn std::any::Any + Send + Sync>> {
        let content = self.contents.get(stream)?.as_ref();
        reading
            .streams
            .get(stream)?
            .fold
            .any_state(content)
            .cloned()
    }
}

impl Reading {
    pub(super) fn new(needs_events: bool) -> Self {
        Self {
            streams: Vec::new(),
            round: 0,
            is_first: true,
            snapshot: None,
            limit: FIRST_PAGE,
            needs_events,
            at: None,
            moved: 0,
            snapshots: Vec::new(),
        }
    }

    /// Creates a reading of the states of streams, as of a position or now.
    pub(super) fn at(position: Option<Position>) -> Self {
        Self {
            at: position,
            ..Self::new(false)
        }
    }

    /// Starts a round that also reads these streams, and only them.
    pub(super) fn add(&mut self, streams: impl IntoIterator<Item = (StreamId, &'static Folding)>) {
        self.round = self.streams.len();
        let needs_events = self.needs_events;
        let new = |(id, folding)| ReadStream {
            id,
            head: StreamHead::EMPTY,
            seen: Version::EMPTY,
            own: Version::EMPTY,
            fold: StreamFold::new(folding, needs_events),
        };
        self.streams.extend(streams.into_iter().map(new));
        self.begin(false);
    }

    /// Starts a round that reads only the newer events of all streams.
    pub(super) fn read_on(&mut self) {
        self.round = 0;
        self.begin(true);
    }

    /// Starts the current round over, without what proved wrong.
    pub(super) fn read_again(&mut self) {
        self.begin(false);
    }

    fn begin(&mut self, goes_on: bool) {
        self.is_first = true;
        self.snapshot = self.at;
        for stream in self.streams.iter_mut().skip(self.round) {
            stream.begin(goes_on);
        }
    }

    /// Takes the shared states of the streams of this round from the cache, if it has just begun.
    pub(super) fn share(&mut self, cache: &StateCache) {
        if !self.is_first {
            return;
        }
        let streams = self.streams.iter_mut().skip(self.round);
        let mut wanted = streams
            .filter(|stream| stream.fold.wants_entry())
            .peekable();
        if wanted.peek().is_none() {
            return;
        }
        let mut cache = cache.open();
        for stream in wanted {
            let entry = cache.entry(&stream.id, (stream.fold.folding().types)());
            stream.fold.set_entry(entry);
        }
        // An entry may be in use for a while; the cache must not be locked for as long.
        drop(cache);
        for stream in self.streams.iter_mut().skip(self.round) {
            stream.begin(true);
        }
    }

    /// Changes the type of a stream's state, which a resolver has moved to another slot. Returns
    /// `true` if the state must be folded anew, by [`read_all`](Self::read_all).
    pub(super) fn refit(&mut self, stream: usize, folding: &'static Folding) -> bool {
        let needs_events = self.needs_events;
        let Some(stream) = self.streams.get_mut(stream) else {
            return false;
        };
        let changes = (stream.fold.folding().types)() != (folding.types)();
        if changes {
            stream.fold = StreamFold::new(folding, needs_events);
        }
        changes
    }

    /// Starts reading all streams again.
    pub(super) fn read_all(&mut self) {
        self.round = 0;
        self.begin(false);
    }

    /// Returns the position of the store's latest event in the snapshot of the last round.
    pub(super) fn snapshot(&self) -> Position {
        self.snapshot.unwrap_or_default()
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
    pub(super) fn request(&self, key: Option<&IdempotencyKey>) -> ReadStreamsRequest {
        let cursor = |stream: &ReadStream| StreamCursor {
            stream: stream.id.clone(),
            after: if stream.fold.is_unit() {
                BEYOND_THE_END
            } else {
                stream.seen
            },
            snapshot: if self.is_first && stream.seen == Version::EMPTY {
                stream.fold.wanted_snapshot().map(|wanted| wanted.kind())
            } else {
                None
            },
        };
        ReadStreamsRequest {
            streams: self.current().iter().map(cursor).collect(),
            snapshot: self.snapshot,
            limit: self.limit,
            idempotency_key: key.filter(|_| self.is_first && self.round == 0).cloned(),
        }
    }

    /// Takes the first page's extents: compares what is known of each stream with what the store
    /// has, and starts from snapshots. Returns `false` if the round must begin again.
    fn recognize(&mut self, page: &StreamPage) -> bool {
        let mut all = true;
        let streams = self.streams.iter_mut().skip(self.round);
        for (stream, extent) in streams.zip(&page.streams) {
            // A server that lags behind what this reader itself has seen is reported as such, see
            // `behind`.
            if stream.fold.is_unit() || extent.head.version() < stream.own {
                continue;
            }
            if stream.head.event_id() != extent.after {
                tracing::debug!(
                    stream = %stream.id,
                    "the store does not have what was known of this stream; it is read from the start"
                );
                stream.fold.forget();
                all = false;
            } else if let Some(snapshot) = &extent.snapshot
                && stream.seen == Version::EMPTY
            {
                if stream.fold.take_snapshot(&stream.id, snapshot) {
                    stream.seen = snapshot.head.version();
                } else {
                    all = false;
                }
            }
        }
        all
    }

    /// Takes a page, without its events, and returns `true` if it is the last one of the round.
    /// Detects a store that left out an event.
    pub(super) fn take(&mut self, page: &StreamPage) -> Result<bool, Unread> {
        let first = self.is_first;
        if page.streams.len() != self.current().len() {
            let reason = "the store answered for other streams than it was asked for";
            return Err(EventStoreError::corrupt(reason).into());
        }
        if first && !self.recognize(page) {
            return Err(Unread::Again);
        }
        let current = self.streams.get_mut(self.round..).unwrap_or_default();
        for (stream, extent) in current.iter_mut().zip(&page.streams) {
            take_extent(stream, extent, first)?;
        }
        for event in &page.events {
            let Some(stream) = current.get_mut(event.stream) else {
                return Err(EventStoreError::corrupt(
                    "the store answered with an event of a stream that it was not asked for",
                )
                .into());
            };
            if event.version != stream.seen.plus(1) {
                let (id, seen) = (&stream.id, stream.seen);
                return Err(EventStoreError::corrupt(format!(
                    "in stream `{id}`, event {} follows on event {seen}",
                    event.version
                ))
                .into());
            }
            stream.seen = event.version;
        }
        // Otherwise, the rest of the stream would be requested again and again.
        if let Some(stream) = current
            .iter()
            .find(|stream| stream.seen > stream.head.version())
        {
            return Err(EventStoreError::corrupt(format!(
                "event {} of stream `{}` was read, which is now at version {}: the store has gone back, or answers from a \
                 replica that lags behind",
                stream.seen,
                stream.id,
                stream.head.version()
            ))
            .into());
        }
        for stream in &mut *current {
            stream.own = stream.own.max(stream.seen);
        }
        self.limit = MAX_PAGE_EVENTS;
        self.is_first = false;
        self.snapshot = Some(page.snapshot);
        match current
            .iter()
            .find(|stream| stream.seen < stream.head.version())
        {
            Some(stream) if page.events.is_empty() => Err(EventStoreError::corrupt(format!(
                "stream `{}` is at version {} and ends after event {}",
                stream.id,
                stream.head.version(),
                stream.seen
            ))
            .into()),
            unfinished => Ok(unfinished.is_none()),
        }
    }

    /// Folds the events of a page into the states of their streams. Unless the page is `complete`,
    /// no shared state stays in use for a stream that has further events.
    pub(super) fn fold(
        &mut self,
        events: impl IntoIterator<Item = StreamEvent>,
        complete: bool,
    ) -> Result<(), Unread> {
        let current = self.streams.get_mut(self.round..).unwrap_or_default();
        for event in events {
            if let Some(stream) = current.get_mut(event.stream) {
                let added = stream.fold.add(event);
                added
                    .map_err(|(event, why)| Unread::Fold(Box::new(stream.unfolded(event, why))))?;
            }
        }
        if complete {
            return Ok(());
        }
        let unfinished = |stream: &&mut ReadStream| stream.seen < stream.head.version();
        for stream in current.iter_mut().filter(unfinished) {
            match stream.fold.take_over() {
                Ok(()) => {}
                Err(Settling::Moved) => return Err(Unread::Again),
                Err(Settling::Unfolded { event, why }) => {
                    return Err(Unread::Fold(Box::new(stream.unfolded(event, why))));
                }
            }
        }
        Ok(())
    }

    /// Returns the shared entries of all streams, to be locked by [`settle`](Self::settle).
    pub(super) fn entries(&self) -> Vec<Option<Arc<Entry>>> {
        self.streams
            .iter()
            .map(|stream| stream.fold.entry())
            .collect()
    }

    /// Locks the states of all streams and brings them up to date. On [`Moved`], the streams must be
    /// read again with [`read_moved`](Self::read_moved).
    pub(super) fn settle<'e>(
        &mut self,
        entries: &'e [Option<Arc<Entry>>],
    ) -> Result<Result<Settled<'e>, Moved>, Box<FoldError>> {
        let mut contents = self.lock(entries);
        let locked = entries.iter().zip(&mut contents);
        for (stream, (entry, content)) in self.streams.iter_mut().zip(locked) {
            let shared = entry.as_deref().zip(content.as_deref_mut());
            match stream.fold.settle(stream.head, shared) {
                Ok(()) => {}
                Err(Settling::Moved) => return Ok(Err(Moved)),
                Err(Settling::Unfolded { event, why }) => {
                    return Err(Box::new(stream.unfolded(event, why)));
                }
            }
            if let Some(content) = content {
                self.snapshots
                    .extend(stream.fold.snapshot(&stream.id, content));
            }
        }
        self.moved = 0;
        Ok(Ok(Settled { contents }))
    }

    /// Locks the entries in the order of their streams, so that no two readers wait for each other.
    fn lock<'e>(&self, entries: &'e [Option<Arc<Entry>>]) -> Vec<Option<MutexGuard<'e, Content>>> {
        let mut contents: Vec<Option<MutexGuard<'_, Content>>> =
            entries.iter().map(|_| None).collect();
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_unstable_by(|a, b| {
            let id = |index: &usize| self.streams.get(*index).map(|stream| &stream.id);
            id(a).cmp(&id(b))
        });
        for index in order {
            if let (Some(content), Some(Some(entry))) =
                (contents.get_mut(index), entries.get(index))
            {
                *content = Some(entry.lock());
            }
        }
        contents
    }

    /// Starts reading all streams again, after shared states have changed. If that keeps happening,
    /// the states are folded apart from the shared ones.
    pub(super) fn read_moved(&mut self) {
        const PATIENCE: u32 = 3;
        self.moved += 1;
        if self.moved >= PATIENCE {
            for stream in &mut self.streams {
                stream.fold.keep_apart();
            }
        }
        self.read_all();
    }

    /// Returns the snapshots that are due.
    pub(super) fn take_snapshots(&mut self) -> Vec<NewSnapshot> {
        std::mem::take(&mut self.snapshots)
    }

    pub(super) fn expected(&self) -> Vec<ExpectedVersion> {
        let expected = |stream: &ReadStream| ExpectedVersion::new(stream.id.clone(), stream.head);
        self.streams.iter().map(expected).collect()
    }
}

/// Takes the extent of a stream, which must be the same in all pages of a round.
fn take_extent(
    stream: &mut ReadStream,
    extent: &StreamExtent,
    first: bool,
) -> Result<(), EventStoreError> {
    let known = if first {
        stream.own
    } else {
        stream.head.version()
    };
    if extent.head.version() < known {
        return Err(behind(stream, extent.head.version(), known));
    }
    if first {
        stream.head = extent.head;
        if stream.fold.is_unit() {
            stream.seen = extent.head.version();
        }
    } else if stream.head != extent.head {
        return Err(replaced(stream));
    }
    Ok(())
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
