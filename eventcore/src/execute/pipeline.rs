//! The pipeline of one command: a state machine without I/O, clock or randomness of its own.
//!
//! declare → read (→ discover → read …) → fold → decide → append → done, and back to declare on a
//! conflict. Each step is consumed by the call that continues from it, so no call can be made in
//! the wrong phase.

use std::{mem, time::Duration};

use super::{
    CommandError, ExecuteOptions, ExecutionResponse, RetryBound, RetryContext, RetryReason,
    reading::{FoldError, Reading, Unread},
    states::Unfolded,
};
use crate::{
    command::{
        CommandLogic, Refusal, Slot, WriteBuffer,
        codegen::{Declarations, FieldRecord, Handles},
    },
    event::{CommitId, DecodeError},
    store::{
        AppendRequest, CommitReceipt, EventStoreError, NewEvent, NewSnapshot, ReadStreamsRequest,
        StateCache, StreamEvent, StreamPage, VersionConflict,
    },
    stream::StreamId,
};

/// The result of a command.
type Outcome<C> = Result<ExecutionResponse, CommandError<<C as CommandLogic>::Error>>;

/// A command that is ready to run.
///
/// The caller performs the effect that each [`Step`] requests and passes the result back, as
/// [`execute`](crate::execute()) does. Tests and simulations can do the same: with the same inputs
/// the pipeline takes the same steps.
pub struct ExecutePipeline<C: CommandLogic> {
    machine: Box<Machine<C>>,
}

/// The effect that the pipeline needs next.
pub enum Step<C: CommandLogic> {
    /// Read a page of streams.
    ReadStreams(ReadStep<C>),
    /// Commit events.
    Append(AppendStep<C>),
    /// Wait before the next attempt.
    Sleep(SleepStep<C>),
    /// Nothing: the command has ended.
    Done {
        /// The result of the command.
        result: Result<ExecutionResponse, CommandError<C::Error>>,
        /// Snapshots that are due, for [`EventStore::keep_snapshots`](crate::EventStore::keep_snapshots).
        snapshots: Vec<NewSnapshot>,
    },
}

/// A read that the pipeline waits for.
pub struct ReadStep<C: CommandLogic> {
    machine: Box<Machine<C>>,
    request: ReadStreamsRequest,
}

/// An append that the pipeline waits for.
pub struct AppendStep<C: CommandLogic> {
    machine: Box<Machine<C>>,
    request: AppendRequest,
    /// The refusal that this commit of nothing confirms.
    refusal: Option<C::Error>,
    /// The store's last error, if an earlier attempt to make this same commit ended with an unknown
    /// outcome.
    unknown: Option<EventStoreError>,
}

/// A delay that the pipeline waits for.
pub struct SleepStep<C: CommandLogic> {
    machine: Box<Machine<C>>,
    context: RetryContext,
    then: Then<C::Error>,
}

/// The step after a wait.
enum Then<E> {
    StartOver,
    /// Keep the folded state and read only newer events, which all follow it in commit order.
    CatchUp,
    AppendAgain(AppendAgain<E>),
}

struct AppendAgain<E> {
    request: AppendRequest,
    refusal: Option<E>,
    unknown: Option<EventStoreError>,
}

struct Machine<C: CommandLogic> {
    command: C,
    options: ExecuteOptions,
    /// The id of the next commit.
    commit_id: CommitId,
    random: fastrand::Rng,
    /// The number of the current attempt, from 1.
    attempt: u32,
    /// The time spent waiting: the pipeline's own lower bound for the elapsed time.
    waited: Duration,
    attempt_state: Attempt<C>,
}

/// The state of one attempt.
struct Attempt<C: CommandLogic> {
    /// The command's own state.
    state: C::State,
    discovered: C::Discovered,
    /// The declared streams, then the discovered ones.
    slots: Vec<Slot>,
    declared: usize,
    /// The number of fields that declare streams.
    fields: usize,
    /// For each stream that was read, the slot that it fills now. `None` if the resolver has
    /// dropped it.
    slot_of: Vec<Option<usize>>,
    reading: Reading,
    /// The events so far, for a command that discovers streams and folds events: they are folded
    /// again when streams are added.
    history: Vec<StreamEvent>,
    rounds: usize,
}

