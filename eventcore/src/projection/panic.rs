//! Converts panics in user code to errors.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

/// A caught panic, with its message.
#[derive(Debug, thiserror::Error)]
#[error("it panicked: {0}")]
pub(super) struct Panic(pub(super) String);

impl Panic {
    fn new(payload: &(dyn Any + Send)) -> Self {
        let text = crate::panic::message(payload);
        Self(text.unwrap_or("without a message").to_owned())
    }
}

/// Runs `work`, and returns a panic in it as an error. Callers must drop any state that the panic
/// may have left inconsistent.
pub(super) async fn catch<T>(work: impl Future<Output = T>) -> Result<T, Panic> {
    let mut work = pin!(work);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(Panic::new(&*payload))),
        }
    })
    .await
}
