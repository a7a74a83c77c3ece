//! The writer thread: group commit.
//!
//! It drains what is queued, checks and inserts each commit, and makes the whole batch durable with one COMMIT; answers
//! go out after it. All of a commit's checks come before its first write, so a refused commit leaves no trace in the
//! batch and no savepoints are needed.

use std::{
    collections::HashMap,
    hint,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rusqlite::{
    Connection, OptionalExtension,
    config::DbConfig,
    params,
    types::{ToSqlOutput, ValueRef},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    Reply,
    direct::has_company,
    disk::Disk,
    error::{Shared, corrupt},
    names::StreamIds,
    place::Place,
    schema::BUSY,
    transaction::busy,
    turns::Turns,
    watch::Publisher,
};
use crate::{
    event::{EventId, Metadata},
    store::{AppendEvents, Appended, EventStoreError, Position, Version, VersionConflict},
    stream::StreamId,
};

/// The most commits of one batch.
const BATCH: usize = 1024;
/// How long the thread stays awake for the next request.
const AWAKE: Duration = Duration::from_micros(100);
/// Streams whose head is remembered.
const CACHE: usize = 100_000;

pub(super) enum Message {
    Append(Job),
    /// Finish what is queued and end. The sender is dropped when the connection is closed.
    Close(oneshot::Sender<()>),
}

/// A commit to make.
pub(super) struct Job {
    pub(super) request: AppendEvents,
    pub(super) reply: Reply<Appended>,
}

pub(super) struct Writer {
    connection: Connection,
    cache: Cache,
    /// What the readers need not look up.
    ids: StreamIds,
    /// Streams that got a row in the present batch.
    interned: Vec<(StreamId, i64)>,
    /// Changes when another connection commits; then the cached heads are stale.
    data_version: i64,
    watch: Publisher,
    turns: Turns,
    disk: Disk,
}

/// What the writer knows without asking.
#[derive(Default)]
struct Cache {
    position: Option<u64>,
    streams: HashMap<StreamId, Head>,
    /// By name, then by category: few names are in more than one.
    types: HashMap<&'static str, Vec<(Box<str>, i64)>>,
}

#[derive(Clone, Copy)]
struct Head {
    /// `None` until the stream has a row.
    id: Option<i64>,
    version: u64,
}

impl Cache {
    /// The id of an event type, which gets a row if it has none.
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

/// Why a commit did not go into the batch.
enum Refused {
    /// This one only.
    Alone(EventStoreError),
    /// The transaction is broken.
    Batch(Shared),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Batch(error.into())
    }
}

/// How a thread waits for its next request: a moment awake, then asleep.
///
/// To put a thread to sleep and wake it costs a lone client more than everything else that its command does here. So
/// where the last request came soon, the next one is waited for awake, if that leaves a processor to whoever makes it.
struct Patience {
    has_company: bool,
    soon: bool,
}

impl Patience {
    fn new() -> Self {
        Self {
            has_company: has_company(),
            soon: false,
        }
    }

    fn receive(
        &mut self,
        queue: &mut mpsc::Receiver<Message>,
        messages: &mut Vec<Message>,
    ) -> usize {
        let started = Instant::now();
        while self.soon && queue.is_empty() && !queue.is_closed() && started.elapsed() < AWAKE {
            hint::spin_loop();
        }
        let received = queue.blocking_recv_many(messages, BATCH);
        self.soon = self.has_company && started.elapsed() < 2 * AWAKE;
        received
    }
}

impl Writer {
    pub(super) fn new(
        mut connection: Connection,
        watch: Publisher,
        place: &Place,
        ids: StreamIds,
    ) -> Result<Self, EventStoreError> {
        let failed = |error| Shared::from(error).nothing_written(Some(place.path()));
        place.disk.attach(&mut connection).map_err(failed)?;
        // They keep others from changing what is there. This connection only inserts, and never in the place of a row.
        let triggers = DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
        connection.set_db_config(triggers, false).map_err(failed)?;
        let writer = Self {
            connection,
            cache: Cache::default(),
            ids,
            interned: Vec::new(),
            data_version: -1,
            watch,
            turns: place.turns.clone(),
            disk: place.disk.clone(),
        };
        writer.seen().map_err(failed)?;
        Ok(writer)
    }

    /// Runs until the store is closed, or its last handle dropped, and the queue is empty.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let (mut messages, mut closing) = (Vec::new(), Vec::new());
        let mut patience = Patience::new();
        while patience.receive(&mut queue, &mut messages) > 0 {
            let mut jobs = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match message {
                    // Callers that are gone get nothing written.
                    Message::Append(job) if job.reply.is_closed() => {}
                    Message::Append(job) => jobs.push(job),
                    Message::Close(closed) => {
                        queue.close();
                        closing.push(closed);
                    }
                }
            }
            if !jobs.is_empty() {
                self.batch(jobs);
            }
        }
        // Whoever waits for the end waits for the connection too.
        self.disk.close(self.connection);
        drop(closing);
    }

    fn batch(&mut self, jobs: Vec<Job>) {
        match self.try_batch(&jobs) {
            Ok(results) => {
                // Before the answers: to whoever has one, the event is there.
                if !self.interned.is_empty() {
                    self.ids.learn(self.interned.drain(..));
                }
                if let Some(position) = self.cache.position {
                    self.watch.publish(Position::new(position));
                }
                for (job, result) in jobs.into_iter().zip(results) {
                    let _ = job.reply.send(result);
                }
                // After the answers, which need not wait for it.
                self.disk.check_in(&self.connection);
            }
            // One commit may be what breaks the batch, so each gets its own transaction.
            Err(failed) if failed.may_be_one_commit() && jobs.len() > 1 => {
                for job in jobs {
                    self.batch(vec![job]);
                }
            }
            Err(failed) => {
                for job in jobs {
                    let _ = job.reply.send(Err(failed.to_error(self.path())));
                }
            }
        }
    }

    fn try_batch(
        &mut self,
        jobs: &[Job],
    ) -> Result<Vec<Result<Appended, EventStoreError>>, Failed> {
        self.interned.clear();
        let outcome = self.transaction(jobs);
        if let Err(failed) = &outcome {
            self.cache = Cache::default();
            self.disk.note(failed.cause());
            // After a failed COMMIT the transaction may or may not be open; without one this is a harmless error.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        outcome
    }

    fn transaction(
        &mut self,
        jobs: &[Job],
    ) -> Result<Vec<Result<Appended, EventStoreError>>, Failed> {
        let begin = |error: rusqlite::Error| Failed::Begin(error.into());
        let Some(_turn) = self.turns.take(BUSY) else {
            return Err(begin(busy()));
        };
        self.disk.check().map_err(begin)?;
        self.statement("BEGIN IMMEDIATE").map_err(begin)?;
        let seen = self.seen().map_err(begin)?;
        if seen != self.data_version {
            // Rows of streams and types never change; heads do.
            self.cache.position = None;
            self.cache.streams.clear();
            self.data_version = seen;
        }
        if self.cache.streams.len() > CACHE {
            self.cache.streams.clear();
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_micros());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            results.push(match self.append(&job.request, now) {
                Ok(appended) => Ok(appended),
                Err(Refused::Alone(error)) => Err(error),
                Err(Refused::Batch(error)) => return Err(Failed::Insert(error)),
            });
        }
        self.statement("COMMIT")
            .map_err(|error| Failed::Commit(error.into()))?;
        Ok(results)
    }

    fn path(&self) -> Option<&Path> {
        self.connection.path().map(Path::new)
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn seen(&self) -> rusqlite::Result<i64> {
        self.connection
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))
    }

    fn append(&mut self, request: &AppendEvents, now: i64) -> Result<Appended, Refused> {
        if let Some(key) = request.idempotency_key()
            && let Some((earlier, id)) = earlier(&self.connection, key.as_str())?
        {
            return Ok(Appended {
                repeated: id != *request.commit_id().as_uuid().as_bytes(),
                ..earlier
            });
        }
        let mut heads = Vec::with_capacity(request.expected().len());
        for expected in request.expected() {
            let head = self.head(&expected.stream)?;
            if head.version != expected.version.get() {
                if let Some(appended) = self.own_commit(request)? {
                    return Ok(appended);
                }
                let (stream, expected) = (expected.stream.clone(), expected.version);
                let actual = Version::new(head.version);
                return Err(Refused::Alone(
                    VersionConflict {
                        stream,
                        expected,
                        actual,
                    }
                    .into(),
                ));
            }
            heads.push(head);
        }
        self.insert(request, heads, now)
    }

    /// Writes a commit whose checks have passed.
    fn insert(
        &mut self,
        request: &AppendEvents,
        mut heads: Vec<Head>,
        now: i64,
    ) -> Result<Appended, Refused> {
        let mut position = self.position()?;
        let metadata = metadata(request.metadata())?;
        let insert = "INSERT INTO events (position, stream, version, type, event_id, recorded_at, payload, metadata)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let mut insert = self.connection.prepare_cached(insert)?;
        for (number, event) in request.events().iter().enumerate() {
            let Some((head, target)) = heads
                .get_mut(event.stream)
                .zip(request.expected().get(event.stream))
            else {
                continue; // `AppendEvents` has checked it.
            };
            let stream = if let Some(id) = head.id {
                id
            } else {
                let id = self.intern_stream(target.stream.as_str())?;
                self.interned.push((target.stream.clone(), id));
                *head.id.insert(id)
            };
            let category = target.stream.category();
            let event_type = self
                .cache
                .event_type(&self.connection, category, event.type_name)?;
            position += 1;
            head.version += 1;
            let id = request.event_id(number).as_uuid();
            insert.execute(params![
                sql(position),
                stream,
                sql(head.version),
                event_type,
                id.as_bytes(),
                now,
                // `AppendEvents` has checked that it is text.
                ToSqlOutput::Borrowed(ValueRef::Text(&event.payload)),
                metadata
            ])?;
        }
        let appended = Appended {
            position: Position::new(position),
            events: request.events().len(),
            repeated: false,
        };
        if let Some(key) = request.idempotency_key() {
            self.connection
                .prepare_cached(
                    "INSERT INTO idempotency (key, position, events, commit_id) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    key.as_str(),
                    sql(position),
                    i64::try_from(appended.events).unwrap_or(i64::MAX),
                    request.commit_id().as_uuid().as_bytes()
                ])?;
        }
        self.cache.position = Some(position);
        for (head, expected) in heads.into_iter().zip(request.expected()) {
            if let Some(cached) = self.cache.streams.get_mut(&expected.stream) {
                *cached = head;
            }
        }
        Ok(appended)
    }

    fn head(&mut self, stream: &StreamId) -> Result<Head, Refused> {
        if let Some(head) = self.cache.streams.get(stream) {
            return Ok(*head);
        }
        let id = self.find_stream(stream.as_str())?;
        let version = match id {
            None => 0,
            Some(id) => {
                let sql = "SELECT max(version) FROM events WHERE stream = ?1";
                let version: Option<i64> = self
                    .connection
                    .prepare_cached(sql)?
                    .query_row([id], |row| row.get(0))?;
                number(version.unwrap_or(0))?
            }
        };
        let head = Head { id, version };
        self.cache.streams.insert(stream.clone(), head);
        Ok(head)
    }

    fn position(&mut self) -> Result<u64, Refused> {
        if let Some(position) = self.cache.position {
            return Ok(position);
        }
        let sql = "SELECT max(position) FROM events";
        let position: Option<i64> = self
            .connection
            .prepare_cached(sql)?
            .query_row([], |row| row.get(0))?;
        let position = number(position.unwrap_or(0))?;
        self.cache.position = Some(position);
        Ok(position)
    }

    fn find_stream(&self, name: &str) -> rusqlite::Result<Option<i64>> {
        self.connection
            .prepare_cached("SELECT id FROM streams WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()
    }

    /// Gives a row to a stream that has none.
    fn intern_stream(&self, name: &str) -> rusqlite::Result<i64> {
        self.connection
            .prepare_cached("INSERT INTO streams (name) VALUES (?1)")?
            .insert([name])
    }

    /// The result of this very commit, if it was made before: then its first event follows the expected version.
    fn own_commit(&self, request: &AppendEvents) -> Result<Option<Appended>, Refused> {
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
                |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?)),
            )
            .optional()?;
        let Some((id, position)) = found else {
            return Ok(None);
        };
        if EventId::from_uuid(uuid::Uuid::from_bytes(id)) != request.event_id(0) {
            return Ok(None);
        }
        let events = request.events().len();
        let further = u64::try_from(events).unwrap_or(u64::MAX).saturating_sub(1);
        Ok(Some(Appended {
            position: Position::new(number(position)?).plus(further),
            events,
            repeated: false,
        }))
    }
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

