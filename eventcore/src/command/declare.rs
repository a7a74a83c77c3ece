//! The list of the streams that a command declares, checked as it is made.

use super::{ByKey, KeyField, Raw, RawField, StreamField};
use crate::{
    Version,
    stream::{StreamId, StreamIdError, named_twice},
};

/// One declared stream.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// The name of the field, for messages.
    pub(crate) name: &'static str,
    /// The number of the field among the stream fields.
    pub(crate) field: usize,
    /// The number of the stream within its field.
    pub(crate) index: usize,
    pub(crate) stream: StreamId,
    pub(crate) writable: bool,
    /// The version as it was read.
    pub(crate) version: Version,
}

/// Collects the streams of a command in the order of its fields.
#[derive(Debug, Default)]
pub struct Declarations {
    slots: Vec<Slot>,
    /// The field that is being declared.
    current: Option<(&'static str, bool)>,
    fields: usize,
    index: usize,
    error: Option<DeclarationError>,
}

impl Declarations {
    /// Declares the streams of a field, to be read and appended to.
    pub fn declare<F: KeyField>(&mut self, name: &'static str, field: &F) {
        self.field::<ByKey, _>(name, true, field);
    }

    /// Declares the streams of a field, to be read and guarded only.
    pub fn declare_read_only<F: KeyField>(&mut self, name: &'static str, field: &F) {
        self.field::<ByKey, _>(name, false, field);
    }

    /// Declares the raw stream ids of a field, to be read and appended to.
    pub fn declare_raw<E, F: StreamField<Raw<E>> + RawField>(
        &mut self,
        name: &'static str,
        field: &F,
    ) {
        self.field::<Raw<E>, _>(name, true, field);
    }

    /// Declares the raw stream ids of a field, to be read and guarded only.
    pub fn declare_raw_read_only<E, F: StreamField<Raw<E>> + RawField>(
        &mut self,
        name: &'static str,
        field: &F,
    ) {
        self.field::<Raw<E>, _>(name, false, field);
    }

    fn field<S, F: StreamField<S>>(&mut self, name: &'static str, writable: bool, field: &F) {
        self.current = Some((name, writable));
        self.index = 0;
        field.declare(self);
        self.current = None;
        self.fields += 1;
    }

    /// Adds a stream of the current field; outside of one it has no name and is not added.
    pub(crate) fn push(&mut self, stream: Result<StreamId, StreamIdError>) {
        let Some((name, writable)) = self.current else {
            return;
        };
        let (field, index) = (self.fields, self.index);
        self.index += 1;
        match stream {
            Ok(stream) => self.slots.push(Slot {
                name,
                field,
                index,
                stream,
                writable,
                version: Version::EMPTY,
            }),
            Err(source) => {
                self.error.get_or_insert(DeclarationError::InvalidStreamId {
                    field: name,
                    source,
                });
            }
        }
    }

    pub(crate) fn finish(self) -> Result<Vec<Slot>, DeclarationError> {
        match self.error.or_else(|| duplicate(&self.slots)) {
            Some(error) => Err(error),
            None => Ok(self.slots),
        }
    }
}

fn duplicate(slots: &[Slot]) -> Option<DeclarationError> {
    let (first, again) = named_twice(slots.iter().map(|slot| &slot.stream))?;
    let (first, again) = (slots.get(first)?, slots.get(again)?);
    Some(DeclarationError::DuplicateStream {
        stream: again.stream.clone(),
        first: first.name,
        second: again.name,
    })
}

fn both(first: &str, second: &str) -> String {
    if first == second {
        format!("twice in `{first}`")
    } else {
        format!("by `{first}` and by `{second}`")
    }
}

/// Why the streams of a command are refused, before any I/O.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeclarationError {
    /// A field's value makes no stream id.
    #[error("field `{field}` names no stream: {source}")]
    InvalidStreamId {
        /// The field.
        field: &'static str,
        /// The rule that is broken.
        source: StreamIdError,
    },
    /// Two fields, or two keys of one field, name the same stream.
    #[error(
        "stream `{stream}` is declared {}; a command names each stream once",
        both(first, second)
    )]
    DuplicateStream {
        /// The stream.
        stream: StreamId,
        /// The field that names it first.
        first: &'static str,
        /// The field that names it again.
        second: &'static str,
    },
}
