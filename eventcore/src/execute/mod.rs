//! Execution of commands: [`ExecutePipeline`], the pure state machine, and its steps.
//!
//! [`execute`](crate::execute()) performs the effects of the steps; tests and simulations can do the same.

pub(crate) mod error;
mod metrics;
pub(crate) mod options;
mod pipeline;
mod reading;
mod recall;
pub(crate) mod response;
pub(crate) mod retry;
pub(crate) mod run;

pub use pipeline::{AppendStep, ExecutePipeline, ReadStep, SleepStep, Step};
pub(crate) use recall::{recall, remember};

use self::{
    error::{CommandError, RetryBound},
    options::ExecuteOptions,
    response::ExecutionResponse,
    retry::{RetryContext, RetryReason},
};
