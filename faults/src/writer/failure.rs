//! The lines in which a writer reports commands that failed.

use std::{fmt, str::FromStr};

use eventcore::{CommandError, EventStoreError};

/// A command that failed, as the writer reports it and the rig reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The number of the command.
    pub(crate) number: u64,
    /// `true` if nothing of the command is stored, `false` if that is unknown.
    pub(crate) refused: bool,
    /// The kind of the failure.
    pub(crate) cause: Cause,
    /// The error and its sources.
    pub(crate) message: String,
}

/// The kind of a failure, as far as a fault is judged by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The disk is full.
    Full,
    /// The disk failed to write.
    Failed,
    /// Anything else.
    Other,
}

const CAUSES: [(Cause, &str); 3] = [
    (Cause::Full, "full"),
    (Cause::Failed, "failed"),
    (Cause::Other, "other"),
];

impl Failure {
    pub(crate) fn new<E>(number: u64, error: CommandError<E>) -> Self
    where
        CommandError<E>: std::error::Error + Send + Sync + 'static,
    {
        let cause = match &error {
            CommandError::EventStoreError(error)
            | CommandError::OutcomeUnknown { source: error } => cause(error),
            _ => Cause::Other,
        };
        let refused = !matches!(error, CommandError::OutcomeUnknown { .. });
        let message = format!("{:#}", anyhow::Error::from(error)).replace('\n', " ");
        Self {
            number,
            refused,
            cause,
            message,
        }
    }
}

fn cause(error: &EventStoreError) -> Cause {
    match error {
        EventStoreError::StorageFull { .. } => Cause::Full,
        EventStoreError::StorageFailed { .. } => Cause::Failed,
        _ => Cause::Other,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.refused { "refused" } else { "unknown" };
        let cause = CAUSES.iter().find(|(cause, _)| *cause == self.cause);
        let cause = cause.map_or("", |(_, name)| name);
        write!(f, "{} {outcome} {cause}: {}", self.number, self.message)
    }
}

impl FromStr for Failure {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self, anyhow::Error> {
        let parse = || {
            let (head, message) = line.split_once(": ")?;
            let mut words = head.split(' ');
            let number = words.next()?.parse().ok()?;
            let refused = match words.next()? {
                "refused" => true,
                "unknown" => false,
                _ => return None,
            };
            let name = words.next()?;
            let (cause, _) = CAUSES.iter().find(|(_, known)| *known == name)?;
            Some(Self {
                number,
                refused,
                cause: *cause,
                message: message.to_owned(),
            })
        };
        parse().ok_or_else(|| anyhow::anyhow!("the writer reported something else: {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reported_failure_is_read_back() {
        for (cause, _) in CAUSES {
            for refused in [true, false] {
                let failure = Failure {
                    number: 7,
                    refused,
                    cause,
                    message: "the store is busy: SQLITE_BUSY: locked".to_owned(),
                };
                assert_eq!(failure.to_string().parse::<Failure>().unwrap(), failure);
            }
        }
        assert!("thread panicked at: 3".parse::<Failure>().is_err());
    }
}
