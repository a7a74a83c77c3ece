//! A control: a store that does not recognize its own commits. The check must find commits that were made twice.

use std::sync::Arc;

use eventcore::{
    CommitId, EventStore, Position,
    store::{
        AppendRequest, CommitReceipt, FeedPage, ReadFeedRequest, ReadStreamsRequest, StoreFuture,
        StreamPage,
    },
};

pub(crate) struct Forgetful(pub(crate) Arc<dyn EventStore>);

impl EventStore for Forgetful {
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        self.0.read_streams(request)
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        Box::pin(async move {
            let renamed = AppendRequest::new(
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

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        self.0.read_feed(request)
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        self.0.wait_for_event(after)
    }
}
