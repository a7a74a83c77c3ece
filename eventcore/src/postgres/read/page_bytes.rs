//! The size limit of a page in bytes: it shrinks after a page that did not arrive in time, because
//! the network may be slow.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use tokio_postgres::Row;

use crate::postgres::{connection::pool::Pool, error::Failure};
use crate::store::MAX_PAGE_BYTES;

/// The lowest limit: a network that cannot transfer this many bytes in time is unusable.
const LEAST: usize = 64 * 1024;

/// The size limit for pages of one kind.
pub(crate) struct PageBytes(AtomicUsize);

/// A page that was requested.
pub(crate) struct PageParams<'a> {
    bound: &'a PageBytes,
    bytes: usize,
    at: Instant,
}

impl Default for PageBytes {
    fn default() -> Self {
        Self(AtomicUsize::new(MAX_PAGE_BYTES))
    }
}

impl PageBytes {
    pub(crate) fn ask(&self) -> PageParams<'_> {
        PageParams {
            bound: self,
            bytes: self.0.load(Ordering::Relaxed),
            at: Instant::now(),
        }
    }
}

impl PageParams<'_> {
    /// Returns the maximum size of the page in bytes.
    pub(crate) fn bytes(&self) -> i64 {
        i64::try_from(self.bytes).unwrap_or(i64::MAX)
    }

    /// Makes later pages smaller if this one did not arrive in time.
    pub(crate) fn note(&self, answer: &Result<Vec<Row>, Failure>) {
        if matches!(answer, Err(Failure::NoAnswer(_))) {
            self.set((self.bytes / 8).max(LEAST));
        }
    }

    /// Makes later pages larger if this one, which ended early because of its size, took only a
    /// small part of the timeout.
    pub(crate) fn was_cut(&self, pool: &Pool) {
        if self.bytes < MAX_PAGE_BYTES && self.is_fast(pool.request_timeout()) {
            self.set(self.bytes.saturating_mul(2).min(MAX_PAGE_BYTES));
        }
    }

    fn is_fast(&self, timeout: Duration) -> bool {
        self.at.elapsed() < timeout / 4
    }

    /// Changes the limit. Of several pages in flight at once, only the first takes effect.
    fn set(&self, bytes: usize) {
        let (order, bound) = (Ordering::Relaxed, &self.bound.0);
        let _ = bound.compare_exchange(self.bytes, bytes, order, order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time_out(bound: &PageBytes) {
        let failure = Failure::NoAnswer(Duration::from_secs(1));
        bound.ask().note(&Err(failure));
    }

    #[test]
    fn pages_shrink_with_each_timeout_and_not_below_the_least() {
        let bound = PageBytes::default();
        for bytes in [
            MAX_PAGE_BYTES,
            MAX_PAGE_BYTES / 8,
            MAX_PAGE_BYTES / 64,
            LEAST,
            LEAST,
        ] {
            assert_eq!(bound.ask().bytes, bytes);
            time_out(&bound);
        }
        let other = bound.ask();
        other.note(&Err(Failure::Closed));
        other.note(&Ok(Vec::new()));
        assert_eq!(bound.ask().bytes, LEAST);
    }

    #[test]
    fn timeouts_of_pages_that_were_under_way_at_once_count_once() {
        let bound = PageBytes::default();
        let asked = [bound.ask(), bound.ask(), bound.ask()];
        for asked in &asked {
            asked.note(&Err(Failure::NoAnswer(Duration::ZERO)));
        }
        assert_eq!(bound.ask().bytes, MAX_PAGE_BYTES / 8);
    }
}
