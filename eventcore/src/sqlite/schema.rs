//! The tables, their version, and how a file is recognized as an event store.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, MAIN_DB, OpenFlags, TransactionBehavior, config::DbConfig, ffi};

use crate::sqlite::error::Shared;
use crate::store::EventStoreError;

/// `evtc`, in the header of every event store.
const APPLICATION_ID: i32 = 0x6576_7463;
/// The newest schema version that this build supports.
const VERSION: i64 = 1;
/// The maximum time that a connection waits for a lock of another process.
pub(crate) const BUSY: Duration = Duration::from_secs(5);

/// Schema 1. Ids are interned, so event rows are small; rows are never changed or removed.
const SCHEMA_1: &str = "
CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE event_types (
    id       INTEGER PRIMARY KEY,
    category TEXT NOT NULL,                          -- of the streams; one index serves filters by category, by type, and by both
    name     TEXT NOT NULL,
    UNIQUE (category, name)
) STRICT;
CREATE TABLE events (
    position    INTEGER PRIMARY KEY,                 -- dense, 1 to n, in commit order
    stream      INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    type        INTEGER NOT NULL,
    event_id    BLOB    NOT NULL,                    -- the commit id and, in the low 20 bits, the number in the commit
    recorded_at INTEGER NOT NULL,                    -- microseconds since 1970, for information only
    payload     TEXT    NOT NULL,                    -- JSON, byte for byte as it was appended
    metadata    TEXT,
    UNIQUE (stream, version)
) STRICT;
CREATE INDEX events_by_type ON events (type);        -- by type and position, which is the row id
CREATE TABLE idempotency (
    key         TEXT PRIMARY KEY,
    position    INTEGER NOT NULL,
    events      INTEGER NOT NULL,
    commit_id   BLOB    NOT NULL,
    fingerprint BLOB                                 -- of the request that the key identifies, if the caller gave one
) STRICT, WITHOUT ROWID;
-- States of streams, which save folding from the start. They may be deleted at any time.
CREATE TABLE snapshots (
    stream      INTEGER NOT NULL,
    name        TEXT    NOT NULL,                    -- of the state
    revision    INTEGER NOT NULL,                    -- of its form and meaning
    version     INTEGER NOT NULL,                    -- of the last event that it covers …
    event_id    BLOB    NOT NULL,                    -- … and the id of that event
    state       TEXT    NOT NULL,                    -- JSON
    PRIMARY KEY (stream, name)
) STRICT;
";

/// The append-only tables, with the condition under which a new row is refused: REPLACE would
/// overwrite a row without firing a DELETE trigger. Events are only added at the end of the log and
/// of their stream, so checking both ends is enough.
const APPEND_ONLY: [(&str, &str); 4] = [
    (
        "streams",
        "EXISTS (SELECT 1 FROM streams WHERE id = NEW.id OR name = NEW.name)",
    ),
    (
        "event_types",
        "EXISTS (SELECT 1 FROM event_types
                 WHERE id = NEW.id OR (category = NEW.category AND name = NEW.name))",
    ),
    (
        "events",
        "NEW.position <= (SELECT max(position) FROM events)
         OR NEW.version <= (SELECT max(version) FROM events WHERE stream = NEW.stream)",
    ),
    (
        "idempotency",
        "EXISTS (SELECT 1 FROM idempotency WHERE key = NEW.key)",
    ),
];

/// Opens the writer's connection, creating or migrating the schema.
///
/// SQLite does not wait for the lock that switches a file to WAL mode: when several processes open
/// a new file, all but one immediately get a busy error. So this function waits itself.
pub(crate) fn open(path: &Path) -> Result<Connection, EventStoreError> {
    const PAUSE: Duration = Duration::from_millis(5);
    let started = Instant::now();
    loop {
        match try_open(path) {
            Err(EventStoreError::Busy { .. }) if started.elapsed() < BUSY => thread::sleep(PAUSE),
            done => return done,
        }
    }
}

