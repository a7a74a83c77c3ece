//! The writer thread: group commit.
//!
//! It drains the queue, checks and inserts each commit (`transaction.rs`), and makes the whole
//! batch durable with one COMMIT, after which it replies to the callers.

use std::{
    hint,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, config::DbConfig};
use tokio::sync::{mpsc, oneshot};

use crate::sqlite::{
    Reply,
    error::Shared,
    read::inline::has_spare_core,
    read::interner::StreamIds,
    read::notify::Publisher,
    write::moved::Files,
    write::poison::Disk,
    write::snapshot,
    write::transaction::{Batch, Cache, Refused},
};
use crate::{
    Position,
    store::{AppendRequest, CommitReceipt, EncodedSnapshot, EventStoreError},
    stream::StreamId,
};

/// The maximum number of commits in a batch.
const BATCH: usize = 1024;
/// The time for which the thread spins while waiting for the next request.
const AWAKE: Duration = Duration::from_micros(100);

pub(crate) enum Message {
    Append(Job),
    /// Store these snapshots; nobody waits for it.
    KeepSnapshots(Vec<EncodedSnapshot>),
    ClearSnapshots(Reply<()>),
    /// Finish the queued commits and stop. The sender is dropped when the connection is closed.
    Close(oneshot::Sender<()>),
}

/// A queued commit.
pub(crate) struct Job {
    request: AppendRequest,
    /// The row ids of its streams, if known, looked up by the caller to keep the writer thread
    /// free.
    ids: Vec<Option<i64>>,
    reply: Reply<CommitReceipt>,
}

impl Job {
    pub(crate) fn new(
        request: AppendRequest,
        ids: &StreamIds,
        reply: Reply<CommitReceipt>,
    ) -> Self {
        let streams = request.expected().iter().map(|expected| &expected.stream);
        Self {
            ids: ids.of(streams),
            request,
            reply,
        }
    }
}

pub(crate) struct Writer {
    connection: Connection,
    cache: Cache,
    /// The row ids of streams, shared with the readers.
    ids: StreamIds,
    /// The streams that got a row in the current batch.
    interned: Vec<(StreamId, i64)>,
    /// Changes when another connection commits; the cached heads are stale then.
    data_version: i64,
    watch: Publisher,
    disk: Disk,
    files: Files,
}

/// A wait for the next request that spins briefly before it sleeps.
///
/// For a lone client, putting a thread to sleep and waking it costs more than the rest of its
/// command. So if the last request came soon, the thread spins for the next one, provided that this
/// leaves a processor for the client.
struct SpinWait {
    has_spare_core: bool,
    soon: bool,
}

