//! The pipeline of one command: a state machine without I/O, clock or randomness of its own.
//!
//! declare → read (→ discover → read …) → fold → decide → append → done, and back to declare on a
//! conflict. Each step is consumed by the call that continues from it, so no call can be made in
//! the wrong phase.

mod attempt;
mod machine;
mod steps;

use std::time::Duration;

pub use steps::{AppendStep, ReadStep, SleepStep};

use self::{attempt::Attempt, machine::Machine};
use super::{CommandError, ExecuteOptions, ExecutionResponse};
use crate::{command::CommandLogic, event::CommitId, store::NewSnapshot};

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
