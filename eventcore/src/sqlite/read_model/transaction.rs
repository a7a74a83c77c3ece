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

/// A transaction of the read model's file, for a projection to write through.
///
/// It begins when it is first used; from then on nobody else writes to this file until the runner commits it. Commands
/// write to another file and do not wait for it. In a rebuild it is a transaction of the file that will replace the live
/// one.
///
/// A projection makes and uses tables, indexes, views and triggers as it likes. It cannot attach other databases, begin or
/// end transactions, make temporary objects, or use tables whose names begin with `eventcore_`: such a statement is
/// refused, and ends the projection with [`ProjectionError::Forbidden`](crate::projection::ProjectionError::Forbidden).
///
/// Statements are prepared once and kept.
pub struct SqliteTransaction {
    target: Arc<Target>,
    open: Option<Open>,
    /// It could not begin.
    failed: bool,
}

/// The resources that are held from the first use.
struct Open {
    writer: Writer,
    /// A statement of the projection asked for a rollback in case of a conflict, and there was one.
    undone: Cell<bool>,
    _turn: Turn,
}

// The comments keep these texts apart from those of projections, for which the cache would return a statement that has
// been allowed already.
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

    /// Returns the connection, for everything that the methods here do not offer.
    ///
    /// # Errors
    /// `SQLITE_BUSY` when others write to the read model for too long.
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
        // Or what follows would be committed by itself, without the checkpoint.
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

    /// Runs statements of the store itself, which may do everything.
    pub(crate) fn lifted<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let writer = &self.open()?.writer;
        let _lifted = writer.guard.lift();
        work(&writer.connection)
    }

    /// Runs one statement; returns the number of rows that it changed.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn execute(&mut self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        let open = self.open()?;
        let statement = open.writer.connection.prepare_cached(sql);
        let executed = statement.and_then(|mut statement| statement.execute(params));
        executed.map_err(|error| open.explain(error))
    }

    /// Runs several statements without parameters.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn execute_batch(&mut self, sql: &str) -> rusqlite::Result<()> {
        let open = self.open()?;
        let executed = open.writer.connection.execute_batch(sql);
        executed.map_err(|error| open.explain(error))
    }

    /// Reads one row, what the transaction has written included.
    ///
    /// # Errors
    /// What SQLite says; `QueryReturnedNoRows` if there is none.
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

    /// Returns `false` if it could not begin, or if what was written is lost through no fault of the projection: a full disk,
    /// for one, makes SQLite roll back by itself.
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

    /// Ends it with a commit.
    pub(crate) fn commit(mut self) -> rusqlite::Result<()> {
        let target = self.target.clone();
        let writer = &self.open()?.writer;
        let committed = run(writer, COMMIT);
        match &committed {
            Ok(()) => target.disk.check_in(&writer.connection),
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
    /// Explains an error of a projection's statement: SQLite says only that one is not authorized.
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
            // Before the turn ends, so that the next one finds it.
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

/// A task of this process writes for too long.
pub(crate) fn busy() -> rusqlite::Error {
    let why = "others have been writing to this read model for too long".to_owned();
    failure(ffi::SQLITE_BUSY, why)
}
