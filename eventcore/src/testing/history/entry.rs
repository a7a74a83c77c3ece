//! The lines of a history.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One line: a command has started, is about to append, or has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Entry {
    /// A command has started.
    Started(Started),
    /// A command is about to append. It is written before the store is called, so that a commit of a process that was
    /// killed is known as its own.
    Appending(Attempt),
    /// A command has ended.
    Ended(Ended),
}

/// The start of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The command: the name of its history and a number.
    pub command: String,
    /// When, in nanoseconds since 1970.
    pub at: u64,
}

/// One commit that a command has asked for. A command that is retried asks several times under one commit id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The command.
    pub command: String,
    /// The id of the commit.
    pub commit: Uuid,
    /// Every stream of the commit with the version that it expects.
    pub expected: Vec<(String, u64)>,
    /// The events, in order.
    pub events: Vec<WrittenEvent>,
}

/// One event of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenEvent {
    /// The index of its stream among the expected ones.
    pub stream: usize,
    /// Its stored name.
    pub type_name: String,
    /// Its payload.
    pub payload: String,
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The command.
    pub command: String,
    /// When, in nanoseconds since 1970.
    pub at: u64,
    /// The reads that it decided on.
    pub read: Vec<ReadStream>,
    /// `true` if all that it read came from one snapshot: it was read in one round and in one attempt.
    pub one_snapshot: bool,
    /// Its result.
    pub outcome: Outcome,
}

/// The read of one stream by a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadStream {
    /// The stream.
    pub stream: String,
    /// Its version.
    pub version: u64,
    /// The version after which it read: 0, unless it went on from a state that an earlier command had folded.
    #[serde(default)]
    pub after: u64,
    /// A mark of all its events from there up to that version.
    pub mark: u64,
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It succeeded.
    Committed {
        /// The position that it was told.
        position: u64,
        /// The number of events that it was told it wrote; 0 for a command that only read.
        events: usize,
        /// `true` if it was made before, under the same idempotency key.
        repeated: bool,
    },
    /// Its business rule refused: nothing of it is there.
    Rejected,
    /// It failed, and nothing of it is there.
    Failed(String),
    /// Nobody knows: it is there whole, or not at all.
    Unknown,
}
