//! Every public parameter at 0, 1 and its largest value, on each store: no panic, and the same verdict everywhere.

use std::{sync::Arc, time::Duration};

use eventcore::RecordedEvent;
use eventcore::{
    CommandError, EventFilter, EventStore, EventStoreError, ExecuteOptions, Position, RetryPolicy,
    StreamId, Version, execute,
    memory::MemoryEventStore,
    postgres::{PostgresConfig, PostgresEventStore},
    projection::{
        ErrorPolicy, MemoryReadModel, MemoryTransaction, Projection, ProjectionDatabase,
        ProjectionRunner, wait_for,
    },
    sqlite::SqliteEventStore,
    store::{ReadFeedRequest, ReadStreamsRequest, StreamCursor},
    testing::ChaosStore,
};

use crate::{
    counter::{Count, CounterEvent, CounterId},
    server,
};

const DURATIONS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_millis(1),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];
const COUNTS: [usize; 3] = [0, 1, usize::MAX];

fn count(streams: u64) -> Count {
    Count {
        counters: (0..streams).map(CounterId).collect(),
    }
}

/// One of each kind, with what it is called.
async fn stores() -> Vec<(&'static str, Arc<dyn EventStore>)> {
    let folder = tempfile::tempdir().unwrap().keep();
    let sqlite = SqliteEventStore::open(folder.join("extremes.db"));
    vec![
        ("memory", Arc::new(MemoryEventStore::new())),
        ("SQLite", Arc::new(sqlite.await.unwrap())),
        ("PostgreSQL", Arc::new(server::store().await)),
    ]
}

/// The outcome of a command, as far as the parameters decide it.
fn verdict<E>(result: &Result<eventcore::ExecutionResponse, CommandError<E>>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(CommandError::DeadlineExceeded { .. }) => "too late",
        Err(CommandError::TooManyStreams { .. }) => "too many streams",
        Err(CommandError::OutcomeUnknown { .. }) => "unknown",
        Err(_) => "failed",
    }
}

#[tokio::test]
async fn options_of_commands() {
    let mut cases: Vec<(String, ExecuteOptions, &[&str])> = Vec::new();
    for time in DURATIONS {
        let policy = RetryPolicy::new();
        let delays = [
            ("base_delay", policy.clone().base_delay(time)),
            ("max_delay", policy.clone().max_delay(time)),
            ("both delays", policy.base_delay(time).max_delay(time)),
        ];
        for (name, policy) in delays {
            cases.push((format!("{name} {time:?}"), policy.into(), &["done"]));
        }
        let options = ExecuteOptions::new().deadline(time);
        // A store may be faster than a millisecond, or not. No time at all is too little.
        let verdicts: &[&str] = match time {
            Duration::ZERO => &["too late"],
            time if time < Duration::from_secs(1) => &["too late", "unknown", "done"],
            _ => &["done"],
        };
        cases.push((format!("deadline {time:?}"), options, verdicts));
    }
    for attempts in [0, 1, u32::MAX] {
        let policy = RetryPolicy::new().max_attempts(attempts);
        cases.push((format!("max_attempts {attempts}"), policy.into(), &["done"]));
    }
    for streams in COUNTS {
        let options = ExecuteOptions::new().max_streams(streams);
        let verdicts: &[&str] = if streams < 2 {
            &["too many streams"]
        } else {
            &["done"]
        };
        cases.push((format!("max_streams {streams}"), options, verdicts));
    }
    for (store_name, store) in stores().await {
        for (name, options, verdicts) in &cases {
            let result = execute(&store, count(2), options.clone()).await;
            let found = verdict(&result);
            assert!(
                verdicts.contains(&found),
                "{store_name}, {name}: {result:?}"
            );
        }
        for capacity in COUNTS {
            let states = store.states().unwrap();
            states.set_capacity(capacity);
            let result = execute(&store, count(1), RetryPolicy::new()).await;
            assert_eq!(verdict(&result), "done", "{store_name}: {capacity} states");
        }
    }
}

