//! Whether the disk keeps what it is given. It may only say so in answer to a write: what a system tells of a file after
//! a failed one cannot be relied on, so from then on nothing more is written to it.
//!
//! The system drops what it could not write and answers the next call as if nothing had been (see Rebello et al., "Can
//! Applications Recover from fsync Failures?", USENIX ATC 2020). PostgreSQL ends itself in this place. What was
//! acknowledged before is in the part of the log that did reach the disk, and nothing is written over it any more.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, MAIN_DB, config::DbConfig, ffi, wal::CheckpointMode};

use crate::sqlite::{schema::BUSY, write::moved::is_moved};

/// The log is checked in when it has this many pages, 16 MiB rather than SQLite's 4: many commits then write the same
/// pages of an index once to the file.
const LONG: i32 = 4000;
/// The size of the log's file that is left when the log starts over: that of [`LONG`] pages.
const KEPT: i32 = LONG * 4096;
/// From this many pages on, 64 MiB, readers are waited for. The log can only start over at a moment when nobody reads from
/// it, which never comes by itself while reads overlap.
const TOO_LONG: i32 = 4 * LONG;
/// The longest wait for readers, which commits wait for, too. One who reads for longer is waited for again when the log has
/// grown by [`LONG`].
const WAIT: Duration = Duration::from_millis(100);

/// What the connections that write to one file share. Cloning gives another handle to it.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Inner>);

struct Inner {
    /// The first write that failed, and what was said of it.
    failure: OnceLock<(ffi::Error, String)>,
    /// How long the log was after the last commit.
    log: AtomicI32,
    /// How long the log has to be until readers are waited for next.
    wait_at: AtomicI32,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            failure: OnceLock::new(),
            log: AtomicI32::new(0),
            wait_at: AtomicI32::new(TOO_LONG),
        }
    }
}

impl Disk {
    /// Takes it on to check in the log of a connection, whose failure SQLite itself would keep to itself. The file of a log
    /// that was too long is cut when the log starts over.
    pub(crate) fn attach(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        connection.pragma_update_and_check(None, "journal_size_limit", KEPT, |_| Ok(()))?;
        let disk = self.clone();
        connection.wal_hook(Some(move |_: &mut _, pages| {
            disk.0.log.store(pages, Ordering::Relaxed);
            Ok(())
        }))
    }

    /// Refuses to write after a write has failed.
    pub(crate) fn check(&self) -> rusqlite::Result<()> {
        match self.0.failure.get() {
            None => Ok(()),
            Some((failure, message)) => {
                let why = format!("{message}; nothing was written after it");
                Err(rusqlite::Error::SqliteFailure(*failure, Some(why)))
            }
        }
    }

    /// Remembers an error that says that the disk failed to write, or that the file is not at its path any more.
    pub(crate) fn note(&self, error: &rusqlite::Error) {
        if (is_failed_write(error) || is_moved(error))
            && let Some(failure) = error.sqlite_error()
            && self.0.failure.set((*failure, error.to_string())).is_ok()
        {
            tracing::error!(%error, "the event store cannot write; nothing more is written");
        }
    }

    /// Before the last connection is closed: after a failure, what the log holds stays there.
    pub(crate) fn close(&self, connection: Connection) {
        if self.check().is_err() {
            let leave_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            let _ = connection.set_db_config(leave_log, true);
        }
        drop(connection);
    }

    /// Brings the log into the file if it is long, and lets it start over if it is too long.
    pub(crate) fn check_in(&self, connection: &Connection) {
        let log = self.0.log.load(Ordering::Relaxed);
        if log < LONG || self.check().is_err() {
            return;
        }
        let checked_in = if log < self.0.wait_at.load(Ordering::Relaxed) {
            connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE)
        } else {
            self.start_over(connection, log)
        };
        if let Err(error) = checked_in {
            // Anything else, such as a full disk, passes: the log only grows.
            self.note(&error);
        }
    }

    /// Waits for those who read from the log. Others who begin to read meanwhile do so from the file, so it is a wait for
    /// the longest read and not for a pause of all.
    fn start_over(&self, connection: &Connection, log: i32) -> rusqlite::Result<(i32, i32)> {
        connection.busy_timeout(WAIT)?;
        let done = connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE);
        connection.busy_timeout(BUSY)?;
        let next = match done {
            Ok(_) => TOO_LONG,
            Err(_) => log.saturating_add(LONG),
        };
        self.0.wait_at.store(next, Ordering::Relaxed);
        done
    }
}

/// Whether it is about a write that the system took and the disk then refused.
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
        sqlite::SqliteEventStore,
        store::{
            AppendEvents, Appended, EventStore, EventStoreError, ExpectedVersion, NewEvent,
            ReadStreams, StreamCursor,
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
    ) -> Result<Appended, EventStoreError> {
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
        let request = AppendEvents::new(id, vec![expected], vec![event], metadata, None);
        store.append(request.unwrap()).await
    }

    async fn version(store: &SqliteEventStore) -> u64 {
        let cursor = StreamCursor {
            stream: stream(),
            after: Version::EMPTY,
        };
        let request = ReadStreams {
            streams: vec![cursor],
            up_to: None,
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
        let store = SqliteEventStore::open(&path).await.unwrap();
        append(&store, 0, 5).await.unwrap();
        let place = store.place();
        let failed = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        // What a disk says when it cannot be read, or is full, says nothing about what it keeps.
        for passing in [ffi::SQLITE_IOERR_READ, ffi::SQLITE_FULL, ffi::SQLITE_BUSY] {
            place.disk.note(&failed(passing));
        }
        append(&store, 1, 5).await.unwrap();
        place.disk.note(&failed(ffi::SQLITE_IOERR_FSYNC));
        let refused = append(&store, 2, 5).await.unwrap_err();
        let EventStoreError::StorageFailed { source } = &refused else {
            panic!("{refused:?}");
        };
        assert!(
            source.to_string().contains("nothing was written after it"),
            "{source}"
        );
        let refused = place
            .write(|connection| connection.execute("CREATE TABLE t (x)", []))
            .await;
        assert!(
            matches!(refused, Err(EventStoreError::StorageFailed { .. })),
            "{refused:?}"
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
        // By a projection's commits too.
        let place = store.place();
        let table = "CREATE TABLE t (x BLOB)";
        place
            .write(|connection| connection.execute(table, []))
            .await
            .unwrap();
        for _ in 0..45 {
            let insert = "INSERT INTO t VALUES (zeroblob(1 << 20))";
            place
                .write(|connection| connection.execute(insert, []))
                .await
                .unwrap();
        }
        assert!(log(&path) < 32 << 20, "{}", log(&path));
        store.wait(Position::START).await.unwrap();
    }

    /// Reads from a connection of its own, as another process would, so that at every moment one such read is under way.
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

        /// Begins the next read, then ends the last one.
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
        // Each 16 MiB there is another try, should one of the reads take long on a busy machine.
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
}
