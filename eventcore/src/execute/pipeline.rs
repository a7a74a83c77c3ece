//! The pipeline of one command: a state machine without I/O, clock or randomness of its own.
//!
//! declare → read (→ discover → read …) → fold → decide → append → done, and back to declare on a
//! conflict. Each step is consumed by the call that continues from it, so no call can be made in
//! the wrong phase.

use std::{mem, sync::Arc, time::Duration};

use super::{
    CommandError, ExecuteOptions, ExecutionResponse, RetryBound, RetryContext, RetryReason,
    reading::Reading,
};
use crate::{
    command::{
        Caching, CommandLogic, Folded, Refusal, Slot, WriteBuffer,
        codegen::{Declarations, FieldRecord, Handles},
    },
    event::CommitId,
    store::{
        AppendRequest, CommitReceipt, EventStoreError, ReadStreamsRequest, StateKey, StreamEvent,
        StreamPage, VersionConflict,
    },
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
    /// Nothing: this is the result, and the state to cache for a later command, if there is a new
    /// one. The state is valid regardless of the result.
    Done(Outcome<C>, Option<Folded<C::State>>),
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
    /// The store's last error, if an earlier attempt to make this same commit ended with an unknown
    /// outcome.
    unknown: Option<EventStoreError>,
}

/// A delay that the pipeline waits for.
pub struct SleepStep<C: CommandLogic> {
    machine: Box<Machine<C>>,
    context: RetryContext,
    then: Then,
}

/// The step after a wait.
enum Then {
    StartOver,
    /// Keep the folded state and read only newer events, which all follow it in commit order.
    CatchUp,
    AppendAgain {
        request: AppendRequest,
        unknown: Option<EventStoreError>,
    },
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
    /// `true` if a cached state did not match the store, so that the state is folded from the
    /// start.
    forgets: bool,
}

/// The state of one attempt; the next one starts from scratch.
struct Attempt<C: CommandLogic> {
    state: State<C>,
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
    /// The events so far, for a command that discovers streams: they are folded again when streams
    /// are added.
    history: Vec<StreamEvent>,
    rounds: usize,
    /// `true` if an event was folded since the attempt began, or since a cached state was used.
    folded: bool,
}

/// The state of an attempt. A cached state is shared until a new event is folded into it.
struct State<C: CommandLogic> {
    own: C::State,
    shared: Option<Arc<Folded<C::State>>>,
}

impl<C: CommandLogic> State<C> {
    fn new() -> Self {
        Self {
            own: C::State::default(),
            shared: None,
        }
    }

    fn get(&self) -> &C::State {
        match &self.shared {
            Some(folded) => &folded.state,
            None => &self.own,
        }
    }

    fn get_mut(&mut self) -> &mut C::State {
        if let (Some(folded), Some(caching)) = (self.shared.take(), C::caching()) {
            self.own = caching.copy(&folded.state);
        }
        &mut self.own
    }
}

impl<C: CommandLogic> Attempt<C> {
    fn new() -> Self {
        Self {
            state: State::new(),
            discovered: C::Discovered::default(),
            slots: Vec::new(),
            declared: 0,
            fields: 0,
            slot_of: Vec::new(),
            reading: Reading::default(),
            history: Vec::new(),
            rounds: 0,
            folded: false,
        }
    }

