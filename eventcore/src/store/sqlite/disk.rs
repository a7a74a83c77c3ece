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
pub(super) struct Disk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// The first write that failed.
    failure: OnceLock<ffi::Error>,
    /// How long the log was after the last commit.
    log: AtomicI32,
}

impl Disk {
    /// Takes it on to check in the log of a connection, whose failure SQLite itself would keep to itself.
    pub(super) fn attach(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let disk = self.clone();
        connection.wal_hook(Some(move |_: &mut _, pages| {
            disk.0.log.store(pages, Ordering::Relaxed);
            Ok(())
        }))
    }

    /// Refuses to write after a write has failed.
    pub(super) fn check(&self) -> rusqlite::Result<()> {
        match self.0.failure.get() {
            None => Ok(()),
            Some(failure) => {
                let why = format!("{failure}; nothing was written after it");
                Err(rusqlite::Error::SqliteFailure(*failure, Some(why)))
            }
        }
    }

    /// Looks whether an error of a write says that the disk failed.
    pub(super) fn note(&self, error: &rusqlite::Error, connection: &Connection) {
        if !is_failed_write(error) {
            return;
        }
        if let Some(failure) = error.sqlite_error()
            && self.0.failure.set(*failure).is_ok()
        {
            tracing::error!(%error, "the disk of the event store failed to write; nothing more is written");
        }
        // What the log holds stays there.
        let leave_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        let _ = connection.set_db_config(leave_log, true);
    }

    /// Brings the log into the file if it is long.
    pub(super) fn check_in(&self, connection: &Connection) {
        if self.0.log.load(Ordering::Relaxed) < LONG || self.check().is_err() {
            return;
        }
        let main = Some(MAIN_DB);
        if let Err(error) = connection.wal_checkpoint_v2(main, CheckpointMode::PASSIVE) {
            // Anything else, such as a full disk, passes: the log only grows.
            self.note(&error, connection);
        }
    }
}

/// Whether it is about a write that the system took and the disk then refused.
pub(super) fn is_failed_write(error: &rusqlite::Error) -> bool {
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