/// Adds advice: SQLite's error names only the file.
#[derive(Debug, thiserror::Error)]
#[error(
    "{location} cannot be opened; its folder must exist and be writable, and it must be a file or not exist yet"
)]
struct NotOpened {
    location: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

fn advised(error: EventStoreError, path: &Path) -> EventStoreError {
    match error {
        EventStoreError::Other { source } => {
            let location = path.display().to_string();
            let source = NotOpened { location, source }.into();
            EventStoreError::Other { source }
        }
        error => error,
    }
}

fn try_open(path: &Path) -> Result<Connection, EventStoreError> {
    let failed = |error: rusqlite::Error| Shared::from(error).nothing_written(Some(path));
    let mut connection = Connection::open(path).map_err(|error| advised(failed(error), path))?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    // Before anything is written, including WAL mode; a log left by another application is not
    // checkpointed either.
    let leave_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(leave_log, true).map_err(failed)?;
    // In one transaction: otherwise it could see another process's half-created file and take it
    // for a foreign one.
    let look = connection.transaction().map_err(failed)?;
    check(&look, path)?;
    look.finish().map_err(failed)?;
    if connection.is_readonly(MAIN_DB).map_err(failed)? {
        let read_only = ffi::Error::new(ffi::SQLITE_READONLY);
        return Err(failed(rusqlite::Error::SqliteFailure(read_only, None)));
    }
    connection.set_db_config(leave_log, false).map_err(failed)?;
    let mode = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
        .map_err(failed)?;
    if mode != "wal" {
        let source = format!(
            "{} cannot use a write-ahead log here; put it on a local disk",
            path.display()
        )
        .into();
        return Err(EventStoreError::Other { source });
    }
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(failed)?;
    tune(&connection).map_err(failed)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    // Another process may have been faster.
    if check(&transaction, path)? == 0 {
        transaction.execute_batch(SCHEMA_1).map_err(failed)?;
        for (table, taken) in APPEND_ONLY {
            let insert = format!("WHEN {taken}");
            for (change, when) in [("UPDATE", ""), ("DELETE", ""), ("INSERT", &insert)] {
                let sql = format!(
                    "CREATE TRIGGER {table}_no_{change} BEFORE {change} ON {table} {when}
                     BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;"
                );
                transaction.execute_batch(&sql).map_err(failed)?;
            }
        }
        transaction
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(failed)?;
        transaction
            .pragma_update(None, "user_version", VERSION)
            .map_err(failed)?;
    }
    transaction.commit().map_err(failed)?;
    // The triggers protect against other writers. This writer never replaces a row, and the
    // triggers would increase its cost by half.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
        .map_err(failed)?;
    Ok(connection)
}

/// Opens a read-only connection that waits for locks for at most `busy`.
pub(crate) fn open_reader(path: &Path, busy: Duration) -> Result<Connection, EventStoreError> {
    let failed = |error: rusqlite::Error| Shared::from(error).nothing_written(Some(path));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(busy).map_err(failed)?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(failed)?;
    tune(&connection).map_err(failed)?;
    Ok(connection)
}

/// Sets the size of the statement cache and the stability guarantee, without which SQLite replans a
/// range query for every bound value, which costs more than the query.
pub(crate) fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(32);
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(drop)
}

/// Returns the schema version of the file, or 0 for an empty one.
fn check(connection: &Connection, path: &Path) -> Result<i64, EventStoreError> {
    let failed = |error: rusqlite::Error| match connection.is_readonly(MAIN_DB) {
        Ok(true) => Shared::from(error).of_read_only(path),
        _ => Shared::from(error).nothing_written(Some(path)),
    };
    let number = |sql| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map_err(failed)
    };
    let location = path.display().to_string();
    let version = number("PRAGMA user_version")?;
    let application = number("PRAGMA application_id")?;
    if application == i64::from(APPLICATION_ID) {
        if version > VERSION {
            return Err(EventStoreError::NewerSchema {
                location,
                found: version,
                supported: VERSION,
            });
        }
        return Ok(version);
    }
    let empty = number("SELECT count(*) FROM sqlite_schema")? == 0;
    if !empty || version != 0 || application != 0 {
        let reason = "it is the SQLite database of another application".to_owned();
        return Err(EventStoreError::NotAnEventStore { location, reason });
    }
    Ok(0)
}
