//! The file of a read model: its path, its tables, and the connections to it.
//!
//! Rows and checkpoint of a read model are in one file, because with a write-ahead log a commit
//! over several attached files is not atomic in a crash.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, ffi, params,
};

use crate::sqlite::{
    convert::sql,
    schema::{BUSY, tune},
};

/// `evr1`, in the header of every read-model file: version 1 of the tables below. `user_version` is
/// left to the application.
const APPLICATION_ID: i32 = 0x6576_7231;

/// The tables that a projection cannot access.
const TABLES: &str = "
CREATE TABLE eventcore_projections (
    name           TEXT PRIMARY KEY,
    position       INTEGER NOT NULL,                 -- the checkpoint
    fence          INTEGER NOT NULL,                 -- rises with each new leader; writes with an older one are refused
    leader         TEXT,
    leads_until    INTEGER NOT NULL,                 -- milliseconds since 1970
    error          TEXT,
    error_position INTEGER,
    error_at       INTEGER,                          -- microseconds since 1970, for information only
    birth          INTEGER NOT NULL,                 -- a random number, new for each rebuild
    feed           TEXT,                             -- the events that the projection reads; null until it first leads
    type_name      TEXT                              -- of the projection
) STRICT, WITHOUT ROWID;
CREATE TABLE eventcore_dead_letters (
    position  INTEGER PRIMARY KEY,
    error     TEXT    NOT NULL,
    attempts  INTEGER NOT NULL,
    parked_at INTEGER NOT NULL,                      -- microseconds since 1970, for information only
    to_replay INTEGER NOT NULL
) STRICT;
";

/// One of the two files of a projection: the live one, and the one that a rebuild fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Live,
    Rebuild,
}

/// Returns the path of a read model's file, beside the store's. The name of a projection is safe in
/// a path; in any other text, unsafe characters are escaped, so that the path cannot lead to
/// another file.
pub(crate) fn path(store: &Path, name: &str, side: Side) -> PathBuf {
    use std::fmt::Write;
    let mut end = String::from(".");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            end.push(char::from(byte));
        } else {
            let _ = write!(end, "%{byte:02x}");
        }
    }
    // The dot before this distinguishes the files of one read model from the log of another, for
    // example those of `x` and `x-wal`.
    end.push_str(match side {
        Side::Live => ".db",
        Side::Rebuild => ".rebuild",
    });
    let mut path: OsString = store.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// Opens the file of a read model for writing. Creates it if it does not exist, with the mode of
/// the store's file.
///
/// Commits become durable with the next checkpoint of the log; until then a power failure may undo
/// rows together with the position up to which they are applied.
pub(crate) fn open(path: &Path, store: &Path, name: &str) -> rusqlite::Result<Connection> {
    // SQLite does not wait for the lock that switches a file to WAL mode.
    const PAUSE: Duration = Duration::from_millis(5);
    let started = Instant::now();
    loop {
        match try_open(path, store, name) {
            Err(error) if is_busy(&error) && started.elapsed() < BUSY => thread::sleep(PAUSE),
            done => return done,
        }
    }
}

fn try_open(path: &Path, store: &Path, name: &str) -> rusqlite::Result<Connection> {
    create(path, store).map_err(|error| cannot_open(path, &error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // Check the file before anything is written, including WAL mode.
    let look = connection.transaction()?;
    let is_ours = is_ours(&look, name)?;
    look.finish()?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let why = format!(
            "{} cannot use a write-ahead log here; put it on a local disk",
            path.display()
        );
        return Err(failure(ffi::SQLITE_CANTOPEN, why));
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    if !is_ours {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have been faster.
        if !self::is_ours(&transaction, name)? {
            begin(&transaction, name, 0)?;
        }
        transaction.commit()?;
    }
    tune(&connection)?;
    Ok(connection)
}

/// Opens the file of a read model for reading. Returns `None` if it does not exist yet.
pub(crate) fn open_reader(path: &Path, name: &str) -> rusqlite::Result<Option<Connection>> {
    if !path
        .try_exists()
        .map_err(|error| cannot_open(path, &error))?
    {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    if !is_ours(&connection, name)? {
        return Ok(None);
    }
    connection.pragma_update(None, "query_only", true)?;
    tune(&connection)?;
    Ok(Some(connection))
}

/// Returns a new, empty read model in memory, to be copied over another one.
pub(crate) fn empty(page_size: i64, name: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    // The page size of a database with a write-ahead log cannot change.
    connection.pragma_update(None, "page_size", page_size)?;
    begin(&connection, name, 0)?;
    Ok(connection)
}

/// Creates the tables with a new birth mark.
fn begin(connection: &Connection, name: &str, fence: u64) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.execute(
        "INSERT INTO eventcore_projections (name, position, fence, leads_until, birth) VALUES (?1, 0, ?2, 0, ?3)",
        params![name, sql(fence), fastrand::i64(..)],
    )?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)
}

/// Returns `true` if the file holds this read model, `false` if it is empty, and an error if it
/// holds anything else.
fn is_ours(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let number = |query| connection.query_row(query, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    if application != i64::from(APPLICATION_ID) {
        if application == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0 {
            return Ok(false);
        }
        let why = "it is not a read model of this version of eventcore".to_owned();
        return Err(failure(ffi::SQLITE_NOTADB, why));
    }
    let found: Option<String> = connection
        .query_row("SELECT name FROM eventcore_projections", [], |row| {
            row.get(0)
        })
        .optional()?;
    match found {
        Some(found) if found == name => Ok(true),
        found => {
            let why = format!(
                "it holds the read model of projection `{}`, not of `{name}`; on a file system that ignores case, \
                 names of projections must differ in more than case",
                found.unwrap_or_default()
            );
            Err(failure(ffi::SQLITE_NOTADB, why))
        }
    }
}

/// Creates an empty file with the mode and owner of the store's file: SQLite gives the log the mode
/// of its database.
fn create(path: &Path, store: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    let like = fs::metadata(store)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        // The file must not be accessible to others even briefly.
        options.mode(like.permissions().mode() & 0o777);
    }
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        // Only a privileged user may change the owner; for any other user the file is already its
        // own.
        let _ = fchown(&file, Some(like.uid()), Some(like.gid()));
    }
    file.set_permissions(like.permissions())
}

pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

pub(crate) fn failure(code: i32, why: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(why))
}

fn cannot_open(path: &Path, error: &io::Error) -> rusqlite::Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull => ffi::SQLITE_FULL,
        io::ErrorKind::ReadOnlyFilesystem => ffi::SQLITE_READONLY,
        _ => ffi::SQLITE_CANTOPEN,
    };
    let why = format!(
        "the read model's file {} cannot be used: {error}",
        path.display()
    );
    failure(code, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_out_of_the_folder() {
        let store = Path::new("/data/bank.db");
        let live = |name| path(store, name, Side::Live).display().to_string();
        assert_eq!(live("balances-2_x"), "/data/bank.db.balances-2_x.db");
        assert_eq!(
            live("../../etc/x"),
            "/data/bank.db.%2e%2e%2f%2e%2e%2fetc%2fx.db"
        );
        assert_eq!(live("\0é"), "/data/bank.db.%00%c3%a9.db");
        let rebuild = path(store, "x", Side::Rebuild);
        assert_eq!(rebuild, Path::new("/data/bank.db.x.rebuild"));
    }
}