    /// Fills the slots with the streams that are now declared and discovered, and returns the slots
    /// not read yet.
    fn fill(&mut self, mut discovered: Vec<Slot>) -> Vec<usize> {
        self.slots.truncate(self.declared);
        self.slots.append(&mut discovered);
        self.slot_of.fill(None);
        let mut unread = Vec::new();
        for (number, slot) in self.slots.iter().enumerate() {
            // Declared streams were read first, in order.
            let read = if number < self.declared {
                Some(number)
            } else {
                self.reading.position_of(&slot.stream)
            };
            match read.and_then(|read| self.slot_of.get_mut(read)) {
                Some(place) => *place = Some(number),
                None => unread.push(number),
            }
        }
        unread
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
            forgets: false,
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
            Ok(page) => match self.machine.take_page(&self.request, page) {
                Ok(Some(request)) => Step::ReadStreams(Self {
                    machine: self.machine,
                    request,
                }),
                Ok(None) => self.machine.discover(),
                Err(Stop::Failed(CommandError::EventStoreError(error))) => {
                    self.machine.unread(error, elapsed)
                }
                Err(Stop::Failed(error)) => Step::Done(Err(error), None),
                Err(Stop::AlreadyCommitted(appended)) => Step::Done(
                    Ok(ExecutionResponse::new(self.machine.attempt, appended, None)),
                    None,
                ),
                Err(Stop::NotThere) => {
                    tracing::debug!(
                        "the store does not hold what was remembered of it; all is read anew"
                    );
                    self.machine.forgets = true;
                    self.machine.start_over()
                }
            },
            Err(error) => self.machine.unread(error, elapsed),
        }
    }
}

impl<C: CommandLogic> ReadStep<C> {
    /// Returns the key of the cached state that the command could start from instead of reading its
    /// streams. `None` if the command is not [cached](crate::command::CachedCommand), or has
    /// already read something.
    pub fn recalls(&self) -> Option<StateKey> {
        let caching = Machine::<C>::caching()?;
        let is_first =
            self.request.snapshot.is_none() && self.machine.attempt_state.reading.is_new();
        (is_first && !self.machine.forgets).then(|| self.machine.key(&caching))
    }

    /// Continues from a state that an earlier command folded, reading only newer events. A state of
    /// other streams or of another command is ignored.
    pub fn recall(mut self, folded: Arc<Folded<C::State>>) -> Self {
        if self.recalls().as_ref() != Some(&folded.key) {
            return self;
        }
        let attempt = &mut self.machine.attempt_state;
        attempt.reading.recall(&folded.heads);
        attempt.state.shared = Some(folded);
        let key = self.machine.options.idempotency_key.as_ref();
        self.request = self.machine.attempt_state.reading.request(None, key);
        self
    }

    /// Returns the number of the attempt that the read is part of, from 1.
    pub fn attempt(&self) -> u32 {
        self.machine.attempt
    }

    /// Ends the command because the deadline passed without an answer.
    pub fn time_out(self) -> Step<C> {
        Step::Done(Err(self.machine.deadline_exceeded()), None)
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
            unknown,
        } = self;
        match result {
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
                    machine.wait(reason, Then::AppendAgain { request, unknown })
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
            Then::AppendAgain { request, unknown } => Step::Append(AppendStep {
                machine: self.machine,
                request,
                unknown,
            }),
        }
    }
}

/// Reasons why a page does not lead to a decision.
enum Stop<E> {
    Failed(CommandError<E>),
    AlreadyCommitted(CommitReceipt),
    /// The store does not hold the cached history.
    NotThere,
}

impl<E> From<CommandError<E>> for Stop<E> {
    fn from(error: CommandError<E>) -> Self {
        Self::Failed(error)
    }
}

