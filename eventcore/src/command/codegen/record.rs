//! A stored event, assigned to the field that its stream belongs to.

use super::{ByKey, Raw, Slot, StreamField};
use crate::{
    event::{DecodeError, Event},
    store::StreamEvent,
};

/// A stored event and the field that it is for. The runtime creates it; generated code decodes it.
#[derive(Debug, Clone, Copy)]
pub struct FieldRecord<'a> {
    field: usize,
    index: usize,
    event: &'a StreamEvent,
}

impl<'a> FieldRecord<'a> {
    pub(crate) fn new(slot: &Slot, event: &'a StreamEvent) -> Self {
        Self {
            field: slot.field,
            index: slot.index,
            event,
        }
    }

    /// Returns the number of the field among the stream fields and slots.
    pub fn field(&self) -> usize {
        self.field
    }

    /// Returns the number of the stream within its field.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Decodes the event for a field.
    ///
    /// # Errors
    /// Returns [`DecodeError`] if the event does not fit.
    pub fn decode<F: StreamField<ByKey>>(self, field: &'a F) -> Result<F::Event<'a>, DecodeError> {
        field.decode(self)
    }

    /// Decodes the event for a field of raw stream ids.
    ///
    /// # Errors
    /// Returns [`DecodeError`] if the event does not fit.
    pub fn decode_raw<E, S, F: StreamField<Raw<E, S>>>(
        self,
        field: &'a F,
    ) -> Result<F::Event<'a>, DecodeError> {
        field.decode(self)
    }

    pub(crate) fn event<E: Event>(&self) -> Result<E, DecodeError> {
        self.event.decode()
    }

    /// Returns the error for an event that belongs to no declared field. The runtime never creates
    /// such a record.
    pub fn undeclared(&self) -> DecodeError {
        DecodeError::UnknownType {
            type_name: self.event.type_name.to_string(),
            known: &[],
        }
    }
}
