//! Snapshots: the same states with and without them, whatever is in their table.
#![cfg(all(feature = "macros", feature = "sqlite"))]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use eventcore::{
    CommitId, Event, EventStore, Metadata, StreamId, StreamKey, StreamState, Version, load,
    memory::MemoryEventStore,
    sqlite::{SqliteEventStore, rusqlite},
    store::{
        AppendRequest, ExpectedVersion, NewEvent, ReadStreamsRequest, SnapshotKind, StreamCursor,
        StreamExtent,
    },
    testing::assert_snapshots_agree,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[cfg(feature = "postgres")]
use crate::server;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
enum CounterEvent {
    Counted { by: u64 },
}

/// The sum, and the number of events.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counter {
    sum: u64,
    events: u64,
}

impl StreamState<CounterEvent> for Counter {
    fn apply(&mut self, CounterEvent::Counted { by }: CounterEvent) {
        self.sum += by;
        self.events += 1;
    }
}

#[derive(Debug, Clone, StreamKey)]
#[stream_key(category = "counter", event = CounterEvent, state = Counter, snapshot(revision = 1, every = 100))]
struct CounterId(u64);

/// Yesterday's form of the state, of the same revision by mistake: each event counted twice.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Doubled {
    sum: u64,
    events: u64,
}

impl StreamState<CounterEvent> for Doubled {
    fn apply(&mut self, CounterEvent::Counted { by }: CounterEvent) {
        self.sum += 2 * by;
        self.events += 1;
    }
}

#[derive(Debug, Clone, StreamKey)]
#[stream_key(category = "counter", event = CounterEvent, state = Doubled, snapshot(revision = 1, every = 100, name = "Counter"))]
struct DoubledId(u64);

#[derive(Debug, Clone, StreamKey)]
#[stream_key(category = "counter", event = CounterEvent, state = Counter, snapshot(revision = 2, every = 100))]
struct NextId(u64);

fn stream(counter: u64) -> StreamId {
    CounterId(counter).stream_id().unwrap()
}

async fn extent(store: &impl EventStore, counter: u64, revision: u32) -> (StreamExtent, usize) {
    let cursor = StreamCursor {
        snapshot: Some(SnapshotKind {
            name: "Counter".into(),
            revision,
        }),
        ..StreamCursor::new(stream(counter), Version::EMPTY)
    };
    let request = ReadStreamsRequest {
        streams: vec![cursor],
        snapshot: None,
        limit: 1000,
        idempotency_key: None,
    };
    let mut page = store.read_streams(request).await.unwrap();
    (page.streams.remove(0), page.events.len())
}

async fn append(store: &impl EventStore, counter: u64, amounts: impl IntoIterator<Item = u64>) {
    let head = extent(store, counter, 0).await.0.head;
    let event = |by| NewEvent::new(0, &CounterEvent::Counted { by }).unwrap();
    let request = AppendRequest::new(
        CommitId::generate(),
        vec![ExpectedVersion::new(stream(counter), head)],
        amounts.into_iter().map(event).collect(),
        Metadata::default(),
        None,
    );
    store.append(request.unwrap()).await.unwrap();
}