impl<C: CommandLogic> Attempt<C> {
    fn new() -> Self {
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
    fn fill(&mut self, mut discovered: Vec<Slot>) -> (Vec<usize>, bool) {
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
    fn number(&mut self) {
        for (stream, slot) in self.slot_of.iter().enumerate() {
            if let Some(slot) = slot.and_then(|slot| self.slots.get_mut(slot)) {
                slot.version = self.reading.version(stream);
                slot.read = Some(stream);
            }
        }
    }
}

impl<C: CommandLogic> ExecutePipeline<C> {
    /// Creates a pipeline for one execution. All its randomness comes from `commit_id`.
    pub fn new(command: C, options: ExecuteOptions, commit_id: CommitId) -> Self {
        let (high, low) = commit_id.as_uuid().as_u64_pair();
        let random = fastrand::Rng::with_seed(high ^ low);
        let attempt_state = Attempt::new();
        let machine = Machine {
            command,
            options,
            commit_id,
            random,
            attempt: 1,
            waited: Duration::ZERO,
            attempt_state,
        };
        Self {
            machine: Box::new(machine),
        }
    }

    /// Declares the streams and requests them.
    pub fn start(self) -> Step<C> {
        self.machine.declare()
    }
}

impl<C: CommandLogic> ReadStep<C> {
    /// Returns the request to read.
    pub fn request(&self) -> &ReadStreamsRequest {
        &self.request
    }

    /// Continues with the result of the read. `elapsed` is the time since the start of the
    /// execution.
    pub fn resume(
        mut self,
        result: Result<StreamPage, EventStoreError>,
        elapsed: Duration,
    ) -> Step<C> {
        match result {
            Ok(page) => match self.machine.take_page(page) {
                Ok(true) => self.machine.discover(),
                Ok(false) => self.machine.next_page(),
                Err(Stop::Failed(CommandError::EventStoreError(error))) => {
                    self.machine.unread(error, elapsed)
                }
                Err(Stop::Failed(error)) => self.machine.end(Err(error)),
                Err(Stop::AlreadyCommitted(appended)) => {
                    let done = ExecutionResponse::new(self.machine.attempt, appended, None);
                    self.machine.end(Ok(done))
                }
                Err(Stop::Again) => self.machine.read_again(),
            },
            Err(error) => self.machine.unread(error, elapsed),
        }
    }

    /// Starts from the states in the cache, so that only newer events are read. It has no effect
    /// on a read in progress, or on a command that folds the events itself.
    pub fn share(mut self, cache: &StateCache) -> Self {
        let key = self.machine.options.idempotency_key.as_ref();
        let reading = &mut self.machine.attempt_state.reading;
        reading.share(cache);
        self.request = reading.request(key);
        self
    }

    /// Returns the number of the attempt that the read is part of, from 1.
    pub fn attempt(&self) -> u32 {
        self.machine.attempt
    }

    /// Ends the command because the deadline passed without an answer.
    pub fn time_out(mut self) -> Step<C> {
        let error = self.machine.deadline_exceeded();
        self.machine.end(Err(error))
    }
}

impl<C: CommandLogic> AppendStep<C> {
    /// Ends the command because the deadline passed without an answer. Unless there was nothing to
    /// write, it is unknown whether the commit was made.
    pub fn time_out(mut self) -> Step<C> {
        if self.request.only_checks() {
            let error = self.machine.deadline_exceeded();
            return self.machine.end(Err(error));
        }
        let source = self
            .unknown
            .unwrap_or_else(|| EventStoreError::OutcomeUnknown {
                source: "it did not answer within the deadline".into(),
            });
        self.machine
            .end(Err(CommandError::OutcomeUnknown { source }))
    }

    /// Ends the command before the commit is sent because the deadline has passed.
    pub fn cancel(mut self) -> Step<C> {
        if self.unknown.is_some() {
            self.time_out()
        } else {
            let error = self.machine.deadline_exceeded();
            self.machine.end(Err(error))
        }
    }

    /// Returns the request to append.
    pub fn request(&self) -> &AppendRequest {
        &self.request
    }

    /// Continues with the result of the append. `elapsed` is the time since the start of the
    /// execution.
    pub fn resume(
        self,
        result: Result<CommitReceipt, EventStoreError>,
        elapsed: Duration,
    ) -> Step<C> {
        let Self {
            mut machine,
            request,
            refusal,
            unknown,
        } = self;
        match result {
            Ok(_) if let Some(refusal) = refusal => {
                machine.end(Err(CommandError::BusinessRuleViolation(refusal)))
            }
            Ok(appended) => {
                tracing::debug!(
                    position = appended.position.get(),
                    attempts = machine.attempt,
                    "command committed"
                );
                let done = ExecutionResponse::new(machine.attempt, appended, Some(request));
                machine.end(Ok(done))
            }
            // The store compares commit ids first, so the conflict is with another commit and this
            // one was not made.
            Err(EventStoreError::VersionConflict(conflict)) => machine.conflict(conflict, elapsed),
            // The store recognizes this commit by its id here too, so no earlier attempt has made
            // it.
            Err(EventStoreError::KeyReused(reused)) => machine.end(Err(reused.into())),
            Err(error) => {
                let error = match error {
                    // There was nothing to write, so the outcome is not unknown.
                    EventStoreError::OutcomeUnknown { source } if request.only_checks() => {
                        EventStoreError::Unavailable { source }
                    }
                    error => error,
                };
                let unknown =
                    unknown.is_some() || matches!(error, EventStoreError::OutcomeUnknown { .. });
                let reason = if unknown {
                    RetryReason::OutcomeUnknown
                } else {
                    RetryReason::Unavailable
                };
                // An unknown outcome is worth resolving until the deadline, however many attempts
                // it takes.
                let again = if unknown {
                    machine.before_deadline(elapsed) && !error.is_final()
                } else {
                    error.is_transient() && machine.may_retry(elapsed)
                };
                if again {
                    let unknown = unknown.then_some(error);
                    let again = AppendAgain {
                        request,
                        refusal,
                        unknown,
                    };
                    machine.wait(reason, Then::AppendAgain(again))
                } else if unknown {
                    machine.end(Err(CommandError::OutcomeUnknown { source: error }))
                } else {
                    machine.end(Err(error.into()))
                }
            }
        }
    }
}

impl<C: CommandLogic> SleepStep<C> {
    /// Returns the time to wait.
    pub fn duration(&self) -> Duration {
        self.context.delay
    }

    /// Returns the reason for the retry and the number of attempts so far.
    pub fn context(&self) -> &RetryContext {
        &self.context
    }

    /// Reports the retry to the policy's metrics hook, if there is one.
    pub fn report(&self) {
        if let Some(hook) = &self.machine.options.retry.hook {
            hook.on_retry_attempt(&self.context);
        }
    }

    /// Continues after the wait.
    pub fn resume(mut self) -> Step<C> {
        self.machine.waited = self.machine.waited.saturating_add(self.context.delay);
        self.resume_at_once()
    }

    /// Continues without having waited, for a caller that knows that the conflicting command has
    /// finished.
    pub fn resume_at_once(mut self) -> Step<C> {
        self.machine.attempt = self.machine.attempt.saturating_add(1);
        match self.then {
            Then::StartOver => self.machine.start_over(),
            Then::CatchUp => self.machine.catch_up(),
            Then::AppendAgain(AppendAgain {
                request,
                refusal,
                unknown,
            }) => Step::Append(AppendStep {
                machine: self.machine,
                request,
                refusal,
                unknown,
            }),
        }
    }
}

/// Reasons why a page does not lead to a decision.
enum Stop<E> {
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
    const FOLDS: bool = size_of::<C::State>() > 0;

    fn declare(mut self: Box<Self>) -> Step<C> {
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
    fn start_over(mut self: Box<Self>) -> Step<C> {
        let Attempt {
            mut slots,
            declared,
            fields,
            ..
        } = mem::replace(&mut self.attempt_state, Attempt::new());
        slots.truncate(declared);
        self.begin(slots, fields)
    }

    fn begin(mut self: Box<Self>, slots: Vec<Slot>, fields: usize) -> Step<C> {
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
    fn catch_up(mut self: Box<Self>) -> Step<C> {
        self.attempt_state.reading.read_on();
        self.next_page()
    }

    /// Reads again what did not prove to be as it was known.
    fn read_again(mut self: Box<Self>) -> Step<C> {
        if Self::FOLDS {
            return self.start_over();
        }
        self.attempt_state.reading.read_again();
        self.next_page()
    }

    /// Reads everything again after a delay, if that may help.
    fn unread(mut self: Box<Self>, error: EventStoreError, elapsed: Duration) -> Step<C> {
        if error.is_transient() && self.may_retry(elapsed) {
            self.wait(RetryReason::Unavailable, Then::StartOver)
        } else {
            self.end(Err(error.into()))
        }
    }

    /// Requests the streams of these slots, which no round has read yet.
    fn read(mut self: Box<Self>, unread: Vec<usize>) -> Step<C> {
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

    fn next_page(self: Box<Self>) -> Step<C> {
        let key = self.options.idempotency_key.as_ref();
        let request = self.attempt_state.reading.request(key);
        Step::ReadStreams(ReadStep {
            machine: self,
            request,
        })
    }

    /// Folds or keeps a page; returns `true` if it is the last one of this round.
    fn take_page(&mut self, mut page: StreamPage) -> Result<bool, Stop<C::Error>> {
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
    fn discover(mut self: Box<Self>) -> Step<C> {
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
    fn resolve(&mut self) -> Result<Option<C::Discovered>, Undecided<C::Error>> {
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
    fn declare_all(&self, discovered: &C::Discovered) -> Result<Vec<Slot>, CommandError<C::Error>> {
        let attempt = &self.attempt_state;
        let mut declarations = Declarations::after(attempt.fields);
        C::declare_discovered(discovered, &mut declarations);
        let declared = attempt.slots.get(..attempt.declared).unwrap_or_default();
        Ok(declarations.finish(declared)?)
    }

    /// Folds all events again, in commit order, for a command that discovers streams.
    fn refold(&mut self) -> Result<(), CommandError<C::Error>> {
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

    fn decide(mut self: Box<Self>) -> Step<C> {
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
    fn decision(&mut self) -> Result<Decision<C::Error>, Undecided<C::Error>> {
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
    fn read_moved(mut self: Box<Self>) -> Step<C> {
        self.attempt_state.reading.read_moved();
        self.next_page()
    }

    /// Commits these events, or confirms a refusal with a commit of nothing.
    fn append(mut self: Box<Self>, events: Vec<NewEvent>, refusal: Option<C::Error>) -> Step<C> {
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

    fn conflict(mut self: Box<Self>, conflict: VersionConflict, elapsed: Duration) -> Step<C> {
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

    fn end(&mut self, result: Outcome<C>) -> Step<C> {
        Step::Done {
            result,
            snapshots: self.attempt_state.reading.take_snapshots(),
        }
    }

    fn wait(mut self: Box<Self>, reason: RetryReason, then: Then<C::Error>) -> Step<C> {
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

    fn deadline_exceeded(&self) -> CommandError<C::Error> {
        CommandError::DeadlineExceeded {
            attempts: self.attempt,
            deadline: self.options.retry.deadline,
        }
    }

    fn may_retry(&self, elapsed: Duration) -> bool {
        self.attempt < self.options.retry.max_attempts && self.before_deadline(elapsed)
    }

    fn before_deadline(&self, elapsed: Duration) -> bool {
        elapsed.max(self.waited) < self.options.retry.deadline
    }
}

/// A decision of a command.
enum Decision<E> {
    Append(Vec<NewEvent>),
    Refuse(E),
}

/// The reasons why there is no decision.
enum Undecided<E> {
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

fn unreadable<E>(stream: StreamId, event: &StreamEvent, source: DecodeError) -> CommandError<E> {
    CommandError::UnreadableEvent {
        stream,
        version: event.version,
        position: event.position,
        type_name: event.type_name.to_string(),
        source,
    }
}

impl<C: CommandLogic> Attempt<C> {
    /// Folds an event into the command's own state.
    fn fold(&mut self, command: &C, event: &StreamEvent) -> Result<(), CommandError<C::Error>> {
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

fn refused<E>(slots: &[Slot], refusal: Refusal) -> CommandError<E> {
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
