//! `then`: what must have come of a command, and how a test says that something else did.

use std::{collections::BTreeMap, fmt, panic::Location, thread};

use bytes::Bytes;

use super::{
    diff,
    drive::{Decided, written},
    given::{Given, StreamOf, named},
};
use crate::{CommandError, CommandLogic, Event, ExecutionResponse, StreamId};

/// The outcome of the command of [`Given::when`], to be checked by one `then_…` method or several.
///
/// It is strict: a test fails too when the command failed and no check expects it, when it appended to a stream that no
/// [`then_events`](Self::then_events) names although there is one, and when nothing is checked at all. That is found out
/// when the value is dropped.
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

    /// The command appended exactly these events to a stream, in this order, and to no stream that no `then_events`
    /// names.
    ///
    /// # Panics
    /// When it did not; the message shows which event differs, and how.
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

    /// The command succeeded and appended nothing.
    ///
    /// # Panics
    /// When it failed or appended something.
    #[track_caller]
    pub fn then_nothing(mut self) -> Self {
        self.account.succeeded();
        self.account.nothing_left();
        self
    }

    /// The command refused with this error.
    ///
    /// # Panics
    /// When it succeeded, refused with another error, or did not come to a decision.
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

    /// The command refused with an error for which `matches` holds: `|error| matches!(error, BankError::OverLimit { .. })`.
    ///
    /// # Panics
    /// When it succeeded, refused with another error, or did not come to a decision.
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

    /// The command failed in a way for which `matches` holds: not only by its own refusal, but also because of what it
    /// declares, or because an event cannot be read or stored.
    ///
    /// # Panics
    /// When it succeeded, or failed in another way.
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

    /// Shows the state that the next execution of the same command would decide on: with what this one has appended, if
    /// it has.
    ///
    /// # Panics
    /// When `check` does, or when the streams cannot be read.
    #[track_caller]
    pub fn then_state(mut self, check: impl FnOnce(&C::State)) -> Self {
        self.given.state_of(&self.command, check);
        self.account.checked = true;
        self
    }

    /// The result itself, for what no other method says. It counts as no check.
    pub fn result(&self) -> &Result<ExecutionResponse, CommandError<C::Error>> {
        &self.result
    }

    /// And then this command is executed, on the history that the first one has left.
    ///
    /// # Panics
    /// When a check of the first command is open, or `handle` is not pure.
    #[must_use = "a command's outcome is checked by its `then_…` methods"]
    #[track_caller]
    pub fn when<D>(self, command: D) -> Outcome<D>
    where
        D: CommandLogic,
        D::Error: fmt::Debug,
    {
        self.into_given().when(command)
    }

    /// The history that the command has left.
    ///
    /// # Panics
    /// When a check of the command is open.
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
        // Without the error's own `Display`, which a command need not have.
        other => format!("{other:#?}"),
    }
}

/// Results that have not been checked yet.
struct Account {
    /// The location of the call that ran the command.
    at: &'static Location<'static>,
    /// The events that no check has named.
    streams: BTreeMap<StreamId, Vec<(&'static str, Bytes)>>,
    /// The failure of the command, in words.
    failure: Option<String>,
    checked: bool,
    /// The appended events are checked, so that none may be left.
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

    /// Checks that every outcome was named.
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

/// The strict end of a test. Not in a panic that is under way: one message at a time.
impl Drop for Account {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.settle();
        }
    }
}
