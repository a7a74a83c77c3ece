//! The pipeline of one command: a state machine without I/O, clock or randomness of its own.
//!
//! declare → read (→ discover → read …) → fold → decide → append → done, and back to declare on a conflict. Each step
//! is consumed by the call that goes on from it, so no call can come in the wrong phase.

use std::{mem, sync::Arc, time::Duration};

use super::{
    CommandError, ExecuteOptions, ExecutionResponse, RetryBound, RetryContext, RetryReason,
    reading::Reading,
};
use crate::{
    command::{
        Caching, CommandLogic, Declarations, FieldRecord, Folded, Handles, Refusal, Slot,
        WriteBuffer,
    },
    event::CommitId,
    store::{
        AppendEvents, Appended, EventStoreError, ReadStreams, StateKey, StreamEvent, StreamsPage,
        VersionConflict,
    },
};

/// The result of a command.
type Outcome<C> = Result<ExecutionResponse, CommandError<<C as CommandLogic>::Error>>;

/// A command that is ready to run.
///
/// The caller performs what each [`Step`] asks for and hands the result back; [`execute`](crate::execute()) is such a
/// caller. Tests and simulations are others: with the same inputs the pipeline takes the same course.
pub struct ExecutePipeline<C: CommandLogic> {
    machine: Box<Machine<C>>,
}

/// The effect that the pipeline needs next.
pub enum Step<C: CommandLogic> {
    /// Read a page of streams.
    ReadStreams(ReadStep<C>),
    /// Commit events.
    AppendEvents(AppendStep<C>),
    /// Wait before the next attempt.
    Sleep(SleepStep<C>),
    /// Nothing: this is the result, and the state to remember for a later command, if there is a new one. It is right
    /// whatever the result.
    Done(Outcome<C>, Option<Folded<C::State>>),
}

/// A read that the pipeline waits for.
pub struct ReadStep<C: CommandLogic> {
    machine: Box<Machine<C>>,
    request: ReadStreams,
}

/// An append that the pipeline waits for.
pub struct AppendStep<C: CommandLogic> {
    machine: Box<Machine<C>>,
    request: AppendEvents,
    /// An earlier try of this very commit ended without an answer: what the store said last.
    unknown: Option<EventStoreError>,
}

/// A wait that the pipeline waits for.
pub struct SleepStep<C: CommandLogic> {
    machine: Box<Machine<C>>,
    context: RetryContext,
    then: Then,
}

/// The step after a wait.
enum Then {
    StartOver,
    /// Keep what was folded and read on from there: everything new comes after it in commit order.
    CatchUp,
    AppendAgain {
        request: AppendEvents,
        unknown: Option<EventStoreError>,
    },
}

struct Machine<C: CommandLogic> {
    command: C,
    options: ExecuteOptions,
    /// The id of the commit that is decided on next.
    commit_id: CommitId,
    random: fastrand::Rng,
    /// The number of the attempt that is under way, from 1.
    attempt: u32,
    /// The time spent waiting: the pipeline's own lower bound of the time that has passed.
    waited: Duration,
    attempt_state: Attempt<C>,
    /// A remembered state was not of what the store holds: it is folded from the start.
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
    /// For each stream that was read, the slot that it fills now. The resolver may have dropped it.
    slot_of: Vec<Option<usize>>,
    reading: Reading,
    /// The events so far, for a command whose streams may grow: it folds them again in the larger set.
    history: Vec<StreamEvent>,
    rounds: usize,
    /// `true` if an event was folded since the attempt began, or since a cached state was taken.
    folded: bool,
}

/// The state of an attempt. One that is remembered is shared as long as nothing new is folded into it.
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

    /// Fills the slots with the streams that are declared and discovered now; returns the slots not read yet.
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
    /// A pipeline for one execution. All its randomness comes from `commit_id`.
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

    /// Declares the streams and asks for them.
    pub fn start(self) -> Step<C> {
        self.machine.declare()
    }
}

impl<C: CommandLogic> ReadStep<C> {
    /// Returns the request to read.
    pub fn request(&self) -> &ReadStreams {
        &self.request
    }

    /// Goes on with what was read. `elapsed` is the time since the start of the execution.
    pub fn resume(
        mut self,
        result: Result<StreamsPage, EventStoreError>,
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
    /// Returns the key of the cached state that the command could start from, instead of reading its streams. `None` when
    /// the command is not [cached](crate::command::CachedCommand), or has read something already.
    pub fn recalls(&self) -> Option<StateKey> {
        let caching = Machine::<C>::caching()?;
        let is_first = self.request.up_to.is_none() && self.machine.attempt_state.reading.is_new();
        (is_first && !self.machine.forgets).then(|| self.machine.key(&caching))
    }

    /// Goes on from a state that an earlier command has left; reads only what came after it. One of other streams, or of
    /// another command, changes nothing.
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

    /// The number of the attempt that the read is part of, from 1.
    pub fn attempt(&self) -> u32 {
        self.machine.attempt
    }

    /// Ends the command, because the deadline passed without an answer.
    pub fn time_out(self) -> Step<C> {
        Step::Done(Err(self.machine.deadline_exceeded()), None)
    }
}

impl<C: CommandLogic> AppendStep<C> {
    /// Ends the command, because the deadline passed without an answer: nobody knows whether the commit was made, if there
    /// was anything to write.
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

