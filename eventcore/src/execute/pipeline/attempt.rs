//! One attempt of a command: its streams, what was read of them, and the command's own state.

use super::machine::Machine;
use crate::{
    command::{CommandLogic, Refusal, Slot, codegen::FieldRecord},
    event::DecodeError,
    execute::{
        CommandError,
        reading::{FoldError, Reading},
        states::Unfolded,
    },
    store::StreamEvent,
    stream::StreamId,
};

/// The state of one attempt.
pub(super) struct Attempt<C: CommandLogic> {
    /// The command's own state.
    pub(super) state: C::State,
    pub(super) discovered: C::Discovered,
    /// The declared streams, then the discovered ones.
    pub(super) slots: Vec<Slot>,
    pub(super) declared: usize,
    /// The number of fields that declare streams.
    pub(super) fields: usize,
    /// For each stream that was read, the slot that it fills now. `None` if the resolver has
    /// dropped it.
    pub(super) slot_of: Vec<Option<usize>>,
    pub(super) reading: Reading,
    /// The events so far, for a command that discovers streams and folds events: they are folded
    /// again when streams are added.
    pub(super) history: Vec<StreamEvent>,
    pub(super) rounds: usize,
}

impl<C: CommandLogic> Attempt<C> {
    pub(super) fn new() -> Self {
        Self {
            state: C::State::default(),
            discovered: C::Discovered::default(),
            slots: Vec::new(),
            declared: 0,
            fields: 0,
            slot_of: Vec::new(),
            reading: Reading::new(Machine::<C>::FOLDS),
            history: Vec::new(),
            rounds: 0,
        }
    }

    /// Fills the slots with the streams that are now declared and discovered. Returns the slots not
    /// read yet, and `true` if a stream needs a state of another type.
    pub(super) fn fill(&mut self, mut discovered: Vec<Slot>) -> (Vec<usize>, bool) {
        self.slots.truncate(self.declared);
        self.slots.append(&mut discovered);
        self.slot_of.fill(None);
        let (mut unread, mut refitted) = (Vec::new(), false);
        for (number, slot) in self.slots.iter().enumerate() {
            // Declared streams were read first, in order.
            let read = if number < self.declared {
                Some(number)
            } else {
                self.reading.position_of(&slot.stream)
            };
            match read.and_then(|read| Some((read, self.slot_of.get_mut(read)?))) {
                Some((read, place)) => {
                    *place = Some(number);
                    refitted |= self.reading.refit(read, slot.folding);
                }
                None => unread.push(number),
            }
        }
        (unread, refitted)
    }

    /// Tells the slots of the streams that were read what is known of them.
    pub(super) fn number(&mut self) {
        for (stream, slot) in self.slot_of.iter().enumerate() {
            if let Some(slot) = slot.and_then(|slot| self.slots.get_mut(slot)) {
                slot.version = self.reading.version(stream);
                slot.read = Some(stream);
            }
        }
    }
}

impl<C: CommandLogic> Attempt<C> {
    /// Folds an event into the command's own state.
    pub(super) fn fold(
        &mut self,
        command: &C,
        event: &StreamEvent,
    ) -> Result<(), CommandError<C::Error>> {
        let slot = self.slot_of.get(event.stream).copied().flatten();
        let Some(slot) = slot.and_then(|slot| self.slots.get(slot)) else {
            return Ok(());
        };
        match command.event(&self.discovered, FieldRecord::new(slot, event)) {
            Ok(decoded) => command.apply(&mut self.state, decoded),
            Err(source) => return Err(unreadable(slot.stream.clone(), event, source)),
        }
        Ok(())
    }
}

impl<E> From<Box<FoldError>> for CommandError<E> {
    fn from(error: Box<FoldError>) -> Self {
        let FoldError { stream, event, why } = *error;
        match why {
            Unfolded::Unreadable(source) => unreadable(stream, &event, source),
            Unfolded::Panicked(message) => Self::StatePanicked {
                stream,
                version: event.version,
                position: event.position,
                type_name: event.type_name.to_string(),
                message,
            },
        }
    }
}

pub(super) fn unreadable<E>(
    stream: StreamId,
    event: &StreamEvent,
    source: DecodeError,
) -> CommandError<E> {
    CommandError::UnreadableEvent {
        stream,
        version: event.version,
        position: event.position,
        type_name: event.type_name.to_string(),
        source,
    }
}

pub(super) fn refused<E>(slots: &[Slot], refusal: Refusal) -> CommandError<E> {
    match refusal {
        Refusal::TooMuch(error) => error.into(),
        Refusal::Undeclared { slot } => CommandError::UndeclaredWrite { slot },
        Refusal::Unencodable {
            slot,
            type_name,
            source,
        } => match slots.get(slot) {
            Some(slot) => CommandError::UnstorableEvent {
                field: slot.name,
                stream: slot.stream.clone(),
                type_name,
                source,
            },
            None => CommandError::UndeclaredWrite { slot },
        },
    }
}
