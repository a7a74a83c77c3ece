//! Handles: the state of one declared stream, and the typed permission to append to it, while
//! `handle` runs.
//!
//! A handle holds a slot number, never an id, and borrows the executing command's own buffer with a
//! lifetime that matches no other. It can therefore not be forged, kept or swapped.

use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, Index},
};

use super::{WriteBuffer, codegen::Raw};
use crate::{
    Version,
    event::{Event, StateOptions, StreamKey, StreamState},
    stream::StreamId,
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
    note = "declare the field `#[stream]` instead of `#[stream(read)]` to append to it",
    note = "a `StreamResolver` only reads; append in `handle`"
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

    /// The state of the stream.
    type State: StreamState<Self::Event>;

    /// The value that names the stream.
    type Key;

    /// Returns how the state is copied and stored.
    fn state_options() -> StateOptions<Self::State>;
}

impl<K: StreamKey> HandleKey for K {
    type Event = K::Event;
    type State = K::State;
    type Key = K;

    fn state_options() -> StateOptions<K::State> {
        <K as StreamKey>::state_options()
    }
}

impl<E: Event, S: StreamState<E>> HandleKey for Raw<E, S> {
    type Event = E;
    type State = S;
    type Key = StreamId;

    fn state_options() -> StateOptions<S> {
        StateOptions::new()
    }
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

/// One declared stream while [`handle`](super::CommandLogic::handle) runs: its state, and the
/// permission to append to it.
///
/// It dereferences to the [state](StreamKey::State) of the stream as it was read:
/// `streams.account.balance`. The command's own appends are not visible in it, and it cannot be
/// changed. A method of the state that has the name of one of these methods is called on `*handle`.
///
/// Only the runtime creates it, bound to the declarations of the command being executed.
pub struct StreamHandle<'a, K: HandleKey, A = Writable> {
    buffer: &'a WriteBuffer,
    slot: usize,
    key: &'a K::Key,
    state: &'a K::State,
    /// Invariant in `'a`, so that a handle of one execution cannot take the place of one of
    /// another.
    marker: PhantomData<Marker<'a, K, A>>,
}

type Marker<'a, K, A> = (fn(&'a ()) -> &'a (), fn() -> (K, A));

impl<'a, K: HandleKey, A> StreamHandle<'a, K, A> {
    pub(crate) fn new(
        buffer: &'a WriteBuffer,
        slot: usize,
        key: &'a K::Key,
        state: &'a K::State,
    ) -> Self {
        Self {
            buffer,
            slot,
            key,
            state,
            marker: PhantomData,
        }
    }

    /// Returns the key of the stream, or its id if the field holds raw stream ids.
    pub fn key(&self) -> &'a K::Key {
        self.key
    }

    /// Returns the state of the stream when it was read. Unlike the state that the handle
    /// dereferences to, it outlives the handle.
    pub fn state(&self) -> &'a K::State {
        self.state
    }

    /// Returns the version of the stream when it was read: the number of events it holds before
    /// this command.
    pub fn version(&self) -> Version {
        self.buffer.version(self.slot)
    }
}

impl<K: HandleKey, A> Deref for StreamHandle<'_, K, A> {
    type Target = K::State;

    fn deref(&self) -> &K::State {
        self.state
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

impl<K: HandleKey, A> Clone for StreamHandle<'_, K, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: HandleKey, A> Copy for StreamHandle<'_, K, A> {}

impl<K: HandleKey, A> fmt::Debug for StreamHandle<'_, K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamHandle({})", self.slot)
    }
}

/// The handles of a `Vec` field, each with its key.
///
/// Iterates as `(&key, handle)`. `lines[i]` is the handle of the i-th key and panics if `i` is out
/// of bounds; [`get`](Self::get) returns `None` instead.
pub struct StreamHandles<'a, K: HandleKey, A = Writable> {
    handles: Vec<StreamHandle<'a, K, A>>,
}

impl<'a, K: HandleKey, A> StreamHandles<'a, K, A> {
    pub(crate) fn new(handles: Vec<StreamHandle<'a, K, A>>) -> Self {
        Self { handles }
    }

    /// Returns the key and the handle at `index`.
    pub fn get(&self, index: usize) -> Option<(&'a K::Key, StreamHandle<'a, K, A>)> {
        self.handles.get(index).copied().map(keyed)
    }

    /// Returns an iterator over the keys and their handles, in the order of the field.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a K::Key, StreamHandle<'a, K, A>)> {
        self.handles.iter().copied().map(keyed)
    }

    /// Does not compile: an event is appended to one stream.
    #[doc(hidden)]
    pub fn append<E: AppendsToOne>(&self, _: E) {}

    /// Returns the number of streams that the field declares.
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Returns `true` if the field declares no stream.
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }
}

/// A handle with its key.
type Keyed<'a, K, A> = (&'a <K as HandleKey>::Key, StreamHandle<'a, K, A>);

fn keyed<K: HandleKey, A>(handle: StreamHandle<'_, K, A>) -> Keyed<'_, K, A> {
    (handle.key, handle)
}

impl<'a, K: HandleKey, A> IntoIterator for StreamHandles<'a, K, A> {
    type Item = Keyed<'a, K, A>;
    type IntoIter = std::iter::Map<
        std::vec::IntoIter<StreamHandle<'a, K, A>>,
        fn(StreamHandle<'a, K, A>) -> Keyed<'a, K, A>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.handles.into_iter().map(keyed)
    }
}

impl<'a, K: HandleKey, A> IntoIterator for &StreamHandles<'a, K, A> {
    type Item = Keyed<'a, K, A>;
    type IntoIter = <StreamHandles<'a, K, A> as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        StreamHandles::new(self.handles.clone()).into_iter()
    }
}

impl<'a, K: HandleKey, A> Index<usize> for StreamHandles<'a, K, A> {
    type Output = StreamHandle<'a, K, A>;

    #[allow(
        clippy::indexing_slicing,
        reason = "the documented meaning of indexing, as for `Vec`"
    )]
    fn index(&self, index: usize) -> &Self::Output {
        &self.handles[index]
    }
}

impl<K: HandleKey<Key: fmt::Debug>, A> fmt::Debug for StreamHandles<'_, K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
