//! The transitions between the steps: declare, read, discover, decide, append, retry.

use std::{mem, time::Duration};

use super::{
    Step,
    attempt::{Attempt, refused},
    steps::{AppendStep, ReadStep, SleepStep, Then},
};
use crate::{
    command::{
        CommandLogic, Slot, WriteBuffer,
        codegen::{Declarations, Handles},
    },
    event::CommitId,
    execute::{
        CommandError, ExecuteOptions, ExecutionResponse, RetryBound, RetryContext, RetryReason,
        reading::{FoldError, Unread},
    },
    store::{
        AppendRequest, CommitReceipt, EventStoreError, NewEvent, StreamEvent, StreamPage,
        VersionConflict,
    },
};

/// The result of a command.
type Outcome<C> = Result<ExecutionResponse, CommandError<<C as CommandLogic>::Error>>;

pub(super) struct Machine<C: CommandLogic> {
    pub(super) command: C,
    pub(super) options: ExecuteOptions,
    /// The id of the next commit.
    pub(super) commit_id: CommitId,
    pub(super) random: fastrand::Rng,
    /// The number of the current attempt, from 1.
    pub(super) attempt: u32,
    /// The time spent waiting: the pipeline's own lower bound for the elapsed time.
    pub(super) waited: Duration,
    pub(super) attempt_state: Attempt<C>,
}

/// Reasons why a page does not lead to a decision.
pub(super) enum Stop<E> {
    Failed(CommandError<E>),
    AlreadyCommitted(CommitReceipt),
    /// The streams are not as they were known; they must be read again.
    Again,
}

impl<E> From<CommandError<E>> for Stop<E> {
    fn from(error: CommandError<E>) -> Self {
        Self::Failed(error)
    }
}

impl<C: CommandLogic> Machine<C> {
    /// `true` if the command folds the events into a state of its own.
    pub(super) const FOLDS: bool = size_of::<C::State>() > 0;

    pub(super) fn declare(mut self: Box<Self>) -> Step<C> {
        let mut declarations = Declarations::default();
        self.command.declare(&mut declarations);
        let fields = declarations.fields();
        match declarations.finish(&[]) {
            Ok(slots) => self.begin(slots, fields),
            Err(error) => self.end(Err(error.into())),
        }
    }

    /// Reads all streams from the start. The keys are not converted into streams again: a key that
    /// returned a different stream would declare one that the caller did not request.
    pub(super) fn start_over(mut self: Box<Self>) -> Step<C> {
        let Attempt {
            mut slots,
            declared,
            fields,
            ..
        } = mem::replace(&mut self.attempt_state, Attempt::new());
        slots.truncate(declared);
        self.begin(slots, fields)
    }

    pub(super) fn begin(mut self: Box<Self>, slots: Vec<Slot>, fields: usize) -> Step<C> {
        let declared = slots.len();
        self.attempt_state = Attempt {
            slots,
            declared,
            fields,
            ..Attempt::new()
        };
        self.read((0..declared).collect())
    }

    /// Reads the newer events of the same streams. A retry costs only the new events, however long
    /// the streams are.
    pub(super) fn catch_up(mut self: Box<Self>) -> Step<C> {
        self.attempt_state.reading.read_on();
        self.next_page()
    }

    /// Reads again what did not prove to be as it was known.
    pub(super) fn read_again(mut self: Box<Self>) -> Step<C> {
        if Self::FOLDS {
            return self.start_over();
        }
        self.attempt_state.reading.read_again();
        self.next_page()
    }

    /// Reads everything again after a delay, if that may help.
    pub(super) fn unread(
        mut self: Box<Self>,
        error: EventStoreError,
        elapsed: Duration,
    ) -> Step<C> {
        if error.is_transient() && self.may_retry(elapsed) {
            self.wait(RetryReason::Unavailable, Then::StartOver)
        } else {
            self.end(Err(error.into()))
        }
    }

    /// Requests the streams of these slots, which no round has read yet.
    pub(super) fn read(mut self: Box<Self>, unread: Vec<usize>) -> Step<C> {
        let limit = self.options.max_streams;
        let attempt = &mut self.attempt_state;
        let streams = attempt.reading.len() + unread.len();
        if streams > limit {
            return self.end(Err(CommandError::TooManyStreams { streams, limit }));
        }
        let ids = unread
            .iter()
            .filter_map(|slot| attempt.slots.get(*slot))
            .map(|slot| (slot.stream.clone(), slot.folding));
        attempt.reading.add(ids);
        attempt.slot_of.extend(unread.into_iter().map(Some));
        self.next_page()
    }

    pub(super) fn next_page(self: Box<Self>) -> Step<C> {
        let key = self.options.idempotency_key.as_ref();
        let request = self.attempt_state.reading.request(key);
        Step::ReadStreams(ReadStep {
            machine: self,
            request,
        })
    }

