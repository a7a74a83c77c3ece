//! Where handles put events: checked against the declarations, encoded at once, in the order of the appends.

use std::{cell::RefCell, ops::Range};

use super::{ByKey, Raw, Slot, StreamField, StreamHandle};
use crate::{
    Version,
    event::{EncodeError, Event, PayloadBuffer},
    store::{AppendRefused, MAX_COMMIT_BYTES, MAX_COMMIT_EVENTS, NewEvent},
};

/// The writes of one run of `handle`.
#[derive(Debug)]
pub(crate) struct WriteBuffer {
    slots: Vec<Slot>,
    writes: RefCell<Writes>,
}

#[derive(Debug, Default)]
struct Writes {
    payloads: PayloadBuffer,
    events: Vec<(usize, &'static str, Range<usize>)>,
    refusal: Option<Refusal>,
}

/// Why an append was refused. The first one stands; the command fails with it.
#[derive(Debug)]
pub(crate) enum Refusal {
    Unencodable {
        slot: usize,
        type_name: &'static str,
        source: EncodeError,
    },
    TooMuch(AppendRefused),
    /// Only reachable by going around the types.
    Undeclared {
        slot: usize,
    },
}

impl WriteBuffer {
    pub(crate) fn new(slots: Vec<Slot>) -> Self {
        Self {
            slots,
            writes: RefCell::default(),
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

    /// The types already guarantee that the slot is declared and writable; it is checked again all the same.
    fn try_append<E: Event>(
        &self,
        writes: &mut Writes,
        slot: usize,
        event: &E,
    ) -> Result<(), Refusal> {
        if !self.slots.get(slot).is_some_and(|slot| slot.writable) {
            return Err(Refusal::Undeclared { slot });
        }
        let type_name = event.type_name();
        let refused = |source| Refusal::Unencodable {
            slot,
            type_name,
            source,
        };
        let payload = writes.payloads.push(event).map_err(refused)?;
        if writes.payloads.len() > MAX_COMMIT_BYTES {
            return Err(Refusal::TooMuch(AppendRefused::TooLarge {
                bytes: writes.payloads.len(),
            }));
        }
        if writes.events.len() >= MAX_COMMIT_EVENTS {
            return Err(Refusal::TooMuch(AppendRefused::TooManyEvents {
                events: writes.events.len() + 1,
            }));
        }
        writes.events.push((slot, type_name, payload));
        Ok(())
    }

    /// The declarations again, and the events, or why one was refused. An event's `stream` is its slot.
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

/// Deals out the handles of a command in the order of its declarations.
#[derive(Debug)]
pub struct Handles<'a> {
    buffer: &'a WriteBuffer,
    next: usize,
}

impl<'a> Handles<'a> {
    pub(crate) fn new(buffer: &'a WriteBuffer) -> Self {
        Self { buffer, next: 0 }
    }

    /// The handle or handles of a field.
    pub fn next<F: StreamField<ByKey>, A: 'a>(&mut self, field: &'a F) -> F::Handle<'a, A> {
        field.handle(self)
    }

    /// The handle or handles of a field of raw stream ids.
    pub fn next_raw<E, F: StreamField<Raw<E>>, A: 'a>(&mut self, field: &'a F) -> F::Handle<'a, A> {
        field.handle(self)
    }

    pub(crate) fn take<K, A>(&mut self) -> StreamHandle<'a, K, A> {
        let slot = self.next;
        self.next += 1;
        StreamHandle::new(self.buffer, slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{DecodeError, EncodeError};

    struct Noted;

    impl Event for Noted {
        const TYPE_NAMES: &'static [&'static str] = &["Noted"];

        fn type_name(&self) -> &'static str {
            "Noted"
        }

        fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
            out.extend_from_slice(b"{}");
            Ok(())
        }

        fn decode(_: &str, _: &[u8]) -> Result<Self, DecodeError> {
            Ok(Self)
        }
    }

    fn slot(name: &'static str, writable: bool) -> Slot {
        let stream = crate::StreamId::new(format!("note-{name}")).unwrap();
        Slot {
            name,
            field: 0,
            index: 0,
            stream,
            writable,
            version: Version::EMPTY,
        }
    }

    /// What a handle forged through hidden constructors would meet.
    #[test]
    fn a_slot_that_is_not_declared_or_not_writable_is_refused_at_run_time() {
        for forged in [1, 2, usize::MAX] {
            let buffer = WriteBuffer::new(vec![slot("mine", true), slot("read", false)]);
            StreamHandle::<'_, Raw<Noted>>::new(&buffer, 0).append(Noted);
            StreamHandle::<'_, Raw<Noted>>::new(&buffer, forged).append(Noted);
            match buffer.finish().1 {
                Err(Refusal::Undeclared { slot }) => assert_eq!(slot, forged),
                other => panic!("{other:?}"),
            }
        }
    }
}
