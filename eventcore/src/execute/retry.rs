//! The retries of a command.

use std::{fmt, sync::Arc, time::Duration};

use crate::store::VersionConflict;

/// The retry policy of a command: full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015), a cap, a
/// number of attempts and a deadline.
///
/// With the default, 32 tasks on one stream all succeed: 1,000 attempts within 30 seconds, with
/// waits between 0 and 1 ms · 2ⁿ, at most 50 ms.
///
/// ```
/// use std::time::Duration;
/// use eventcore::RetryPolicy;
///
/// let policy = RetryPolicy::new().max_attempts(5).deadline(Duration::from_secs(2));
/// let never = RetryPolicy::never();
/// # let _ = (policy, never);
/// ```
#[derive(Clone)]
pub struct RetryPolicy {
    pub(crate) max_attempts: u32,
    base: Duration,
    cap: Duration,
    pub(crate) deadline: Duration,
    pub(crate) hook: Option<Arc<dyn MetricsHook>>,
}

impl RetryPolicy {
    /// Creates the default policy.
    pub fn new() -> Self {
        Self {
            max_attempts: 1000,
            base: Duration::from_millis(1),
            cap: Duration::from_millis(50),
            deadline: Duration::from_secs(30),
            hook: None,
        }
    }

    /// Creates a policy with a single attempt.
    pub fn never() -> Self {
        Self::new().max_attempts(1)
    }

    /// Sets the maximum number of attempts, including the first; at least 1.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Sets the upper bound of the first wait; it doubles with each further attempt.
    pub fn base_delay(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Sets the upper bound of all waits.
    pub fn max_delay(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets the time that a command may take from its start, waits and retries included. A call to
    /// the store that is in progress at the deadline is cancelled: a read ends the command with
    /// [`DeadlineExceeded`](crate::CommandError::DeadlineExceeded), an append with
    /// [`OutcomeUnknown`](crate::CommandError::OutcomeUnknown).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets a hook that is called on every retry.
    pub fn metrics_hook(mut self, hook: impl MetricsHook + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Returns the wait after this many failed attempts: a random time from 0 to the doubled and
    /// capped base.
    pub(crate) fn delay(&self, failed: u32, random: &mut fastrand::Rng) -> Duration {
        let factor = 1_u32
            .checked_shl(failed.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let longest = self.base.saturating_mul(factor).min(self.cap);
        Duration::from_nanos(random.u64(0..=u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("max_attempts", &self.max_attempts)
            .field("base_delay", &self.base)
            .field("max_delay", &self.cap)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// A hook that is called on retries, for example to count them.
pub trait MetricsHook: Send + Sync {
    /// Called before a command waits and is tried again.
    fn on_retry_attempt(&self, context: &RetryContext);
}

impl<H: MetricsHook + ?Sized> MetricsHook for Arc<H> {
    fn on_retry_attempt(&self, context: &RetryContext) {
        (**self).on_retry_attempt(context);
    }
}

/// One retry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryContext {
    /// The number of attempts that have failed so far, from 1.
    pub failed_attempts: u32,
    /// The time that the command waits before the next attempt.
    pub delay: Duration,
    /// The reason for the retry.
    pub reason: RetryReason,
}

/// A reason to retry a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryReason {
    /// Another writer appended to one of the command's streams.
    Conflict(VersionConflict),
    /// The store was busy or unreachable.
    Unavailable,
    /// The outcome of the commit is unknown; the same commit is sent again.
    OutcomeUnknown,
}
