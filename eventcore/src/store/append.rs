//! Appends: requests, which are checked when they are created, and their results.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::{Fingerprint, FingerprintError, KeyReused};
use crate::{
    Position, Version,
    event::{
        CommitId, EncodeError, Event, EventId, MAX_EVENT_BYTES, MAX_TYPE_NAME_BYTES, Metadata,
        Payloads, check_json, encode_json, is_type_name,
    },
    store::StreamHead,
    stream::{StreamId, named_twice},
};

/// The maximum number of events in one commit.
pub const MAX_COMMIT_EVENTS: usize = 100_000;
/// The maximum number of streams that one commit names, including those that it only read.
pub const MAX_COMMIT_STREAMS: usize = 10_000;
/// The largest commit, in bytes of payload and of metadata, which is stored with each of its events.
pub const MAX_COMMIT_BYTES: usize = 64 * 1024 * 1024;
/// The longest idempotency key, in bytes.
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// The version that a stream must have for a commit to be made, and the id of the event that must
/// be its last.
///
/// [`execute`](crate::execute()) always names the event that it has read, both for streams that it
/// writes and for those that it only reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedVersion {
    /// The stream.
    pub stream: StreamId,
    /// The version of the stream when it was read.
    pub version: Version,
    /// The id of the stream's last event when it was read. `None` expects only the version. That is
    /// correct for a stream without events; for others, a stream whose history was replaced, for
    /// example by a restored backup, is accepted without a conflict.
    pub event_id: Option<EventId>,
}

impl ExpectedVersion {
    /// Expects `stream` to still have the head with which it was read.
    pub fn new(stream: StreamId, head: StreamHead) -> Self {
        Self {
            stream,
            version: head.version(),
            event_id: head.event_id(),
        }
    }

    /// Returns `true` if a stream with this head is as expected.
    pub fn holds(&self, head: StreamHead) -> bool {
        self.version == head.version()
            && (self.event_id.is_none() || self.event_id == head.event_id())
    }
}

/// One event to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The index of the event's stream among the expected ones.
    pub stream: usize,
    /// The stored name: 1 to [`MAX_TYPE_NAME_BYTES`] bytes without control characters.
    pub type_name: &'static str,
    /// The payload: one JSON value in UTF-8, of at most [`MAX_EVENT_BYTES`].
    pub payload: Bytes,
}

impl NewEvent {
    /// Encodes `event` for the expected stream at the index `stream`. For programs that append
    /// without a command, such as an import.
    ///
    /// # Errors
    /// Returns [`EncodeError`] if the event cannot be stored and read back.
    pub fn new<E: Event>(stream: usize, event: &E) -> Result<Self, EncodeError> {
        let type_name = event.type_name();
        let mut payloads = Payloads::default();
        payloads.push(type_name, event)?;
        Ok(Self {
            stream,
            type_name,
            payload: payloads.into_bytes(),
        })
    }
}

/// A commit to be made: checked, immutable, and cheap to clone and to send again.
#[derive(Debug, Clone)]
pub struct AppendRequest(Arc<Request>);

#[derive(Debug)]
struct Request {
    commit_id: CommitId,
    expected: Vec<ExpectedVersion>,
    events: Vec<NewEvent>,
    metadata: Metadata,
    idempotency_key: Option<IdempotencyKey>,
}