impl SpinWait {
    fn new() -> Self {
        Self {
            has_spare_core: has_spare_core(),
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
        self.soon = self.has_spare_core && started.elapsed() < 2 * AWAKE;
        received
    }
}

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        path: &Path,
        watch: Publisher,
        disk: Disk,
        ids: StreamIds,
    ) -> Result<Self, EventStoreError> {
        let failed = |error| Shared::from(error).nothing_written(Some(path));
        Disk::attach(&connection).map_err(failed)?;
        // The triggers protect against other writers. This connection only inserts and never
        // replaces a row.
        let triggers = DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
        connection.set_db_config(triggers, false).map_err(failed)?;
        let writer = Self {
            files: Files::of(path).map_err(failed)?,
            connection,
            cache: Cache::default(),
            ids,
            interned: Vec::new(),
            data_version: -1,
            watch,
            disk,
        };
        writer.seen().map_err(failed)?;
        Ok(writer)
    }

    /// Runs until the store is closed or its last handle is dropped, and the queue is empty.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let (mut messages, mut closing) = (Vec::new(), Vec::new());
        let (mut snapshots, mut clearing) = (Vec::new(), Vec::new());
        let mut spin = SpinWait::new();
        while spin.receive(&mut queue, &mut messages) > 0 {
            let mut jobs = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match message {
                    // If the caller was dropped, nothing is written for it.
                    Message::Append(job) if job.reply.is_closed() => {}
                    Message::Append(job) => jobs.push(job),
                    Message::KeepSnapshots(more) => snapshots.extend(more),
                    Message::ClearSnapshots(reply) => clearing.push(reply),
                    Message::Close(closed) => {
                        queue.close();
                        closing.push(closed);
                    }
                }
            }
            if !jobs.is_empty() {
                self.batch(jobs);
            }
            // After the commits, which are more urgent.
            if !snapshots.is_empty() {
                if let Err(error) = self.keep_snapshots(&snapshots) {
                    tracing::warn!(%error, "snapshots could not be stored");
                }
                snapshots.clear();
            }
            for reply in clearing.drain(..) {
                let _ = reply.send(self.clear_snapshots());
            }
        }
        // A caller that waits for the end also waits for the connection to close.
        self.disk.close(self.connection);
        drop(closing);
    }

    fn keep_snapshots(&mut self, snapshots: &[EncodedSnapshot]) -> rusqlite::Result<()> {
        self.disk.check()?;
        let kept = snapshot::keep(&self.connection, snapshots);
        self.end_of_other_write(kept)
    }

    fn clear_snapshots(&mut self) -> Result<(), EventStoreError> {
        let cleared = self
            .disk
            .check()
            .and_then(|()| snapshot::clear(&self.connection));
        self.end_of_other_write(cleared)
            .map_err(|error| Shared::from(error).nothing_written(self.path()))
    }

    /// Records the result of a write that is no commit of events.
    fn end_of_other_write(&self, result: rusqlite::Result<()>) -> rusqlite::Result<()> {
        match &result {
            Ok(()) => self.disk.checkpoint(&self.connection),
            Err(error) => self.disk.note(error),
        }
        result
    }

    fn batch(&mut self, jobs: Vec<Job>) {
        match self.try_batch(&jobs) {
            Ok(results) => {
                // Before the replies: a caller that has its reply must find the streams.
                if !self.interned.is_empty() {
                    self.ids.learn(self.interned.drain(..));
                }
                if let Some(position) = self.cache.position {
                    self.watch.publish(Position::new(position));
                }
                for (job, result) in jobs.into_iter().zip(results) {
                    let _ = job.reply.send(result);
                }
                // After the replies, which need not wait for it.
                self.disk.checkpoint(&self.connection);
            }
            // A single commit may have broken the batch, so each gets its own transaction.
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
    ) -> Result<Vec<Result<CommitReceipt, EventStoreError>>, Failed> {
        self.interned.clear();
        let outcome = self.transaction(jobs);
        if let Err(failed) = &outcome {
            self.cache = Cache::default();
            self.disk.note(failed.cause());
            // After a failed COMMIT the transaction may or may not be open; if it is not, this
            // error is harmless.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        outcome
    }

    fn transaction(
        &mut self,
        jobs: &[Job],
    ) -> Result<Vec<Result<CommitReceipt, EventStoreError>>, Failed> {
        let begin = |error: rusqlite::Error| Failed::Begin(error.into());
        self.disk.check().map_err(begin)?;
        self.statement("BEGIN IMMEDIATE").map_err(begin)?;
        let seen = self.seen().map_err(begin)?;
        if seen != self.data_version {
            self.cache.invalidate();
            self.data_version = seen;
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_micros());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut results = Vec::with_capacity(jobs.len());
        let mut batch = Batch::new(&self.connection, &mut self.cache, &mut self.interned, now)
            .map_err(|error| Failed::Insert(error.into()))?;
        for job in jobs {
            results.push(match batch.append(&job.request, &job.ids) {
                Ok(appended) => Ok(appended),
                Err(Refused::Alone(error)) => Err(error),
                Err(Refused::Batch(error)) => return Err(Failed::Insert(error)),
            });
        }
        drop(batch);
        self.statement("COMMIT")
            .and_then(|()| self.files.check())
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
}

/// The stage at which a batch failed.
enum Failed {
    /// The transaction could not begin, regardless of its contents.
    Begin(Shared),
    /// One of the commits could not be inserted.
    Insert(Shared),
    /// The COMMIT itself failed.
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

    /// Returns `true` if a smaller batch may succeed. If the batch could not begin, each commit
    /// would only wait for the lock again.
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

#[cfg(test)]
mod tests;
