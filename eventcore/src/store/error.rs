//! The errors of stores; every store has the same kinds.

use std::fmt;

use super::KeyReused;
use crate::{Version, stream::StreamId};

/// The underlying library's error, kept as the source.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// The error for a stream that was not as a commit expected it: another commit appended to it, or
/// its history was replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct VersionConflict {
    /// The stream.
    pub stream: StreamId,
    /// The version that was expected.
    pub expected: Version,
    /// The version that the stream has. Equal to the expected one if the stream has a different
    /// event at that version.
    pub actual: Version,
}

impl fmt::Display for VersionConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stream,
            expected,
            actual,
        } = self;
        if actual == expected {
            write!(
                f,
                "stream `{stream}` has another event at version {expected} than the one that was read; was a backup restored?"
            )
        } else {
            write!(
                f,
                "stream `{stream}` is at version {actual}, not at {expected} as it was read"
            )
        }
    }
}

/// The error of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventStoreError {
    /// An expected version does not match; nothing was written. The runtime reads again and
    /// retries.
    #[error(transparent)]
    VersionConflict(#[from] VersionConflict),
    /// The idempotency key was used for another request; nothing was written.
    #[error(transparent)]
    KeyReused(#[from] KeyReused),
    /// The store is busy, or chose this transaction as a victim; nothing was written. Worth a retry.
    #[error("the store is busy and nothing was written; try again")]
    Busy {
        /// The underlying error.
        source: Source,
    },
    /// The store cannot be reached; nothing was written. Worth a retry.
    #[error("the store cannot be reached; check that it runs")]
    Unavailable {
        /// The underlying error.
        source: Source,
    },
    /// The outcome of the commit is unknown. Repeating the same append is safe and resolves it.
    #[error("it is not known whether the commit was made; repeat it with the same commit id")]
    OutcomeUnknown {
        /// The underlying error.
        source: Source,
    },
    /// There is no space left; nothing was written.
    #[error("the disk of the event store is full and nothing was written; free some space")]
    StorageFull {
        /// The underlying error.
        source: Source,
    },
    /// A write to the disk failed. After that, what the operating system reports about the file is
    /// unreliable, so the store stops writing; this call wrote nothing. Everything that was
    /// acknowledged is stored.
    #[error(
        "the disk of the event store failed to write, so nothing more is written until the store is opened again; before \
         that, check the system's log, and repair or replace the disk"
    )]
    StorageFailed {
        /// The underlying error.
        source: Source,
    },
    /// The file of the store was deleted, moved or replaced while it was open. Data written to it
    /// now may be lost at the next open, so the store stops writing; this call wrote nothing.
    #[error(
        "the file of the event store at {location} was deleted, moved or replaced while it was open, so nothing more is \
         written until the store is opened again; before that, put the file back together with its `-wal` file, or \
         restore a backup"
    )]
    StorageMoved {
        /// The path of the file.
        location: String,
        /// The underlying error.
        source: Source,
    },
    /// The store is read-only; nothing was written.
    #[error(
        "the event store is read-only and nothing was written; check the permissions of {location}"
    )]
    ReadOnly {
        /// The file or server.
        location: String,
        /// The underlying error.
        source: Source,
    },
    /// The file or schema is not an event store.
    #[error("{location} is not an eventcore database and was left unchanged: {reason}")]
    NotAnEventStore {
        /// The file or server.
        location: String,
        /// The reason.
        reason: String,
    },
    /// The store was written by a newer version of this library.
    #[error(
        "{location} has schema version {found}, newer than {supported}, the newest that this build supports; upgrade \
         eventcore"
    )]
    NewerSchema {
        /// The file or server.
        location: String,
        /// The version found.
        found: i64,
        /// The newest version that this build knows.
        supported: i64,
    },
    /// A stored record breaks a rule that the store enforces on writes.
    #[error("a stored record is damaged: {reason}; restore it from a backup")]
    Corrupt {
        /// The fault and its location.
        reason: String,
    },
    /// The store was shut down.
    #[error("the event store is closed; open it again")]
    Closed,
    /// Another failure occurred; nothing was written. Displays as the underlying error.
    #[error(transparent)]
    Other {
        /// The underlying error.
        source: Source,
    },
}

impl EventStoreError {
    pub(crate) fn corrupt(reason: impl Into<String>) -> Self {
        Self::Corrupt {
            reason: reason.into(),
        }
    }

    /// Creates the error for a stored record that cannot be read because of `error`.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn unreadable(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::corrupt(crate::chain::chain(error))
    }

    /// Returns `true` if this store accepts no more commits, so that retrying is useless.
    pub(crate) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::StorageFailed { .. } | Self::StorageMoved { .. } | Self::Closed
        )
    }

    /// Returns `true` if nothing was written and the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::VersionConflict(_) | Self::Busy { .. } | Self::Unavailable { .. }
        )
    }
}
