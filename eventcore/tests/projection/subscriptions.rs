//! Subscriptions: every event once and in order, from the past into the present; and what a bad store does to them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use eventcore::{
    EventFilter, EventSelector, EventStore, EventStoreError, Position,
    memory::MemoryEventStore,
    projection::{Subscription, SubscriptionError, subscribe},
    sqlite::SqliteEventStore,
    store::{
        AppendRequest, CommitReceipt, FeedPage, ReadFeedRequest, ReadStreamsRequest, StoreFuture,
        StreamPage,
    },
};
use futures_util::{StreamExt, future::join_all};

use crate::{
    append::{commit, expected, noted},
    server,
};

type Store = Arc<dyn EventStore>;

/// Longer than anything takes on a busy machine.
const SOON: Duration = Duration::from_mins(10);

async fn stores() -> Vec<Store> {
    let path = tempfile::tempdir().unwrap().keep().join("feed.db");
    vec![
        Arc::new(MemoryEventStore::new()),
        Arc::new(SqliteEventStore::open(path).await.unwrap()),
        Arc::new(server::store().await),
    ]
}

async fn append(store: &dyn EventStore, stream: &str, version: u64, events: usize) {
    let events = vec![noted(0, "1"); events];
    let commit = commit(vec![expected(stream, version)], events);
    store.append(commit).await.unwrap();
}

/// The positions of the next events.
async fn next(subscription: &mut Subscription<'_>, count: usize) -> Vec<u64> {
    let mut positions = Vec::new();
    for _ in 0..count {
        let next = tokio::time::timeout(SOON, subscription.next());
        let event = next
            .await
            .expect("an event is missing")
            .expect("it has not ended");
        positions.push(event.unwrap().position.get());
    }
    positions
}

/// Many subscribers, each from a place of its own, while many write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_comes_once_and_in_order_from_the_past_into_the_present() {
    for store in stores().await {
        append(&*store, "a-0", 0, 3000).await;
        let total = 3000 + 8 * 40 * 3;
        let readers = (0..12).map(|reader| {
            let store = store.clone();
            tokio::spawn(async move {
                let from = reader * 250;
                let mut events = subscribe(store, Position::new(from), EventFilter::All);
                let count = usize::try_from(total - from).unwrap();
                let seen = next(&mut events, count).await;
                assert!(seen.into_iter().eq(from + 1..=total));
                assert_eq!(events.position().get(), total);
            })
        });
        let readers: Vec<_> = readers.collect();
        let writers = (1..=8).map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..40 {
                    append(&*store, &format!("a-{writer}"), n * 3, 3).await;
                    tokio::time::sleep(Duration::from_micros(n * 50)).await;
                }
            })
        });
        for task in join_all(writers)
            .await
            .into_iter()
            .chain(join_all(readers).await)
        {
            task.unwrap();
        }
    }
}

#[tokio::test]
async fn a_filtered_subscription_moves_on_over_what_it_does_not_want() {
    for store in stores().await {
        let wanted = EventFilter::any_of([EventSelector::category("b")]);
        let mut events = subscribe(store.clone(), Position::START, wanted);
        for round in 0..5 {
            append(&*store, "a-1", round * 100, 100).await;
            append(&*store, "b-1", round, 1).await;
            assert_eq!(next(&mut events, 1).await, [(round + 1) * 101]);
            assert_eq!(events.position().get(), (round + 1) * 101);
        }
        append(&*store, "a-1", 500, 100).await;
        let began = Instant::now();
        loop {
            let waiting = tokio::time::timeout(Duration::from_millis(300), events.next());
            assert!(waiting.await.is_err(), "an event that is not wanted");
            let position = events.position().get();
            if position == 605 {
                break;
            }
            assert!(
                began.elapsed() < SOON,
                "events up to {position} only were passed over, the rest would be looked at again"
            );
        }
    }
}

/// A commit of another store on the same database: to the database the same as another process.
#[tokio::test]
async fn a_commit_of_another_process_arrives() {
    let path = tempfile::tempdir().unwrap().keep().join("feed.db");
    let here = SqliteEventStore::open(&path).await.unwrap();
    let there = SqliteEventStore::open(&path).await.unwrap();
    let mut events = subscribe(&here, Position::START, EventFilter::All);
    for version in 0..20 {
        let (seen, ()) = tokio::join!(next(&mut events, 1), append(&there, "a-1", version, 1));
        assert_eq!(seen, [version + 1]);
    }
}

