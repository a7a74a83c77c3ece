//! The SQLite store when something is wrong: with the disk, the file, a row, a number, or the patience of a caller.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use eventcore::{
    CommitId, EventFilter, EventStore, EventStoreError, IdempotencyKey, Metadata, Position,
    StreamId, Version,
    sqlite::SqliteEventStore,
    store::{
        AppendRequest, MAX_PAGE_EVENTS, NewEvent, ReadFeedRequest, ReadStreamsRequest,
        StreamCursor, StreamPage,
    },
};
use rusqlite::Connection;

use crate::append::{self, expected};

struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("events.db")
    }

    async fn open(&self) -> SqliteEventStore {
        SqliteEventStore::open(self.path()).await.unwrap()
    }

    fn sql(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }
}

fn id(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

/// A commit that expects `streams` at these versions and appends one event to each of the first `written`.
fn commit(streams: &[(&str, u64)], written: usize) -> AppendRequest {
    keyed(streams, written, None)
}

fn keyed(streams: &[(&str, u64)], written: usize, key: Option<&str>) -> AppendRequest {
    let expected = streams
        .iter()
        .map(|(name, version)| expected(name, *version))
        .collect();
    let events = (0..written)
        .map(|stream| event(stream, r#"{"amount":5}"#))
        .collect();
    let key = key.map(|key| IdempotencyKey::new(key).unwrap());
    AppendRequest::new(
        CommitId::generate(),
        expected,
        events,
        Metadata::default(),
        key,
    )
    .unwrap()
}

fn event(stream: usize, payload: &str) -> NewEvent {
    NewEvent {
        stream,
        type_name: "Deposited",
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

fn reading(streams: &[(&str, u64)], limit: usize) -> ReadStreamsRequest {
    ReadStreamsRequest {
        streams: streams
            .iter()
            .map(|(name, after)| StreamCursor::new(id(name), Version::new(*after)))
            .collect(),
        snapshot: None,
        limit,
        idempotency_key: None,
    }
}

async fn all(store: &SqliteEventStore) -> Vec<eventcore::RecordedEvent> {
    let mut events = Vec::new();
    loop {
        let after = events
            .last()
            .map_or(Position::START, |event: &eventcore::RecordedEvent| {
                event.position
            });
        let request = ReadFeedRequest {
            after,
            filter: EventFilter::All,
            limit: MAX_PAGE_EVENTS,
        };
        let page = store.read_feed(request).await.unwrap().events;
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}

fn positions(page: &StreamPage) -> Vec<u64> {
    page.events
        .iter()
        .map(|event| event.position.get())
        .collect()
}

fn assert_dense(events: &[eventcore::RecordedEvent]) {
    for (number, event) in (1..).zip(events) {
        assert_eq!(event.position, Position::new(number));
    }
}

#[tokio::test]
async fn pages_of_many_streams_follow_one_another_in_commit_order() {
    let file = File::new();
    let store = file.open().await;
    let streams = [("a-1", 0), ("a-2", 0), ("a-3", 0)];
    for version in 0..20 {
        let order = match version % 3 {
            0 => [("a-1", version), ("a-2", version), ("a-3", version)],
            1 => [("a-3", version), ("a-1", version), ("a-2", version)],
            _ => [("a-2", version), ("a-3", version), ("a-1", version)],
        };
        store.append(commit(&order, 3)).await.unwrap();
    }
    for limit in [1, 2, 7, 59, 60, 1000] {
        let mut request = reading(&streams, limit);
        let mut seen = Vec::new();
        loop {
            let page = store.read_streams(request.clone()).await.unwrap();
            assert_eq!(page.versions(), [Version::new(20); 3], "limit {limit}");
            assert_eq!(page.snapshot, Position::new(60));
            request.snapshot = Some(page.snapshot);
            seen.extend(positions(&page));
            for event in &page.events {
                request.streams[event.stream].after = event.version;
            }
            if page.events.len() < limit {
                break;
            }
        }
        assert_eq!(seen, (1..=60).collect::<Vec<_>>(), "limit {limit}");
    }
    // A snapshot of the past, though the streams have gone on.
    let mut request = reading(&streams, 1000);
    request.snapshot = Some(Position::new(31));
    let page = store.read_streams(request).await.unwrap();
    assert_eq!(positions(&page), (1..=31).collect::<Vec<_>>());
    assert_eq!(page.versions(), [10, 10, 11].map(Version::new).as_slice());
}

/// A page that shows more than it says to have looked at would show it again to whoever reads on from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_of_a_growing_stream_shows_what_it_says() {
    const COMMITS: u64 = 500;
    let file = File::new();
    let store = file.open().await;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for version in 0..COMMITS {
                let streams = [("a-1", version), ("b-1", version)];
                store.append(commit(&streams, 2)).await.unwrap();
            }
        }
    });
    let (mut after, mut up_to) = (0, 0);
    while up_to < 2 * COMMITS {
        let request = ReadFeedRequest {
            after: Position::new(after),
            filter: EventFilter::Stream(id("b-1")),
            limit: 1000,
        };
        let page = store.read_feed(request).await.unwrap();
        up_to = page.scanned_to.get();
        let versions = page.events.iter().map(|event| event.version.get());
        assert!(
            versions.eq(after / 2 + 1..=up_to / 2),
            "{after} to {up_to}: {:?}",
            page.events
        );
        // Not from there on: then there would be nothing to read most of the time.
        after = up_to.saturating_sub(8);
    }
    writer.await.unwrap();
}

/// 300 streams of 300 events; `benches/sqlite.rs` times such a page.
#[tokio::test]
async fn a_page_of_many_long_streams_is_in_commit_order() {
    let file = File::new();
    let store = file.open().await;
    let names: Vec<String> = (0..300).map(|number| format!("long-{number}")).collect();
    for version in 0..300 {
        let streams: Vec<_> = names.iter().map(|name| (name.as_str(), version)).collect();
        store.append(commit(&streams, 300)).await.unwrap();
    }
    let streams: Vec<_> = names.iter().map(|name| (name.as_str(), 0)).collect();
    let page = store.read_streams(reading(&streams, 1000)).await.unwrap();
    assert_eq!(positions(&page), (1..=1000).collect::<Vec<_>>());
    assert_eq!(page.versions(), vec![Version::new(300); 300]);
}

#[tokio::test]
async fn numbers_beyond_what_sqlite_stores_are_no_more_than_large() {
    let file = File::new();
    let store = file.open().await;
    store.append(commit(&[("a-1", 0)], 1)).await.unwrap();
    let refused = store.append(commit(&[("a-1", u64::MAX)], 1)).await;
    assert!(
        matches!(refused, Err(EventStoreError::VersionConflict(_))),
        "{refused:?}"
    );
    let page = store
        .read_streams(reading(&[("a-1", u64::MAX)], 1))
        .await
        .unwrap();
    assert_eq!(page.versions(), [Version::new(1)]);
    let request = ReadFeedRequest {
        after: Position::new(u64::MAX),
        filter: EventFilter::All,
        limit: 1,
    };
    assert!(store.read_feed(request).await.unwrap().events.is_empty());
}

#[tokio::test]
async fn closing_finishes_what_is_queued_and_refuses_the_rest() {
    let file = File::new();
    let store = file.open().await;
    let queued: Vec<_> = (0..50)
        .map(|number| {
            let (store, stream) = (store.clone(), format!("a-{number}"));
            tokio::spawn(async move { store.append(commit(&[(&stream, 0)], 1)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await;
    let refused = store.append(commit(&[("b-1", 0)], 1)).await;
    assert!(
        matches!(refused, Err(EventStoreError::Closed)),
        "{refused:?}"
    );
    let mut made = 0;
    for task in queued {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(EventStoreError::Closed) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    store.close().await;
    // All connections are closed, so the write-ahead log is in the file and gone.
    assert!(!file.folder.path().join("events.db-wal").exists());
    assert_eq!(all(&file.open().await).await.len(), made);
}

#[tokio::test]
async fn a_caller_that_is_gone_leaves_a_whole_commit_or_nothing() {
    let file = File::new();
    let store = file.open().await;
    for number in 0..200 {
        let (a, b) = (format!("a-{number}"), format!("b-{number}"));
        let append = store.append(commit(&[(&a, 0), (&b, 0)], 2));
        let _ = tokio::time::timeout(Duration::from_micros(number * 10), append).await;
    }
    store.append(commit(&[("c-1", 0)], 1)).await.unwrap();
    let events = all(&store).await;
    assert_dense(&events);
    for pair in events[..events.len() - 1].chunks(2) {
        assert_eq!(pair[0].commit_id(), pair[1].commit_id());
    }
}

async fn assert_left_alone(path: &Path) {
    let before = std::fs::read(path).unwrap();
    match SqliteEventStore::open(path).await {
        Err(EventStoreError::NotAnEventStore { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(std::fs::read(path).unwrap() == before);
}

#[tokio::test]
async fn what_is_no_event_store_is_left_alone() {
    let file = File::new();
    std::fs::write(file.path(), "a shopping list ".repeat(100)).unwrap();
    assert_left_alone(&file.path()).await;

    let file = File::new();
    file.sql()
        .execute_batch("CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine');")
        .unwrap();
    assert_left_alone(&file.path()).await;

    let file = File::new();
    file.sql()
        .pragma_update(None, "application_id", 77)
        .unwrap();
    assert_left_alone(&file.path()).await;
}

/// Its application was killed, so its rows are still in its log; they are its own to check in.
#[tokio::test]
async fn the_log_of_another_application_is_left_alone() {
    let file = File::new();
    let other = file.sql();
    other
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE notes (text);")
        .unwrap();
    let copy = File::new();
    let log = copy.folder.path().join("events.db-wal");
    std::fs::copy(file.path(), copy.path()).unwrap();
    std::fs::copy(file.folder.path().join("events.db-wal"), &log).unwrap();
    let before = std::fs::read(&log).unwrap();
    assert_left_alone(&copy.path()).await;
    assert!(std::fs::read(&log).unwrap() == before);
}

#[tokio::test]
async fn a_place_without_a_file_is_an_error_that_names_it() {
    let file = File::new();
    let path = file.folder.path().join("no/such/folder.db");
    match SqliteEventStore::open(&path).await {
        Err(error @ EventStoreError::Other { .. }) => {
            assert!(error.to_string().contains("no/such/folder.db"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // Each connection would have a database of its own.
    match SqliteEventStore::open(":memory:").await {
        Err(error) => assert!(error.to_string().contains("MemoryEventStore"), "{error}"),
        Ok(_) => panic!("opened"),
    }
}

#[tokio::test]
async fn rows_cannot_be_changed_or_removed() {
    let file = File::new();
    let store = file.open().await;
    store
        .append(keyed(&[("a-1", 0)], 1, Some("key")))
        .await
        .unwrap();
    let sql = file.sql();
    for (table, column) in [
        ("events", "version"),
        ("streams", "name"),
        ("event_types", "name"),
        ("idempotency", "position"),
    ] {
        for change in [
            format!("UPDATE {table} SET {column} = 7"),
            format!("DELETE FROM {table}"),
        ] {
            let error = sql.execute_batch(&change).unwrap_err().to_string();
            assert_eq!(error, format!("{table} is append-only"), "{change}");
        }
    }
    // By default, REPLACE removes rows without a word to the triggers on DELETE.
    for (table, row) in [
        ("streams", "VALUES (1, 'b-1')"),
        ("streams", "VALUES (7, 'a-1')"),
        ("event_types", "VALUES (1, 'b', 'Noted')"),
        ("event_types", "SELECT 7, category, name FROM event_types"),
        (
            "events",
            "SELECT position, 7, 7, type, event_id, recorded_at, '2', NULL FROM events",
        ),
        (
            "events",
            "SELECT 7, stream, version, type, event_id, recorded_at, '2', NULL FROM events",
        ),
        (
            "events",
            "SELECT 0, 7, 7, type, event_id, recorded_at, '2', NULL FROM events",
        ),
        (
            "events",
            "SELECT 7, stream, 0, type, event_id, recorded_at, '2', NULL FROM events",
        ),
        (
            "idempotency",
            "SELECT key, 7, 7, commit_id, fingerprint FROM idempotency",
        ),
    ] {
        let change = format!("REPLACE INTO {table} {row}");
        let error = sql.execute_batch(&change).unwrap_err().to_string();
        assert_eq!(error, format!("{table} is append-only"), "{change}");
    }
    assert_eq!(all(&store).await.len(), 1);
}

/// A damaged payload does not keep readers from the events around it: the event is returned, and decoding it is the error.
#[tokio::test]
async fn a_payload_that_is_no_utf_8_is_an_error_of_its_event_alone() {
    let file = File::new();
    let store = file.open().await;
    store.append(commit(&[("a-1", 0)], 1)).await.unwrap();
    store.append(commit(&[("a-2", 0)], 1)).await.unwrap();
    file.sql()
        .execute_batch(
            "DROP TRIGGER events_no_UPDATE;
             UPDATE events SET payload = CAST(x'ff' AS TEXT) WHERE position = 1;",
        )
        .unwrap();
    let request = ReadFeedRequest {
        after: Position::START,
        filter: EventFilter::All,
        limit: 10,
    };
    let events = store.read_feed(request).await.unwrap().events;
    let [damaged, sound] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(&damaged.payload[..], b"\xff");
    assert!(serde_json::from_slice::<serde_json::Value>(&damaged.payload).is_err());
    assert!(serde_json::from_slice::<serde_json::Value>(&sound.payload).is_ok());
}

#[tokio::test]
async fn a_damaged_row_is_an_error_that_says_so() {
    for (damage, why) in [
        ("event_id = x'00'", "an id that is too short"),
        ("recorded_at = -1", "a negative time"),
        ("version = -1", "a negative version"),
        ("metadata = 'no JSON'", "metadata that is no JSON"),
        (
            "metadata = CAST(x'ff' AS TEXT)",
            "metadata that is no UTF-8",
        ),
        ("type = 99", "a type without a name"),
    ] {
        let file = File::new();
        let store = file.open().await;
        store.append(commit(&[("a-1", 0)], 1)).await.unwrap();
        file.sql()
            .execute_batch(&format!(
                "DROP TRIGGER events_no_UPDATE; UPDATE events SET {damage};"
            ))
            .unwrap();
        let request = ReadFeedRequest {
            after: Position::START,
            filter: EventFilter::All,
            limit: 1,
        };
        let read = store.read_feed(request).await;
        assert!(
            matches!(read, Err(EventStoreError::Corrupt { .. })),
            "{why}: {read:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_stays_locked_is_busy_and_nothing_is_lost() {
    let file = File::new();
    let store = file.open().await;
    let locked = file.sql();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let (store, stream) = (store.clone(), format!("a-{number}"));
            tokio::spawn(async move { store.append(commit(&[(&stream, 0)], 1)).await })
        })
        .collect();
    for task in tasks {
        let refused = task.await.unwrap();
        assert!(
            matches!(refused, Err(EventStoreError::Busy { .. })),
            "{refused:?}"
        );
    }
    locked.execute_batch("ROLLBACK").unwrap();
    store.append(commit(&[("a-1", 0)], 1)).await.unwrap();
}

/// An index that somebody added takes the first event and refuses the second, as a failing disk might.
#[tokio::test]
async fn a_commit_that_fails_halfway_leaves_nothing() {
    let file = File::new();
    let store = file.open().await;
    let index = "CREATE UNIQUE INDEX theirs ON events (payload)";
    file.sql().execute_batch(index).unwrap();
    let halfway = || commit(&[("a-1", 0), ("b-1", 0)], 2);
    for _ in 0..2 {
        let refused = store.append(halfway()).await;
        assert!(
            matches!(refused, Err(EventStoreError::Other { .. })),
            "{refused:?}"
        );
        assert!(all(&store).await.is_empty());
    }
    // Its names are interned again, and another process can have the lock.
    store.append(commit(&[("b-1", 0)], 1)).await.unwrap();
    file.sql().execute_batch("DROP INDEX theirs").unwrap();
    store.append(commit(&[("a-1", 0)], 1)).await.unwrap();
    let events = all(&store).await;
    let streams = events.iter().map(|event| event.stream.as_str());
    assert_eq!(streams.collect::<Vec<_>>(), ["b-1", "a-1"]);
    assert!(events.iter().all(|event| &*event.type_name == "Deposited"));
    assert_dense(&events);
}

/// A small file system of its own, where we may mount one.
struct Mount {
    folder: tempfile::TempDir,
}

impl Mount {
    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Self { folder };
        mount
            .run(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .then_some(mount)
    }

    fn run(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new("mount");
        let output = command.args(arguments).arg(self.folder.path()).output();
        let done = output.is_ok_and(|output| output.status.success());
        if !done {
            eprintln!("skipped: nothing can be mounted here");
        }
        done
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("events.db")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .output();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_commits_and_loses_none() {
    let Some(mount) = Mount::new("4m") else {
        return;
    };
    let store = SqliteEventStore::open(mount.path()).await.unwrap();
    let mut kept = 0;
    let refused = loop {
        let payload = format!("\"{}\"", "x".repeat(20_000));
        let request = append::commit(vec![expected("a-1", kept)], vec![event(0, &payload)]);
        match store.append(request).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 1000);
    };
    assert!(
        matches!(refused, EventStoreError::StorageFull { .. }),
        "{refused:?}"
    );
    assert!(kept > 0);
    let kept = usize::try_from(kept).unwrap();
    assert_eq!(all(&store).await.len(), kept);
    // Its own later commits, and another process, go on from there once there is space.
    assert!(mount.run(&["-o", "remount,size=16m"]));
    store
        .append(commit(&[("a-1", u64::try_from(kept).unwrap())], 1))
        .await
        .unwrap();
    let events = all(&SqliteEventStore::open(mount.path()).await.unwrap()).await;
    assert_eq!(events.len(), kept + 1);
    assert_dense(&events);
}

/// SQLite finds out at the COMMIT of the whole batch; those commits that fit must be made all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_does_not_fit_fails_alone() {
    for (size, events) in [("4m", 8), ("1m", 2)] {
        let Some(mount) = Mount::new(size) else {
            return;
        };
        let store = SqliteEventStore::open(mount.path()).await.unwrap();
        let large = event(0, &format!("\"{}\"", "x".repeat(700_000)));
        let large = append::commit(vec![expected("large-1", 0)], vec![large; events]);
        // The writer waits for the lock, and meanwhile the others queue up into one batch.
        let locked = Connection::open(mount.path()).unwrap();
        locked.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut tasks = Vec::new();
        for request in [
            commit(&[("w-1", 0)], 1),
            commit(&[("a-1", 0)], 1),
            large,
            commit(&[("b-1", 0)], 1),
        ] {
            let store = store.clone();
            tasks.push(tokio::spawn(async move { store.append(request).await }));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        locked.execute_batch("ROLLBACK").unwrap();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        let refused = results.remove(2);
        assert!(
            matches!(refused, Err(EventStoreError::StorageFull { .. })),
            "{refused:?}"
        );
        assert!(results.iter().all(Result::is_ok), "{size}: {results:?}");
        let events = all(&store).await;
        assert_eq!(events.len(), 3);
        assert_dense(&events);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_read_only() {
    let Some(mount) = Mount::new("4m") else {
        return;
    };
    let store = Arc::new(SqliteEventStore::open(mount.path()).await.unwrap());
    store.append(commit(&[("a-1", 0)], 1)).await.unwrap();
    store.close().await;
    drop(store);
    assert!(mount.run(&["-o", "remount,ro"]));
    match SqliteEventStore::open(mount.path()).await {
        Err(EventStoreError::ReadOnly { location, .. }) => {
            assert!(location.ends_with("events.db"), "{location}");
        }
        other => panic!("{other:?}"),
    }
}

/// The path that a child process opens, which may be read and not written.
const READ_ONLY: &str = "EVENTCORE_TEST_READ_ONLY";

/// The child of the test below; without its variable there is nothing to do.
#[tokio::test]
async fn child_that_may_only_read() {
    let Some(path) = std::env::var_os(READ_ONLY) else {
        return;
    };
    match SqliteEventStore::open(&path).await {
        Err(EventStoreError::ReadOnly { location, .. }) => {
            assert!(location.ends_with("events.db"), "{location}");
            println!("not opened, read-only");
        }
        other => panic!("{other:?}"),
    }
}

/// By its permissions, which mean nothing to root: as root, the process that opens it is another user's.
#[tokio::test]
async fn a_file_without_permission_to_write_is_read_only() {
    // SQLite itself reads a file that it may not write if it finds its log's index, or may make it.
    for (case, folder_mode, in_use) in [
        ("file", 0o777, false),
        ("file and folder", 0o555, false),
        ("in use", 0o555, true),
    ] {
        let file = File::new();
        let store = file.open().await;
        store.append(commit(&[("a-1", 0)], 1)).await.unwrap();
        if !in_use {
            store.close().await;
        }
        // Where another user reaches it.
        let program = file.folder.path().join("child");
        // Another process copies it: a program that is open for writing in this one cannot be run, and a process that
        // another test starts keeps it open for a moment.
        let copied = Command::new("cp")
            .arg(std::env::current_exe().unwrap())
            .arg(&program)
            .status();
        assert!(copied.unwrap().success());
        for entry in std::fs::read_dir(file.folder.path()).unwrap() {
            set_mode(&entry.unwrap().path(), 0o444);
        }
        set_mode(&program, 0o555);
        set_mode(file.folder.path(), folder_mode);
        let before = std::fs::read(file.path()).unwrap();

        let is_root = std::fs::OpenOptions::new()
            .append(true)
            .open(file.path())
            .is_ok();
        let mut child = if is_root {
            let mut other_user = Command::new("setpriv");
            other_user.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
            other_user.arg(&program);
            other_user
        } else {
            Command::new(&program)
        };
        child.args(["faults::child_that_may_only_read", "--exact", "--nocapture"]);
        let child = child.env(READ_ONLY, file.path());
        let output = child.output().expect("setpriv, of util-linux, is there");
        let said = String::from_utf8_lossy(&output.stdout);
        let refused = output.status.success() && said.contains("not opened, read-only");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(refused, "{case}: {said}{complaint}");
        assert!(std::fs::read(file.path()).unwrap() == before, "{case}");

        // So that the folder can be removed.
        set_mode(file.folder.path(), 0o777);
        if in_use {
            assert_eq!(all(&store).await.len(), 1, "{case}");
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, permissions).unwrap();
}
