//! The payloads of one commit, encoded one after another into one buffer. Each event has access
//! only to its own part.

use std::{fmt, ops::Range};

use serde::Serialize;

use super::{EncodeError, Event, MAX_EVENT_BYTES, codec, json::check_json};

/// The payloads of one commit.
#[derive(Debug, Default)]
pub(crate) struct Payloads(Vec<u8>);

impl Payloads {
    /// Encodes `event`, checks that it can be decoded under the stored name `type_name`, and
    /// returns the range of its payload. On an error the buffer is unchanged.
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

/// A writer for the payload of one event, to which [`Event::encode`] writes one JSON value.
///
/// A value that cannot be written leaves the payload empty, so that another value can be written
/// instead. The writer has no access to the other events of the commit.
pub struct PayloadWriter<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    is_twice: bool,
}

impl PayloadWriter<'_> {
    /// Writes `value` as JSON.
    ///
    /// # Errors
    /// Returns [`EncodeError`] if the value has no JSON that reads back as itself, or is larger
    /// than [`MAX_EVENT_BYTES`].
    pub fn serialize<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.write(|buffer| codec::encode_struct(value, buffer))
    }

    /// Writes `text`, which must already be JSON.
    ///
    /// # Errors
    /// Returns [`EncodeError::NotJson`] if the text is not exactly one JSON value or is nested
    /// deeper than the reader accepts, and [`EncodeError::TooLarge`] if it is larger than
    /// [`MAX_EVENT_BYTES`].
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

    /// Returns the bytes written: one value.
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

/// Writes the fields of an enum variant. For generated code.
///
/// # Errors
/// Returns [`EncodeError`] if the value is not a variant, or has no JSON that reads back as itself.
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
/// Returns [`EncodeError`] if the struct has no JSON that reads back as itself.
pub fn encode_struct<T: Serialize + ?Sized>(
    value: &T,
    payload: &mut PayloadWriter<'_>,
) -> Result<(), EncodeError> {
    payload.serialize(value)
}
