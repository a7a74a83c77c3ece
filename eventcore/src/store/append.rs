//! Appends: a request that was checked when it was made, and its result.

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

/// The most events of one commit.
pub const MAX_COMMIT_EVENTS: usize = 100_000;
/// The most streams that one commit names, read ones included.
pub const MAX_COMMIT_STREAMS: usize = 10_000;
/// The largest commit, in bytes of payload and of metadata, which is stored with each of its events.
pub const MAX_COMMIT_BYTES: usize = 64 * 1024 * 1024;
/// The longest idempotency key, in bytes.
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// The version that a stream must have for a commit to be made, and the event that must be there.
///
/// [`execute`](crate::execute()) always names the event that it has read, for streams that it writes and for those that it
/// only reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedVersion {
    /// The stream.
    pub stream: StreamId,
    /// Its version when it was read.
    pub version: Version,
    /// The id of its last event when it was read. `None` expects the version alone: right for a stream without events;
    /// for others, it accepts a stream whose history was replaced, by a restored backup for example, without a conflict.
    pub event_id: Option<EventId>,
}

impl ExpectedVersion {
    /// Expects `stream` to be as it was read.
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
    /// The index of its stream among the expected ones.
    pub stream: usize,
    /// Its stored name: 1 to [`MAX_TYPE_NAME_BYTES`] bytes without control characters.
    pub type_name: &'static str,
    /// Its payload: one JSON value in UTF-8, of at most [`MAX_EVENT_BYTES`].
    pub payload: Bytes,
}

