//! A damaged SQLite file: every cell of every row, changed to every kind of value. What the store then says is the truth
//! or a clear error; it never panics, never hangs, and never leaves out an event in silence.

use std::{convert::Infallible, fs, path::Path, time::Duration};

use eventcore::{
    Command, CommandError, CommandLogic, Event, EventStore, EventStoreError, ExecuteOptions,
    IdempotencyKey, RecordedEvent, RetryPolicy, StreamId, StreamKey, execute,
    sqlite::SqliteEventStore,
    store::{EventFilter, EventSelector, MAX_PAGE_EVENTS, ReadFeedRequest},
    testing::history,
};
use rusqlite::{Connection, types::Value};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
struct Noted {
    text: String,
}

#[derive(Debug, StreamKey)]
#[stream_key(category = "note", event = Noted)]
struct NoteId(u64);

/// Notes in one stream what it has read in two.
#[derive(Debug, Command)]
struct Note {
    #[stream]
    to: NoteId,
    #[stream(read)]
    other: NoteId,
}

impl CommandLogic for Note {
    type State = Vec<String>;
    type Error = Infallible;

    fn apply(&self, texts: &mut Vec<String>, event: NoteEvent<'_>) {
        let (NoteEvent::To(Noted { text }) | NoteEvent::Other(Noted { text })) = event;
        texts.push(text);
    }

    fn handle(&self, texts: &Vec<String>, streams: NoteStreams<'_>) -> Result<(), Infallible> {
        streams.to.append(Noted {
            text: texts.len().to_string(),
        });
        Ok(())
    }
}

fn note() -> Note {
    Note {
        to: NoteId(1),
        other: NoteId(2),
    }
}

fn key() -> IdempotencyKey {
    IdempotencyKey::new("request-1").unwrap()
}

/// Six events in two streams, with metadata, and a key.
async fn sound(path: &Path) -> Vec<RecordedEvent> {
    let store = SqliteEventStore::open(path).await.unwrap();
    let options = || ExecuteOptions::new().correlation_id("conversation");
    for _ in 0..2 {
        execute(&store, note(), options()).await.unwrap();
        let other = Note {
            to: NoteId(2),
            other: NoteId(1),
        };
        execute(&store, other, options()).await.unwrap();
    }
    execute(&store, note(), options().idempotency_key(key()))
        .await
        .unwrap();
    execute(&store, note(), options()).await.unwrap();
    let log = history::log(&store).await.unwrap();
    store.close().await;
    log
}

