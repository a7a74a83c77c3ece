//! The memory that a reader needs: that of a few pages, however large the events are that follow on small ones.
//!
//! A program of its own with one test: its allocator counts, and would count a second test with it.

#[path = "support/server.rs"]
mod server;

use eventcore::{
    EventFilter, EventStore, MAX_EVENT_BYTES, Position, StreamId, Version,
    projection::subscribe,
    sqlite::{SqliteEventStore, rusqlite::Connection},
    store::{MAX_PAGE_BYTES, MAX_PAGE_EVENTS, ReadStreamsRequest, StreamCursor},
};
use futures_util::StreamExt;
use peak_alloc::PeakAlloc;
use tokio_postgres::NoTls;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const SMALL: u64 = 3_000;
const LARGE: u64 = 100;
const ALL: u64 = SMALL + LARGE;
const BYTES: usize = MAX_EVENT_BYTES - 100_000;

/// The most bytes that were allocated at a time while `read` ran, beside those from before.
async fn peak(read: impl Future<Output = ()>) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    read.await;
    ALLOCATOR.peak_usage().saturating_sub(before)
}

/// Follows the whole log, slowly enough that the next page is always fetched meanwhile.
async fn follow(store: &(impl EventStore + Clone)) {
    let all = usize::try_from(ALL).unwrap();
    let mut events = subscribe(store.clone(), Position::START, EventFilter::All).take(all);
    let (mut seen, mut bytes) = (0, 0);
    while let Some(event) = events.next().await {
        let event = event.unwrap();
        seen += 1;
        assert_eq!(event.position.get(), seen);
        bytes += event.payload.len();
    }
    assert_eq!((seen, bytes), (ALL, expected_bytes()));
}

/// Reads the stream as a command does, a page at a time.
async fn read(store: &impl EventStore) {
    let mut cursor = StreamCursor::new(StreamId::new("log-1").unwrap(), Version::EMPTY);
    let (mut up_to, mut bytes) = (None, 0);
    loop {
        let request = ReadStreamsRequest {
            streams: vec![cursor.clone()],
            snapshot: up_to,
            limit: MAX_PAGE_EVENTS,
            idempotency_key: None,
        };
        let page = store.read_streams(request).await.unwrap();
        up_to = Some(page.snapshot);
        for event in &page.events {
            assert_eq!(event.version, cursor.after.plus(1));
            cursor.after = event.version;
            bytes += event.payload.len();
        }
        if page.versions() == [cursor.after] {
            break;
        }
    }
    assert_eq!((cursor.after.get(), bytes), (ALL, expected_bytes()));
}

fn expected_bytes() -> usize {
    usize::try_from(SMALL).unwrap() + usize::try_from(LARGE).unwrap() * BYTES
}

/// A store whose log is made by SQLite itself: to append so much would take the test longer than to read it.
async fn sqlite(folder: &tempfile::TempDir) -> SqliteEventStore {
    let path = folder.path().join("large.db");
    let store = SqliteEventStore::open(&path).await.unwrap();
    store.close().await;
    let connection = Connection::open(&path).unwrap();
    let fill = format!(
        "PRAGMA synchronous = OFF;
         INSERT INTO streams (name) VALUES ('log-1');
         INSERT INTO event_types (category, name) VALUES ('log', 'Noted');
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ALL})
         INSERT INTO events (position, stream, version, type, event_id, recorded_at, payload)
         SELECT n, 1, n, 1, zeroblob(16), n, iif(n <= {SMALL}, '1', '\"' || printf('%.*c', {BYTES} - 2, 'x') || '\"') FROM n"
    );
    connection.execute_batch(&fill).unwrap();
    drop(connection);
    SqliteEventStore::open(&path).await.unwrap()
}

async fn postgres() -> eventcore::postgres::PostgresEventStore {
    let config = server::config();
    let store = config.connect().await.unwrap();
    let schema = server::schema_of(&config);
    let (client, connection) = tokio_postgres::connect(&server::url(), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let fill = format!(
        "INSERT INTO {schema}.streams VALUES (1, 'log-1');
         INSERT INTO {schema}.event_types VALUES (1, 'log', 'Noted');
         INSERT INTO {schema}.events (position, stream, version, type, event_id, recorded_at, payload)
         SELECT n, 1, n, 1, gen_random_uuid(), now(),
                CASE WHEN n <= {SMALL} THEN '1' ELSE '\"' || repeat('x', {BYTES} - 2) || '\"' END::json
           FROM generate_series(1, {ALL}) n;
         UPDATE {schema}.sequencer SET position = {ALL}"
    );
    client.batch_execute(&fill).await.unwrap();
    store
}

#[tokio::test]
async fn a_reader_holds_a_few_pages_in_memory_and_not_all_that_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder).await;
    let followed = peak(follow(&store)).await;
    let read_on = peak(read(&store)).await;
    println!("SQLite: {followed} bytes to follow, {read_on} to read");
    store.close().await;

    let store = postgres().await;
    let followed_there = peak(follow(&store)).await;
    let read_there = peak(read(&store)).await;
    println!("PostgreSQL: {followed_there} bytes to follow, {read_there} to read");

    // The page in use, and the one that is fetched meanwhile.
    assert!(followed <= 3 * MAX_PAGE_BYTES, "SQLite: {followed} bytes");
    assert!(read_on <= 2 * MAX_PAGE_BYTES, "SQLite: {read_on} bytes");
    // The driver's buffer comes to that, which doubles when it grows, and is copied from.
    assert!(
        followed_there <= 6 * MAX_PAGE_BYTES,
        "PostgreSQL: {followed_there} bytes"
    );
    assert!(
        read_there <= 5 * MAX_PAGE_BYTES,
        "PostgreSQL: {read_there} bytes"
    );
}
