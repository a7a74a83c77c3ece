//! Several real processes on one SQLite file: this test runs itself again as writers.

use std::{
    env,
    process::{Command, Stdio},
};

use eventcore::{
    EventFilter, EventStore, EventStoreError, Position, StreamId, Version,
    sqlite::SqliteEventStore,
    store::{ReadFeedRequest, ReadStreamsRequest, StreamCursor},
};

use crate::append::{commit, expected, noted};

const FILE: &str = "EVENTCORE_TEST_FILE";
const WRITER: &str = "EVENTCORE_TEST_WRITER";
const PROCESSES: usize = 6;
const COMMITS: u64 = 40;

/// Commits to a stream of its own and to one that all processes share. Nothing but a conflict may come in between.
async fn write(path: &str, writer: &str) {
    let store = SqliteEventStore::open(path).await.unwrap();
    let own = StreamId::new(format!("own-{writer}")).unwrap();
    let shared = StreamId::new("shared-1").unwrap();
    for number in 0..COMMITS {
        loop {
            let cursor = StreamCursor::new(shared.clone(), Version::EMPTY);
            let read = store.read_streams(ReadStreamsRequest {
                streams: vec![cursor],
                snapshot: None,
                limit: 1,
                idempotency_key: None,
            });
            let version = read.await.unwrap().versions()[0];
            let payload = version.to_string();
            let request = commit(
                vec![
                    expected(own.as_str(), number),
                    expected(shared.as_str(), version.get()),
                ],
                vec![noted(0, &payload), noted(1, &payload)],
            );
            match store.append(request).await {
                Ok(_) => break,
                Err(EventStoreError::VersionConflict(conflict)) => {
                    assert_eq!(
                        conflict.stream, shared,
                        "a commit of its own was lost or doubled"
                    );
                }
                Err(other) => panic!("a failure without reason: {other}"),
            }
        }
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_write_one_file_and_lose_nothing() {
    if let (Ok(path), Ok(writer)) = (env::var(FILE), env::var(WRITER)) {
        return write(&path, &writer).await;
    }
    let folder = tempfile::tempdir().unwrap();
    // It is not there yet: they also race to create it.
    let path = folder.path().join("events.db");
    let start = |writer: usize| {
        Command::new(env::current_exe().unwrap())
            .args([
                "processes::many_processes_write_one_file_and_lose_nothing",
                "--exact",
            ])
            .env(FILE, &path)
            .env(WRITER, writer.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let writers: Vec<_> = (0..PROCESSES).map(start).collect();
    for writer in writers {
        let output = writer.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let store = SqliteEventStore::open(&path).await.unwrap();
    let page = store.read_feed(ReadFeedRequest {
        after: Position::START,
        filter: EventFilter::All,
        limit: 1000,
    });
    let events = page.await.unwrap().events;
    let commits = PROCESSES as u64 * COMMITS;
    let positions = events.iter().map(|event| event.position.get());
    assert!(positions.eq(1..=commits * 2), "positions are not dense");
    for (number, commit) in (0..).zip(events.chunks(2)) {
        assert_eq!(commit[0].commit_id(), commit[1].commit_id(), "torn");
        assert_eq!(commit[1].stream.as_str(), "shared-1");
        assert_eq!(commit[1].version.get(), number + 1);
        assert_eq!(commit[1].payload, number.to_string(), "on a stale version");
    }
}
