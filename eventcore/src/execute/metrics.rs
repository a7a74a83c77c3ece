//! Metrics of commands, reported through the `metrics` facade with the feature `metrics`. The guide's chapter on commands
//! documents their names; this is the only file that reports them.

use std::time::Instant;

use super::{CommandError, ExecutionResponse, RetryReason};

#[cfg(feature = "metrics")]
mod on {
    use super::{CommandError, ExecutionResponse, Instant, RetryReason};

    pub fn ended<E>(
        command: &'static str,
        started: Instant,
        result: &Result<ExecutionResponse, CommandError<E>>,
    ) {
        let outcome = match result {
            Ok(_) => "committed",
            Err(CommandError::BusinessRuleViolation(_) | CommandError::KeyReused(_)) => "refused",
            Err(CommandError::ConcurrencyError { .. }) => "conflict",
            Err(CommandError::OutcomeUnknown { .. }) => "unknown",
            Err(_) => "failed",
        };
        metrics::counter!("eventcore_commands_total", "command" => command, "outcome" => outcome)
            .increment(1);
        metrics::histogram!("eventcore_command_seconds", "command" => command)
            .record(started.elapsed());
    }

    pub fn retries(command: &'static str, reason: &RetryReason) {
        let reason = match reason {
            RetryReason::Conflict(_) => "conflict",
            RetryReason::Unavailable => "unavailable",
            RetryReason::OutcomeUnknown => "unknown",
        };
        metrics::counter!("eventcore_command_retries_total", "command" => command, "reason" => reason)
            .increment(1);
    }
}

#[cfg(not(feature = "metrics"))]
mod on {
    use super::{CommandError, ExecutionResponse, Instant, RetryReason};

    pub fn ended<E>(_: &str, _: Instant, _: &Result<ExecutionResponse, CommandError<E>>) {}
    pub fn retries(_: &str, _: &RetryReason) {}
}

pub(super) use on::{ended, retries};
