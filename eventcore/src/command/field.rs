//! Which types can be stream fields: a key, an `Option` or a `Vec` of keys, and raw stream ids that say what they hold.
//!
//! Decided by trait, never by how a type is spelt, so aliases work.

use std::marker::PhantomData;

use super::{Declarations, FieldRecord, Handles, StreamHandle, StreamHandles, Writable};
use crate::{
    event::{DecodeError, Event},
    stream::{StreamId, StreamKey},
};

/// The field's type says which events its stream holds. See [`StreamField`].
#[derive(Debug)]
pub struct ByKey;

/// The attribute `#[stream(event = E)]` says which events the stream holds. See [`StreamField`].
#[derive(Debug)]
pub struct Raw<E>(PhantomData<fn(E)>);

/// The handle of a field of type `F`.
pub type FieldHandle<'a, F, A = Writable, S = ByKey> = <F as StreamField<S>>::Handle<'a, A>;

/// What [`CommandLogic::apply`](super::CommandLogic::apply) gets from a field of type `F`.
pub type FieldEvent<'a, F, S = ByKey> = <F as StreamField<S>>::Event<'a>;

/// A type that a `#[stream]` field can have.
///
/// | field | handle | event |
/// | --- | --- | --- |
/// | `K: StreamKey` | [`StreamHandle`] | `K::Event` |
/// | `Option<K>` | `Option<StreamHandle>` | `K::Event` |
/// | `Vec<K>` | [`StreamHandles`] | `(&K, K::Event)` |
///
/// and the same for `StreamId` with `#[stream(event = E)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a `#[stream]` field",
    label = "this type names no stream",
    note = "a stream field is a key (`#[derive(StreamKey)]`), an `Option` or a `Vec` of keys, or a `StreamId` with `#[stream(event = MyEvent)]`"
)]
pub trait StreamField<S = ByKey> {
    /// What `apply` gets.
    type Event<'a>
    where
        Self: 'a;

    /// What `handle` gets.
    type Handle<'a, A: 'a>
    where
        Self: 'a;

    /// Declares the streams of the field.
    fn declare(&self, streams: &mut Declarations);

    /// Takes the handles of the field's streams.
    fn handle<'a, A: 'a>(&'a self, handles: &mut Handles<'a>) -> Self::Handle<'a, A>;

    /// Decodes an event of one of the field's streams.
    ///
    /// # Errors
    /// [`DecodeError`] when the event does not fit.
    fn decode<'a>(&'a self, record: FieldRecord<'a>) -> Result<Self::Event<'a>, DecodeError>;
}

/// The three forms of a stream field differ in how often a stream is named, and nothing else.
macro_rules! stream_field {
    ([$($generics:tt)*] $key:ty, $source:ty, $event:ty, $marker:ty, $id:expr) => {
        impl<$($generics)*> StreamField<$source> for $key {
            type Event<'a> = $event where Self: 'a;
            type Handle<'a, A: 'a> = StreamHandle<'a, $marker, A> where Self: 'a;

            fn declare(&self, streams: &mut Declarations) {
                streams.push($id(self));
            }

            fn handle<'a, A: 'a>(&'a self, handles: &mut Handles<'a>) -> Self::Handle<'a, A> {
                handles.take()
            }

            fn decode<'a>(&'a self, record: FieldRecord<'a>) -> Result<Self::Event<'a>, DecodeError> {
                record.event()
            }
        }

        impl<$($generics)*> StreamField<$source> for Option<$key> {
            type Event<'a> = $event where Self: 'a;
            type Handle<'a, A: 'a> = Option<StreamHandle<'a, $marker, A>> where Self: 'a;

            fn declare(&self, streams: &mut Declarations) {
                if let Some(key) = self {
                    streams.push($id(key));
                }
            }

            fn handle<'a, A: 'a>(&'a self, handles: &mut Handles<'a>) -> Self::Handle<'a, A> {
                self.as_ref().map(|_| handles.take())
            }

            fn decode<'a>(&'a self, record: FieldRecord<'a>) -> Result<Self::Event<'a>, DecodeError> {
                record.event()
            }
        }

        impl<$($generics)*> StreamField<$source> for Vec<$key> {
            type Event<'a> = (&'a $key, $event) where Self: 'a;
            type Handle<'a, A: 'a> = StreamHandles<'a, $key, $marker, A> where Self: 'a;

            fn declare(&self, streams: &mut Declarations) {
                for key in self {
                    streams.push($id(key));
                }
            }

            fn handle<'a, A: 'a>(&'a self, handles: &mut Handles<'a>) -> Self::Handle<'a, A> {
                StreamHandles::new(self, self.iter().map(|_| handles.take()).collect())
            }

            fn decode<'a>(&'a self, record: FieldRecord<'a>) -> Result<Self::Event<'a>, DecodeError> {
                match self.get(record.index()) {
                    Some(key) => Ok((key, record.event()?)),
                    None => Err(record.undeclared()),
                }
            }
        }
    };
}

stream_field!([K: StreamKey] K, ByKey, K::Event, K, StreamKey::stream_id);
stream_field!([E: Event] StreamId, Raw<E>, E, Raw<E>, |id: &StreamId| Ok(id.clone()));
