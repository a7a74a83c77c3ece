//! Handles: typed permissions to append to one declared stream while `handle` runs.
//!
//! A handle holds a slot number, never an id, and borrows the executing command's own buffer with a
//! lifetime that matches no other. It can therefore not be forged, kept or swapped.

use std::{fmt, marker::PhantomData, ops::Index};

use super::{WriteBuffer, codegen::Raw};
use crate::{
    Version,
    event::{Event, StreamKey},
};

/// The access of a stream that is declared `#[stream]`.
#[derive(Debug)]
pub struct Writable;

/// The access of a stream that is declared `#[stream(read)]`: guarded against concurrent change,
/// never written.
#[derive(Debug)]
pub struct ReadOnly;

/// The access that appending requires. Only [`Writable`] has it.
#[diagnostic::on_unimplemented(
    message = "this stream is read-only",
    label = "cannot append here",
    note = "declare the field `#[stream]` instead of `#[stream(read)]` to append to it"
)]
pub trait CanAppend: sealed::Mode {}

impl CanAppend for Writable {}

/// The events that a stream accepts: those of its key.
#[diagnostic::on_unimplemented(
    message = "event `{Self}` cannot be appended to a stream of `{K}`",
    label = "an event of another kind",
    note = "a stream takes the event type that its key names: `#[stream_key(event = …)]`, or `#[stream(event = …)]` on a raw `StreamId`"
)]
pub trait AppendsTo<K, E>: sealed::Is<E> {}

impl<K, E> AppendsTo<K, E> for E {}

/// The events that the streams of a `Vec` field accept together: none.
#[diagnostic::on_unimplemented(
    message = "an event is appended to one stream, and a `Vec` field has several",
    label = "to which of the streams?",
    note = "append to each: `for (key, stream) in &streams.field {{ stream.append(…) }}`",
    note = "or to one: `streams.field[0].append(…)`, or `streams.field.get(0)`, which returns an `Option`"
)]
pub trait AppendsToOne: sealed::Sealed {}

/// The subject of a handle: a key type, or [`Raw`].
pub trait HandleKey {
    /// The events of the stream.
    type Event: Event;
}

impl<K: StreamKey> HandleKey for K {
    type Event = K::Event;
}

impl<E: Event> HandleKey for Raw<E> {
    type Event = E;
}

/// Traits that other crates cannot name, so that they cannot implement public traits based on them.
pub(super) mod sealed {
    /// Implemented by no type.
    pub trait Sealed {}

    /// Implemented by each type for itself, and by no other pair of types.
    pub trait Is<E> {}

    impl<E> Is<E> for E {}

    /// A way to declare a stream: [`Writable`](super::Writable) or [`ReadOnly`](super::ReadOnly).
    pub trait Mode {
        const WRITABLE: bool;
    }

    impl Mode for super::Writable {
        const WRITABLE: bool = true;
    }

    impl Mode for super::ReadOnly {
        const WRITABLE: bool = false;
    }
}

/// The permission to append to one declared stream while [`handle`](super::CommandLogic::handle)
/// runs.
///
/// Only the runtime creates it, bound to the declarations of the command being executed.
pub struct StreamHandle<'a, K, A = Writable> {
    buffer: &'a WriteBuffer,
    slot: usize,
    /// Invariant in `'a`, so that a handle of one execution cannot take the place of one of
    /// another.
    marker: PhantomData<Marker<'a, K, A>>,
}

type Marker<'a, K, A> = (fn(&'a ()) -> &'a (), fn() -> (K, A));

impl<'a, K, A> StreamHandle<'a, K, A> {
    pub(crate) fn new(buffer: &'a WriteBuffer, slot: usize) -> Self {
        Self {
            buffer,
            slot,
            marker: PhantomData,
        }
    }

    /// Returns the version of the stream when it was read: the number of events it holds before
    /// this command.
    pub fn version(&self) -> Version {
        self.buffer.version(self.slot)
    }
}

impl<K: HandleKey, A> StreamHandle<'_, K, A> {
    /// Appends an event. It is committed when `handle` returns `Ok`, together with all other events
    /// of the command, or not at all.
    ///
    /// If an event cannot be stored (see [`EncodeError`](crate::EncodeError)), the whole command
    /// fails.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "an appended event is the stream's"
    )]
    pub fn append<E>(&self, event: E)
    where
        A: CanAppend,
        E: AppendsTo<K, K::Event> + Event,
    {
        self.buffer.append(self.slot, &event);
    }
}

impl<K, A> Clone for StreamHandle<'_, K, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, A> Copy for StreamHandle<'_, K, A> {}

impl<K, A> fmt::Debug for StreamHandle<'_, K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamHandle({})", self.slot)
    }
}

/// The handles of a `Vec` field, each with its key.
///
/// Iterates as `(&key, handle)`. `lines[i]` is the handle of the i-th key and panics if `i` is out
/// of bounds; [`get`](Self::get) returns `None` instead.
pub struct StreamHandles<'a, F, K = F, A = Writable> {
    keys: &'a [F],
    handles: Vec<StreamHandle<'a, K, A>>,
}

impl<'a, F, K, A> StreamHandles<'a, F, K, A> {
    pub(crate) fn new(keys: &'a [F], handles: Vec<StreamHandle<'a, K, A>>) -> Self {
        Self { keys, handles }
    }

    /// Returns the key and the handle at `index`.
    pub fn get(&self, index: usize) -> Option<(&'a F, StreamHandle<'a, K, A>)> {
        self.keys.get(index).zip(self.handles.get(index).copied())
    }

    /// Returns an iterator over the keys and their handles, in the order of the field.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a F, StreamHandle<'a, K, A>)> {
        self.keys.iter().zip(self.handles.iter().copied())
    }

    /// Does not compile: an event is appended to one stream.
    #[doc(hidden)]
    pub fn append<E: AppendsToOne>(&self, _: E) {}

    /// Returns the number of streams that the field declares.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns `true` if the field declares no stream.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl<'a, F, K, A> IntoIterator for StreamHandles<'a, F, K, A> {
    type Item = (&'a F, StreamHandle<'a, K, A>);
    type IntoIter =
        std::iter::Zip<std::slice::Iter<'a, F>, std::vec::IntoIter<StreamHandle<'a, K, A>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.keys.iter().zip(self.handles)
    }
}

impl<'a, F, K, A> IntoIterator for &StreamHandles<'a, F, K, A> {
    type Item = (&'a F, StreamHandle<'a, K, A>);
    type IntoIter =
        std::iter::Zip<std::slice::Iter<'a, F>, std::vec::IntoIter<StreamHandle<'a, K, A>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.keys.iter().zip(self.handles.clone())
    }
}

impl<'a, F, K, A> Index<usize> for StreamHandles<'a, F, K, A> {
    type Output = StreamHandle<'a, K, A>;

    #[allow(
        clippy::indexing_slicing,
        reason = "the documented meaning of indexing, as for `Vec`"
    )]
    fn index(&self, index: usize) -> &Self::Output {
        &self.handles[index]
    }
}

impl<F: fmt::Debug, K, A> fmt::Debug for StreamHandles<'_, F, K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