impl AppendRequest {
    /// Checks a commit against the rules that apply to every store. Stores receive only checked
    /// commits and need not check them again.
    ///
    /// This type is for stores and for programs that append without a command. A commit may name
    /// any stream: the guarantees that a command's types give do not apply here.
    ///
    /// # Errors
    /// Returns [`AppendError`] if the commit is too large or names a stream twice, if its
    /// metadata or payloads are not readable JSON, or if an event refers to none of the expected
    /// streams or has no valid name.
    pub fn new(
        commit_id: CommitId,
        expected: Vec<ExpectedVersion>,
        events: Vec<NewEvent>,
        metadata: Metadata,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<Self, AppendError> {
        for event in &events {
            check_payload(event)?;
        }
        Self::of_written(commit_id, expected, events, metadata, idempotency_key)
    }

    /// Creates a commit like `new`, from payloads that a [`PayloadWriter`](crate::PayloadWriter)
    /// wrote and that are therefore JSON.
    pub(crate) fn of_written(
        commit_id: CommitId,
        expected: Vec<ExpectedVersion>,
        events: Vec<NewEvent>,
        metadata: Metadata,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<Self, AppendError> {
        let request = Request {
            commit_id,
            expected,
            events,
            metadata,
            idempotency_key,
        };
        request.check()?;
        Ok(Self(Arc::new(request)))
    }

    /// Returns the id of the commit, which the client made.
    pub fn commit_id(&self) -> CommitId {
        self.0.commit_id
    }

    /// Returns the streams of the commit, each once, with the versions and last events that they
    /// must have.
    pub fn expected(&self) -> &[ExpectedVersion] {
        &self.0.expected
    }

    /// Returns the events in the order in which they are appended. Each `stream` is an index into
    /// [`expected`](Self::expected).
    pub fn events(&self) -> &[NewEvent] {
        &self.0.events
    }

    /// Returns the id of the event with this index.
    pub fn event_id(&self, index: usize) -> EventId {
        self.0.commit_id.event(index)
    }

    /// Returns the metadata of the commit.
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// Returns the key under which the commit is made at most once.
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.0.idempotency_key.as_ref()
    }

    /// Returns `true` if the commit only checks versions, so that it cannot have written anything.
    pub(crate) fn only_checks(&self) -> bool {
        self.0.events.is_empty() && self.0.idempotency_key.is_none()
    }
}

impl Request {
    fn check(&self) -> Result<(), AppendError> {
        let (streams, events) = (self.expected.len(), self.events.len());
        if streams > MAX_COMMIT_STREAMS {
            return Err(AppendError::TooManyStreams { streams });
        }
        if events > MAX_COMMIT_EVENTS {
            return Err(AppendError::TooManyEvents { events });
        }
        let names = self.expected.iter().map(|expected| &expected.stream);
        if let Some(stream) =
            named_twice(names.clone()).and_then(|(_, again)| names.clone().nth(again))
        {
            let stream = stream.clone();
            return Err(AppendError::DuplicateStream { stream });
        }
        let mut bytes = 0_usize;
        for event in &self.events {
            if event.stream >= streams {
                return Err(AppendError::UndeclaredStream {
                    index: event.stream,
                });
            }
            if !is_type_name(event.type_name) {
                return Err(AppendError::TypeName {
                    type_name: event.type_name,
                });
            }
            if event.payload.len() > MAX_EVENT_BYTES {
                return Err(AppendError::EventTooLarge {
                    type_name: event.type_name,
                    bytes: event.payload.len(),
                });
            }
            bytes = bytes.saturating_add(event.payload.len());
        }
        let metadata = self.metadata_bytes()?;
        let bytes = bytes.saturating_add(metadata.saturating_mul(events.max(1)));
        if bytes > MAX_COMMIT_BYTES {
            return Err(AppendError::TooLarge { bytes });
        }
        Ok(())
    }

