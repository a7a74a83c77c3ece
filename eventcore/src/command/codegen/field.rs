//! The types of stream fields: a key, an `Option` or a `Vec` of keys, and raw stream ids with an event type.
//!
//! The trait decides, not the spelling of a type, so type aliases work.

use std::marker::PhantomData;

use super::{FieldRecord, declare::FieldDeclarations};
use crate::{
    command::{
        StreamHandle, StreamHandles, Writable,
        handle::{HandleKey, sealed::Mode},
        writes::FieldHandles,
    },
    event::{DecodeError, EncodeError, Event, PayloadWriter, StreamKey, StreamState},
    stream::{StreamId, StreamIdError},
};

/// The field's type determines which events its streams hold. See [`StreamField`].
#[derive(Debug)]
pub struct ByKey;

/// The attribute `#[stream(event = E, state = S)]` determines which events the streams hold and
/// which state they have. See [`StreamField`].
#[derive(Debug)]
pub struct Raw<E, S = ()>(PhantomData<fn(E, S)>);

/// The handle of a field of type `F`.
pub type FieldHandle<'a, F, A = Writable, S = ByKey> = <F as StreamField<S>>::Handle<'a, A>;

/// The argument of [`CommandLogic::apply`](crate::CommandLogic::apply) for a field of type `F`.
pub type FieldEvent<'a, F, S = ByKey> = <F as StreamField<S>>::Event<'a>;

/// A type that a `#[stream]` field may have.
///
/// | field | handle | event |
/// | --- | --- | --- |
/// | `K: StreamKey` | [`StreamHandle`] | `K::Event` |
/// | `Option<K>` | `Option<StreamHandle>` | `K::Event` |
/// | `Vec<K>` | [`StreamHandles`] | `(&K, K::Event)` |
///
/// and the same for `StreamId` with `#[stream(event = E)]`. No other type can implement the trait:
/// a field that declared one stream and took the handle of another could write to a stream that its
/// command does not declare.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a `#[stream]` field",
    label = "this type names no stream",
    note = "a stream field is a key (`#[derive(StreamKey)]`), an `Option` or a `Vec` of keys, or a `StreamId` with `#[stream(event = MyEvent)]`"
)]
pub trait StreamField<S = ByKey>: sealed::Sealed<S> {
    /// The argument of `apply`.
    type Event<'a>
    where
        Self: 'a;

    /// The argument of `handle`.
    type Handle<'a, A: 'a>
    where
        Self: 'a;

    /// Declares the streams of the field.
    #[doc(hidden)]
    fn declare(&self, streams: &mut FieldDeclarations<'_>);

    /// Takes the handles of the field's streams.
    #[doc(hidden)]
    fn handle<'a, A: Mode + 'a>(
        &'a self,
        handles: &mut FieldHandles<'_, 'a>,
    ) -> Self::Handle<'a, A>;

    /// Decodes an event of one of the field's streams.
    ///
    /// # Errors
    /// Returns [`DecodeError`] if the event does not fit.
    fn decode<'a>(&'a self, record: FieldRecord<'a>) -> Result<Self::Event<'a>, DecodeError>;
}

/// A field whose type determines which events its streams hold: a key, or an `Option` or a `Vec` of
/// keys.
///
/// A raw `StreamId` does not. It is a [`StreamField`] nevertheless, with an event type that has no
/// values, so that a forgotten `event = …` causes one error instead of seven.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which events its stream holds",
    label = "not a stream key, nor an `Option` or a `Vec` of keys",
    note = "a raw `StreamId` field names its events: `#[stream(event = MyEvent)]`",
    note = "any other field is a key with `#[derive(StreamKey)]`, or an `Option` or a `Vec` of such keys"
)]
pub trait KeyField: StreamField<ByKey> {}

/// A field whose events are named by `#[stream(event = E)]`: a raw `StreamId`, or an `Option` or a
/// `Vec` of them.
///
/// A key is not. It is a [`StreamField`] nevertheless, and keeps its own event type, so that a
/// superfluous `event = …` causes one error instead of eight.
#[diagnostic::on_unimplemented(
    message = "`{Self}` names its events itself, so `event = …` has no meaning here",
    label = "only a raw `StreamId` takes this",
    note = "remove `event = …`: write `#[stream]` or `#[stream(read)]`"
)]
pub trait RawField {}

/// The source of a stream id and of its events, in a field with `#[stream(event = E)]`.
pub trait RawKey: sealed::RawKey + Sized {
    /// The events of the stream.
    type Event<E: Event>: Event;

    /// The key type of the handle.
    type Marker<E: Event, S: StreamState<E>>: HandleKey<Event = Self::Event<E>, Key = Self>;

    /// Returns the id of the stream.
    ///
    /// # Errors
    /// Returns [`StreamIdError`] if the id is not valid.
    fn id(&self) -> Result<StreamId, StreamIdError>;
}

impl RawKey for StreamId {
    type Event<E: Event> = E;
    type Marker<E: Event, S: StreamState<E>> = Raw<E, S>;

    fn id(&self) -> Result<StreamId, StreamIdError> {
        Ok(self.clone())
    }
}

impl<K: StreamKey> RawKey for K {
    type Event<E: Event> = K::Event;
    type Marker<E: Event, S: StreamState<E>> = K;