/// Takes away what keeps a file sound, so that its cells can hold anything: types, triggers and `NOT NULL`.
fn unprotect(path: &Path) {
    let sql = Connection::open(path).unwrap();
    let triggers: Vec<String> = {
        let mut names = sql
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            .unwrap();
        let names = names.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    assert!(!triggers.is_empty());
    for trigger in triggers {
        sql.execute_batch(&format!("DROP TRIGGER {trigger}"))
            .unwrap();
    }
    sql.execute_batch(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(replace(replace(sql, 'STRICT, ', ''), 'STRICT', ''), ' NOT NULL', '');
         PRAGMA writable_schema = OFF;
         PRAGMA journal_mode = DELETE;",
    )
    .unwrap();
}

/// Every cell: table, the condition that names its row, column.
fn cells(path: &Path) -> Vec<(String, String, String)> {
    let sql = Connection::open(path).unwrap();
    let mut cells = Vec::new();
    for table in ["streams", "event_types", "events", "idempotency"] {
        let mut columns = sql
            .prepare(&format!(
                "SELECT name, pk FROM pragma_table_info('{table}')"
            ))
            .unwrap();
        let columns: Vec<(String, i64)> = columns
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let (id, _) = columns.iter().find(|(_, pk)| *pk == 1).unwrap();
        let mut rows = sql
            .prepare(&format!("SELECT quote({id}) FROM {table}"))
            .unwrap();
        let rows: Vec<String> = rows
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(!rows.is_empty(), "{table} is empty");
        // The first row, one in the middle, and the last one of each stream are all the kinds that there are.
        let kinds = |(place, row): (usize, String)| [0, 2, 3, 5].contains(&place).then_some(row);
        for row in rows.into_iter().enumerate().filter_map(kinds) {
            for (column, _) in &columns {
                cells.push((table.to_owned(), format!("{id} = {row}"), column.clone()));
            }
        }
    }
    cells
}

fn values() -> Vec<Value> {
    vec![
        Value::Null,
        Value::Integer(0),
        Value::Integer(-1),
        Value::Integer(2),
        Value::Integer(7),
        Value::Integer(1_000_000),
        Value::Integer(i64::MAX),
        Value::Integer(i64::MIN),
        Value::Real(1.5),
        Value::Real(1e300),
        Value::Text(String::new()),
        Value::Text("x".into()),
        Value::Text("note-*".into()),
        Value::Text("{\"text\":".into()),
        Value::Text("\"\\ud800\"".into()),
        Value::Text("[".repeat(200)),
        Value::Blob(vec![]),
        Value::Blob(vec![0xff, 0xfe, 0x00]),
        Value::Blob(vec![7; 16]),
    ]
}

/// Neither a crash of one of the store's threads nor a hang.
async fn within<T>(
    what: &str,
    call: impl Future<Output = Result<T, EventStoreError>>,
) -> Result<T, EventStoreError> {
    let result = tokio::time::timeout(Duration::from_secs(20), call).await;
    match result.unwrap_or_else(|_| panic!("{what} hangs")) {
        Err(error @ (EventStoreError::Closed | EventStoreError::OutcomeUnknown { .. })) => {
            panic!("{what}: a thread of the store is gone: {error}")
        }
        result => result,
    }
}

/// The identity of an event.
fn places(log: &[RecordedEvent]) -> Vec<(u64, StreamId, u64)> {
    log.iter()
        .map(|event| {
            (
                event.position.get(),
                event.stream.clone(),
                event.version.get(),
            )
        })
        .collect()
}

/// The feed gives all events that it gave before, or an error, or a log in which a hole is to be seen.
async fn feed(
    store: &SqliteEventStore,
    filter: EventFilter,
    sound: &[RecordedEvent],
) -> Result<bool, String> {
    let request = ReadFeedRequest {
        after: eventcore::Position::START,
        filter,
        limit: MAX_PAGE_EVENTS,
    };
    match within("read_feed", store.read_feed(request)).await {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            Ok(false)
        }
        Ok(page) if page.events.len() < sound.len() => Err(format!(
            "{} of {} events, up to {}",
            page.events.len(),
            sound.len(),
            page.scanned_to
        )),
        Ok(page) => Ok(places(&page.events) == places(sound)),
    }
}

/// A command that decides has read all events of its streams.
async fn command(store: &SqliteEventStore, path: &Path) -> Result<bool, String> {
    let policy = RetryPolicy::new()
        .deadline(Duration::from_secs(1))
        .max_attempts(3);
    let run = execute(store, note(), policy);
    match tokio::time::timeout(Duration::from_secs(20), run).await {
        Err(_) => Err("the command hangs".into()),
        Ok(Err(
            CommandError::EventStoreError(EventStoreError::Closed)
            | CommandError::OutcomeUnknown { .. },
        )) => Err("a thread of the store is gone".into()),
        Ok(Err(_)) => Ok(false),
        Ok(Ok(done)) => {
            // It noted how many events it has read; there were six.
            let position = i64::try_from(done.position().get()).unwrap();
            let payload: Vec<u8> = sql(path)
                .query_row(
                    "SELECT CAST(payload AS BLOB) FROM events WHERE position = ?1",
                    [position],
                    |row| row.get(0),
                )
                .map_err(|error| error.to_string())?;
            match payload.as_slice() {
                br#"{"text":"6"}"# => Ok(true),
                other => Err(format!("decided on {}", String::from_utf8_lossy(other))),
            }
        }
    }
}

