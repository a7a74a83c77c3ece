//! A reader thread: answers what is queued, each batch in one snapshot.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::{mpsc, oneshot};

use super::{
    Reply,
    error::{Shared, corrupt, of_read},
    writer::{earlier, sql},
};
use crate::{
    event::{EventId, Metadata, RecordedEvent},
    store::{
        EventStoreError, MAX_PAGE_EVENTS, Position, ReadAll, ReadStreams, StreamCursor,
        StreamEvent, StreamsPage, Version,
    },
    stream::StreamId,
};

/// The most reads answered from one snapshot.
const BATCH: usize = 256;
/// Names that are remembered.
const CACHE: usize = 100_000;

pub(super) enum Job {
    Streams {
        request: ReadStreams,
        reply: Reply<StreamsPage>,
    },
    All {
        request: ReadAll,
        reply: Reply<Vec<RecordedEvent>>,
    },
    /// Finish what is queued and end. The sender is dropped when the connection is closed.
    Close(oneshot::Sender<()>),
}

/// What a page can hold.
struct Bounds {
    /// No event behind it is visible.
    snapshot: Position,
    /// No event behind it has a place.
    page: Position,
    limit: usize,
}

pub(super) struct Reader {
    connection: Connection,
    /// Ids never change once they are committed.
    streams: HashMap<StreamId, i64>,
    types: HashMap<i64, Arc<str>>,
}