    /// Returns the size of the metadata. Metadata nested deeper than the reader accepts is refused,
    /// since it would make every page with its events unreadable.
    fn metadata_bytes(&self) -> Result<usize, AppendError> {
        if self.metadata.is_empty() {
            return Ok(0);
        }
        let mut encoded = Vec::new();
        match encode_json(&self.metadata, &mut encoded) {
            Ok(()) => Ok(encoded.len()),
            Err(error) => Err(AppendError::Metadata {
                reason: error.to_string(),
            }),
        }
    }
}

/// Refuses a payload that no reader could read, since it would be lost once stored. One that is too
/// large is left to the size check.
fn check_payload(event: &NewEvent) -> Result<(), AppendError> {
    if event.payload.len() > MAX_EVENT_BYTES {
        return Ok(());
    }
    check_json(&event.payload).map_err(|reason| AppendError::NotJson {
        type_name: event.type_name,
        reason,
    })
}

/// The error for a commit that is refused before it is tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The commit names more than [`MAX_COMMIT_STREAMS`] streams.
    #[error(
        "a commit can name at most {MAX_COMMIT_STREAMS} streams, but this one names {streams}; split the command"
    )]
    TooManyStreams {
        /// The number of streams.
        streams: usize,
    },
    /// The commit has more than [`MAX_COMMIT_EVENTS`] events.
    #[error(
        "a commit can have at most {MAX_COMMIT_EVENTS} events, but this one has {events}; split the command"
    )]
    TooManyEvents {
        /// The number of events.
        events: usize,
    },
    /// An event is larger than [`MAX_EVENT_BYTES`].
    #[error(
        "event `{type_name}` has {bytes} bytes, more than {MAX_EVENT_BYTES}; store the bulk elsewhere"
    )]
    EventTooLarge {
        /// The stored name of the event.
        type_name: &'static str,
        /// The size of the event in bytes.
        bytes: usize,
    },
    /// The commit is larger than [`MAX_COMMIT_BYTES`].
    #[error(
        "a commit can have at most {MAX_COMMIT_BYTES} bytes of events and their metadata, but this one has {bytes}; \
         split the command"
    )]
    TooLarge {
        /// The size of the commit in bytes.
        bytes: usize,
    },
    /// A payload is not JSON, or could not be read back: it is nested too deeply, or a number is
    /// out of range.
    #[error("the payload of event `{type_name}` cannot be read as JSON: {reason}")]
    NotJson {
        /// The stored name of the event.
        type_name: &'static str,
        /// The fault and its location.
        reason: String,
    },
    /// A stored name is empty, longer than [`MAX_TYPE_NAME_BYTES`], or has control characters.
    #[error(
        "{type_name:?} cannot be the stored name of an event: it must have 1 to {MAX_TYPE_NAME_BYTES} bytes and no \
         control characters; return another from `Event::type_name`"
    )]
    TypeName {
        /// The name.
        type_name: &'static str,
    },
    /// The metadata could not be stored or read back.
    #[error("the metadata of the commit cannot be stored: {reason}")]
    Metadata {
        /// The reason.
        reason: String,
    },
    /// The commit expects two versions of one stream.
    #[error("stream `{stream}` is named twice; a commit names each stream once")]
    DuplicateStream {
        /// The stream.
        stream: StreamId,
    },
    /// An event is for a stream that the commit does not name.
    #[error("an event is for stream number {index}, which the commit does not name")]
    UndeclaredStream {
        /// The index that is out of range.
        index: usize,
    },
}

/// The result of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitReceipt {
    /// The position of the commit's last event; for a commit without events, that of the store's
    /// latest event.
    pub position: Position,
    /// The number of events that the commit appended.
    pub events: usize,
    /// `true` if an earlier commit was made under the same idempotency key, so that this one was
    /// not. A commit that is sent again because its outcome was unknown counts as the same commit.
    pub repeated: bool,
}

/// The prefix of the idempotency keys that this library creates itself.
const RESERVED_KEYS: &str = "eventcore:";

/// The caller's name for one request, under which its command is committed at most once: 1 to 255
/// bytes without control characters. It is unique in the store and kept indefinitely; use the id of
/// the request.
///
/// A key alone does not distinguish two requests with the same key: the second receives the result
/// of the first, and nothing is written. Wherever clients choose the keys, as with an
/// `Idempotency-Key` header, add [the request](Self::for_request) as well. A key that is then used
/// for another request is refused with [`KeyReused`](crate::KeyReused), even if only one of the two
/// keys includes its request.
///
/// ```
/// use eventcore::IdempotencyKey;
///
/// let body = serde_json::json!({ "from": "ada", "to": "grace", "amount": 5 });
/// let key = IdempotencyKey::new("payment-7f3a")?.for_request(&("POST", "/transfers", &body))?;
/// assert_eq!(key.as_str(), "payment-7f3a");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    text: Arc<str>,
    fingerprint: Option<Fingerprint>,
}

