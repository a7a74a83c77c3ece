//! Options of one execution.

use std::time::Duration;

use super::{CommandError, retry::RetryPolicy};
use crate::{
    Version,
    command::{DeclarationError, Slot},
    event::{Metadata, StreamKey},
    store::IdempotencyKey,
    stream::{StreamId, StreamIdError},
};

/// The default of [`ExecuteOptions::max_streams`].
const DEFAULT_MAX_STREAMS: usize = 1000;

/// The options of an execution: the retry policy, and metadata that is stored with the events.
///
/// ```
/// use eventcore::{ExecuteOptions, IdempotencyKey, RetryPolicy};
///
/// let options = ExecuteOptions::from(RetryPolicy::new())
///     .idempotency_key(IdempotencyKey::new("request-7")?)
///     .correlation_id("checkout-3");
/// # let _ = options;
/// # Ok::<(), eventcore::IdempotencyKeyError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ExecuteOptions {
    pub(crate) retry: RetryPolicy,
    pub(crate) metadata: Metadata,
    pub(crate) idempotency_key: Option<IdempotencyKey>,
    pub(crate) max_streams: usize,
    /// The versions that were shown to a user.
    pub(crate) expected: Vec<(Result<StreamId, StreamIdError>, Version)>,
}

impl ExecuteOptions {
    /// Creates the default options.
    pub fn new() -> Self {
        RetryPolicy::new().into()
    }

    /// Makes the command commit at most once under this key; a second execution returns the first
    /// one's result without running `handle`. If the key was made [for a
    /// request](IdempotencyKey::for_request), using it for a different request is refused with
    /// [`CommandError::KeyReused`](crate::CommandError::KeyReused).
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.idempotency_key = Some(key);
        self
    }

    /// Sets the correlation id, which all messages of one conversation share.
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.metadata = self.metadata.correlation_id(id);
        self
    }

    /// Sets the causation id: the id of the message that caused this command.
    pub fn causation_id(mut self, id: impl Into<String>) -> Self {
        self.metadata = self.metadata.causation_id(id);
        self
    }

    /// Sets the application's own metadata.
    pub fn user_metadata(mut self, value: serde_json::Value) -> Self {
        self.metadata = self.metadata.user(value);
        self
    }

    /// Sets the time that the command may take from its start; see [`RetryPolicy::deadline`].
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.retry = self.retry.deadline(deadline);
        self
    }

    /// Sets the maximum number of streams that the command may have, declared and discovered
    /// together; 1,000 by default.
    pub fn max_streams(mut self, streams: usize) -> Self {
        self.max_streams = streams;
        self
    }

    /// Sets the retry policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Demands that a stream still has the version that a user was shown, as with an `If-Match`
    /// header. Otherwise the command fails with
    /// [`CommandError::VersionMoved`](crate::CommandError::VersionMoved) before it decides.
    ///
    /// The stream must be one of the command's. May be called for several streams.
    pub fn expect_version<K: StreamKey>(mut self, key: &K, version: Version) -> Self {
        self.expected.push((key.stream_id(), version));
        self
    }

    /// Checks the expected versions against the streams of a command.
    pub(super) fn check_versions<E>(&self, slots: &[Slot]) -> Result<(), CommandError<E>> {
        for (stream, expected) in &self.expected {
            let stream = match stream {
                Ok(stream) => stream.clone(),
                Err(source) => {
                    return Err(CommandError::Declaration(
                        DeclarationError::InvalidStreamId {
                            field: "ExecuteOptions::expect_version",
                            source: source.clone(),
                        },
                    ));
                }
            };
            match slots.iter().find(|slot| slot.stream == stream) {
                Some(slot) if slot.version == *expected => {}
                Some(slot) => {
                    return Err(CommandError::VersionMoved {
                        stream,
                        expected: *expected,
                        actual: slot.version,
                    });
                }
                None => return Err(CommandError::UnknownExpectation { stream }),
            }
        }
        Ok(())
    }
}

impl Default for ExecuteOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl From<RetryPolicy> for ExecuteOptions {
    fn from(retry: RetryPolicy) -> Self {
        Self {
            retry,
            metadata: Metadata::default(),
            idempotency_key: None,
            max_streams: DEFAULT_MAX_STREAMS,
            expected: Vec::new(),
        }
    }
}
