//! Conversions of SQLite's errors to those of an event store.

use std::{path::Path, sync::Arc};

use rusqlite::ErrorCode;

use crate::sqlite::write::{moved::is_moved, poison::is_failed_write};
use crate::store::EventStoreError;

/// An SQLite error that several callers of one group commit share.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Shared(Arc<rusqlite::Error>);

impl From<rusqlite::Error> for Shared {
    fn from(error: rusqlite::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl Shared {
    pub(crate) fn cause(&self) -> &rusqlite::Error {
        &self.0
    }

    /// Converts an error after which nothing is known to have been written.
    pub(crate) fn nothing_written(&self, path: Option<&Path>) -> EventStoreError {
        let source = Box::new(self.clone());
        let location = path.map_or_else(
            || "the database".to_owned(),
            |path| path.display().to_string(),
        );
        match self.0.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                EventStoreError::Busy { source }
            }
            Some(ErrorCode::DiskFull) => EventStoreError::StorageFull { source },
            _ if is_moved(&self.0) => EventStoreError::StorageMoved { location, source },
            Some(ErrorCode::ReadOnly) => EventStoreError::ReadOnly { location, source },
            Some(ErrorCode::NotADatabase) => EventStoreError::NotAnEventStore {
                location,
                reason: self.to_string(),
            },
            // SQLite also returns this code if the disk fails to read.
            Some(ErrorCode::DatabaseCorrupt) => EventStoreError::Corrupt {
                reason: format!(
                    "{self}; if the system's log reports that the disk failed to read, the file itself may be intact"
                ),
            },
            _ if is_failed_write(&self.0) => EventStoreError::StorageFailed { source },
            _ => EventStoreError::Other { source },
        }
    }

    /// Converts the error of a read-only database whose log index could not be created.
    pub(crate) fn of_read_only(&self, path: &Path) -> EventStoreError {
        match self.0.sqlite_error_code() {
            Some(ErrorCode::CannotOpen) => EventStoreError::ReadOnly {
                location: path.display().to_string(),
                source: Box::new(self.clone()),
            },
            _ => self.nothing_written(Some(path)),
        }
    }

    /// Converts the error of a failed COMMIT. A full disk or a busy file is rolled back; after any
    /// other error the outcome is unknown.
    pub(crate) fn of_commit(&self, path: Option<&Path>) -> EventStoreError {
        match self.nothing_written(path) {
            error @ (EventStoreError::Busy { .. } | EventStoreError::StorageFull { .. }) => error,
            _ => EventStoreError::OutcomeUnknown {
                source: Box::new(self.clone()),
            },
        }
    }
}

/// Converts the error of a read.
pub(crate) fn of_read(error: rusqlite::Error) -> EventStoreError {
    of_file(error, None)
}

/// Converts the error of a read, or of a write that is known to have written nothing.
pub(crate) fn of_file(error: rusqlite::Error, path: Option<&Path>) -> EventStoreError {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
    };
    match error {
        FromSqlConversionFailure(..)
        | IntegralValueOutOfRange(..)
        | InvalidColumnType(..)
        | Utf8Error(..) => EventStoreError::unreadable(&error),
        other => Shared::from(other).nothing_written(path),
    }
}
