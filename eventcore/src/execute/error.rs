//! The errors of a command.

use std::{fmt, time::Duration};

use crate::{
    Position, Version,
    command::{DeclarationError, HandleMismatch},
    event::{DecodeError, EncodeError},
    store::{AppendError, EventStoreError, KeyReused, VersionConflict},
    stream::StreamId,
};

/// The error for a command that did not succeed. Unless a variant says otherwise, nothing was
/// written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError<E> {
    /// The command refused with its own error.
    #[error(transparent)]
    BusinessRuleViolation(E),
    /// Other writers committed first at every attempt that the retry policy allows.
    #[error(
        "gave up after {attempts} attempt(s), {ended_by}; allow more, or spread the load over more streams"
    )]
    ConcurrencyError {
        /// The number of attempts.
        attempts: u32,
        /// The bound of the retry policy that was reached.
        ended_by: RetryBound,
        /// The last conflict.
        #[source]
        conflict: VersionConflict,
    },
    /// The deadline passed before the store answered; nothing was written.
    #[error(
        "the store did not answer within the deadline of {deadline:?} (attempt {attempts}), and nothing was written; \
         check the store, or allow more time with `ExecuteOptions::deadline`"
    )]
    DeadlineExceeded {
        /// The number of the attempt that was in progress.
        attempts: u32,
        /// The deadline, counted from the start of the execution.
        deadline: Duration,
    },
    /// The store failed.
    #[error("the event store failed")]
    EventStoreError(#[source] EventStoreError),
    /// The idempotency key was used for another request.
    #[error(transparent)]
    KeyReused(#[from] KeyReused),
    /// The streams of the command are refused; see [`DeclarationError`] for the reasons, such as
    /// [`DeclarationError::DuplicateStream`].
    #[error(transparent)]
    Declaration(#[from] DeclarationError),
    /// The command has more streams, declared and discovered together, than the limit.
    #[error(
        "the command has {streams} streams, more than {limit}; check its resolver, or raise \
         `ExecuteOptions::max_streams`"
    )]
    TooManyStreams {
        /// The number of streams.
        streams: usize,
        /// The limit.
        limit: usize,
    },
    /// The resolver keeps changing its answer without naming new streams.
    #[error(
        "the resolver did not settle after {rounds} rounds; make `discover_related_streams` depend on the state only"
    )]
    DiscoveryUnsettled {
        /// The number of rounds.
        rounds: usize,
    },
    /// A stored event cannot be read, so there is no state to decide on. Such an event is never
    /// skipped.
    #[error(
        "event {version} of stream `{stream}` (position {position}, type `{type_name}`) cannot be read"
    )]
    UnreadableEvent {
        /// The stream.
        stream: StreamId,
        /// The version of the event.
        version: Version,
        /// The position of the event.
        position: Position,
        /// The stored name of the event.
        type_name: String,
        /// The reason.
        source: DecodeError,
    },
    /// [`StreamState::apply`](crate::StreamState::apply) panicked, so there is no state to decide
    /// on. Other commands on the stream are not affected, unless it panics for them as well.
    #[error(
        "the state of stream `{stream}` panicked when event {version} was applied to it (position {position}, type \
         `{type_name}`): {message}"
    )]
    StatePanicked {
        /// The stream.
        stream: StreamId,
        /// The version of the event.
        version: Version,
        /// The position of the event.
        position: Position,
        /// The stored name of the event.
        type_name: String,
        /// The message of the panic.
        message: String,
    },
    /// A stream does not have the version that
    /// [`ExecuteOptions::expect_version`](crate::ExecuteOptions::expect_version) demands: it has
    /// changed since it was shown.
    #[error(
        "stream `{stream}` is at version {actual}, and version {expected} was expected; show the current state and ask again"
    )]
    VersionMoved {
        /// The stream.
        stream: StreamId,
        /// The expected version.
        expected: Version,
        /// The version of the stream.
        actual: Version,
    },
    /// [`ExecuteOptions::expect_version`](crate::ExecuteOptions::expect_version) names a stream that
    /// the command does not have.
    #[error(
        "a version of stream `{stream}` is expected, which is none of the command's streams; name one of its stream fields"
    )]
    UnknownExpectation {
        /// The stream.
        stream: StreamId,
    },
    /// An appended event cannot be stored.
    #[error("event `{type_name}` for field `{field}` (stream `{stream}`) cannot be stored")]
    UnstorableEvent {
        /// The field through whose handle it was appended.
        field: &'static str,
        /// The stream.
        stream: StreamId,
        /// The stored name of the event.
        type_name: &'static str,
        /// The reason.
        source: EncodeError,
    },
    /// The commit is too large.
    #[error(transparent)]
    AppendError(#[from] AppendError),
    /// The handles of a command with a hand-written [`CommandStreams`](crate::CommandStreams) do
    /// not match its declarations.
    #[error(transparent)]
    HandleMismatch(#[from] HandleMismatch),
    /// An append to a stream that the command did not declare for writing; only reachable by
    /// circumventing the types.
    #[error("an append to slot {slot}, which the command did not declare for writing, was refused")]
    UndeclaredWrite {
        /// The slot.
        slot: usize,
    },
    /// The store was unreachable past the deadline, or cannot continue, and it is unknown whether
    /// the commit was made. It was made as a whole or not at all.
    #[error(
        "it is not known whether the commit was made; look for its events, or run the command again with the same \
         idempotency key"
    )]
    OutcomeUnknown {
        /// The last error of the store.
        source: EventStoreError,
    },
}

impl<E> From<EventStoreError> for CommandError<E> {
    fn from(error: EventStoreError) -> Self {
        match error {
            EventStoreError::KeyReused(reused) => Self::KeyReused(reused),
            error => Self::EventStoreError(error),
        }
    }
}

/// A bound of the [`RetryPolicy`](crate::RetryPolicy).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryBound {
    /// The limit set with [`RetryPolicy::max_attempts`](crate::RetryPolicy::max_attempts).
    Attempts,
    /// The limit set with [`RetryPolicy::deadline`](crate::RetryPolicy::deadline).
    Deadline,
}

impl fmt::Display for RetryBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attempts => "as many as the retry policy allows",
            Self::Deadline => "when the deadline was reached",
        })
    }
}