impl NewEvent {
    /// Encodes `event` for the expected stream with the index `stream`: for a program that appends without a command,
    /// such as an import.
    ///
    /// # Errors
    /// [`EncodeError`] when the event cannot be stored and read back.
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

/// A commit to be made: checked, immutable, and cheap to clone and repeat.
#[derive(Debug, Clone)]
pub struct AppendEvents(Arc<Request>);

#[derive(Debug)]
struct Request {
    commit_id: CommitId,
    expected: Vec<ExpectedVersion>,
    events: Vec<NewEvent>,
    metadata: Metadata,
    idempotency_key: Option<IdempotencyKey>,
}

impl AppendEvents {
    /// Checks a commit against the rules that hold on every store. A store is given no other commits, so it need not check
    /// them again.
    ///
    /// A commit is made for stores and for programs that append without a command. It may name any stream: what the types
    /// of a command promise does not hold here.
    ///
    /// # Errors
    /// [`AppendRefused`] for a commit that is too large, that names a stream twice, whose metadata or payloads are no
    /// JSON that could be read again, or with an event that names none of the expected streams or has no valid name.
    pub fn new(
        commit_id: CommitId,
        expected: Vec<ExpectedVersion>,
        events: Vec<NewEvent>,
        metadata: Metadata,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<Self, AppendRefused> {
        for event in &events {
            check_payload(event)?;
        }
        Self::of_written(commit_id, expected, events, metadata, idempotency_key)
    }

    /// The same for payloads that were written by a [`PayloadWriter`](crate::PayloadWriter), which are JSON already.
    pub(crate) fn of_written(
        commit_id: CommitId,
        expected: Vec<ExpectedVersion>,
        events: Vec<NewEvent>,
        metadata: Metadata,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<Self, AppendRefused> {
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

    /// The client-made id of the commit.
    pub fn commit_id(&self) -> CommitId {
        self.0.commit_id
    }

    /// The streams of the commit with the versions and last events that they must have, each stream once.
    pub fn expected(&self) -> &[ExpectedVersion] {
        &self.0.expected
    }

    /// The events in the order in which they are appended. Each `stream` is an index into [`expected`](Self::expected).
    pub fn events(&self) -> &[NewEvent] {
        &self.0.events
    }

    /// The id of the event with this index.
    pub fn event_id(&self, index: usize) -> EventId {
        self.0.commit_id.event(index)
    }

    /// The metadata of the commit.
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// The key under which the commit is made at most once.
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.0.idempotency_key.as_ref()
    }

    /// Returns `true` if it only checks versions: then nothing of it could have been written.
    pub(crate) fn only_checks(&self) -> bool {
        self.0.events.is_empty() && self.0.idempotency_key.is_none()
    }
}

impl Request {
    fn check(&self) -> Result<(), AppendRefused> {
        let (streams, events) = (self.expected.len(), self.events.len());
        if streams > MAX_COMMIT_STREAMS {
            return Err(AppendRefused::TooManyStreams { streams });
        }
        if events > MAX_COMMIT_EVENTS {
            return Err(AppendRefused::TooManyEvents { events });
        }
        let names = self.expected.iter().map(|expected| &expected.stream);
        if let Some(stream) =
            named_twice(names.clone()).and_then(|(_, again)| names.clone().nth(again))
        {
            let stream = stream.clone();
            return Err(AppendRefused::DuplicateStream { stream });
        }
        let mut bytes = 0_usize;
        for event in &self.events {
            if event.stream >= streams {
                return Err(AppendRefused::UndeclaredStream {
                    index: event.stream,
                });
            }
            if !is_type_name(event.type_name) {
                return Err(AppendRefused::TypeName {
                    type_name: event.type_name,
                });
            }
            if event.payload.len() > MAX_EVENT_BYTES {
                return Err(AppendRefused::EventTooLarge {
                    type_name: event.type_name,
                    bytes: event.payload.len(),
                });
            }
            bytes = bytes.saturating_add(event.payload.len());
        }
        let metadata = self.metadata_bytes()?;
        let bytes = bytes.saturating_add(metadata.saturating_mul(events.max(1)));
        if bytes > MAX_COMMIT_BYTES {
            return Err(AppendRefused::TooLarge { bytes });
        }
        Ok(())
    }

    /// The size of the metadata. Nested beyond the reader's depth, it would make every page with its events unreadable.
    fn metadata_bytes(&self) -> Result<usize, AppendRefused> {
        if self.metadata.is_empty() {
            return Ok(0);
        }
        let mut encoded = Vec::new();
        match encode_json(&self.metadata, &mut encoded) {
            Ok(()) => Ok(encoded.len()),
            Err(error) => Err(AppendRefused::Metadata {
                reason: error.to_string(),
            }),
        }
    }
}

/// A payload that no reader could read is lost as soon as it is stored. One that is too large is refused for that.
fn check_payload(event: &NewEvent) -> Result<(), AppendRefused> {
    if event.payload.len() > MAX_EVENT_BYTES {
        return Ok(());
    }
    check_json(&event.payload).map_err(|reason| AppendRefused::NotJson {
        type_name: event.type_name,
        reason,
    })
}

/// The error of a commit that is refused before it is tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendRefused {
    /// More streams than [`MAX_COMMIT_STREAMS`].
    #[error(
        "a commit names at most {MAX_COMMIT_STREAMS} streams, this one {streams}; split the command"
    )]
    TooManyStreams {
        /// The number of streams.
        streams: usize,
    },
    /// More events than [`MAX_COMMIT_EVENTS`].
    #[error(
        "a commit has at most {MAX_COMMIT_EVENTS} events, this one {events}; split the command"
    )]
    TooManyEvents {
        /// The number that it has.
        events: usize,
    },
    /// An event larger than [`MAX_EVENT_BYTES`].
    #[error(
        "event `{type_name}` has {bytes} bytes, more than {MAX_EVENT_BYTES}; store the bulk elsewhere"
    )]
    EventTooLarge {
        /// The stored name of the event.
        type_name: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// More bytes than [`MAX_COMMIT_BYTES`].
    #[error(
        "a commit has at most {MAX_COMMIT_BYTES} bytes of events and their metadata, this one {bytes}; split the command"
    )]
    TooLarge {
        /// The number that it has.
        bytes: usize,
    },
    /// A payload that is not JSON, or that could not be read again: nested too deeply, a number out of range.
    #[error("the payload of event `{type_name}` cannot be read as JSON: {reason}")]
    NotJson {
        /// The stored name of the event.
        type_name: &'static str,
        /// The fault and its location.
        reason: String,
    },
    /// A stored name that is empty, longer than [`MAX_TYPE_NAME_BYTES`], or has control characters.
    #[error(
        "{type_name:?} cannot be the stored name of an event: it must have 1 to {MAX_TYPE_NAME_BYTES} bytes and no \
         control characters; return another from `Event::type_name`"
    )]
    TypeName {
        /// The name.
        type_name: &'static str,
    },
    /// Metadata that could not be stored or read again.
    #[error("the metadata of the commit cannot be stored: {reason}")]
    Metadata {
        /// The reason.
        reason: String,
    },
    /// Two expected versions of one stream.
    #[error("stream `{stream}` is named twice; a commit names each stream once")]
    DuplicateStream {
        /// The stream.
        stream: StreamId,
    },
    /// An event for a stream that the commit does not name.
    #[error("an event is for stream number {index}, which the commit does not name")]
    UndeclaredStream {
        /// The index that is out of range.
        index: usize,
    },
}

