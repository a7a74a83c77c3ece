//! Drives the pure pipeline over an in-memory store whose futures are always ready, so no runtime
//! or timer is needed.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{
    diff,
    logic::{Case, Own},
};
use crate::{
    CommandError, CommandLogic, CommitId, EventStore, EventStoreError, ExecuteOptions,
    ExecutionResponse, LoadError, Loaded, StreamId, StreamKey, Version,
    execute::{AppendStep, ExecutePipeline, Step},
    load,
    memory::MemoryEventStore,
    store::{
        AppendRequest, CommitReceipt, MAX_PAGE_EVENTS, ReadStreamsRequest, StateCache, StoreFuture,
        StreamCursor, StreamEvent, StreamHead, StreamPage,
    },
};

/// The result of a command.
pub(super) struct Decided<E> {
    pub(super) result: Result<ExecutionResponse, CommandError<E>>,
    /// The commit that the command made, if any.
    pub(super) commit: Option<AppendRequest>,
}

/// Returns the result of a future that is ready immediately.
fn ready<T>(future: StoreFuture<'_, T>) -> Result<T, EventStoreError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("the store in memory answers at once"),
    }
}

/// Returns the state of a stream, folded from all of its events.
pub(super) fn state_of<K: StreamKey>(
    store: &MemoryEventStore,
    key: &K,
) -> Result<Loaded<K::State>, LoadError> {
    match pin!(load(store, key)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("the store in memory answers at once"),
    }
}

pub(super) fn append(
    store: &MemoryEventStore,
    request: AppendRequest,
) -> Result<CommitReceipt, EventStoreError> {
    ready(store.append(request))
}

/// A command before its commit.
enum Before<C: CommandLogic> {
    Append(AppendStep<C>),
    Done(Result<ExecutionResponse, CommandError<C::Error>>),
}

/// Runs a command up to its commit, starting from the cached states in `states` if there are any.
/// The store has no other users, so there are no conflicts and nothing to wait for.
fn decide<C: CommandLogic>(
    store: &MemoryEventStore,
    command: C,
    options: ExecuteOptions,
    id: CommitId,
    states: Option<&StateCache>,
) -> Before<C> {
    let mut step = ExecutePipeline::new(command, options, id).start();
    loop {
        step = match step {
            Step::ReadStreams(read) => {
                let read = match states {
                    Some(states) => read.share(states),
                    None => read,
                };
                let page = ready(store.read_streams(read.request().clone()));
                read.resume(page, Duration::ZERO)
            }
            Step::Append(append) => return Before::Append(append),
            Step::Sleep(sleep) => sleep.resume(),
            Step::Done { result, .. } => return Before::Done(result),
        }
    }
}

fn commit<C: CommandLogic>(store: &MemoryEventStore, before: Before<C>) -> Decided<C::Error> {
    let append = match before {
        Before::Append(append) => append,
        Before::Done(result) => {
            return Decided {
                result,
                commit: None,
            };
        }
    };
    let request = append.request().clone();
    let appended = ready(store.append(request.clone()));
    match append.resume(appended, Duration::ZERO) {
        Step::Done { result, .. } => Decided {
            result,
            commit: Some(request),
        },
        _ => unreachable!("nobody else writes to this store"),
    }
}

/// Runs a command to completion.
pub(super) fn run<C: CommandLogic>(
    store: &MemoryEventStore,
    command: C,
    options: ExecuteOptions,
    id: CommitId,
) -> Result<ExecutionResponse, CommandError<C::Error>> {
    commit(store, decide(store, command, options, id, None)).result
}

/// Runs the decision of a command twice on the same history, each time on states that are folded
/// from the start, and once more on the states that earlier commands left in the cache. Panics if
/// the decisions differ; otherwise commits the decision.
#[track_caller]
pub(super) fn twice<C: CommandLogic>(
    store: &MemoryEventStore,
    command: &C,
    options: &ExecuteOptions,
    id: CommitId,
) -> Decided<C::Error> {
    let case = || Case {
        command,
        logic: &Own,
    };
    let first = decide(store, case(), options.clone(), id, None);
    let second = decide(store, case(), options.clone(), id, None);
    let (one, other) = (decision(&first), decision(&second));
    assert!(
        one == other,
        "`handle` is not pure (or the `apply` of a state is not): from the same events it decided first\n{one}and then\n{other}\
         It must not read a clock, a random number or the order of a hash map; make it a field of the command"
    );
    let cached = decide(store, case(), options.clone(), id, store.states());
    let other = decision(&cached);
    assert!(
        one == other,
        "the `apply` of a state is not pure: from all events at once the command decided\n{one}and from a state that was \
         folded bit by bit\n{other}\
         It must not read a clock, a random number or the order of a hash map"
    );
    commit(store, first)
}

/// Describes a decision.
fn decision<C: CommandLogic>(before: &Before<C>) -> String {
    match before {
        Before::Done(Ok(_)) => "    nothing, it was executed before\n".to_owned(),
        Before::Done(Err(_)) => "    to refuse\n".to_owned(),
        Before::Append(append) if append.request().events().is_empty() => {
            "    to append nothing\n".to_owned()
        }
        Before::Append(append) => diff::stored(
            written(append.request())
                .map(|(stream, event)| (stream, event.type_name, &event.payload)),
        ),
    }
}

/// Returns the events of a commit, each with its stream.
pub(super) fn written(
    request: &AppendRequest,
) -> impl Iterator<Item = (&StreamId, &crate::store::NewEvent)> {
    request.events().iter().filter_map(|event| {
        let stream = request.expected().get(event.stream)?;
        Some((&stream.stream, event))
    })
}

pub(super) fn head_of(store: &MemoryEventStore, stream: &StreamId) -> StreamHead {
    let end = Version::new(u64::MAX);
    let page = page(store, stream, end);
    let head = page.streams.first().map(|extent| extent.head);
    head.unwrap_or(StreamHead::EMPTY)
}

/// Returns all events of a stream.
pub(super) fn events_of(store: &MemoryEventStore, stream: &StreamId) -> Vec<StreamEvent> {
    let mut events: Vec<StreamEvent> = Vec::new();
    loop {
        let after = events.last().map_or(Version::EMPTY, |last| last.version);
        let page = page(store, stream, after);
        if page.events.is_empty() {
            return events;
        }
        events.extend(page.events);
    }
}

fn page(store: &MemoryEventStore, stream: &StreamId, after: Version) -> StreamPage {
    let request = ReadStreamsRequest {
        streams: vec![StreamCursor::new(stream.clone(), after)],
        snapshot: None,
        limit: MAX_PAGE_EVENTS,
        idempotency_key: None,
    };
    match ready(store.read_streams(request)) {
        Ok(page) => page,
        Err(error) => unreachable!("the store in memory failed: {error}"),
    }
}