    /// Folds or keeps a page; returns `true` if it is the last one of this round.
    pub(super) fn take_page(&mut self, mut page: StreamPage) -> Result<bool, Stop<C::Error>> {
        if let Some(appended) = page.already_committed.take() {
            return Err(Stop::AlreadyCommitted(appended));
        }
        let attempt = &mut self.attempt_state;
        let complete = attempt.reading.take(&page).map_err(Stop::from)?;
        if Self::FOLDS {
            if C::DISCOVERS {
                let start = attempt.reading.round_start();
                let numbered = |event: &StreamEvent| StreamEvent {
                    stream: start + event.stream,
                    ..event.clone()
                };
                attempt.history.extend(page.events.iter().map(numbered));
            } else {
                for event in &page.events {
                    attempt.fold(&self.command, event)?;
                }
            }
        }
        attempt.reading.fold(page.events, complete)?;
        Ok(complete)
    }

    /// Requests the streams that the states call for, until there are no more.
    pub(super) fn discover(mut self: Box<Self>) -> Step<C> {
        if !C::DISCOVERS {
            return self.decide();
        }
        loop {
            if let Err(error) = self.refold() {
                return self.end(Err(error));
            }
            let discovered = match self.resolve() {
                Ok(Some(discovered)) => discovered,
                Ok(None) => return self.decide(),
                Err(Undecided::Moved) => return self.read_moved(),
                Err(Undecided::Failed(error)) => return self.end(Err(error)),
            };
            let slots = match self.declare_all(&discovered) {
                Ok(slots) => slots,
                Err(error) => return self.end(Err(error)),
            };
            let attempt = &mut self.attempt_state;
            attempt.discovered = discovered;
            let found = attempt.slots.get(attempt.declared..).unwrap_or_default();
            let same = found.iter().zip(&slots).all(|(old, new)| old.is_same(new));
            if same && found.len() == slots.len() {
                return self.decide();
            }
            attempt.rounds += 1;
            let rounds = attempt.rounds;
            if rounds > self.options.max_streams {
                return self.end(Err(CommandError::DiscoveryUnsettled { rounds }));
            }
            let (unread, refitted) = attempt.fill(slots);
            if refitted {
                attempt.history.clear();
                attempt.reading.read_all();
                return self.next_page();
            }
            if !unread.is_empty() {
                return self.read(unread);
            }
        }
    }

    /// Calls the resolver with the states of the streams that have been read.
    pub(super) fn resolve(&mut self) -> Result<Option<C::Discovered>, Undecided<C::Error>> {
        let attempt = &mut self.attempt_state;
        attempt.number();
        let entries = attempt.reading.entries();
        let settled = attempt
            .reading
            .settle(&entries)?
            .map_err(|_| Undecided::Moved)?;
        let states = settled.states(&attempt.reading);
        let buffer = WriteBuffer::new(attempt.slots.clone());
        let mut handles = Handles::new(&buffer, &states).read_only();
        let known = self
            .command
            .known_streams(&attempt.discovered, &mut handles);
        let Some(known) = known else {
            return Ok(None);
        };
        handles
            .finish()
            .map_err(|mismatch| Undecided::Failed(mismatch.into()))?;
        Ok(Some(self.command.discover(&attempt.state, known)))
    }

    /// Returns the discovered slots. None of them may be a declared stream.
    pub(super) fn declare_all(
        &self,
        discovered: &C::Discovered,
    ) -> Result<Vec<Slot>, CommandError<C::Error>> {
        let attempt = &self.attempt_state;
        let mut declarations = Declarations::after(attempt.fields);
        C::declare_discovered(discovered, &mut declarations);
        let declared = attempt.slots.get(..attempt.declared).unwrap_or_default();
        Ok(declarations.finish(declared)?)
    }

    /// Folds all events again, in commit order, for a command that discovers streams.
    pub(super) fn refold(&mut self) -> Result<(), CommandError<C::Error>> {
        if !Self::FOLDS {
            return Ok(());
        }
        let attempt = &mut self.attempt_state;
        attempt.state = C::State::default();
        attempt.history.sort_unstable_by_key(|event| event.position);
        let history = mem::take(&mut attempt.history);
        let folded = history
            .iter()
            .try_for_each(|event| attempt.fold(&self.command, event));
        attempt.history = history;
        folded
    }

    pub(super) fn decide(mut self: Box<Self>) -> Step<C> {
        match self.decision() {
            Ok(Decision::Append(events)) => self.append(events, None),
            // Streams that were found later were read from a later snapshot, so it is not yet known
            // that there was a moment at which all of this was true.
            Ok(Decision::Refuse(refusal)) if self.attempt_state.rounds > 0 => {
                self.append(Vec::new(), Some(refusal))
            }
            Ok(Decision::Refuse(refusal)) => {
                self.end(Err(CommandError::BusinessRuleViolation(refusal)))
            }
            Err(Undecided::Moved) => self.read_moved(),
            Err(Undecided::Failed(error)) => self.end(Err(error)),
        }
    }