    fn id(&self) -> Result<StreamId, StreamIdError> {
        stream_id(self)
    }
}

/// The event type of a raw stream id for which none is named. It has no values.
#[derive(Debug)]
pub enum Unnamed {}

#[diagnostic::do_not_recommend]
impl Event for Unnamed {
    const TYPE_NAMES: &'static [&'static str] = &[];

    fn type_name(&self) -> &'static str {
        match *self {}
    }

    fn encode(&self, _: &mut PayloadWriter<'_>) -> Result<(), EncodeError> {
        match *self {}
    }

    fn decode(type_name: &str, _: &[u8]) -> Result<Self, DecodeError> {
        Err(DecodeError::UnknownType {
            type_name: type_name.to_owned(),
            known: Self::TYPE_NAMES,
        })
    }
}

/// A type that a slot for discovered streams may have: one that declares no streams before the
/// first discovery.
#[diagnostic::on_unimplemented(
    message = "a slot of type `{Self}` cannot be empty",
    label = "no stream is discovered at first, and this type has no `Default`",
    note = "write `Option<{Self}>` for one stream or none, or `Vec<{Self}>` for several"
)]
pub trait SlotField: Default {}

#[diagnostic::do_not_recommend]
impl<F: Default> SlotField for F {}

/// Returns the content of a slot before the first discovery.
pub fn empty_slot<F: SlotField>() -> F {
    F::default()
}

mod sealed {
    use crate::{event::StreamKey, stream::StreamId};

    pub trait Sealed<S> {}

    pub trait RawKey {}

    impl RawKey for StreamId {}

    impl<K: StreamKey> RawKey for K {}
}

/// Implements the three forms of a stream field, which differ only in how many streams they name.
macro_rules! stream_field {
    ([$($generics:tt)*] $key:ty, $source:ty, $event:ty, $marker:ty, $id:expr) => {
        impl<$($generics)*> sealed::Sealed<$source> for $key {}

        impl<$($generics)*> sealed::Sealed<$source> for Option<$key> {}

        impl<$($generics)*> sealed::Sealed<$source> for Vec<$key> {}

        impl<$($generics)*> StreamField<$source> for $key {
            type Event<'a> = $event where Self: 'a;
            type Handle<'a, A: 'a> = StreamHandle<'a, $marker, A> where Self: 'a;

            fn declare(&self, streams: &mut FieldDeclarations<'_>) {
                streams.push::<$marker>($id(self));
            }

            fn handle<'a, A: Mode + 'a>(
                &'a self,
                handles: &mut FieldHandles<'_, 'a>,
            ) -> Self::Handle<'a, A> {
                handles.take(self)
            }

            fn decode<'a>(&'a self, record: FieldRecord<'a>) -> Result<Self::Event<'a>, DecodeError> {
                record.event()
            }
        }

        impl<$($generics)*> StreamField<$source> for Option<$key> {
            type Event<'a> = $event where Self: 'a;
            type Handle<'a, A: 'a> = Option<StreamHandle<'a, $marker, A>> where Self: 'a;

            fn declare(&self, streams: &mut FieldDeclarations<'_>) {
                if let Some(key) = self {
                    streams.push::<$marker>($id(key));
                }
            }

            fn handle<'a, A: Mode + 'a>(
                &'a self,
                handles: &mut FieldHandles<'_, 'a>,
            ) -> Self::Handle<'a, A> {
                self.as_ref().map(|key| handles.take(key))
            }

            fn decode<'a>(&'a self, record: FieldRecord<'a>) -> Result<Self::Event<'a>, DecodeError> {
                record.event()
            }
        }

        impl<$($generics)*> StreamField<$source> for Vec<$key> {
            type Event<'a> = (&'a $key, $event) where Self: 'a;
            type Handle<'a, A: 'a> = StreamHandles<'a, $marker, A> where Self: 'a;

            fn declare(&self, streams: &mut FieldDeclarations<'_>) {
                for key in self {
                    streams.push::<$marker>($id(key));
                }
            }

            fn handle<'a, A: Mode + 'a>(
                &'a self,
                handles: &mut FieldHandles<'_, 'a>,
            ) -> Self::Handle<'a, A> {
                StreamHandles::new(self.iter().map(|key| handles.take(key)).collect())
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

macro_rules! named_field {
    ([$($generics:tt)*] $key:ty, $named:path) => {
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> $named for $key {}
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> $named for Option<$key> {}
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> $named for Vec<$key> {}
    };
}

stream_field!([K: StreamKey] K, ByKey, K::Event, K, stream_id);
stream_field!([] StreamId, ByKey, Unnamed, Raw<Unnamed>, RawKey::id);
stream_field!([F: RawKey, E: Event, S: StreamState<E>] F, Raw<E, S>, F::Event<E>, F::Marker<E, S>, RawKey::id);
named_field!([K: StreamKey] K, KeyField);
named_field!([] StreamId, RawField);

/// Returns the id that a key names. `StreamKey::stream_id` can be overridden, but the id must stay
/// in the key's category.
fn stream_id<K: StreamKey>(key: &K) -> Result<StreamId, StreamIdError> {
    let id = key.stream_id()?;
    if id.category() == K::CATEGORY {
        Ok(id)
    } else {
        Err(StreamIdError::OtherCategory {
            id,
            expected: K::CATEGORY,
        })
    }
}