#[tokio::test]
async fn closing_the_store_ends_the_subscription() {
    let path = tempfile::tempdir().unwrap().keep().join("feed.db");
    let store = SqliteEventStore::open(&path).await.unwrap();
    append(&store, "a-1", 0, 2).await;
    let mut events = subscribe(store.clone(), Position::START, EventFilter::All);
    assert_eq!(next(&mut events, 2).await, [1, 2]);
    let (end, ()) = tokio::join!(events.next(), store.close());
    assert!(end.is_none(), "{end:?}");
    assert!(events.next().await.is_none());
}

/// Passes calls on, and counts, hides, invents or fails.
struct Bad {
    store: MemoryEventStore,
    reads: AtomicUsize,
    /// The event at this position is left out.
    hidden: AtomicU64,
    /// So many reads fail.
    failures: AtomicUsize,
}

impl Bad {
    async fn with(events: usize) -> Self {
        let store = MemoryEventStore::new();
        append(&store, "a-1", 0, events).await;
        Self {
            store,
            reads: AtomicUsize::new(0),
            hidden: AtomicU64::new(0),
            failures: AtomicUsize::new(0),
        }
    }
}

impl EventStore for Bad {
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        self.store.read_streams(request)
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        self.store.append(request)
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        Box::pin(async move {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let left = self.failures.load(Ordering::Relaxed);
            if left > 0 {
                self.failures.store(left - 1, Ordering::Relaxed);
                let source = "the network is down".into();
                return Err(EventStoreError::Unavailable { source });
            }
            let mut page = self.store.read_feed(request).await?;
            let hidden = self.hidden.load(Ordering::Relaxed);
            page.events.retain(|event| event.position.get() != hidden);
            Ok(page)
        })
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        self.store.wait_for_event(after)
    }
}

#[tokio::test]
async fn a_missing_event_is_an_error_and_the_end() {
    for hidden in [1, 3, 1024, 1025, 2000] {
        let store = Bad::with(2000).await;
        store.hidden.store(hidden, Ordering::Relaxed);
        let mut events = subscribe(&store, Position::START, EventFilter::All);
        let (mut seen, mut gap) = (0, None);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    assert!(gap.is_none(), "it went on after the gap");
                    seen = event.position.get();
                }
                Err(SubscriptionError::Gap { expected, .. }) => gap = Some(expected.get()),
                Err(other) => panic!("{other}"),
            }
        }
        assert!(seen < hidden, "event {seen} came after a gap at {hidden}");
        assert_eq!(gap, Some(hidden), "no event is given of a page with a hole");
    }
}

#[tokio::test]
async fn a_log_that_ends_before_what_was_seen_is_an_error() {
    for store in stores().await {
        append(&*store, "a-1", 0, 5).await;
        let mut events = subscribe(store, Position::new(9), EventFilter::All);
        let error = events.next().await.unwrap().unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("position 5, but the event at 9"),
            "{message}"
        );
        assert!(events.next().await.is_none());
    }
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_is_asked_again_from_the_same_place() {
    let store = Bad::with(3000).await;
    let mut events = subscribe(&store, Position::START, EventFilter::All);
    let mut seen = next(&mut events, 10).await;
    store.failures.store(3, Ordering::Relaxed);
    let mut failed = 0;
    while seen.len() < 3000 {
        match events.next().await.unwrap() {
            Ok(event) => seen.push(event.position.get()),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                failed += 1;
            }
        }
    }
    assert!(seen.into_iter().eq(1..=3000));
    assert_eq!(failed, 3);
}

#[tokio::test]
async fn a_slow_consumer_is_one_page_ahead_and_no_more() {
    let store = Bad::with(20_000).await;
    let mut events = subscribe(&store, Position::START, EventFilter::All);
    next(&mut events, 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(store.reads.load(Ordering::Relaxed), 2);
    // The second page is in use.
    next(&mut events, 1500).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(store.reads.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn pages_of_large_events_are_short() {
    let store = Bad::with(0).await;
    let large = format!("\"{}\"", "x".repeat(500_000));
    for version in 0..40 {
        let commit = commit(
            vec![expected("a-1", 5 * version)],
            vec![noted(0, &large); 5],
        );
        store.append(commit).await.unwrap();
    }
    let mut events = subscribe(&store, Position::START, EventFilter::All);
    assert!(next(&mut events, 200).await.into_iter().eq(1..=200));
    let reads = store.reads.load(Ordering::Relaxed);
    assert!(
        reads > 200 / 16,
        "{reads} pages of 500 kB events, which 8 MiB hold 16 of"
    );
}
