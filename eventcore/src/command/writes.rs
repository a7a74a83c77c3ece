//! The buffer of appended events, which are checked against the declarations, encoded at once, and
//! kept in the order of the appends.

use std::{
    any::Any,
    cell::{OnceCell, RefCell},
    fmt,
    ops::Range,
};

use super::{
    Slot, StreamHandle,
    codegen::{ByKey, Raw, StreamField},
    handle::{HandleKey, sealed::Mode},
};
use crate::{
    Version,
    event::{EncodeError, Event, Payloads},
    store::{AppendError, MAX_COMMIT_BYTES, MAX_COMMIT_EVENTS, NewEvent},
};

/// The writes of one run of `handle`.
#[derive(Debug)]
pub(crate) struct WriteBuffer {
    slots: Vec<Slot>,
    writes: RefCell<Writes>,
    /// The states of handles that match no slot.
    strays: OnceCell<Box<Stray>>,
}

/// An empty state, for a handle that is never used: the command fails before it decides.
#[derive(Debug)]
struct Stray {
    state: Box<dyn Any + Send + Sync>,
    next: OnceCell<Box<Self>>,
}

#[derive(Debug, Default)]
struct Writes {
    payloads: Payloads,
    /// For each event, the number of its stream in the order of reading, its stored name and its
    /// payload.
    events: Vec<(usize, &'static str, Range<usize>)>,
    refusal: Option<Refusal>,
}

/// The error for a refused append. The command fails with the first one.
#[derive(Debug)]
pub(crate) enum Refusal {
    Unencodable {
        slot: usize,
        type_name: &'static str,
        source: EncodeError,
    },
    TooMuch(AppendError),
    /// Only reachable by circumventing the types.
    Undeclared {
        slot: usize,
    },
}

impl WriteBuffer {
    pub(crate) fn new(slots: Vec<Slot>) -> Self {
        Self {
            slots,
            writes: RefCell::default(),
            strays: OnceCell::new(),
        }
    }

    /// Returns an empty state that lives as long as the buffer.
    fn stray<S: Default + Send + Sync + 'static>(&self) -> &S {
        let mut place = &self.strays;
        loop {
            let stray = place.get_or_init(|| {
                Box::new(Stray {
                    state: Box::new(S::default()),
                    next: OnceCell::new(),
                })
            });
            if let Some(state) = stray.state.downcast_ref() {
                return state;
            }
            place = &stray.next;
        }
    }

    pub(crate) fn version(&self, slot: usize) -> Version {
        self.slots
            .get(slot)
            .map_or(Version::EMPTY, |slot| slot.version)
    }

    pub(crate) fn append<E: Event>(&self, slot: usize, event: &E) {
        let mut writes = self.writes.borrow_mut();
        if writes.refusal.is_some() {
            return;
        }
        if let Err(refusal) = self.try_append(&mut writes, slot, event) {
            writes.refusal = Some(refusal);
        }
    }

    /// Appends an event. The types already guarantee that the slot is declared and writable; this
    /// checks it again as a safeguard.
    fn try_append<E: Event>(
        &self,
        writes: &mut Writes,
        slot: usize,
        event: &E,
    ) -> Result<(), Refusal> {
        let declared = self.slots.get(slot).filter(|slot| slot.writable);
        let Some(stream) = declared.and_then(|slot| slot.read) else {
            return Err(Refusal::Undeclared { slot });
        };
        let type_name = event.type_name();
        let refused = |source| Refusal::Unencodable {
            slot,
            type_name,
            source,
        };
        let payload = writes.payloads.push(type_name, event).map_err(refused)?;
        if writes.payloads.len() > MAX_COMMIT_BYTES {
            return Err(Refusal::TooMuch(AppendError::TooLarge {
                bytes: writes.payloads.len(),
            }));
        }
        if writes.events.len() >= MAX_COMMIT_EVENTS {
            return Err(Refusal::TooMuch(AppendError::TooManyEvents {
                events: writes.events.len() + 1,
            }));
        }
        writes.events.push((stream, type_name, payload));
        Ok(())
    }

