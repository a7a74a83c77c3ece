//! The contract of event stores, [`EventStore`], and the store in memory.
//!
//! A store deals in encoded events and knows no command. The contract is small, the same for all event types, and
//! usable behind `Arc<dyn EventStore>`; `eventcore::testing` holds the suite that every store passes.

mod append;
mod error;
mod filter;
mod fingerprint;
pub(crate) mod head;
pub mod memory;
mod queue;
mod read;
mod states;

use std::{future::Future, pin::Pin, sync::Arc};

use crate::Position;

pub use append::{
    AppendEvents, AppendRefused, Appended, ExpectedVersion, IdempotencyKey, IdempotencyKeyError,
    MAX_COMMIT_BYTES, MAX_COMMIT_EVENTS, MAX_COMMIT_STREAMS, NewEvent,
};
pub use error::{EventStoreError, VersionConflict};
pub use filter::{EventFilter, EventSelector};
pub use fingerprint::{Fingerprint, FingerprintError, KeyReused};
pub use queue::StreamQueues;
pub(crate) use queue::Turn;
pub(crate) use read::Room;
pub use read::{
    FeedPage, MAX_PAGE_BYTES, MAX_PAGE_EVENTS, ReadFeed, ReadStreams, StreamCursor, StreamEvent,
    StreamExtent, StreamHead, StreamsPage,
};
pub(crate) use states::AnyState;
pub use states::{StateCache, StateCacheCounts, StateKey};

/// A future of a store call, boxed so that the trait can be used as `dyn EventStore`.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, EventStoreError>> + Send + 'a>>;

/// Keeps events, atomically and in order.
///
/// Every store promises: a commit is **atomic** and durable once acknowledged; it is **conditional** on the version
/// and the last event of every stream that it names, written or not; positions are **dense, 1 to n, in commit order**, and a reader that has
/// seen position p never later meets an event at or before p; dropping a future leaves **the whole commit or nothing**.
/// Run `eventcore::testing`'s contract suite against a store of your own; the guide's chapter on testing has a
/// whole store to begin with.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event store",
    label = "commands cannot run on this",
    note = "pass a reference to a store, such as `&MemoryEventStore::new()`, `&SqliteEventStore` or `&Arc<dyn EventStore>`"
)]
pub trait EventStore: Send + Sync {
    /// Reads a page of the events of several streams, in global commit order, from one snapshot.
    ///
    /// See [`ReadStreams`] for how pages follow one another.
    fn read_streams(&self, request: ReadStreams) -> StoreFuture<'_, StreamsPage>;

    /// Commits events to their streams, all or none, if every stream still is as it is expected: at its version, with
    /// its event there.
    ///
    /// A conflict with this very commit, because it was already made, is success: the events are recognized by their
    /// commit id, so repeating an append whose outcome is unknown is safe. A commit whose idempotency key was used
    /// before, by another commit, writes nothing and returns the first result as a repeated one.
    fn append(&self, request: AppendEvents) -> StoreFuture<'_, Appended>;

    /// Reads a page of the events of all streams after a position, in commit order, filtered, with whole envelopes.
    ///
    /// What it costs grows with the events that match, not with those that do not.
    fn read_feed(&self, request: ReadFeed) -> StoreFuture<'_, FeedPage>;

    /// Waits until there is an event after a position: a hint, so that a reader at the end of its feed need not poll.
    ///
    /// It resolves at once if there is one already, and soon after one is committed, by whatever process. It may resolve
    /// without one. Dropping the future is all it takes to stop waiting.
    ///
    /// # Errors
    /// [`EventStoreError::Closed`] when the store is closed, or what keeps it from being asked.
    fn wait(&self, after: Position) -> StoreFuture<'_, ()>;

    /// The turns of the commands that contend for a stream of this store in this process. A store that keeps a
    /// [`StreamQueues`] and returns it saves contending commands from conflicting again and again; no verdict depends
    /// on it.
    fn queues(&self) -> Option<&StreamQueues> {
        None
    }

    /// The states that `#[command(cached)]` commands have folded from this store in this process. A store that keeps a
    /// [`StateCache`] and returns it saves them from reading their streams from the start; no verdict depends on it.
    fn states(&self) -> Option<&StateCache> {
        None
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: EventStore + ?Sized> EventStore for $pointer {
            fn read_streams(&self, request: ReadStreams) -> StoreFuture<'_, StreamsPage> {
                (**self).read_streams(request)
            }

            fn append(&self, request: AppendEvents) -> StoreFuture<'_, Appended> {
                (**self).append(request)
            }

            fn read_feed(&self, request: ReadFeed) -> StoreFuture<'_, FeedPage> {
                (**self).read_feed(request)
            }

            fn wait(&self, after: Position) -> StoreFuture<'_, ()> {
                (**self).wait(after)
            }

            fn queues(&self) -> Option<&StreamQueues> {
                (**self).queues()
            }

            fn states(&self) -> Option<&StateCache> {
                (**self).states()
            }
        }
    )*};
}

forward!(&S, Arc<S>, Box<S>);
