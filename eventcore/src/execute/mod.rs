//! Execution of commands: [`ExecutePipeline`], the pure state machine, and its steps.
//!
//! [`execute`](crate::execute()) performs the effects of the steps; tests and simulations can do the same.
//! [`load`](crate::load()) reads states without a command, by the same means.

pub(crate) mod error;
pub(crate) mod load;
mod metrics;
pub(crate) mod options;
mod pipeline;
mod reading;
pub(crate) mod response;
pub(crate) mod retry;
pub(crate) mod run;
mod states;

pub use pipeline::{AppendStep, ExecutePipeline, ReadStep, SleepStep, Step};

use self::{
    error::{CommandError, RetryBound},
    options::ExecuteOptions,
    response::ExecutionResponse,
    retry::{RetryContext, RetryReason},
};