    /// Returns the declarations, and either the events or the reason why one was refused.
    pub(crate) fn finish(self) -> (Vec<Slot>, Result<Vec<NewEvent>, Refusal>) {
        let Writes {
            payloads,
            events,
            refusal,
        } = self.writes.into_inner();
        if let Some(refusal) = refusal {
            return (self.slots, Err(refusal));
        }
        let bytes = payloads.into_bytes();
        let event = |(stream, type_name, range)| NewEvent {
            stream,
            type_name,
            payload: bytes.slice(range),
        };
        (self.slots, Ok(events.into_iter().map(event).collect()))
    }
}

/// Hands out the handles of a command in the order of its declarations.
///
/// Each handle must match the field, the key type and the access that are declared at its position.
/// On a mismatch the command fails before it decides; see [`HandleMismatch`].
pub struct Handles<'a> {
    buffer: &'a WriteBuffer,
    /// The states of the streams, in the order of reading.
    states: &'a [&'a (dyn Any + Send + Sync)],
    next: usize,
    /// `true` if all handles are read-only, however the streams are declared.
    only_read: bool,
    mismatch: Option<HandleMismatch>,
}

impl<'a> Handles<'a> {
    pub(crate) fn new(buffer: &'a WriteBuffer, states: &'a [&'a (dyn Any + Send + Sync)]) -> Self {
        Self {
            buffer,
            states,
            next: 0,
            only_read: false,
            mismatch: None,
        }
    }

    /// Returns the handles for a resolver, which appends nothing.
    pub(crate) fn read_only(self) -> Self {
        Self {
            only_read: true,
            ..self
        }
    }

    /// Returns the handle or handles of the field that is declared as `name`.
    pub fn next<F: StreamField<ByKey>, A: Mode + 'a>(
        &mut self,
        name: &'static str,
        field: &'a F,
    ) -> F::Handle<'a, A> {
        self.field(name, field)
    }

    /// Returns the handle or handles of the field of raw stream ids that is declared as `name`.
    pub fn next_raw<E, S, F: StreamField<Raw<E, S>>, A: Mode + 'a>(
        &mut self,
        name: &'static str,
        field: &'a F,
    ) -> F::Handle<'a, A> {
        self.field(name, field)
    }

    fn field<S, F: StreamField<S>, A: Mode + 'a>(
        &mut self,
        name: &'static str,
        field: &'a F,
    ) -> F::Handle<'a, A> {
        let handle = field.handle(&mut FieldHandles {
            handles: self,
            name,
            index: 0,
        });
        // The next stream is not the first of its field.
        if self.slot().is_some_and(|slot| slot.index > 0) {
            self.refuse(HandleMismatch::TooFew { field: name });
        }
        handle
    }

    /// Returns the stream whose handle is taken next.
    fn slot(&self) -> Option<&'a Slot> {
        self.buffer.slots.get(self.next)
    }

    fn refuse(&mut self, mismatch: HandleMismatch) {
        self.mismatch.get_or_insert(mismatch);
    }

    /// Checks that exactly the handles of the declared streams were taken.
    pub(crate) fn finish(self) -> Result<(), HandleMismatch> {
        match (self.mismatch, self.slot()) {
            (Some(mismatch), _) => Err(mismatch),
            (None, Some(slot)) => Err(HandleMismatch::TooFew { field: slot.name }),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Debug for Handles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handles")
            .field("next", &self.next)
            .field("mismatch", &self.mismatch)
            .finish_non_exhaustive()
    }
}

/// Hands out the handles of one field. Only [`Handles`] creates it.
#[derive(Debug)]
pub struct FieldHandles<'h, 'a> {
    handles: &'h mut Handles<'a>,
    name: &'static str,
    index: usize,
}