impl IdempotencyKey {
    /// Checks `text` and converts it into a key.
    ///
    /// # Errors
    /// Returns [`IdempotencyKeyError`] if the text is empty or too long, contains control
    /// characters, or begins with `eventcore:`.
    pub fn new(text: impl AsRef<str>) -> Result<Self, IdempotencyKeyError> {
        let text = text.as_ref();
        match text.len() {
            0 => Err(IdempotencyKeyError::Empty),
            bytes if bytes > MAX_IDEMPOTENCY_KEY_BYTES => {
                Err(IdempotencyKeyError::TooLong { bytes })
            }
            _ if text.chars().any(char::is_control) => Err(IdempotencyKeyError::ControlCharacter),
            _ if text.starts_with(RESERVED_KEYS) => Err(IdempotencyKeyError::Reserved),
            _ => Ok(Self {
                text: text.into(),
                fingerprint: None,
            }),
        }
    }

    /// Returns the key of one command of an automation. No key of an application equals it, since
    /// [`new`](Self::new) refuses the prefix.
    ///
    /// The name has at most 63 bytes, so the key is short enough.
    pub(crate) fn of_automation(name: &str, event: Position, command: u32) -> Self {
        Self {
            text: format!("{RESERVED_KEYS}automation/{name}/{event}/{command}").into(),
            fingerprint: None,
        }
    }

    /// Adds the fingerprint of the request that the key identifies, replacing any earlier one.
    ///
    /// Include everything that distinguishes this request from others: the caller, the operation
    /// and its values, for example as a tuple. Leave out what differs when the same request is sent
    /// again, such as the time or a trace id. For a request received over the network, use the data
    /// that was sent rather than the types of this build: if a later build adds a field, a request
    /// repeated after the upgrade would otherwise count as a different one.
    ///
    /// # Errors
    /// Returns [`FingerprintError`] if the value cannot be written as JSON.
    pub fn for_request(
        self,
        request: &(impl Serialize + ?Sized),
    ) -> Result<Self, FingerprintError> {
        let fingerprint = Some(Fingerprint::of(request)?);
        Ok(Self {
            fingerprint,
            ..self
        })
    }

    /// Returns the text of the key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the shared text. Stores look keys up by it: two keys that differ only in their
    /// fingerprint are the same key.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Returns the fingerprint of [the request](Self::for_request), if one was given.
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        self.fingerprint.as_ref()
    }

    /// Returns a store's answer to this key after a commit was made under its text: `earlier`, if
    /// `fingerprint`, which was stored with that commit, belongs to the same request.
    ///
    /// # Errors
    /// Returns [`KeyReused`] if the commit was made for another request.
    pub fn repeats(
        &self,
        earlier: CommitReceipt,
        fingerprint: Option<&[u8]>,
    ) -> Result<CommitReceipt, KeyReused> {
        let own = self.fingerprint.as_ref().map(Fingerprint::as_bytes);
        if own.map(<[u8; 32]>::as_slice) == fingerprint {
            Ok(earlier)
        } else {
            Err(KeyReused::new(self, &earlier))
        }
    }
}

/// The error for a text that is not an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdempotencyKeyError {
    /// The text is empty.
    #[error("an idempotency key must not be empty; use the id of the request")]
    Empty,
    /// The text is too long.
    #[error(
        "an idempotency key can have at most {MAX_IDEMPOTENCY_KEY_BYTES} bytes, but this one has {bytes}; use a hash \
         of it"
    )]
    TooLong {
        /// The number of bytes.
        bytes: usize,
    },
    /// The text contains a control character.
    #[error(
        "an idempotency key must not contain control characters; use a hash or an encoding of it"
    )]
    ControlCharacter,
    /// The text begins with `eventcore:`, the prefix of the keys that this library creates itself.
    #[error(
        "an idempotency key must not begin with `{RESERVED_KEYS}`, which automations use; put another prefix before it"
    )]
    Reserved,
}
