//! [`execute`], which performs the effects of a pipeline.
//!
//! It does I/O only through the store and the sleep that it is given.

use std::{
    any::type_name,
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::Instant,
};

use tokio::time::{Sleep, sleep};
use tracing::{Instrument, Span};

use super::{
    CommandError, ExecuteOptions, ExecutionResponse, RetryReason, metrics,
    pipeline::{ExecutePipeline, Step},
};
use crate::{
    command::CommandLogic,
    event::CommitId,
    store::{EventStore, ReadStreamsRequest, Turn},
};

/// Runs a command to completion: reads its streams, folds them, lets it decide, and commits its
/// events, all or none.
///
/// On a conflict with another writer it retries, as `options` allow (a [`RetryPolicy`](crate::RetryPolicy) converts
/// into [`ExecuteOptions`]). It requires a tokio runtime with the timer enabled. Dropping the
/// future leaves the whole commit or nothing.
///
/// Its `tracing` spans are `command` (`name`) and within it, for each attempt, `attempt` (`number`, `streams`), at the
/// level `DEBUG`.
///
/// # Errors
/// Returns [`CommandError`]; the command's own errors keep their type.
///
/// ```
/// # #[cfg(feature = "macros")] {
/// use eventcore::{Command, CommandLogic, Event, RetryPolicy, StreamKey, execute, memory::MemoryEventStore};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// enum CounterEvent { Counted }
///
/// #[derive(StreamKey)]
/// #[stream_key(category = "counter", event = CounterEvent)]
/// struct CounterId(u32);
///
/// #[derive(Command)]
/// struct Count { #[stream] counter: CounterId }
///
/// impl CommandLogic for Count {
///     type State = u64;
///     type Error = std::convert::Infallible;
///
///     fn apply(&self, counted: &mut u64, CountEvent::Counter(CounterEvent::Counted): CountEvent<'_>) {
///         *counted += 1;
///     }
///
///     fn handle(&self, _: &u64, streams: CountStreams<'_>) -> Result<(), Self::Error> {
///         streams.counter.append(CounterEvent::Counted);
///         Ok(())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let store = MemoryEventStore::new();
/// let done = execute(&store, Count { counter: CounterId(7) }, RetryPolicy::new()).await?;
/// assert_eq!((done.position().get(), done.attempts()), (1, 1));
/// # Ok::<(), eventcore::CommandError<std::convert::Infallible>>(())
/// # }).unwrap();
/// # }
/// ```
pub async fn execute<C, S>(
    store: &S,
    command: C,
    options: impl Into<ExecuteOptions>,
) -> Result<ExecutionResponse, CommandError<C::Error>>
where
    C: CommandLogic,
    S: EventStore + ?Sized,
{
    let span = tracing::debug_span!("command", name = type_name::<C>());
    run(store, command, options.into()).instrument(span).await
}

async fn run<C, S>(
    store: &S,
    command: C,
    options: ExecuteOptions,
) -> Result<ExecutionResponse, CommandError<C::Error>>
where
    C: CommandLogic,
    S: EventStore + ?Sized,
{
    let started = Instant::now();
    let deadline = options.retry.deadline;
    // One timer for all calls, which is registered only when a call first has to wait.
    let mut time_is_up = pin!(sleep(deadline));
    let mut turn = Turn::new(store.queues());
    let mut span = Span::none();
    let mut step = ExecutePipeline::new(command, options, CommitId::generate()).start();
    loop {
        step = match step {
            Step::ReadStreams(read) => {
                let streams = read.request().streams.iter().map(|cursor| &cursor.stream);
                // Without the lock the command continues anyway, and the pipeline checks the
                // deadline.
                let _ = within(time_is_up.as_mut(), turn.join(streams)).await;
                let read = match store.states() {
                    Some(states) => read.share(states),
                    None => read,
                };
                if read.request().snapshot.is_none() {
                    let streams = Streams(read.request());
                    span = tracing::debug_span!("attempt", number = read.attempt(), %streams);
                }
                let page = store.read_streams(read.request().clone());
                let page = page.instrument(span.clone());
                let page = within(time_is_up.as_mut(), page).await;
                span.in_scope(|| match page {
                    Some(page) => read.resume(page, started.elapsed()),
                    None => read.time_out(),
                })
            }
            Step::Append(append) => {
                if started.elapsed() >= deadline {
                    append.cancel()
                } else {
                    let appended = store.append(append.request().clone());
                    let appended = appended.instrument(span.clone());
                    let appended = within(time_is_up.as_mut(), appended).await;
                    span.in_scope(|| match appended {
                        Some(appended) => append.resume(appended, started.elapsed()),
                        None => append.time_out(),
                    })
                }
            }
            Step::Sleep(sleep) => {
                sleep.report();
                metrics::retries(type_name::<C>(), &sleep.context().reason);
                match &sleep.context().reason {
                    // Commands that conflict within this process wait for the stream's lock instead
                    // of backing off.
                    RetryReason::Conflict(conflict) if turn.lacks(&conflict.stream) => {
                        let place = turn.add(conflict.stream.clone());
                        let _ = within(time_is_up.as_mut(), place).await;
                        sleep.resume_at_once()
                    }
                    _ => {
                        tokio::time::sleep(sleep.duration()).await;
                        sleep.resume()
                    }
                }
            }
            Step::Done { result, snapshots } => {
                if !snapshots.is_empty() {
                    store.keep_snapshots(snapshots);
                }
                metrics::ended(type_name::<C>(), started, &result);
                return result;
            }
        }
    }
}

/// Returns the result of `work`, or `None` if the deadline passes first.
async fn within<T>(mut time_is_up: Pin<&mut Sleep>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => time_is_up.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// The streams of a read, formatted for its span.
struct Streams<'a>(&'a ReadStreamsRequest);

impl fmt::Display for Streams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, cursor) in self.0.streams.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{}", cursor.stream)?;
        }
        Ok(())
    }
}