impl<'a> FieldHandles<'_, 'a> {
    /// Returns the next handle, of the stream that `key` names. A handle that does not match its
    /// slot is recorded as a mismatch and belongs to no slot.
    pub(crate) fn take<K: HandleKey, A: Mode>(
        &mut self,
        key: &'a K::Key,
    ) -> StreamHandle<'a, K, A> {
        let matched = self.matched::<K, A>();
        let Handles { buffer, next, .. } = *self.handles;
        self.handles.next += 1;
        self.index += 1;
        match matched {
            Ok(state) => StreamHandle::new(buffer, next, key, state),
            Err(mismatch) => {
                self.handles.refuse(mismatch);
                StreamHandle::new(buffer, usize::MAX, key, buffer.stray())
            }
        }
    }

    /// Returns the state of the next slot, if the slot is that of the handle.
    fn matched<K: HandleKey, A: Mode>(&self) -> Result<&'a K::State, HandleMismatch> {
        let field = self.name;
        let Some(slot) = self.handles.slot() else {
            return Err(HandleMismatch::TooMany { field });
        };
        if slot.name != field {
            let declared = slot.name;
            return Err(HandleMismatch::OtherField { field, declared });
        }
        if slot.index != self.index {
            return Err(HandleMismatch::TooMany { field });
        }
        if slot.key != typeid::of::<K>() {
            return Err(HandleMismatch::OtherKey { field });
        }
        let is_writable = slot.writable && !self.handles.only_read;
        if is_writable != A::WRITABLE {
            return Err(HandleMismatch::OtherAccess { field });
        }
        let state = slot.read.and_then(|read| self.handles.states.get(read));
        state
            .and_then(|state| state.downcast_ref())
            .ok_or(HandleMismatch::OtherKey { field })
    }
}

/// The error for a command whose [`streams`](super::CommandStreams::streams) takes handles other
/// than those that its [`declare`](super::CommandStreams::declare) and
/// [`declare_discovered`](super::CommandStreams::declare_discovered) declare. `#[derive(Command)]`
/// never causes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandleMismatch {
    /// The fields are in a different order, or have different names.
    #[error(
        "`streams` takes the handle of `{field}` where `{declared}` is declared; visit the same fields in the same order \
         in both methods"
    )]
    OtherField {
        /// The field whose handle is taken.
        field: &'static str,
        /// The field that is declared.
        declared: &'static str,
    },
    /// There are more handles than declared streams.
    #[error(
        "`streams` takes more handles of `{field}` than there are declared streams; declare each field before its handle \
         is taken, and keep it unchanged"
    )]
    TooMany {
        /// The field.
        field: &'static str,
    },
    /// There are fewer handles than declared streams.
    #[error(
        "`streams` takes fewer handles of `{field}` than there are declared streams; take the handles of each declared \
         field, and keep it unchanged"
    )]
    TooFew {
        /// The field.
        field: &'static str,
    },
    /// The key type, and with it the event type, is a different one.
    #[error(
        "`streams` takes a handle of `{field}` with another key type than the declared one; pass the same field to both \
         methods"
    )]
    OtherKey {
        /// The field.
        field: &'static str,
    },
    /// A stream that is declared read-only is taken writable, or the reverse.
    #[error(
        "`streams` takes a handle of `{field}` with another access than the declared one; use `ReadOnly` with \
         `declare_read_only` and `Writable` with `declare`"
    )]
    OtherAccess {
        /// The field.
        field: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        StreamId,
        command::folding::Folding,
        event::{DecodeError, EncodeError, PayloadWriter},
    };

    struct Noted;

    impl Event for Noted {
        const TYPE_NAMES: &'static [&'static str] = &["Noted"];

        fn type_name(&self) -> &'static str {
            "Noted"
        }

        fn encode(&self, payload: &mut PayloadWriter<'_>) -> Result<(), EncodeError> {
            payload.json("{}")
        }

        fn decode(_: &str, _: &[u8]) -> Result<Self, DecodeError> {
            Ok(Self)
        }
    }

    fn slot(name: &'static str, writable: bool) -> Slot {
        let stream = StreamId::new(format!("note-{name}")).unwrap();
        Slot {
            name,
            field: 0,
            index: 0,
            key: typeid::of::<Raw<Noted>>(),
            folding: Folding::of::<Raw<Noted>>(),
            stream,
            writable,
            read: Some(0),
            version: Version::EMPTY,
        }
    }

    /// Checks that a handle forged through hidden constructors is refused.
    #[test]
    fn a_slot_that_is_not_declared_or_not_writable_is_refused_at_run_time() {
        for forged in [1, 2, usize::MAX] {
            let buffer = WriteBuffer::new(vec![slot("mine", true), slot("read", false)]);
            let id = StreamId::new("note-mine").unwrap();
            StreamHandle::<'_, Raw<Noted>>::new(&buffer, 0, &id, &()).append(Noted);
            StreamHandle::<'_, Raw<Noted>>::new(&buffer, forged, &id, &()).append(Noted);
            match buffer.finish().1 {
                Err(Refusal::Undeclared { slot }) => assert_eq!(slot, forged),
                other => panic!("{other:?}"),
            }
        }
    }
}
