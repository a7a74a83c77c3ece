//! The control: a store that acknowledges a commit before it is durable. The checker must find it out.

use std::sync::Arc;

use eventcore::{
    EventStore, Position,
    store::{AppendEvents, Appended, FeedPage, ReadFeed, ReadStreams, StoreFuture, StreamsPage},
};

pub(crate) struct TooEarly(pub(crate) Arc<dyn EventStore>);

impl EventStore for TooEarly {
    fn read_streams(&self, request: ReadStreams) -> StoreFuture<'_, StreamsPage> {
        self.0.read_streams(request)
    }

    fn append(&self, request: AppendEvents) -> StoreFuture<'_, Appended> {
        let events = request.events().len();
        let store = self.0.clone();
        Box::pin(async move {
            tokio::spawn(async move { store.append(request).await });
            Ok(Appended {
                position: Position::START,
                events,
                repeated: false,
            })
        })
    }

    fn read_feed(&self, request: ReadFeed) -> StoreFuture<'_, FeedPage> {
        self.0.read_feed(request)
    }

    fn wait(&self, after: Position) -> StoreFuture<'_, ()> {
        self.0.wait(after)
    }
}
