//! The payloads of one commit, encoded side by side in one buffer.

use std::ops::Range;

use super::{EncodeError, Event, MAX_EVENT_BYTES};

#[derive(Debug, Default)]
pub(crate) struct PayloadBuffer(Vec<u8>);

impl PayloadBuffer {
    /// Encodes `event`, reads it back, and says where its payload stands. On an error the buffer is as before.
    pub(crate) fn push<E: Event>(&mut self, event: &E) -> Result<Range<usize>, EncodeError> {
        let start = self.0.len();
        self.try_push(event, start)
            .inspect_err(|_| self.0.truncate(start))
    }

    fn try_push<E: Event>(&mut self, event: &E, start: usize) -> Result<Range<usize>, EncodeError> {
        event.encode(&mut self.0)?;
        let written = self.0.get(start..).unwrap_or_default();
        if written.len() > MAX_EVENT_BYTES {
            return Err(EncodeError::TooLarge {
                max: MAX_EVENT_BYTES,
            });
        }
        E::decode(event.type_name(), written).map_err(EncodeError::NotReadable)?;
        Ok(start..self.0.len())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn into_bytes(self) -> bytes::Bytes {
        self.0.into()
    }
}
