//! Whether the disk keeps what it is given. It may only say so in answer to a write: what a system tells of a file after
//! a failed one cannot be relied on, so from then on nothing more is written to it.
//!
//! The system drops what it could not write and answers the next call as if nothing had been (see Rebello et al., "Can
//! Applications Recover from fsync Failures?", USENIX ATC 2020). PostgreSQL ends itself in this place. What was
//! acknowledged before is in the part of the log that did reach the disk, and nothing is written over it any more.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicI32, Ordering},
};

use rusqlite::{Connection, MAIN_DB, config::DbConfig, ffi, wal::CheckpointMode};

/// The log is checked in when it has this many pages, 16 MiB rather than SQLite's 4: many commits then write the same
/// pages of an index once to the file.
const LONG: i32 = 4000;

/// What the connections that write to one file share. Cloning gives another handle to it.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// The first write that failed.
    failure: OnceLock<ffi::Error>,
    /// How long the log was after the last commit.
    log: AtomicI32,
}

impl Disk {
    /// Takes it on to check in the log of a connection, whose failure SQLite itself would keep to itself.
    pub(crate) fn attach(&self, connection: &mut Connection) -> rusqlite::Result<()> {
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
            Some(failure) => {
                let why = format!("{failure}; nothing was written after it");
                Err(rusqlite::Error::SqliteFailure(*failure, Some(why)))
            }
        }
    }

    /// Looks whether an error of a write says that the disk failed.
    pub(crate) fn note(&self, error: &rusqlite::Error) {
        if is_failed_write(error)
            && let Some(failure) = error.sqlite_error()
            && self.0.failure.set(*failure).is_ok()
        {
            tracing::error!(%error, "the disk of the event store failed to write; nothing more is written");
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

    /// Brings the log into the file if it is long.
    pub(crate) fn check_in(&self, connection: &Connection) {
        if self.0.log.load(Ordering::Relaxed) < LONG || self.check().is_err() {
            return;
        }
        let main = Some(MAIN_DB);
        if let Err(error) = connection.wal_checkpoint_v2(main, CheckpointMode::PASSIVE) {
            // Anything else, such as a full disk, passes: the log only grows.
            self.note(&error);
        }
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
}
