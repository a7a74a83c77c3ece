//! The result of a successful command.

use crate::{
    Position, Version,
    store::{AppendRequest, CommitReceipt},
    stream::StreamId,
};

/// The result of a committed command.
#[derive(Debug, Clone)]
pub struct ExecutionResponse {
    attempts: u32,
    appended: CommitReceipt,
    request: Option<AppendRequest>,
}

impl ExecutionResponse {
    pub(super) fn new(
        attempts: u32,
        appended: CommitReceipt,
        request: Option<AppendRequest>,
    ) -> Self {
        Self {
            attempts,
            appended,
            request,
        }
    }

    /// Returns the number of attempts, from 1.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the position of the commit's last event; for a command that wrote nothing, that of
    /// the latest event in the store. A read model that has reached this position reflects the
    /// command.
    pub fn position(&self) -> Position {
        self.appended.position
    }

    /// Returns the number of events that were written.
    pub fn events_written(&self) -> usize {
        self.appended.events
    }

    /// Returns `true` if this is the result of an earlier execution with the same idempotency key,
    /// and nothing was written now.
    pub fn is_repeated(&self) -> bool {
        self.appended.repeated
    }

    /// Returns each stream that was written, with its version after the commit, in the order of the
    /// declarations. `None` for a [repeated](Self::is_repeated) result: the writes of the earlier
    /// execution are in the events up to [`position`](Self::position).
    pub fn versions(&self) -> Option<Vec<(StreamId, Version)>> {
        let request = self.request.as_ref().filter(|_| !self.appended.repeated)?;
        let mut written = vec![0_u64; request.expected().len()];
        for event in request.events() {
            if let Some(count) = written.get_mut(event.stream) {
                *count += 1;
            }
        }
        let streams = request
            .expected()
            .iter()
            .zip(written)
            .filter(|(_, count)| *count > 0);
        let after = streams
            .map(|(before, count)| (before.stream.clone(), before.version.plus(count)))
            .collect();
        Some(after)
    }
}
