//! Errors of a command.

use std::{fmt, time::Duration};

use crate::{
    Position, Version,
    command::{DeclarationError, HandleMismatch},
    event::{DecodeError, EncodeError},
    store::{AppendRefused, EventStoreError, KeyReused, VersionConflict},
    stream::StreamId,
};

/// The error of a command that did not succeed. Unless a variant says otherwise, nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError<E> {
    /// The command refused, with its own error.
    #[error("{0}")]
    BusinessRuleViolation(#[source] E),
    /// Other writers were faster at every attempt that the retry policy allows.
    #[error(
        "gave up after {attempts} attempt(s), {ended_by}: {conflict}; allow more, or spread the load over more streams"
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
    /// The deadline passed while the store had not answered; nothing was written.
    #[error(
        "the store did not answer within the deadline of {deadline:?} (attempt {attempts}), and nothing was written; \
         check the store, or allow more time with `ExecuteOptions::deadline`"
    )]
    DeadlineExceeded {
        /// The attempt that was under way.
        attempts: u32,
        /// The deadline, counted from the start of the execution.
        deadline: Duration,
    },
    /// The store failed.
    #[error("the command could not run: {0}")]
    EventStoreError(#[source] EventStoreError),
    /// The idempotency key was used for another request.
    #[error(transparent)]
    KeyReused(#[from] KeyReused),
    /// The streams of the command are refused: [`DeclarationError::DuplicateStream`] and its like.
    #[error(transparent)]
    Declaration(#[from] DeclarationError),
    /// Declared and discovered streams together are more than the limit.
    #[error(
        "the command has {streams} streams, more than {limit}; check its resolver, or raise \
         `ExecuteOptions::max_streams`"
    )]
    TooManyStreams {
        /// The number that it has.
        streams: usize,
        /// The limit.
        limit: usize,
    },
    /// The resolver changes its answer again and again without naming new streams.
    #[error(
        "the resolver did not settle after {rounds} rounds; make `discover_related_streams` depend on the state only"
    )]
    DiscoveryUnsettled {
        /// The number of rounds.
        rounds: usize,
    },
    /// A stored event cannot be read, so there is no state to decide on. It is never skipped.
    #[error(
        "event {version} of stream `{stream}` (position {position}, type `{type_name}`) cannot be read: {source}"
    )]
    UnreadableEvent {
        /// The stream.
        stream: StreamId,
        /// The version of the event.
        version: Version,
        /// The position of the event.
        position: Position,
        /// Its stored name.
        type_name: String,
        /// The reason.
        source: DecodeError,
    },
    /// An appended event cannot be stored.
    #[error(
        "event `{type_name}` for field `{field}` (stream `{stream}`) cannot be stored: {source}"
    )]
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
    AppendRefused(#[from] AppendRefused),
    /// The handles of a command with a hand-written [`CommandStreams`](crate::CommandStreams) are not those of its
    /// declarations.
    #[error(transparent)]
    HandleMismatch(#[from] HandleMismatch),
    /// A write to a stream that the command did not declare for writing; only reachable by going around the types.
    #[error("an append to slot {slot}, which the command did not declare for writing, was refused")]
    UndeclaredWrite {
        /// The slot.
        slot: usize,
    },
    /// The store stayed out of reach past the deadline, or cannot go on, and whether the commit was made is not known. It
    /// is whole or not there at all.
    #[error(
        "it is not known whether the commit was made; look for its events, or run the command again with the same \
         idempotency key: {source}"
    )]
    OutcomeUnknown {
        /// The last thing that the store said.
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
    /// [`RetryPolicy::max_attempts`](crate::RetryPolicy::max_attempts).
    Attempts,
    /// [`RetryPolicy::deadline`](crate::RetryPolicy::deadline).
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
