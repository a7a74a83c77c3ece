//! Names of streams: [`StreamId`].
//!
//! This module deals with names only, not with what is stored under them.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

/// The longest stream id, in characters (Unicode scalar values, not bytes).
pub const MAX_STREAM_ID_CHARS: usize = 255;

/// The separator between the category and the key of a stream id: `account-42`.
pub(crate) const SEPARATOR: char = '-';

/// The checked name of a stream: `category-key`, such as `account-42`.
///
/// A stream id has 1 to 255 characters, without control characters (NUL included) and without the
/// glob characters `* ? [ ] { }`, which shells and tools interpret. The category is the part before
/// the first `-`; neither it nor the key is empty. Cloning is cheap: the text is shared.
///
/// ```
/// use eventcore::StreamId;
///
/// let id = StreamId::new("account-42")?;
/// assert_eq!((id.category(), id.key()), ("account", "42"));
/// assert!(StreamId::new("account").is_err());
/// # Ok::<(), eventcore::StreamIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// Checks `text` and converts it into a stream id.
    ///
    /// # Errors
    /// Returns a [`StreamIdError`] that says which rule the text breaks, and where.
    pub fn new(text: impl AsRef<str>) -> Result<Self, StreamIdError> {
        let text = text.as_ref();
        check(text)?;
        Ok(Self(text.into()))
    }

    /// Returns the whole id, `category-key`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part before the first `-`.
    pub fn category(&self) -> &str {
        self.parts().0
    }

    /// Returns the part after the first `-`, which may contain further ones.
    pub fn key(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once(SEPARATOR).unwrap_or((&self.0, ""))
    }
}

/// Returns the indices in `names` of the first stream that is named twice. For a few names,
/// comparing all pairs is faster than hashing.
pub(crate) fn named_twice<'a>(
    names: impl ExactSizeIterator<Item = &'a StreamId> + Clone,
) -> Option<(usize, usize)> {
    const FEW: usize = 16;
    if names.len() <= FEW {
        return names.clone().enumerate().find_map(|(again, name)| {
            let first = names.clone().take(again).position(|other| other == name);
            first.map(|first| (first, again))
        });
    }
    let mut seen = HashMap::with_capacity(names.len());
    names
        .enumerate()
        .find_map(|(again, name)| seen.insert(name, again).map(|first| (first, again)))
}

/// Encodes a text so that it can be the key of a stream or an
/// [`IdempotencyKey`](crate::IdempotencyKey): each control character, each of `* ? [ ] { }` and each
/// `%` becomes `%` and two hexadecimal digits for each of its bytes. Other characters stay as they
/// are. Different texts have different encodings.
///
/// The encoding can be longer than a key may be; the key's own check tells.
///
/// ```
/// use eventcore::{decode_key, encode_key};
///
/// assert_eq!(encode_key("Zürich [100 %]"), "Zürich %5B100 %25%5D");
/// assert_eq!(decode_key("Zürich %5B100 %25%5D").as_deref(), Some("Zürich [100 %]"));
/// ```
pub fn encode_key(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for found in text.chars() {
        if found == '%' || found.is_control() || is_glob(found) {
            let mut bytes = [0; 4];
            for byte in found.encode_utf8(&mut bytes).bytes() {
                // Writing to a `String` cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        } else {
            encoded.push(found);
        }
    }
    encoded
}

/// Decodes a text that [`encode_key`] encoded. Returns `None` if it cannot have done so: if a `%` is
/// not followed by two hexadecimal digits, or the result is not UTF-8.
pub fn decode_key(encoded: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(others.get(..2)?).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            rest = others.get(2..)?;
        } else {
            decoded.push(*first);
            rest = others;
        }
    }
    String::from_utf8(decoded).ok()
}

fn check(text: &str) -> Result<(), StreamIdError> {
    if text.is_empty() {
        return Err(StreamIdError::Empty);
    }
    let mut chars = 0;
    for (index, found) in text.char_indices() {
        chars += 1;
        if found.is_control() || is_glob(found) {
            return Err(StreamIdError::ForbiddenCharacter { found, index });
        }
    }
    if chars > MAX_STREAM_ID_CHARS {
        return Err(StreamIdError::TooLong { chars });
    }
    match text.split_once(SEPARATOR) {
        None => Err(StreamIdError::NoSeparator { id: text.into() }),
        Some(("", _)) => Err(StreamIdError::EmptyCategory { id: text.into() }),
        Some((_, "")) => Err(StreamIdError::EmptyKey { id: text.into() }),
        Some(_) => Ok(()),
    }
}

const fn is_glob(c: char) -> bool {
    matches!(c, '*' | '?' | '[' | ']' | '{' | '}')
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({})", self.0)
    }
}

impl AsRef<str> for StreamId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamId {
    type Err = StreamIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for StreamId {
    type Error = StreamIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<StreamId> for String {
    fn from(id: StreamId) -> Self {
        id.as_str().to_owned()
    }
}

/// The error for a text that is not a stream id, or a stream id that is not a key of the expected
/// type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamIdError {
    /// The text is empty.
    #[error("a stream id must not be empty; write `category-key`, such as `account-42`")]
    Empty,
    /// The text is longer than [`MAX_STREAM_ID_CHARS`].
    #[error(
        "a stream id can have at most {MAX_STREAM_ID_CHARS} characters, but this one has {chars}; shorten its key"
    )]
    TooLong {
        /// The number of characters.
        chars: usize,
    },
    /// The text contains a control character, NUL, or a glob character.
    #[error(
        "a stream id must not contain {found:?} (at byte {index}): control characters and the glob characters \
         `* ? [ ] {{ }}` are not allowed; encode the key"
    )]
    ForbiddenCharacter {
        /// The character.
        found: char,
        /// The offset of the character in bytes.
        index: usize,
    },
    /// The text has no `-`, so its category is unclear.
    #[error(
        "stream id `{id}` has no `-` between category and key; write `category-key`, such as `account-42`"
    )]
    NoSeparator {
        /// The text.
        id: String,
    },
    /// The part before the first `-` is empty.
    #[error("stream id `{id}` has an empty category; write `category-key`, such as `account-42`")]
    EmptyCategory {
        /// The text.
        id: String,
    },
    /// The part after the first `-` is empty.
    #[error("stream id `{id}` has an empty key; write `category-key`, such as `account-42`")]
    EmptyKey {
        /// The text.
        id: String,
    },
    /// A category contains the separator `-`, so that `category-key` could be split in two ways.
    #[error(
        "category `{category}` contains `-`, which separates category and key; use `_` instead"
    )]
    SeparatorInCategory {
        /// The category.
        category: String,
    },
    /// The `Display` implementation of the key failed.
    #[error(
        "the key type of category `{category}` returned an error from `Display`; it must return `Ok`"
    )]
    KeyWithoutText {
        /// The category of the key type.
        category: &'static str,
    },
    /// The text is not a value of the key type.
    #[error("the text is not a key of a stream of category `{category}`: {reason}")]
    InvalidText {
        /// The category of the key type.
        category: &'static str,
        /// The error of the key type's `FromStr`.
        reason: String,
    },
    /// The stream belongs to a category other than that of the key type.
    #[error("stream `{id}` is not of category `{expected}`")]
    OtherCategory {
        /// The stream.
        id: StreamId,
        /// The category of the key type.
        expected: &'static str,
    },
    /// The key part of the stream id is not a value of the key type.
    #[error("the key of stream `{id}` cannot be read as its key type: {reason}")]
    InvalidKey {
        /// The stream.
        id: StreamId,
        /// The error of the key type's `FromStr`.
        reason: String,
    },
}
