//! The envelope around a stored event.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::{CommitId, DecodeError, Event, EventId};
use crate::{Position, Version, stream::StreamId};

/// The metadata of a commit, stored with each of its events.
///
/// ```
/// use eventcore::Metadata;
///
/// let metadata = Metadata::default().correlation_id("request-7").user(serde_json::json!({ "by": "ada" }));
/// # assert_eq!(metadata.correlation_id.as_deref(), Some("request-7"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Metadata {
    /// The correlation id: shared by all messages of one conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The causation id: the id of the message that caused this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// Additional values of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<serde_json::Value>,
}

impl Metadata {
    /// Sets the correlation id.
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// Sets the causation id.
    pub fn causation_id(mut self, id: impl Into<String>) -> Self {
        self.causation_id = Some(id.into());
        self
    }

    /// Sets the application's own metadata.
    pub fn user(mut self, value: serde_json::Value) -> Self {
        self.user = Some(value);
        self
    }

    /// Returns `true` if nothing is set.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// A stored event with everything that is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// The position among all events of the store: dense, from 1, in commit order.
    pub position: Position,
    /// The stream that the event belongs to.
    pub stream: StreamId,
    /// The version of the event in its stream, from 1.
    pub version: Version,
    /// The id of the event.
    pub event_id: EventId,
    /// The stored name of the event.
    pub type_name: Arc<str>,
    /// The payload: the JSON that was appended, byte for byte.
    pub payload: Bytes,
    /// The metadata of the commit.
    pub metadata: Metadata,
    /// The time at which the store recorded the event, to the microsecond. For information only:
    /// nothing is ordered by time.
    pub recorded_at: SystemTime,
}

impl RecordedEvent {
    /// Returns the id of the commit that the event is part of.
    pub fn commit_id(&self) -> CommitId {
        self.event_id.commit()
    }

    /// Decodes the event.
    ///
    /// # Errors
    /// Returns [`DecodeError`] if `E` does not know this event type, or the payload does not fit.
    pub fn decode<E: Event>(&self) -> Result<E, DecodeError> {
        E::decode(&self.type_name, &self.payload)
    }
}
