//! Commands on a store that fails by chance: each is there once if it succeeded, and once or not at all if its outcome
//! is unknown.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use eventcore::{
    Command, CommandError, CommandLogic, Event, EventStore, EventStoreError, RetryPolicy,
    StreamKey, execute,
    memory::MemoryEventStore,
    sqlite::SqliteEventStore,
    testing::{ChaosCounts, ChaosStore},
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, Event)]
struct Wrote {
    number: u64,
}

#[derive(Debug, StreamKey)]
#[stream_key(category = "left", event = Wrote)]
struct Left(u64);

#[derive(Debug, StreamKey)]
#[stream_key(category = "right", event = Wrote)]
struct Right(u64);

#[derive(Debug, Command)]
struct Write {
    #[stream]
    left: Left,
    #[stream]
    right: Right,
    number: u64,
}

impl CommandLogic for Write {
    type State = u64;
    type Error = Infallible;

    fn apply(&self, events: &mut u64, _: WriteEvent<'_>) {
        *events += 1;
    }

    fn handle(&self, _: &u64, streams: WriteStreams<'_>) -> Result<(), Infallible> {
        let number = self.number;
        streams.left.append(Wrote { number });
        streams.right.append(Wrote { number });
        Ok(())
    }
}

/// Returns the number of times that each command is in the streams of one side.
async fn stored<K: StreamKey<Event = Wrote>>(
    store: &impl EventStore,
    key: impl Fn(u64) -> K,
) -> HashMap<u64, u64> {
    use eventcore::store::{MAX_PAGE_EVENTS, ReadStreamsRequest, StreamCursor};
    let cursor =
        |number| StreamCursor::new(key(number).stream_id().unwrap(), eventcore::Version::EMPTY);
    let request = ReadStreamsRequest {
        streams: (0..STREAMS).map(cursor).collect(),
        snapshot: None,
        limit: MAX_PAGE_EVENTS,
        idempotency_key: None,
    };
    let page = store.read_streams(request).await.unwrap();
    assert!(page.events.len() < MAX_PAGE_EVENTS);
    let mut counts = HashMap::new();
    for event in page.events {
        *counts
            .entry(event.decode::<Wrote>().unwrap().number)
            .or_default() += 1;
    }
    counts
}

const STREAMS: u64 = 3;
const LITTLE: Option<Duration> = Some(Duration::from_millis(1));

/// With `patience`, every fifth command has no more time than that.
async fn run(inner: impl EventStore, seed: u64, patience: Option<Duration>) -> ChaosCounts {
    let store = ChaosStore::new(inner, seed)
        .conflicts(0.15)
        .failures(0.1)
        .unknown_before_commit(0.1)
        .unknown_after_commit(0.15)
        .latency(Duration::ZERO..=Duration::from_micros(200));
    let mut unknown = Vec::new();
    let mut acknowledged = Vec::new();
    for number in 0..100 {
        let command = Write {
            left: Left(number % STREAMS),
            right: Right(number % 2),
            number,
        };
        // Now and then too few attempts to get through, or little patience with an unknown outcome.
        let policy = RetryPolicy::new()
            .base_delay(Duration::from_micros(1))
            .max_attempts(if number % 4 == 0 { 2 } else { 1000 });
        let policy = match patience {
            Some(patience) if number % 5 == 0 => policy.deadline(patience),
            _ => policy,
        };
        match execute(&store, command, policy).await {
            Ok(_) => acknowledged.push(number),
            Err(CommandError::OutcomeUnknown { .. }) => unknown.push(number),
            Err(
                CommandError::ConcurrencyError { .. }
                | CommandError::DeadlineExceeded { .. }
                | CommandError::EventStoreError(EventStoreError::Unavailable { .. }),
            ) => {}
            Err(other) => panic!("{other}"),
        }
    }
    let left = stored(store.inner(), Left).await;
    let right = stored(store.inner(), Right).await;
    assert_eq!(left, right, "seed {seed}: a commit is torn");
    for number in 0..100 {
        let times = left.get(&number).copied().unwrap_or(0);
        let fits = if acknowledged.contains(&number) {
            times == 1
        } else {
            times == 0 || times == 1 && unknown.contains(&number)
        };
        assert!(fits, "seed {seed}: command {number} is there {times} times");
    }
    let counts = store.counts();
    assert!(
        counts.conflicts > 0
            && counts.failures > 0
            && counts.unknown_before_commit > 0
            && counts.unknown_after_commit > 0,
        "seed {seed}: {counts:?}"
    );
    counts
}

#[tokio::test]
async fn commands_are_there_once_or_not_at_all_in_memory() {
    for seed in 0..20 {
        run(MemoryEventStore::new(), seed, LITTLE).await;
    }
}

#[tokio::test]
async fn commands_are_there_once_or_not_at_all_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..3 {
        let path = folder.path().join(format!("{seed}.db"));
        let store = SqliteEventStore::open(path).await.unwrap();
        run(store, seed, LITTLE).await;
    }
}

#[tokio::test]
async fn a_seed_gives_the_same_faults_again() {
    let (first, again) = (
        run(MemoryEventStore::new(), 7, None).await,
        run(MemoryEventStore::new(), 7, None).await,
    );
    assert_eq!(first, again);
    assert_ne!(first, run(MemoryEventStore::new(), 8, None).await);
}
