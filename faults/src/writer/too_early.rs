//! A control: a store that acknowledges a commit before it is durable. The check must find lost commits.

use std::sync::Arc;

use eventcore::{
    EventStore, Position,
    store::{
        AppendRequest, CommitReceipt, FeedPage, ReadFeedRequest, ReadStreamsRequest, StoreFuture,
        StreamPage,
    },
};

pub(crate) struct TooEarly(pub(crate) Arc<dyn EventStore>);

impl EventStore for TooEarly {
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        self.0.read_streams(request)
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        let events = request.events().len();
        let store = self.0.clone();
        Box::pin(async move {
            tokio::spawn(async move { store.append(request).await });
            Ok(CommitReceipt {
                position: Position::START,
                events,
                repeated: false,
            })
        })
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        self.0.read_feed(request)
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        self.0.wait_for_event(after)
    }
}
