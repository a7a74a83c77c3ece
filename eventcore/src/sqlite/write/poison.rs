//! Stops all writes after a failed one, and checkpoints the write-ahead log, because SQLite does
//! not report failed automatic checkpoints.
//!
//! The system drops what it could not write and reports success for the next fsync (see Rebello et
//! al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020), so nothing is written to
//! the file after a failed write. PostgreSQL panics in this case. Every commit acknowledged before
//! is in the part of the log that reached the disk.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, config::DbConfig, ffi};

use crate::chain::chain;
use crate::sqlite::{schema::BUSY, write::moved::is_moved};

/// The log size in pages at which it is checkpointed: 16 MiB instead of SQLite's default of 4 MiB,
/// so that an index page changed by many commits is written to the file only once.
const CHECKPOINT_PAGES: i32 = 4000;
/// The size to which the log file is truncated when the log restarts: that of [`CHECKPOINT_PAGES`].
const KEPT_LOG_BYTES: i32 = CHECKPOINT_PAGES * 4096;
/// The log size in pages at which a checkpoint waits for readers: 64 MiB. The log can only restart
/// while no reader uses it, and overlapping readers leave no such moment.
const WAIT_FOR_READERS_PAGES: i32 = 4 * CHECKPOINT_PAGES;
/// The longest wait for readers, during which commits wait too. If a reader takes longer, the next
/// attempt is made when the log has grown by [`CHECKPOINT_PAGES`].
const READER_WAIT: Duration = Duration::from_millis(100);

/// State shared by the connections that write to one file. A clone is another handle to it.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Inner>);

struct Inner {
    /// The first failed write, and its message.
    failure: OnceLock<(ffi::Error, String)>,
    /// The log size in pages at which the next checkpoint waits for readers.
    wait_at: AtomicI32,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            failure: OnceLock::new(),
            wait_at: AtomicI32::new(WAIT_FOR_READERS_PAGES),
        }
    }
}

impl Disk {
    /// Prepares a connection whose log is checkpointed here: SQLite does not report a failed
    /// automatic checkpoint.
    pub(crate) fn attach(connection: &Connection) -> rusqlite::Result<()> {
        let settings = [
            ("journal_size_limit", KEPT_LOG_BYTES),
            ("wal_autocheckpoint", 0),
        ];
        for (name, value) in settings {
            connection.pragma_update_and_check(None, name, value, |_| Ok(()))?;
        }
        Ok(())
    }

    /// Returns an error if a write has failed.
    pub(crate) fn check(&self) -> rusqlite::Result<()> {
        match self.0.failure.get() {
            None => Ok(()),
            Some((failure, message)) => {
                let why = format!("{message}; nothing was written after it");
                Err(rusqlite::Error::SqliteFailure(*failure, Some(why)))
            }
        }
    }

    /// Records an error that means that a disk write failed or that the file is no longer at its
    /// path.
    pub(crate) fn note(&self, error: &rusqlite::Error) {
        if (is_failed_write(error) || is_moved(error))
            && let Some(failure) = error.sqlite_error()
            && self.0.failure.set((*failure, error.to_string())).is_ok()
        {
            tracing::error!(
                error = chain(error),
                "a write to the file failed, so nothing more is written to it"
            );
        }
    }

    /// Closes a connection that may be the last one: after a failure, the log is left as it is.
    pub(crate) fn close(&self, connection: Connection) {
        if self.check().is_err() {
            let leave_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            let _ = connection.set_db_config(leave_log, true);
        }
        drop(connection);
    }

    /// Checkpoints the log if it is long, and waits for readers so that it can restart if it is too
    /// long.
    pub(crate) fn checkpoint(&self, connection: &Connection) {
        if self.check().is_err() {
            return;
        }
        if let Err(error) = self.try_checkpoint(connection) {
            // Other failures, such as a full disk, are temporary: the log only grows.
            self.note(&error);
        }
    }

    fn try_checkpoint(&self, connection: &Connection) -> rusqlite::Result<()> {
        let log =
            Checkpoint::run(connection, "/* eventcore */ PRAGMA wal_checkpoint(NOOP)")?.log_pages;
        if log < CHECKPOINT_PAGES {
            return Ok(());
        }
        if log < self.0.wait_at.load(Ordering::Relaxed) {
            return Checkpoint::run(connection, "/* eventcore */ PRAGMA wal_checkpoint(PASSIVE)")
                .map(drop);
        }
        // New readers meanwhile read the database file, so this waits for the longest read, not for
        // a moment without readers.
        connection.busy_timeout(READER_WAIT)?;
        let truncated = Checkpoint::run(
            connection,
            "/* eventcore */ PRAGMA wal_checkpoint(TRUNCATE)",
        );
        connection.busy_timeout(BUSY)?;
        let next = match &truncated {
            Ok(Checkpoint { is_busy: false, .. }) => WAIT_FOR_READERS_PAGES,
            _ => log.saturating_add(CHECKPOINT_PAGES),
        };
        self.0.wait_at.store(next, Ordering::Relaxed);
        truncated.map(drop)
    }
}

