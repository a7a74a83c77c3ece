//! Events: the [`Event`] trait, its stored form, and the envelope [`RecordedEvent`] of a stored event.
//!
//! This module converts events into a stored name and JSON, and back. It does not know where they
//! are stored.

mod codec;
mod envelope;
mod id;
mod json;
mod key;
mod names;
mod payload;
mod state;

pub(crate) use codec::encode_struct as encode_json;
#[doc(hidden)]
pub use codec::{decode_struct, decode_variant, upcast};
pub use envelope::{Metadata, RecordedEvent};
pub use id::{CommitId, EventId};
pub(crate) use json::check_json;
pub use key::StreamKey;
pub(crate) use names::is_type_name;
#[doc(hidden)]
pub use names::{are_distinct, concat_names, contains, count_names};
pub use payload::PayloadWriter;
pub(crate) use payload::Payloads;
#[doc(hidden)]
pub use payload::{encode_fields, encode_struct};
#[doc(hidden)]
pub use state::{IfCloned, NotCloned};
pub use state::{StateOptions, StreamState};

/// The largest payload of one event, in bytes of JSON.
pub const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

/// The longest stored name of an event, in bytes of UTF-8. A name must not be empty or contain
/// control characters.
pub const MAX_TYPE_NAME_BYTES: usize = 255;

/// Something that happened, in the form in which it is stored: a stable name and a JSON payload.
///
/// Derive it together with serde's traits, on an enum (one stored name per variant) or on a struct:
///
/// ```
/// # #[cfg(feature = "macros")] {
/// use eventcore::Event;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// enum AccountEvent {
///     Opened { owner: String },
///     #[event(name = "MoneyPaidIn", alias = "account.deposit")]
///     Deposited { amount: u64 },
/// }
///
/// assert_eq!(AccountEvent::Opened { owner: "Ada".into() }.type_name(), "AccountOpened");
/// let old = AccountEvent::decode("account.deposit", br#"{"amount":5}"#).unwrap();
/// assert!(matches!(old, AccountEvent::Deposited { amount: 5 }));
/// # }
/// ```
///
/// A hand-written impl must be able to decode whatever it encodes; every append checks this. It
/// writes JSON, since every store keeps payloads as JSON; store a binary format as a JSON string:
///
/// ```
/// use eventcore::{DecodeError, EncodeError, Event, PayloadWriter};
///
/// struct Measured(f32);
///
/// impl Event for Measured {
///     const TYPE_NAMES: &'static [&'static str] = &["Measured"];
///
///     fn type_name(&self) -> &'static str {
///         "Measured"
///     }
///
///     fn encode(&self, payload: &mut PayloadWriter<'_>) -> Result<(), EncodeError> {
///         payload.serialize(&self.0.to_bits())
///     }
///
///     fn decode(type_name: &str, payload: &[u8]) -> Result<Self, DecodeError> {
///         let bits = serde_json::from_slice(payload).map_err(|source| DecodeError::InvalidPayload {
///             type_name: type_name.to_owned(),
///             source,
///         })?;
///         Ok(Self(f32::from_bits(bits)))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "this type has no stored name and payload",
    note = "derive it: `#[derive(Serialize, Deserialize, Event)]`"
)]
pub trait Event: Sized {
    /// All stored names that [`decode`](Self::decode) understands: current names, aliases, and
    /// those of upcasts.
    const TYPE_NAMES: &'static [&'static str];

    /// Returns the name under which this value is stored. It must never change once events are
    /// stored under it, and has 1 to [`MAX_TYPE_NAME_BYTES`] bytes, without control characters.
    fn type_name(&self) -> &'static str;

    /// Writes the payload, one JSON value of at most [`MAX_EVENT_BYTES`].
    ///
    /// # Errors
    /// Returns [`EncodeError`] if the value has no JSON that reads back as itself.
    fn encode(&self, payload: &mut PayloadWriter<'_>) -> Result<(), EncodeError>;

    /// Reads a stored event.
    ///
    /// # Errors
    /// Returns [`DecodeError::UnknownType`] if the name is not in [`TYPE_NAMES`](Self::TYPE_NAMES),
    /// and [`DecodeError::InvalidPayload`] if the payload does not fit.
    fn decode(type_name: &str, payload: &[u8]) -> Result<Self, DecodeError>;
}

/// The error for an event that cannot be stored. Its command writes nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A float is NaN or infinite, which JSON cannot express.
    #[error("the number {value} has no JSON form; store it as text, or leave it out")]
    NotFinite {
        /// The number.
        value: f64,
    },
    /// The value is nested deeper than the reader accepts.
    #[error(
        "the payload is nested deeper than {max} levels and could never be read again; flatten the event"
    )]
    TooDeep {
        /// The maximum number of levels that can be read.
        max: usize,
    },
    /// The payload is larger than [`MAX_EVENT_BYTES`].
    #[error(
        "the payload is larger than {max} bytes; store the bulk elsewhere and a reference in the event"
    )]
    TooLarge {
        /// The limit in bytes.
        max: usize,
    },
    /// The encoded event cannot be decoded; it would be unreadable once stored.
    #[error(
        "the payload was encoded but cannot be read back, so the stream would become unreadable"
    )]
    NotReadable(#[source] DecodeError),
    /// The payload is not exactly one JSON value that every store accepts and every reader can
    /// read.
    #[error("the payload is not one JSON value: {reason}")]
    NotJson {
        /// The fault and its location.
        reason: String,
    },
    /// serde refused the value.
    #[error("the event cannot be written as JSON")]
    Serialize(#[source] serde_json::Error),
    /// The value is not an enum variant, although [`Event`] was derived on an enum.
    #[error(
        "`{type_name}` does not serialize as an enum variant; use serde's derive without `untagged` or `tag`"
    )]
    NotAVariant {
        /// The stored name.
        type_name: &'static str,
    },
}

impl serde::ser::Error for EncodeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Serialize(serde::ser::Error::custom(message))
    }
}

/// The error for a stored event that cannot be read. Such an event is never skipped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The event type does not know the stored name.
    #[error(
        "event type `{type_name}` is unknown here (known: {}); add a variant, or `#[event(alias = \"{type_name}\")]`",
        known.join(", ")
    )]
    UnknownType {
        /// The stored name.
        type_name: String,
        /// The names that the event type knows.
        known: &'static [&'static str],
    },
    /// The payload does not fit the event type.
    #[error(
        "the payload of `{type_name}` does not fit the event type; add an upcast or a serde default"
    )]
    InvalidPayload {
        /// The stored name.
        type_name: String,
        /// The error of serde, with line and column in the payload.
        source: serde_json::Error,
    },
}
