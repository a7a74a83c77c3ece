//! SQLite as a file: opened again, shared, damaged, foreign, full.

use std::{fs, path::Path, time::Duration};

use eventcore::{
    EventFilter, EventStore, EventStoreError, Position, Version,
    sqlite::SqliteEventStore,
    store::{CommitReceipt, ReadFeedRequest},
};
use rusqlite::Connection;

use crate::append::request;

async fn append(
    store: &SqliteEventStore,
    stream: &str,
    version: u64,
) -> Result<CommitReceipt, EventStoreError> {
    store.append(request(stream, version, "1")).await
}

async fn count(store: &SqliteEventStore) -> usize {
    store
        .read_feed(ReadFeedRequest {
            after: Position::START,
            filter: EventFilter::All,
            limit: 1000,
        })
        .await
        .unwrap()
        .events
        .len()
}

async fn refused(path: &Path) -> EventStoreError {
    SqliteEventStore::open(path)
        .await
        .expect_err("the file is refused")
}

#[test]
fn the_sqlite_that_runs_keeps_what_it_commits() {
    // Before 3.51.3 a WAL reset at the wrong moment could lose a committed write.
    assert!(
        rusqlite::version_number() >= 3_051_003,
        "{}",
        SqliteEventStore::sqlite_version()
    );
}

#[tokio::test]
async fn a_file_holds_its_events_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.db");
    for round in 0..3 {
        let store = SqliteEventStore::open(&path).await.unwrap();
        assert_eq!(count(&store).await, round);
        append(&store, "account-1", round as u64).await.unwrap();
    }
}

