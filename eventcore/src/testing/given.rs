//! `given`: the history that a command meets, and the world in which it runs: a log in memory, no runtime, no clock.

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
    store::{AppendEvents, ExpectedVersion, NewEvent},
};

/// Starts a test of a command, from an empty history. See [the module](super).
pub fn given() -> Given {
    Given::default()
}

/// A stream of events of type `E`: a [`StreamKey`], or a raw [`StreamId`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no stream of `{E}` events",
    label = "events of another kind",
    note = "a stream takes the event type that its key names: `#[stream_key(event = …)]`"
)]
pub trait StreamOf<E: Event> {
    /// The id of the stream.
    ///
    /// # Errors
    /// [`StreamIdError`] when the key makes no stream id.
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

/// A history of events in global commit order, and a place to run commands on it.
///
/// Events stand in the order in which they are given, across streams. Nothing here waits or knows the time, and the ids
/// of commits are counted, so the same calls always give the same result.
///
/// Every method that takes events or a command panics with the reason when what it was given cannot be: a key that
/// makes no stream id, an event that cannot be stored, a command of the history that is refused.
#[derive(Debug, Default)]
pub struct Given {
    store: MemoryEventStore,
    commits: u128,
}

impl Given {
    /// These events were committed to a stream, after everything given so far.
    ///
    /// # Panics
    /// When the key makes no stream id, or an event cannot be stored.
    #[track_caller]
    pub fn events<E: Event>(
        mut self,
        stream: &impl StreamOf<E>,
        events: impl IntoIterator<Item = E>,
    ) -> Self {
        self.record(stream, events);
        self
    }

    /// An event was committed in this stored form, whatever the program's types say today. With it a test shows that
    /// aliases and upcasts serve what older releases wrote.
    ///
    /// # Panics
    /// When the key makes no stream id, or the payload could not have been stored.
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

    /// This command was executed, with success.
    ///
    /// # Panics
    /// When the command fails.
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

    /// Now this command is executed. What comes of it, the returned value's `then_…` methods check.
    ///
    /// `handle` runs twice on the same state: when it does not do the same both times, it reads a clock, a random
    /// number or the order of a hash map, and the test fails.
    ///
    /// # Panics
    /// When `handle` is not pure.
    #[must_use = "a command's outcome is checked by its `then_…` methods"]
    #[track_caller]
    pub fn when<C>(self, command: C) -> Outcome<C>
    where
        C: CommandLogic,
        C::Error: fmt::Debug,
    {
        self.when_with(command, ExecuteOptions::new())
    }

    /// As [`when`](Self::when), with options: an idempotency key, a limit of streams.
    ///
    /// # Panics
    /// When `handle` is not pure.
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

    /// Appends events to the history; [`events`](Self::events) for a loop.
    ///
    /// # Panics
    /// When the key makes no stream id, or an event cannot be stored.
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

    /// Executes a command and gives back its result: for property tests, which run many of them.
    ///
    /// # Errors
    /// [`CommandError`], as from [`execute`](crate::execute()).
    ///
    /// # Panics
    /// When `handle` is not pure.
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

    /// Every event of a stream, the given ones and those that commands have appended.
    ///
    /// # Panics
    /// When the key makes no stream id, or an event cannot be read.
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

    /// Shows the state that `command` would decide on.
    ///
    /// # Panics
    /// When its streams cannot be read.
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
            panic!("the streams of the command cannot be read: {error}");
        }
        match look.into_seen() {
            Some(seen) => seen,
            None => panic!("the command never came to its decision"),
        }
    }

    /// Runs a command, having made sure that its decision depends on nothing but its state.
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
            match AppendEvents::new(self.next_commit(), vec![expected], events, metadata, None) {
                Ok(request) => request,
                Err(error) => panic!("given: events of stream `{stream}`: {error}"),
            };
        if let Err(error) = drive::append(&self.store, request) {
            panic!("given: events of stream `{stream}`: {error}");
        }
    }

    /// Ids are counted: the same test makes the same ones.
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
