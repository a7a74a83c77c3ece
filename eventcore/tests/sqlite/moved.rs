//! The file is deleted, moved or replaced while the store is open: nothing is acknowledged that the next open does not find.

use std::{fs, path::Path};

use eventcore::{
    EventFilter, EventStore, EventStoreError, Position,
    sqlite::SqliteEventStore,
    store::{CommitReceipt, ReadFeedRequest},
};

use crate::append::request;

async fn append(store: &SqliteEventStore, version: u64) -> Result<CommitReceipt, EventStoreError> {
    let request = request("note-1", version, "1");
    // The runtime settles an open outcome by repeating the very same append.
    match store.append(request.clone()).await {
        Err(EventStoreError::OutcomeUnknown { source }) => {
            let why = source.to_string();
            assert!(
                why.contains("was deleted, moved or replaced while it was open"),
                "{why}"
            );
            store.append(request).await
        }
        result => result,
    }
}

async fn head(store: &SqliteEventStore) -> u64 {
    let request = ReadFeedRequest {
        after: Position::START,
        filter: EventFilter::All,
        limit: 1,
    };
    store.read_feed(request).await.unwrap().head.get()
}

fn with(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// A name, and what happens to the file.
type Accident = (&'static str, fn(&Path));

const ACCIDENTS: [Accident; 6] = [
    ("deleted", |path| fs::remove_file(path).unwrap()),
    ("moved", |path| {
        fs::rename(path, with(path, ".old")).unwrap();
    }),
    ("its folder moved", |path| {
        let folder = path.parent().unwrap();
        fs::rename(folder, with(folder, ".old")).unwrap();
    }),
    ("replaced by a copy", |path| {
        fs::copy(path, with(path, ".copy")).unwrap();
        fs::rename(with(path, ".copy"), path).unwrap();
    }),
    ("its log deleted", |path| {
        fs::remove_file(with(path, "-wal")).unwrap();
    }),
    ("everything deleted", |path| {
        for suffix in ["", "-wal", "-shm"] {
            fs::remove_file(with(path, suffix)).unwrap();
        }
    }),
];

#[tokio::test]
async fn no_commit_is_acknowledged_that_the_next_open_does_not_find() {
    for is_linked in [false, true] {
        for (accident, happens) in ACCIDENTS {
            let outer = tempfile::tempdir().unwrap();
            let folder = outer.path().join("store");
            fs::create_dir(&folder).unwrap();
            let path = folder.join("events.db");
            let opened = if is_linked {
                let link = outer.path().join("link.db");
                std::os::unix::fs::symlink(&path, &link).unwrap();
                link
            } else {
                path.clone()
            };
            let store = SqliteEventStore::open(&opened).await.unwrap();
            append(&store, 0).await.unwrap();
            happens(&path);
            for _ in 0..3 {
                let refused = append(&store, 1).await.unwrap_err();
                assert!(
                    matches!(&refused, EventStoreError::StorageMoved { location, .. }
                        if *location == path.display().to_string()),
                    "{accident}: {refused:?}"
                );
                let said = refused.to_string();
                assert!(said.contains("was deleted, moved or replaced"), "{said}");
            }
            store.close().await;
        }
    }
}

#[tokio::test]
async fn a_file_that_is_put_back_has_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let store = SqliteEventStore::open(&path).await.unwrap();
    for version in 0..5 {
        append(&store, version).await.unwrap();
    }
    let old = with(&path, ".old");
    fs::rename(&path, &old).unwrap();
    append(&store, 5).await.unwrap_err();
    fs::rename(&old, &path).unwrap();
    // Only an open looks at the files anew.
    append(&store, 5).await.unwrap_err();
    assert!(head(&store).await >= 5);
    store.close().await;
    let store = SqliteEventStore::open(&path).await.unwrap();
    let head = head(&store).await;
    assert!(head >= 5);
    append(&store, head).await.unwrap();
    store.close().await;
}