/// The result of a checkpoint.
struct Checkpoint {
    /// `true` if readers or writers blocked the checkpoint.
    is_busy: bool,
    /// The number of pages in the log.
    log_pages: i32,
}

impl Checkpoint {
    /// Runs one of the pragmas. Their text begins with a comment, so that the cache never gives an
    /// authorized statement to a projection.
    fn run(connection: &Connection, pragma: &str) -> rusqlite::Result<Self> {
        connection.prepare_cached(pragma)?.query_row([], |row| {
            Ok(Self {
                is_busy: row.get(0)?,
                log_pages: row.get(1)?,
            })
        })
    }
}

/// Returns `true` for a write that the system accepted but the disk refused.
pub(crate) fn is_failed_write(error: &rusqlite::Error) -> bool {
    const FAILED: [i32; 4] = [
        ffi::SQLITE_IOERR_WRITE,
        ffi::SQLITE_IOERR_FSYNC,
        ffi::SQLITE_IOERR_DIR_FSYNC,
        ffi::SQLITE_IOERR_TRUNCATE,
    ];
    error
        .sqlite_error()
        .is_some_and(|error| FAILED.contains(&error.extended_code))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use bytes::Bytes;

    use super::*;
    use crate::{Position, Version};
    use crate::{
        event::{CommitId, Metadata},
        sqlite::{SqliteEventStore, read_model::file::Side},
        store::{
            AppendRequest, CommitReceipt, EventStore, EventStoreError, ExpectedVersion, NewEvent,
            ReadStreamsRequest, StreamCursor,
        },
        stream::StreamId,
    };

    fn stream() -> StreamId {
        StreamId::new("s-1").unwrap()
    }

    async fn append(
        store: &SqliteEventStore,
        version: u64,
        length: usize,
    ) -> Result<CommitReceipt, EventStoreError> {
        let expected = ExpectedVersion {
            stream: stream(),
            version: Version::new(version),
            event_id: None,
        };
        let event = NewEvent {
            stream: 0,
            type_name: "Wrote",
            payload: Bytes::from(format!("\"{}\"", "x".repeat(length))),
        };
        let (id, metadata) = (CommitId::generate(), Metadata::default());
        let request = AppendRequest::new(id, vec![expected], vec![event], metadata, None);
        store.append(request.unwrap()).await
    }

    async fn version(store: &SqliteEventStore) -> u64 {
        let cursor = StreamCursor::new(stream(), Version::EMPTY);
        let request = ReadStreamsRequest {
            streams: vec![cursor],
            snapshot: None,
            limit: 10,
            idempotency_key: None,
        };
        store.read_streams(request).await.unwrap().versions()[0].get()
    }

    fn log(path: &Path) -> u64 {
        fs::metadata(path.with_extension("db-wal")).unwrap().len()
    }

    #[tokio::test]
    async fn after_a_failed_write_nothing_more_is_written_until_the_store_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        let disk = Disk::default();
        let store = SqliteEventStore::start(path.clone(), disk.clone()).unwrap();
        append(&store, 0, 5).await.unwrap();
        let failed = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        // A failed read or a full disk does not mean that a write was lost.
        for passing in [ffi::SQLITE_IOERR_READ, ffi::SQLITE_FULL, ffi::SQLITE_BUSY] {
            disk.note(&failed(passing));
        }
        append(&store, 1, 5).await.unwrap();
        disk.note(&failed(ffi::SQLITE_IOERR_FSYNC));
        let refused = append(&store, 2, 5).await.unwrap_err();
        let EventStoreError::StorageFailed { source } = &refused else {
            panic!("{refused:?}");
        };
        assert!(
            source.to_string().contains("nothing was written after it"),
            "{source}"
        );
        assert_eq!(version(&store).await, 2);
        store.close().await;
        assert!(log(&path) > 0, "the log was checked in after the failure");
        let store = SqliteEventStore::open(&path).await.unwrap();
        append(&store, 2, 5).await.unwrap();
        assert_eq!(version(&store).await, 3);
    }

    #[tokio::test]
    async fn the_log_is_checked_in_when_it_is_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        let store = SqliteEventStore::open(&path).await.unwrap();
        for version in 0..45 {
            append(&store, version, 1 << 20).await.unwrap();
        }
        assert!(log(&path) < 32 << 20, "{}", log(&path));
        store.wait_for_event(Position::START).await.unwrap();
    }

    /// Reads on a separate connection, as another process would, so that a read is in progress at
    /// every moment.
    struct Overlapping {
        connections: [Connection; 2],
        current: usize,
    }

    impl Overlapping {
        fn new(path: &Path) -> Self {
            let open = || crate::sqlite::schema::open_reader(path, BUSY).unwrap();
            let mut readers = Self {
                connections: [open(), open()],
                current: 0,
            };
            readers.begin(0);
            readers
        }

        fn begin(&mut self, number: usize) {
            let connection = &self.connections[number];
            connection.execute_batch("BEGIN").unwrap();
            let count = "SELECT count(*) FROM events";
            let count: u64 = connection.query_row(count, [], |row| row.get(0)).unwrap();
            assert!(count > 0);
        }

        /// Begins the next read, then ends the previous one.
        fn next(&mut self) {
            let other = 1 - self.current;
            self.begin(other);
            self.connections[self.current]
                .execute_batch("COMMIT")
                .unwrap();
            self.current = other;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_log_starts_over_although_reads_overlap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        let store = SqliteEventStore::open(&path).await.unwrap();
        append(&store, 0, 5).await.unwrap();
        let is_done = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let reading = std::thread::spawn({
            let (path, is_done) = (path.clone(), is_done.clone());
            move || {
                let mut readers = Overlapping::new(&path);
                while !is_done.load(Ordering::Relaxed) {
                    readers.next();
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        // Another attempt is made every 16 MiB, in case one of the reads takes long on a busy
        // machine.
        let (mut before, mut starts, mut version) = (log(&path), 0, 1);
        while starts < 2 && version < 1500 {
            append(&store, version, 1 << 20).await.unwrap();
            let now = log(&path);
            starts += usize::from(now < before);
            (before, version) = (now, version + 1);
        }
        is_done.store(true, Ordering::Relaxed);
        reading.join().unwrap();
        assert_eq!(
            starts, 2,
            "the log has {before} bytes after {version} appends"
        );
    }

    #[tokio::test]
    async fn a_long_read_delays_no_commit_for_long_and_the_log_starts_over_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        let store = SqliteEventStore::open(&path).await.unwrap();
        append(&store, 0, 5).await.unwrap();
        let reader = Overlapping::new(&path);
        for version in 1..100 {
            append(&store, version, 1 << 20).await.unwrap();
        }
        assert!(log(&path) > 90 << 20, "the reader is not in the way");
        drop(reader);
        for version in 100..120 {
            append(&store, version, 1 << 20).await.unwrap();
        }
        assert!(log(&path) < 32 << 20, "{}", log(&path));
    }

    #[tokio::test]
    async fn the_file_of_a_read_model_is_treated_like_the_log_and_apart_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        let store = SqliteEventStore::open(&path).await.unwrap();
        append(&store, 0, 5).await.unwrap();
        let target = store.shared.read_models.get("sums", Side::Live);
        let write = async |sql: &'static str| {
            let written = target.write(move |connection| connection.execute(sql, []));
            written.await
        };
        write("CREATE TABLE t (x BLOB)").await.unwrap();
        for _ in 0..45 {
            let insert = "INSERT INTO t VALUES (zeroblob(1 << 20))";
            write(insert).await.unwrap();
        }
        let model = store.read_model("sums");
        assert!(log(&model) < 32 << 20, "{}", log(&model));
        let failed = ffi::Error::new(ffi::SQLITE_IOERR_FSYNC);
        let failed = rusqlite::Error::SqliteFailure(failed, None);
        target.disk.note(&failed);
        let refused = write("DELETE FROM t").await;
        assert!(
            matches!(refused, Err(EventStoreError::StorageFailed { .. })),
            "{refused:?}"
        );
        // The events are in another file, which this failure does not affect.
        append(&store, 1, 5).await.unwrap();
        let rows = |connection: &Connection| {
            connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        };
        let rows: Option<i64> = target.read(rows).await.unwrap();
        assert_eq!(rows, Some(45), "it can still be read");
        store.close().await;
        assert!(log(&model) > 0, "the log was checked in after the failure");
    }
}
