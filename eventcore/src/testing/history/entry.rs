//! The entries of a history.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Entry {
    /// A command started.
    Started(Started),
    /// A command is about to append. Written before the store is called, so that the commit can be
    /// attributed to the command even if the process is killed.
    Appending(Attempt),
    /// A command ended.
    Ended(Ended),
}

/// The start of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The id of the command: the name of its history and a number.
    pub command: String,
    /// The time, in nanoseconds since 1970.
    pub at: u64,
}

/// One commit that a command attempted. A command that is retried makes several attempts with the
/// same commit id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The id of the command.
    pub command: String,
    /// The id of the commit.
    pub commit: Uuid,
    /// The streams of the commit with their expected versions.
    pub expected: Vec<(String, u64)>,
    /// The events, in order.
    pub events: Vec<WrittenEvent>,
}

/// One event of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenEvent {
    /// The index of its stream among the expected ones.
    pub stream: usize,
    /// The stored type name.
    pub type_name: String,
    /// The payload.
    pub payload: String,
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The id of the command.
    pub command: String,
    /// The time, in nanoseconds since 1970.
    pub at: u64,
    /// The reads on which the decision is based.
    pub read: Vec<ReadStream>,
    /// `true` if all reads came from one snapshot, that is, from one round of one attempt.
    pub one_snapshot: bool,
    /// The result of the command.
    pub outcome: Outcome,
}

/// The read of one stream by a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadStream {
    /// The stream.
    pub stream: String,
    /// The version up to which it was read.
    pub version: u64,
    /// The version after which it was read: 0, unless the command started from a state that an
    /// earlier command had folded.
    #[serde(default)]
    pub after: u64,
    /// A hash of the events after `after`, up to `version`.
    pub mark: u64,
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The command succeeded.
    Committed {
        /// The position that the store returned.
        position: u64,
        /// The number of written events that the store returned; 0 for a command that only read.
        events: usize,
        /// `true` if the commit was made before, under the same idempotency key.
        repeated: bool,
    },
    /// A business rule rejected the command: nothing was written.
    Rejected,
    /// The command failed: nothing was written.
    Failed(String),
    /// The outcome is unknown: either the whole commit was written or nothing.
    Unknown,
}