impl<C: CommandLogic> Machine<C> {
    fn declare(self: Box<Self>) -> Step<C> {
        let mut declarations = Declarations::default();
        self.command.declare(&mut declarations);
        let fields = declarations.fields();
        match declarations.finish(&[]) {
            Ok(slots) => self.begin(slots, fields),
            Err(error) => Step::Done(Err(error.into()), None),
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
        let reading = &mut self.attempt_state.reading;
        reading.read_on();
        let request = reading.request(None, self.options.idempotency_key.as_ref());
        Step::ReadStreams(ReadStep {
            machine: self,
            request,
        })
    }

    /// Reads everything again after a delay, if that may help.
    fn unread(self: Box<Self>, error: EventStoreError, elapsed: Duration) -> Step<C> {
        if error.is_transient() && self.may_retry(elapsed) {
            self.wait(RetryReason::Unavailable, Then::StartOver)
        } else {
            Step::Done(Err(error.into()), None)
        }
    }

    /// Requests the streams of these slots, which no round has read yet.
    fn read(mut self: Box<Self>, unread: Vec<usize>) -> Step<C> {
        let limit = self.options.max_streams;
        let attempt = &mut self.attempt_state;
        let streams = attempt.reading.len() + unread.len();
        if streams > limit {
            return Step::Done(Err(CommandError::TooManyStreams { streams, limit }), None);
        }
        let ids = unread
            .iter()
            .filter_map(|slot| attempt.slots.get(*slot))
            .map(|slot| slot.stream.clone());
        attempt.reading.add(ids);
        attempt.slot_of.extend(unread.into_iter().map(Some));
        let request = attempt
            .reading
            .request(None, self.options.idempotency_key.as_ref());
        Step::ReadStreams(ReadStep {
            machine: self,
            request,
        })
    }

    /// Folds or keeps a page; returns the request for the next one of this round, if there is one.
    fn take_page(
        &mut self,
        request: &ReadStreamsRequest,
        mut page: StreamPage,
    ) -> Result<Option<ReadStreamsRequest>, Stop<C::Error>> {
        if let Some(appended) = page.already_committed.take() {
            return Err(Stop::AlreadyCommitted(appended));
        }
        let attempt = &mut self.attempt_state;
        let first = request.snapshot.is_none();
        if first && !attempt.reading.recognizes(&page) {
            return Err(Stop::NotThere);
        }
        let complete = attempt
            .reading
            .take(&page, first)
            .map_err(CommandError::from)?;
        let next = if complete {
            None
        } else {
            Some(attempt.reading.request(Some(&page), None))
        };
        if C::DISCOVERS {
            let start = attempt.reading.round_start();
            let numbered = |event: StreamEvent| StreamEvent {
                stream: start + event.stream,
                ..event
            };
            attempt
                .history
                .extend(page.events.into_iter().map(numbered));
        } else {
            for event in &page.events {
                fold(&self.command, attempt_parts(attempt), event)?;
            }
            attempt.folded |= !page.events.is_empty();
        }
        Ok(next)
    }

    /// Folds the kept events and requests the streams that the resulting state calls for, until
    /// there are no more.
    fn discover(mut self: Box<Self>) -> Step<C> {
        if !C::DISCOVERS {
            return self.decide();
        }
        loop {
            if let Err(error) = self.refold() {
                return Step::Done(Err(error), None);
            }
            let Some(discovered) = self.command.discover(self.attempt_state.state.get()) else {
                return self.decide();
            };
            let slots = match self.declare_all(&discovered) {
                Ok(slots) => slots,
                Err(error) => return Step::Done(Err(error), None),
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
                return Step::Done(Err(CommandError::DiscoveryUnsettled { rounds }), None);
            }
            let unread = attempt.fill(slots);
            if !unread.is_empty() {
                return self.read(unread);
            }
        }
    }

    /// Returns the discovered slots. None of them may be a declared stream.
    fn declare_all(&self, discovered: &C::Discovered) -> Result<Vec<Slot>, CommandError<C::Error>> {
        let attempt = &self.attempt_state;
        let mut declarations = Declarations::after(attempt.fields);
        C::declare_discovered(discovered, &mut declarations);
        let declared = attempt.slots.get(..attempt.declared).unwrap_or_default();
        Ok(declarations.finish(declared)?)
    }

    fn refold(&mut self) -> Result<(), CommandError<C::Error>> {
        let attempt = &mut self.attempt_state;
        attempt.state = State::new();
        attempt.history.sort_unstable_by_key(|event| event.position);
        let history = mem::take(&mut attempt.history);
        let folded = history
            .iter()
            .try_for_each(|event| fold(&self.command, attempt_parts(attempt), event));
        attempt.history = history;
        folded
    }

    fn decide(mut self: Box<Self>) -> Step<C> {
        let attempt = &mut self.attempt_state;
        for (stream, slot) in attempt.slot_of.iter().enumerate() {
            if let Some(slot) = slot.and_then(|slot| attempt.slots.get_mut(slot)) {
                slot.version = attempt.reading.version(stream);
                slot.read = Some(stream);
            }
        }
        let buffer = WriteBuffer::new(mem::take(&mut attempt.slots));
        let mut handles = Handles::new(&buffer);
        let streams = self.command.streams(&attempt.discovered, &mut handles);
        let decided = match handles.finish() {
            Ok(()) => self
                .command
                .handle(attempt.state.get(), streams)
                .map_err(CommandError::BusinessRuleViolation),
            Err(mismatch) => {
                drop(streams);
                Err(mismatch.into())
            }
        };
        let (slots, events) = buffer.finish();
        attempt.slots = slots;
        if let Err(error) = decided {
            return self.end(Err(error));
        }
        let events = match events {
            Ok(events) => events,
            Err(refusal) => {
                let error = refused(&attempt.slots, refusal);
                return self.end(Err(error));
            }
        };
        let (metadata, key) = (
            self.options.metadata.clone(),
            self.options.idempotency_key.clone(),
        );
        match AppendRequest::of_written(
            self.commit_id,
            attempt.reading.expected(),
            events,
            metadata,
            key,
        ) {
            Ok(request) => Step::Append(AppendStep {
                machine: self,
                request,
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

    /// Ends a command that has read its streams completely. If there were new events, its state is
    /// returned for caching.
    fn end(&mut self, outcome: Outcome<C>) -> Step<C> {
        Step::Done(outcome, self.folded())
    }

    fn folded(&mut self) -> Option<Folded<C::State>> {
        let caching = Self::caching()?;
        // Without new events, the cached state is still valid. If it did not match the store, the
        // streams are empty, and the empty state replaces it.
        if !self.attempt_state.folded && !self.forgets {
            return None;
        }
        let key = self.key(&caching);
        let attempt = &mut self.attempt_state;
        Some(Folded {
            key,
            state: mem::take(attempt.state.get_mut()),
            heads: attempt.reading.heads(),
        })
    }

    /// Returns the functions that cache the state. Discovered streams are read in rounds, so no
    /// single state covers all streams.
    fn caching() -> Option<Caching<C::State>> {
        if C::DISCOVERS { None } else { C::caching() }
    }

    fn key(&self, caching: &Caching<C::State>) -> StateKey {
        let slots = self.attempt_state.slots.iter();
        StateKey::new(
            caching.command(),
            slots.map(|slot| (slot.field, slot.stream.clone())),
        )
    }

    fn wait(mut self: Box<Self>, reason: RetryReason, then: Then) -> Step<C> {
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

/// The parts of an attempt that a fold needs, borrowed separately from its history.
struct FoldParts<'a, C: CommandLogic> {
    state: &'a mut State<C>,
    discovered: &'a C::Discovered,
    slots: &'a [Slot],
    slot_of: &'a [Option<usize>],
}

fn attempt_parts<C: CommandLogic>(attempt: &mut Attempt<C>) -> FoldParts<'_, C> {
    FoldParts {
        state: &mut attempt.state,
        discovered: &attempt.discovered,
        slots: &attempt.slots,
        slot_of: &attempt.slot_of,
    }
}

fn fold<C: CommandLogic>(
    command: &C,
    FoldParts {
        state,
        discovered,
        slots,
        slot_of,
    }: FoldParts<'_, C>,
    event: &StreamEvent,
) -> Result<(), CommandError<C::Error>> {
    let slot = slot_of.get(event.stream).copied().flatten();
    let Some(slot) = slot.and_then(|slot| slots.get(slot)) else {
        return Ok(());
    };
    match command.event(discovered, FieldRecord::new(slot, event)) {
        Ok(decoded) => command.apply(state.get_mut(), decoded),
        Err(source) => {
            return Err(CommandError::UnreadableEvent {
                stream: slot.stream.clone(),
                version: event.version,
                position: event.position,
                type_name: event.type_name.to_string(),
                source,
            });
        }
    }
    Ok(())
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