/// How far a failed batch came.
enum Failed {
    /// It did not begin, whatever is in it.
    Begin(Shared),
    /// One of its commits was not taken.
    Insert(Shared),
    /// COMMIT itself failed.
    Commit(Shared),
}

impl Failed {
    fn cause(&self) -> &rusqlite::Error {
        let (Self::Begin(error) | Self::Insert(error) | Self::Commit(error)) = self;
        error.cause()
    }

    fn to_error(&self, path: Option<&Path>) -> EventStoreError {
        match self {
            Self::Begin(error) | Self::Insert(error) => error.nothing_written(path),
            Self::Commit(error) => error.of_commit(path),
        }
    }

    /// Whether a smaller batch may get through. Not if it did not begin: each commit would wait for the lock in turn.
    fn may_be_one_commit(&self) -> bool {
        match self {
            Self::Begin(_) => false,
            Self::Insert(_) => true,
            Self::Commit(error) => {
                matches!(error.of_commit(None), EventStoreError::StorageFull { .. })
            }
        }
    }
}

/// The result of the commit that was made under this key, and its id.
pub(super) fn earlier(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<(Appended, [u8; 16])>> {
    let sql = "SELECT position, events, commit_id FROM idempotency WHERE key = ?1";
    let earlier = |row: &rusqlite::Row<'_>| {
        let (position, events): (u64, u64) = (row.get(0)?, row.get(1)?);
        let events = usize::try_from(events).unwrap_or(usize::MAX);
        let appended = Appended {
            position: Position::new(position),
            events,
            repeated: true,
        };
        Ok((appended, row.get(2)?))
    };
    connection
        .prepare_cached(sql)?
        .query_row([key], earlier)
        .optional()
}

/// Numbers of rows fit into what SQLite stores: it would take longer than anyone lives to count further.
pub(super) fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(stored: i64) -> Result<u64, Refused> {
    u64::try_from(stored)
        .map_err(|_| Refused::Alone(corrupt(format!("a version or position is {stored}"))))
}

#[cfg(test)]
mod tests;
