//! A live feed as a stream of events: [`subscribe`].

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};

use futures_core::Stream;

use super::pages::Pages;
use crate::{EventFilter, EventStore, EventStoreError, Position, RecordedEvent};

/// Returns a stream of a store's events after a position, in commit order: first the existing
/// events, page by page, then new events from any process as they are committed. No event is
/// omitted or duplicated.
///
/// `store` is a reference, an `Arc`, or another handle that is cheap to clone. `from` is the
/// position of the last event that was already processed ([`Position::START`] for none). Store
/// [`Subscription::position`] to resume later.
///
/// ```
/// use eventcore::{EventFilter, Position, memory::MemoryEventStore, projection::subscribe};
/// use futures_util::StreamExt;
///
/// # async fn f(store: MemoryEventStore) -> Result<(), Box<dyn std::error::Error>> {
/// let mut events = subscribe(&store, Position::START, EventFilter::All);
/// if let Some(event) = events.next().await {
///     println!("{} {}", event?.position, events.position());
/// }
/// # Ok(()) }
/// ```
///
/// A slow consumer does not affect others; at most one page is prefetched. Poll the stream on a
/// tokio runtime with a timer.
pub fn subscribe<'a, S>(store: S, from: Position, filter: EventFilter) -> Subscription<'a>
where
    S: EventStore + Clone + 'a,
{
    Subscription {
        pages: Some(Pages::new(store, from, filter)),
        events: Vec::new().into_iter(),
        position: from,
        up_to: from,
    }
}

/// A [`Stream`] of the events of a store, made by [`subscribe`].
///
/// The stream ends when the store is closed. After a transient error, such as an unreachable store,
/// polling it again continues from the same position; after any other error it ends.
#[must_use = "a subscription reads nothing until it is polled"]
pub struct Subscription<'a> {
    /// `None` after the stream has ended.
    pages: Option<Pages<'a>>,
    events: vec::IntoIter<RecordedEvent>,
    position: Position,
    /// The end of the page that is being returned.
    up_to: Position,
}

impl Subscription<'_> {
    /// Returns the position from which to resume: every selected event up to it has been returned.
    /// On a filtered feed it also advances past events that are not selected.
    pub fn position(&self) -> Position {
        self.position
    }
}

impl Stream for Subscription<'_> {
    type Item = Result<RecordedEvent, SubscriptionError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.events.next() {
                this.position = event.position;
                return Poll::Ready(Some(Ok(event)));
            }
            this.position = this.up_to;
            let Some(pages) = &mut this.pages else {
                return Poll::Ready(None);
            };
            match ready!(pages.poll_next(context)) {
                Ok(page) => {
                    this.up_to = page.scanned_to;
                    this.events = page.events.into_iter();
                }
                Err(SubscriptionError::Store(EventStoreError::Closed)) => this.pages = None,
                Err(error) => {
                    if !error.is_transient() {
                        this.pages = None;
                    }
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl fmt::Debug for Subscription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// The error of a subscription.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] EventStoreError),
    /// An event is missing or out of order. Positions are dense, so the store lost or hid an event.
    #[error(
        "the event at position {expected} was expected next, but the store returned {found}: it lost an event, or \
         returned it too late; find the cause before you continue from here"
    )]
    Gap {
        /// The expected position.
        expected: Position,
        /// The position that the store returned instead.
        found: Position,
    },
    /// The store's log ends before a position that was already read.
    #[error(
        "the store's latest event is at position {head}, but the event at {seen} was already read: this is another \
         store, or one that was restored from an older backup; rebuild what was derived from the lost events"
    )]
    LogTooShort {
        /// The position that was already read.
        seen: Position,
        /// The position of the store's latest event.
        head: Position,
    },
}

impl SubscriptionError {
    /// Returns `true` if the operation may succeed when retried.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }
}
