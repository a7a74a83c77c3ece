//! The `then` step of a test: checks the outcome of a command and reports differences.

use std::{collections::BTreeMap, fmt, panic::Location, thread};

use bytes::Bytes;

use super::{
    diff,
    drive::{Decided, written},
    given::{Given, StreamOf, named},
};
use crate::{CommandError, CommandLogic, Event, ExecutionResponse, StreamId, StreamKey};

/// The outcome of the command of [`Given::when`], to be checked by one or more `then_…` methods.
///
/// Checks are strict. A test also fails if the command failed and no check expects it, if there is
/// a [`then_events`](Self::then_events) check and the command appended to a stream that none of
/// them names, or if there is no check at all. These rules are enforced when the value is dropped.
pub struct Outcome<C: CommandLogic> {
    given: Given,
    command: C,
    result: Result<ExecutionResponse, CommandError<C::Error>>,
    account: Account,
}

impl<C: CommandLogic> Outcome<C>
where
    C::Error: fmt::Debug,
{
    #[track_caller]
    pub(super) fn new(given: Given, command: C, decided: Decided<C::Error>) -> Self {
        let Decided { result, commit } = decided;
        let mut streams = BTreeMap::<_, Vec<_>>::new();
        if result.is_ok() {
            for (stream, event) in commit.iter().flat_map(written) {
                let events = streams.entry(stream.clone()).or_default();
                events.push((event.type_name, event.payload.clone()));
            }
        }
        let failure = result.as_ref().err().map(in_words);
        Self {
            given,
            command,
            result,
            account: Account {
                at: Location::caller(),
                streams,
                failure,
                checked: false,
                exact: false,
                expected_failure: false,
            },
        }
    }

    /// Checks that the command appended exactly these events to a stream, in this order, and
    /// appended only to streams that a `then_events` check names.
    ///
    /// # Panics
    /// Panics if it did not; the message shows which event differs, and how.
    #[track_caller]
    pub fn then_events<E: Event + PartialEq + fmt::Debug>(
        mut self,
        stream: &impl StreamOf<E>,
        expected: impl IntoIterator<Item = E>,
    ) -> Self {
        self.account.succeeded();
        let stream = named(stream.id());
        let stored = self.account.take(&stream);
        let (mut actual, expected) = (Vec::new(), Vec::from_iter(expected));
        for (type_name, payload) in stored {
            match E::decode(type_name, &payload) {
                Ok(event) => actual.push(event),
                Err(error) => self.account.fail(&format!(
                    "it appended an event to stream `{stream}` that is of another kind: {error}"
                )),
            }
        }
        if let Some(difference) = diff::events(&expected, &actual) {
            self.account
                .fail(&format!("in stream `{stream}`, {difference}"));
        }
        self.account.exact = true;
        self
    }

    /// Checks that the command succeeded and appended nothing.
    ///
    /// # Panics
    /// Panics if the command failed or appended events.
    #[track_caller]
    pub fn then_nothing(mut self) -> Self {
        self.account.succeeded();
        self.account.nothing_left();
        self
    }

    /// Checks that the command was rejected with this error.
    ///
    /// # Panics
    /// Panics if the command succeeded, was rejected with another error, or failed before its
    /// decision.
    #[track_caller]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "written where it is expected: `then_error(BankError::Closed)`"
    )]
    pub fn then_error(mut self, expected: C::Error) -> Self
    where
        C::Error: PartialEq,
    {
        match self.refusal() {
            Some(error) if *error == expected => {}
            Some(error) => {
                let difference = diff::values(&expected, error);
                self.account
                    .fail(&format!("it refused with another error\n{difference}"));
            }
            None => self.account.not_refused(&format!("{expected:?}")),
        }
        self.account.expect_failure();
        self
    }

    /// Checks that the command was rejected with an error for which `matches` returns `true`, for
    /// example `|error| matches!(error, BankError::OverLimit { .. })`.
    ///
    /// # Panics
    /// Panics if the command succeeded, was rejected with another error, or failed before its
    /// decision.
    #[track_caller]
    pub fn then_error_matching(mut self, matches: impl FnOnce(&C::Error) -> bool) -> Self {
        match self.refusal() {
            Some(error) if matches(error) => {}
            Some(error) => self
                .account
                .fail(&format!("it refused with another error: {error:#?}")),
            None => self.account.not_refused("an error that matches"),
        }
        self.account.expect_failure();
        self
    }

    /// Checks that the command failed with any error for which `matches` returns `true`: its own
    /// business error, an error in its declarations, or an event that cannot be read or stored.
    ///
    /// # Panics
    /// Panics if the command succeeded or failed in another way.
    #[track_caller]
    pub fn then_failure(mut self, matches: impl FnOnce(&CommandError<C::Error>) -> bool) -> Self {
        match &self.result {
            Err(error) if matches(error) => {}
            Err(error) => self
                .account
                .fail(&format!("it failed in another way: {}", in_words(error))),
            Ok(_) => self.account.not_refused("a failure that matches"),
        }
        self.account.expect_failure();
        self
    }

    /// Passes to `check` the state that the same command would decide on if it were executed again,
    /// including the events that it appended.
    ///
    /// # Panics
    /// Panics if `check` panics, or if the streams cannot be read.
    #[track_caller]
    pub fn then_state(mut self, check: impl FnOnce(&C::State)) -> Self {
        self.given.state_of(&self.command, check);
        self.account.checked = true;
        self
    }

    /// Passes to `check` the state of a stream after the command.
    ///
    /// # Panics
    /// Panics if `check` panics, or if the stream cannot be read.
    #[track_caller]
    pub fn then_state_of<K: StreamKey>(mut self, key: &K, check: impl FnOnce(&K::State)) -> Self {
        self.given.stream_state(key, check);
        self.account.checked = true;
        self
    }

    /// Returns the result, for checks that no other method offers. Calling this method does not
    /// count as a check.
    pub fn result(&self) -> &Result<ExecutionResponse, CommandError<C::Error>> {
        &self.result
    }

    /// Executes another command on the resulting history.
    ///
    /// # Panics
    /// Panics if the outcome of the first command is not fully checked, or if `handle` is not pure.
    #[must_use = "a command's outcome is checked by its `then_…` methods"]
    #[track_caller]
    pub fn when<D>(self, command: D) -> Outcome<D>
    where
        D: CommandLogic,
        D::Error: fmt::Debug,
    {
        self.into_given().when(command)
    }

    /// Returns the resulting history.
    ///
    /// # Panics
    /// Panics if the outcome of the command is not fully checked.
    #[track_caller]
    pub fn into_given(self) -> Given {
        let Self { given, account, .. } = self;
        account.settle();
        given
    }

    fn refusal(&self) -> Option<&C::Error> {
        match &self.result {
            Err(CommandError::BusinessRuleViolation(error)) => Some(error),
            _ => None,
        }
    }
}