/// The first process creates the file and the others wait, in every interleaving of their steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_is_opened_by_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let path = folder.path().join(format!("{round}.db"));
        let open = (0..12).map(|_| tokio::spawn(SqliteEventStore::open(path.clone())));
        for opened in open.collect::<Vec<_>>() {
            if let Err(error) = opened.await.unwrap() {
                panic!("round {round}: {error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_file_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.db");
    // Separate connections and threads: to SQLite the same as separate processes.
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let store = SqliteEventStore::open(&path).await.unwrap();
        tasks.push(tokio::spawn(async move {
            for n in 0..100 {
                let mut version = n;
                while let Err(error) = append(&store, "account-shared", version).await {
                    match error {
                        EventStoreError::VersionConflict(conflict) => {
                            version = conflict.actual.get();
                        }
                        EventStoreError::Busy { .. } => {}
                        other => panic!("{other}"),
                    }
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let store = SqliteEventStore::open(&path).await.unwrap();
    let log = store
        .read_feed(ReadFeedRequest {
            after: Position::START,
            filter: EventFilter::All,
            limit: 1000,
        })
        .await
        .unwrap()
        .events;
    assert!(log.iter().map(|event| event.position.get()).eq(1..=200));
    assert!(log.iter().map(|event| event.version.get()).eq(1..=200));
}

/// Each remembers where its streams are, and must not believe it when the other one has committed in between.
#[tokio::test]
async fn two_stores_that_take_turns_know_what_the_other_did() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.db");
    let stores = [
        SqliteEventStore::open(&path).await.unwrap(),
        SqliteEventStore::open(&path).await.unwrap(),
    ];
    for version in 0..20 {
        for store in stores.iter().cycle().skip(version % 2).take(2) {
            let conflict = append(store, "account-1", 77).await;
            assert!(
                matches!(&conflict, Err(EventStoreError::VersionConflict(conflict))
                    if conflict.actual == Version::new(version as u64)),
                "{version}: {conflict:?}"
            );
        }
        let done = append(&stores[version % 2], "account-1", version as u64).await;
        assert_eq!(done.unwrap().position.get(), version as u64 + 1);
    }
}

/// By whoever waits on another store on the same file: separate connections are to SQLite the same as processes.
#[tokio::test]
async fn a_waiter_notices_what_another_process_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.db");
    let (here, there) = (
        SqliteEventStore::open(&path).await.unwrap(),
        SqliteEventStore::open(&path).await.unwrap(),
    );
    let soon = Duration::from_mins(10);
    for version in 0..20 {
        let waiting = tokio::spawn({
            let here = here.clone();
            async move { here.wait_for_event(Position::new(version)).await }
        });
        tokio::time::sleep(Duration::from_millis(version)).await;
        assert!(!waiting.is_finished(), "there is no event {}", version + 1);
        append(&there, "account-1", version).await.unwrap();
        let woken = tokio::time::timeout(soon, waiting).await;
        woken.expect("the commit went unnoticed").unwrap().unwrap();
    }
}

#[tokio::test]
async fn closing_ends_every_wait() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteEventStore::open(folder.path().join("bank.db"))
        .await
        .unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.wait_for_event(Position::START).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    store.close().await;
    let log = folder.path().join("bank.db-wal");
    assert!(!log.exists(), "a connection is still open");
    for end in [
        waiting.await.unwrap(),
        store.wait_for_event(Position::START).await,
    ] {
        assert!(matches!(end, Err(EventStoreError::Closed)), "{end:?}");
    }
}

#[tokio::test]
async fn the_database_itself_refuses_to_change_or_remove() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.db");
    let store = SqliteEventStore::open(&path).await.unwrap();
    append(&store, "account-1", 0).await.unwrap();
    let connection = Connection::open(&path).unwrap();
    for sql in [
        "UPDATE events SET payload = '2'",
        "DELETE FROM events",
        "UPDATE streams SET name = 'x-1'",
    ] {
        let error = connection.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_event_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(
        &text,
        "not a database at all, but long enough to be looked at ".repeat(100),
    )
    .unwrap();
    let before = fs::read(&text).unwrap();
    assert!(matches!(
        refused(&text).await,
        EventStoreError::NotAnEventStore { .. }
    ));
    assert_eq!(fs::read(&text).unwrap(), before);

    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE mine (id INTEGER)")
        .unwrap();
    let before = fs::read(&foreign).unwrap();
    let error = refused(&foreign).await;
    assert!(
        matches!(error, EventStoreError::NotAnEventStore { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("foreign.db"), "{error}");
    assert_eq!(fs::read(&foreign).unwrap(), before);

    let nowhere = refused(&folder.path().join("no/such/folder.db")).await;
    assert!(
        matches!(nowhere, EventStoreError::Other { .. }),
        "{nowhere:?}"
    );
    let said = nowhere.to_string();
    assert!(
        said.contains("no/such/folder.db") && said.contains("its folder must exist"),
        "{said}"
    );
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.db");
    SqliteEventStore::open(&path).await.unwrap().close().await;
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let before = fs::read(&path).unwrap();
    match refused(&path).await {
        EventStoreError::NewerSchema {
            found, supported, ..
        } => assert_eq!((found, supported), (99, 1)),
        other => panic!("{other}"),
    }
    assert!(fs::read(&path).unwrap() == before, "it was written to");
}

#[tokio::test]
async fn a_full_database_says_so_and_takes_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.db");
    let store = SqliteEventStore::open(&path).await.unwrap();
    append(&store, "account-1", 0).await.unwrap();
    // A file system of 4 MiB, if this machine lets us mount one; SQLite reports both kinds of full alike.
    let mount = folder.path().join("small");
    fs::create_dir(&mount).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(&mount)
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("NOT RUN: mounting a small file system takes root");
        return;
    }
    let store = SqliteEventStore::open(mount.join("bank.db")).await.unwrap();
    let payload = format!("\"{}\"", "x".repeat(100_000));
    let mut written = 0;
    let error = loop {
        match store.append(request("account-1", written, &payload)).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100, "the disk is never full");
    };
    assert!(
        matches!(error, EventStoreError::StorageFull { .. }),
        "{error:?}"
    );
    assert_eq!(
        count(&store).await as u64,
        written,
        "the refused event is there"
    );
    let grown = std::process::Command::new("mount")
        .args(["-o", "remount,size=64m"])
        .arg(&mount)
        .status()
        .is_ok_and(|status| status.success());
    assert!(grown);
    let resumed = store.append(request("account-1", written, &payload)).await;
    assert_eq!(resumed.unwrap().position.get(), written + 1);
    drop(store);
    let _ = std::process::Command::new("umount")
        .arg("-l")
        .arg(&mount)
        .status();
}
