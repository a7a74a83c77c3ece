//! A file that holds read models, and the one connection of this process that writes them.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, ffi};

use crate::sqlite::{
    error::Shared, read_model::transaction::SqliteTransaction, schema, write::poison::Disk,
    write::write_lock::Turns,
};
use crate::store::EventStoreError;

pub(crate) struct Place {
    path: PathBuf,
    /// The file with the events, if this is not it.
    store: Option<PathBuf>,
    pub(crate) turns: Turns,
    pub(crate) disk: Disk,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    /// Opened at the first use. Whoever has the turn takes it.
    connection: Option<Connection>,
    closed: bool,
}

impl Place {
    /// The file with the events.
    pub(crate) fn store(path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            path,
            store: None,
            turns: Turns::default(),
            disk: Disk::default(),
            slot: Mutex::default(),
        })
    }

    /// A file beside it.
    pub(crate) fn beside(path: PathBuf, store: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            path,
            store: Some(store),
            turns: Turns::default(),
            disk: Disk::default(),
            slot: Mutex::default(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, for whoever has the turn.
    pub(crate) fn take(&self) -> rusqlite::Result<Connection> {
        let mut slot = self.slot();
        if slot.closed {
            let closed = ffi::Error::new(ffi::SQLITE_MISUSE);
            let why = Some("the event store is closed".to_owned());
            return Err(rusqlite::Error::SqliteFailure(closed, why));
        }
        self.disk.check()?;
        if let Some(connection) = slot.connection.take() {
            return Ok(connection);
        }
        let mut connection = match &self.store {
            None => schema::open_projections(&self.path),
            Some(store) => schema::open_rebuild(&self.path, store),
        }?;
        self.disk.attach(&mut connection)?;
        Ok(connection)
    }

    pub(crate) fn give_back(&self, connection: Connection) {
        let mut slot = self.slot();
        if !slot.closed {
            slot.connection = Some(connection);
        }
    }

    /// Closes the connection, for ever.
    pub(crate) fn close(&self) {
        // What is being written goes on to its end.
        let _turn = self.turns.take(schema::BUSY);
        let mut slot = self.slot();
        slot.closed = true;
        slot.connection = None;
    }

    pub(crate) fn failed(&self, error: rusqlite::Error) -> EventStoreError {
        if self.slot().closed {
            return EventStoreError::Closed;
        }
        Shared::from(error).nothing_written(Some(&self.path))
    }

    /// Runs a write in a transaction of its own, in a thread that may block.
    pub(crate) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, EventStoreError> {
        let place = self.clone();
        let written = move || {
            let mut transaction = SqliteTransaction::new(place);
            let result = work(transaction.connection()?)?;
            transaction.commit()?;
            Ok(result)
        };
        let written = blocking(written).await?;
        written.map_err(|error| self.failed(error))
    }
}

/// Runs work that may block for a moment.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EventStoreError> {
    let ran = tokio::task::spawn_blocking(work).await;
    ran.map_err(|panicked| EventStoreError::Other {
        source: panicked.into(),
    })
}
