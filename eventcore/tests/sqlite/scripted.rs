//! A projection whose statements are data, and a picture of a SQLite database that holds all of it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use eventcore::{
    EventFilter, EventStore, Position, RecordedEvent,
    projection::{ErrorPolicy, Projection, ProjectionError, ProjectionRunner, RebuildOutcome},
    sqlite::{
        SqliteEventStore, SqliteTransaction,
        rusqlite::{self, Connection, types::Value},
    },
    store::ReadFeedRequest,
};

use crate::projection::add;

pub const SOON: Duration = Duration::from_mins(10);

/// Runs `prepare` once and a text for each event, made from its position.
#[derive(Clone)]
pub struct Scripted {
    pub prepare: Arc<str>,
    pub apply: Arc<dyn Fn(u64) -> String + Send + Sync>,
    /// Errors of SQLite are swallowed.
    pub is_deaf: bool,
    /// The number of calls of `apply`.
    pub calls: Arc<AtomicUsize>,
}

impl Scripted {
    pub fn new(prepare: &str, apply: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        Self {
            prepare: prepare.into(),
            apply: Arc::new(apply),
            is_deaf: false,
            calls: Arc::default(),
        }
    }
}

impl Projection<SqliteTransaction> for Scripted {
    type Feed = RecordedEvent;
    type Error = rusqlite::Error;
    const NAME: &'static str = "zoo";

    async fn prepare(&self, tx: &mut SqliteTransaction) -> Result<(), rusqlite::Error> {
        let prepared = tx.execute_batch(&self.prepare);
        if self.is_deaf { Ok(()) } else { prepared }
    }

    async fn apply(
        &self,
        _: RecordedEvent,
        recorded: &RecordedEvent,
        tx: &mut SqliteTransaction,
    ) -> Result<(), rusqlite::Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let applied = tx.execute_batch(&(self.apply)(recorded.position.get()));
        if self.is_deaf { Ok(()) } else { applied }
    }
}

pub fn runner(
    store: &SqliteEventStore,
    projection: Scripted,
) -> ProjectionRunner<SqliteEventStore, SqliteEventStore, Scripted> {
    ProjectionRunner::new(store.clone(), projection).on_error(ErrorPolicy::stop())
}

/// Projects live up to the end of the log.
pub async fn project(store: &SqliteEventStore, projection: Scripted) {
    let running = runner(store, projection).start();
    let end = head(store).await;
    let waited = running.wait_for(end, SOON).await;
    let stopped = running.stop().await;
    assert!(waited.is_ok(), "it does not get there: {stopped:?}");
    stopped.unwrap();
}

pub async fn rebuild(store: &SqliteEventStore, projection: Scripted) {
    let outcome = runner(store, projection).start_rebuild().join().await;
    assert_eq!(outcome.unwrap(), RebuildOutcome::Swapped);
}

/// Runs until it ends with an error.
pub async fn fails(store: &SqliteEventStore, projection: Scripted) -> ProjectionError {
    // A refusal is none of the policy's business.
    let runner = ProjectionRunner::new(store.clone(), projection).on_error(ErrorPolicy::park());
    let mut running = runner.start();
    running.join().await.unwrap_err()
}

/// Rebuilds until it ends with an error.
pub async fn rebuild_fails(store: &SqliteEventStore, projection: Scripted) -> ProjectionError {
    let runner = ProjectionRunner::new(store.clone(), projection).on_error(ErrorPolicy::park());
    runner.start_rebuild().join().await.unwrap_err()
}

pub async fn head(store: &SqliteEventStore) -> Position {
    let request = ReadFeedRequest {
        after: Position::new(u64::MAX),
        filter: EventFilter::All,
        limit: 1,
    };
    store.read_feed(request).await.unwrap().scanned_to
}

/// A store with so many events in a folder that stays.
pub async fn store_of(events: u64) -> SqliteEventStore {
    let folder = tempfile::tempdir().unwrap().keep();
    let store = SqliteEventStore::open(folder.join("store.db"))
        .await
        .unwrap();
    for number in 0..events.div_ceil(10) {
        add(&store, number, (events - number * 10).min(10)).await;
    }
    assert_eq!(head(&store).await.get(), events);
    store
}

/// All that a database holds, without the library's own tables: its schema and the rows of each table, row ids included.
#[derive(Debug, PartialEq)]
pub struct Picture {
    pub schema: Vec<(String, String, String, Option<String>)>,
    pub rows: BTreeMap<String, Vec<Vec<Value>>>,
}

pub fn picture(path: &Path) -> Picture {
    let file = Connection::open(path).unwrap();
    for check in ["PRAGMA integrity_check", "PRAGMA foreign_key_check"] {
        let mut statement = file.prepare(check).unwrap();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            assert_eq!(row.get::<_, String>(0).unwrap(), "ok", "{check}");
        }
    }
    let mut statement = file
        .prepare(
            "SELECT type, name, tbl_name, sql FROM sqlite_schema
              WHERE tbl_name NOT LIKE 'eventcore\\_%' ESCAPE '\\' ORDER BY type, name",
        )
        .unwrap();
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    });
    let schema: Vec<(String, String, String, Option<String>)> =
        rows.unwrap().map(Result::unwrap).collect();
    let is_read = |kind: &str| kind == "table" || kind == "view";
    let tables = schema.iter().filter(|(kind, ..)| is_read(kind));
    let rows = tables
        .map(|(_, table, ..)| (table.clone(), all(&file, table)))
        .collect();
    Picture { schema, rows }
}

fn all(file: &Connection, table: &str) -> Vec<Vec<Value>> {
    let quoted = table.replace('"', "\"\"");
    let with_ids = format!("SELECT rowid, * FROM \"{quoted}\"");
    let without = format!("SELECT * FROM \"{quoted}\"");
    let mut statement = file
        .prepare(&with_ids)
        .or_else(|_| file.prepare(&without))
        .unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        (0..columns).map(|column| row.get(column)).collect()
    });
    let mut rows: Vec<Vec<Value>> = rows.unwrap().map(Result::unwrap).collect();
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}