fn sql(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

/// Damage that no reader can detect, since nothing else in the file shows it: a missing last event of a stream or
/// of the log, and an earlier name of a stream or a category.
fn cannot_be_known(
    table: &str,
    row: &str,
    column: &str,
    log: &[RecordedEvent],
    check: &str,
) -> bool {
    let is_row = |event: &RecordedEvent| row == format!("position = {}", event.position);
    let last = log.last().is_some_and(is_row);
    let streams = [1, 2].map(|stream| NoteId(stream).stream_id().unwrap());
    let last_of_stream = streams.iter().any(|stream| {
        let last = log.iter().rfind(|event| event.stream == *stream);
        last.is_some_and(is_row)
    });
    match (table, column, check) {
        ("streams", _, "feed of a stream" | "command")
        | ("event_types", "category", "feed of a category") => true,
        ("events", "stream" | "version", "feed of a stream" | "command") => last_of_stream,
        ("events", "position", "feed" | "feed of a category") => last,
        _ => false,
    }
}

type Checks = Vec<(&'static str, Result<bool, String>)>;

/// Asks a store on the file for everything that there is to ask.
async fn checks(path: &Path, log: &[RecordedEvent]) -> Checks {
    let Ok(store) = within("open", SqliteEventStore::open(path)).await else {
        return vec![("open", Ok(false))];
    };
    let notes = EventFilter::any_of([EventSelector::category("note")]);
    let mut checks = vec![
        ("feed", feed(&store, EventFilter::All, log).await),
        ("feed of a category", feed(&store, notes, log).await),
    ];
    for stream in [1, 2] {
        let id = NoteId(stream).stream_id().unwrap();
        let of: Vec<_> = log
            .iter()
            .filter(|event| event.stream == id)
            .cloned()
            .collect();
        let result = feed(&store, EventFilter::Stream(id), &of).await;
        checks.push(("feed of a stream", result));
    }
    checks.push(("command", command(&store, path).await));
    let options = ExecuteOptions::new()
        .idempotency_key(key())
        .deadline(Duration::from_secs(1));
    let repeated =
        tokio::time::timeout(Duration::from_secs(20), execute(&store, note(), options)).await;
    let repeated = match repeated {
        Err(_) => Err("the command hangs".into()),
        Ok(result) => Ok(result.is_ok_and(|done| done.is_repeated())),
    };
    checks.push(("repeated command", repeated));
    store.close().await;
    checks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_cell_is_harmless_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("sound.db");
    let log = sound(&original).await;
    assert_eq!(log.len(), 6);
    unprotect(&original);
    let damaged = folder.path().join("damaged.db");
    let (mut wrong, mut changed, mut noticed) = (Vec::new(), 0, 0);
    for (table, row, column) in cells(&original) {
        for value in values() {
            for side in ["", "-wal", "-shm", "-journal"] {
                let _ = fs::remove_file(format!("{}{side}", damaged.display()));
            }
            fs::copy(&original, &damaged).unwrap();
            {
                let sql = Connection::open(&damaged).unwrap();
                let change = format!("UPDATE {table} SET {column} = ?1 WHERE {row}");
                // A row id is an integer, and a unique column holds a value once: some changes cannot be made.
                if sql.execute(&change, [&value]) != Ok(1) {
                    continue;
                }
            }
            changed += 1;
            let what = format!("{table}.{column} of {row} = {value:?}");
            let checks = checks(&damaged, &log).await;
            noticed += usize::from(checks.iter().any(|(_, result)| matches!(result, Ok(false))));
            for (check, result) in checks {
                if let Err(why) = result
                    && !cannot_be_known(&table, &row, &column, &log, check)
                {
                    wrong.push(format!("{what}: {check}: {why}"));
                }
            }
        }
    }
    println!("{changed} changes, {noticed} noticed");
    assert!(
        changed > 600 && noticed > changed / 2,
        "{changed} changes, {noticed} noticed"
    );
    assert!(
        wrong.is_empty(),
        "{} of {changed}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
