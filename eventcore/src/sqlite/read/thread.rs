//! Reader threads. Each answers the queued reads in batches, one snapshot per batch.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::{mpsc, oneshot};

use crate::store::{
    EventStoreError, FeedPage, MAX_PAGE_BYTES, MAX_PAGE_EVENTS, ReadFeedRequest,
    ReadStreamsRequest, Room, Snapshot, StreamCursor, StreamEvent, StreamExtent, StreamHead,
    StreamPage,
};
use crate::{
    Position, Version,
    sqlite::{
        Reply,
        convert::{event_id, find_by_idempotency_key, sql},
        error::{Shared, of_read},
        read::interner::{Names, StreamIds},
    },
};

/// The maximum number of reads answered from one snapshot.
const BATCH: usize = 256;

pub(crate) enum Job {
    Streams {
        request: ReadStreamsRequest,
        reply: Reply<StreamPage>,
    },
    Feed {
        request: ReadFeedRequest,
        reply: Reply<FeedPage>,
    },
    /// Finish the queued reads and stop. The sender is dropped when the connection is closed.
    Close(oneshot::Sender<()>),
}

/// The limits of a page.
struct Bounds {
    /// The last visible position.
    snapshot: Position,
    /// The last position that belongs to the page.
    page: Position,
    limit: usize,
    /// The number of bytes that may still be read, for a reader that refuses longer pages.
    left: Option<usize>,
}

impl Bounds {
    /// Ends the page after the last of these events: the events that follow it are left to later
    /// pages.
    fn end_after(&mut self, events: &[StreamEvent]) {
        if let Some(last) = events.last() {
            self.page = self.page.min(last.position);
        }
    }
}

/// The maximum size of a page.
#[derive(Clone, Copy)]
pub(crate) struct PageLimits {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    /// `true` if a page with more bytes is refused rather than ended before the event that exceeds
    /// the limit.
    pub(crate) is_strict: bool,
}

impl Default for PageLimits {
    fn default() -> Self {
        Self {
            events: MAX_PAGE_EVENTS,
            bytes: MAX_PAGE_BYTES,
            is_strict: false,
        }
    }
}

pub(crate) struct Reader {
    pub(crate) connection: Connection,
    pub(crate) names: Names,
    pub(crate) limits: PageLimits,
    /// The latest position in the snapshot, once it has been read.
    head: Option<Position>,
}

impl Reader {
    pub(crate) fn new(connection: Connection, limits: PageLimits, ids: StreamIds) -> Self {
        Self {
            connection,
            limits,
            names: Names::new(ids),
            head: None,
        }
    }