    /// Runs the decision on the states of the streams as they were read.
    pub(super) fn decision(&mut self) -> Result<Decision<C::Error>, Undecided<C::Error>> {
        let attempt = &mut self.attempt_state;
        attempt.number();
        let entries = attempt.reading.entries();
        let settled = attempt
            .reading
            .settle(&entries)?
            .map_err(|_| Undecided::Moved)?;
        self.options.check_versions(&attempt.slots)?;
        let states = settled.states(&attempt.reading);
        let buffer = WriteBuffer::new(mem::take(&mut attempt.slots));
        let mut handles = Handles::new(&buffer, &states);
        let streams = self.command.streams(&attempt.discovered, &mut handles);
        let decided = match handles.finish() {
            Ok(()) => Ok(self.command.handle(&attempt.state, streams)),
            Err(mismatch) => {
                drop(streams);
                Err(mismatch)
            }
        };
        let (slots, events) = buffer.finish();
        attempt.slots = slots;
        match (decided, events) {
            (Err(mismatch), _) => Err(Undecided::Failed(mismatch.into())),
            (Ok(Err(refusal)), _) => Ok(Decision::Refuse(refusal)),
            (Ok(Ok(())), Ok(events)) => Ok(Decision::Append(events)),
            (Ok(Ok(())), Err(refused_event)) => {
                Err(Undecided::Failed(refused(&attempt.slots, refused_event)))
            }
        }
    }

    /// Reads the streams again whose shared states have changed since they were read.
    pub(super) fn read_moved(mut self: Box<Self>) -> Step<C> {
        self.attempt_state.reading.read_moved();
        self.next_page()
    }

    /// Commits these events, or confirms a refusal with a commit of nothing.
    pub(super) fn append(
        mut self: Box<Self>,
        events: Vec<NewEvent>,
        refusal: Option<C::Error>,
    ) -> Step<C> {
        let key = match refusal {
            Some(_) => None,
            None => self.options.idempotency_key.clone(),
        };
        let expected = self.attempt_state.reading.expected();
        let metadata = self.options.metadata.clone();
        match AppendRequest::of_written(self.commit_id, expected, events, metadata, key) {
            Ok(request) => Step::Append(AppendStep {
                machine: self,
                request,
                refusal,
                unknown: None,
            }),
            Err(error) => self.end(Err(error.into())),
        }
    }

    pub(super) fn conflict(
        mut self: Box<Self>,
        conflict: VersionConflict,
        elapsed: Duration,
    ) -> Step<C> {
        if self.may_retry(elapsed) {
            // A commit id identifies one decision: its events imply what the streams held before
            // it.
            self.commit_id = self.commit_id.with_random(self.random.u128(..));
            // Discovery may find different streams in the new state, so it starts over.
            let then = if C::DISCOVERS {
                Then::StartOver
            } else {
                Then::CatchUp
            };
            self.wait(RetryReason::Conflict(conflict), then)
        } else {
            let ended_by = if self.before_deadline(elapsed) {
                RetryBound::Attempts
            } else {
                RetryBound::Deadline
            };
            let attempts = self.attempt;
            self.end(Err(CommandError::ConcurrencyError {
                attempts,
                ended_by,
                conflict,
            }))
        }
    }

    pub(super) fn end(&mut self, result: Outcome<C>) -> Step<C> {
        Step::Done {
            result,
            snapshots: self.attempt_state.reading.take_snapshots(),
        }
    }

    pub(super) fn wait(mut self: Box<Self>, reason: RetryReason, then: Then<C::Error>) -> Step<C> {
        let delay = self.options.retry.delay(self.attempt, &mut self.random);
        let context = RetryContext {
            failed_attempts: self.attempt,
            delay,
            reason,
        };
        tracing::debug!(attempt = self.attempt, ?delay, reason = ?context.reason, "command is retried");
        Step::Sleep(SleepStep {
            machine: self,
            context,
            then,
        })
    }

    pub(super) fn deadline_exceeded(&self) -> CommandError<C::Error> {
        CommandError::DeadlineExceeded {
            attempts: self.attempt,
            deadline: self.options.retry.deadline,
        }
    }

    pub(super) fn may_retry(&self, elapsed: Duration) -> bool {
        self.attempt < self.options.retry.max_attempts && self.before_deadline(elapsed)
    }

    pub(super) fn before_deadline(&self, elapsed: Duration) -> bool {
        elapsed.max(self.waited) < self.options.retry.deadline
    }
}

/// A decision of a command.
pub(super) enum Decision<E> {
    Append(Vec<NewEvent>),
    Refuse(E),
}

/// The reasons why there is no decision.
pub(super) enum Undecided<E> {
    /// A shared state has been changed by another command; the streams must be read again.
    Moved,
    Failed(CommandError<E>),
}

impl<E> From<Box<FoldError>> for Undecided<E> {
    fn from(error: Box<FoldError>) -> Self {
        Self::Failed(error.into())
    }
}

impl<E> From<CommandError<E>> for Undecided<E> {
    fn from(error: CommandError<E>) -> Self {
        Self::Failed(error)
    }
}

impl<E> From<Unread> for Stop<E> {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Store(error) => Self::Failed(error.into()),
            Unread::Again => Self::Again,
            Unread::Fold(error) => Self::Failed(error.into()),
        }
    }
}