    /// Ends the command before the commit is sent, because the deadline has passed.
    pub fn cancel(mut self) -> Step<C> {
        if self.unknown.is_some() {
            self.time_out()
        } else {
            let error = self.machine.deadline_exceeded();
            self.machine.end(Err(error))
        }
    }

    /// Returns the request to append.
    pub fn request(&self) -> &AppendEvents {
        &self.request
    }

    /// Goes on with the result. `elapsed` is the time since the start of the execution.
    pub fn resume(self, result: Result<Appended, EventStoreError>, elapsed: Duration) -> Step<C> {
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
            // The store compares commit ids first, so this is a conflict with somebody else: nothing of ours is there.
            Err(EventStoreError::VersionConflict(conflict)) => machine.conflict(conflict, elapsed),
            // It knows this commit by its id as well, whatever an earlier try came to.
            Err(EventStoreError::KeyReused(reused)) => machine.end(Err(reused.into())),
            Err(error) => {
                let error = match error {
                    // Nothing was to be written, so nothing is open.
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
                // An open outcome is worth asking for until the deadline, however often.
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

    /// Why, and after how many attempts.
    pub fn context(&self) -> &RetryContext {
        &self.context
    }

    /// Tells the policy's metrics hook, if it has one.
    pub fn report(&self) {
        if let Some(hook) = &self.machine.options.retry.hook {
            hook.on_retry_attempt(&self.context);
        }
    }

    /// Goes on after the wait.
    pub fn resume(mut self) -> Step<C> {
        self.machine.waited = self.machine.waited.saturating_add(self.context.delay);
        self.resume_at_once()
    }

    /// Goes on without having waited: for a caller who knows that whoever was in the way is done.
    pub fn resume_at_once(mut self) -> Step<C> {
        self.machine.attempt = self.machine.attempt.saturating_add(1);
        match self.then {
            Then::StartOver => self.machine.start_over(),
            Then::CatchUp => self.machine.catch_up(),
            Then::AppendAgain { request, unknown } => Step::AppendEvents(AppendStep {
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
    AlreadyCommitted(Appended),
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

    /// Reads all streams from the start. The keys are not asked for their streams again: one that answered differently
    /// would declare a stream that the caller did not ask for.
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

    /// Reads what has come to the same streams since. A retry costs what is new, however long the streams are.
    fn catch_up(mut self: Box<Self>) -> Step<C> {
        let reading = &mut self.attempt_state.reading;
        reading.read_on();
        let request = reading.request(None, self.options.idempotency_key.as_ref());
        Step::ReadStreams(ReadStep {
            machine: self,
            request,
        })
    }

    /// Reads everything anew after a while, if that may help.
    fn unread(self: Box<Self>, error: EventStoreError, elapsed: Duration) -> Step<C> {
        if error.is_transient() && self.may_retry(elapsed) {
            self.wait(RetryReason::Unavailable, Then::StartOver)
        } else {
            Step::Done(Err(error.into()), None)
        }
    }

    /// Asks for the streams of these slots, which no round has read yet.
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
        request: &ReadStreams,
        mut page: StreamsPage,
    ) -> Result<Option<ReadStreams>, Stop<C::Error>> {
        if let Some(appended) = page.already_committed.take() {
            return Err(Stop::AlreadyCommitted(appended));
        }
        let attempt = &mut self.attempt_state;
        let first = request.up_to.is_none();
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

    /// Folds what was kept, and asks for streams that this state calls for, until there are no more.
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
        match AppendEvents::of_written(
            self.commit_id,
            attempt.reading.expected(),
            events,
            metadata,
            key,
        ) {
            Ok(request) => Step::AppendEvents(AppendStep {
                machine: self,
                request,
                unknown: None,
            }),
            Err(error) => self.end(Err(error.into())),
        }
    }

    fn conflict(mut self: Box<Self>, conflict: VersionConflict, elapsed: Duration) -> Step<C> {
        if self.may_retry(elapsed) {
            // A commit id names one decision: whoever has seen an event of it knows what the stream held before.
            self.commit_id = self.commit_id.with_random(self.random.u128(..));
            // Streams that were discovered may be others in the new state, so discovery starts over.
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

    /// The end of a command that has read its streams to their end. If there was anything new, its state is remembered.
    fn end(&mut self, outcome: Outcome<C>) -> Step<C> {
        Step::Done(outcome, self.folded())
    }

    fn folded(&mut self) -> Option<Folded<C::State>> {
        let caching = Self::caching()?;
        // Where nothing is new, what is remembered is right; unless it was not there, and then there is nothing at all.
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

    /// Streams that come out of the state are read in rounds, so no one state is of all of them.
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

/// The parts of an attempt that a fold needs, borrowed apart from its history.
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