    /// Runs until the store is closed or its last handle is dropped, and the queue is empty.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let (mut jobs, mut closing) = (Vec::new(), Vec::new());
        while queue.blocking_recv_many(&mut jobs, BATCH) > 0 {
            let snapshot = self.begin().map_err(Shared::from);
            for job in jobs.drain(..) {
                match job {
                    Job::Streams { reply, .. } if reply.is_closed() => {}
                    Job::Feed { reply, .. } if reply.is_closed() => {}
                    Job::Streams { request, reply } => {
                        let _ = reply.send(match &snapshot {
                            Ok(()) => self.page(&request),
                            Err(error) => Err(error.nothing_written(None)),
                        });
                    }
                    Job::Feed { request, reply } => {
                        let _ = reply.send(match &snapshot {
                            Ok(()) => self.feed(&request),
                            Err(error) => Err(error.nothing_written(None)),
                        });
                    }
                    Job::Close(closed) => {
                        queue.close();
                        closing.push(closed);
                    }
                }
            }
            if self.statement("COMMIT").is_err() {
                // Otherwise the next BEGIN would be inside this transaction.
                let _ = self.statement("ROLLBACK");
            }
        }
        // A caller that waits for the end also waits for the connection to close.
        drop(self);
        drop(closing);
    }

    /// Reads a page in its own snapshot. Returns `None` if the page exceeds this reader's limits or
    /// the read fails.
    pub(crate) fn short_page(&mut self, request: &ReadStreamsRequest) -> Option<StreamPage> {
        self.begin().ok()?;
        let page = self.page(request);
        if self.statement("COMMIT").is_err() {
            let _ = self.statement("ROLLBACK");
        }
        let is_whole = |page: &StreamPage| {
            page.events.len() < self.limits.events || request.limit <= self.limits.events
        };
        page.ok().filter(is_whole)
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        self.head = None;
        self.statement("BEGIN")
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn page(&mut self, request: &ReadStreamsRequest) -> Result<StreamPage, EventStoreError> {
        let head = self.head().map_err(of_read)?;
        let snapshot = request.snapshot.unwrap_or(head).min(head);
        let key = request.idempotency_key.as_ref();
        if let Some(key) = key
            && let Some(keyed) = find_by_idempotency_key(&self.connection, key).map_err(of_read)?
        {
            let already_committed = Some(keyed.answer(key)?);
            return Ok(StreamPage {
                streams: Vec::new(),
                events: Vec::new(),
                snapshot,
                already_committed,
            });
        }
        let limit = request.limit.clamp(1, self.limits.events);
        let mut streams = Vec::with_capacity(request.streams.len());
        let mut events = Vec::new();
        // Once the page is full, further streams are not read beyond its last event.
        let mut bounds = Bounds {
            snapshot,
            page: snapshot,
            limit,
            left: self.limits.is_strict.then_some(self.limits.bytes),
        };
        for (number, cursor) in request.streams.iter().enumerate() {
            let before = events.len();
            streams.push(self.stream(number, cursor, &mut bounds, &mut events)?);
            if before > 0 && events.len() > before {
                self.merge(&mut bounds, &mut events);
            }
        }
        Ok(StreamPage {
            streams,
            events,
            snapshot,
            already_committed: None,
        })
    }

    /// Ends the page where it is full, after the events of another stream were added.
    fn merge(&self, bounds: &mut Bounds, events: &mut Vec<StreamEvent>) {
        events.sort_by_key(|event| event.position);
        let mut room = Room::new(bounds.limit, self.limits.bytes);
        let fits =
            |event: &&StreamEvent| event.position <= bounds.page && room.take(event.payload.len());
        let fitting = events.iter().take_while(fits).count();
        if fitting < events.len() || fitting == bounds.limit {
            events.truncate(fitting);
            bounds.end_after(events);
        }
    }

    /// Reads the events of one stream that can be in the page; returns the extent of the stream in
    /// the snapshot.
    ///
    /// The event at the cursor is read as well: by its id, a reader can tell whether this is still
    /// the stream that it has read before.
    fn stream(
        &mut self,
        number: usize,
        cursor: &StreamCursor,
        bounds: &mut Bounds,
        events: &mut Vec<StreamEvent>,
    ) -> Result<StreamExtent, EventStoreError> {
        let Some(id) = self.names.stream_id(&self.connection, &cursor.stream)? else {
            return Ok(StreamExtent::default());
        };
        if let Some(snapshot) = self.snapshot(id, cursor, bounds)? {
            let after = snapshot.head.version();
            let mut extent = self.events(number, id, after, bounds, events)?;
            extent.after = None;
            extent.snapshot = Some(snapshot);
            return Ok(extent);
        }
        self.events(number, id, cursor.after, bounds, events)
    }

    /// Returns the requested snapshot if the stream has the event that it covers last. One that
    /// cannot be read does not count.
    fn snapshot(
        &self,
        stream: i64,
        cursor: &StreamCursor,
        bounds: &mut Bounds,
    ) -> Result<Option<Snapshot>, EventStoreError> {
        let Some(kind) = &cursor.snapshot else {
            return Ok(None);
        };
        let query = "SELECT s.version, s.event_id, s.state FROM snapshots s
                       JOIN events e ON e.stream = s.stream AND e.version = s.version AND e.event_id = s.event_id
                      WHERE s.stream = ?1 AND s.name = ?2 AND s.revision = ?3 AND e.version > ?4 AND e.position <= ?5";
        let values = params![
            stream,
            &*kind.name,
            kind.revision,
            sql(cursor.after.get()),
            sql(bounds.snapshot.get()),
        ];
        let read = |row: &Row<'_>| {
            Ok(Snapshot {
                head: StreamHead::new(Version::new(row.get(0)?), event_id(row, 1)?),
                state: Bytes::copy_from_slice(row.get_ref(2)?.as_bytes()?),
            })
        };
        let mut statement = self.connection.prepare_cached(query).map_err(of_read)?;
        let Ok(Some(snapshot)) = statement.query_row(values, read).optional() else {
            return Ok(None);
        };
        if let Some(left) = &mut bounds.left {
            *left = left
                .checked_sub(snapshot.state.len())
                .ok_or_else(too_long)?;
        }
        Ok(Some(snapshot))
    }

    /// Reads the events of one stream after a version that can be in the page; returns the extent of
    /// the stream in the snapshot.
    fn events(
        &mut self,
        number: usize,
        id: i64,
        after: Version,
        bounds: &mut Bounds,
        events: &mut Vec<StreamEvent>,
    ) -> Result<StreamExtent, EventStoreError> {
        let query = "SELECT version, position, type, event_id, payload FROM events
                     WHERE stream = ?1 AND version >= ?2 ORDER BY version LIMIT ?3";
        let before = events.len();
        let mut extent = StreamExtent::default();
        let mut room = Room::new(bounds.limit, self.limits.bytes);
        let (mut passed_snapshot, mut passed_page, mut is_full) = (false, false, false);
        {
            let mut statement = self.connection.prepare_cached(query).map_err(of_read)?;
            let looked_at = usize::from(after != Version::EMPTY);
            let limit = i64::try_from(bounds.limit.saturating_add(looked_at)).unwrap_or(i64::MAX);
            let mut rows = statement
                .query(params![id, sql(after.get()), limit])
                .map_err(of_read)?;
            while let Some(row) = rows.next().map_err(of_read)? {
                let position = Position::new(row.get(1).map_err(of_read)?);
                passed_snapshot = position > bounds.snapshot;
                if passed_snapshot {
                    break;
                }
                let version = Version::new(row.get(0).map_err(of_read)?);
                let event_id = event_id(row, 3).map_err(of_read)?;
                if version == after {
                    extent.after = Some(event_id);
                    extent.head = StreamHead::new(version, event_id);
                    continue;
                }
                passed_page = position > bounds.page;
                if passed_page {
                    break;
                }
                let payload = text(row, 4)?;
                if let Some(left) = &mut bounds.left {
                    *left = left.checked_sub(payload.len()).ok_or_else(too_long)?;
                }
                is_full = !room.take(payload.len());
                if is_full {
                    break;
                }
                extent.head = StreamHead::new(version, event_id);
                let event_type: i64 = row.get(2).map_err(of_read)?;
                let type_name = self.names.type_name(&self.connection, event_type)?;
                events.push(StreamEvent {
                    stream: number,
                    version,
                    position,
                    type_name,
                    payload: Bytes::copy_from_slice(payload),
                });
            }
        }
        is_full |= events.len() - before == bounds.limit;
        if is_full {
            bounds.end_after(events);
        }
        // If there are no more events, the stream ends here; if there were none at all, `after` may
        // be beyond its end.
        let ended = passed_snapshot || !passed_page && !is_full;
        if ended && (extent.head != StreamHead::EMPTY || after == Version::EMPTY) {
            return Ok(extent);
        }
        let query = "SELECT version, event_id FROM events
                     WHERE stream = ?1 AND position <= ?2 ORDER BY version DESC LIMIT 1";
        let mut statement = self.connection.prepare_cached(query).map_err(of_read)?;
        let mut rows = statement
            .query(params![id, sql(bounds.snapshot.get())])
            .map_err(of_read)?;
        extent.head = match rows.next().map_err(of_read)? {
            Some(row) => StreamHead::new(
                Version::new(row.get(0).map_err(of_read)?),
                event_id(row, 1).map_err(of_read)?,
            ),
            None => StreamHead::EMPTY,
        };
        Ok(extent)
    }

    pub(crate) fn head(&mut self) -> rusqlite::Result<Position> {
        if let Some(head) = self.head {
            return Ok(head);
        }
        head(&self.connection).map(|head| *self.head.insert(head))
    }
}

/// The error of a page that exceeds the limits. It is only returned to the inline reader, which
/// falls back to the threads on any error.
fn too_long() -> EventStoreError {
    EventStoreError::Other {
        source: "the page has more bytes than this reader reads".into(),
    }
}

/// Returns the position of the latest event.
pub(crate) fn head(connection: &Connection) -> rusqlite::Result<Position> {
    let sql = "SELECT max(position) FROM events";
    let head: Option<u64> = connection
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0))?;
    Ok(Position::new(head.unwrap_or(0)))
}

/// Returns the bytes of a payload, which are valid until the next row.
///
/// They are not checked for UTF-8 here: an unreadable payload affects one event, which the decoder
/// reports, and the events around it stay readable.
pub(crate) fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8], EventStoreError> {
    let text = row.get_ref(column).map_err(of_read)?;
    text.as_bytes()
        .map_err(|error| EventStoreError::unreadable(&error))
}
