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

/// Follows a store's events from a position on, in commit order: first those that are there, page by page, then each as
/// it is committed, by whatever process. No event is left out or given twice.
///
/// `store` is a reference, an `Arc`, or another cheap handle; it is cloned. `from` is the position of the last event that
/// is known already ([`Position::START`] for none); a reader that keeps it resumes there.
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
/// A consumer that is slow holds back nobody but itself: at most one further page is fetched ahead of it. It runs on a
/// tokio runtime with its timer.
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
/// It ends when the store is closed. After an error that may pass (a store that cannot be reached) it goes on where it
/// was, as long as it is polled; after any other it ends. Dropping it ends it at once.
#[must_use = "a subscription reads nothing until it is polled"]
pub struct Subscription<'a> {
    /// `None` when it has ended.
    pages: Option<Pages<'a>>,
    events: vec::IntoIter<RecordedEvent>,
    position: Position,
    /// The end of the page that is being returned.
    up_to: Position,
}

impl Subscription<'_> {
    /// Every wanted event at or before this position was given: where to resume. On a filtered feed it moves on over
    /// events that are not wanted.
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
                    this.up_to = page.up_to;
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
    /// An event is missing, or came out of order. Positions are dense, so this is a store that lost or hid an event.
    #[error(
        "the event at position {expected} was to come next, and the store gave {found}: it lost an event, or gave it too \
         late; do not go on from here before that is understood"
    )]
    Gap {
        /// The position that comes next.
        expected: Position,
        /// The position that the store returned instead.
        found: Position,
    },
    /// The store's log ends before a position that was seen already.
    #[error(
        "the store's latest event is at position {head}, but the one at {seen} was seen already: this is another store, or \
         one restored from an older backup; rebuild what was made of the lost events"
    )]
    LogTooShort {
        /// The position that was seen already.
        seen: Position,
        /// The position of the last event.
        head: Position,
    },
}

impl SubscriptionError {
    /// Returns `true` if the same may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }
}
