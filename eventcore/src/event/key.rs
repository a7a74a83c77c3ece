//! The application's own typed names of streams: [`StreamKey`].

use std::fmt::{self, Write};

use super::{Event, StateOptions, StreamState};
use crate::stream::{SEPARATOR, StreamId, StreamIdError};

/// A typed key of a stream: its category, its key within the category, and the type of its events.
///
/// Derive it on a newtype around any type with `Display` and `FromStr`. `state = …` names the
/// [state](StreamState) of the streams, and `traits(Display, FromStr, From)` implements these traits
/// for the key itself:
///
/// ```
/// # use serde::{Serialize, Deserialize};
/// # #[cfg(feature = "macros")] {
/// use eventcore::{Event, StreamKey};
///
/// #[derive(Serialize, Deserialize, Event)]
/// enum AccountEvent { Opened { owner: String } }
///
/// #[derive(Debug, Clone, PartialEq, StreamKey)]
/// #[stream_key(category = "account", event = AccountEvent)]
/// struct AccountId(u64);
///
/// let id = AccountId(42).stream_id()?;
/// assert_eq!(id.as_str(), "account-42");
/// assert_eq!(AccountId::from_stream_id(&id)?, AccountId(42));
/// # }
/// # Ok::<(), eventcore::StreamIdError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a stream key",
    label = "this type does not say which stream it names",
    note = "a key is a newtype of your own: `#[derive(StreamKey)] #[stream_key(category = \"…\", event = …)] struct MyId(String);`; a type parameter needs the bound `K: StreamKey`",
    note = "a field for one stream or none is an `Option` of a key, a field for several streams is a `Vec` of keys; a raw `StreamId` field names its events: `#[stream(event = MyEvent)]`"
)]
pub trait StreamKey: Sized {
    /// The type of the events in the streams that this key names.
    type Event: Event;

    /// The state that is folded from the events of a stream; `()` if no command needs one.
    type State: StreamState<Self::Event>;

    /// Returns how the states are copied and stored. By default they are neither.
    ///
    /// The derive returns [`StateOptions::cloned`] if the state is `Clone`, and
    /// `#[stream_key(…, snapshot(revision = 1))]` adds snapshots.
    fn state_options() -> StateOptions<Self::State> {
        StateOptions::new()
    }

    /// The category: the part of the stream id before the first `-`. It must not be empty or contain `-`.
    const CATEGORY: &'static str;

    /// Returns the key itself: the part of the stream id after the first `-`.
    /// [`parse_key`](Self::parse_key) reads it back.
    fn key(&self) -> impl fmt::Display;

    /// Parses a key that [`key`](Self::key) wrote.
    ///
    /// # Errors
    /// Returns the reason if the text is not a valid key of this type.
    fn parse_key(key: &str) -> Result<Self, String>;

    /// Returns the key for a text that someone typed or sent, checked: it can be parsed, and names a
    /// stream. For a text with characters that a stream id must not contain, encode it first with
    /// [`encode_key`](crate::encode_key).
    ///
    /// # Errors
    /// Returns [`StreamIdError`] if the text is not a valid key of this type, or breaks a rule of
    /// [`StreamId`].
    ///
    /// ```
    /// # #[cfg(feature = "macros")] {
    /// # use serde::{Serialize, Deserialize};
    /// # use eventcore::{Event, StreamKey};
    /// # #[derive(Serialize, Deserialize, Event)]
    /// # enum AccountEvent { Opened { owner: String } }
    /// #[derive(Debug, PartialEq, StreamKey)]
    /// #[stream_key(category = "account", event = AccountEvent)]
    /// struct AccountId(String);
    ///
    /// assert_eq!(AccountId::from_text("ada")?, AccountId("ada".into()));
    /// assert!(AccountId::from_text("").is_err());
    /// assert!(AccountId::from_text("ada*").is_err());
    /// assert_eq!(AccountId::from_text(&eventcore::encode_key("ada*"))?, AccountId("ada%2A".into()));
    /// # }
    /// # Ok::<(), eventcore::StreamIdError>(())
    /// ```
    fn from_text(text: &str) -> Result<Self, StreamIdError> {
        let key = Self::parse_key(text).map_err(|reason| StreamIdError::InvalidText {
            category: Self::CATEGORY,
            reason,
        })?;
        key.stream_id()?;
        Ok(key)
    }

    /// Returns the id of the stream that this key names.
    ///
    /// # Errors
    /// Returns [`StreamIdError`] if the category and the key together break a rule of [`StreamId`].
    fn stream_id(&self) -> Result<StreamId, StreamIdError> {
        if Self::CATEGORY.contains(SEPARATOR) {
            let category = Self::CATEGORY.to_owned();
            return Err(StreamIdError::SeparatorInCategory { category });
        }
        // `format!` would panic if a `Display` fails.
        let mut id = String::new();
        match write!(id, "{}{SEPARATOR}{}", Self::CATEGORY, self.key()) {
            Ok(()) => StreamId::new(id),
            Err(fmt::Error) => Err(StreamIdError::KeyWithoutText {
                category: Self::CATEGORY,
            }),
        }
    }

    /// Returns the key of the stream `id`.
    ///
    /// # Errors
    /// Returns [`StreamIdError::OtherCategory`] or [`StreamIdError::InvalidKey`] if `id` is not the
    /// id of such a key.
    fn from_stream_id(id: &StreamId) -> Result<Self, StreamIdError> {
        if id.category() != Self::CATEGORY {
            return Err(StreamIdError::OtherCategory {
                id: id.clone(),
                expected: Self::CATEGORY,
            });
        }
        Self::parse_key(id.key()).map_err(|reason| StreamIdError::InvalidKey {
            id: id.clone(),
            reason,
        })
    }
}
