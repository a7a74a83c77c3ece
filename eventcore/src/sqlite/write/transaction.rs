//! The commits of one transaction: each is checked, and inserted if its checks pass.
//!
//! All checks of a commit come before its first write, so a refused commit leaves no trace in the
//! batch and no savepoints are needed.

use std::collections::HashMap;

use rusqlite::{
    CachedStatement, Connection, OptionalExtension, params,
    types::{ToSqlOutput, ValueRef},
};

use crate::sqlite::{
    convert::{event_id, find_by_idempotency_key, number, sql},
    error::Shared,
    read::interner::find,
};
use crate::{
    Position, Version,
    event::Metadata,
    store::{
        AppendRequest, CommitReceipt, EventStoreError, Fingerprint, StreamHead, VersionConflict,
    },
    stream::StreamId,
};

/// The number of streams whose head is cached.
pub(crate) const CACHE: usize = 100_000;

/// The writer's cache.
#[derive(Default)]
pub(crate) struct Cache {
    pub(crate) position: Option<u64>,
    pub(crate) heads: HashMap<i64, StreamHead>,
    /// By name, then by category: few names occur in more than one category.
    types: HashMap<&'static str, Vec<(Box<str>, i64)>>,
}

impl Cache {
    /// Forgets what other connections may have changed: positions and heads. Rows of streams and
    /// types never change.
    pub(crate) fn invalidate(&mut self) {
        self.position = None;
        self.heads.clear();
    }

    /// Returns the id of an event type, adding a row if it has none.
    fn event_type(
        &mut self,
        connection: &Connection,
        category: &str,
        name: &'static str,
    ) -> rusqlite::Result<i64> {
        let known = self.types.entry(name).or_default();
        if let Some((_, id)) = known.iter().find(|(of, _)| **of == *category) {
            return Ok(*id);
        }
        let find = "SELECT id FROM event_types WHERE category = ?1 AND name = ?2";
        let found = connection
            .prepare_cached(find)?
            .query_row([category, name], |row| row.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => connection
                .prepare_cached("INSERT INTO event_types (category, name) VALUES (?1, ?2)")?
                .insert([category, name])?,
        };
        known.push((category.into(), id));
        Ok(id)
    }
}

/// The scope of a failure to add a commit to the batch.
pub(crate) enum Refused {
    /// Only this commit is refused.
    Alone(EventStoreError),
    /// The whole transaction is broken.
    Batch(Shared),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Batch(error.into())
    }
}

impl From<EventStoreError> for Refused {
    fn from(error: EventStoreError) -> Self {
        Self::Alone(error)
    }
}

/// A transaction to which commits are added.
pub(crate) struct Batch<'w> {
    connection: &'w Connection,
    cache: &'w mut Cache,
    /// Collects the streams that got a row.
    interned: &'w mut Vec<(StreamId, i64)>,
    insert: CachedStatement<'w>,
    /// The time at which the events are recorded, in microseconds since 1970.
    now: i64,
    /// The streams of the current commit.
    streams: Vec<Stream>,
}

#[derive(Clone, Copy)]
struct Stream {
    /// `None` until the stream has a row.
    id: Option<i64>,
    head: StreamHead,
}

