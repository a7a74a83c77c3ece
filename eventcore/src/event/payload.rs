//! The payloads of one commit, encoded side by side in one buffer, of which each event sees its own part only.

use std::{fmt, ops::Range};

use serde::Serialize;

use super::{EncodeError, Event, MAX_EVENT_BYTES, codec, json::check_json};

/// The payloads of one commit.
#[derive(Debug, Default)]
pub(crate) struct Payloads(Vec<u8>);

impl Payloads {
    /// Encodes `event`, reads it back as one that is stored as `type_name`, and returns where its payload is. On an error
    /// the buffer is as before.
    pub(crate) fn push<E: Event>(
        &mut self,
        type_name: &str,
        event: &E,
    ) -> Result<Range<usize>, EncodeError> {
        let start = self.0.len();
        let pushed = self.try_push(type_name, event, start);
        if pushed.is_err() {
            self.0.truncate(start);
        }
        pushed
    }

    fn try_push<E: Event>(
        &mut self,
        type_name: &str,
        event: &E,
        start: usize,
    ) -> Result<Range<usize>, EncodeError> {
        let mut writer = PayloadWriter {
            buffer: &mut self.0,
            start,
            is_twice: false,
        };
        event.encode(&mut writer)?;
        let payload = writer.finish()?;
        E::decode(type_name, payload).map_err(EncodeError::NotReadable)?;
        Ok(start..self.0.len())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn into_bytes(self) -> bytes::Bytes {
        self.0.into()
    }
}

/// The place for the payload of one event, to which [`Event::encode`] writes one JSON value.
///
/// A value that cannot be written leaves it empty, so that another one can be written instead. Nothing of the other
/// events of the commit can be reached through it.
pub struct PayloadWriter<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    is_twice: bool,
}

impl PayloadWriter<'_> {
    /// Writes `value` as JSON.
    ///
    /// # Errors
    /// [`EncodeError`] when it has no JSON that reads back as itself, or is larger than [`MAX_EVENT_BYTES`].
    pub fn serialize<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.write(|buffer| codec::encode_struct(value, buffer))
    }

    /// Writes `text`, which is JSON already.
    ///
    /// # Errors
    /// [`EncodeError::NotJson`] when it is not exactly one JSON value, or nested deeper than the reader accepts;
    /// [`EncodeError::TooLarge`] when it is larger than [`MAX_EVENT_BYTES`].
    pub fn json(&mut self, text: &str) -> Result<(), EncodeError> {
        self.write(|buffer| {
            if text.len() > MAX_EVENT_BYTES {
                return Err(EncodeError::TooLarge {
                    max: MAX_EVENT_BYTES,
                });
            }
            check_json(text.as_bytes()).map_err(|reason| EncodeError::NotJson { reason })?;
            buffer.extend_from_slice(text.as_bytes());
            Ok(())
        })
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        if self.buffer.len() > self.start {
            self.is_twice = true;
            return Err(not_json("a payload is one value, and this is a second one"));
        }
        let written = write(self.buffer);
        if written.is_err() {
            self.buffer.truncate(self.start);
        }
        written
    }

    /// Returns what was written: one value.
    fn finish(&self) -> Result<&[u8], EncodeError> {
        match self.buffer.get(self.start..) {
            _ if self.is_twice => Err(not_json("it was written twice")),
            None | Some([]) => Err(not_json("nothing was written")),
            Some(payload) => Ok(payload),
        }
    }
}

impl fmt::Debug for PayloadWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadWriter").finish_non_exhaustive()
    }
}

fn not_json(reason: &str) -> EncodeError {
    EncodeError::NotJson {
        reason: reason.to_owned(),
    }
}

/// Writes the own fields of an enum variant. For generated code.
///
/// # Errors
/// [`EncodeError`] when the value is no variant, or has no JSON that reads back as itself.
pub fn encode_fields<T: Serialize + ?Sized>(
    type_name: &'static str,
    value: &T,
    payload: &mut PayloadWriter<'_>,
) -> Result<(), EncodeError> {
    payload.write(|buffer| codec::encode_fields(type_name, value, buffer))
}

/// Writes a struct. For generated code.
///
/// # Errors
/// [`EncodeError`] when it has no JSON that reads back as itself.
pub fn encode_struct<T: Serialize + ?Sized>(
    value: &T,
    payload: &mut PayloadWriter<'_>,
) -> Result<(), EncodeError> {
    payload.serialize(value)
}
