//! Another control: a store that does not know its own commits again. The checker must find them made twice.

use std::sync::Arc;

use eventcore::{
    CommitId, EventStore, Position,
    store::{AppendEvents, Appended, FeedPage, ReadFeed, ReadStreams, StoreFuture, StreamsPage},
};

pub(crate) struct Forgetful(pub(crate) Arc<dyn EventStore>);

impl EventStore for Forgetful {
    fn read_streams(&self, request: ReadStreams) -> StoreFuture<'_, StreamsPage> {
        self.0.read_streams(request)
    }

    fn append(&self, request: AppendEvents) -> StoreFuture<'_, Appended> {
        Box::pin(async move {
            let renamed = AppendEvents::new(
                CommitId::generate(),
                request.expected().to_vec(),
                request.events().to_vec(),
                request.metadata().clone(),
                request.idempotency_key().cloned(),
            );
            // Refused is only what would have been refused before.
            self.0.append(renamed.unwrap_or(request)).await
        })
    }

    fn read_feed(&self, request: ReadFeed) -> StoreFuture<'_, FeedPage> {
        self.0.read_feed(request)
    }

    fn wait(&self, after: Position) -> StoreFuture<'_, ()> {
        self.0.wait(after)
    }
}
