//! The contract of event stores, [`EventStore`], and the store in memory.
//!
//! A store handles encoded events and knows nothing about commands. The contract is small, the same
//! for all event types, and usable behind `Arc<dyn EventStore>`; `eventcore::testing` contains the
//! suite that every store passes.

mod append;
mod error;
mod filter;
mod fingerprint;
pub(crate) mod head;
pub mod memory;
mod queue;
mod read;
mod snapshot;
mod state_cache;

use std::{future::Future, pin::Pin, sync::Arc};

use crate::Position;

pub use append::{
    AppendError, AppendRequest, CommitReceipt, ExpectedVersion, IdempotencyKey,
    IdempotencyKeyError, MAX_COMMIT_BYTES, MAX_COMMIT_EVENTS, MAX_COMMIT_STREAMS, NewEvent,
};
pub use error::{EventStoreError, VersionConflict};
pub use filter::{EventFilter, EventSelector};
pub use fingerprint::{Fingerprint, FingerprintError, KeyReused};
pub use queue::StreamQueues;
pub(crate) use queue::Turn;
pub(crate) use read::Room;
pub use read::{
    FeedPage, MAX_PAGE_BYTES, MAX_PAGE_EVENTS, ReadFeedRequest, ReadStreamsRequest, StreamCursor,
    StreamEvent, StreamExtent, StreamHead, StreamPage,
};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use snapshot::{EncodedSnapshot, encode_apart};
pub use snapshot::{MAX_SNAPSHOT_BYTES, NewSnapshot, Snapshot, SnapshotKind};
pub(crate) use state_cache::{AnyState, Content, Entry};
pub use state_cache::{StateCache, StateCacheCounts};

/// The future of a store call, boxed so that the trait can be used as `dyn EventStore`.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, EventStoreError>> + Send + 'a>>;

/// A store that keeps events atomically and in order.
///
/// Every store guarantees: a commit is **atomic**, and durable once acknowledged; it is
/// **conditional** on the version and the last event of every stream that it names, written or not;
/// positions are **dense, 1 to n, in commit order**, and a reader that has seen position p never
/// later encounters a new event at or before p; dropping a future leaves **the whole commit or
/// nothing**. Run the contract suite in `eventcore::testing` against your own store; the guide's
/// chapter on testing contains a complete store to start from.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event store",
    label = "commands cannot run on this",
    note = "pass a reference to a store, such as `&MemoryEventStore::new()`, `&SqliteEventStore` or `&Arc<dyn EventStore>`"
)]
pub trait EventStore: Send + Sync {
    /// Reads a page of the events of several streams, in global commit order, from one snapshot.
    ///
    /// See [`ReadStreamsRequest`] for how to request further pages.
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage>;

    /// Commits events to their streams, all or none, if every stream still has its expected version
    /// and last event.
    ///
    /// An append that conflicts with itself, because the commit was already made, succeeds: the
    /// store recognizes the events by their commit id, so repeating an append whose outcome is
    /// unknown is safe. A commit whose idempotency key was used by an earlier commit writes nothing
    /// and returns the first result, marked as repeated.
    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt>;

    /// Reads a page of the events of all streams after a position, in commit order, filtered, with
    /// complete envelopes.
    ///
    /// The cost grows with the number of events that match, not with the number of those that do
    /// not.
    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage>;

    /// Waits until there is an event after a position, so that a reader at the end of its feed need
    /// not poll.
    ///
    /// The future resolves at once if there is such an event, and soon after one is committed, by
    /// any process. It may also resolve without one. Drop it to stop waiting.
    ///
    /// # Errors
    /// Returns [`EventStoreError::Closed`] if the store is closed, or the error that prevents it
    /// from being queried.
    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()>;

    /// Returns the locks of the streams that commands of this process contend for. A store that
    /// keeps a [`StreamQueues`] and returns it saves contending commands from repeated conflicts;
    /// no result depends on it.
    fn queues(&self) -> Option<&StreamQueues> {
        None
    }

    /// Returns the states of streams that commands and loads have folded from this store in this
    /// process. A store that keeps a [`StateCache`] and returns it saves them from reading their
    /// streams from the start; no result depends on it.
    fn states(&self) -> Option<&StateCache> {
        None
    }

    /// Stores snapshots, replacing older ones of the same streams and kinds, and returns without
    /// waiting. A snapshot that cannot be stored is dropped, with a warning in the log.
    ///
    /// A store that keeps snapshots returns them in
    /// [`StreamExtent::snapshot`](StreamExtent::snapshot) to readers that
    /// [ask for them](StreamCursor::snapshot). By default none is kept; no result depends on it.
    fn keep_snapshots(&self, _snapshots: Vec<NewSnapshot>) {}

    /// Removes all snapshots. They are taken again as streams are read.
    fn clear_snapshots(&self) -> StoreFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: EventStore + ?Sized> EventStore for $pointer {
            fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
                (**self).read_streams(request)
            }

            fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
                (**self).append(request)
            }

            fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
                (**self).read_feed(request)
            }

            fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
                (**self).wait_for_event(after)
            }

            fn queues(&self) -> Option<&StreamQueues> {
                (**self).queues()
            }

            fn states(&self) -> Option<&StateCache> {
                (**self).states()
            }

            fn keep_snapshots(&self, snapshots: Vec<NewSnapshot>) {
                (**self).keep_snapshots(snapshots);
            }

            fn clear_snapshots(&self) -> StoreFuture<'_, ()> {
                (**self).clear_snapshots()
            }
        }
    )*};
}

forward!(&S, Arc<S>, Box<S>);
