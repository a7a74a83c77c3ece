//! Typed feeds: [`EventFeed`].

use std::sync::Arc;

use crate::{
    DecodeError, Event, EventFilter, EventSelector, Position, RecordedEvent, StreamId,
    StreamIdError, StreamKey, Version,
};

/// A type for the events that a projection or another reader receives, together with their stream
/// keys.
///
/// Derive it on an enum whose variants hold a stream key and its event:
///
/// ```
/// # use serde::{Serialize, Deserialize};
/// # #[cfg(feature = "macros")] {
/// # use eventcore::{Event, StreamKey};
/// use eventcore::{EventFilter, EventSelector, EventFeed};
///
/// # #[derive(Serialize, Deserialize, Event)]
/// # enum AccountEvent { Opened { owner: String } }
/// # #[derive(StreamKey)]
/// # #[stream_key(category = "account", event = AccountEvent)]
/// # struct AccountId(u64);
/// # #[derive(Serialize, Deserialize, Event)]
/// # enum OrderEvent { Placed, Shipped }
/// # #[derive(StreamKey)]
/// # #[stream_key(category = "order", event = OrderEvent)]
/// # struct OrderId(u64);
/// #[derive(EventFeed)]
/// enum Ledger {
///     /// All events of all accounts.
///     Account(AccountId, AccountEvent),
///     /// Of orders only those; others are passed over.
///     #[event_feed(only("OrderPlaced"))]
///     Order(OrderId, OrderEvent),
/// }
///
/// assert_eq!(
///     Ledger::filter(),
///     EventFilter::any_of([
///         EventSelector::category("account"),
///         EventSelector::category("order").event_type("OrderPlaced"),
///     ]),
/// );
/// # }
/// ```
///
/// A pair of a key and its event is the feed of one category; [`RecordedEvent`] is the feed of all
/// events, undecoded. To implement a feed by hand, write a filter and a `decode` that accepts every
/// event that passes the filter.
///
/// A filter by category may select events that `decode` does not know. That is an error: events are
/// never skipped silently. Narrow the filter to event types only if the other events should be
/// skipped.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which events it is read from",
    label = "this type is no feed",
    note = "derive it on an enum of keys and events: `#[derive(EventFeed)] enum Ledger {{ Account(AccountId, AccountEvent) }}`",
    note = "a pair of a key and its event, such as `(AccountId, AccountEvent)`, is a feed; so is `RecordedEvent`"
)]
pub trait EventFeed: Sized {
    /// Returns the filter of the feed. The database evaluates it with an index.
    fn filter() -> EventFilter;

    /// Decodes an event that passed the filter.
    ///
    /// # Errors
    /// Returns [`FeedError`] if the event cannot be read as this type.
    fn decode(event: &RecordedEvent) -> Result<Self, FeedError>;
}

impl EventFeed for RecordedEvent {
    fn filter() -> EventFilter {
        EventFilter::All
    }

    fn decode(event: &RecordedEvent) -> Result<Self, FeedError> {
        Ok(event.clone())
    }
}

impl<K: StreamKey<Event = E>, E: Event> EventFeed for (K, E) {
    fn filter() -> EventFilter {
        EventFilter::any_of([EventSelector::category(K::CATEGORY)])
    }

    fn decode(event: &RecordedEvent) -> Result<Self, FeedError> {
        event.keyed()
    }
}

/// A stream key whose streams hold events of type `E`, for use in a feed variant. Implemented for
/// every [`StreamKey`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a stream key",
    label = "a variant of a feed holds a key, then its event",
    note = "write `Account(AccountId, AccountEvent)`, where `AccountId` is a newtype with `#[derive(StreamKey)] \
            #[stream_key(category = \"account\", event = AccountEvent)]`"
)]
pub trait FeedKey<E>: Sized {
    /// The category of the key.
    const CATEGORY: &'static str;

    /// The stored names of the event type.
    const TYPE_NAMES: &'static [&'static str];

    /// Returns the typed key of the event's stream, and the decoded event.
    ///
    /// # Errors
    /// Returns [`FeedError`] under the same conditions as [`RecordedEvent::keyed`].
    fn keyed(event: &RecordedEvent) -> Result<(Self, E), FeedError>;
}

impl<K: StreamKey, E: EventOf<K, K::Event>> FeedKey<E> for K {
    const CATEGORY: &'static str = K::CATEGORY;
    const TYPE_NAMES: &'static [&'static str] = K::Event::TYPE_NAMES;

    fn keyed(event: &RecordedEvent) -> Result<(Self, E), FeedError> {
        let (key, event) = event.keyed()?;
        Ok((key, E::from_own(event)))
    }
}

/// The event type of a key's streams, implemented only if `Self` and `Own` are the same type. This
/// is a trait so that compiler errors name the key `K`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the event of `{K}` streams",
    label = "the events of this key are `{Own}`",
    note = "write `{Own}` behind the key instead of `{Self}`"
)]
pub trait EventOf<K, Own> {
    /// Returns the event unchanged.
    fn from_own(event: Own) -> Self;
}

impl<K, E> EventOf<K, E> for E {
    fn from_own(event: E) -> E {
        event
    }
}

impl RecordedEvent {
    /// Returns the typed key of the event's stream, and the decoded event.
    ///
    /// # Errors
    /// Returns [`FeedError`] if the stream belongs to another category, or if the key or the event
    /// cannot be decoded.
    pub fn keyed<K: StreamKey>(&self) -> Result<(K, K::Event), FeedError> {
        let key = K::from_stream_id(&self.stream).map_err(|error| FeedError::new(self, error))?;
        let event = self.decode().map_err(|error| FeedError::new(self, error))?;
        Ok((key, event))
    }
}

/// The error for a stored event that a feed selects but cannot decode.
#[derive(Debug, thiserror::Error)]
#[error(
    "event {version} of stream `{stream}`, `{type_name}` at position {position}, cannot be decoded"
)]
pub struct FeedError {
    /// The position of the event.
    pub position: Position,
    /// The stream of the event.
    pub stream: StreamId,
    /// The version of the event in its stream.
    pub version: Version,
    /// The stored type name of the event.
    pub type_name: Arc<str>,
    /// The cause.
    #[source]
    pub cause: FeedErrorCause,
}

/// The reason why an event of a feed cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedErrorCause {
    /// The event type is unknown, or the payload does not match it.
    #[error(transparent)]
    Event(#[from] DecodeError),
    /// The stream id is not a valid key of the feed's key type.
    #[error(transparent)]
    Key(#[from] StreamIdError),
    /// The feed has no variant for streams of this category.
    #[error("the feed selects it but has no variant for it; add one, or narrow the filter")]
    NotInFeed,
}

impl FeedError {
    /// Creates an error about an event.
    pub fn new(event: &RecordedEvent, cause: impl Into<FeedErrorCause>) -> Self {
        Self {
            position: event.position,
            stream: event.stream.clone(),
            version: event.version,
            type_name: event.type_name.clone(),
            cause: cause.into(),
        }
    }

    /// Creates the error for an event that no variant of the feed accepts.
    pub fn not_in_feed(event: &RecordedEvent) -> Self {
        Self::new(event, FeedErrorCause::NotInFeed)
    }
}
