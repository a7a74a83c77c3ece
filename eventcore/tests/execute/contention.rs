//! Commands that meet on one stream: within a process they take turns instead of conflicting again and again.

use std::{sync::Arc, time::Duration};

use eventcore::{
    EventStore, Position, RetryPolicy, execute,
    memory::MemoryEventStore,
    sqlite::SqliteEventStore,
    store::{
        AppendRequest, CommitReceipt, FeedPage, ReadFeedRequest, ReadStreamsRequest, StoreFuture,
        StreamPage, StreamQueues,
    },
};

use crate::counter::{Count, CounterId};

/// A store in memory that answers later than at once, as a durable one does.
struct Slow {
    store: MemoryEventStore,
    takes_turns: bool,
}

impl Slow {
    fn new(takes_turns: bool) -> Arc<Self> {
        let store = MemoryEventStore::new();
        Arc::new(Self { store, takes_turns })
    }
}

impl EventStore for Slow {
    fn queues(&self) -> Option<&StreamQueues> {
        self.store.queues().filter(|_| self.takes_turns)
    }

    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        self.store.read_streams(request)
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.store.append(request).await
        })
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        self.store.read_feed(request)
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        self.store.wait_for_event(after)
    }
}

/// 16 tasks run 20 commands each; the attempts of all of them.
async fn attempts(
    store: Arc<dyn EventStore>,
    counters: impl Fn(u64) -> Vec<CounterId> + Copy + Send + 'static,
) -> u32 {
    let tasks = (0..16).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut attempts = 0;
            for number in 0..20 {
                let counters = counters(task + number);
                let done = execute(&store, Count { counters }, RetryPolicy::new()).await;
                attempts += done.unwrap().attempts();
            }
            attempts
        })
    });
    let mut sum = 0;
    for task in tasks.collect::<Vec<_>>() {
        sum += task.await.unwrap();
    }
    sum
}

fn one(_: u64) -> Vec<CounterId> {
    vec![CounterId(1)]
}

/// Two of three streams, in every order.
fn crossing(number: u64) -> Vec<CounterId> {
    vec![
        CounterId(number % 3),
        CounterId((number + 1 + number / 3 % 2) % 3),
    ]
}

async fn sqlite() -> Arc<dyn EventStore> {
    let path = tempfile::tempdir().unwrap().keep().join("counters.db");
    Arc::new(SqliteEventStore::open(path).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_on_one_stream_take_turns() {
    for store in [sqlite().await, Slow::new(true)] {
        let attempts = attempts(store, one).await;
        assert!(attempts < 320 + 32, "{attempts} attempts for 320 commands");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_on_crossing_streams_take_turns_and_never_wait_for_each_other() {
    let all = tokio::time::timeout(Duration::from_mins(10), attempts(sqlite().await, crossing));
    let attempts = all.await.expect("no deadlock");
    assert!(attempts < 320 + 64, "{attempts} attempts for 320 commands");
}

/// The control: what the turns save.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_queues_commands_conflict_again_and_again() {
    let attempts = attempts(Slow::new(false), one).await;
    assert!(attempts > 640, "only {attempts} attempts for 320 commands");
}
