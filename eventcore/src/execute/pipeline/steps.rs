//! The effects that the pipeline requests, each of which continues with its result.

use std::time::Duration;

use super::{
    Step,
    machine::{Machine, Stop},
};
use crate::{
    command::CommandLogic,
    execute::{CommandError, ExecutionResponse, RetryContext, RetryReason},
    store::{
        AppendRequest, CommitReceipt, EventStoreError, ReadStreamsRequest, StateCache, StreamPage,
    },
};

/// A read that the pipeline waits for.
pub struct ReadStep<C: CommandLogic> {
    pub(super) machine: Box<Machine<C>>,
    pub(super) request: ReadStreamsRequest,
}

/// An append that the pipeline waits for.
pub struct AppendStep<C: CommandLogic> {
    pub(super) machine: Box<Machine<C>>,
    pub(super) request: AppendRequest,
    /// The refusal that this commit of nothing confirms.
    pub(super) refusal: Option<C::Error>,
    /// The store's last error, if an earlier attempt to make this same commit ended with an unknown
    /// outcome.
    pub(super) unknown: Option<EventStoreError>,
}

/// A delay that the pipeline waits for.
pub struct SleepStep<C: CommandLogic> {
    pub(super) machine: Box<Machine<C>>,
    pub(super) context: RetryContext,
    pub(super) then: Then<C::Error>,
}

/// The step after a wait.
pub(super) enum Then<E> {
    StartOver,
    /// Keep the folded state and read only newer events, which all follow it in commit order.
    CatchUp,
    AppendAgain(AppendAgain<E>),
}

pub(super) struct AppendAgain<E> {
    pub(super) request: AppendRequest,
    pub(super) refusal: Option<E>,
    pub(super) unknown: Option<EventStoreError>,
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