/// A conflict after each attempt, so that delays count.
#[tokio::test]
async fn delays_between_attempts() {
    for time in DURATIONS {
        for attempts in [0, 1, 3, u32::MAX] {
            let store = ChaosStore::new(MemoryEventStore::new(), 1).conflicts(1.0);
            let policy = RetryPolicy::new().max_attempts(attempts);
            let policy = policy.base_delay(time).max_delay(time);
            let policy = policy.deadline(Duration::from_millis(20));
            let command = execute(&store, count(1), policy);
            // A delay of centuries is waited for, as it was asked for.
            let is_long = time > Duration::from_secs(1);
            let patience = if is_long { SHORT } else { LONG };
            match tokio::time::timeout(patience, command).await {
                Ok(result) => assert!(result.is_err(), "{time:?}, {attempts} attempts"),
                Err(_) => assert!(is_long, "{time:?}"),
            }
        }
        let store = ChaosStore::new(MemoryEventStore::new(), 1).latency(Duration::ZERO..=time);
        let read = store.read_feed(feed(Position::START, 1));
        let is_long = time > Duration::from_secs(1);
        let patience = if is_long { SHORT } else { LONG };
        let read = tokio::time::timeout(patience, read).await;
        assert!(read.is_ok() || is_long, "{time:?}");
    }
}

fn feed(after: Position, limit: usize) -> ReadFeedRequest {
    ReadFeedRequest {
        after,
        filter: EventFilter::All,
        limit,
    }
}

#[tokio::test]
async fn numbers_of_reads() {
    let places = [0, 1, u64::MAX];
    let mut answers = Vec::new();
    for (name, store) in stores().await {
        for _ in 0..3 {
            let result = execute(&store, count(2), RetryPolicy::new()).await;
            assert!(result.is_ok(), "{name}");
        }
        let mut seen = Vec::new();
        for limit in COUNTS {
            for place in places {
                let page = store.read_feed(feed(Position::new(place), limit)).await;
                let page = page.unwrap();
                let positions = page.events.iter().map(|event| event.position);
                seen.push((positions.collect::<Vec<_>>(), page.scanned_to, page.head));
                for up_to in [None, Some(0), Some(1), Some(u64::MAX)] {
                    let cursor = |counter| {
                        StreamCursor::new(
                            StreamId::new(format!("counter-{counter}")).unwrap(),
                            Version::new(place),
                        )
                    };
                    let request = ReadStreamsRequest {
                        streams: vec![cursor(0), cursor(1), cursor(9)],
                        snapshot: up_to.map(Position::new),
                        limit,
                        idempotency_key: None,
                    };
                    let page = store.read_streams(request).await.unwrap();
                    let positions = page.events.iter().map(|event| event.position);
                    let positions = positions.collect::<Vec<_>>();
                    let last = page.versions().iter().map(|version| version.get()).sum();
                    seen.push((positions, page.snapshot, Position::new(last)));
                }
            }
        }
        answers.push((name, seen));
    }
    let (_, first) = &answers[0];
    for (name, seen) in &answers[1..] {
        assert_eq!(seen, first, "{name}");
    }
}

/// A projection whose second event fails twice.
struct Sum;

impl Projection<MemoryTransaction<Vec<u64>>> for Sum {
    type Feed = (CounterId, CounterEvent);
    type Error = std::io::Error;
    const NAME: &'static str = "sum";

    async fn apply(
        &self,
        (CounterId(counter), CounterEvent::Counted { .. }): Self::Feed,
        _: &RecordedEvent,
        seen: &mut MemoryTransaction<Vec<u64>>,
    ) -> Result<(), std::io::Error> {
        if counter == 1 {
            return Err(std::io::Error::other("this one fails"));
        }
        seen.push(counter);
        Ok(())
    }
}

