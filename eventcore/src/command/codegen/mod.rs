//! The vocabulary of generated code: what [`CommandStreams`](super::CommandStreams) is implemented with.
//!
//! `#[derive(Command)]` writes calls to these items; a hand-written impl does the same. Nobody else
//! needs them.

mod declare;
mod field;
mod record;

pub use super::writes::Handles;
pub use declare::DeclarationError;
pub use declare::Declarations;
pub(crate) use declare::Slot;
pub use field::{
    ByKey, FieldEvent, FieldHandle, KeyField, Raw, RawField, RawKey, SlotField, StreamField,
    Unnamed, empty_slot,
};
pub use record::FieldRecord;
