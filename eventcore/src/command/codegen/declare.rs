//! The list of the streams that a command declares, checked as it is built.

use std::any::TypeId;

use super::{ByKey, KeyField, Raw, RawField, StreamField};
use crate::{
    Version,
    command::{folding::Folding, handle::HandleKey},
    stream::{StreamId, StreamIdError, named_twice},
};

/// A declared stream, and the properties that its handle must match.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// The name of the field.
    pub(crate) name: &'static str,
    /// The number of the field among the stream fields.
    pub(crate) field: usize,
    /// The number of the stream within its field.
    pub(crate) index: usize,
    /// The key type of the field, or [`Raw`] of its events. It determines the type of the events.
    pub(crate) key: TypeId,
    pub(crate) folding: &'static Folding,
    pub(crate) stream: StreamId,
    pub(crate) writable: bool,
    /// The number of the stream in the order of reading, and so in the commit. `None` until it is
    /// read.
    pub(crate) read: Option<usize>,
    /// The version of the stream when it was read.
    pub(crate) version: Version,
}

impl Slot {
    /// Returns `true` if both are declared alike, regardless of what was read from them.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let declared = |slot: &Self| (slot.field, slot.index, slot.key, slot.writable);
        declared(self) == declared(other) && self.name == other.name && self.stream == other.stream
    }
}

/// A builder that collects the streams of a command in the order of its fields.
#[derive(Debug, Default)]
pub struct Declarations {
    slots: Vec<Slot>,
    fields: usize,
    error: Option<DeclarationError>,
}

impl Declarations {
    /// Declares the streams of a field, to be read and appended to.
    pub fn declare<F: KeyField>(&mut self, name: &'static str, field: &F) {
        self.field::<ByKey, _>(name, true, field);
    }

    /// Declares the streams of a field, to be read and guarded against change only.
    pub fn declare_read_only<F: KeyField>(&mut self, name: &'static str, field: &F) {
        self.field::<ByKey, _>(name, false, field);
    }

    /// Declares the raw stream ids of a field, to be read and appended to.
    pub fn declare_raw<E, S, F: StreamField<Raw<E, S>> + RawField>(
        &mut self,
        name: &'static str,
        field: &F,
    ) {
        self.field::<Raw<E, S>, _>(name, true, field);
    }

    /// Declares the raw stream ids of a field, to be read and guarded against change only.
    pub fn declare_raw_read_only<E, S, F: StreamField<Raw<E, S>> + RawField>(
        &mut self,
        name: &'static str,
        field: &F,
    ) {
        self.field::<Raw<E, S>, _>(name, false, field);
    }

    fn field<S, F: StreamField<S>>(&mut self, name: &'static str, writable: bool, field: &F) {
        field.declare(&mut FieldDeclarations {
            declarations: self,
            name,
            writable,
            index: 0,
        });
        self.fields += 1;
    }

    /// Returns an empty list whose first field has the number `fields`.
    pub(crate) fn after(fields: usize) -> Self {
        Self {
            fields,
            ..Self::default()
        }
    }

    /// Returns the number of fields, including earlier ones.
    pub(crate) fn fields(&self) -> usize {
        self.fields
    }

    /// Returns the declared streams, none of which may be among those `declared` earlier.
    pub(crate) fn finish(self, declared: &[Slot]) -> Result<Vec<Slot>, DeclarationError> {
        match self.error.or_else(|| duplicate(declared, &self.slots)) {
            Some(error) => Err(error),
            None => Ok(self.slots),
        }
    }
}

/// Collects the streams of one field. Only [`Declarations`] creates it.
#[derive(Debug)]
pub struct FieldDeclarations<'d> {
    declarations: &'d mut Declarations,
    name: &'static str,
    writable: bool,
    index: usize,
}

impl FieldDeclarations<'_> {
    /// Adds a stream whose handle has the key type `K`.
    pub(crate) fn push<K: HandleKey>(&mut self, stream: Result<StreamId, StreamIdError>) {
        let Declarations {
            slots,
            fields,
            error,
        } = &mut *self.declarations;
        match stream {
            Ok(stream) => slots.push(Slot {
                name: self.name,
                field: *fields,
                index: self.index,
                key: typeid::of::<K>(),
                folding: Folding::of::<K>(),
                stream,
                writable: self.writable,
                read: None,
                version: Version::EMPTY,
            }),
            Err(source) => {
                error.get_or_insert(DeclarationError::InvalidStreamId {
                    field: self.name,
                    source,
                });
            }
        }
        self.index += 1;
    }
}

fn duplicate(declared: &[Slot], slots: &[Slot]) -> Option<DeclarationError> {
    let (first, again) = if declared.is_empty() {
        named_twice(slots.iter().map(|slot| &slot.stream))?
    } else {
        let all: Vec<&StreamId> = declared
            .iter()
            .chain(slots)
            .map(|slot| &slot.stream)
            .collect();
        named_twice(all.iter().copied())?
    };
    let slot = |number| declared.iter().chain(slots).nth(number);
    let (first, again) = (slot(first)?, slot(again)?);
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

/// The error for a command whose streams are refused before any event is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeclarationError {
    /// The value of a field does not form a stream id.
    #[error("field `{field}` names no stream")]
    InvalidStreamId {
        /// The field.
        field: &'static str,
        /// The rule that the value breaks.
        source: StreamIdError,
    },
    /// Two fields, or two keys of one field, name the same stream.
    #[error(
        "stream `{stream}` is declared {}; a command names each stream once: check the input, or leave it out of `{second}`",
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
