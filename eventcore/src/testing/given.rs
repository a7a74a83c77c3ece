//! The `given` step of a test: the history, held in an in-memory log that needs no runtime and no
//! clock.

use std::fmt;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    drive::{self, Decided},
    logic::{Case, Look},
    outcome::Outcome,
};
use crate::{
    CommandError, CommandLogic, CommitId, Event, ExecuteOptions, ExecutionResponse, Metadata,
    StreamId, StreamIdError, StreamKey,
    memory::MemoryEventStore,
    store::{AppendRequest, ExpectedVersion, NewEvent},
};

/// Starts a test of a command with an empty history. See the [module documentation](super).
pub fn given() -> Given {
    Given::default()
}

/// A stream of events of type `E`: a [`StreamKey`] or a raw [`StreamId`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no stream of `{E}` events",
    label = "events of another kind",
    note = "a stream takes the event type that its key names: `#[stream_key(event = …)]`"
)]
pub trait StreamOf<E: Event> {
    /// Returns the id of the stream.
    ///
    /// # Errors
    /// Returns [`StreamIdError`] if the key does not produce a valid stream id.
    fn id(&self) -> Result<StreamId, StreamIdError>;
}

impl<K: StreamKey> StreamOf<K::Event> for K {
    fn id(&self) -> Result<StreamId, StreamIdError> {
        self.stream_id()
    }
}

impl<E: Event> StreamOf<E> for StreamId {
    fn id(&self) -> Result<StreamId, StreamIdError> {
        Ok(self.clone())
    }
}

/// A history of events in global commit order, on which commands can be run.
///
/// Events of all streams are committed in the order in which they are given. Tests do not depend on
/// time, and commit ids are sequential, so the same calls always produce the same result.
///
/// Every method that takes events or a command panics with the reason if its input is invalid: if a
/// key does not produce a valid stream id, an event cannot be stored, or a command of the history
/// fails.
#[derive(Debug, Default)]
pub struct Given {
    store: MemoryEventStore,
    commits: u128,
}

impl Given {
    /// Adds events of a stream to the history, after everything given so far.
    ///
    /// # Panics
    /// Panics if the key does not produce a valid stream id, or if an event cannot be stored.
    #[track_caller]
    pub fn events<E: Event>(
        mut self,
        stream: &impl StreamOf<E>,
        events: impl IntoIterator<Item = E>,
    ) -> Self {
        self.record(stream, events);
        self
    }

    /// Adds an event in its stored form to the history, independent of the program's current types.
    /// Use this to test that aliases and upcasts can read events that older releases wrote.
    ///
    /// # Panics
    /// Panics if the key does not produce a valid stream id, or if the payload cannot be stored.
    #[track_caller]
    pub fn stored<E: Event>(
        mut self,
        stream: &impl StreamOf<E>,
        type_name: &'static str,
        payload: &str,
    ) -> Self {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let event = NewEvent {
            stream: 0,
            type_name,
            payload,
        };
        self.append(&named(stream.id()), vec![event]);
        self
    }

    /// Executes a command that must succeed, and adds its events to the history.
    ///
    /// # Panics
    /// Panics if the command fails.
    #[track_caller]
    pub fn executed<C>(mut self, command: C) -> Self
    where
        C: CommandLogic,
        C::Error: fmt::Debug,
    {
        match self.execute(command) {
            Ok(_) => self,
            Err(error) => panic!("given: the command failed: {error:#?}"),
        }
    }

    /// Executes a command and returns its outcome, to be checked with the `then_…` methods.
    ///
    /// `handle` runs twice on the same state. If the results differ, it depends on a clock, a
    /// random number or the order of a hash map, and the test fails.
    ///
    /// # Panics
    /// Panics if `handle` is not pure.
    #[must_use = "a command's outcome is checked by its `then_…` methods"]
    #[track_caller]
    pub fn when<C>(self, command: C) -> Outcome<C>
    where
        C: CommandLogic,
        C::Error: fmt::Debug,
    {
        self.when_with(command, ExecuteOptions::new())
    }

    /// Executes a command like [`when`](Self::when), with options such as an idempotency key or a
    /// stream limit.
    ///
    /// # Panics
    /// Panics if `handle` is not pure.
    #[must_use = "a command's outcome is checked by its `then_…` methods"]
    #[track_caller]
    pub fn when_with<C>(mut self, command: C, options: impl Into<ExecuteOptions>) -> Outcome<C>
    where
        C: CommandLogic,
        C::Error: fmt::Debug,
    {
        let done = self.run(&command, &options.into());
        Outcome::new(self, command, done)
    }

