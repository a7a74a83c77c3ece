//! The treatment of events that cannot be applied: [`ErrorPolicy`].

use std::time::Duration;

use crate::Position;

/// The policy for events that cannot be decoded or applied.
///
/// Applies to events only, including panics while one is decoded or applied; transient failures of
/// the database or store are retried indefinitely.
///
/// ```
/// use eventcore::projection::ErrorPolicy;
/// use std::time::Duration;
///
/// let forever = ErrorPolicy::retry();
/// let some_time = ErrorPolicy::retry().attempts(5).backoff(Duration::from_millis(10), Duration::from_secs(1));
/// let then_aside = ErrorPolicy::park().attempts(3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPolicy {
    attempts: u32,
    first: Duration,
    most: Duration,
    parks: bool,
    /// The events that are dead-lettered regardless of the other settings.
    parked: Vec<Position>,
}

impl ErrorPolicy {
    fn new(attempts: u32, parks: bool) -> Self {
        Self {
            attempts,
            first: Duration::from_millis(100),
            most: Duration::from_secs(30),
            parks,
            parked: Vec::new(),
        }
    }

    /// Returns a policy that stops the runner with an error at the first failure.
    pub fn stop() -> Self {
        Self::new(1, false)
    }

    /// Returns a policy that retries the event indefinitely, with growing pauses. Later events wait
    /// until it succeeds.
    pub fn retry() -> Self {
        Self::new(u32::MAX, false)
    }

    /// Returns a policy that moves the event to the dead-letter table and continues with the next
    /// event.
    pub fn park() -> Self {
        Self::new(1, true)
    }

    /// Sets the number of attempts, at least one, before the runner stops or dead-letters the
    /// event.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets the first and the longest pause between attempts. Each pause is twice as long as the
    /// previous one.
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.first = first;
        self.most = most;
        self
    }

    /// Dead-letters the event at this position at its first failure, regardless of the policy for
    /// other events.
    ///
    /// Use this to skip one event that can never be decoded or applied, such as one with a damaged
    /// payload, without silently dead-lettering others.
    /// [`ProjectionError::Event`](super::ProjectionError::Event) and the status contain the
    /// position.
    ///
    /// ```
    /// use eventcore::{Position, projection::ErrorPolicy};
    ///
    /// let policy = ErrorPolicy::retry().park_at(Position::new(4711));
    /// ```
    pub fn park_at(mut self, position: Position) -> Self {
        self.parked.push(position);
        self
    }

    /// Returns the action to take after a failed attempt to apply the event at a position.
    pub(super) fn after(&self, attempts: u32, position: Position) -> Verdict {
        if self.parked.contains(&position) {
            return Verdict::Park;
        }
        if attempts >= self.attempts {
            return if self.parks {
                Verdict::Park
            } else {
                Verdict::Stop
            };
        }
        let doublings = attempts.saturating_sub(1).min(30);
        let pause = self.first.saturating_mul(1 << doublings);
        Verdict::Retry(pause.min(self.most))
    }
}

impl Default for ErrorPolicy {
    /// Returns [`ErrorPolicy::retry`].
    fn default() -> Self {
        Self::retry()
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Retry(Duration),
    Park,
    Stop,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_attempts_end() {
        let at = Position::new(7);
        let (ms, policy) = (Duration::from_millis, ErrorPolicy::retry().attempts(5));
        let policy = policy.backoff(ms(10), ms(50));
        let verdicts: Vec<_> = (1..=5).map(|attempts| policy.after(attempts, at)).collect();
        let retry = |pause| Verdict::Retry(ms(pause));
        assert_eq!(
            verdicts,
            [retry(10), retry(20), retry(40), retry(50), Verdict::Stop]
        );
        assert_eq!(ErrorPolicy::park().after(1, at), Verdict::Park);
        let forever = ErrorPolicy::retry().after(u32::MAX - 1, at);
        assert_eq!(forever, Verdict::Retry(Duration::from_secs(30)));
    }

    #[test]
    fn an_event_that_is_named_is_parked_at_once_and_no_other() {
        let policy = ErrorPolicy::stop().park_at(Position::new(7));
        assert_eq!(policy.after(1, Position::new(7)), Verdict::Park);
        assert_eq!(policy.after(1, Position::new(8)), Verdict::Stop);
    }
}
