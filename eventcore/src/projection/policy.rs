//! The treatment of events that cannot be applied: [`ErrorPolicy`].

use std::time::Duration;

use crate::Position;

/// The reaction of a runner to an event that cannot be decoded or applied.
///
/// It applies to events only, a panic while one is decoded or applied included. A database or store that fails for a while is
/// asked again, for as long as it takes.
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
    /// The events that are parked whatever the rest says.
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

    /// The first failure ends the runner with an error.
    pub fn stop() -> Self {
        Self::new(1, false)
    }

    /// The event is tried again and again, ever more slowly, until somebody mends it. Events behind it wait.
    pub fn retry() -> Self {
        Self::new(u32::MAX, false)
    }

    /// The event is put aside into the dead-letter table, and the runner goes on with the next one.
    pub fn park() -> Self {
        Self::new(1, true)
    }

    /// So many attempts are made (at least one) before the runner stops, or parks the event.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets the first and the longest pause between attempts. Each pause is twice as long as the one before.
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.first = first;
        self.most = most;
        self
    }

    /// Parks the event at this position at its first failure, whatever the policy says about others.
    ///
    /// This is the way past one event that can never be decoded or applied, such as one with a damaged payload, without
    /// parking others unseen. [`ProjectionError::Event`](super::ProjectionError::Event) and the status name the position.
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

    /// Returns what follows a failed attempt to apply the event at a position.
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
    /// [`ErrorPolicy::retry`].
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