    /// Appends events to the history. Unlike [`events`](Self::events), this takes `&mut self`, for
    /// use in loops.
    ///
    /// # Panics
    /// Panics if the key does not produce a valid stream id, or if an event cannot be stored.
    #[track_caller]
    pub fn record<E: Event>(
        &mut self,
        stream: &impl StreamOf<E>,
        events: impl IntoIterator<Item = E>,
    ) {
        let stream = named(stream.id());
        let encoded = |event: E| match NewEvent::new(0, &event) {
            Ok(event) => event,
            Err(error) => panic!(
                "given: event `{}` of stream `{stream}` cannot be stored: {error}",
                event.type_name()
            ),
        };
        let events = events.into_iter().map(encoded).collect();
        self.append(&stream, events);
    }

    /// Executes a command and returns its result, for property tests that run many commands.
    ///
    /// # Errors
    /// Returns [`CommandError`] as [`execute`](crate::execute()) does.
    ///
    /// # Panics
    /// Panics if `handle` is not pure.
    #[track_caller]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a command that was executed is spent, as with `execute`"
    )]
    pub fn execute<C>(&mut self, command: C) -> Result<ExecutionResponse, CommandError<C::Error>>
    where
        C: CommandLogic,
        C::Error: fmt::Debug,
    {
        self.run(&command, &ExecuteOptions::new()).result
    }

    /// Returns all events of a stream: those given and those appended by commands.
    ///
    /// # Panics
    /// Panics if the key does not produce a valid stream id, or if an event cannot be read.
    #[track_caller]
    pub fn events_of<E: Event>(&self, stream: &impl StreamOf<E>) -> Vec<E> {
        let stream = named(stream.id());
        let events = drive::events_of(&self.store, &stream);
        let decoded = events.iter().map(|event| match event.decode() {
            Ok(event) => event,
            Err(error) => panic!("event {} of stream `{stream}`: {error}", event.version),
        });
        decoded.collect()
    }

    /// Passes the state that `command` would decide on to `look`, and returns the result.
    ///
    /// # Panics
    /// Panics if the streams of the command cannot be read.
    #[track_caller]
    pub fn state_of<C: CommandLogic, T>(
        &self,
        command: &C,
        look: impl FnOnce(&C::State) -> T,
    ) -> T {
        let look = Look::new(look);
        let case = Case {
            command,
            logic: &look,
        };
        if let Err(error) = drive::run(
            &self.store,
            case,
            ExecuteOptions::new(),
            CommitId::from_uuid(Uuid::nil()),
        ) {
            panic!("the streams of the command cannot be read: {error:?}");
        }
        match look.into_seen() {
            Some(seen) => seen,
            None => panic!("the command never came to its decision"),
        }
    }

    /// Passes the state of a stream to `look`, and returns the result.
    ///
    /// # Panics
    /// Panics if the stream cannot be read.
    #[track_caller]
    pub fn stream_state<K: StreamKey, T>(&self, key: &K, look: impl FnOnce(&K::State) -> T) -> T {
        match drive::state_of(&self.store, key) {
            Ok(state) => look(&state),
            Err(error) => panic!("the stream cannot be read: {error:?}"),
        }
    }

    /// Runs a command, after checking that its decision depends only on its state.
    #[track_caller]
    fn run<C>(&mut self, command: &C, options: &ExecuteOptions) -> Decided<C::Error>
    where
        C: CommandLogic,
    {
        let id = self.next_commit();
        drive::twice(&self.store, command, options, id)
    }

    #[track_caller]
    fn append(&mut self, stream: &StreamId, events: Vec<NewEvent>) {
        if events.is_empty() {
            return;
        }
        let head = drive::head_of(&self.store, stream);
        let expected = ExpectedVersion::new(stream.clone(), head);
        let metadata = Metadata::default();
        let request =
            match AppendRequest::new(self.next_commit(), vec![expected], events, metadata, None) {
                Ok(request) => request,
                Err(error) => panic!("given: events of stream `{stream}`: {error}"),
            };
        if let Err(error) = drive::append(&self.store, request) {
            panic!("given: events of stream `{stream}`: {error}");
        }
    }

    /// Returns the next commit id. Ids are sequential, so that tests are reproducible.
    fn next_commit(&mut self) -> CommitId {
        self.commits += 1;
        CommitId::from_uuid(Uuid::from_u128(self.commits << 64))
    }
}

#[track_caller]
pub(super) fn named(id: Result<StreamId, StreamIdError>) -> StreamId {
    match id {
        Ok(id) => id,
        Err(error) => panic!("the key names no stream: {error}"),
    }
}
