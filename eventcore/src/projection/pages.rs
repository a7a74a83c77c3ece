//! Reads the pages of a feed and follows it at the end; fetches the next page while the current one
//! is processed.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use super::SubscriptionError;
use crate::{
    EventFilter, EventStore, EventStoreError, Position, RecordedEvent,
    store::{FeedPage, MAX_PAGE_EVENTS, ReadFeedRequest},
};

/// The time between polls at the end of the feed, with or without notifications.
const POLL: Duration = Duration::from_secs(1);
/// The pause after a failed request.
const PAUSE: Duration = Duration::from_millis(100);

type Fetch<'a> = Pin<Box<dyn Future<Output = Result<FeedPage, EventStoreError>> + Send + 'a>>;

/// A reader of the pages of a feed that prefetches at most one page.
pub(super) struct Pages<'a> {
    /// Starts to fetch the events after a position, following a pause if there was a failure.
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
            let request = ReadFeedRequest {
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

    /// Polls for the next page that has events or moves the position forward.
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
                self.after = page.scanned_to;
                self.has_more = page.scanned_to < page.head;
                // Polled once, so that the request starts.
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
    request: ReadFeedRequest,
    pause: Option<Duration>,
) -> Result<FeedPage, EventStoreError> {
    let after = request.after;
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
    }
    loop {
        let page = store.read_feed(request.clone()).await?;
        if page.scanned_to != after || !page.events.is_empty() {
            return Ok(page);
        }
        // A notification may be late or missing.
        if let Ok(waited) = tokio::time::timeout(POLL, store.wait_for_event(after)).await {
            waited?;
        }
    }
}

/// Checks that a page continues where the last one ended: always forward and, if the feed selects
/// all events, without gaps.
fn check(is_dense: bool, after: Position, page: &FeedPage) -> Result<(), SubscriptionError> {
    if page.scanned_to < after {
        return Err(SubscriptionError::LogTooShort {
            seen: after,
            head: page.scanned_to,
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
    if page.scanned_to < last || is_dense && page.scanned_to != last {
        return Err(SubscriptionError::Gap {
            expected: last.plus(1),
            found: page.scanned_to,
        });
    }
    Ok(())
}

/// Returns the position of a store's latest event.
pub(super) async fn head(store: &impl EventStore) -> Result<Position, EventStoreError> {
    let request = ReadFeedRequest {
        after: Position::new(u64::MAX),
        filter: EventFilter::All,
        limit: 1,
    };
    Ok(store.read_feed(request).await?.scanned_to)
}