fn in_words<E: fmt::Debug>(error: &CommandError<E>) -> String {
    match error {
        CommandError::BusinessRuleViolation(error) => format!("it refused with {error:#?}"),
        // Uses `Debug`, since the error of a command need not implement `Display`.
        other => format!("{other:#?}"),
    }
}

/// The results of a command, and which of them have been checked.
struct Account {
    /// The location of the call that ran the command.
    at: &'static Location<'static>,
    /// The events of streams that no check has named yet.
    streams: BTreeMap<StreamId, Vec<(&'static str, Bytes)>>,
    /// The description of the failure, if the command failed.
    failure: Option<String>,
    checked: bool,
    /// `true` if appended events are checked, so that no unchecked events may remain.
    exact: bool,
    expected_failure: bool,
}

impl Account {
    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        panic!("the command of {}: {what}", self.at)
    }

    #[track_caller]
    fn succeeded(&mut self) {
        self.checked = true;
        if let Some(failure) = &self.failure {
            self.fail(&format!("it was expected to succeed, and {failure}"));
        }
    }

    #[track_caller]
    fn not_refused(&self, expected: &str) -> ! {
        match &self.failure {
            Some(failure) => self.fail(&format!("expected {expected}, and {failure}")),
            None if self.streams.is_empty() => {
                self.fail(&format!("expected {expected}, and it succeeded"))
            }
            None => self.fail(&format!(
                "expected {expected}, and it succeeded and appended\n{}",
                self.appended()
            )),
        }
    }

    fn expect_failure(&mut self) {
        self.checked = true;
        self.expected_failure = true;
    }

    fn take(&mut self, stream: &StreamId) -> Vec<(&'static str, Bytes)> {
        self.streams.remove(stream).unwrap_or_default()
    }

    #[track_caller]
    fn nothing_left(&self) {
        if !self.streams.is_empty() {
            self.fail(&format!(
                "it also appended what no `then_events` names:\n{}",
                self.appended()
            ));
        }
    }

    fn appended(&self) -> String {
        let events = self.streams.iter().flat_map(|(stream, events)| {
            events
                .iter()
                .map(move |(type_name, payload)| (stream, *type_name, payload))
        });
        diff::stored(events)
    }

    /// Panics if any part of the outcome has not been checked.
    #[track_caller]
    fn settle(&self) {
        if let (Some(failure), false) = (&self.failure, self.expected_failure) {
            self.fail(&format!("nothing expects a failure, and {failure}"));
        }
        if !self.checked {
            self.fail("nothing is checked; add `then_events`, `then_error` or another `then_…`");
        }
        if self.exact {
            self.nothing_left();
        }
    }
}

/// Enforces strict checks at the end of a test, unless the thread is already panicking.
impl Drop for Account {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.settle();
        }
    }
}
