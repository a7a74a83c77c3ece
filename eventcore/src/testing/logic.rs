//! Wraps a command to observe or replace its decision.

use std::cell::RefCell;

use crate::{
    CommandLogic, CommandStreams, DecodeError,
    command::codegen::{Declarations, FieldRecord, Handles},
};

/// A decision that replaces the command's own.
pub(super) trait Logic<C: CommandLogic> {
    type Error;

    fn decide(
        &self,
        command: &C,
        state: &C::State,
        streams: C::Streams<'_>,
    ) -> Result<(), Self::Error>;
}

/// The command's own decision.
pub(super) struct Own;

impl<C: CommandLogic> Logic<C> for Own {
    type Error = C::Error;

    fn decide(
        &self,
        command: &C,
        state: &C::State,
        streams: C::Streams<'_>,
    ) -> Result<(), C::Error> {
        command.handle(state, streams)
    }
}

/// A function that inspects the state once, instead of making a decision.
pub(super) struct Look<F, T>(RefCell<(Option<F>, Option<T>)>);

impl<F, T> Look<F, T> {
    pub(super) fn new(look: F) -> Self {
        Self(RefCell::new((Some(look), None)))
    }

    pub(super) fn into_seen(self) -> Option<T> {
        self.0.into_inner().1
    }
}

impl<C: CommandLogic, T, F: FnOnce(&C::State) -> T> Logic<C> for Look<F, T> {
    type Error = std::convert::Infallible;

    fn decide(&self, _: &C, state: &C::State, _: C::Streams<'_>) -> Result<(), Self::Error> {
        let look = self.0.borrow_mut().0.take();
        if let Some(look) = look {
            let seen = look(state);
            self.0.borrow_mut().1 = Some(seen);
        }
        Ok(())
    }
}

pub(super) struct Case<'c, C, L> {
    pub(super) command: &'c C,
    pub(super) logic: &'c L,
}

impl<C: CommandLogic, L: Logic<C>> CommandStreams for Case<'_, C, L> {
    type Streams<'a>
        = C::Streams<'a>
    where
        Self: 'a;
    type Event<'a>
        = C::Event<'a>
    where
        Self: 'a;
    type Discovered = C::Discovered;
    type KnownStreams<'a>
        = C::KnownStreams<'a>
    where
        Self: 'a;
    const DISCOVERS: bool = C::DISCOVERS;

    fn declare(&self, streams: &mut Declarations) {
        self.command.declare(streams);
    }

    fn declare_discovered(discovered: &C::Discovered, streams: &mut Declarations) {
        C::declare_discovered(discovered, streams);
    }

    fn known_streams<'a>(
        &'a self,
        discovered: &'a C::Discovered,
        handles: &mut Handles<'a>,
    ) -> Option<C::KnownStreams<'a>> {
        self.command.known_streams(discovered, handles)
    }

    fn discover<'a>(
        &'a self,
        state: &<Self as CommandLogic>::State,
        streams: Self::KnownStreams<'a>,
    ) -> Self::Discovered {
        self.command.discover(state, streams)
    }

    fn streams<'a>(
        &'a self,
        discovered: &'a C::Discovered,
        handles: &mut Handles<'a>,
    ) -> C::Streams<'a> {
        self.command.streams(discovered, handles)
    }

    fn event<'a>(
        &'a self,
        discovered: &'a C::Discovered,
        event: FieldRecord<'a>,
    ) -> Result<C::Event<'a>, DecodeError> {
        self.command.event(discovered, event)
    }
}

impl<C: CommandLogic, L: Logic<C>> CommandLogic for Case<'_, C, L> {
    type State = C::State;
    type Error = L::Error;

    fn apply(&self, state: &mut C::State, event: C::Event<'_>) {
        self.command.apply(state, event);
    }

    fn handle(&self, state: &C::State, streams: C::Streams<'_>) -> Result<(), L::Error> {
        self.logic.decide(self.command, state, streams)
    }
}