impl<'w> Batch<'w> {
    pub(crate) fn new(
        connection: &'w Connection,
        cache: &'w mut Cache,
        interned: &'w mut Vec<(StreamId, i64)>,
        now: i64,
    ) -> rusqlite::Result<Self> {
        if cache.heads.len() > CACHE {
            cache.heads.clear();
        }
        let insert = "INSERT INTO events (position, stream, version, type, event_id, recorded_at, payload, metadata)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        Ok(Self {
            connection,
            cache,
            interned,
            insert: connection.prepare_cached(insert)?,
            now,
            streams: Vec::new(),
        })
    }

    /// Adds a commit, given the row ids of its streams that are already known.
    pub(crate) fn append(
        &mut self,
        request: &AppendRequest,
        ids: &[Option<i64>],
    ) -> Result<CommitReceipt, Refused> {
        if let Some(key) = request.idempotency_key()
            && let Some(keyed) = find_by_idempotency_key(self.connection, key)?
        {
            if keyed.commit_id == *request.commit_id().as_uuid().as_bytes() {
                return Ok(CommitReceipt {
                    repeated: false,
                    ..keyed.appended
                });
            }
            return keyed
                .answer(key)
                .map_err(|reused| Refused::Alone(reused.into()));
        }
        self.streams.clear();
        for (expected, id) in request.expected().iter().zip(ids) {
            let stream = self.stream(&expected.stream, *id)?;
            if !expected.holds(stream.head) {
                if let Some(appended) = self.own_commit(request)? {
                    return Ok(appended);
                }
                let conflict = VersionConflict {
                    stream: expected.stream.clone(),
                    expected: expected.version,
                    actual: stream.head.version(),
                };
                return Err(Refused::Alone(conflict.into()));
            }
            self.streams.push(stream);
        }
        self.insert(request)
    }

    /// Inserts a commit whose checks have passed.
    fn insert(&mut self, request: &AppendRequest) -> Result<CommitReceipt, Refused> {
        let mut position = self.position()?;
        let metadata = metadata(request.metadata())?;
        for (index, event) in request.events().iter().enumerate() {
            let Some((to, target)) = self
                .streams
                .get_mut(event.stream)
                .zip(request.expected().get(event.stream))
            else {
                continue; // `AppendRequest` has checked it.
            };
            let stream = if let Some(id) = to.id {
                id
            } else {
                let id = intern(self.connection, target.stream.as_str())?;
                self.interned.push((target.stream.clone(), id));
                *to.id.insert(id)
            };
            let category = target.stream.category();
            let event_type = self
                .cache
                .event_type(self.connection, category, event.type_name)?;
            position += 1;
            let id = request.event_id(index);
            to.head = StreamHead::new(to.head.version().plus(1), id);
            self.insert.execute(params![
                sql(position),
                stream,
                sql(to.head.version().get()),
                event_type,
                id.as_uuid().as_bytes(),
                self.now,
                // `AppendRequest` has checked that it is text.
                ToSqlOutput::Borrowed(ValueRef::Text(&event.payload)),
                metadata
            ])?;
        }
        let appended = CommitReceipt {
            position: Position::new(position),
            events: request.events().len(),
            repeated: false,
        };
        if let Some(key) = request.idempotency_key() {
            let insert = "INSERT INTO idempotency (key, position, events, commit_id, fingerprint)
                          VALUES (?1, ?2, ?3, ?4, ?5)";
            self.connection.prepare_cached(insert)?.execute(params![
                key.as_str(),
                sql(position),
                i64::try_from(appended.events).unwrap_or(i64::MAX),
                request.commit_id().as_uuid().as_bytes(),
                key.fingerprint().map(Fingerprint::as_bytes)
            ])?;
        }
        self.cache.position = Some(position);
        for (stream, expected) in self.streams.iter().zip(request.expected()) {
            if let Some(id) = stream.id
                && stream.head.version() != expected.version
            {
                self.cache.heads.insert(id, stream.head);
            }
        }
        Ok(appended)
    }

    fn stream(&mut self, stream: &StreamId, id: Option<i64>) -> Result<Stream, Refused> {
        let id = match id {
            Some(id) => Some(id),
            // It may have got a row in the meantime, perhaps in this batch.
            None => find(self.connection, stream)?,
        };
        let head = match id {
            Some(id) => self.head(id)?,
            None => StreamHead::EMPTY,
        };
        Ok(Stream { id, head })
    }

    fn head(&mut self, stream: i64) -> Result<StreamHead, Refused> {
        if let Some(head) = self.cache.heads.get(&stream) {
            return Ok(*head);
        }
        let query =
            "SELECT version, event_id FROM events WHERE stream = ?1 ORDER BY version DESC LIMIT 1";
        let found = self
            .connection
            .prepare_cached(query)?
            .query_row([stream], |row| Ok((row.get(0)?, event_id(row, 1)?)))
            .optional()?;
        let head = match found {
            Some((version, id)) => StreamHead::new(Version::new(number(version)?), id),
            None => StreamHead::EMPTY,
        };
        self.cache.heads.insert(stream, head);
        Ok(head)
    }

    fn position(&mut self) -> Result<u64, Refused> {
        if let Some(position) = self.cache.position {
            return Ok(position);
        }
        let position: Option<i64> = self
            .connection
            .prepare_cached("SELECT max(position) FROM events")?
            .query_row([], |row| row.get(0))?;
        let position = number(position.unwrap_or(0))?;
        self.cache.position = Some(position);
        Ok(position)
    }

    /// Returns the result of this same commit if it was made before: its first event then follows
    /// the expected version.
    fn own_commit(&self, request: &AppendRequest) -> Result<Option<CommitReceipt>, Refused> {
        let Some(target) = request
            .events()
            .first()
            .and_then(|first| request.expected().get(first.stream))
        else {
            return Ok(None);
        };
        let query = "SELECT e.event_id, e.position FROM events e JOIN streams s ON s.id = e.stream
                     WHERE s.name = ?1 AND e.version = ?2";
        let found = self
            .connection
            .prepare_cached(query)?
            .query_row(
                params![target.stream.as_str(), sql(target.version.plus(1).get())],
                |row| Ok((event_id(row, 0)?, row.get::<_, i64>(1)?)),
            )
            .optional()?;
        let Some((id, position)) = found else {
            return Ok(None);
        };
        if id != request.event_id(0) {
            return Ok(None);
        }
        let events = request.events().len();
        let further = u64::try_from(events).unwrap_or(u64::MAX).saturating_sub(1);
        Ok(Some(CommitReceipt {
            position: Position::new(number(position)?).plus(further),
            events,
            repeated: false,
        }))
    }
}

/// Adds a row for a stream that has none.
fn intern(connection: &Connection, stream: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("INSERT INTO streams (name) VALUES (?1)")?
        .insert([stream])
}

fn metadata(metadata: &Metadata) -> Result<Option<String>, Refused> {
    if metadata.is_empty() {
        return Ok(None);
    }
    let failed = |error: serde_json::Error| EventStoreError::Other {
        source: error.into(),
    };
    serde_json::to_string(metadata)
        .map(Some)
        .map_err(|error| Refused::Alone(failed(error)))
}