#[tokio::test]
async fn parameters_of_a_runner() {
    let store = Arc::new(MemoryEventStore::new());
    execute(&store, count(2), RetryPolicy::new()).await.unwrap();
    let policies = |time: Duration| {
        [
            ErrorPolicy::park().backoff(time, time),
            ErrorPolicy::park().attempts(0).backoff(time, time),
            ErrorPolicy::park().attempts(3).backoff(time, time),
            ErrorPolicy::park().attempts(u32::MAX).backoff(time, time),
        ]
    };
    for time in DURATIONS {
        for (number, policy) in policies(time).into_iter().enumerate() {
            for instance in ["", "a\0b"] {
                let database = MemoryReadModel::<Vec<u64>>::default();
                let runner = ProjectionRunner::with_database(store.clone(), database.clone(), Sum);
                let runner = runner
                    .on_error(policy.clone())
                    .lease(time)
                    .instance(instance);
                let handle = runner.start();
                // An event that is tried for ever, or after centuries, is never passed.
                let waits = number == 3 || number == 2 && time > Duration::from_secs(1);
                let patience = if waits { SHORT } else { LONG };
                let waited = wait_for(&database, "sum", Position::new(2), patience).await;
                assert_eq!(
                    waited.is_err(),
                    waits,
                    "{time:?}, policy {number}: {waited:?}"
                );
                handle.stop().await.unwrap();
            }
        }
        // What is there needs no time, and of what is not, only a wait that has an end tells.
        let database = MemoryReadModel::<Vec<u64>>::default();
        let waited = wait_for(&database, "sum", Position::START, time).await;
        waited.unwrap();
        if time < Duration::from_secs(1) {
            let waited = wait_for(&database, "sum", Position::new(u64::MAX), time).await;
            waited.unwrap_err();
        }
    }
}

/// Long enough for a busy machine, where something is to happen, and short where nothing ever does.
const LONG: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(50);

/// A lease is taken for any time, on every database.
#[tokio::test]
async fn terms_of_leases() {
    use eventcore::projection::{Leadership, ReadModel};

    async fn check<D: ProjectionDatabase>(database: D, name: &str) {
        for (number, term) in DURATIONS.into_iter().enumerate() {
            let model = database.live("sum");
            let taken = model.seize("somebody", term).await;
            let Ok(Leadership::Taken(lease)) = taken else {
                panic!("{name}, {term:?}: {taken:?}");
            };
            model.renew(&lease, term).await.unwrap();
            if term > Duration::from_secs(1) {
                let held = model.lead("another", term).await.unwrap();
                assert!(
                    matches!(held, Leadership::Held { .. }),
                    "{name}, {term:?}, {number}: {held:?}"
                );
            }
            model.resign(&lease).await.unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let sqlite = SqliteEventStore::open(folder.path().join("leases.db"));
    check(MemoryReadModel::<()>::default(), "memory").await;
    check(sqlite.await.unwrap(), "SQLite").await;
    check(server::store().await, "PostgreSQL").await;
}

async fn connect(config: PostgresConfig) -> Result<PostgresEventStore, EventStoreError> {
    config.connect().await
}

/// With too little time there is no answer; nothing else goes wrong.
#[tokio::test]
async fn configurations_of_postgres() {
    for time in DURATIONS {
        let config = server::config;
        let cases = [
            ("connect_timeout", config().connect_timeout(time)),
            ("request_timeout", config().request_timeout(time)),
            ("statement_timeout", config().statement_timeout(time)),
            ("poll_interval", config().poll_interval(time)),
            ("polled", config().poll_interval(time).notifications(false)),
            ("notified", config().notified_poll_interval(time)),
        ];
        for (name, config) in cases {
            let is_short = time < Duration::from_secs(1);
            let done = match connect(config).await {
                Ok(store) => {
                    let waited = store.wait_for_event(Position::START);
                    let _ = tokio::time::timeout(Duration::from_millis(20), waited).await;
                    let result = execute(&store, count(1), RetryPolicy::never()).await;
                    result.map(drop).map_err(|error| error.to_string())
                }
                Err(error) => {
                    assert!(error.is_transient(), "{name} {time:?}: {error:?}");
                    Err(error.to_string())
                }
            };
            let may_fail = is_short && name.ends_with("_timeout");
            assert!(done.is_ok() || may_fail, "{name} {time:?}: {done:?}");
        }
    }
    for size in COUNTS {
        let store = server::config().pool_size(size).connect().await.unwrap();
        let result = execute(&store, count(1), RetryPolicy::new()).await;
        assert!(result.is_ok(), "a pool of {size}: {result:?}");
    }
}