/// Waits until a snapshot of this version is stored; returns the number of events after it.
async fn stored(store: &impl EventStore, counter: u64, revision: u32, version: u64) -> usize {
    loop {
        let (extent, events) = extent(store, counter, revision).await;
        if extent
            .snapshot
            .is_some_and(|snapshot| snapshot.head.version().get() == version)
        {
            return events;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn forget(store: &impl EventStore) {
    store.states().unwrap().clear();
}

async fn sqlite() -> (SqliteEventStore, std::path::PathBuf) {
    let path = tempfile::tempdir().unwrap().keep().join("snapshots.db");
    (SqliteEventStore::open(&path).await.unwrap(), path)
}

async fn a_new_process_reads_what_came_after_the_snapshot(store: impl EventStore) {
    append(&store, 1, 1..=250).await;
    let sum = |events: u64| events * (events + 1) / 2;
    assert_eq!(load(&store, &CounterId(1)).await.unwrap().sum, sum(250));
    assert_eq!(stored(&store, 1, 1, 250).await, 0);
    // Too few for a new one.
    append(&store, 1, 251..=300).await;
    assert_eq!(load(&store, &CounterId(1)).await.unwrap().sum, sum(300));
    forget(&store);
    let state = load(&store, &CounterId(1)).await.unwrap();
    assert_eq!(
        (state.sum, state.events, state.version().get()),
        (sum(300), 300, 300)
    );
    assert_eq!(stored(&store, 1, 1, 250).await, 50);
    // Those after the snapshot count from there, whoever has folded them.
    append(&store, 1, 301..=350).await;
    assert_eq!(load(&store, &CounterId(1)).await.unwrap().sum, sum(350));
    assert_eq!(stored(&store, 1, 1, 350).await, 0);

    // Another revision, in another process, knows nothing of it and takes its place.
    forget(&store);
    assert_eq!(load(&store, &NextId(1)).await.unwrap().sum, sum(350));
    assert_eq!(stored(&store, 1, 2, 350).await, 0);
    assert_eq!(extent(&store, 1, 1).await.0.snapshot, None);
    assert_eq!(assert_snapshots_agree::<NextId>(&store).await, 1);

    store.clear_snapshots().await.unwrap();
    assert_eq!(
        extent(&store, 1, 2).await,
        (
            StreamExtent {
                snapshot: None,
                ..extent(&store, 1, 2).await.0
            },
            350
        )
    );
    forget(&store);
    assert_eq!(load(&store, &CounterId(1)).await.unwrap().sum, sum(350));
}

#[tokio::test]
async fn in_memory() {
    a_new_process_reads_what_came_after_the_snapshot(MemoryEventStore::new()).await;
}

#[tokio::test]
async fn on_sqlite() {
    a_new_process_reads_what_came_after_the_snapshot(sqlite().await.0).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn on_postgres() {
    a_new_process_reads_what_came_after_the_snapshot(server::store().await).await;
}

#[tokio::test]
#[should_panic(expected = "raise the revision")]
async fn a_forgotten_revision_is_found() {
    let store = MemoryEventStore::new();
    append(&store, 1, 1..=150).await;
    load(&store, &DoubledId(1)).await.unwrap();
    append(&store, 1, 1..=3).await;
    assert_snapshots_agree::<CounterId>(&store).await;
}

/// Changes to the table that are not the library's.
const GARBAGE: [&str; 9] = [
    "UPDATE snapshots SET state = '{\"sum\":'",
    "UPDATE snapshots SET state = '[]'",
    "UPDATE snapshots SET state = ''",
    "UPDATE snapshots SET state = cast(x'ff00ff' AS TEXT)",
    "UPDATE snapshots SET version = 100000",
    "UPDATE snapshots SET version = -1",
    "UPDATE snapshots SET event_id = x'00'",
    "UPDATE snapshots SET event_id = (SELECT event_id FROM events LIMIT 1)",
    "DELETE FROM snapshots",
];

#[tokio::test]
async fn garbage_in_the_table_is_ignored_and_replaced() {
    for change in GARBAGE {
        let (store, path) = sqlite().await;
        append(&store, 1, 1..=200).await;
        load(&store, &CounterId(1)).await.unwrap();
        stored(&store, 1, 1, 200).await;
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.busy_timeout(Duration::from_mins(1)).unwrap();
        assert_eq!(connection.execute(change, []).unwrap(), 1, "{change}");
        drop(connection);
        forget(&store);
        append(&store, 1, 201..=210).await;
        let state = load(&store, &CounterId(1)).await.unwrap();
        assert_eq!((state.sum, state.events), (210 * 211 / 2, 210), "{change}");
        assert_eq!(stored(&store, 1, 1, 210).await, 0, "{change}");
        store.close().await;
    }
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn garbage_in_the_table_of_postgres_is_ignored_and_replaced() {
    let config = server::config();
    let store = config.connect().await.unwrap();
    let connected = tokio_postgres::connect(&server::url(), tokio_postgres::NoTls).await;
    let (client, connection) = connected.unwrap();
    tokio::spawn(connection);
    let path = format!("SET search_path = \"{}\"", server::schema_of(&config));
    client.batch_execute(&path).await.unwrap();
    for (counter, change) in (1..).zip([
        "UPDATE snapshots SET state = '[]'",
        "UPDATE snapshots SET version = 100000",
        "UPDATE snapshots SET version = -1",
        "UPDATE snapshots SET event_id = (SELECT event_id FROM events LIMIT 1)",
        "DELETE FROM snapshots",
    ]) {
        append(&store, counter, 1..=200).await;
        load(&store, &CounterId(counter)).await.unwrap();
        stored(&store, counter, 1, 200).await;
        client.batch_execute(change).await.unwrap();
        forget(&store);
        let state = load(&store, &CounterId(counter)).await.unwrap();
        assert_eq!((state.sum, state.events), (200 * 201 / 2, 200), "{change}");
        assert_eq!(stored(&store, counter, 1, 200).await, 0, "{change}");
    }
}

/// A snapshot that stays when a backup of the events is restored stands for events that are not there.
#[tokio::test]
async fn a_snapshot_of_another_history_does_not_count() {
    let (store, path) = sqlite().await;
    append(&store, 1, [7; 200]).await;
    load(&store, &CounterId(1)).await.unwrap();
    stored(&store, 1, 1, 200).await;
    store.close().await;
    let (other, other_path) = sqlite().await;
    append(&other, 1, [1; 200]).await;
    let sql = format!(
        "ATTACH '{}' AS other; INSERT INTO snapshots SELECT * FROM other.snapshots; DETACH other;",
        path.display()
    );
    let connection = rusqlite::Connection::open(&other_path).unwrap();
    connection.busy_timeout(Duration::from_mins(1)).unwrap();
    connection.execute_batch(&sql).unwrap();
    drop(connection);
    assert_eq!(load(&other, &CounterId(1)).await.unwrap().sum, 200);
    assert_eq!(stored(&other, 1, 1, 200).await, 0);
}

/// A state whose stored form fails: there is no snapshot, and nothing else is missing.
#[tokio::test]
async fn a_state_that_cannot_be_encoded_costs_only_its_snapshot() {
    #[derive(Debug, Default, Deserialize)]
    struct Stubborn(u64);

    impl Serialize for Stubborn {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }

    impl StreamState<CounterEvent> for Stubborn {
        fn apply(&mut self, _: CounterEvent) {
            self.0 += 1;
        }
    }

    #[derive(Debug, Clone, StreamKey)]
    #[stream_key(category = "counter", event = CounterEvent, state = Stubborn, snapshot(revision = 1, every = 10))]
    struct StubbornId(u64);

    let store = MemoryEventStore::new();
    for round in 1..=3 {
        append(&store, 1, [1; 50]).await;
        assert_eq!(load(&store, &StubbornId(1)).await.unwrap().0, 50 * round);
    }
}

#[tokio::test]
async fn a_state_of_many_megabytes_has_a_snapshot() {
    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Text(String);

    impl StreamState<CounterEvent> for Text {
        fn apply(&mut self, CounterEvent::Counted { by }: CounterEvent) {
            self.0
                .extend(std::iter::repeat_n('x', usize::try_from(by).unwrap()));
        }

        fn size_in_memory(&self) -> usize {
            self.0.capacity()
        }
    }

    #[derive(Debug, Clone, StreamKey)]
    #[stream_key(category = "counter", event = CounterEvent, state = Text, snapshot(revision = 1, every = 10, name = "Counter"))]
    struct TextId(u64);

    let (store, _) = sqlite().await;
    append(&store, 1, [1_000_000; 10]).await;
    assert_eq!(load(&store, &TextId(1)).await.unwrap().0.len(), 10_000_000);
    assert_eq!(stored(&store, 1, 1, 10).await, 0);
    forget(&store);
    append(&store, 1, [1]).await;
    assert_eq!(load(&store, &TextId(1)).await.unwrap().0.len(), 10_000_001);
    let states = store.states().unwrap();
    assert!(states.counts().bytes >= 10_000_000, "{:?}", states.counts());
    states.set_max_bytes(1_000_000);
    load(&store, &TextId(2)).await.unwrap();
    assert!(states.counts().bytes < 1_000_000, "{:?}", states.counts());
}

#[derive(Debug, Clone, StreamKey)]
#[stream_key(category = "counter", event = CounterEvent, state = Counter, snapshot(revision = 1, every = 3))]
struct OftenId(u64);

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whenever the process forgets its states or the operator the snapshots, the states are the same.
    #[test]
    fn states_are_the_same_with_and_without_snapshots(
        steps in prop::collection::vec((1..4_u64, prop::collection::vec(0..100_u64, 0..8), 0..4_u8), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let store = MemoryEventStore::new();
            let mut sums = [Counter::default(), Counter::default(), Counter::default(), Counter::default()];
            for (counter, amounts, then) in steps {
                let index = usize::try_from(counter).unwrap();
                for by in &amounts {
                    sums[index].apply(CounterEvent::Counted { by: *by });
                }
                append(&store, counter, amounts).await;
                match then {
                    0 => forget(&store),
                    1 => store.clear_snapshots().await.unwrap(),
                    _ => {}
                }
                let state = load(&store, &OftenId(counter)).await.unwrap();
                assert_eq!(*state, sums[index]);
            }
            assert_snapshots_agree::<OftenId>(&store).await;
        });
    }
}