impl Reader {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            streams: HashMap::new(),
            types: HashMap::new(),
        }
    }

    /// Runs until the store is closed, or its last handle dropped, and the queue is empty.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let (mut jobs, mut closing) = (Vec::new(), Vec::new());
        while queue.blocking_recv_many(&mut jobs, BATCH) > 0 {
            let snapshot = self.statement("BEGIN").map_err(Shared::from);
            for job in jobs.drain(..) {
                match job {
                    Job::Streams { reply, .. } if reply.is_closed() => {}
                    Job::All { reply, .. } if reply.is_closed() => {}
                    Job::Streams { request, reply } => {
                        let _ = reply.send(match &snapshot {
                            Ok(()) => self.page(&request),
                            Err(error) => Err(error.nothing_written(None)),
                        });
                    }
                    Job::All { request, reply } => {
                        let _ = reply.send(match &snapshot {
                            Ok(()) => self.all(&request),
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
                // Or the next BEGIN would be within this one.
                let _ = self.statement("ROLLBACK");
            }
        }
        // Whoever waits for the end waits for the connection too.
        drop(self);
        drop(closing);
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn page(&mut self, request: &ReadStreams) -> Result<StreamsPage, EventStoreError> {
        let head = self.head().map_err(of_read)?;
        let snapshot = request.up_to.unwrap_or(head).min(head);
        let key = request.idempotency_key.as_ref();
        let already_committed = key
            .map_or(Ok(None), |key| earlier(&self.connection, key.as_str()))
            .map_err(of_read)?;
        let limit = request.limit.clamp(1, MAX_PAGE_EVENTS);
        let mut versions = Vec::with_capacity(request.streams.len());
        let mut events = Vec::new();
        // Once the page is full, what is behind its last event is not read from further streams.
        let mut bounds = Bounds {
            snapshot,
            page: snapshot,
            limit,
        };
        for (number, cursor) in request.streams.iter().enumerate() {
            let before = events.len();
            versions.push(self.stream(number, cursor, &bounds, &mut events)?);
            if before > 0 && events.len() > before {
                events.sort_by_key(|event: &StreamEvent| event.position);
                events.truncate(limit);
            }
            if events.len() >= limit
                && let Some(last) = events.last()
            {
                bounds.page = last.position;
            }
        }
        Ok(StreamsPage {
            versions,
            events,
            snapshot,
            already_committed,
        })
    }

    /// Reads those events of one stream that can be in the page; returns its version in the snapshot.
    fn stream(
        &mut self,
        number: usize,
        cursor: &StreamCursor,
        bounds: &Bounds,
        events: &mut Vec<StreamEvent>,
    ) -> Result<Version, EventStoreError> {
        let Some(id) = self.stream_id(&cursor.stream)? else {
            return Ok(Version::EMPTY);
        };
        let query = "SELECT version, position, type, payload FROM events
                     WHERE stream = ?1 AND version > ?2 ORDER BY version LIMIT ?3";
        let before = events.len();
        let mut last = cursor.after;
        let (mut passed_snapshot, mut passed_page) = (false, false);
        {
            let mut statement = self.connection.prepare_cached(query).map_err(of_read)?;
            let limit = i64::try_from(bounds.limit).unwrap_or(i64::MAX);
            let mut rows = statement
                .query(params![id, sql(cursor.after.get()), limit])
                .map_err(of_read)?;
            while let Some(row) = rows.next().map_err(of_read)? {
                let position = Position::new(row.get(1).map_err(of_read)?);
                passed_snapshot = position > bounds.snapshot;
                passed_page = !passed_snapshot && position > bounds.page;
                if passed_snapshot || passed_page {
                    break;
                }
                last = Version::new(row.get(0).map_err(of_read)?);
                let event_type: i64 = row.get(2).map_err(of_read)?;
                let type_name = type_name(&self.connection, &mut self.types, event_type)?;
                events.push(StreamEvent {
                    stream: number,
                    version: last,
                    position,
                    type_name,
                    payload: payload(row, 3)?,
                });
            }
        }
        // Where the events ran out, the stream ends; if there was none, `after` may be beyond its end.
        let found = events.len() - before;
        let ended = passed_snapshot || !passed_page && found < bounds.limit;
        if ended && (found > 0 || cursor.after == Version::EMPTY) {
            return Ok(last);
        }
        let query = "SELECT version FROM events WHERE stream = ?1 AND position <= ?2 ORDER BY version DESC LIMIT 1";
        let mut statement = self.connection.prepare_cached(query).map_err(of_read)?;
        let version = statement
            .query_row(params![id, sql(bounds.snapshot.get())], |row| row.get(0))
            .optional()
            .map_err(of_read)?;
        Ok(Version::new(version.unwrap_or(0)))
    }

    fn head(&self) -> rusqlite::Result<Position> {
        let sql = "SELECT max(position) FROM events";
        let head: Option<u64> = self
            .connection
            .prepare_cached(sql)?
            .query_row([], |row| row.get(0))?;
        Ok(Position::new(head.unwrap_or(0)))
    }

    fn stream_id(&mut self, stream: &StreamId) -> Result<Option<i64>, EventStoreError> {
        if let Some(id) = self.streams.get(stream) {
            return Ok(Some(*id));
        }
        let sql = "SELECT id FROM streams WHERE name = ?1";
        let mut statement = self.connection.prepare_cached(sql).map_err(of_read)?;
        let id: Option<i64> = statement
            .query_row([stream.as_str()], |row| row.get(0))
            .optional()
            .map_err(of_read)?;
        if let Some(id) = id {
            if self.streams.len() >= CACHE {
                self.streams.clear();
            }
            self.streams.insert(stream.clone(), id);
        }
        Ok(id)
    }

    fn all(&mut self, request: &ReadAll) -> Result<Vec<RecordedEvent>, EventStoreError> {
        let limit = i64::try_from(request.limit.clamp(1, MAX_PAGE_EVENTS)).unwrap_or(i64::MAX);
        let after = sql(request.after.get());
        let Self {
            connection, types, ..
        } = self;
        let all = "SELECT e.position, s.name, e.version, e.type, e.event_id, e.recorded_at, e.payload, e.metadata
                   FROM events e JOIN streams s ON s.id = e.stream WHERE e.position > ?1 ORDER BY e.position LIMIT ?2";
        let one = "SELECT e.position, s.name, e.version, e.type, e.event_id, e.recorded_at, e.payload, e.metadata
                   FROM streams s JOIN events e ON e.stream = s.id
                   WHERE s.name = ?3 AND e.position > ?1 ORDER BY e.version LIMIT ?2";
        let mut events = Vec::new();
        let mut statement = connection
            .prepare_cached(if request.stream.is_some() { one } else { all })
            .map_err(of_read)?;
        let mut rows = match &request.stream {
            Some(stream) => statement.query(params![after, limit, stream.as_str()]),
            None => statement.query(params![after, limit]),
        }
        .map_err(of_read)?;
        while let Some(row) = rows.next().map_err(of_read)? {
            events.push(recorded(row, connection, types)?);
        }
        Ok(events)
    }
}

fn type_name(
    connection: &Connection,
    types: &mut HashMap<i64, Arc<str>>,
    id: i64,
) -> Result<Arc<str>, EventStoreError> {
    if let Some(name) = types.get(&id) {
        return Ok(name.clone());
    }
    let sql = "SELECT name FROM event_types WHERE id = ?1";
    let name: Option<String> = connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([id], |row| row.get(0)).optional())
        .map_err(of_read)?;
    let name: Arc<str> = name
        .ok_or_else(|| corrupt(format!("event type number {id} has no name")))?
        .into();
    types.insert(id, name.clone());
    Ok(name)
}

fn payload(row: &Row<'_>, column: usize) -> Result<Bytes, EventStoreError> {
    let text = row.get_ref(column).map_err(of_read)?;
    let text = text.as_str().map_err(|error| corrupt(error.to_string()))?;
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

fn recorded(
    row: &Row<'_>,
    connection: &Connection,
    types: &mut HashMap<i64, Arc<str>>,
) -> Result<RecordedEvent, EventStoreError> {
    let position: u64 = row.get(0).map_err(of_read)?;
    let name: String = row.get(1).map_err(of_read)?;
    let damaged =
        |what: &dyn std::fmt::Display| corrupt(format!("event at position {position}: {what}"));
    let metadata: Option<String> = row.get(7).map_err(of_read)?;
    let metadata = match metadata {
        Some(text) => serde_json::from_str(&text).map_err(|error| damaged(&error))?,
        None => Metadata::default(),
    };
    let micros: u64 = row.get(5).map_err(of_read)?;
    let event_type: i64 = row.get(3).map_err(of_read)?;
    Ok(RecordedEvent {
        position: Position::new(position),
        stream: StreamId::new(name).map_err(|error| damaged(&error))?,
        version: Version::new(row.get(2).map_err(of_read)?),
        event_id: EventId::from_uuid(uuid::Uuid::from_bytes(row.get(4).map_err(of_read)?)),
        type_name: type_name(connection, types, event_type)?,
        payload: payload(row, 6)?,
        metadata,
        recorded_at: UNIX_EPOCH
            .checked_add(Duration::from_micros(micros))
            .ok_or_else(|| damaged(&"its time is out of range"))?,
    })
}
