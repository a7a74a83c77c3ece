//! The pages of a feed, one after another, then as they come; the next one is fetched while the last one is used.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use super::SubscriptionError;
use crate::{
    EventFilter, EventStore, EventStoreError, Position, RecordedEvent,
    store::{FeedPage, MAX_PAGE_EVENTS, ReadFeed},
};

/// The time between polls of a reader at the end, with or without notifications.
const POLL: Duration = Duration::from_secs(1);
/// The pause of a reader after a failed request.
const PAUSE: Duration = Duration::from_millis(100);

type Fetch<'a> = Pin<Box<dyn Future<Output = Result<FeedPage, EventStoreError>> + Send + 'a>>;

/// Holds one page at most that nobody has asked for yet.
pub(super) struct Pages<'a> {
    /// Begins to fetch the events after a position, some time later after a failure.
    begin: Box<dyn Fn(Position, Option<Duration>) -> Fetch<'a> + Send + 'a>,
    is_dense: bool,
    after: Position,
    has_more: bool,
    fetch: Option<Fetch<'a>>,
    pause: Option<Duration>,
}

impl<'a> Pages<'a> {
    pub(super) fn new<S: EventStore + Clone + 'a>(
        store: S,
        after: Position,
        filter: EventFilter,
    ) -> Self {
        let is_dense = filter == EventFilter::All;
        let begin = move |after, pause| -> Fetch<'a> {
            let filter = filter.clone();
            let request = ReadFeed {
                after,
                filter,
                limit: MAX_PAGE_EVENTS,
            };
            Box::pin(fetch(store.clone(), request, pause))
        };
        Self {
            begin: Box::new(begin),
            is_dense,
            after,
            has_more: false,
            fetch: None,
            pause: None,
        }
    }

    /// The next page with something new in it, even if that is only how far it looked.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<FeedPage, SubscriptionError>> {
        let pause = self.pause.take();
        let mut fetch = match self.fetch.take() {
            Some(fetch) => fetch,
            None => (self.begin)(self.after, pause),
        };
        let Poll::Ready(result) = fetch.as_mut().poll(context) else {
            self.fetch = Some(fetch);
            return Poll::Pending;
        };
        let checked = result
            .map_err(SubscriptionError::from)
            .and_then(|page| check(self.is_dense, self.after, &page).map(|()| page));
        match &checked {
            Ok(page) => {
                self.after = page.up_to;
                self.has_more = page.up_to < page.head;
                // Polled once, so that the store sets to work.
                let mut next = (self.begin)(self.after, None);
                self.fetch = match next.as_mut().poll(context) {
                    Poll::Pending => Some(next),
                    Poll::Ready(result) => Some(Box::pin(std::future::ready(result))),
                };
            }
            Err(_) => self.pause = Some(PAUSE),
        }
        Poll::Ready(checked)
    }

    /// Returns `true` if the last page ended before the store's latest event.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    pub(super) async fn next(&mut self) -> Result<FeedPage, SubscriptionError> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }
}

async fn fetch<S: EventStore>(
    store: S,
    request: ReadFeed,
    pause: Option<Duration>,
) -> Result<FeedPage, EventStoreError> {
    let after = request.after;
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
    }
    loop {
        let page = store.read_feed(request.clone()).await?;
        if page.up_to != after || !page.events.is_empty() {
            return Ok(page);
        }
        // A hint may come too late, or never.
        if let Ok(waited) = tokio::time::timeout(POLL, store.wait(after)).await {
            waited?;
        }
    }
}

/// Checks that a page continues where the last one ended: without a gap, if every event is selected, and always forward.
fn check(is_dense: bool, after: Position, page: &FeedPage) -> Result<(), SubscriptionError> {
    if page.up_to < after {
        return Err(SubscriptionError::LogTooShort {
            seen: after,
            head: page.up_to,
        });
    }
    let mut last = after;
    for RecordedEvent { position, .. } in &page.events {
        if *position <= last || is_dense && *position != last.plus(1) {
            let expected = last.plus(1);
            return Err(SubscriptionError::Gap {
                expected,
                found: *position,
            });
        }
        last = *position;
    }
    if page.up_to < last || is_dense && page.up_to != last {
        return Err(SubscriptionError::Gap {
            expected: last.plus(1),
            found: page.up_to,
        });
    }
    Ok(())
}

/// The position of a store's latest event.
pub(super) async fn head(store: &impl EventStore) -> Result<Position, EventStoreError> {
    let request = ReadFeed {
        after: Position::new(u64::MAX),
        filter: EventFilter::All,
        limit: 1,
    };
    Ok(store.read_feed(request).await?.up_to)
}
