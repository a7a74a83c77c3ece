//! The shutdown signal of a projection.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::Poll,
};

/// A latched shutdown signal.
pub(super) struct Shutdown<'a, F> {
    future: Pin<&'a mut F>,
    requested: bool,
}

impl<'a, F: Future<Output = ()>> Shutdown<'a, F> {
    pub(super) fn new(future: Pin<&'a mut F>) -> Self {
        Self {
            future,
            requested: false,
        }
    }

    /// Returns `true` if a shutdown was requested, without waiting for one.
    pub(super) async fn is_requested(&mut self) -> bool {
        self.or(std::future::ready(())).await.is_none()
    }

    /// Runs `work` to completion, or returns `None` if a shutdown is requested first.
    pub(super) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        if self.requested {
            return None;
        }
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            if self.future.as_mut().poll(context).is_ready() {
                self.requested = true;
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }
}
