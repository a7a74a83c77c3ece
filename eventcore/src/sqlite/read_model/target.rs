//! The file of one read model, live or rebuilt, and the connections of this process to it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use rusqlite::{Connection, ffi};

use crate::sqlite::{
    error::of_file,
    read_model::{
        file::{self, Side, failure},
        guard::Guard,
        transaction::SqliteTransaction,
        write_lock::FairLock,
    },
    schema::BUSY,
    write::poison::Disk,
};
use crate::store::EventStoreError;

/// The read models of a store that are open in this process.
pub(crate) struct Targets {
    /// The store's file with symbolic links resolved, so that each read model has a single path.
    store: PathBuf,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    targets: HashMap<(Box<str>, Side), Weak<Target>>,
    closed: bool,
}

impl Targets {
    pub(crate) fn new(store: PathBuf) -> Self {
        Self {
            store,
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn live_path(&self, name: &str) -> PathBuf {
        file::path(&self.store, name, Side::Live)
    }

    /// Returns the target of a read model. The file is opened when it is first used.
    pub(crate) fn get(&self, name: &str, side: Side) -> Arc<Target> {
        let mut open = self.open();
        let key = (Box::from(name), side);
        if let Some(target) = open.targets.get(&key).and_then(Weak::upgrade) {
            return target;
        }
        let target = Arc::new(Target {
            name: name.into(),
            path: file::path(&self.store, name, side),
            store: self.store.clone(),
            turns: FairLock::default(),
            disk: Disk::default(),
            slot: Mutex::default(),
            reader: Mutex::default(),
        });
        if open.closed {
            target.slot().closed = true;
        } else {
            // Forget targets that are no longer in use.
            open.targets.retain(|_, target| target.strong_count() > 0);
            open.targets.insert(key, Arc::downgrade(&target));
        }
        target
    }

    /// Closes all targets permanently.
    pub(crate) fn close(&self) {
        let targets = {
            let mut open = self.open();
            open.closed = true;
            std::mem::take(&mut open.targets)
        };
        for target in targets.values().filter_map(Weak::upgrade) {
            target.close();
        }
    }
}

pub(crate) struct Target {
    pub(crate) name: Box<str>,
    path: PathBuf,
    store: PathBuf,
    /// The write lock of this process. It is fair; SQLite's own lock is not.
    pub(crate) turns: FairLock,
    pub(crate) disk: Disk,
    slot: Mutex<Slot>,
    /// The connection for queries about the projection while a batch is in progress.
    reader: Mutex<Option<Connection>>,
}

#[derive(Default)]
struct Slot {
    /// Opened at the first use, and taken by the task that holds the write lock.
    connection: Option<Writer>,
    closed: bool,
}

impl Slot {
    fn check(&self) -> rusqlite::Result<()> {
        if self.closed {
            let why = "the event store is closed".to_owned();
            return Err(failure(ffi::SQLITE_MISUSE, why));
        }
        Ok(())
    }
}

/// The connection that writes, with the guard that limits what a projection may do on it.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) guard: Guard,
}

impl Target {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection to the task that holds the write lock.
    pub(crate) fn take(&self) -> rusqlite::Result<Writer> {
        let mut slot = self.slot();
        slot.check()?;
        self.disk.check()?;
        if let Some(connection) = slot.connection.take() {
            return Ok(connection);
        }
        let mut connection = self.connect()?;
        Disk::attach(&connection)?;
        let guard = Guard::default();
        guard.attach(&mut connection)?;
        Ok(Writer { connection, guard })
    }

    pub(crate) fn give_back(&self, writer: Writer) {
        let mut slot = self.slot();
        if slot.closed {
            self.disk.close(writer.connection);
        } else {
            slot.connection = Some(writer);
        }
    }

    /// Opens a separate connection to the file, which is created if it does not exist.
    pub(crate) fn connect(&self) -> rusqlite::Result<Connection> {
        file::open(&self.path, &self.store, &self.name)
    }

    /// Closes the connections permanently.
    fn close(&self) {
        // Wait for the write in progress.
        let _turn = self.turns.take(BUSY);
        self.slot().closed = true;
        self.disconnect();
    }

    fn disconnect(&self) {
        // The last connection checkpoints the log, unless the disk has failed.
        *self.reader() = None;
        if let Some(writer) = self.slot().connection.take() {
            self.disk.close(writer.connection);
        }
    }

    fn reader(&self) -> MutexGuard<'_, Option<Connection>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn failed(&self, error: rusqlite::Error) -> EventStoreError {
        if self.slot().closed {
            return EventStoreError::Closed;
        }
        of_file(error, Some(&self.path))
    }

    /// Queries the file on a thread that may block. Returns `None` if the file does not exist yet.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Option<T>, EventStoreError> {
        let target = self.clone();
        let read = move || {
            target.slot().check()?;
            let mut reader = target.reader();
            if reader.is_none() {
                *reader = file::open_reader(&target.path, &target.name)?;
            }
            reader.as_ref().map(query).transpose()
        };
        let read = blocking(read).await?;
        read.map_err(|error| self.failed(error))
    }

    /// Runs a write in its own transaction, on a thread that may block.
    pub(crate) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, EventStoreError> {
        let target = self.clone();
        let written = move || {
            let mut transaction = SqliteTransaction::new(target);
            let result = transaction.lifted(work)?;
            transaction.commit()?;
            Ok(result)
        };
        let written = blocking(written).await?;
        written.map_err(|error| self.failed(error))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.disconnect();
    }
}

/// Runs work that may block briefly.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EventStoreError> {
    let ran = tokio::task::spawn_blocking(work).await;
    ran.map_err(|panicked| EventStoreError::Other {
        source: panicked.into(),
    })
}
