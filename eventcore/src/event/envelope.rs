//! The envelope around a stored event.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::{CommitId, DecodeError, Event, EventId};
use crate::{Position, Version, stream::StreamId};

/// Metadata of a commit; stored with each of its events.
///
/// ```
/// use eventcore::Metadata;
///
/// let metadata = Metadata::default().correlation_id("request-7").user(serde_json::json!({ "by": "ada" }));
/// # assert_eq!(metadata.correlation_id.as_deref(), Some("request-7"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Metadata {
    /// The id that all messages of one conversation share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The message that caused this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// Additional values of the caller.
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

    /// Sets the caller's own metadata.
    pub fn user(mut self, value: serde_json::Value) -> Self {
        self.user = Some(value);
        self
    }

    /// Returns `true` if nothing is set.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// One stored event with everything that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// The position among all events of the store: dense, from 1, in commit order.
    pub position: Position,
    /// The stream that it belongs to.
    pub stream: StreamId,
    /// The version in its stream, from 1.
    pub version: Version,
    /// Its own id.
    pub event_id: EventId,
    /// Its stored name.
    pub type_name: Arc<str>,
    /// Its payload, JSON as it was appended, byte for byte.
    pub payload: Bytes,
    /// The metadata of the commit.
    pub metadata: Metadata,
    /// The time at which the store recorded it, to the microsecond. For people: nothing is ordered by time.
    pub recorded_at: SystemTime,
}

impl RecordedEvent {
    /// The commit that the event is part of.
    pub fn commit_id(&self) -> CommitId {
        self.event_id.commit()
    }

    /// The event itself.
    ///
    /// # Errors
    /// [`DecodeError`] when it is none of the type's events, or its payload does not fit.
    pub fn decode<E: Event>(&self) -> Result<E, DecodeError> {
        E::decode(&self.type_name, &self.payload)
    }
}