/// The result of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The position of its last event; for a commit without events, of the store's latest event.
    pub position: Position,
    /// The number of events that it appended.
    pub events: usize,
    /// `true` if another commit had been made before under the same idempotency key, and this one was not. A commit
    /// that is sent again because its outcome was unknown is not another one.
    pub repeated: bool,
}

/// The prefix of the idempotency keys that this library makes itself.
const RESERVED_KEYS: &str = "eventcore:";

/// A caller's name for one request, so that its command is committed at most once: 1 to 255 bytes without control
/// characters. It is unique in the store and kept for ever; use the id of the request.
///
/// A key alone does not tell a request from another one with the same key: the second gets the result of the first, and
/// nothing is written. Wherever clients choose the keys, as with an `Idempotency-Key` header, add
/// [the request](Self::for_request) as well. Then a key that comes back with another request is refused with
/// [`KeyReused`](crate::KeyReused), also when only one of the two names its request.
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
    /// Checks `text` and makes it a key.
    ///
    /// # Errors
    /// [`IdempotencyKeyError`] for an empty or over-long text, one with control characters, or one that begins with
    /// `eventcore:`.
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

    /// The key of one command of an automation. No key of a user equals it, since [`new`](Self::new) refuses the prefix.
    ///
    /// The name has at most 63 bytes, so the key is short enough.
    pub(crate) fn of_automation(name: &str, event: Position, command: u32) -> Self {
        Self {
            text: format!("{RESERVED_KEYS}automation/{name}/{event}/{command}").into(),
            fingerprint: None,
        }
    }

    /// Adds the fingerprint of the request that the key stands for, and replaces one that was there.
    ///
    /// Name everything that makes it this request and no other: who asks, for which operation, and with which values, for
    /// example as a tuple. Leave out what differs when the same request is sent again, such as the time or a trace id. Of a
    /// request that came over the network, take what was sent rather than the types of this build: a field that a later
    /// build adds would make another request of one that is repeated meanwhile.
    ///
    /// # Errors
    /// [`FingerprintError`] for a value that cannot be written as JSON.
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

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text, shared. A store finds keys by it: two keys that differ in the fingerprint alone are one key.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The fingerprint of [the request](Self::for_request), if it was given.
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        self.fingerprint.as_ref()
    }

    /// The answer to this key of a store that has made a commit under its text: `earlier`, if `fingerprint`, which was
    /// stored with it, is that of the same request.
    ///
    /// # Errors
    /// [`KeyReused`] if the commit was made for another request.
    pub fn repeats(
        &self,
        earlier: Appended,
        fingerprint: Option<&[u8]>,
    ) -> Result<Appended, KeyReused> {
        let own = self.fingerprint.as_ref().map(Fingerprint::as_bytes);
        if own.map(<[u8; 32]>::as_slice) == fingerprint {
            Ok(earlier)
        } else {
            Err(KeyReused::new(self, &earlier))
        }
    }
}

/// The error of a text that is not an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdempotencyKeyError {
    /// The text is empty.
    #[error("an idempotency key must not be empty; use the id of the request")]
    Empty,
    /// The text is too long.
    #[error(
        "an idempotency key has at most {MAX_IDEMPOTENCY_KEY_BYTES} bytes, this one {bytes}; use a hash of it"
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
    /// The text begins with `eventcore:`, the prefix of the keys that this library makes itself.
    #[error(
        "an idempotency key must not begin with `{RESERVED_KEYS}`, which automations use; put another prefix before it"
    )]
    Reserved,
}
