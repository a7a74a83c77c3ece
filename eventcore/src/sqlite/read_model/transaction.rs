//! The transaction that a projection writes through: [`SqliteTransaction`].

use std::{cell::Cell, sync::Arc};

use rusqlite::{Connection, ErrorCode, Params, Row, ffi};

use crate::{
    projection::Forbidden,
    sqlite::{
        read_model::{
            file::failure,
            target::{Target, Writer},
            write_lock::Turn,
        },
        schema::BUSY,
    },
};

/// A transaction of the read model's file, through which a projection writes.
///
/// It begins when it is first used; from then on no other connection can write to this file until
/// the runner commits. Commands write to another file and do not wait for it. In a rebuild it is a
/// transaction of the file that will replace the live one.
///
/// A projection may create and use any tables, indexes, views and triggers. It cannot attach other
/// databases, begin or end transactions, create temporary objects, or use tables whose names begin
/// with `eventcore_`: such a statement is refused, and stops the projection with
/// [`ProjectionError::Forbidden`](crate::projection::ProjectionError::Forbidden).
///
/// Statements are prepared once and cached.
pub struct SqliteTransaction {
    target: Arc<Target>,
    open: Option<Open>,
    /// `true` if the transaction could not begin.
    failed: bool,
}

/// The resources that are held from the first use.
struct Open {
    writer: Writer,
    /// `true` if a conflict clause of the projection's statement rolled the transaction back.
    undone: Cell<bool>,
    _turn: Turn,
}

// The comments distinguish these texts from a projection's statements, for which the cache would
// otherwise return a statement that is already authorized.
const BEGIN: &str = "/* eventcore */ BEGIN IMMEDIATE";
const COMMIT: &str = "/* eventcore */ COMMIT";
const ROLLBACK: &str = "/* eventcore */ ROLLBACK";

impl SqliteTransaction {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            open: None,
            failed: false,
        }
    }

    /// Returns the connection, for anything that the methods here do not offer.
    ///
    /// # Errors
    /// `SQLITE_BUSY` if other writers hold the read model's lock for too long.
    pub fn connection(&mut self) -> rusqlite::Result<&Connection> {
        self.open().map(|open| &open.writer.connection)
    }

    fn open(&mut self) -> rusqlite::Result<&Open> {
        if self.open.is_none() {
            self.failed = true;
            self.open = Some(self.begin()?);
            self.failed = false;
        }
        let open = self.open.as_ref().ok_or_else(busy)?;
        // Otherwise what follows would be committed separately, without the checkpoint.
        if open.writer.connection.is_autocommit() {
            let why = "an earlier statement that failed has rolled back the transaction".to_owned();
            return Err(failure(ffi::SQLITE_ABORT_ROLLBACK, why));
        }
        Ok(open)
    }

    fn begin(&self) -> rusqlite::Result<Open> {
        let turn = self.target.turns.take(BUSY).ok_or_else(busy)?;
        let writer = self.target.take()?;
        writer.guard.clear();
        let begun = run(&writer, BEGIN);
        match begun {
            Ok(()) => Ok(Open {
                writer,
                undone: Cell::new(false),
                _turn: turn,
            }),
            Err(error) => {
                self.target.give_back(writer);
                Err(error)
            }
        }
    }

    /// Runs the store's own statements, which are not restricted.
    pub(crate) fn lifted<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let writer = &self.open()?.writer;
        let _lifted = writer.guard.lift();
        work(&writer.connection)
    }

    /// Runs one statement and returns the number of rows that it changed.
    ///
    /// # Errors
    /// The error from SQLite.
    pub fn execute(&mut self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        let open = self.open()?;
        let statement = open.writer.connection.prepare_cached(sql);
        let executed = statement.and_then(|mut statement| statement.execute(params));
        executed.map_err(|error| open.explain(error))
    }

    /// Runs several statements without parameters.
    ///
    /// # Errors
    /// The error from SQLite.
    pub fn execute_batch(&mut self, sql: &str) -> rusqlite::Result<()> {
        let open = self.open()?;
        let executed = open.writer.connection.execute_batch(sql);
        executed.map_err(|error| open.explain(error))
    }

    /// Reads one row, including what the transaction has written.
    ///
    /// # Errors
    /// The error from SQLite; `QueryReturnedNoRows` if there is no row.
    pub fn query_row<T>(
        &mut self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let open = self.open()?;
        let statement = open.writer.connection.prepare_cached(sql);
        let row = statement.and_then(|mut statement| statement.query_row(params, read));
        row.map_err(|error| open.explain(error))
    }

    /// Returns `true` unless the transaction could not begin, or its writes were lost through no
    /// fault of the projection: for example, SQLite rolls back by itself when the disk is full.
    pub(crate) fn is_usable(&self) -> bool {
        let is_sound = |open: &Open| !open.writer.connection.is_autocommit() || open.undone.get();
        !self.failed && self.open.as_ref().is_none_or(is_sound)
    }

    /// Returns the statements that were refused.
    pub(crate) fn forbidden(&self) -> Option<Forbidden> {
        self.open
            .as_ref()
            .and_then(|open| open.writer.guard.forbidden())
    }

    /// Commits the transaction.
    pub(crate) fn commit(mut self) -> rusqlite::Result<()> {
        let target = self.target.clone();
        let writer = &self.open()?.writer;
        let committed = run(writer, COMMIT);
        match &committed {
            Ok(()) => {
                let _lifted = writer.guard.lift();
                target.disk.checkpoint(&writer.connection);
            }
            Err(error) => target.disk.note(error),
        }
        committed
    }
}

fn run(writer: &Writer, sql: &str) -> rusqlite::Result<()> {
    let _lifted = writer.guard.lift();
    let mut statement = writer.connection.prepare_cached(sql)?;
    statement.execute([]).map(drop)
}

impl Open {
    /// Adds the reason to the error of a projection's statement: SQLite only reports that it is not
    /// authorized.
    fn explain(&self, error: rusqlite::Error) -> rusqlite::Error {
        let Writer { connection, guard } = &self.writer;
        match error.sqlite_error_code() {
            Some(ErrorCode::AuthorizationForStatementDenied) => match guard.forbidden() {
                Some(forbidden) => failure(ffi::SQLITE_AUTH, format!("not allowed: {forbidden}")),
                None => error,
            },
            Some(ErrorCode::ConstraintViolation) if connection.is_autocommit() => {
                self.undone.set(true);
                error
            }
            _ => error,
        }
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            if !open.writer.connection.is_autocommit() {
                let _ = run(&open.writer, ROLLBACK);
            }
            // Before the lock is released, so that the next holder finds it.
            self.target.give_back(open.writer);
        }
    }
}

impl std::fmt::Debug for SqliteTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteTransaction")
            .field("begun", &self.open.is_some())
            .finish_non_exhaustive()
    }
}

/// Returns the error of a timed-out wait for this process's write lock.
pub(crate) fn busy() -> rusqlite::Error {
    let why = "other connections kept this read model locked for too long".to_owned();
    failure(ffi::SQLITE_BUSY, why)
}
