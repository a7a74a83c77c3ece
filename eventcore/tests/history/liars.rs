//! Stores that break one promise each, now and then: the controls of the checker.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use eventcore::{
    CommitId, EventStore, EventStoreError, Position,
    store::{
        AppendRequest, CommitReceipt, ExpectedVersion, FeedPage, NewEvent, ReadFeedRequest,
        ReadStreamsRequest, StoreFuture, StreamPage,
    },
};

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The versions of streams without events in the commit are not checked.
    ReadOnlyUnchecked,
    /// A read shows what was there a while ago.
    StaleReads,
    /// A commit is acknowledged and then lost, as in a crash before it was durable.
    EarlyAcknowledgement,
    /// A commit of several events is made in part.
    Torn,
    /// A commit is made again, under another id.
    Doubled,
    /// A commit is made, and its caller is told that it was not.
    Phantom,
    /// A read shows other events than were written.
    OtherEvents,
}

pub struct Liar<S> {
    inner: S,
    fault: Fault,
    calls: AtomicU64,
}

impl<S> Liar<S> {
    pub fn new(inner: S, fault: Fault) -> Self {
        let calls = AtomicU64::new(0);
        Self {
            inner,
            fault,
            calls,
        }
    }

    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Returns `true` for every 20th call, which goes wrong.
    fn strikes(&self, fault: Fault) -> bool {
        fault == self.fault && self.calls.fetch_add(1, Ordering::Relaxed) % 20 == 19
    }
}

/// A commit made anew from parts of another one.
fn commit(
    id: CommitId,
    of: &AppendRequest,
    expected: Vec<ExpectedVersion>,
    events: Vec<NewEvent>,
) -> AppendRequest {
    let key = of.idempotency_key().cloned();
    AppendRequest::new(id, expected, events, of.metadata().clone(), key).unwrap()
}

impl<S: EventStore> EventStore for Liar<S> {
    fn read_streams(&self, mut request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        Box::pin(async move {
            if self.strikes(Fault::StaleReads) && request.snapshot.is_none() {
                let head = self
                    .inner
                    .read_streams(request.clone())
                    .await?
                    .snapshot
                    .get();
                request.snapshot = Some(Position::new(head.saturating_sub(6)));
            }
            let mut page = self.inner.read_streams(request).await?;
            if self.strikes(Fault::OtherEvents)
                && let Some(event) = page.events.first_mut()
            {
                let text = str::from_utf8(&event.payload).unwrap();
                event.payload = Bytes::from(text.replacen("\"number\":", "\"number\":1", 1));
            }
            Ok(page)
        })
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        Box::pin(async move {
            if self.fault == Fault::ReadOnlyUnchecked {
                return self.inner.append(written_only(&request)).await;
            }
            let events = request.events().len();
            if events == 0 {
                return self.inner.append(request).await;
            }
            if self.strikes(Fault::EarlyAcknowledgement) {
                return Ok(CommitReceipt {
                    position: Position::new(1),
                    events,
                    repeated: false,
                });
            }
            if events > 1 && self.strikes(Fault::Torn) {
                let half = request.events()[..events - 1].to_vec();
                let half = commit(
                    request.commit_id(),
                    &request,
                    request.expected().to_vec(),
                    half,
                );
                let done = self.inner.append(half).await?;
                return Ok(CommitReceipt { events, ..done });
            }
            let done = self.inner.append(request.clone()).await?;
            if self.strikes(Fault::Doubled) {
                let mut expected = request.expected().to_vec();
                for (number, event) in request.events().iter().enumerate() {
                    let stream = &mut expected[event.stream];
                    stream.version = stream.version.plus(1);
                    stream.event_id = Some(request.event_id(number));
                }
                let again = commit(
                    CommitId::generate(),
                    &request,
                    expected,
                    request.events().to_vec(),
                );
                // It may be too late for it: others are at work too.
                let _ = self.inner.append(again).await;
            }
            if self.strikes(Fault::Phantom) {
                let source = "made, and denied".into();
                return Err(EventStoreError::Other { source });
            }
            Ok(done)
        })
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        self.inner.read_feed(request)
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        self.inner.wait_for_event(after)
    }
}

/// The commit without the streams that it does not write to.
fn written_only(request: &AppendRequest) -> AppendRequest {
    let mut expected = Vec::new();
    let mut place = vec![None; request.expected().len()];
    let mut events = request.events().to_vec();
    for event in &mut events {
        let stream = event.stream;
        event.stream = *place[stream].get_or_insert_with(|| {
            expected.push(request.expected()[stream].clone());
            expected.len() - 1
        });
    }
    commit(request.commit_id(), request, expected, events)
}
